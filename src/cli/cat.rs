//! `drctl cat`: writes the contents of a backup to standard output: SQL, or the stream of another kind of source.
//!
//! Every frame is verified before its first byte is written; output stops at a damaged frame, and before
//! the last frame of a segment whose digest does not match the manifest.

use std::io::Write;

use crate::archive::read::Archive;
use crate::archive::segment_digests::SegmentDigests;
use crate::catalog::Catalog;
use crate::catalog::lease::Lease;
use crate::cli::Context;
use crate::cli::args::CatArgs;
use crate::layout::BackupId;
use crate::util::error::{Error, Result};

/// Writes the SQL.
pub async fn run(context: &Context, args: CatArgs) -> Result<()> {
    let (catalog, entry) = context.select(args.choose.which()?).await?;
    let place = catalog.place(entry.id);
    let lease = Lease::reading(&context.store, &place).await;
    let written = context
        .cancel
        .unless(write_it(&catalog, entry.id, args.accounts))
        .await;
    if let Some(lease) = lease {
        lease.end().await;
    }
    written
}

async fn write_it(catalog: &Catalog, id: BackupId, only_accounts: bool) -> Result<()> {
    let archive = catalog.open(id).await?;
    if only_accounts {
        accounts(&archive).await
    } else {
        dump(&archive).await
    }
}

async fn accounts(archive: &Archive) -> Result<()> {
    match archive.accounts().await? {
        Some(sql) => write(&sql),
        None => Err(Error::nothing("the backup contains no accounts")
            .hint("to include accounts in further backups, set backup.accounts to require and run drctl doctor")),
    }
}

async fn dump(archive: &Archive) -> Result<()> {
    archive.check_documents().await?;
    let (mut frames, mut digests) = (archive.frames()?, SegmentDigests::default());
    while let Some(frame) = frames.read()? {
        write(&archive.fetch_in_turn(&frame, digests.turn()).await?)?;
    }
    Ok(())
}

/// Unlike in other commands, a reader that closes the pipe early is a failure: it did not read the whole
/// backup.
fn write(sql: &[u8]) -> Result<()> {
    std::io::stdout().lock().write_all(sql).map_err(|e| {
        Error::unexpected("cannot write the SQL to standard output")
            .because(e)
            .hint("the output is incomplete")
    })
}
