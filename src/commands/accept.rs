//! `drctl accept`: a person trusts a suspect backup.

use bytes::Bytes;

use crate::cli::{IdArgs, Output};
use crate::commands::{Run, text};
use crate::error::Result;
use crate::store::StoreError;
use crate::store::keys::BackupObject;

/// Puts the mark beside the backup.
pub async fn run(run: &Run, args: IdArgs) -> Result<()> {
    let catalog = run.catalog().await?;
    let entry = run.cancel.unless(catalog.entry(args.id)).await?;
    if entry.is_trusted() {
        return say(
            run,
            &format!("{} is not suspect, nothing to accept", args.id),
        );
    }
    mark(run, &catalog.place(args.id).key(&BackupObject::Accepted)).await?;
    say(
        run,
        &format!(
            "{} is accepted: {}",
            args.id,
            entry.manifest.suspect.join("; ")
        ),
    )
}

/// Creates a mark; one that is there already is as good.
pub async fn mark(run: &Run, key: &str) -> Result<()> {
    let body = Bytes::from(format!("{{\"at\":\"{}\"}}\n", jiff::Timestamp::now()));
    match run.store.put_new(key, body).await {
        Ok(()) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// One line for people, one object for programs.
pub fn say(run: &Run, line: &str) -> Result<()> {
    match run.output {
        Output::Text => text::print(&format!("{line}\n")),
        Output::Json => text::json(&serde_json::json!({ "done": line })),
    }
}
