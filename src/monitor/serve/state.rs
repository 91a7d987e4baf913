//! Current state: written by the scans, read by the pages.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};

use crate::layout::TargetName;
use crate::monitor::serve::Service;
use crate::monitor::status::{Scan, ScheduledTask, Status};
use crate::objectives::Objectives;
use crate::objectives::schedule::Schedule;
use crate::util::error::Error;
use crate::util::times::{hours, signed};

/// How long a computed largest gap of a schedule stays valid; it covers the year ahead.
const INTERVALS_MAX_AGE: SignedDuration = hours(24);

/// The configuration, and the results of the last scan.
#[derive(Debug)]
pub struct SharedState {
    target: TargetName,
    store: String,
    declared: Objectives,
    cut: Option<SignedDuration>,
    standby_lag: Option<SignedDuration>,
    identity_drill: Option<SignedDuration>,
    schedules: Vec<(&'static str, Schedule)>,
    interval: SignedDuration,
    runbooks: String,
    current: RwLock<Current>,
}

/// The mutable part.
#[derive(Debug, Default)]
struct Current {
    /// When the store was last read.
    scanned_at: Option<Timestamp>,
    /// Why later scans failed; `None` if the last one succeeded.
    failing: Option<String>,
    /// Contents of the store at the last scan.
    scan: Arc<Scan>,
    /// The largest gap of each schedule, and when it was computed.
    intervals: Vec<Option<SignedDuration>>,
    intervals_at: Option<Timestamp>,
}

impl SharedState {
    /// A board without scan results.
    pub fn new(service: &Service) -> SharedState {
        SharedState {
            target: service.target.clone(),
            store: service.store.location(),
            declared: service.objectives,
            cut: service.cut.map(signed),
            standby_lag: service.standby_lag.map(signed),
            identity_drill: service.identity_drill,
            schedules: service.schedules.clone(),
            interval: signed(service.interval),
            runbooks: service.notify.runbooks_base().to_owned(),
            current: RwLock::default(),
        }
    }

    /// Recomputes the intervals of the schedules if they are out of date; simulates a year.
    pub async fn refresh_intervals(&self) {
        let now = Timestamp::now();
        let is_fresh = |at: Timestamp| now.duration_since(at) < INTERVALS_MAX_AGE;
        if self.read(|current| current.intervals_at.is_some_and(is_fresh)) {
            return;
        }
        let schedules: Vec<Schedule> = self.schedules.iter().map(|one| one.1.clone()).collect();
        let intervals = tokio::task::spawn_blocking(move || {
            let gap = |schedule: &Schedule| schedule.largest_gap(now);
            schedules.iter().map(gap).collect::<Vec<_>>()
        });
        match intervals.await {
            Ok(intervals) => self.write(|current| {
                (current.intervals, current.intervals_at) = (intervals, Some(now))
            }),
            Err(error) => tracing::warn!(%error, "cannot compute the intervals of the schedules"),
        }
    }

    /// Stores the result of a scan that began at `begun`.
    pub fn scan_succeeded(&self, scan: Scan, begun: Timestamp) {
        let failed = self.write(|current| {
            current.scan = Arc::new(scan);
            current.scanned_at = Some(begun);
            current.failing.take()
        });
        if failed.is_some() {
            tracing::info!(store = self.store, "the store is readable again");
        }
    }

    /// Records a failed scan; earlier results stay, with their age.
    pub fn scan_failed(&self, error: &Error) {
        let what = error.to_string();
        let before = self.write(|current| current.failing.replace(what));
        if before.is_none() {
            tracing::warn!(%error, "cannot read the store; keeping the results of the last scan");
        }
    }

    /// The status of the target at a given time.
    pub fn status(&self, now: Timestamp) -> Status {
        let (scanned_at, failing, scan, intervals) = self.read(|current| {
            let scan = current.scan.clone();
            (
                current.scanned_at,
                current.failing.clone(),
                scan,
                current.intervals.clone(),
            )
        });
        let tasks = self.schedules.iter().enumerate();
        Status {
            target: self.target.clone(),
            store: self.store.clone(),
            now,
            declared: self.declared,
            cut: self.cut,
            standby_lag: self.standby_lag,
            identity_drill: self.identity_drill,
            tasks: tasks
                .map(|(at, (task, schedule))| ScheduledTask {
                    task,
                    schedule: schedule.to_string(),
                    interval: intervals.get(at).copied().flatten(),
                    next: schedule.next(now),
                })
                .collect(),
            interval: self.interval,
            scanned_at,
            failing,
            scan,
            runbooks: self.runbooks.clone(),
        }
    }

    // No update can stop half-way, so the state is consistent after a panic.
    fn read<T>(&self, get: impl FnOnce(&Current) -> T) -> T {
        get(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Current) -> T) -> T {
        change(&mut self.current.write().unwrap_or_else(PoisonError::into_inner))
    }
}
