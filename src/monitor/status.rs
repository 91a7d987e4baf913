//! The known state of a target at one point in time, and what follows from it. Metrics and the status page
//! render it.
//!
//! No I/O: contents of the store come in as [`Scan`], the clock as [`Status::now`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::history::{self, RunRecord};
use crate::copy::glance::CopyGlance;
use crate::layout::{BackupId, DrillLevel, DrillName, RunName, TargetName};
use crate::monitor::identities::{Drilled, drilled};
use crate::monitor::report::model::{DrillReport, Stage};
use crate::monitor::standby::{SILENT, StandbyGlance};
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::{
    self, Basis, DrillTime, Pace, Profile, Rpo, Rto, Snapshot, WINDOW,
};
use crate::stream::glance::Glance;
use crate::util::times::{hours, minutes};

/// Number of consecutive failed scans after which the data count as stale.
const STALE_SCANS: i32 = 15;

/// For how long commits may be missing in the archived log where no RPO is declared.
const UNCOVERED: SignedDuration = hours(1);

/// What a working streamer and a scan of the store add to that.
const UNCOVERED_GRACE: SignedDuration = minutes(1);

/// A target at one point in time.
#[derive(Debug, Clone)]
pub struct Status {
    /// Name of the target.
    pub target: TargetName,
    /// Description of the store, without secrets.
    pub store: String,
    /// The point in time.
    pub now: Timestamp,
    /// The declared objectives.
    pub declared: Objectives,
    /// The configured schedules.
    pub tasks: Vec<ScheduledTask>,
    /// Maximum time for which a commit waits until it is archived; `None` if no streamer is configured.
    pub cut: Option<SignedDuration>,
    /// Maximum lag of a standby; `None` if none is configured.
    pub standby_lag: Option<SignedDuration>,
    /// Maximum time without a drill with the identity of each recipient; `None` if it is not checked.
    pub identity_drill: Option<SignedDuration>,
    /// Pause between two scans of the store.
    pub interval: SignedDuration,
    /// When the store was last read successfully; `None` before the first scan.
    pub scanned_at: Option<Timestamp>,
    /// Why later scans failed; `None` if the last one succeeded.
    pub failing: Option<String>,
    /// Contents of the store at the last scan; empty before the first.
    pub scan: Arc<Scan>,
    /// Base URL of the runbooks, or their path in the repository.
    pub runbooks: String,
}

/// A schedule, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledTask {
    /// The scheduled verb: `backup`, `verify`, `prune`.
    pub task: &'static str,
    /// The schedule as configured.
    pub schedule: String,
    /// The largest gap between two runs; `None` if it could not be computed.
    pub interval: Option<SignedDuration>,
    /// The next run; `None` if there is none.
    pub next: Option<Timestamp>,
}

/// Result of one scan of the store.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// When the target was bound to its server.
    pub bound_at: Option<Timestamp>,
    /// Time of the earliest trace of the target.
    pub known_since: Option<Timestamp>,
    /// Committed backups, the newest snapshot first.
    pub backups: Vec<Backup>,
    /// Why other backups cannot be read, a line each.
    pub damaged: Vec<String>,
    /// Snapshots that count in the RPO, including backups deleted by retention.
    pub snapshots: Vec<Snapshot>,
    /// Drills and verified restores, newest first.
    pub drills: Vec<Drill>,
    /// The last run of each verb whose exit code says something about its task.
    pub last_runs: Vec<RunName>,
    /// Records of runs that failed or sent a notification, newest first.
    pub records: Vec<RunRecord>,
    /// The archived binary log; `None` if none is archived, or if it is damaged.
    pub log: Option<Glance>,
    /// Why the archived log cannot be read.
    pub log_damaged: Option<String>,
    /// The second store; `None` if none is configured.
    pub copy: Option<CopyGlance>,
    /// What the stores say of a standby.
    pub standbys: Vec<StandbyGlance>,
}

/// The relevant part of a backup's manifest and markers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Id of the backup.
    pub id: BackupId,
    /// Time of its snapshot.
    pub snapshot_at: Timestamp,
    /// When its run began.
    pub started_at: Timestamp,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Bytes of SQL.
    pub raw_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// Why the backup is suspect; empty for a good or an accepted one.
    pub suspect: Vec<String>,
    /// When a restore of it was last verified.
    pub verified_at: Option<Timestamp>,
    /// Who signed it, or why that is not known.
    pub signed: String,
    /// The public keys that it is encrypted to.
    pub recipients: Vec<String>,
}

