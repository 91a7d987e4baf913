//! For tests: one target of which everything is known, and ways to change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::model::{DrillReport, Evidence, LoadPath, Profile, Proven, ScratchFacts, Stage};
use super::problems::problems;
use super::status::{Backup, Drill, Past, Plan, Status};
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::Snapshot;
use crate::runs::{RunRecord, Told};
use crate::store::keys::{BackupId, DrillLevel, DrillVerdict, RunName};

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
        proven_at: None,
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
        proven: Proven::default(),
        differences: Vec::new(),
        differences_total: 0,
        checks: Vec::new(),
        warnings: Vec::new(),
        evidence: Evidence::default(),
    };
    Drill {
        name: report.name(),
        report: Some(report),
    }
}

pub(crate) fn record(verb: &str, h: i64, exit: u8, told: &[(&str, bool)]) -> RunRecord {
    RunRecord {
        whole: true,
        verb: verb.into(),
        drctl: "0.1.0".into(),
        started_at: ago(h),
        ended_at: ago(h),
        exit,
        backup: None,
        error: (exit != 0).then(|| format!("{verb} failed <script>alert(1)</script>")),
        notify: told
            .iter()
            .map(|(name, told)| Told {
                notifier: (*name).into(),
                error: (!told).then(|| "no answer".into()),
            })
            .collect(),
    }
}

pub(crate) fn plan(task: &'static str, every: i64) -> Plan {
    Plan {
        task,
        schedule: "0 2 * * *".into(),
        interval: Some(hours(every)),
        next: Some(now() + hours(3)),
    }
}

/// All is well, and there is something to tell of everything.
pub(crate) fn good() -> Status {
    let backups = vec![
        Backup {
            proven_at: Some(ago(5)),
            ..backup(10)
        },
        backup(34),
    ];
    let past = Past {
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
    };
    Status {
        target: "shop".parse().unwrap(),
        store: "s3://bucket/prefix".into(),
        now: now(),
        declared: Objectives {
            rpo: Some(hours(26)),
            rto: Some(hours(1)),
            proven_rpo: None,
        },
        plans: vec![plan("backup", 24), plan("verify", 24), plan("prune", 24)],
        interval: SignedDuration::from_secs(60),
        scanned_at: Some(now()),
        failing: None,
        past: Arc::new(past),
        runbooks: "https://example.com/runbooks".into(),
    }
}

pub(crate) fn snapshot(backup: &Backup) -> Snapshot {
    Snapshot {
        snapshot_at: backup.snapshot_at,
        committed_at: backup.committed_at,
        proven: backup.proven_at.is_some(),
    }
}

pub(crate) fn with(change: impl FnOnce(&mut Past)) -> Status {
    let mut status = good();
    change(Arc::make_mut(&mut status.past));
    status.past = {
        let mut past = (*status.past).clone();
        let trusted = past.backups.iter().filter(|one| one.suspect.is_empty());
        past.snapshots = trusted.map(snapshot).collect();
        Arc::new(past)
    };
    status
}

pub(crate) fn runbooks(status: &Status) -> Vec<&'static str> {
    problems(status).iter().map(|one| one.runbook).collect()
}
