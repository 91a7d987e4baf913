//! `drctl accept`: marks a suspect backup as accepted.

use bytes::Bytes;

use crate::cli::Context;
use crate::cli::args::IdArgs;
use crate::cli::output::text;
use crate::layout::BackupObject;
use crate::store::StoreError;
use crate::util::error::Result;
use crate::util::format::Output;

/// Writes the marker.
pub async fn run(context: &Context, args: IdArgs) -> Result<()> {
    let catalog = context.catalog().await?;
    let entry = context.cancel.unless(catalog.entry(args.id)).await?;
    if entry.is_usable() {
        return print(
            context,
            &format!("{} is not suspect, nothing to accept", args.id),
        );
    }
    // What its writer says of itself cannot be accepted.
    entry.signed.check(&catalog.place(args.id).to_string())?;
    let key = catalog.place(args.id).key(&BackupObject::Accepted);
    mark(context, &key).await?;
    print(
        context,
        &format!(
            "{} is accepted: {}",
            args.id,
            entry.manifest.suspect.join("; ")
        ),
    )
}

/// Creates a marker; an existing one is not an error.
pub async fn mark(context: &Context, key: &str) -> Result<()> {
    let body = Bytes::from(format!("{{\"at\":\"{}\"}}\n", jiff::Timestamp::now()));
    match context.store.put_new(key, body).await {
        Ok(()) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Prints a line as text, or an object as JSON.
pub fn print(context: &Context, line: &str) -> Result<()> {
    match context.output {
        Output::Text => text::print(&format!("{line}\n")),
        Output::Json => text::json(&serde_json::json!({ "done": line })),
    }
}