impl Backup {
    fn is_usable(&self) -> bool {
        self.suspect.is_empty()
    }
}

/// One drill.
#[derive(Debug, Clone)]
pub struct Drill {
    /// The parsed name of its report.
    pub name: DrillName,
    /// Its report, if it is among the newest and readable.
    pub report: Option<DrillReport>,
}

impl Drill {
    /// Whether the drill verified the data.
    pub fn is_good(&self) -> bool {
        self.name.verdict.is_verified()
    }

    /// Whether the drill has a result about the backup; a cancelled one does not.
    fn counts(&self) -> bool {
        let report = self.report.as_ref();
        self.is_good() || report.is_none_or(|report| history::counts(report.exit))
    }
}

/// Durations of a restore's stages under one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Durations {
    /// `relaxed`, `production` or `estimated`.
    pub profile: &'static str,
    /// Duration of each stage; teardown and checks belong to drills only.
    pub stages: Vec<Stage>,
    /// Total duration in seconds.
    pub total: f64,
}

impl Scan {
    /// The newest backup that may be selected automatically.
    pub fn newest_usable(&self) -> Option<&Backup> {
        self.backups.iter().find(|backup| backup.is_usable())
    }

    /// The backup that was committed last, suspect or not.
    pub fn last_committed(&self) -> Option<&Backup> {
        self.backups.iter().max_by_key(|backup| backup.committed_at)
    }

    /// The newest usable backup that was verified.
    pub fn newest_verified(&self) -> Option<&Backup> {
        let mut usable = self.backups.iter().filter(|backup| backup.is_usable());
        usable.find(|backup| backup.verified_at.is_some())
    }

    /// Numbers of usable and of suspect backups.
    pub fn counts(&self) -> (usize, usize) {
        let usable = self.backups.iter().filter(|backup| backup.is_usable());
        let usable = usable.count();
        (usable, self.backups.len() - usable)
    }

    /// Suspect backups committed after the newest usable one; by commit, since the snapshot's time may be
    /// what is wrong.
    pub fn suspects(&self) -> impl Iterator<Item = &Backup> {
        let usable = self.newest_usable().map(|usable| usable.committed_at);
        self.backups
            .iter()
            .filter(move |backup| !backup.is_usable() && Some(backup.committed_at) > usable)
    }

    /// The recipients of the newest usable backup, and when a drill last decrypted with their identities.
    pub fn identities(&self) -> Vec<Drilled> {
        let newest = self.newest_usable().map(|backup| &backup.recipients);
        let backups = self.backups.iter();
        let backups = backups.map(|backup| (backup.recipients.as_slice(), backup.committed_at));
        let reports = self.drills.iter().filter_map(|drill| drill.report.as_ref());
        drilled(newest.map_or(&[], Vec::as_slice), backups, reports)
    }

    /// The last drill that speaks of a level and has a result.
    pub fn last_drill(&self, level: DrillLevel) -> Option<&Drill> {
        self.of_level(level).find(|drill| drill.counts())
    }

    /// The last drill that speaks of a level and verified the data.
    pub fn last_good_drill(&self, level: DrillLevel) -> Option<&Drill> {
        self.of_level(level).find(|drill| drill.is_good())
    }

    fn of_level(&self, level: DrillLevel) -> impl Iterator<Item = &Drill> {
        let drills = self.drills.iter();
        drills.filter(move |drill| drill.name.speaks_of(level))
    }

    /// Up to when a drill has verified the binary log.
    pub fn log_verified_until(&self) -> Option<Timestamp> {
        let replays = self
            .of_level(DrillLevel::Pitr)
            .filter(|drill| drill.is_good());
        let replays = replays.filter_map(|drill| drill.report.as_ref()?.replay.as_ref());
        let equal = replays.filter(|replay| replay.equal);
        equal.map(|replay| replay.until).max()
    }

    /// Reports of drills that verified a restore, newest first; without restores outside drills.
    pub fn verified_drills(&self) -> impl Iterator<Item = &DrillReport> {
        self.of_level(DrillLevel::Restore)
            .filter(|drill| drill.is_good() && drill.name.level == DrillLevel::Restore)
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
        records.find(|record| record.exit != 0 && history::counts(record.exit))
    }

