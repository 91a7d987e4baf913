//! Taking the next epoch.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::layout::{Epoch, LeaseObject, TargetName};
use crate::lease::chain::{self, Chain};
use crate::lease::record::{FORMAT, Reason, Renewal, Taking, nonce};
use crate::lease::side::Side;
use crate::store::{Store, StoreError};
use crate::util::times::instant_in;
use crate::{Error, Result};

/// An epoch that this side has taken.
#[derive(Debug, Clone)]
pub struct Taken {
    pub(super) store: Arc<dyn Store>,
    pub(super) target: TargetName,
    pub(super) side: Side,
    pub(super) epoch: Epoch,
    /// A moment at which the store had the epoch.
    pub(super) since: Instant,
}

impl Taken {
    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Says directly before the server becomes writable that it may: the side that takes a later epoch waits as for a keeper.
    /// Returns until when the server may become writable by this.
    ///
    /// # Errors
    /// `Locked`: another side has taken a later epoch.
    pub async fn confirm(&self, lease: Duration) -> Result<Instant> {
        let record = Renewal {
            format: FORMAT,
            epoch: self.epoch,
            side: self.side.clone(),
            at: Timestamp::now(),
            count: 0,
            lease_seconds: lease.as_secs(),
            read_only_since: None,
        };
        let chain = Chain::list(&self.store, &self.target).await?;
        if chain.marks(self.epoch).renewed.is_none() {
            let object = LeaseObject::Renewed(self.epoch);
            chain::put(&self.store, &self.target, object, &record).await?;
        }
        let until = instant_in(lease);
        let newest = Chain::list(&self.store, &self.target).await?.newest();
        match newest == Some(self.epoch) {
            true => Ok(until),
            false => Err(Error::locked(format!(
                "another side has taken the lease of {} after epoch {}",
                self.target, self.epoch
            ))
            .hint("check with drctl lease --show which side is to be writable")),
        }
    }
}

/// Takes the next epoch for a side, which demotes the holder of the one before. If the side has the newest one already,
/// that is returned: a run that was killed may be repeated.
///
/// # Errors
/// `Locked`: another run took the epoch at the same time. `Store`: the error says whether it is unknown if the epoch was
/// taken.
pub async fn take(
    store: &Arc<dyn Store>,
    target: &TargetName,
    side: &Side,
    reason: Reason,
) -> Result<Taken> {
    let chain = Chain::list(store, target).await?;
    let taken = |epoch| Taken {
        store: store.clone(),
        target: target.clone(),
        side: side.clone(),
        epoch,
        since: Instant::now(),
    };
    let epoch = match chain.newest() {
        None => Epoch::FIRST,
        // What was released is never valid again.
        Some(newest)
            if chain.taking(newest).await?.side == *side && !chain.marks(newest).released =>
        {
            return Ok(taken(newest));
        }
        Some(newest) => newest
            .next()
            .ok_or_else(|| Error::refused(format!("{target} has no epoch after {newest}")))?,
    };
    let taking = Taking {
        format: FORMAT,
        target: target.clone(),
        epoch,
        side: side.clone(),
        taken_at: Timestamp::now(),
        reason,
        nonce: nonce(),
    };
    put(store, target, &taking).await?;
    Ok(taken(epoch))
}

async fn put(store: &Arc<dyn Store>, target: &TargetName, taking: &Taking) -> Result<()> {
    let object = LeaseObject::Taken(taking.epoch);
    let failed = match chain::put_new(store, target, object, taking).await {
        Ok(true) => return Ok(()),
        Ok(false) => None,
        Err(error @ StoreError::Failed { .. }) => Some(error),
        Err(error) => return Err(error.into()),
    };
    // The response to a PUT may be lost, and the object be there.
    let found = store
        .get_at_most(
            &target.lease_object(object),
            crate::store::MOST_RECORD_BYTES,
        )
        .await;
    let found = match (found, failed) {
        (Ok(_), _) => chain::read::<Taking>(store, target, object).await?,
        (Err(_), Some(error)) => {
            return Err(Error::from(error).context(format!("take epoch {} of {target}", taking.epoch)).hint(
                "it is unknown whether the epoch was taken: run drctl lease --show when the store is reachable, then this again",
            ));
        }
        (Err(error), None) => return Err(error.into()),
    };
    match found.nonce == taking.nonce {
        true => Ok(()),
        false => Err(Error::locked(format!(
            "another run took epoch {} of {target} for the side {}",
            taking.epoch, found.side
        ))
        .hint("check with drctl lease --show which side is to be writable")),
    }
}
