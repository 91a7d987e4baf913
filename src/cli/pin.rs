//! `drctl pin`: excludes a backup from retention, or removes the pin.

use crate::cli::Context;
use crate::cli::accept::{mark, print};
use crate::cli::args::PinArgs;
use crate::layout::BackupObject;
use crate::store::StoreError;
use crate::util::error::{Error, Result};

/// Adds or removes the pin.
pub async fn run(context: &Context, args: PinArgs) -> Result<()> {
    let catalog = context.catalog().await?;
    context.cancel.unless(catalog.entry(args.id)).await?;
    let key = catalog.place(args.id).key(&BackupObject::Pin);
    if args.remove {
        context.store.delete(&key).await?;
        print(context, &format!("{} is no longer pinned", args.id))
    } else {
        mark(context, &key).await?;
        // Retention checks for a pin before it deletes the manifest: one of the two operations sees the
        // other.
        let manifest = catalog.place(args.id).key(&BackupObject::Manifest);
        if let Err(StoreError::NotFound { .. }) = context.store.head(&manifest).await {
            return Err(
                Error::nothing(format!("{} was deleted in the meantime", args.id))
                    .hint("drctl list shows the existing backups"),
            );
        }
        print(
            context,
            &format!("{} is pinned: retention never deletes it", args.id),
        )
    }
}
