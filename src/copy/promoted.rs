//! The end of a copy: the side that it is for was promoted, and writes its own log into the second store.

use std::sync::Arc;
use std::time::Duration;

use crate::layout::TargetName;
use crate::lease::{self, Side};
use crate::store::Store;
use crate::{Error, Outcome, Result};

/// Pause between two looks at the lease: less than a promotion takes.
const PAUSE: Duration = Duration::from_secs(5);

/// Who may have been promoted.
#[derive(Debug, Clone)]
pub struct Promotable {
    /// The store of the lease.
    pub store: Arc<dyn Store>,
    /// The target.
    pub target: TargetName,
    /// The side that is built from the second store.
    pub side: Side,
}

impl Promotable {
    /// Fails if the side has the lease.
    ///
    /// # Errors
    /// `Refused`: it was promoted. Otherwise, that the lease cannot be read.
    pub async fn check(&self) -> Result<()> {
        let Promotable {
            store,
            target,
            side,
        } = self;
        match lease::state(store, target).await? {
            Some(state) if state.side == *side => Err(Error::refused(format!(
                "{side} was promoted: it has the lease of {target} since epoch {}, and nothing is copied over its log",
                state.epoch
            ))
            .hint("stop this copier; to copy from there to the other side, see runbooks/fail-back.md")),
            _ => Ok(()),
        }
    }

    /// Resolves when the side has the lease. A lease that cannot be read for a moment ends no copy.
    pub async fn promoted(&self) -> Error {
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.check().await {
                Err(error) if error.outcome() == Outcome::Refused => return error,
                Err(error) => tracing::debug!(%error, "cannot read the lease"),
                Ok(()) => {}
            }
        }
    }
}
