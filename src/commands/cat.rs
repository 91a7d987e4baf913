//! `drctl cat`: a backup's SQL on standard output, for the ordinary tools.
//!
//! Every frame is checked before its first byte is written, and what follows a damaged one is not;
//! nor is the last frame of a segment that is not the one that the manifest names.

use std::io::Write;

use crate::archive::read::Archive;
use crate::archive::whole::Turns;
use crate::catalog::Catalog;
use crate::cli::CatArgs;
use crate::commands::Run;
use crate::error::{Error, Result};
use crate::reading::Reading;
use crate::store::keys::BackupId;

/// Writes it.
pub async fn run(run: &Run, args: CatArgs) -> Result<()> {
    let which = args.choose.which()?;
    let catalog = run.catalog().await?;
    let entry = run.cancel.unless(catalog.find(which)).await?;
    let place = catalog.place(entry.id);
    let lease = Reading::begin(&run.store, &place).await;
    let written = run
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
    match only_accounts {
        true => accounts(&archive).await,
        false => dump(&archive).await,
    }
}

async fn accounts(archive: &Archive) -> Result<()> {
    match archive.accounts().await? {
        Some(sql) => write(&sql),
        None => Err(Error::nothing("the backup holds no accounts")
            .hint("set backup.accounts to require, and see drctl doctor")),
    }
}

async fn dump(archive: &Archive) -> Result<()> {
    archive.check_documents().await?;
    let (mut frames, mut turns) = (archive.frames()?, Turns::default());
    while let Some(frame) = frames.read()? {
        write(&archive.fetch_in_turn(&frame, turns.take()).await?)?;
    }
    Ok(())
}

/// A reader that went away before the end has not read the backup: that is a failure, unlike in
/// other commands.
fn write(sql: &[u8]) -> Result<()> {
    std::io::stdout().lock().write_all(sql).map_err(|e| {
        Error::unexpected("cannot write the SQL to standard output")
            .because(e)
            .hint("whatever reads it has not got all of it")
    })
}
