//! What is covered, for a constant number of requests: a scan each minute must not LIST 100,000 segments.
//!
//! The heartbeat says how far the newest timeline is, and each timeline names the one before it. A look that finds
//! nothing new costs two requests: a GET of the heartbeat, and a HEAD of the file in which the oldest backup stands
//! whose log is still there. A timeline that is seen for the first time costs three more, once, and so does a
//! backup whose log was deleted one. Without an archived log a look is one request.
//!
//! A streamer dies silently: nothing here is told by it but through the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::archive::manifest::Manifest;
use crate::binlog::record::{Head, Late, Reason, Timeline};
use crate::catalog::{Catalog, Entry};
use crate::layout::{LogFile, TargetName, TimelineId};
use crate::objectives::rpo_rto::{Covered, Snapshot, WINDOW};
use crate::store::Store;
use crate::stream::coverage::Stretch;
use crate::stream::from_here::FromHere;
use crate::stream::objects;
use crate::util::times::before;
use crate::{Outcome, Result};

/// How many timelines are followed.
const MOST_TIMELINES: usize = 1000;

/// One timeline, as a look sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Why and where it began.
    pub timeline: Timeline,
    /// Time of its first event; `None` if its first file was deleted.
    pub first_at: Option<Timestamp>,
    /// Up to when it covers every commit, where known.
    pub to: Option<Timestamp>,
}

impl Seen {
    /// Whether the log before it does not lead to it, although there is one.
    pub fn is_gap(&self) -> bool {
        self.timeline.parent.is_some() && !self.timeline.continues
    }

    /// From when on every commit is archived; later than that if the first file was deleted.
    fn from(&self) -> Timestamp {
        self.first_at.unwrap_or(self.timeline.id.began())
    }

    /// The newest timeline, as far as it is archived by the heartbeat. Its first files may be deleted.
    fn stretch(&self, head: &Head) -> Stretch {
        let from = self.from();
        Stretch {
            timeline: self.timeline.clone(),
            first_file: self.timeline.file.clone(),
            last_file: head.file.clone(),
            log_pos: head.log_pos,
            gtid_set: head.gtid_set.clone(),
            from,
            to: head.covered_until.unwrap_or(from).max(from),
        }
    }
}

/// The archived log of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// The heartbeat.
    pub head: Head,
    /// Timelines that were there in the last 30 days, oldest first; the last one is the newest.
    pub timelines: Vec<Seen>,
    /// Snapshot of the oldest usable backup behind which everything is archived: from there on every moment can be
    /// restored. `None` if no backup stands in the newest timeline.
    pub recoverable_from: Option<Timestamp>,
}

