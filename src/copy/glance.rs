//! What the second store has of a target, for a few requests whatever its size.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::{Catalog, Which};
use crate::copy::ends::of_second;
use crate::layout::TargetName;
use crate::store::Store;
use crate::stream::glance::{Glance, Glancer};
use crate::{Error, Outcome, Result};

/// Time limit: a second store that does not answer must not hide the state of the primary one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The state of a second store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyGlance {
    /// Description of the store, without secrets.
    pub store: String,
    /// Snapshot of the newest usable backup; `None` if there is none.
    pub snapshot_at: Option<Timestamp>,
    /// Up to when every commit can be restored from the log behind a backup; `None` if none can.
    pub restorable_until: Option<Timestamp>,
    /// Maximum age of what can be restored from it, `copy.rpo_seconds`.
    pub objective: Option<SignedDuration>,
    /// Why it could not be read; what it had before is kept. `None` if it could.
    pub failing: Option<String>,
}

impl CopyGlance {
    /// Up to when the data can be restored from the second store alone.
    pub fn recovery_point(&self) -> Option<Timestamp> {
        self.snapshot_at.max(self.restorable_until)
    }

    /// Age of what can be restored from it, if that exceeds the objective; without a copy, since `known_since`.
    pub fn behind(&self, known_since: Option<Timestamp>, now: Timestamp) -> Option<SignedDuration> {
        let age = now.duration_since(self.recovery_point().or(known_since)?);
        self.objective.filter(|most| age > *most).map(|_| age)
    }
}

/// Looks at a second store, again and again.
#[derive(Debug)]
pub struct CopyWatcher {
    store: Arc<dyn Store>,
    target: TargetName,
    log: Glancer,
    last: CopyGlance,
}

impl CopyWatcher {
    /// One that has seen nothing.
    pub fn new(
        store: Arc<dyn Store>,
        target: TargetName,
        objective: Option<SignedDuration>,
    ) -> CopyWatcher {
        let last = CopyGlance {
            store: store.location(),
            objective,
            ..CopyGlance::default()
        };
        CopyWatcher {
            log: Glancer::new(store.clone(), target.clone()),
            store,
            target,
            last,
        }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Looks. A failure is part of the result.
    pub async fn look(&mut self, now: Timestamp) -> CopyGlance {
        let looked = tokio::time::timeout(TIMEOUT, self.read(now)).await;
        let late = || Err(Error::store("it did not answer in time"));
        match looked.unwrap_or_else(|_| late()) {
            Ok((snapshot_at, log)) => {
                self.last.snapshot_at = snapshot_at;
                self.last.restorable_until = log.and_then(|log| log.restorable_until());
                self.last.failing = None;
            }
            Err(error) => self.last.failing = Some(of_second(error).to_string()),
        }
        self.last.clone()
    }

    async fn read(&mut self, now: Timestamp) -> Result<(Option<Timestamp>, Option<Glance>)> {
        if self.store.keys().refresh() {
            self.log = Glancer::new(self.store.clone(), self.target.clone());
        }
        let catalog = Catalog::read(self.store.clone(), self.target.clone()).await?;
        let newest = match catalog.find(Which::Latest).await {
            Ok(newest) => newest,
            Err(error) if error.outcome() == Outcome::NothingToDo => return Ok((None, None)),
            Err(error) => return Err(error),
        };
        let bases = newest.is_base().then_some(&newest.manifest);
        let bases: Vec<_> = bases.into_iter().collect();
        let log = self.log.look(&bases, now).await?;
        Ok((Some(newest.manifest.snapshot_at), log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_behind_by_what_can_be_restored_from_it() {
        let time = |hour: i64| Timestamp::from_second(hour * 3_600).unwrap();
        let hours = |hours: i64| SignedDuration::from_hours(hours);
        let copy = |snapshot_at, restorable_until, objective| CopyGlance {
            snapshot_at,
            restorable_until,
            objective,
            ..CopyGlance::default()
        };
        let five = Some(hours(5));
        let (old, new) = (Some(time(10)), Some(time(16)));
        for (copy, behind) in [
            (copy(old, None, five), Some(hours(10))),
            (copy(old, new, five), None),
            (copy(new, None, five), None),
            (copy(None, None, five), Some(hours(19))),
            (copy(old, None, None), None),
            (copy(Some(time(15)), None, five), None),
        ] {
            assert_eq!(copy.behind(Some(time(1)), time(20)), behind, "{copy:?}");
        }
        assert_eq!(copy(None, None, five).behind(None, time(20)), None);
    }
}