    /// Each notifier, with whether its last notification was delivered.
    pub fn notifiers(&self) -> Vec<(&str, bool)> {
        let mut last: Vec<(&str, bool)> = Vec::new();
        for delivery in self.records.iter().flat_map(|record| &record.notify) {
            if last.iter().all(|(name, _)| *name != delivery.notifier) {
                last.push((&delivery.notifier, delivery.error.is_none()));
            }
        }
        last
    }

    fn drill_times(&self) -> Vec<DrillTime> {
        self.verified_drills()
            .filter_map(DrillReport::drill_time)
            .collect()
    }

    /// Duration of a restore.
    pub fn rto(&self) -> Option<Rto> {
        rpo_rto::rto(&self.drill_times())
    }

    /// Stages of restores, under each profile with known durations.
    pub fn durations(&self) -> Vec<Durations> {
        let newest = |profile| {
            let of_it = |report: &&DrillReport| {
                report
                    .drill_time()
                    .is_some_and(|time| time.profile == profile)
            };
            self.verified_drills().find(of_it)
        };
        let relaxed = newest(Profile::Relaxed);
        let under_load = match self.rto().map(|rto| rto.basis) {
            None => None,
            Some(Basis::Measured) => newest(Profile::Production).zip(Some(("production", 1.0))),
            Some(Basis::Estimated { ratio }) => relaxed.zip(Some(("estimated", ratio))),
            // The best available figure; an objective missed by this lower bound is missed.
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
    pub fn scheduled(&self, task: &str) -> Option<&ScheduledTask> {
        self.tasks.iter().find(|scheduled| scheduled.task == task)
    }

    /// Worst past data loss, and that of a disaster now.
    pub fn rpo(&self) -> Rpo {
        let Scan {
            snapshots,
            bound_at,
            log,
            ..
        } = &*self.scan;
        let covered = log.as_ref().map(|log| log.covered(snapshots));
        let covered = covered.unwrap_or_default();
        rpo_rto::rpo(snapshots, &covered, *bound_at, self.now, WINDOW)
    }

    /// Up to when the data can be restored: the newest usable snapshot, or the end of the log behind a backup.
    pub fn recovery_point(&self) -> Option<Timestamp> {
        let snapshot = self.scan.newest_usable().map(|backup| backup.snapshot_at);
        let log = self.scan.log.as_ref().and_then(Glance::restorable_until);
        snapshot.max(log)
    }

    /// Time since which commits are not archived, if that is longer than the RPO allows (an hour without one) and a
    /// minute. Where nothing is archived although a streamer is configured, since the target is known.
    pub fn uncovered(&self) -> Option<SignedDuration> {
        let since = match &self.scan.log {
            Some(log) => log.head.covered_until,
            None => self.cut.and(self.scan.known_since),
        };
        let age = self.now.duration_since(since?);
        let most = self.declared.rpo.unwrap_or(UNCOVERED);
        (age > most.saturating_add(UNCOVERED_GRACE)).then_some(age)
    }

    /// How long a standby has been missing: `standby.lag_seconds` is configured, and no store has a report.
    pub fn missing_standby(&self) -> Option<SignedDuration> {
        let scan = &self.scan;
        // Unknown while the second store has not been read.
        let unread = scan
            .copy
            .as_ref()
            .is_some_and(|copy| copy.failing.is_some());
        let is_missing = self.standby_lag.is_some() && scan.standbys.is_empty() && !unread;
        let age = self.now.duration_since(scan.known_since?);
        (is_missing && age > SILENT).then_some(age)
    }

    /// The declared objectives, with the default for the age of verified data if drills are scheduled.
    pub fn objectives(&self) -> Objectives {
        let interval = |task| {
            self.scheduled(task)
                .and_then(|scheduled| scheduled.interval)
        };
        let newest = self.scan.verified_drills().next();
        let took = newest.map(|drill| drill.ended_at.duration_since(drill.started_at));
        let pace = Pace {
            drills: interval("verify"),
            backups: interval("backup"),
            drill_took: took.unwrap_or_default(),
        };
        rpo_rto::with_default_verified_rpo(self.declared, pace, || self.rpo().worst)
    }

    /// Whether the store was read recently enough for the data to be valid.
    pub fn is_ready(&self) -> bool {
        let patience = self.interval.saturating_mul(STALE_SCANS);
        self.scanned_at
            .is_some_and(|at| self.now.duration_since(at) <= patience)
    }

    /// URL or path of a runbook page.
    pub fn runbook(&self, page: &str) -> String {
        format!("{}/{page}.md", self.runbooks.trim_end_matches('/'))
    }
}
