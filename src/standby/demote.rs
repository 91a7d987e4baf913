//! The other end of a failover: a side that was the primary takes no more writes.
//!
//! ```text
//! give up the lease ─→ read-only ─→ its log is archived to the end ─→ say what the other side lacks
//! ```
//!
//! Nothing is dropped. What the other side lacks stays on the server and in the log of its store.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::binlog::gtid::GtidSet;
use crate::layout::TargetName;
use crate::lease::{self, Reason, Side};
use crate::monitor::standby::{State, read};
use crate::mysql::ServerConfig;
use crate::standby::promote::Lease;

use crate::store::Store;
use crate::stream::coverage;
use crate::stream::objects::Objects;
use crate::stream::read::{Reader, file_behind};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Outcome, Result};

/// Pause between two looks at the log.
const PAUSE: Duration = Duration::from_secs(1);

/// Most transactions that are listed.
const MOST_LISTED: usize = 100;

/// A demotion.
#[derive(Debug)]
pub struct Demotion<'a> {
    /// The server of this side.
    pub server: &'a ServerConfig,
    /// The store of this side, which has its log.
    pub store: &'a Arc<dyn Store>,
    /// The target.
    pub target: &'a TargetName,
    /// The lease; `None` without one.
    pub lease: Option<Lease>,
    /// How long to wait until the log is archived to its end.
    pub drain: Duration,
    /// Ends it.
    pub cancel: &'a Cancel,
}

/// What it would do.
#[derive(Debug, Clone, Serialize)]
pub struct DemotionPlan {
    /// Who holds the lease.
    pub lease: Option<lease::State>,
    /// What the other side had executed when it was promoted; `None` if it was not.
    pub other_executed: Option<String>,
}

/// A transaction that the other side lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extra {
    /// Its GTID.
    pub gtid: String,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// What it has done.
#[derive(Debug, Clone, Serialize)]
pub struct Demoted {
    /// What the server has executed; it executes no more.
    pub executed: String,
    /// What is not archived of it; empty if everything is.
    pub not_archived: String,
    /// What the other side, which was promoted, lacks, as GTIDs; `None` if no other side was promoted.
    pub extra: Option<String>,
    /// The first of these transactions.
    pub listed: Vec<Extra>,
}

impl Demotion<'_> {
    /// What it would do, without changing anything.
    pub async fn plan(&self) -> Result<DemotionPlan> {
        let lease = match &self.lease {
            Some(Lease { store, .. }) => lease::state(store, self.target).await?,
            None => None,
        };
        Ok(DemotionPlan {
            lease,
            other_executed: self.other().await?,
        })
    }

    /// Demotes this side.
    pub async fn run(&self) -> Result<Demoted> {
        let other = self.cancel.unless(self.other()).await?;
        if let Some(Lease { store, side, .. }) = &self.lease {
            let state = self.cancel.unless(lease::state(store, self.target)).await?;
            if state.is_some_and(|state| state.side == *side) {
                // Not given up by this process: the keeper alone knows that it will not make the server writable again.
                let nobody = Side::nobody();
                let take = lease::take(store, self.target, &nobody, Reason::Demote);
                let taken = self.cancel.unless(take).await?;
                taken.fenced(self.cancel).await?;
            }
        }
        let shut = lease::shut(self.server, self.target);
        let executed = self.cancel.unless(shut).await?;
        let not_archived = self.archived(&executed).await?;
        let (mut extra, mut listed) = (None, Vec::new());
        if let Some(other) = other {
            let mariadb = matches!(executed, GtidSet::MariaDb(_));
            let other = GtidSet::parse(mariadb, &other)?;
            let lacking = executed.minus(&other);
            if !lacking.is_empty() {
                listed = self.cancel.unless(self.list(&other, &lacking)).await?;
            }
            extra = Some(lacking.to_string());
        }
        Ok(Demoted {
            executed: executed.to_string(),
            not_archived,
            extra,
            listed,
        })
    }

    /// What the other side had executed when it was promoted.
    async fn other(&self) -> Result<Option<String>> {
        let store = match &self.lease {
            Some(lease) => &lease.store,
            None => self.store,
        };
        let said = read(store, self.target).await?;
        let said = said.filter(|said| said.state == State::Promoted);
        Ok(said.and_then(|said| said.executed))
    }

    /// Waits for the streamer of this side; what is not archived then.
    async fn archived(&self, executed: &GtidSet) -> Result<String> {
        let began = Instant::now();
        loop {
            let look = async {
                let log = coverage::outline(self.store, self.target).await?;
                let mut left = executed.clone();
                for stretch in &log {
                    if let Some(set) = &stretch.gtid_set {
                        left = left.minus(&GtidSet::parse(stretch.timeline.mariadb, set)?);
                    }
                }
                Ok(left)
            };
            let left = self.cancel.unless(look).await?;
            if left.is_empty() || began.elapsed() >= self.drain {
                return Ok(left.to_string());
            }
            self.cancel.pause(PAUSE).await?;
        }
    }

    /// The first transactions that the other side lacks, by the archived log of this side.
    async fn list(&self, other: &GtidSet, lacking: &GtidSet) -> Result<Vec<Extra>> {
        let objects = Objects::list(self.store.clone(), self.target.clone()).await?;
        let mut listed = Vec::new();
        for &id in objects.timelines.keys().rev() {
            let file = match file_behind(&objects, id, other).await {
                Ok(file) => file,
                Err(error) if error.outcome() == Outcome::Refused => continue,
                Err(error) => return Err(error),
            };
            let mut reader = Reader::from(&objects, id, Some(&file)).await?;
            while let Some(event) = reader.next().await? {
                let begin = event.transaction.filter(|_| event.ends);
                let Some((gtid, at)) = begin.and_then(|one| Some((one.gtid?, one.committed_at)))
                else {
                    continue;
                };
                if lacking.contains(&gtid) && !other.contains(&gtid) {
                    listed.push(Extra {
                        gtid: gtid.to_string(),
                        committed_at: at,
                    });
                }
                if listed.len() == MOST_LISTED {
                    return Ok(listed);
                }
            }
            return Ok(listed);
        }
        Err(
            Error::refused("the log of this side does not show what the other side lacks")
                .hint("archive it with drctl stream --once, then run the same command again"),
        )
    }
}
