//! What a killed backup leaves behind, and the heartbeat that spares one that is still at work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::archive::BackupPlace;
use crate::archive::write::commit;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::store::Store;
use crate::store::keys::BackupObject;

/// How often the heartbeat of a running backup is written.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// How old an uncommitted backup's newest object must be before it counts as left over.
const OLD: SignedDuration = SignedDuration::from_hours(24);

/// Removes what killed runs left behind. Best effort.
pub async fn sweep(store: &Arc<dyn Store>, catalog: &Catalog) {
    let old = Timestamp::now() - OLD;
    for (id, marks) in catalog.uncommitted() {
        if marks.modified_at.is_some_and(|at| at < old) {
            tracing::info!(%id, "sweeping what a killed backup left");
            commit::discard(store, &catalog.place(id)).await;
        }
    }
    match store
        .abort_stale_uploads(&catalog.target().prefix(), old)
        .await
    {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "aborted uploads that killed backups left"),
        Err(error) => tracing::warn!(%error, "cannot look for unfinished uploads"),
    }
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
    pub async fn end(self) {
        self.beating.abort();
        let _ = self.beating.await;
        if let Err(error) = self.store.delete(&self.key).await {
            tracing::warn!(%error, "cannot delete the heartbeat");
        }
    }
}