impl Glance {
    /// Gaps of the last 30 days, oldest first.
    pub fn gaps(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &Seen> {
        let since = before(now, WINDOW);
        let recent = move |seen: &&Seen| seen.is_gap() && seen.timeline.id.began() > since;
        self.timelines.iter().filter(recent)
    }

    /// The newest timeline of the last 30 days that began for this reason.
    pub fn newest(&self, reason: Reason, now: Timestamp) -> Option<&Seen> {
        let since = before(now, WINDOW);
        self.timelines
            .iter()
            .rfind(|seen| seen.timeline.reason == reason && seen.timeline.id.began() > since)
    }

    /// Up to when every commit can be restored by a backup and the log behind it; `None` if no backup stands in the
    /// log.
    pub fn restorable_until(&self) -> Option<Timestamp> {
        self.recoverable_from.and(self.head.covered_until)
    }

    /// Time until the server deletes log that is not archived; negative if it may have. `None` if it does not delete by
    /// age. A file is kept for that time since it was last written, and what is not archived was written after
    /// `covered_until`.
    pub fn purge_margin(&self, now: Timestamp) -> Option<SignedDuration> {
        let kept = i64::try_from(self.head.expire_seconds?).unwrap_or(i64::MAX);
        let unprotected = now.duration_since(self.head.covered_until?);
        Some(SignedDuration::from_secs(kept).saturating_sub(unprotected))
    }

    /// The times in which the log protected what was written, for the RPO: behind a usable backup of the time, and
    /// without those in which the archive was behind.
    pub fn covered(&self, snapshots: &[Snapshot]) -> Vec<Covered> {
        let newest = self.timelines.last().map(|seen| seen.timeline.id);
        let mut all = Vec::new();
        for seen in &self.timelines {
            let is_newest = Some(seen.timeline.id) == newest;
            if is_newest && self.recoverable_from.is_none() {
                continue;
            }
            let since = seen.from();
            let within = snapshots.iter().filter(|one| one.snapshot_at >= since);
            let (Some(from), Some(to)) = (within.map(|one| one.committed_at).min(), seen.to) else {
                continue;
            };
            all.extend(without(Covered { from, to }, &self.head.late));
        }
        all
    }
}

/// The times that the archived log covers, for one judgement of the RPO; none if an object of it is damaged.
pub async fn covered(
    catalog: &Catalog,
    entries: &[Entry],
    snapshots: &[Snapshot],
    now: Timestamp,
) -> Result<Vec<Covered>> {
    let bases = entries.iter().filter(|entry| entry.is_base());
    let bases: Vec<&Manifest> = bases.map(|entry| &entry.manifest).collect();
    let mut glancer = Glancer::new(catalog.store().clone(), catalog.target().clone());
    match glancer.look(&bases, now).await {
        Ok(glance) => Ok(glance
            .map(|glance| glance.covered(snapshots))
            .unwrap_or_default()),
        // It covers nothing then, which makes the figures worse and never better.
        Err(error) if error.outcome() == Outcome::Archive => {
            tracing::warn!(%error, "the archived log does not count for the RPO");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// A covered time without those in which the archive was behind.
fn without(covered: Covered, late: &[Late]) -> Vec<Covered> {
    let mut from = covered.from;
    let mut parts = Vec::new();
    for one in late {
        if one.from < covered.to && one.to > from {
            parts.push(Covered {
                from,
                to: one.from.max(from),
            });
            from = one.to;
        }
    }
    parts.push(Covered { from, ..covered });
    parts.retain(|part| part.from <= part.to);
    parts
}

/// Looks at the log of a target again and again.
#[derive(Debug)]
pub struct Glancer {
    store: Arc<dyn Store>,
    target: TargetName,
    seen: BTreeMap<TimelineId, Seen>,
    /// The last heartbeat that could be read.
    head: Option<Head>,
    /// Files that retention deleted.
    gone: BTreeSet<(TimelineId, LogFile)>,
}

impl Glancer {
    /// One that has seen nothing.
    pub fn new(store: Arc<dyn Store>, target: TargetName) -> Glancer {
        Glancer {
            store,
            target,
            seen: BTreeMap::new(),
            head: None,
            gone: BTreeSet::new(),
        }
    }

    /// What is archived now; `None` if nothing is. `usable` are the manifests of the backups that a restore may begin
    /// with by itself.
    ///
    /// # Errors
    /// `Store`: it could not be read. `Archive`: an object is damaged.
    pub async fn look(&mut self, usable: &[&Manifest], now: Timestamp) -> Result<Option<Glance>> {
        let head = match objects::head(&self.store, &self.target).await {
            // It is written again each 30 seconds; what it said before only gets older.
            Err(error) if error.outcome() == Outcome::Archive && self.head.is_some() => {
                self.head.clone()
            }
            head => head?,
        };
        self.head = head.clone();
        let Some(head) = head else {
            return Ok(None);
        };
        let timelines = self.timelines(&head, now).await?;
        let recoverable_from = match timelines.last() {
            Some(newest) => self.base(&head, newest, usable).await?,
            None => None,
        };
        Ok(Some(Glance {
            head,
            timelines,
            recoverable_from,
        }))
    }

    /// The timelines, oldest first, back to the one in which the window begins.
    async fn timelines(&mut self, head: &Head, now: Timestamp) -> Result<Vec<Seen>> {
        let since = before(now, WINDOW);
        let mut timelines: Vec<Seen> = Vec::new();
        let mut next = Some((head.timeline, head.covered_until));
        while let Some((id, to)) = next.take_if(|_| timelines.len() < MOST_TIMELINES) {
            if !self.seen.contains_key(&id) {
                match self.see(id).await {
                    Ok(seen) => drop(self.seen.insert(id, seen)),
                    // Deleted by retention, with all that was before.
                    Err(error) if error.outcome() == Outcome::Archive && !timelines.is_empty() => {
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(seen) = self.seen.get(&id) else {
                break;
            };
            if id.began() > since {
                next = seen
                    .timeline
                    .parent
                    .as_ref()
                    .map(|parent| (parent.id, parent.covered_until));
            }
            timelines.push(Seen { to, ..seen.clone() });
        }
        timelines.reverse();
        Ok(timelines)
    }

    async fn see(&self, id: TimelineId) -> Result<Seen> {
        let (store, target) = (&self.store, &self.target);
        let timeline = objects::timeline(store, target, id).await?;
        let first = objects::first_segment(store, target, id, &timeline.file).await?;
        let first_at = match first {
            None => None,
            Some((object, meta)) => {
                let record = objects::record(store, target, &object, meta.size).await?;
                record.contents.first_at
            }
        };
        Ok(Seen {
            timeline,
            first_at,
            to: None,
        })
    }

    /// Snapshot of the oldest backup that stands in the newest timeline, and whose log is still there.
    async fn base(
        &mut self,
        head: &Head,
        newest: &Seen,
        usable: &[&Manifest],
    ) -> Result<Option<Timestamp>> {
        let stretch = [newest.stretch(head)];
        let standing =
            usable
                .iter()
                .filter_map(|manifest| match FromHere::of(manifest, &stretch) {
                    FromHere::Yes { place, .. } => Some((manifest.snapshot_at, place.file)),
                    FromHere::NotYet { .. } | FromHere::No(_) => None,
                });
        let mut standing: Vec<(Timestamp, LogFile)> = standing.collect();
        standing.sort();
        for (snapshot_at, file) in standing {
            let id = newest.timeline.id;
            let key = (id, file);
            if self.gone.contains(&key) {
                continue;
            }
            // Files are deleted in their order: where this one is, all later ones are.
            let there = objects::first_segment(&self.store, &self.target, id, &key.1);
            if there.await?.is_some() {
                return Ok(Some(snapshot_at));
            }
            self.gone.insert(key);
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "glance_tests.rs"]
mod tests;
