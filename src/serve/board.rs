//! What is known now: written by the scans, read by whoever asks.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};

use crate::config::Config;
use crate::error::Error;
use crate::objectives::Objectives;
use crate::objectives::schedule::Schedule;
use crate::report::status::{Past, Plan, Status};
use crate::store::keys::TargetName;
use crate::times::{hours, signed};

/// For how long the largest gap of a schedule holds: it is that of the year ahead.
const GAPS_HOLD: SignedDuration = hours(24);

/// What is configured, and what the store told.
#[derive(Debug)]
pub struct Board {
    target: TargetName,
    store: String,
    declared: Objectives,
    schedules: Vec<(&'static str, Schedule)>,
    interval: SignedDuration,
    runbooks: String,
    known: RwLock<Known>,
}

/// What changes.
#[derive(Debug, Default)]
struct Known {
    /// When the store was last read.
    scanned_at: Option<Timestamp>,
    /// Why it could not be read since.
    failing: Option<String>,
    /// What it told.
    past: Arc<Past>,
    /// The largest gap of each schedule, and when that was found out.
    gaps: Vec<Option<SignedDuration>>,
    gaps_at: Option<Timestamp>,
}

impl Board {
    /// An empty one.
    pub fn new(config: &Config, store: String) -> Board {
        let schedule = &config.schedule;
        let schedules = [
            ("backup", &schedule.backup),
            ("verify", &schedule.verify),
            ("prune", &schedule.prune),
        ];
        let scheduled = schedules.into_iter();
        Board {
            target: config.target.clone(),
            store,
            declared: config.objectives,
            schedules: scheduled
                .filter_map(|(task, schedule)| Some((task, schedule.clone()?)))
                .collect(),
            interval: signed(config.serve.interval),
            runbooks: config.notify.runbooks_base().to_owned(),
            known: RwLock::default(),
        }
    }

    /// Finds out the largest gaps of the schedules, where that is due: it walks through a year.
    pub async fn take_plans(&self) {
        let now = Timestamp::now();
        let is_fresh = |at: Timestamp| now.duration_since(at) < GAPS_HOLD;
        if self.read(|known| known.gaps_at.is_some_and(is_fresh)) {
            return;
        }
        let schedules: Vec<Schedule> = self.schedules.iter().map(|one| one.1.clone()).collect();
        let gaps = tokio::task::spawn_blocking(move || {
            let gap = |schedule: &Schedule| schedule.largest_gap(now);
            schedules.iter().map(gap).collect::<Vec<_>>()
        });
        match gaps.await {
            Ok(gaps) => self.write(|known| (known.gaps, known.gaps_at) = (gaps, Some(now))),
            Err(error) => tracing::warn!(%error, "cannot tell the intervals of the schedules"),
        }
    }

    /// Takes in what a scan that began then found.
    pub fn learn(&self, past: Past, begun: Timestamp) {
        let failed = self.write(|known| {
            known.past = Arc::new(past);
            known.scanned_at = Some(begun);
            known.failing.take()
        });
        if failed.is_some() {
            tracing::info!(store = self.store, "the store can be read again");
        }
    }

    /// Notes that a scan failed: what is known stays, with its age.
    pub fn fail(&self, error: &Error) {
        let what = error.to_string();
        let before = self.write(|known| known.failing.replace(what));
        if before.is_none() {
            tracing::warn!(%error, "cannot read the store; what is known stays");
        }
    }

    /// All of it, at a moment.
    pub fn status(&self, now: Timestamp) -> Status {
        let (scanned_at, failing, past, gaps) = self.read(|known| {
            let past = known.past.clone();
            (
                known.scanned_at,
                known.failing.clone(),
                past,
                known.gaps.clone(),
            )
        });
        let plans = self.schedules.iter().enumerate();
        Status {
            target: self.target.clone(),
            store: self.store.clone(),
            now,
            declared: self.declared,
            plans: plans
                .map(|(at, (task, schedule))| Plan {
                    task,
                    schedule: schedule.to_string(),
                    interval: gaps.get(at).copied().flatten(),
                    next: schedule.next(now),
                })
                .collect(),
            interval: self.interval,
            scanned_at,
            failing,
            past,
            runbooks: self.runbooks.clone(),
        }
    }

    // No step stops half-way: what a panic left is whole.
    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}
