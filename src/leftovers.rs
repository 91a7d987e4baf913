//! What killed runs leave behind, and the heartbeat that spares a backup that is still at work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::archive::BackupPlace;
use crate::archive::remove::LEASE;
use crate::archive::write::commit;
use crate::catalog::{Catalog, Marks};
use crate::error::Result;
use crate::panics;
use crate::store::Store;
use crate::store::keys::{BackupId, BackupObject};
use crate::times::{before, hours};

/// How often the heartbeat of a running backup is written.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// How old an uncommitted backup's newest object must be before it counts as left over.
const OLD: SignedDuration = hours(24);

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// What was left of backups that were never committed, or whose deletion was interrupted.
    pub backups: Vec<BackupId>,
    /// Uploads that were begun and never completed.
    pub uploads: usize,
}

/// What a sweep of now would remove, uploads apart: what was begun and not touched for a day, and what
/// an interrupted deletion left, as long as nobody reads it.
pub fn left_over(catalog: &Catalog, now: Timestamp) -> Vec<BackupId> {
    let old = before(now, OLD);
    let is_left_over = |marks: &Marks| match marks.pruned {
        Some(_) => marks.read_at.is_none_or(|at| at < before(now, LEASE)),
        None => marks.modified_at.is_some_and(|at| at < old),
    };
    let left_over = catalog
        .uncommitted()
        .filter(|(_, marks)| is_left_over(marks));
    left_over.map(|(id, _)| id).collect()
}

/// Removes what killed runs left behind. Best effort: what fails is logged, and stays for the next one.
pub async fn sweep(store: &Arc<dyn Store>, catalog: &Catalog) -> Swept {
    let now = Timestamp::now();
    let mut swept = Swept {
        backups: left_over(catalog, now),
        uploads: 0,
    };
    for id in &swept.backups {
        tracing::info!(%id, "sweeping what a killed run left");
        commit::discard(store, &catalog.place(*id)).await;
    }
    let old = before(now, OLD);
    // The upload of a backup that takes longer than a day is not a stale one.
    if catalog
        .uncommitted()
        .any(|(_, marks)| marks.modified_at.is_some_and(|at| at >= old))
    {
        return swept;
    }
    match store
        .abort_stale_uploads(&catalog.target().prefix(), old)
        .await
    {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(count, "aborted uploads that killed backups left");
            swept.uploads = count;
        }
        Err(error) => tracing::warn!(%error, "cannot look for unfinished uploads"),
    }
    swept
}

/// Keeps `running.json` fresh, so that a sweep spares the backup in the making.
#[derive(Debug)]
pub struct Heartbeat {
    store: Arc<dyn Store>,
    key: String,
    beating: tokio::task::JoinHandle<()>,
}

impl Heartbeat {
    /// Writes the first beat, and the others until [`Heartbeat::end`].
    pub async fn begin(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<Self> {
        let key = place.key(&BackupObject::Running);
        let store = Arc::clone(store);
        let beat = |at: Timestamp| Bytes::from(format!("{{\"at\":\"{at}\"}}\n"));
        store.put(&key, beat(Timestamp::now())).await?;
        let beating = tokio::spawn({
            let (key, store) = (key.clone(), Arc::clone(&store));
            async move {
                panics::inject("task");
                loop {
                    tokio::time::sleep(HEARTBEAT).await;
                    if let Err(error) = store.put(&key, beat(Timestamp::now())).await {
                        tracing::warn!(%error, "cannot write the heartbeat");
                    }
                }
            }
        });
        Ok(Heartbeat {
            store,
            key,
            beating,
        })
    }

    /// Stops, and removes it.
    pub async fn end(mut self) {
        self.beating.abort();
        // A beat on its way would come back behind the deletion.
        let _ = (&mut self.beating).await;
        if let Err(error) = self.store.delete(&self.key).await {
            tracing::warn!(%error, "cannot delete the heartbeat");
        }
    }
}

/// Without [`Heartbeat::end`] it no longer beats, and ends by its age.
impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.beating.abort();
    }
}
