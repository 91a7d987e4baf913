//! When no earlier holder can be writable any more.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::layout::{Epoch, LeaseObject};
use crate::lease::chain::{self, Chain};
use crate::lease::record::{FORMAT, Fencing};
use crate::lease::take::Taken;
use crate::lease::{FENCING, MOST_LEASE_SECONDS};
use crate::util::cancel::Cancel;
use crate::{Error, Outcome, Result};

/// Pause between two looks at the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Error of the difference of two modification times of a store: each is truncated to a second, and the clocks of its
/// servers may differ by some.
const STORE_CLOCK_ERROR: Duration = Duration::from_secs(5);

/// Why no earlier holder can be writable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum How {
    /// The holder before is read-only, and says so.
    Released {
        /// When, by its clock.
        at: Timestamp,
        /// What its server had executed.
        gtids: String,
    },
    /// The lease of the holder before has ended.
    Expired,
    /// No other side ever kept a lease. Nothing says whether its server is writable.
    NeverHeld,
}

impl Taken {
    /// Resolves when no earlier holder can be writable any more, and records it: at once if it has released the lease or
    /// did not renew it for long, else after the validity of its last renewal and [`FENCING`].
    ///
    /// # Errors
    /// `Locked`: another side took a later epoch meanwhile.
    pub async fn fenced(&self, cancel: &Cancel) -> Result<How> {
        loop {
            let looked = cancel.unless(self.look()).await;
            match looked {
                Ok(Some(how)) => return Ok(how),
                // A store that does not answer for a moment does not end a promotion.
                Err(error) if error.outcome() == Outcome::Store && self.may_retry() => {
                    tracing::warn!(%error, "cannot read the lease; retrying");
                }
                Err(error) => return Err(error),
                Ok(None) => {}
            }
            cancel.pause(PAUSE).await?;
        }
    }

    fn may_retry(&self) -> bool {
        self.since.elapsed() < Duration::from_secs(2 * MOST_LEASE_SECONDS)
    }

    async fn look(&self) -> Result<Option<How>> {
        let chain = Chain::list(&self.store, &self.target).await?;
        if let Some(newest) = chain.newest().filter(|newest| *newest > self.epoch) {
            let side = chain.taking(newest).await?.side;
            return Err(Error::locked(format!(
                "the side {side} took epoch {newest} of {}, after epoch {}",
                self.target, self.epoch
            ))
            .hint("check with drctl lease --show which side is to be writable"));
        }
        self.decide(&chain).await
    }

    /// How earlier holders are fenced, which is then recorded; `None` if one may be writable.
    pub(super) async fn decide(&self, chain: &Chain) -> Result<Option<How>> {
        if chain.marks(self.epoch).fenced {
            return Ok(Some(chain.fencing(self.epoch).await?.how));
        }
        let Some(how) = self.found(chain).await? else {
            return Ok(None);
        };
        let record = Fencing {
            format: FORMAT,
            epoch: self.epoch,
            at: Timestamp::now(),
            how: how.clone(),
        };
        let object = LeaseObject::Fenced(self.epoch);
        // Two runs of a side may find it at the same time.
        chain::put_new(&self.store, &self.target, object, &record).await?;
        Ok(Some(how))
    }

    /// Goes through the epochs before, down to one whose earlier holders are fenced.
    async fn found(&self, chain: &Chain) -> Result<Option<How>> {
        let taken_at = chain.marks(self.epoch).taken;
        let (mut how, mut waits) = (None, Duration::ZERO);
        for (epoch, marks) in chain.before(self.epoch) {
            let is_own = chain.taking(epoch).await?.side == self.side;
            // A side that never renewed an epoch was not writable in it.
            if let Some(renewed_at) = marks.renewed.filter(|_| !is_own) {
                let this = match marks.released {
                    true => {
                        let release = chain.release(epoch).await?;
                        How::Released {
                            at: release.at,
                            gtids: release.gtids,
                        }
                    }
                    false => {
                        let validity = self.validity(chain, epoch).await?;
                        let expired = has_expired(taken_at, renewed_at, validity);
                        if !(expired && self.store.has_one_clock()) {
                            waits = waits.max(validity.saturating_add(FENCING));
                        }
                        How::Expired
                    }
                };
                how.get_or_insert(this);
            }
            if marks.fenced {
                if how.is_none() {
                    how = Some(chain.fencing(epoch).await?.how);
                }
                break;
            }
        }
        let is_over = self.since.elapsed() >= waits;
        Ok(is_over.then(|| how.unwrap_or(How::NeverHeld)))
    }

    /// Validity of the last renewal of an epoch; the longest that can be configured if it cannot be read.
    async fn validity(&self, chain: &Chain, epoch: Epoch) -> Result<Duration> {
        match chain.renewal(epoch).await {
            Ok(renewal) => Ok(Duration::from_secs(
                renewal.lease_seconds.min(MOST_LEASE_SECONDS),
            )),
            Err(error) if error.outcome() == Outcome::Archive => {
                tracing::warn!(%error, "waiting for the longest possible lease");
                Ok(Duration::from_secs(MOST_LEASE_SECONDS))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a lease renewed at one time of the store's clock had ended at another one of the same clock.
fn has_expired(taken_at: Option<Timestamp>, renewed_at: Timestamp, validity: Duration) -> bool {
    let bound = validity
        .saturating_add(FENCING)
        .saturating_add(STORE_CLOCK_ERROR);
    let bound = SignedDuration::try_from(bound).unwrap_or(SignedDuration::MAX);
    taken_at.is_some_and(|taken_at| taken_at.duration_since(renewed_at) > bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_store_count_only_beyond_their_error() {
        let at = |second: i64| Timestamp::from_second(1_000 + second).ok();
        let validity = Duration::from_secs(20);
        let expired = |taken| has_expired(at(taken), at(0).unwrap(), validity);
        assert!(!expired(0) && !expired(30) && expired(31));
        assert!(!expired(-500), "the clock of the store went back");
        assert!(!has_expired(None, at(0).unwrap(), validity));
    }
}
