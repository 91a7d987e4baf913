//! What is known of a target at one moment: data, and what follows from them. Metrics and the status page
//! are two renderings of it.
//!
//! Pure: what the store told comes in as [`Past`], the clock as [`Status::now`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::objectives::Objectives;
use crate::objectives::rpo_rto::{
    self, Basis, DrillTime, Pace, Profile, Rpo, Rto, Snapshot, WINDOW,
};
use crate::report::model::{DrillReport, Stage};
use crate::runs::{self, RunRecord};
use crate::store::keys::{BackupId, DrillLevel, DrillName, RunName, TargetName};

/// How many scans in a row must fail before what is known counts as stale.
const STALE_SCANS: i32 = 15;

/// A target at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whose it is.
    pub target: TargetName,
    /// Where its backups are, for people.
    pub store: String,
    /// The moment.
    pub now: Timestamp,
    /// What was declared.
    pub declared: Objectives,
    /// What is scheduled.
    pub plans: Vec<Plan>,
    /// How often the store is looked at.
    pub interval: SignedDuration,
    /// When the store was last read without a failure.
    pub scanned_at: Option<Timestamp>,
    /// Why it could not be read since.
    pub failing: Option<String>,
    /// What it told; nothing before the first scan.
    pub past: Arc<Past>,
    /// Where the runbooks are published: a URL, or the path in the repository.
    pub runbooks: String,
}

/// A schedule, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What runs: `backup`, `verify`, `prune`.
    pub task: &'static str,
    /// As it was written.
    pub schedule: String,
    /// The largest gap between two runs.
    pub interval: Option<SignedDuration>,
    /// The next run.
    pub next: Option<Timestamp>,
}

/// What one scan of the store found.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// When the target was bound to its server.
    pub bound_at: Option<Timestamp>,
    /// Since when it is known at all.
    pub known_since: Option<Timestamp>,
    /// Committed backups, the newest snapshot first.
    pub backups: Vec<Backup>,
    /// Why others cannot be read, a line each.
    pub damaged: Vec<String>,
    /// What protects and protected against the loss of data, also what retention deleted since.
    pub snapshots: Vec<Snapshot>,
    /// Drills and restores that were proven, newest first.
    pub drills: Vec<Drill>,
    /// The last run of each verb, less those that say nothing of their task.
    pub last_runs: Vec<RunName>,
    /// Records of the runs that failed, or of which somebody was told, newest first.
    pub records: Vec<RunRecord>,
}

/// What of a backup's manifest and marks is of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Which one.
    pub id: BackupId,
    /// When its data were as they are in it.
    pub snapshot_at: Timestamp,
    /// When its run began.
    pub started_at: Timestamp,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Bytes of SQL.
    pub raw_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// Why it must not be trusted by itself; empty for a good or an accepted one.
    pub suspect: Vec<String>,
    /// When a restore of it was last verified.
    pub proven_at: Option<Timestamp>,
}

impl Backup {
    fn is_trusted(&self) -> bool {
        self.suspect.is_empty()
    }
}

/// One drill.
#[derive(Debug, Clone)]
pub struct Drill {
    /// What its name tells.
    pub name: DrillName,
    /// Its report, of the newest ones, as far as it can be read.
    pub report: Option<DrillReport>,
}

impl Drill {
    /// Whether the data were right.
    pub fn is_good(&self) -> bool {
        self.name.verdict.proves()
    }

    /// Whether it says something of the backup; one that was cancelled does not.
    fn counts(&self) -> bool {
        let report = self.report.as_ref();
        self.is_good() || report.is_none_or(|report| runs::counts(report.exit))
    }
}

/// How long the stages of a restore take, under one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Durations {
    /// `relaxed`, `production` or `estimated`.
    pub profile: &'static str,
    /// Each stage; teardown and checks are of drills alone.
    pub stages: Vec<Stage>,
    /// All of them, seconds.
    pub total: f64,
}

impl Past {
    /// The newest backup that may be chosen without being named.
    pub fn newest_trusted(&self) -> Option<&Backup> {
        self.backups.iter().find(|backup| backup.is_trusted())
    }

    /// The one that was committed last, suspect or not.
    pub fn last_committed(&self) -> Option<&Backup> {
        self.backups.iter().max_by_key(|backup| backup.committed_at)
    }

    /// The newest trusted one that a restore has proven.
    pub fn newest_proven(&self) -> Option<&Backup> {
        let mut trusted = self.backups.iter().filter(|backup| backup.is_trusted());
        trusted.find(|backup| backup.proven_at.is_some())
    }

    /// How many are trusted, and how many are not.
    pub fn counts(&self) -> (usize, usize) {
        let trusted = self.backups.iter().filter(|backup| backup.is_trusted());
        let trusted = trusted.count();
        (trusted, self.backups.len() - trusted)
    }

    /// Suspect ones that were committed behind the newest trusted one: a snapshot's time may be what is
    /// wrong with them.
    pub fn suspects(&self) -> impl Iterator<Item = &Backup> {
        let trusted = self.newest_trusted().map(|trusted| trusted.committed_at);
        self.backups
            .iter()
            .filter(move |backup| !backup.is_trusted() && Some(backup.committed_at) > trusted)
    }

