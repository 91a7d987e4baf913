//! The lease of whoever reads a backup: retention spares what somebody restores from.
//!
//! Taken before the manifest is read, renewed while the reading lasts, given back at its end; one that a
//! killed reader left counts for a day. Best effort in every step: whoever restores may only be allowed
//! to read, and a restore is never held up by it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::store::keys::BackupObject;
use crate::store::{Key, Store};

/// How often it is renewed; far more often than it ends.
const RENEWAL: Duration = Duration::from_secs(3600);

/// How long the store may take to note it, or to forget it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lease. Dropped without [`Reading::end`], it is no longer renewed, and ends by itself.
#[derive(Debug)]
pub struct Reading {
    store: Arc<dyn Store>,
    key: Key,
    renewing: tokio::task::JoinHandle<()>,
}

impl Reading {
    /// Takes a lease on a backup; `None` where the store does not take it.
    pub async fn begin(store: &Arc<dyn Store>, place: &BackupPlace) -> Option<Reading> {
        let lease = BackupObject::Reading {
            since: Timestamp::now(),
            random: rand::random::<u32>() & 0xff_ffff,
        };
        let (key, store) = (place.key(&lease), Arc::clone(store));
        if let Err(why) = renew(&store, &key).await {
            tracing::info!(
                why,
                "no lease on the backup: a prune at the same time would not spare it"
            );
            return None;
        }
        let renewing = tokio::spawn({
            let (key, store) = (key.clone(), Arc::clone(&store));
            async move {
                loop {
                    tokio::time::sleep(RENEWAL).await;
                    if let Err(why) = renew(&store, &key).await {
                        tracing::warn!(why, "cannot renew the lease on the backup");
                    }
                }
            }
        });
        Some(Reading {
            store,
            key,
            renewing,
        })
    }

    /// Gives it back.
    pub async fn end(self) {
        self.renewing.abort();
        match tokio::time::timeout(PATIENCE, self.store.delete(&self.key)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::info!(%error, "the lease on the backup stays for a day"),
            Err(_) => tracing::info!("the lease on the backup stays for a day: the store is slow"),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(store: &Arc<dyn Store>, key: &str) -> Result<(), String> {
    let body = Bytes::from(format!("{{\"at\":\"{}\"}}\n", Timestamp::now()));
    // `put`, although it is new: on a bucket with Object Lock it must not be retained.
    match tokio::time::timeout(PATIENCE, store.put(key, body)).await {
        Ok(put) => put.map_err(|error| error.to_string()),
        Err(_) => Err("the store is slow".into()),
    }
}
