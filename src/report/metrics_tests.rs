//! What the metrics say of a target with everything, and of one that nothing is known of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::metrics;
use super::model::Profile;
use super::status::{Backup, Past, Status};
use super::status_fixture::{ago, backup, drill, good, record, runbooks, with};
use super::status_page::page;
use crate::store::keys::DrillVerdict;

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

#[test]
fn every_documented_metric_is_told_with_its_labels_and_no_other_is() {
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