    /// The last drill of a level that says something.
    pub fn last_drill(&self, level: DrillLevel) -> Option<&Drill> {
        self.of_level(level).find(|drill| drill.counts())
    }

    /// The last drill of a level in which the data were right.
    pub fn last_good_drill(&self, level: DrillLevel) -> Option<&Drill> {
        self.of_level(level).find(|drill| drill.is_good())
    }

    fn of_level(&self, level: DrillLevel) -> impl Iterator<Item = &Drill> {
        let drills = self.drills.iter();
        drills.filter(move |drill| drill.name.level == level)
    }

    /// The reports of drills, newest first, in which a restore was proven; restores of a server that
    /// matters are not among them.
    pub fn proven_drills(&self) -> impl Iterator<Item = &DrillReport> {
        self.of_level(DrillLevel::Restore)
            .filter(|drill| drill.is_good())
            .filter_map(|drill| drill.report.as_ref())
            .filter(|report| !report.is_of_restore())
    }

    /// The last run of a verb.
    pub fn last_run(&self, verb: &str) -> Option<&RunName> {
        self.last_runs.iter().find(|run| run.verb == verb)
    }

    /// The newest run that failed.
    pub fn last_failure(&self) -> Option<&RunRecord> {
        let mut records = self.records.iter();
        records.find(|record| record.exit != 0 && runs::counts(record.exit))
    }

    /// Whether each notifier could be told the last time that there was something to tell it.
    pub fn notifiers(&self) -> Vec<(&str, bool)> {
        let mut last: Vec<(&str, bool)> = Vec::new();
        for told in self.records.iter().flat_map(|record| &record.notify) {
            if last.iter().all(|(name, _)| *name != told.notifier) {
                last.push((&told.notifier, told.error.is_none()));
            }
        }
        last
    }

    fn drill_times(&self) -> Vec<DrillTime> {
        self.proven_drills().filter_map(DrillReport::time).collect()
    }

    /// How long a restore takes.
    pub fn rto(&self) -> Option<Rto> {
        rpo_rto::rto(&self.drill_times())
    }

    /// The stages of restores, under each profile that something is known of.
    pub fn durations(&self) -> Vec<Durations> {
        let newest = |profile| {
            let of_it =
                |report: &&DrillReport| report.time().is_some_and(|time| time.profile == profile);
            self.proven_drills().find(of_it)
        };
        let relaxed = newest(Profile::Relaxed);
        let under_load = match self.rto().map(|rto| rto.basis) {
            None => None,
            Some(Basis::Measured) => newest(Profile::Production).zip(Some(("production", 1.0))),
            Some(Basis::Estimated { ratio }) => relaxed.zip(Some(("estimated", ratio))),
            // Nothing better is known, and an objective that even this misses is missed.
            Some(Basis::AtLeast) => relaxed.zip(Some(("estimated", 1.0))),
        };
        let relaxed = relaxed.zip(Some(("relaxed", 1.0)));
        let both = relaxed.into_iter().chain(under_load);
        both.map(|(report, (profile, ratio))| durations(report, profile, ratio))
            .collect()
    }
}

fn durations(report: &DrillReport, profile: &'static str, ratio: f64) -> Durations {
    let of_restores = report.stages.iter().filter(|stage| stage.counts_for_rto());
    Durations {
        profile,
        total: report.restore_seconds() * ratio,
        stages: of_restores
            .map(|stage| Stage {
                name: stage.name.clone(),
                seconds: stage.seconds * ratio,
            })
            .collect(),
    }
}

impl Status {
    /// The schedule of a task.
    pub fn plan(&self, task: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.task == task)
    }

    /// What disasters would have cost, and one of now.
    pub fn rpo(&self) -> Rpo {
        rpo_rto::rpo(&self.past.snapshots, self.past.bound_at, self.now, WINDOW)
    }

    /// What was declared, with the default for the age of proven data where drills are scheduled.
    pub fn objectives(&self) -> Objectives {
        let interval = |task| self.plan(task).and_then(|plan| plan.interval);
        let newest = self.past.proven_drills().next();
        let took = newest.map(|drill| drill.ended_at.duration_since(drill.started_at));
        let pace = Pace {
            drills: interval("verify"),
            backups: interval("backup"),
            drill_took: took.unwrap_or_default(),
        };
        rpo_rto::with_default_proven_rpo(self.declared, pace, || self.rpo().worst)
    }

    /// Whether the store was read, and not so long ago that what is known says little.
    pub fn is_ready(&self) -> bool {
        let patience = self.interval.saturating_mul(STALE_SCANS);
        self.scanned_at
            .is_some_and(|at| self.now.duration_since(at) <= patience)
    }

    /// Where a page of the runbooks is.
    pub fn runbook(&self, page: &str) -> String {
        format!("{}/{page}.md", self.runbooks.trim_end_matches('/'))
    }
}
