//! Tests of the metrics of a target with all data, and of one without any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use crate::binlog::record::Reason;
use crate::copy::glance::CopyGlance;
use crate::layout::{BackupId, DrillLevel, DrillVerdict};
use crate::monitor::metrics;
use crate::monitor::report::model::{Profile, Replay, Verified};
use crate::monitor::standby::State;
use crate::monitor::status::{Backup, Drill, Scan, Status};
use crate::monitor::status_fixture::{
    ago, backup, drill, good, now, record, runbooks, standby, stood_by, streamed, timeline, with,
};
use crate::monitor::status_page::page;

/// Each sample of the page: its name, its labels' names, and the whole line.
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

/// The value of the only sample that begins with `name` and has `label`.
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

#[test]
fn the_exported_metrics_and_labels_are_those_documented() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(file).unwrap();
    let (page, _) = page.split_once("## `drctl watch pods`").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `drctl_"));
    let in_ticks = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let documented: BTreeMap<String, BTreeSet<String>> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let name = in_ticks(cells[1]).remove(0);
            // A label, followed by a colon and its values.
            let all = in_ticks(cells[2]);
            let known = [
                "task",
                "state",
                "kind",
                "level",
                "stage",
                "profile",
                "verb",
                "notifier",
                "version",
                "reason",
                "store",
                "result",
                "recipient",
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
    let mut status = streamed(|_| {});
    let drills = &mut Arc::make_mut(&mut status.scan).drills;
    drills.push(drill_of_log(40, DrillVerdict::Pass));
    let scan = Arc::make_mut(&mut status.scan);
    scan.copy = Some(copied());
    scan.backups[0].recipients = vec!["age1safe".into()];
    status.identity_drill = Some(SignedDuration::from_hours(1));
    let scan = Arc::make_mut(&mut status.scan);
    scan.standbys = vec![standby()];
    let report = scan.standbys[0].report.as_mut().unwrap();
    report.failing_since = Some(ago(1));
    status.standby_lag = Some(SignedDuration::from_secs(60));
    let exported: BTreeMap<String, BTreeSet<String>> = samples(&status)
        .into_iter()
        .map(|sample| (sample.0, sample.1))
        .collect();
    assert_eq!(exported, documented);
}

/// A second store with an objective.
fn copied() -> CopyGlance {
    CopyGlance {
        store: "s3://vault/p".into(),
        snapshot_at: Some(ago(12)),
        restorable_until: Some(ago(2)),
        objective: Some(SignedDuration::from_hours(4)),
        failing: None,
    }
}

#[test]
fn a_second_store_is_exported_with_its_name_and_keeps_its_values() {
    let exported = |copy: CopyGlance| {
        let status = with(|scan| scan.copy = Some(copy));
        [
            "readable",
            "recovery_point_timestamp_seconds",
            "rpo_objective_seconds",
        ]
        .map(|name| {
            value(
                &status,
                &format!("drctl_copy_{name}"),
                "store=\"s3://vault/p\"",
            )
        })
    };
    let until = Some(ago(2).as_second() as f64);
    assert_eq!(exported(copied()), [Some(1.0), until, Some(14_400.0)]);
    let failing = CopyGlance {
        failing: Some("no answer".into()),
        objective: None,
        ..copied()
    };
    assert_eq!(exported(failing), [Some(0.0), until, None]);
}

/// A drill of the binary log that ended this many hours ago.
#[test]
fn a_standby_is_exported_with_its_store_and_its_lag_grows() {
    let of = |status: &Status, name, label| value(status, name, label);
    let status = stood_by(|_| {});
    let state = "drctl_standby_state";
    assert_eq!(of(&status, state, "state=\"following\""), Some(1.0));
    assert_eq!(of(&status, state, "state=\"failed\""), Some(0.0));
    let lag = "drctl_standby_lag_seconds";
    assert_eq!(of(&status, lag, "store=\"s3://vault/p\""), Some(5.0));
    let later = Status {
        now: now() + SignedDuration::from_mins(10),
        ..status
    };
    assert_eq!(of(&later, lag, ""), Some(605.0));
    let compared = "drctl_standby_compared_timestamp_seconds";
    let at = ago(9).as_second() as f64;
    assert_eq!(of(&later, compared, "result=\"equal\""), Some(at));
    let unknown = stood_by(|report| {
        report.applied_until = None;
        report.compared = None;
    });
    assert_eq!(of(&unknown, lag, ""), None);
    assert_eq!(of(&unknown, compared, ""), None);
    let promoted = stood_by(|report| report.state = State::Promoted);
    assert_eq!(of(&promoted, lag, ""), None);
    assert_eq!(of(&promoted, state, "state=\"promoted\""), Some(1.0));
}

fn drill_of_log(h: i64, verdict: DrillVerdict) -> Drill {
    let mut drill = drill(h, Profile::Relaxed, verdict, 100.0);
    let report = drill.report.as_mut().unwrap();
    report.level = DrillLevel::Pitr;
    report.replay = Some(Replay {
        until_backup: BackupId::new(ago(h), 2),
        until: ago(h),
        timeline: "20261121T020000Z-3f9a".into(),
        transactions: 10,
        bytes: 1000,
        seconds: 2.0,
        transactions_per_second: 5.0,
        bytes_per_second: 500.0,
        rto_seconds: 102.0,
        refused: Vec::new(),
        refused_total: 0,
        compared: Verified::default(),
        equal: verdict.is_verified(),
        beyond: None,
    });
    drill.name = report.name();
    drill
}

#[test]
fn a_drill_of_the_log_verifies_a_restore_and_its_failure_is_the_logs() {
    let time = |h| Some(ago(h).as_second() as f64);
    let last = "drctl_verify_last_success_timestamp_seconds";
    let until = "drctl_pitr_proven_until_timestamp_seconds";
    let status = with(|scan| scan.drills.insert(0, drill_of_log(2, DrillVerdict::Pass)));
    assert_eq!(value(&status, last, "level=\"restore\""), time(2));
    assert_eq!(value(&status, last, "level=\"pitr\""), time(2));
    assert_eq!(value(&status, until, ""), time(2));
    let failed = with(|scan| scan.drills.insert(0, drill_of_log(2, DrillVerdict::Fail)));
    assert_eq!(value(&failed, last, "level=\"restore\""), time(5));
    assert_eq!(value(&failed, last, "level=\"pitr\""), None);
    assert_eq!(value(&failed, until, ""), None);
    let result = "drctl_verify_last_result";
    assert_eq!(value(&failed, result, "level=\"restore\""), Some(1.0));
    assert_eq!(value(&failed, result, "level=\"pitr\""), Some(0.0));
    assert!(runbooks(&failed).contains(&"DrctlVerifyFailed"));
    // Its longer stages are no figures of a restore.
    assert_eq!(status.scan.rto(), good().scan.rto());
}

#[test]
fn before_the_first_scan_only_the_configuration_is_exported() {
    let status = Status {
        scanned_at: None,
        scan: Arc::default(),
        ..good()
    };
    let exported: BTreeSet<String> = samples(&status).into_iter().map(|one| one.0).collect();
    let expected = [
        "drctl_build_info",
        "drctl_catalog_last_scan_timestamp_seconds",
        "drctl_verified_rpo_objective_seconds",
        "drctl_rpo_objective_seconds",
        "drctl_rto_objective_seconds",
        "drctl_schedule_interval_seconds",
        "drctl_schedule_next_timestamp_seconds",
    ];
    assert_eq!(exported, expected.map(str::to_owned).into());
    assert_eq!(value(&status, expected[1], "target"), Some(0.0));
    assert!(!status.is_ready());
}

#[test]
fn an_empty_store_has_no_times_and_no_backups() {
    let status = Status {
        scan: Arc::new(Scan {
            known_since: Some(ago(1)),
            ..Scan::default()
        }),
        ..good()
    };
    assert_eq!(value(&status, "drctl_backups", "usable"), Some(0.0));
    assert_eq!(value(&status, "drctl_rpo_worst_seconds", ""), None);
    assert_eq!(
        value(&status, "drctl_backup_last_success_timestamp_seconds", ""),
        None
    );
    assert_eq!(runbooks(&status), Vec::<&str>::new());
    assert!(page(&status).contains("There is no backup yet."));
}

#[test]
fn times_and_gaps_are_those_of_the_usable_backups() {
    let status = good();
    let committed = (ago(10) + SignedDuration::from_mins(10)).as_second() as f64;
    let name = "drctl_backup_last_success_timestamp_seconds";
    assert_eq!(value(&status, name, ""), Some(committed));
    let gap = value(&status, "drctl_rpo_worst_seconds", "").unwrap();
    assert_eq!(gap, 24.0 * 3600.0 + 600.0);
    let verified = value(&status, "drctl_verified_snapshot_timestamp_seconds", "");
    assert_eq!(verified, Some(ago(10).as_second() as f64));
    let objective = value(&status, "drctl_verified_rpo_objective_seconds", "");
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
    let measured = with(|scan| drop(scan.drills.remove(0)));
    assert_eq!(total(&measured, "production"), Some(300.0));
    assert_eq!(total(&measured, "estimated"), None);
    assert_eq!(total(&measured, "relaxed"), Some(150.0));
    // Nothing measured: the lower bound, which may already exceed the objective.
    let mut unmeasured = with(|scan| scan.drills.truncate(1));
    assert_eq!(total(&unmeasured, "estimated"), Some(100.0));
    unmeasured.declared.rto = Some(SignedDuration::from_secs(99));
    assert_eq!(runbooks(&unmeasured), ["DrctlRtoBreached"]);
}

#[test]
fn a_suspect_backup_does_not_count_and_is_reported() {
    let status = with(|scan| {
        let suspect = vec!["table <b>`t`</b> vanished".to_owned()];
        scan.backups.insert(
            0,
            Backup {
                suspect,
                raw_bytes: 5,
                ..backup(1)
            },
        );
        scan.last_runs[0].exit = 9;
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
    // The run failed because of it: one alert is enough.
    assert_eq!(runbooks(&status), ["DrctlBackupSuspect"]);
    assert!(page(&status).contains("table &lt;b&gt;`t`&lt;/b&gt; vanished"));
}

#[test]
fn a_suspect_backup_with_an_older_snapshot_counts_by_its_commit() {
    let status = with(|scan| {
        let odd = Backup {
            suspect: vec!["its snapshot is older".into()],
            committed_at: ago(1),
            ..backup(500)
        };
        scan.backups.push(odd);
    });
    assert_eq!(value(&status, "drctl_backup_suspect", ""), Some(1.0));
}

#[test]
fn a_failed_drill_is_reported_and_a_cancelled_one_is_not() {
    let failed = with(|scan| {
        let one = drill(1, Profile::Relaxed, DrillVerdict::Fail, 1.0);
        scan.drills.insert(0, one);
    });
    let name = "drctl_verify_last_result";
    assert_eq!(value(&failed, name, ""), Some(0.0));
    assert_eq!(runbooks(&failed), ["DrctlVerifyFailed"]);
    let cancelled = with(|scan| {
        let mut one = drill(1, Profile::Relaxed, DrillVerdict::Fail, 1.0);
        one.report.as_mut().unwrap().exit = 143;
        scan.drills.insert(0, one);
    });
    assert_eq!(value(&cancelled, name, ""), Some(1.0));
    let unreadable = with(|scan| {
        let mut one = drill(1, Profile::Relaxed, DrillVerdict::Fail, 1.0);
        one.report = None;
        scan.drills.insert(0, one);
    });
    assert_eq!(value(&unreadable, name, ""), Some(0.0));
}

#[test]
fn each_notifier_shows_its_last_delivery() {
    let status = good();
    let name = "drctl_notify_last_result";
    assert_eq!(value(&status, name, "slack"), Some(1.0));
    let failing = with(|scan| drop(scan.records.remove(0)));
    assert_eq!(value(&failing, name, "slack"), Some(0.0));
    assert_eq!(value(&failing, name, "heartbeat"), None);
    assert_eq!(runbooks(&failing), ["DrctlNotifierFailing"]);
}

#[test]
fn text_from_the_store_is_neither_a_label_nor_markup() {
    let hostile = "x\"} 1\nforged{a=\"<script>";
    let status = with(|scan| {
        let report = scan.drills[0].report.as_mut().unwrap();
        report.stages[0].name = hostile.into();
        scan.records
            .insert(0, record("backup", 1, 4, &[(hostile, false)]));
        scan.last_runs[0].verb = hostile.into();
        scan.backups[1].suspect = vec![hostile.into()];
        scan.damaged.push(hostile.into());
    });
    assert!(!metrics::text(&status).contains("forged"));
    let page = page(&status);
    assert!(
        !page.contains("<script") && page.contains("&lt;script&gt;"),
        "{page}"
    );
}

#[test]
fn the_archived_log_moves_the_recovery_point_only_behind_a_backup() {
    let point = "drctl_recovery_point_timestamp_seconds";
    let covered = "drctl_log_covered_until_timestamp_seconds";
    let recent = (now() - SignedDuration::from_secs(30)).as_second() as f64;
    let good_log = streamed(|_| {});
    assert_eq!(value(&good_log, covered, ""), Some(recent));
    assert_eq!(value(&good_log, point, ""), Some(recent));
    let from = value(
        &good_log,
        "drctl_log_recoverable_from_timestamp_seconds",
        "",
    );
    assert_eq!(from, Some(ago(34).as_second() as f64));
    assert_eq!(value(&good_log, "drctl_log_gaps", ""), Some(0.0));
    let margin = value(&good_log, "drctl_stream_purge_margin_seconds", "");
    assert_eq!(margin, Some(86_370.0));
    // The worst gap is that before the first backup was committed, and no longer that between two.
    assert_eq!(value(&good_log, "drctl_rpo_worst_seconds", ""), Some(600.0));
    assert!(page(&good_log).contains("Log covered"));

    let baseless = streamed(|log| log.recoverable_from = None);
    assert_eq!(value(&baseless, covered, ""), Some(recent));
    assert_eq!(
        value(&baseless, point, ""),
        Some(ago(10).as_second() as f64)
    );
    assert_eq!(
        value(&baseless, "drctl_rpo_worst_seconds", ""),
        Some(24.0 * 3600.0 + 600.0)
    );
    for name in [covered, "drctl_log_gaps", "drctl_stream_cut_seconds"] {
        assert_eq!(
            value(&good(), name, ""),
            None,
            "{name}: nothing is archived"
        );
    }
}

#[test]
fn gaps_are_counted_and_the_newest_timeline_of_each_reason_is_dated() {
    let status = streamed(|log| {
        log.timelines.push(timeline(30, Reason::Gap));
        log.timelines.push(timeline(20, Reason::Failover));
        log.timelines.push(timeline(15, Reason::Gap));
        log.head.timeline = log.timelines[3].timeline.id;
    });
    assert_eq!(value(&status, "drctl_log_gaps", ""), Some(2.0));
    let name = "drctl_log_timeline_timestamp_seconds";
    let began = |reason| value(&status, name, reason);
    assert_eq!(began("gap"), Some(ago(15).as_second() as f64));
    assert_eq!(began("failover"), Some(ago(20).as_second() as f64));
    assert_eq!(began("rewound"), None);
}
