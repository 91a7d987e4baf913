//! A warm standby: a server that is restored from the newest usable backup and follows the archived log, read-only, until
//! it is promoted.
//!
//! ```text
//! build ─→ follow ─→ follow ─→ … ─→ promote
//!   ↑         │ a stretch of the log at a time, checked as any replay is
//!   └ a gap ──┤
//!             └ at the place of a newer backup: compare with its ledger
//! ```
//!
//! - [`build`]: which backup, and what is restored. [`follow`]: the stretches, one after another.
//! - [`tail`]: what the log holds beyond what the standby has. [`proof`]: the comparison with a newer backup.
//! - `status`: what the standby says of itself, in the store.
//! - [`promote`]: the end, in which it becomes the primary. [`demote`]: what becomes of the other side.
//!
//! What is there to go on with after a SIGKILL is on the server alone: the restore marker and its GTIDs
//! ([`crate::restore::standby`]).

mod build;
pub mod demote;
mod follow;
pub mod promote;
mod proof;
mod status;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::layout::{TargetName, TimelineId};
use crate::lease;
use crate::monitor::standby::State;
use crate::mysql::ServerConfig;
use crate::objectives::schedule::Schedule;
use crate::restore::options::Resources;
use crate::restore::standby::{Standby, is_built};
use crate::store::Store;
use crate::stream::coverage::{self, Stretch};
use crate::stream::objects::Objects;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Outcome, Result};
use crate::util::times::Seconds;

use build::Why;
use promote::Lease;
use status::Status;

/// Pauses after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a standby follows the log, section `standby` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StandbyConfig {
    /// Pause between two looks at the log.
    #[schemars(range(min = 1, max = 3_600))]
    pub poll_seconds: Seconds,
    /// Port at which `standby` serves the log to its server; 0: any free one.
    pub listen: u16,
    /// How long the standby waits for a backup at `schedule.standby`, without applying anything, before it goes on.
    #[schemars(range(min = 1, max = 86_400))]
    pub wait_seconds: Seconds,
    /// Maximum lag behind the commits of the primary: `serve` reports it if it is exceeded. Default: not checked.
    #[schemars(range(min = 1, max = 604_800))]
    pub lag_seconds: Option<Seconds>,
}

impl Default for StandbyConfig {
    fn default() -> Self {
        StandbyConfig {
            poll_seconds: Seconds(5),
            listen: 0,
            wait_seconds: Seconds(7_200),
            lag_seconds: None,
        }
    }
}

/// A standby of one target.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Its server.
    pub server: Arc<ServerConfig>,
    /// The store that it is built from.
    pub store: Arc<dyn Store>,
    /// The target.
    pub target: TargetName,
    /// How it follows.
    pub config: StandbyConfig,
    /// When it is compared with the next backup.
    pub proof: Option<Schedule>,
    /// Connections and waits.
    pub resources: Resources,
    /// The lease, where one is configured: the side that has it is no standby.
    pub lease: Option<Lease>,
    /// Ends it.
    pub cancel: Cancel,
}

/// How a session ends without a failure.
enum Ended {
    /// The log cannot be followed any further; it goes on in this timeline, where that is known.
    Gap(Error, Option<TimelineId>),
    /// Up to the end of the log, where that was asked for.
    Done,
    /// This side has the lease.
    Leads,
}

impl Follower {
    /// Follows the log until it is cancelled; with `once` up to its end.
    ///
    /// # Errors
    /// `Usage`: what waiting does not change. With `once`, any.
    pub async fn run(&self, once: bool, rebuild: bool) -> Result<()> {
        let mut status = Status::begin(self).await;
        let mut pause = FIRST_PAUSE;
        let mut why = match rebuild {
            true => Why::Asked,
            false => Why::Missing,
        };
        loop {
            let moved = status.moved();
            let ended = Box::pin(self.session(&mut status, once, &mut why)).await;
            if self.cancel.is_cancelled() {
                // Whatever is half applied is told by the server's GTIDs.
                return Ok(());
            }
            let error = match ended {
                Ok(Ended::Done) => return Ok(()),
                Ok(Ended::Leads) if once => return Ok(()),
                Ok(Ended::Leads) => {
                    status.write_refused().await;
                    // The promotion says so in its state.
                    tokio::select! {
                        () = tokio::time::sleep(LONGEST_PAUSE) => continue,
                        () = self.cancel.token().cancelled() => return Ok(()),
                    }
                }
                Ok(Ended::Gap(error, timeline)) => {
                    status.set(State::Gap, Some(&error));
                    why = Why::Gap(timeline);
                    error
                }
                // It stays as it is until there is a backup behind the gap.
                Err(error) if matches!(why, Why::Gap(_)) && is_waiting(&error) => {
                    status.set(State::Gap, Some(&error));
                    error
                }
                Err(error) => {
                    status.set(State::Failed, Some(&error));
                    error
                }
            };
            status.write(true).await;
            // The server may not have noticed yet that a run was killed that had the lock.
            if once || error.outcome() == Outcome::Usage {
                return Err(error);
            }
            if status.moved() > moved {
                pause = FIRST_PAUSE;
            }
            tracing::warn!(%error, seconds = pause.as_secs(), "the standby does not go on; trying again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.cancel.token().cancelled() => return Ok(()),
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// What is archived of the log now.
    async fn archived(&self) -> Result<(Arc<Objects>, Vec<Stretch>)> {
        let objects = Objects::list(self.store.clone(), self.target.clone()).await?;
        let stretches = coverage::stretches(&objects).await?;
        Ok((Arc::new(objects), stretches))
    }

    /// Whether this side has the lease.
    async fn leads(&self) -> Result<bool> {
        let Some(Lease { store, side, .. }) = &self.lease else {
            return Ok(false);
        };
        let state = self
            .cancel
            .unless(lease::state(store, &self.target))
            .await?;
        Ok(state.is_some_and(|state| state.side == *side))
    }

    /// Whether the standby is built, wherever it runs; `None` where the server is none.
    async fn follows(&self) -> Result<Option<bool>> {
        let found = is_built(&self.server, &self.target, &self.cancel);
        self.cancel.unless(found).await
    }

    async fn session(&self, status: &mut Status, once: bool, why: &mut Why) -> Result<Ended> {
        self.store.keys().refresh();
        if self.leads().await? {
            tracing::info!("this side has the lease: nothing is followed");
            return Ok(Ended::Leads);
        }
        let open = Standby::open(&self.server, &self.target, &self.cancel);
        let found = self.cancel.unless(open).await?;
        let standby = match found {
            Some(standby) if standby.follows() && *why == Why::Missing => standby,
            found => {
                if *why == Why::Missing {
                    status.set(State::Building, None);
                    status.write(true).await;
                }
                let built = self.build(found, *why, status).await?;
                *why = Why::Missing;
                built
            }
        };
        self.follow(standby, status, once).await
    }
}

/// Whether there is nothing yet to build a standby from.
fn is_waiting(error: &Error) -> bool {
    matches!(error.outcome(), Outcome::NothingToDo | Outcome::Refused)
}
