//! The stretches of the log that a standby applies, one after another, as each is archived.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::binlog::gtid::GtidSet;
use crate::binlog::record::Head;
use crate::catalog::Catalog;
use crate::catalog::lease::Lease;
use crate::layout::TimelineId;
use crate::replay::destination::Begin;
use crate::replay::place::Place;
use crate::replay::stop::Stop;
use crate::replay::{self, Options, Then};
use crate::restore::standby::Standby;
use crate::standby::proof::Proof;
use crate::standby::status::{State, Status};
use crate::standby::tail::{Beyond, Tail, gap};
use crate::standby::{Ended, Follower};
use crate::stream::coverage;
use crate::stream::objects::{self, Objects};
use crate::stream::read::file_behind;
use crate::util::error::{Error, Outcome, Result};

/// A standby that follows the log.
pub(super) struct Following<'a> {
    pub follower: &'a Follower,
    pub standby: Standby,
    pub tail: Tail,
    /// The transactions that it has executed.
    pub executed: GtidSet,
    pub proof: Proof,
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
        // Retention spares the backup that says where the standby stands.
        let lease = Lease::reading(&self.store, &catalog.place(backup)).await;
        let executed = standby.executed().await?;
        let find = self.tail(&catalog, &standby, &executed);
        let done = match self.cancel.unless(find).await {
            Ok(tail) => {
                let following = Following {
                    follower: self,
                    proof: Proof::behind(backup, self),
                    standby,
                    tail,
                    executed,
                };
                following.run(status, once).await
            }
            Err(error) if error.outcome() == Outcome::Refused => Ok(Ended::Gap(error)),
            Err(error) => Err(error),
        };
        if let Some(lease) = lease {
            lease.end().await;
        }
        done
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
        let entry = catalog.entry(standby.backup()?).await?;
        let objects = Objects::list(self.store.clone(), self.target.clone()).await?;
        let stretches = coverage::stretches(&objects).await?;
        let objects = Arc::new(objects);
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
            if self.follower.leads().await? {
                return Ok(Ended::Leads);
            }
            if let Some((entry, place)) = self.next_backup().await? {
                if place.gtids != self.executed {
                    self.forward(place.stop(), status).await?;
                }
                // An open transaction in front of it may not be archived yet.
                if place.gtids == self.executed {
                    self.prove(&entry, status).await?;
                }
            }
            let waits = self.proof.waits();
            status.set(
                if waits {
                    State::Waiting
                } else {
                    State::Following
                },
                None,
            );
            let moved = match waits {
                true => Moved::AtEnd,
                false => self.forward(Stop::End, status).await?,
            };
            status.write(false).await;
            match moved {
                Moved::Gap(error) => return Ok(Ended::Gap(error)),
                Moved::On => continue,
                Moved::AtEnd => {}
            }
            if once {
                status.write(true).await;
                return Ok(Ended::Done);
            }
            let pause = poll.saturating_sub(began.elapsed());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.token().cancelled() => return Err(cancel.error()),
            }
        }
    }

    /// Applies what is archived beyond what the standby has, up to the stop.
    pub async fn forward(&mut self, stop: Stop, status: &mut Status) -> Result<Moved> {
        let follower = self.follower;
        // In front of the log, so that what it says is covered is in what is read.
        let (store, target) = (&follower.store, &follower.target);
        let head = follower.cancel.unless(objects::head(store, target)).await?;
        let look = self.tail.beyond(&self.executed, stop);
        let moved = match follower.cancel.unless(look).await? {
            Some(beyond) => {
                self.apply(beyond, status).await?;
                Moved::On
            }
            None => {
                let next = follower.cancel.unless(self.tail.next_timeline()).await?;
                match next {
                    None => Moved::AtEnd,
                    Some(next) if !next.continues => Moved::Gap(gap(&next)),
                    Some(next) => {
                        let all = Objects::list(store.clone(), target.clone());
                        let all = follower.cancel.unless(all).await?;
                        let file = file_behind(&all, next.id, &self.executed).await?;
                        tracing::info!(timeline = %next.id, reason = %next.reason, "the log goes on in another timeline");
                        self.tail = Tail::of(&all, next.id, file);
                        Moved::On
                    }
                }
            }
        };
        self.tell(head.as_ref(), status);
        Ok(moved)
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
            let replayed = replay.await?;
            self.executed = plan.expected.clone();
            status.report.transactions += plan.transactions;
            status.refuse(replayed.refused);
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
    /// What follows is not archived.
    Gap(Error),
}
