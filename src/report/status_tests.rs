//! One target with everything, and what metrics, problems and the page say of it; and of one that nothing
//! is known of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::metrics;
use super::model::{DrillReport, Evidence, LoadPath, Profile, Proven, ScratchFacts, Stage};
use super::problems::{late_backup, late_drill, problems};
use super::status::{Backup, Drill, Past, Plan, Status};
use super::status_page::page;
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::Snapshot;
use crate::runs::{RunRecord, Told};
use crate::store::keys::{BackupId, DrillLevel, DrillVerdict, RunName};

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn ago(h: i64) -> Timestamp {
    now() - hours(h)
}

fn backup(h: i64) -> Backup {
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

fn drill(h: i64, profile: Profile, verdict: DrillVerdict, took: f64) -> Drill {
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

fn record(verb: &str, h: i64, exit: u8, told: &[(&str, bool)]) -> RunRecord {
    RunRecord {
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

fn plan(task: &'static str, every: i64) -> Plan {
    Plan {
        task,
        schedule: "0 2 * * *".into(),
        interval: Some(hours(every)),
        next: Some(now() + hours(3)),
    }
}

/// All is well, and there is something to tell of everything.
fn good() -> Status {
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

fn snapshot(backup: &Backup) -> Snapshot {
    Snapshot {
        snapshot_at: backup.snapshot_at,
        committed_at: backup.committed_at,
        proven: backup.proven_at.is_some(),
    }
}

fn with(change: impl FnOnce(&mut Past)) -> Status {
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

/// Each sample of the page: its name, its labels' names, and all of its line.
fn samples(status: &Status) -> Vec<(String, BTreeSet<String>, String)> {
    let text = metrics::text(status);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, rest) = line.split_once('{').expect("labels");
            let (labels, _) = rest.rsplit_once('}').expect("an end");
            let labels = labels
                .split("\",")
                .map(|one| one.split_once('=').unwrap().0);
            let labels = labels.map(str::to_owned).collect();
            (name.to_owned(), labels, line.to_owned())
        })
        .collect()
}

/// The value of the one sample that begins so.
#[track_caller]
fn value(status: &Status, name: &str, label: &str) -> Option<f64> {
    let samples = samples(status);
    let found: Vec<&String> = samples
        .iter()
        .filter(|sample| sample.0 == name && sample.2.contains(label))
        .map(|sample| &sample.2)
        .collect();
    match found[..] {
        [] => None,
        [one] => Some(one.rsplit(' ').next().unwrap().parse().unwrap()),
        _ => panic!("several: {found:?}"),
    }
}

fn runbooks(status: &Status) -> Vec<&'static str> {
    problems(status).iter().map(|one| one.runbook).collect()
}

#[test]
fn every_documented_metric_is_told_with_its_labels_and_no_other_is() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(file).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `drctl_"));
    let in_ticks = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let documented: BTreeMap<String, BTreeSet<String>> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let name = in_ticks(cells[1]).remove(0);
            // A label, and behind it a colon with its values.
            let all = in_ticks(cells[2]);
            let known = [
                "task", "state", "kind", "level", "stage", "profile", "verb", "notifier", "version",
            ];
            let mut labels: BTreeSet<String> = all
                .into_iter()
                .filter(|word| known.contains(&word.as_str()))
                .collect();
            if name != "drctl_build_info" {
                labels.insert("target".into());
            }
            (name, labels)
        })
        .collect();
    assert!(documented.len() > 20, "{documented:?}");
    let told: BTreeMap<String, BTreeSet<String>> = samples(&good())
        .into_iter()
        .map(|sample| (sample.0, sample.1))
        .collect();
    assert_eq!(told, documented);
}

#[test]
fn before_the_first_scan_only_what_is_configured_is_told() {
    let status = Status {
        scanned_at: None,
        past: Arc::default(),
        ..good()
    };
    let told: BTreeSet<String> = samples(&status).into_iter().map(|one| one.0).collect();
    let expected = [
        "drctl_build_info",
        "drctl_catalog_last_scan_timestamp_seconds",
        "drctl_proven_rpo_objective_seconds",
        "drctl_rpo_objective_seconds",
        "drctl_rto_objective_seconds",
        "drctl_schedule_interval_seconds",
        "drctl_schedule_next_timestamp_seconds",
    ];
    assert_eq!(told, expected.map(str::to_owned).into());
    assert_eq!(value(&status, expected[1], "target"), Some(0.0));
    assert!(!status.is_ready());
}

#[test]
fn an_empty_store_has_no_times_and_no_backups() {
    let status = Status {
        past: Arc::new(Past {
            known_since: Some(ago(1)),
            ..Past::default()
        }),
        ..good()
    };
    assert_eq!(value(&status, "drctl_backups", "trusted"), Some(0.0));
    assert_eq!(value(&status, "drctl_rpo_worst_seconds", ""), None);
    assert_eq!(
        value(&status, "drctl_backup_last_success_timestamp_seconds", ""),
        None
    );
    assert_eq!(runbooks(&status), Vec::<&str>::new());
    assert!(page(&status).contains("There is no backup yet."));
}

#[test]
fn times_and_gaps_are_those_of_the_trusted_backups() {
    let status = good();
    let committed = (ago(10) + SignedDuration::from_mins(10)).as_second() as f64;
    let name = "drctl_backup_last_success_timestamp_seconds";
    assert_eq!(value(&status, name, ""), Some(committed));
    let gap = value(&status, "drctl_rpo_worst_seconds", "").unwrap();
    assert_eq!(gap, 24.0 * 3600.0 + 600.0);
    let proven = value(&status, "drctl_proven_snapshot_timestamp_seconds", "");
    assert_eq!(proven, Some(ago(10).as_second() as f64));
    let objective = value(&status, "drctl_proven_rpo_objective_seconds", "");
    assert_eq!(objective, Some(48.0 * 3600.0 + 300.0));
}

#[test]
fn the_duration_of_a_restore_is_estimated_from_the_last_ratio() {
    let name = "drctl_restore_duration_seconds";
    let total = |status: &Status, profile: &str| {
        value(
            status,
            name,
            &format!("stage=\"total\",profile=\"{profile}\""),
        )
    };
    let status = good();
    assert_eq!(total(&status, "relaxed"), Some(100.0));
    assert_eq!(total(&status, "estimated"), Some(200.0));
    assert_eq!(total(&status, "production"), None);
    let keys = value(&status, name, "stage=\"keys\",profile=\"estimated\"");
    assert_eq!(keys, Some(50.0));
    let measured = with(|past| drop(past.drills.remove(0)));
    assert_eq!(total(&measured, "production"), Some(300.0));
    assert_eq!(total(&measured, "estimated"), None);
    assert_eq!(total(&measured, "relaxed"), Some(150.0));
    // Nothing measured: the least that it takes, which may be too long already.
    let mut unmeasured = with(|past| past.drills.truncate(1));
    assert_eq!(total(&unmeasured, "estimated"), Some(100.0));
    unmeasured.declared.rto = Some(SignedDuration::from_secs(99));
    assert_eq!(runbooks(&unmeasured), ["DrctlRtoBreached"]);
}

#[test]
fn all_that_is_well_is_no_problem() {
    assert_eq!(problems(&good()), []);
    assert!(page(&good()).contains("All is well."));
}

#[test]
fn what_is_late_is_told_after_two_intervals_and_not_before() {
    let last_at = |h| {
        with(|past| {
            past.backups = vec![backup(h)];
            past.drills = vec![drill(h, Profile::Relaxed, DrillVerdict::Pass, 1.0)];
        })
    };
    // Committed ten minutes behind their snapshots.
    assert_eq!(late_backup(&last_at(48)), None);
    assert!(late_backup(&last_at(49)).is_some());
    assert_eq!(late_drill(&last_at(48)), None);
    assert!(late_drill(&last_at(49)).is_some());
    let found = runbooks(&last_at(49));
    assert!(found.contains(&"DrctlBackupOverdue") && found.contains(&"DrctlVerifyOverdue"));
    let never = with(|past| past.backups.clear());
    assert_eq!(runbooks(&never)[0], "DrctlBackupNeverSucceeded");
    // Nothing to prove yet.
    assert_eq!(late_drill(&never), None);
    let unscheduled = Status {
        plans: Vec::new(),
        ..last_at(49)
    };
    assert_eq!(late_backup(&unscheduled), None);
}

#[test]
fn a_suspect_backup_protects_nobody_and_is_told() {
    let status = with(|past| {
        let suspect = vec!["table <b>`t`</b> vanished".to_owned()];
        past.backups.insert(
            0,
            Backup {
                suspect,
                raw_bytes: 5,
                ..backup(1)
            },
        );
        past.last_runs[0].exit = 9;
    });
    assert_eq!(value(&status, "drctl_backup_suspect", ""), Some(1.0));
    assert_eq!(
        value(&status, "drctl_backup_last_size_bytes", "raw"),
        Some(5.0)
    );
    assert_eq!(value(&status, "drctl_backups", "suspect"), Some(1.0));
    let committed = (ago(10) + SignedDuration::from_mins(10)).as_second() as f64;
    let name = "drctl_backup_last_success_timestamp_seconds";
    assert_eq!(value(&status, name, ""), Some(committed));
    // The run failed by it: one alert is enough.
    assert_eq!(runbooks(&status), ["DrctlBackupSuspect"]);
    assert!(page(&status).contains("table &lt;b&gt;`t`&lt;/b&gt; vanished"));
}

#[test]
fn a_suspect_backup_with_an_older_snapshot_counts_by_its_commit() {
    let status = with(|past| {
        let odd = Backup {
            suspect: vec!["its snapshot is older".into()],
            committed_at: ago(1),
            ..backup(500)
        };
        past.backups.push(odd);
    });
    assert_eq!(value(&status, "drctl_backup_suspect", ""), Some(1.0));
}

#[test]
fn a_drill_that_failed_is_told_and_one_that_was_cancelled_is_not() {
    let failed = with(|past| {
        let one = drill(1, Profile::Relaxed, DrillVerdict::Fail, 1.0);
        past.drills.insert(0, one);
    });
    let name = "drctl_verify_last_result";
    assert_eq!(value(&failed, name, ""), Some(0.0));
    assert_eq!(runbooks(&failed), ["DrctlVerifyFailed"]);
    let cancelled = with(|past| {
        let mut one = drill(1, Profile::Relaxed, DrillVerdict::Fail, 1.0);
        one.report.as_mut().unwrap().exit = 143;
        past.drills.insert(0, one);
    });
    assert_eq!(value(&cancelled, name, ""), Some(1.0));
    let unreadable = with(|past| {
        let mut one = drill(1, Profile::Relaxed, DrillVerdict::Fail, 1.0);
        one.report = None;
        past.drills.insert(0, one);
    });
    assert_eq!(value(&unreadable, name, ""), Some(0.0));
}

#[test]
fn a_missed_objective_is_told_by_what_missed_it() {
    let mut status = good();
    status.declared.rpo = Some(hours(9));
    assert_eq!(runbooks(&status), ["DrctlRpoBreached"]);
    // The newest is fresh; the gap before it was not.
    status.declared.rpo = Some(hours(20));
    assert_eq!(runbooks(&status), ["DrctlRpoGap"]);
    let mut status = good();
    status.declared.rto = Some(SignedDuration::from_secs(199));
    assert_eq!(runbooks(&status), ["DrctlRtoBreached"]);
    let mut status = good();
    status.declared.proven_rpo = Some(hours(9));
    assert_eq!(runbooks(&status), ["DrctlProvenRpoBreached"]);
}

#[test]
fn each_notifier_is_judged_by_the_last_time_that_it_was_told() {
    let status = good();
    let name = "drctl_notify_last_result";
    assert_eq!(value(&status, name, "slack"), Some(1.0));
    let failing = with(|past| drop(past.records.remove(0)));
    assert_eq!(value(&failing, name, "slack"), Some(0.0));
    assert_eq!(value(&failing, name, "heartbeat"), None);
    assert_eq!(runbooks(&failing), ["DrctlNotifierFailing"]);
}

#[test]
fn a_store_that_cannot_be_read_is_told_and_in_the_end_not_ready() {
    let failing = |seconds| Status {
        scanned_at: Some(now() - SignedDuration::from_secs(seconds)),
        failing: Some("list s3://bucket: no answer".into()),
        ..good()
    };
    assert_eq!(runbooks(&failing(60)), ["DrctlStoreUnreachable"]);
    assert!(failing(900).is_ready() && !failing(901).is_ready());
    assert!(page(&failing(60)).contains("no answer"));
}

#[test]
fn what_others_could_write_into_the_store_is_no_label_and_no_markup() {
    let hostile = "x\"} 1\nforged{a=\"<script>";
    let status = with(|past| {
        let report = past.drills[0].report.as_mut().unwrap();
        report.stages[0].name = hostile.into();
        past.records
            .insert(0, record("backup", 1, 4, &[(hostile, false)]));
        past.last_runs[0].verb = hostile.into();
        past.backups[1].suspect = vec![hostile.into()];
        past.damaged.push(hostile.into());
    });
    assert!(!metrics::text(&status).contains("forged"));
    let page = page(&status);
    assert!(
        !page.contains("<script") && page.contains("&lt;script&gt;"),
        "{page}"
    );
}

#[test]
fn runbooks_are_linked_where_they_are_published_and_named_elsewhere() {
    let mut status = with(|past| past.last_runs[0].exit = 4);
    let link = "<a href=\"https://example.com/runbooks/DrctlBackupFailed.md\">";
    assert!(page(&status).contains(link));
    status.runbooks = "runbooks/".into();
    assert!(page(&status).contains("<code>runbooks/DrctlBackupFailed.md</code>"));
    status.runbooks = "javascript:alert(1)".into();
    assert!(!page(&status).contains("href=\"javascript"));
}
