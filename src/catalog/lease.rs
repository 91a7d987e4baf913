//! Leases: objects that show that a run is at work on a backup. Rewritten periodically, removed at its end; the
//! lease of a killed run expires.
//!
//! - `running.json`, the heartbeat of a backup in progress, keeps cleanup from removing it as a leftover.
//! - `reading/…`, the lease of a restore or drill, keeps retention from deleting the backup. It is taken before
//!   the manifest is read. Best effort: a restore may have read access only, and is never delayed by its lease.
//!
//! The age of a lease is that of its object in the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use crate::archive::BackupPlace;
use crate::catalog::Catalog;
use crate::layout::BackupObject;
use crate::store::{Key, MOST_RECORD_BYTES, Store, StoreError};
use crate::util::error::{Error, Result};
use crate::util::panics;
use crate::util::process::Process;
use crate::util::times::hours;

/// Time after which a lease that was not renewed has expired.
pub const VALIDITY: SignedDuration = hours(24);

/// How a kind of lease is kept.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// For messages.
    what: &'static str,
    /// Interval of renewals, far shorter than the validity.
    renewal: Duration,
    /// Time limit for the store to write or remove the lease.
    timeout: Duration,
}

const HEARTBEAT: Kind = Kind {
    what: "the heartbeat",
    renewal: Duration::from_secs(60),
    timeout: Duration::MAX,
};

const READING: Kind = Kind {
    what: "the lease on the backup",
    renewal: Duration::from_secs(3600),
    timeout: Duration::from_secs(5),
};

/// A lease. If dropped without [`Lease::end`] it is no longer renewed, and expires.
#[derive(Debug)]
pub struct Lease {
    store: Arc<dyn Store>,
    key: Key,
    kind: Kind,
    renewing: AbortOnDropHandle<()>,
}

impl Lease {
    /// Begins the heartbeat of a backup in progress.
    pub async fn heartbeat(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<Lease> {
        Lease::begin(store, place.key(&BackupObject::Running), HEARTBEAT).await
    }

    /// Takes a lease on a backup that is about to be read; `None` if the store rejects it.
    pub async fn reading(store: &Arc<dyn Store>, place: &BackupPlace) -> Option<Lease> {
        let object = BackupObject::Reading {
            since: Timestamp::now(),
            random: rand::random::<u32>() & 0xff_ffff,
        };
        match Lease::begin(store, place.key(&object), READING).await {
            Ok(lease) => Some(lease),
            Err(error) => {
                tracing::info!(
                    %error,
                    "cannot take a lease on the backup: a concurrent prune could delete it"
                );
                None
            }
        }
    }

    async fn begin(store: &Arc<dyn Store>, key: Key, kind: Kind) -> Result<Lease> {
        write(store, &key, kind).await?;
        let renewing = tokio::spawn({
            let (key, store) = (key.clone(), Arc::clone(store));
            async move {
                panics::inject("task");
                loop {
                    tokio::time::sleep(kind.renewal).await;
                    if let Err(error) = write(&store, &key, kind).await {
                        tracing::warn!(%error, "cannot renew {}", kind.what);
                    }
                }
            }
        });
        Ok(Lease {
            store: Arc::clone(store),
            key,
            kind,
            renewing: AbortOnDropHandle::new(renewing),
        })
    }

    /// Removes the lease.
    pub async fn end(self) {
        self.renewing.abort();
        // A renewal in progress could recreate the object after its deletion.
        let _ = self.renewing.await;
        let what = self.kind.what;
        match tokio::time::timeout(self.kind.timeout, self.store.delete(&self.key)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::info!(%error, "cannot remove {what}; it expires within a day");
            }
            Err(_) => {
                tracing::info!(
                    "cannot remove {what}, the store timed out; it expires within a day"
                );
            }
        }
    }
}

/// Time after which the heartbeat of another run counts as that of a killed one: three renewals.
const SILENT: SignedDuration = SignedDuration::from_secs(3 * HEARTBEAT.renewal.as_secs() as i64);

/// Refuses to go on where another backup of the target is in progress. Called once the own heartbeat of `place` is
/// written: of two runs that begin at once, at least one finds the other.
///
/// Ages are compared by the clock of the store. A run on this machine is asked for by its process instead.
///
/// # Errors
/// `Locked`: another run is in progress.
pub async fn check_alone(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<()> {
    let own = store.head(&place.key(&BackupObject::Running)).await?;
    let catalog = Catalog::read(store.clone(), place.target.clone()).await?;
    for (id, _) in catalog.uncommitted().filter(|(id, _)| *id != place.id) {
        let key = catalog.place(id).key(&BackupObject::Running);
        let found = match store.head(&key).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let age = own.modified.duration_since(found.modified);
        if age <= SILENT && !has_ended(store, &key).await {
            return Err(Error::locked(format!(
                "backup {id} of {} is in progress: its heartbeat is {} s old",
                place.target,
                age.as_secs().max(0)
            ))
            .hint("wait for its end; if its run was killed, try again in three minutes"));
        }
    }
    Ok(())
}

/// Whether the process that writes a heartbeat is known to have ended.
async fn has_ended(store: &Arc<dyn Store>, key: &str) -> bool {
    let Ok(bytes) = store.get_at_most(key, MOST_RECORD_BYTES).await else {
        return false;
    };
    let stamp: Option<Stamp> = serde_json::from_slice(&bytes).ok();
    let process = stamp.and_then(|stamp| stamp.process);
    process.is_some_and(|process| process.is_of_this_machine() && !process.is_alive())
}

/// Content of leases.
#[derive(Serialize, Deserialize)]
struct Stamp {
    at: Timestamp,
    process: Option<Process>,
}

async fn write(store: &Arc<dyn Store>, key: &str, kind: Kind) -> Result<()> {
    let stamp = Stamp {
        at: Timestamp::now(),
        process: Process::own(),
    };
    let stamp = serde_json::to_vec(&stamp)
        .map_err(|e| Error::unexpected(format!("cannot write {}", kind.what)).because(e))?;
    // `put` although a lease is a new object: in a bucket with Object Lock it must not be retained.
    match tokio::time::timeout(kind.timeout, store.put(key, stamp.into())).await {
        Ok(put) => Ok(put?),
        Err(_) => Err(Error::store("the store timed out")),
    }
}

/// Content of markers and tombstones: when they were written. Only for operators; drctl does not read it.
pub fn stamp() -> Bytes {
    Bytes::from(format!("{{\"at\":\"{}\"}}\n", Timestamp::now()))
}
