//! `drctl pin`: keep a backup for ever, or no longer.

use crate::cli::PinArgs;
use crate::commands::Run;
use crate::commands::accept::{mark, say};
use crate::error::{Error, Result};
use crate::store::StoreError;
use crate::store::keys::BackupObject;

/// Puts the pin on or takes it off.
pub async fn run(run: &Run, args: PinArgs) -> Result<()> {
    let catalog = run.catalog().await?;
    run.cancel.unless(catalog.entry(args.id)).await?;
    let key = catalog.place(args.id).key(&BackupObject::Pin);
    if args.remove {
        run.store.delete(&key).await?;
        say(run, &format!("{} is no longer pinned", args.id))
    } else {
        mark(run, &key).await?;
        // Retention looks for the pin before it deletes the manifest: one of the two sees the other.
        let manifest = catalog.place(args.id).key(&BackupObject::Manifest);
        if let Err(StoreError::NotFound { .. }) = run.store.head(&manifest).await {
            return Err(Error::nothing(format!("{} was deleted meanwhile", args.id))
                .hint("see drctl list for what there is to pin"));
        }
        say(run, &format!("{} is pinned: nothing deletes it", args.id))
    }
}
