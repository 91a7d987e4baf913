//! The stretches of the log that a standby applies, one after another, as each is archived.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::binlog::gtid::GtidSet;
use crate::binlog::record::{Head, Timeline};
use crate::catalog::Catalog;
use crate::catalog::lease::Lease;
use crate::layout::TimelineId;
use crate::monitor::standby::State;
use crate::replay::destination::Begin;
use crate::replay::place::Place;
use crate::replay::stop::Stop;
use crate::replay::{self, Options, Then};
use crate::restore::standby::Standby;
use crate::standby::proof::Proof;
use crate::standby::status::Status;
use crate::standby::tail::{Beyond, Tail, gap};
use crate::standby::{Ended, Follower};
use crate::stream::objects::{self, Objects};
use crate::stream::read::file_behind;
use crate::util::error::{Error, Outcome, Result};

/// Pause between two looks at the lease.
const LEASE_POLL: Duration = Duration::from_secs(3);

/// A standby that follows the log.
pub(super) struct Following<'a> {
    pub follower: &'a Follower,
    pub standby: Standby,
    pub tail: Tail,
    /// The transactions that it has executed.
    pub executed: GtidSet,
    pub proof: Proof,
    /// Keeps retention from deleting the backup that says where the standby stands.
    pub lease: Option<Lease>,
}

impl Follower {
    /// Follows the log; with `once` up to its end.
    pub(super) async fn follow(
        &self,
        mut standby: Standby,
        status: &mut Status,
        once: bool,
    ) -> Result<Ended> {
        standby.protect().await?;
        let backup = standby.backup()?;
        status.report.backup = Some(backup);
        let catalog = Catalog::read(self.store.clone(), self.target.clone()).await?;
        let lease = Lease::reading(&self.store, &catalog.place(backup)).await;
        let executed = standby.executed().await?;
        let find = self.tail(&catalog, &standby, &executed);
        let tail = match self.cancel.unless(find).await {
            Ok(tail) => tail,
            Err(error) if error.outcome() == Outcome::Refused => {
                return Ok(Ended::Gap(error, None));
            }
            Err(error) => return Err(error),
        };
        // Ended alone when this side takes the lease, whatever is being applied or compared.
        let following = Follower {
            cancel: self.cancel.child(),
            ..self.clone()
        };
        let run = Following {
            follower: &following,
            proof: Proof::behind(backup, self),
            lease,
            standby,
            tail,
            executed,
        }
        .run(status, once);
        tokio::pin!(run);
        let mut leads = false;
        loop {
            tokio::select! {
                ended = &mut run => return match ended {
                    Err(error) if leads && error.outcome().is_cancelled() => Ok(Ended::Leads),
                    ended => ended,
                },
                () = tokio::time::sleep(LEASE_POLL), if self.lease.is_some() && !leads => {
                    leads = self.leads().await.unwrap_or(false);
                    if leads {
                        following.cancel.stop();
                    }
                }
            }
        }
    }

    /// Where in the log a standby stands that has executed these transactions: in the timeline of its backup, or in one
    /// that continues it without a gap.
    ///
    /// # Errors
    /// `Refused`: what it lacks is not archived.
    pub(super) async fn tail(
        &self,
        catalog: &Catalog,
        standby: &Standby,
        executed: &GtidSet,
    ) -> Result<Tail> {
        let entry = match catalog.entry(standby.backup()?).await {
            Err(error) if error.outcome() == Outcome::NothingToDo => {
                return Err(Error::refused(error.what())
                    .hint("rebuild the standby: drctl standby --rebuild"));
            }
            entry => entry?,
        };
        let (objects, stretches) = self.archived().await?;
        let place = Place::of(catalog, &entry, &objects, &stretches).await?;
        let first = place.log.timeline;
        let mut behind = stretches.iter().map(|stretch| &stretch.timeline);
        behind.find(|timeline| timeline.id == first);
        let continued = behind.take_while(|timeline| timeline.continues);
        let mut chain: Vec<TimelineId> = vec![first];
        chain.extend(continued.map(|timeline| timeline.id));
        let mut refused = None;
        for id in chain.into_iter().rev() {
            match file_behind(&objects, id, executed).await {
                Ok(file) => return Ok(Tail::of(&objects, id, file)),
                Err(error) if error.outcome() == Outcome::Refused => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| Error::refused("the log of the standby is not archived")))
    }
}

