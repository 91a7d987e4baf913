//! `drctl rekey`: gives a backup other recipients.

use crate::archive::BackupPlace;
use crate::archive::write::commit;
use crate::catalog::lease::Lease;
use crate::cli::Context;
use crate::cli::accept::print;
use crate::cli::args::ChooseArgs;
use crate::layout::BackupId;
use crate::util::cancel::tidy;
use crate::util::error::Result;

/// Writes and commits the second backup.
pub async fn run(context: &Context, args: ChooseArgs) -> Result<()> {
    let (catalog, entry) = context.select(args.which()?).await?;
    let archive = context.cancel.unless(catalog.open(entry.id)).await?;
    let reading = Lease::reading(&context.store, &catalog.place(entry.id)).await;
    let to = BackupPlace {
        target: catalog.target().clone(),
        id: BackupId::generate(entry.manifest.snapshot_at),
    };
    let heartbeat = Lease::heartbeat(&context.store, &to);
    let heartbeat = context.cancel.unless(heartbeat).await?;
    let ended = match context.cancel.unless(archive.rekey(&to)).await {
        // From here on nothing is deleted or cancelled.
        Ok(manifest) => commit::put_manifest(&context.store, &to, &manifest).await,
        Err(error) => {
            tidy(commit::discard(&context.store, &to)).await;
            Err(error)
        }
    };
    tidy(heartbeat.end()).await;
    if let Some(reading) = reading {
        tidy(reading.end()).await;
    }
    if let Some(unprotected) = ended? {
        return Err(unprotected);
    }
    print(
        context,
        &format!(
            "{} has the data of {} for the configured recipients; verify it, then delete the old one by retention",
            to.id, entry.id
        ),
    )
}
