//! Test fixture: a target with complete data, and ways to change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::binlog::fixture;
use crate::binlog::record::{FORMAT, Head, Parent, Reason, Timeline};
use crate::catalog::history::{Delivery, RunRecord};
use crate::layout::{BackupId, DrillLevel, DrillVerdict, RunName, TimelineId};
use crate::monitor::problems::problems;
use crate::monitor::report::model::{
    DrillReport, Evidence, LoadPath, Profile, ScratchFacts, Stage, Verified,
};
use crate::monitor::standby::{Compared, Report, StandbyGlance, State};
use crate::monitor::status::{Backup, Drill, Scan, ScheduledTask, Status};
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::Snapshot;
use crate::stream::glance::{Glance, Seen};

pub(crate) fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(crate) fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

pub(crate) fn ago(h: i64) -> Timestamp {
    now() - hours(h)
}

pub(crate) fn backup(h: i64) -> Backup {
    Backup {
        id: BackupId::new(ago(h), 1),
        snapshot_at: ago(h),
        started_at: ago(h),
        committed_at: ago(h) + SignedDuration::from_mins(10),
        raw_bytes: 1_000_000,
        stored_bytes: 100_000,
        suspect: Vec::new(),
        verified_at: None,
        signed: "by <shop>".into(),
        recipients: Vec::new(),
    }
}

pub(crate) fn drill(h: i64, profile: Profile, verdict: DrillVerdict, took: f64) -> Drill {
    let stage = |name: &str, seconds| Stage {
        name: name.into(),
        seconds,
    };
    let report = DrillReport {
        report: 1,
        drctl: "0.1.0".into(),
        target: "shop".parse().unwrap(),
        backup: BackupId::new(ago(h), 1),
        snapshot_at: ago(h + 1),
        committed_at: ago(h + 1),
        level: DrillLevel::Restore,
        verdict,
        exit: if verdict == DrillVerdict::Fail { 7 } else { 0 },
        error: (verdict == DrillVerdict::Fail).then(|| "the data differ".into()),
        started_at: ago(h) - SignedDuration::from_mins(5),
        ended_at: ago(h),
        path: Some(LoadPath::Lanes),
        scratch: Some(ScratchFacts {
            kind: "local".into(),
            version: "MariaDB 10.11".into(),
            profile,
            settings: BTreeMap::new(),
        }),
        stages: vec![
            stage("data", took * 0.75),
            stage("keys", took * 0.25),
            stage("teardown", 1000.0),
        ],
        drill_seconds: took + 1000.0,
        rto: None,
        rpo: None,
        misses: Vec::new(),
        verified: Verified::default(),
        differences: Vec::new(),
        differences_total: 0,
        checks: Vec::new(),
        replay: None,
        log: None,
        warnings: Default::default(),
        evidence: Evidence::default(),
    };
    Drill {
        name: report.name(),
        report: Some(report),
    }
}

pub(crate) fn record(verb: &str, h: i64, exit: u8, delivered: &[(&str, bool)]) -> RunRecord {
    RunRecord {
        whole: true,
        verb: verb.into(),
        drctl: "0.1.0".into(),
        started_at: ago(h),
        ended_at: ago(h),
        exit,
        backup: None,
        error: (exit != 0).then(|| format!("{verb} failed <script>alert(1)</script>")),
        notify: delivered
            .iter()
            .map(|(name, delivered)| Delivery {
                notifier: (*name).into(),
                error: (!delivered).then(|| "no answer".into()),
            })
            .collect(),
    }
}

pub(crate) fn scheduled(task: &'static str, every: i64) -> ScheduledTask {
    ScheduledTask {
        task,
        schedule: "0 2 * * *".into(),
        interval: Some(hours(every)),
        next: Some(now() + hours(3)),
    }
}

/// A target without problems, with data for every part of the page.
pub(crate) fn good() -> Status {
    let backups = vec![
        Backup {
            verified_at: Some(ago(5)),
            ..backup(10)
        },
        backup(34),
    ];
    let scan = Scan {
        bound_at: Some(ago(1000)),
        known_since: Some(ago(1000)),
        snapshots: backups.iter().map(snapshot).collect(),
        backups,
        damaged: Vec::new(),
        drills: vec![
            drill(5, Profile::Relaxed, DrillVerdict::Pass, 100.0),
            drill(29, Profile::Production, DrillVerdict::Pass, 300.0),
            drill(30, Profile::Relaxed, DrillVerdict::Pass, 150.0),
        ],
        last_runs: ["backup", "verify", "prune", "restore"]
            .map(|verb| RunName {
                time: ago(5),
                verb: verb.into(),
                exit: 0,
            })
            .to_vec(),
        records: vec![
            record(
                "backup",
                10,
                0,
                &[("heartbeat-backup", true), ("slack", true)],
            ),
            record("backup", 200, 4, &[("slack", false)]),
        ],
        log: None,
        log_damaged: None,
        copy: None,
        standbys: Vec::new(),
    };
    Status {
        target: "shop".parse().unwrap(),
        store: "s3://bucket/prefix".into(),
        now: now(),
        declared: Objectives {
            rpo: Some(hours(26)),
            rto: Some(hours(1)),
            verified_rpo: None,
        },
        tasks: vec![
            scheduled("backup", 24),
            scheduled("verify", 24),
            scheduled("prune", 24),
        ],
        cut: None,
        standby_lag: None,
        identity_drill: None,
        interval: SignedDuration::from_secs(60),
        scanned_at: Some(now()),
        failing: None,
        scan: Arc::new(scan),
        runbooks: "https://example.com/runbooks".into(),
    }
}