impl Following<'_> {
    async fn run(mut self, status: &mut Status, once: bool) -> Result<Ended> {
        let cancel = &self.follower.cancel;
        let poll = self.follower.config.poll_seconds.duration();
        loop {
            let began = Instant::now();
            self.follower.store.keys().refresh();
            self.check_alone().await?;
            if let Some(backup) = self.next_backup().await? {
                let place = &backup.place;
                if place.gtids != self.executed {
                    self.forward(place.stop(), status).await?;
                }
                // An open transaction in front of it may not be archived yet.
                if place.gtids == self.executed {
                    self.prove(&backup, status).await?;
                }
            }
            let waits = self.proof.waits();
            let state = match waits {
                true => State::Waiting,
                false => State::Following,
            };
            status.set(state, None);
            let moved = match waits {
                true => Moved::AtEnd,
                false => self.forward(Stop::End, status).await?,
            };
            if !matches!(moved, Moved::Gap(..)) {
                status.recover();
            }
            status.write(false).await;
            match moved {
                Moved::Gap(error, timeline) => return Ok(Ended::Gap(error, Some(timeline))),
                Moved::On => continue,
                Moved::AtEnd => {}
            }
            if once {
                status.set(State::Ended, None);
                status.write(true).await;
                return Ok(Ended::Done);
            }
            cancel.pause(poll.saturating_sub(began.elapsed())).await?;
        }
    }

    /// Keeps the server read-only, which a restart of it undoes, and fails if another client has written to it.
    async fn check_alone(&mut self) -> Result<()> {
        self.standby.protect().await?;
        let executed = self.standby.executed().await?;
        let extra = executed.minus(&self.executed);
        match extra.is_empty() {
            true => Ok(()),
            false => Err(Error::verification(format!(
                "the standby has executed transactions that are not of the log: {extra}"
            ))
            .hint("find the client that writes to it, then rebuild it: drctl standby --rebuild")),
        }
    }

    /// Applies what is archived beyond what the standby has, up to the stop.
    pub async fn forward(&mut self, stop: Stop, status: &mut Status) -> Result<Moved> {
        let follower = self.follower;
        // In front of the log, so that what it says is covered is in what is read.
        let (store, target) = (&follower.store, &follower.target);
        let head = follower.cancel.unless(objects::head(store, target)).await?;
        let moved = if self.step(stop.clone(), status).await? {
            Moved::On
        } else if let Some(next) = follower.cancel.unless(self.tail.next_timeline()).await? {
            // The rest of this one may have come since.
            match self.step(stop, status).await? {
                true => Moved::On,
                false => self.go_on_in(&next).await?,
            }
        } else {
            Moved::AtEnd
        };
        self.tell(head.as_ref(), status);
        Ok(moved)
    }

    /// Applies what is there; whether anything was.
    async fn step(&mut self, stop: Stop, status: &mut Status) -> Result<bool> {
        let look = self.tail.beyond(&self.executed, stop);
        match self.follower.cancel.unless(look).await? {
            Some(beyond) => {
                let moves = beyond.resolved.plan.transactions > 0 || beyond.ends_with_log();
                self.apply(beyond, status).await?;
                Ok(moves)
            }
            None => Ok(false),
        }
    }

    /// Goes on in the next timeline, if that continues the one that was applied to its end.
    async fn go_on_in(&mut self, next: &Timeline) -> Result<Moved> {
        if !next.continues || self.is_beyond(next)? {
            return Ok(Moved::Gap(gap(next), next.id));
        }
        let (store, target) = (&self.follower.store, &self.follower.target);
        let all = Objects::list(store.clone(), target.clone());
        let all = self.follower.cancel.unless(all).await?;
        let file = match file_behind(&all, next.id, &self.executed).await {
            Ok(file) => file,
            Err(error) if error.outcome() == Outcome::Refused => {
                return Ok(Moved::Gap(error, next.id));
            }
            Err(error) => return Err(error),
        };
        tracing::info!(timeline = %next.id, reason = %next.reason, "the log goes on in another timeline");
        self.tail = Tail::of(&all, next.id, file);
        Ok(Moved::On)
    }

    /// Whether the standby has transactions that the server of the next timeline did not have: it went another way.
    fn is_beyond(&self, next: &Timeline) -> Result<bool> {
        let parent = next.parent.as_ref();
        let Some(end) = parent.and_then(|parent| parent.gtid_set.as_deref()) else {
            return Ok(false);
        };
        let end = GtidSet::parse(next.mariadb, end)?;
        Ok(!end.continues(&self.executed))
    }

    async fn apply(&mut self, beyond: Beyond, status: &mut Status) -> Result<()> {
        let (plan, follower) = (&beyond.resolved.plan, self.follower);
        if plan.transactions > 0 {
            let options = Options {
                path: follower.path().await?,
                tables: None,
                session: Vec::new(),
                workers: follower.resources.lanes.max(1),
                begin: Begin::Resumed,
                then: Then::Follow,
            };
            let log = Arc::new(beyond.log.clone());
            let (server, cancel) = (&follower.server, &follower.cancel);
            let replay = replay::replay(server, log, plan, &options, None, |_| {}, cancel);
            let beat = status.beat();
            let replayed = replay.await?;
            drop(beat);
            self.executed = plan.expected.clone();
            status.report.transactions += plan.transactions;
            if !replayed.refused.is_empty() {
                status.refuse(replayed.refused);
                status.write_refused().await;
            }
            tracing::debug!(
                transactions = plan.transactions,
                bytes = beyond.resolved.bytes,
                "applied"
            );
        }
        self.tail.advance(beyond);
        Ok(())
    }

    fn tell(&self, head: Option<&Head>, status: &mut Status) {
        let report = &mut status.report;
        report.timeline = Some(self.tail.timeline());
        let until = self.tail.covered_until(head);
        // A stretch may have been committed with another clock than the one before it.
        if let Some(head) = head.filter(|head| head.timeline == self.tail.timeline()) {
            report.ahead_seconds = head.ahead_seconds;
        }
        report.applied_until = report
            .applied_until
            .max(until)
            .map(|until| until.min(Timestamp::now()));
        report.executed = Some(self.executed.to_string());
    }
}

/// What came of a step.
pub(super) enum Moved {
    /// There may be more.
    On,
    /// Everything that is archived is applied.
    AtEnd,
    /// What follows is not archived; it goes on in this timeline.
    Gap(Error, TimelineId),
}
