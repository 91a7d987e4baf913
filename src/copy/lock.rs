//! The lease of a copier: one at a time for each target of a second store.
//!
//! An object of the second store that its holder rewrites periodically. No clock is compared: whoever finds a lease
//! watches whether it changes. On the same machine the process is asked for instead. The lease keeps two copiers from
//! doing the same work twice; what they write is safe without it, since objects are only created.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::copy::ends::{Ends, of_second};
use crate::store::{MOST_RECORD_BYTES, Store, StoreError};
use crate::util::cancel::tidy;
use crate::util::process::Process;
use crate::{Error, Result};

/// Interval of renewals.
const RENEWAL: Duration = Duration::from_secs(20);

/// Interval at which the lease of another machine is watched, and number of looks without a change after which its
/// holder counts as dead: more than three renewals.
const WATCH: Duration = Duration::from_secs(5);
const LOOKS: u32 = 14;

/// The lease as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    /// When it was renewed, by the holder's clock; also what makes a renewal differ from the one before.
    at: Timestamp,
    /// Who holds it: random.
    holder: String,
    /// The process that holds it.
    process: Option<Process>,
    /// Whether its holder has ended.
    ended: bool,
}

/// A lease that is held.
#[derive(Debug)]
pub struct CopierLease {
    store: Arc<dyn Store>,
    key: String,
    body: Body,
    lost: CancellationToken,
    renewing: AbortOnDropHandle<()>,
}

impl CopierLease {
    /// Takes the lease of a target.
    ///
    /// # Errors
    /// `Locked`: another copier holds it.
    pub async fn take(ends: &Ends) -> Result<CopierLease> {
        let (store, key) = (ends.second.clone(), ends.target.copying());
        wait_for_end(ends, &key, WATCH).await?;
        let body = Body {
            at: Timestamp::now(),
            holder: format!("{:016x}", rand::random::<u64>()),
            process: Process::own(),
            ended: false,
        };
        write(&store, &key, &body).await?;
        // Another copier may have found the same.
        if read(&store, &key).await?.map(|found| found.holder) != Some(body.holder.clone()) {
            return Err(locked(ends));
        }
        let lost = CancellationToken::new();
        let renewing = tokio::spawn(renew(
            store.clone(),
            key.clone(),
            body.clone(),
            lost.clone(),
        ));
        Ok(CopierLease {
            store,
            key,
            body,
            lost,
            renewing: AbortOnDropHandle::new(renewing),
        })
    }

    /// Resolves when another copier has taken the lease.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives the lease back, so that the next copier need not watch it. Rewritten rather than deleted: a copier need
    /// not have the permission to delete.
    pub async fn end(mut self) {
        self.renewing.abort();
        let _ = self.renewing.await;
        if self.lost.is_cancelled() {
            return;
        }
        self.body.ended = true;
        if let Some(Err(error)) = tidy(write(&self.store, &self.key, &self.body)).await {
            tracing::info!(%error, "cannot end the lease of the copier; the next one waits for about a minute");
        }
    }
}

/// Returns when nobody holds the lease.
async fn wait_for_end(ends: &Ends, key: &str, watch: Duration) -> Result<()> {
    let Some(found) = ends.cancel.unless(read(&ends.second, key)).await? else {
        return Ok(());
    };
    match &found.process {
        _ if found.ended => return Ok(()),
        Some(process) if process.is_of_this_machine() => {
            return match process.is_alive() {
                true => Err(locked(ends)),
                false => Ok(()),
            };
        }
        _ => {}
    }
    tracing::info!("another copier has not ended; checking whether it still runs");
    for _ in 0..LOOKS {
        let pause = async {
            tokio::time::sleep(watch).await;
            read(&ends.second, key).await
        };
        match ends.cancel.unless(pause).await? {
            Some(now) if now == found => {}
            Some(now) if !now.ended => return Err(locked(ends)),
            _ => return Ok(()),
        }
    }
    Ok(())
}

async fn renew(store: Arc<dyn Store>, key: String, mut body: Body, lost: CancellationToken) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        match read(&store, &key).await {
            Ok(Some(found)) if found.holder != body.holder => {
                lost.cancel();
                return;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot renew the lease of the copier");
                continue;
            }
        }
        body.at = Timestamp::now();
        if let Err(error) = write(&store, &key, &body).await {
            tracing::warn!(%error, "cannot renew the lease of the copier");
        }
    }
}

/// The error of a copier that found, or was replaced by, another one.
pub fn locked(ends: &Ends) -> Error {
    Error::locked(format!(
        "another run copies {} to {}",
        ends.target,
        ends.second.location()
    ))
    .hint("let one copier run for each target and second store")
}

async fn read(store: &Arc<dyn Store>, key: &str) -> Result<Option<Body>> {
    match store.get_at_most(key, MOST_RECORD_BYTES).await {
        // An unreadable lease is nobody's.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(of_second(error)),
    }
}

async fn write(store: &Arc<dyn Store>, key: &str, body: &Body) -> Result<()> {
    let json = serde_json::to_vec(body)
        .map_err(|e| Error::unexpected("cannot write the lease of the copier").because(e))?;
    store.put(key, Bytes::from(json)).await.map_err(of_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        let store: Arc<dyn Store> = Arc::new(crate::store::memory::MemoryStore::default());
        Ends {
            primary: store.clone(),
            second: store,
            target: "shop".parse().unwrap(),
            limiter: Arc::new(crate::copy::rate::Limiter::new(None)),
            objects_at_once: 1,
            cancel: crate::util::cancel::Cancel::default(),
        }
    }

    async fn hold(ends: &Ends, process: Option<Process>) -> Body {
        let body = Body {
            at: Timestamp::now(),
            holder: "another".into(),
            process,
            ended: false,
        };
        write(&ends.second, &ends.target.copying(), &body)
            .await
            .unwrap();
        body
    }

    #[tokio::test]
    async fn a_lease_that_does_not_change_is_taken_and_its_holder_learns_of_it() {
        let (ends, watch) = (ends(), Duration::from_millis(2));
        let key = ends.target.copying();
        let elsewhere = Process {
            boot: "another".into(),
            ..Process::own().unwrap()
        };
        hold(&ends, Some(elsewhere)).await;
        wait_for_end(&ends, &key, watch).await.unwrap();
        // A dead process of this machine is not watched at all.
        let dead = Process {
            started: "1".into(),
            ..Process::own().unwrap()
        };
        hold(&ends, Some(dead)).await;
        let lease = CopierLease::take(&ends).await.unwrap();
        assert!(
            CopierLease::take(&ends).await.is_err(),
            "this process is alive"
        );
        lease.end().await;
        CopierLease::take(&ends).await.unwrap().end().await;
    }

    #[tokio::test]
    async fn a_lease_that_changes_is_respected() {
        let (ends, watch) = (ends(), Duration::from_millis(20));
        let mut body = hold(&ends, None).await;
        let key = ends.target.copying();
        let renewing = async {
            tokio::time::sleep(watch).await;
            body.at = Timestamp::now();
            write(&ends.second, &key, &body).await.unwrap();
        };
        let (waited, ()) = tokio::join!(wait_for_end(&ends, &key, watch), renewing);
        assert_eq!(waited.unwrap_err().outcome(), crate::Outcome::Locked);
    }
}
