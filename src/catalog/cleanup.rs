//! Removes leftovers of interrupted runs: incomplete backups and unfinished uploads.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::archive::write::commit;
use crate::catalog::{Catalog, Marks, lease};
use crate::layout::BackupId;
use crate::store::Store;
use crate::util::error::Result;
use crate::util::times::{before, hours};

/// Minimum age of the newest object of an incomplete backup that counts as a leftover, and of an unfinished
/// upload.
const MIN_AGE: SignedDuration = hours(24);

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Backups that were never committed, or whose deletion was interrupted.
    pub backups: Vec<BackupId>,
    /// Number of unfinished uploads.
    pub uploads: usize,
}

/// Finds backups that were begun and not modified for a day, and backups whose deletion was interrupted and that
/// no run reads. Checks for each that its manifest does not exist.
///
/// # Errors
/// `Store` if a manifest exists that was not listed, or may exist. Then the rest of the list is not reliable
/// either.
pub async fn find_leftovers(
    store: &Arc<dyn Store>,
    catalog: &Catalog,
    now: Timestamp,
) -> Result<Vec<BackupId>> {
    let old = before(now, MIN_AGE);
    let is_leftover = |marks: &Marks| match marks.pruned {
        Some(_) => marks
            .read_at
            .is_none_or(|at| at < before(now, lease::VALIDITY)),
        None => marks.modified_at.is_some_and(|at| at < old),
    };
    let leftovers: Vec<BackupId> = catalog
        .uncommitted()
        .filter(|(_, marks)| is_leftover(marks))
        .map(|(id, _)| id)
        .collect();
    for id in &leftovers {
        commit::check_uncommitted(store, &catalog.place(*id)).await?;
    }
    Ok(leftovers)
}

/// Removes leftovers found by [`find_leftovers`], and stale uploads. Best effort: failures are logged, and the
/// next run tries again.
pub async fn remove_leftovers(
    store: &Arc<dyn Store>,
    catalog: &Catalog,
    backups: Vec<BackupId>,
) -> Removed {
    for id in &backups {
        tracing::info!(%id, "removing leftovers of an interrupted run");
        commit::discard(store, &catalog.place(*id)).await;
    }
    Removed {
        uploads: abort_uploads(store, catalog).await,
        backups,
    }
}

async fn abort_uploads(store: &Arc<dyn Store>, catalog: &Catalog) -> usize {
    let old = before(Timestamp::now(), MIN_AGE);
    // A backup in progress may have an upload that is older than that.
    if catalog
        .uncommitted()
        .any(|(_, marks)| marks.modified_at.is_some_and(|at| at >= old))
    {
        return 0;
    }
    let prefix = catalog.target().prefix();
    match store.abort_stale_uploads(&prefix, old).await {
        Ok(0) => 0,
        Ok(count) => {
            tracing::info!(count, "aborted uploads of interrupted backups");
            count
        }
        Err(error) => {
            tracing::warn!(%error, "cannot find unfinished uploads");
            0
        }
    }
}
