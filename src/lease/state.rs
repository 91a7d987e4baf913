//! Who holds the lease, for operators and `promote`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::Result;
use crate::layout::{Epoch, TargetName};
use crate::lease::How;
use crate::lease::chain::Chain;
use crate::lease::record::Reason;
use crate::lease::side::Side;
use crate::store::Store;

/// The newest epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Number of the epoch.
    pub epoch: Epoch,
    /// Its holder.
    pub side: Side,
    /// When it was taken, by the clock of its holder.
    pub taken_at: Timestamp,
    /// Why it was taken.
    pub reason: Reason,
    /// Its last renewal; `None` if no keeper of its holder has run since.
    pub renewed: Option<Renewed>,
    /// How earlier holders were fenced; `None` if they may be writable.
    pub fenced: Option<How>,
    /// Sides whose keeper ever renewed a lease of the target.
    pub keepers: BTreeSet<Side>,
}

/// The last renewal of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renewed {
    /// When, by the clock of the holder.
    pub at: Timestamp,
    /// When, by the clock of the store.
    pub stored_at: Timestamp,
    /// Validity of a renewal.
    pub lease_seconds: u64,
    /// Since when the holder's server is read-only; `None` if it is writable or unknown.
    pub read_only_since: Option<Timestamp>,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, epoch, since) = (&self.side, self.epoch, self.taken_at);
        write!(f, "side {side}, epoch {epoch} since {since}")
    }
}

impl State {
    /// Whether another side ever kept a lease: without one, nothing makes its server read-only.
    pub fn is_kept_by_another(&self, side: &Side) -> bool {
        self.keepers.iter().any(|keeper| keeper != side)
    }
}

/// Reads who holds the lease of a target; `None` if no side ever had it.
pub async fn state(store: &Arc<dyn Store>, target: &TargetName) -> Result<Option<State>> {
    let chain = Chain::list(store, target).await?;
    let Some(epoch) = chain.newest() else {
        return Ok(None);
    };
    let (taking, marks) = (chain.taking(epoch).await?, chain.marks(epoch));
    let renewed = match marks.renewed {
        Some(stored_at) => {
            let renewal = chain.renewal(epoch).await?;
            Some(Renewed {
                at: renewal.at,
                stored_at,
                lease_seconds: renewal.lease_seconds,
                read_only_since: renewal.read_only_since,
            })
        }
        None => None,
    };
    let fenced = match marks.fenced {
        true => Some(chain.fencing(epoch).await?.how),
        false => None,
    };
    let mut keepers = BTreeSet::new();
    for (epoch, marks) in chain.all() {
        if marks.renewed.is_some() {
            keepers.insert(chain.taking(epoch).await?.side);
        }
    }
    Ok(Some(State {
        epoch,
        side: taking.side,
        taken_at: taking.taken_at,
        reason: taking.reason,
        renewed,
        fenced,
        keepers,
    }))
}
