//! The end of a standby: it becomes the primary.
//!
//! ```text
//! take the lease ─→ wait until the other side is read-only ─→ apply the rest of the log ─→ say the loss ─→ writable, events on
//! ```
//!
//! Each step can be repeated: a run that was killed is followed by the same command. What follows the lease is decided by
//! its holder alone, so that two sides are never writable.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::Instant;

use crate::binlog::gtid::GtidSet;
use crate::catalog::{Catalog, Entry, clock};
use crate::layout::{BackupId, Epoch};
use crate::lease::{self, How, Reason, Side};
use crate::monitor::standby::{NotReplayed, Report, State, read};
use crate::replay::stop::Stop;
use crate::restore::standby::{Standby, has_data, open_before};
use crate::standby::Follower;
use crate::standby::follow::{Following, Moved};
use crate::standby::proof::Proof;
use crate::standby::status::Status;
use crate::store::Store;
use crate::util::error::{Error, Outcome, Result};
use crate::util::times::seconds_up;

/// How long a standby that runs may take to give its server back: it ends the stretch that it applies.
const HAND_OVER: Duration = Duration::from_secs(120);

/// How long creating accounts may take.
const ACCOUNTS: Duration = Duration::from_secs(20);

/// How long comparing the clock with the store's may take.
const CLOCK: Duration = Duration::from_secs(10);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The lease of the side that is promoted.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The store that has it.
    pub store: Arc<dyn Store>,
    /// This side.
    pub side: Side,
    /// Validity of a renewal.
    pub lease: Duration,
}

/// A promotion.
#[derive(Debug)]
pub struct Promotion<'a> {
    /// The standby.
    pub follower: &'a Follower,
    /// The lease; `None` without one, where the operator has made sure that the other side does not write.
    pub lease: Option<Lease>,
    /// Whether the operator has made sure that the other side does not write, where no keeper of it does.
    pub unfenced: bool,
    /// How long to wait for more of the log once there is no more.
    pub drain: Duration,
}

/// What a promotion would do.
#[derive(Debug, Clone, Serialize)]
pub struct PromotionPlan {
    /// What the standby says of itself; `None` if it never did.
    pub standby: Option<Report>,
    /// Who holds the lease; `None` if nobody does, or none is configured.
    pub lease: Option<lease::State>,
    /// The longest time whose commits would be lost, if nothing more came, seconds; `None` if that is not known.
    pub lag_seconds: Option<i64>,
    /// Why it would be refused.
    pub refusals: Vec<String>,
}

/// What was lost, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "loss")]
pub enum Loss {
    /// The other side was read-only, and everything that it had executed is applied.
    None,
    /// The other side was read-only, and these transactions of it are missing.
    Missing {
        /// As GTIDs.
        gtids: String,
    },
    /// What was committed after the end of the archived log, if anything, is missing.
    Unknown {
        /// Every commit up to this time, by the clock of the other side's server, is applied; `None` if that is not known.
        applied_until: Option<Timestamp>,
        /// From there to the moment at which the other side could not write any more, at most, with the difference of the
        /// clocks; `None` if they could not be compared.
        seconds: Option<i64>,
    },
}

/// What a promotion has done.
#[derive(Debug, Clone, Serialize)]
pub struct Promoted {
    /// The backup that the standby was built from, or was last found equal to.
    pub backup: Option<BackupId>,
    /// The epoch; `None` without a lease.
    pub epoch: Option<Epoch>,
    /// Why the other side cannot write.
    pub fenced: Option<How>,
    /// The transactions that it has executed.
    pub executed: String,
    /// Transactions that were applied by this run.
    pub transactions: u64,
    /// What was lost.
    #[serde(flatten)]
    pub loss: Loss,
    /// Events that were enabled.
    pub events: Vec<String>,
    /// Statements of the log that were not replayed: about accounts, or the server itself.
    pub not_replayed: Vec<NotReplayed>,
    /// What is left to do.
    pub warnings: Vec<String>,
    /// From the command to a server that takes writes, seconds.
    pub seconds: f64,
    /// Whether it was promoted before.
    pub was_promoted: bool,
}