pub(crate) fn snapshot(backup: &Backup) -> Snapshot {
    Snapshot {
        snapshot_at: backup.snapshot_at,
        committed_at: backup.committed_at,
        verified: backup.verified_at.is_some(),
    }
}

/// A timeline of the log that began this many hours ago.
pub(crate) fn timeline(h: i64, reason: Reason) -> Seen {
    let file = fixture::file(1);
    let parent = (reason != Reason::First).then(|| Parent {
        id: TimelineId::new(ago(h + 100), 1),
        file: file.clone(),
        log_pos: 4,
        gtid_set: None,
        covered_until: Some(ago(h)),
    });
    Seen {
        timeline: Timeline {
            reason,
            server: "a".into(),
            file,
            parent,
            continues: reason == Reason::Failover,
            missing: (reason != Reason::First).then(|| "b.000007 <b>was</b> purged".into()),
            target: None,
            ..fixture::timeline(TimelineId::new(ago(h), 1))
        },
        first_at: Some(ago(h)),
        to: Some(now() - SignedDuration::from_secs(30)),
    }
}

/// A log of one timeline, archived up to half a minute ago, that continues the oldest backup.
pub(crate) fn log() -> Glance {
    let seen = timeline(40, Reason::First);
    Glance {
        head: Head {
            format: FORMAT,
            timeline: seen.timeline.id,
            file: seen.timeline.file.clone(),
            log_pos: 4000,
            segment: None,
            covered_until: seen.to,
            gtid_set: None,
            written_at: now() - SignedDuration::from_secs(29),
            lag_bytes: 512,
            commit_last: Some(ago(1)),
            expire_seconds: Some(86_400),
            ahead_seconds: None,
            late: Vec::new(),
        },
        timelines: vec![seen],
        recoverable_from: Some(ago(34)),
    }
}

/// A target whose log is archived, changed.
pub(crate) fn streamed(change: impl FnOnce(&mut Glance)) -> Status {
    let mut log = log();
    change(&mut log);
    let cut = Some(SignedDuration::from_secs(10));
    Status {
        cut,
        ..with(|scan| scan.log = Some(log))
    }
}

/// A standby that follows, five seconds behind, and was found equal to a backup.
pub(crate) fn standby() -> StandbyGlance {
    let seconds_ago = |seconds| now() - SignedDuration::from_secs(seconds);
    StandbyGlance {
        store: "s3://vault/p".into(),
        report: Some(Report {
            format: Report::FORMAT,
            target: "shop".parse().unwrap(),
            server: "standby:3306".into(),
            state: State::Following,
            since: ago(9),
            backup: Some(BackupId::new(ago(10), 1)),
            timeline: None,
            applied_until: Some(seconds_ago(5)),
            ahead_seconds: Some(1),
            executed: None,
            transactions: 7,
            compared: Some(Compared {
                backup: BackupId::new(ago(10), 1),
                at: ago(9),
                equal: true,
                differences: String::new(),
            }),
            refused: Vec::new(),
            error: None,
            failing_since: None,
            written_at: seconds_ago(20),
        }),
        damaged: None,
        seen_at: now(),
    }
}

/// A target with a standby, changed; at most a minute of lag is declared.
pub(crate) fn stood_by(change: impl FnOnce(&mut Report)) -> Status {
    let mut standby = standby();
    change(standby.report.as_mut().unwrap());
    Status {
        standby_lag: Some(SignedDuration::from_secs(60)),
        ..with(|scan| scan.standbys = vec![standby])
    }
}

pub(crate) fn with(change: impl FnOnce(&mut Scan)) -> Status {
    let mut status = good();
    change(Arc::make_mut(&mut status.scan));
    status.scan = {
        let mut scan = (*status.scan).clone();
        let usable = scan.backups.iter().filter(|one| one.suspect.is_empty());
        scan.snapshots = usable.map(snapshot).collect();
        Arc::new(scan)
    };
    status
}

pub(crate) fn runbooks(status: &Status) -> Vec<&'static str> {
    problems(status).iter().map(|one| one.runbook).collect()
}
