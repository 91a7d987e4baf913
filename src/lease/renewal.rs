//! One renewal: which side has the newest epoch, and if it is this one, a new proof that it was at work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::layout::{Epoch, LeaseObject, TargetName};
use crate::lease::chain::{self, Chain};
use crate::lease::record::{FORMAT, Reason, Renewal};
use crate::lease::side::Side;
use crate::lease::take::{Taken, take};
use crate::lease::validity::{Now, Validity};
use crate::store::Store;
use crate::{Error, Result};

/// Who holds the lease, as far as this side knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// The store has not answered since the keeper started.
    Unknown,
    /// No side ever had the lease.
    Nobody,
    /// This side.
    Ours {
        /// Number of the epoch.
        epoch: Epoch,
        /// Until when this counts.
        validity: Validity,
        /// Whether earlier holders cannot be writable any more.
        fenced: bool,
    },
    /// Another side, or this one has given it up.
    Theirs {
        /// Number of the epoch.
        epoch: Epoch,
        /// Its holder.
        side: Side,
    },
}

/// Renews the lease of a side.
#[derive(Debug)]
pub(super) struct Renewer {
    store: Arc<dyn Store>,
    target: TargetName,
    side: Side,
    lease: Duration,
    /// Whether it takes the first epoch.
    takes_first: bool,
    /// Renewals since the keeper started.
    count: u64,
    /// Holders of epochs, which never change.
    holders: BTreeMap<Epoch, Side>,
    /// The newest epoch, if it is of this side, and since when that is known.
    taken: Option<Taken>,
}

impl Renewer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        target: TargetName,
        side: Side,
        lease: Duration,
        takes_first: bool,
    ) -> Renewer {
        Renewer {
            store,
            target,
            side,
            lease,
            takes_first,
            count: 0,
            holders: BTreeMap::new(),
            taken: None,
        }
    }

    /// Renews the lease if this side has the newest epoch both before and after. What is written between has no effect
    /// if it has not: it only makes others wait.
    pub(super) async fn once(&mut self, read_only_since: Option<Timestamp>) -> Result<Standing> {
        let from = Now::read();
        let mut chain = Chain::list(&self.store, &self.target).await?;
        // Only one who never saw an epoch: a store that lost them is not one that never had any.
        if chain.newest().is_none() && self.takes_first && self.holders.is_empty() {
            take(&self.store, &self.target, &self.side, Reason::First).await?;
            chain = Chain::list(&self.store, &self.target).await?;
        }
        let Some(epoch) = chain.newest() else {
            return Ok(Standing::Nobody);
        };
        self.check_nothing_is_lost(epoch)?;
        let side = self.holder(&chain, epoch).await?;
        if side != self.side || chain.marks(epoch).released {
            return Ok(Standing::Theirs { epoch, side });
        }
        let taken = self.taken(epoch);
        let fenced = taken.decide(&chain).await?.is_some();
        self.renew(epoch, read_only_since).await?;
        let chain = Chain::list(&self.store, &self.target).await?;
        match chain.newest() {
            Some(newest) if newest == epoch => Ok(Standing::Ours {
                epoch,
                validity: Validity {
                    from,
                    lease: self.lease,
                },
                fenced,
            }),
            Some(newest) => {
                let side = self.holder(&chain, newest).await?;
                Ok(Standing::Theirs {
                    epoch: newest,
                    side,
                })
            }
            None => Ok(Standing::Nobody),
        }
    }

    /// Refuses an epoch that is older than one that was seen: the store lost that one, and its holder may be writable.
    fn check_nothing_is_lost(&self, epoch: Epoch) -> Result<()> {
        match self.holders.last_key_value() {
            Some((seen, side)) if *seen > epoch => Err(Error::archive(format!(
                "epoch {seen} of the side {side} is gone from the store, which now has epoch {epoch}"
            ))
            .hint("find out who deletes objects below leader/, then promote the side that is to be writable")),
            _ => Ok(()),
        }
    }

    async fn renew(&mut self, epoch: Epoch, read_only_since: Option<Timestamp>) -> Result<()> {
        self.count = self.count.saturating_add(1);
        let record = Renewal {
            format: FORMAT,
            epoch,
            side: self.side.clone(),
            at: Timestamp::now(),
            count: self.count,
            lease_seconds: self.lease.as_secs(),
            read_only_since,
        };
        let object = LeaseObject::Renewed(epoch);
        Ok(chain::put(&self.store, &self.target, object, &record).await?)
    }

    async fn holder(&mut self, chain: &Chain, epoch: Epoch) -> Result<Side> {
        if let Some(side) = self.holders.get(&epoch) {
            return Ok(side.clone());
        }
        let side = chain.taking(epoch).await?.side;
        self.holders.insert(epoch, side.clone());
        Ok(side)
    }

    fn taken(&mut self, epoch: Epoch) -> Taken {
        let known = self.taken.take().filter(|taken| taken.epoch == epoch);
        let taken = known.unwrap_or_else(|| Taken {
            store: self.store.clone(),
            target: self.target.clone(),
            side: self.side.clone(),
            epoch,
            since: Instant::now(),
        });
        self.taken.insert(taken).clone()
    }
}