impl Promotion<'_> {
    /// What it would do, without changing anything.
    pub async fn plan(&self) -> Result<PromotionPlan> {
        let follower = self.follower;
        let standby = read(&follower.store, &follower.target).await?;
        let lease = self.state().await?;
        let now = Timestamp::now();
        let mut refusals = Vec::new();
        refusals.extend(self.refusal(lease.as_ref()).map(|error| error.to_string()));
        match follower.follows().await? {
            None => refusals.push("the server is no standby".to_owned()),
            Some(false) => refusals.push(not_built().to_string()),
            Some(true) => {}
        }
        Ok(PromotionPlan {
            lag_seconds: standby
                .as_ref()
                .zip(self.behind().await)
                .and_then(|(standby, behind)| standby.lost(now, behind))
                .map(seconds_up),
            standby,
            lease,
            refusals,
        })
    }

    /// Promotes the standby.
    ///
    /// # Errors
    /// `Refused`: nothing keeps the other side from writing, or the server is no standby. `Locked`: another side took the
    /// lease, or `standby` does not give the server back.
    pub async fn run(&self) -> Result<Promoted> {
        let began = Instant::now();
        let (follower, cancel) = (self.follower, &self.follower.cancel);
        let state = cancel.unless(self.state()).await?;
        if let Some(refusal) = self.refusal(state.as_ref()) {
            return Err(refusal);
        }
        // Asked before the lease is taken: a server that is no standby must not cost the other side its own.
        match follower.follows().await? {
            None => return self.again(state.as_ref(), began).await,
            Some(false) => return Err(not_built()),
            Some(true) => {}
        }
        let (mut taken, mut fenced) = (None, None);
        if let Some(Lease { store, side, .. }) = &self.lease {
            let take = lease::take(store, &follower.target, side, Reason::Promote);
            let epoch = taken.insert(cancel.unless(take).await?);
            tracing::info!(%side, epoch = %epoch.epoch(), "this side has the lease; waiting until the other one is read-only");
            fenced = Some(epoch.fenced(cancel).await?);
        }
        let fenced_at = Timestamp::now();
        let standby = self.take_over().await?;
        let mut status = Status::begin(follower).await;
        let (mut standby, executed, gap) =
            self.drain(standby, &mut status, fenced.as_ref()).await?;
        let mut warnings = self.create_accounts(&mut standby).await;
        warnings.extend(gap);
        let seconds = match self.behind().await {
            Some(behind) => status.report.lost(fenced_at, behind),
            None => None,
        };
        let unknown = Loss::Unknown {
            applied_until: status.report.applied_until,
            seconds: seconds.map(seconds_up),
        };
        let loss = loss(fenced.as_ref(), &executed, unknown)?;
        tell(&loss);
        // The drain may have taken long. Before anything is changed or said: without the lease it stays a standby.
        cancel.unless(self.confirm(taken.as_ref())).await?;
        // Said before the marker is dropped: a run that is killed behind that is followed by one that finds no standby.
        status.set(State::Promoted, None);
        status.recover();
        status.report.executed = Some(executed.to_string());
        status.write(true).await;
        // From here on it is not cancelled: a server that is half promoted serves no client.
        let completed = match standby.complete(self.confirm(taken.as_ref())).await {
            Ok(completed) => completed,
            Err(error) => {
                self.shut_after(&error).await;
                // Without its marker the server is a standby no more, and the same command finishes the promotion.
                let is_standby = !matches!(follower.follows().await, Ok(None));
                let state = match is_standby {
                    true => State::Failed,
                    false => State::Promoted,
                };
                status.set(state, Some(&error));
                status.write(true).await;
                return Err(error);
            }
        };
        warnings.extend(completed.warnings.into_iter().cloned());
        Ok(Promoted {
            backup: status.report.backup,
            epoch: taken.as_ref().map(lease::Taken::epoch),
            fenced,
            executed: executed.to_string(),
            transactions: status.report.transactions,
            loss,
            events: completed
                .enabled_events
                .iter()
                .map(ToString::to_string)
                .collect(),
            not_replayed: status.report.refused.clone(),
            warnings,
            seconds: began.elapsed().as_secs_f64(),
            was_promoted: false,
        })
    }

    /// By how much the clock of this host is behind the store's at most; `None` if the store does not say.
    async fn behind(&self) -> Option<SignedDuration> {
        let Follower {
            store,
            target,
            cancel,
            ..
        } = self.follower;
        let measured = cancel.unless(clock::measure(store, target));
        match tokio::time::timeout(CLOCK, measured).await {
            Ok(Ok(ahead)) => Some(SignedDuration::ZERO.saturating_sub(ahead.least)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the clocks were not compared");
                None
            }
            Err(_) => None,
        }
    }

    /// Confirms the epoch: until when the server may become writable by it; `None` without a lease.
    async fn confirm(&self, taken: Option<&lease::Taken>) -> Result<Option<Instant>> {
        match taken.zip(self.lease.as_ref()) {
            Some((taken, Lease { lease, .. })) => taken.confirm(*lease).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes the server read-only where the statement that opens it was given up: it may be executed all the same.
    async fn shut_after(&self, error: &Error) {
        if error.outcome() != Outcome::Locked {
            return;
        }
        let Follower { server, target, .. } = self.follower;
        if let Err(error) = lease::shut(server, target).await {
            tracing::error!(%error, "cannot make the server read-only: keep clients away from it");
        }
    }

    async fn state(&self) -> Result<Option<lease::State>> {
        match &self.lease {
            Some(Lease { store, .. }) => lease::state(store, &self.follower.target).await,
            None => Ok(None),
        }
    }

    /// Why nothing is promoted: the other side would not be kept from writing.
    fn refusal(&self, state: Option<&lease::State>) -> Option<Error> {
        let is_kept = match (&self.lease, state) {
            (Some(lease), Some(state)) => state.is_kept_by_another(&lease.side),
            _ => false,
        };
        (!is_kept && !self.unfenced).then(|| {
            Error::refused("no keeper of the other side ever held the lease, so that nothing keeps that side from writing")
                .hint("run drctl lease there; or stop its server for good, and promote with --unfenced")
        })
    }

    /// A promotion of a server that is no standby: of the side that was promoted already, or that was demoted and goes on
    /// since no other was promoted; or a mistake.
    async fn again(&self, state: Option<&lease::State>, began: Instant) -> Result<Promoted> {
        let follower = self.follower;
        let said = read(&follower.store, &follower.target).await?;
        let said = said.filter(|said| said.state == State::Promoted);
        let is_ours = match (&self.lease, state) {
            (Some(lease), Some(state)) => state.side == lease.side || state.side.is_nobody(),
            (None, _) => said.is_some(),
            (Some(_), None) => false,
        };
        if !is_ours {
            return Err(Error::refused("the server is no standby")
                .hint("build one with drctl standby; see drctl promote --plan"));
        }
        if !has_data(&follower.server, &follower.cancel).await? {
            return Err(
                Error::refused("the server has no data, or an unfinished restore")
                    .hint("make sure that --into and DRCTL_INTO_URL name the server of this side"),
            );
        }
        let (mut taken, mut fenced) = (None, None);
        if let Some(Lease { store, side, .. }) = &self.lease {
            let take = lease::take(store, &follower.target, side, Reason::Promote);
            let epoch = taken.insert(follower.cancel.unless(take).await?);
            fenced = Some(epoch.fenced(&follower.cancel).await?);
        }
        let until = follower.cancel.unless(self.confirm(taken.as_ref())).await?;
        if let Err(error) = open_before(until, lease::open(&follower.server)).await {
            self.shut_after(&error).await;
            return Err(error);
        }
        Ok(Promoted {
            backup: said.as_ref().and_then(|said| said.backup),
            epoch: taken.as_ref().map(lease::Taken::epoch),
            fenced,
            executed: said
                .as_ref()
                .and_then(|said| said.executed.clone())
                .unwrap_or_default(),
            transactions: 0,
            loss: Loss::Unknown {
                applied_until: said.as_ref().and_then(|said| said.applied_until),
                seconds: None,
            },
            events: Vec::new(),
            not_replayed: said.map(|said| said.refused).unwrap_or_default(),
            warnings: Vec::new(),
            seconds: began.elapsed().as_secs_f64(),
            was_promoted: true,
        })
    }

    /// Takes the server from the standby that runs, which ends when this side has the lease.
    async fn take_over(&self) -> Result<Standby> {
        let follower = self.follower;
        let began = Instant::now();
        loop {
            let open = Standby::open(&follower.server, &follower.target, &follower.cancel);
            match follower.cancel.unless(open).await {
                Ok(Some(standby)) if standby.follows() => return Ok(standby),
                Ok(Some(_)) => return Err(not_built()),
                Ok(None) => {
                    return Err(Error::refused("the server is no standby any more")
                        .hint("it was promoted or discarded meanwhile; see drctl promote --plan"));
                }
                Err(error) if error.outcome() == Outcome::Locked && began.elapsed() < HAND_OVER => {
                    follower.cancel.pause(PAUSE).await?;
                }
                Err(error) if error.outcome() == Outcome::Locked => {
                    return Err(error.hint("stop drctl standby, and run the same command again"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Creates the accounts of the newest backup that are missing: the log says nothing of them. A failure is a warning,
    /// since the promotion matters more.
    async fn create_accounts(&self, standby: &mut Standby) -> Vec<String> {
        let follower = self.follower;
        let create = async {
            let catalog = Catalog::read(follower.store.clone(), follower.target.clone()).await?;
            let newest = catalog.bases().await?.into_iter().next();
            let has_accounts = |entry: &Entry| entry.manifest.accounts.is_some();
            let Some(newest) = newest.filter(has_accounts) else {
                return Ok(Vec::new());
            };
            let archive = catalog.open(newest.id).await?;
            standby.admit().await?;
            standby.create_accounts(&archive, follower.resources).await
        };
        let created = tokio::time::timeout(ACCOUNTS, follower.cancel.unless(create)).await;
        let failed = |why: String| {
            vec![format!(
                "the accounts of the newest backup were not compared: {why}"
            )]
        };
        match created {
            // Those that were there before are of no interest.
            Ok(Ok(_)) => Vec::new(),
            Ok(Err(error)) => failed(error.to_string()),
            Err(_) => failed(format!("no end within {} s", ACCOUNTS.as_secs())),
        }
    }

    /// Applies what is archived, until it has all that the other side had executed, or nothing more comes.
    async fn drain(
        &self,
        mut standby: Standby,
        status: &mut Status,
        fenced: Option<&How>,
    ) -> Result<(Standby, GtidSet, Option<String>)> {
        let follower = self.follower;
        standby.protect().await?;
        let executed = standby.executed().await?;
        let backup = standby.backup()?;
        status.report.backup = Some(backup);
        let catalog = Catalog::read(follower.store.clone(), follower.target.clone()).await?;
        let tail = follower.tail(&catalog, &standby, &executed).await;
        let tail = match tail {
            Ok(tail) => tail,
            // What there is of the log was applied before.
            Err(error) if error.outcome() == Outcome::Refused => {
                return Ok((standby, executed, Some(not_applied(&error))));
            }
            Err(error) => return Err(error),
        };
        let wanted = match fenced {
            Some(How::Released { gtids, .. }) => {
                let mariadb = matches!(executed, GtidSet::MariaDb(_));
                Some(GtidSet::parse(mariadb, gtids)?)
            }
            _ => None,
        };
        let mut following = Following {
            follower,
            proof: Proof::behind(backup, follower),
            lease: None,
            standby,
            tail,
            executed,
        };
        let mut moved = Instant::now();
        let gap = loop {
            let is_complete = |executed: &GtidSet| {
                let wanted = wanted.as_ref();
                wanted.is_some_and(|wanted| *wanted == *executed)
            };
            match following.forward(Stop::End, status).await? {
                Moved::On => moved = Instant::now(),
                Moved::Gap(error, _) => break Some(not_applied(&error)),
                Moved::AtEnd if is_complete(&following.executed) => break None,
                Moved::AtEnd if moved.elapsed() >= self.drain => break None,
                Moved::AtEnd => {
                    follower.cancel.pause(PAUSE).await?;
                }
            }
        };
        Ok((following.standby, following.executed, gap))
    }
}

fn not_built() -> Error {
    Error::refused("the standby is not built yet: its backup is not restored")
        .hint("wait for drctl standby, or restore a backup into another server")
}

fn not_applied(error: &Error) -> String {
    format!("not all of the log was applied: {}", error.what())
}

/// What was lost, by what the other side had executed when it was fenced.
fn loss(fenced: Option<&How>, executed: &GtidSet, unknown: Loss) -> Result<Loss> {
    if let Some(How::Released { gtids, .. }) = fenced {
        let mariadb = matches!(executed, GtidSet::MariaDb(_));
        let released = GtidSet::parse(mariadb, gtids)?;
        let missing = released.minus(executed);
        if !missing.is_empty() {
            let gtids = missing.to_string();
            return Ok(Loss::Missing { gtids });
        }
        // A server that had executed less than what it has archived has lost its data: its word says nothing.
        if released.covers(executed) {
            return Ok(Loss::None);
        }
    }
    Ok(unknown)
}

fn tell(loss: &Loss) {
    match loss {
        Loss::None => {
            tracing::info!("nothing is lost: all that the other side had executed is applied")
        }
        Loss::Missing { gtids } => {
            tracing::warn!(%gtids, "transactions of the other side are missing")
        }
        Loss::Unknown {
            applied_until: Some(until),
            seconds: Some(seconds),
        } => {
            tracing::warn!(applied_until = %until, seconds, "what was committed after this time, if anything, is lost");
        }
        Loss::Unknown {
            applied_until: Some(until),
            seconds: None,
        } => {
            tracing::warn!(applied_until = %until, "what was committed after this time, if anything, is lost; the clocks were not compared");
        }
        Loss::Unknown { .. } => tracing::warn!("it is not known what is lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_what_the_other_side_had_executed_and_nothing_less() {
        let set = |text| GtidSet::parse(true, text).unwrap();
        let at: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let released = |gtids: &str| How::Released {
            at,
            gtids: gtids.to_owned(),
        };
        let unknown = Loss::Unknown {
            applied_until: Some(at),
            seconds: Some(12),
        };
        let of = |how: Option<&How>| loss(how, &set("0-1-100,2-7-5"), unknown.clone()).unwrap();
        assert_eq!(of(Some(&released("0-1-100,2-7-5"))), Loss::None);
        assert_eq!(
            of(Some(&released("0-1-103,2-7-5"))),
            Loss::Missing {
                gtids: "0-1-103".into()
            }
        );
        // A server that came back empty has nothing to say.
        assert_eq!(of(Some(&released(""))), unknown);
        assert_eq!(of(Some(&How::Expired)), unknown);
        assert_eq!(of(None), unknown);
    }
}
