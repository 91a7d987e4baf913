//! `drctl prune` on directories with a past: what goes, what stays, and that it says why.

use std::path::Path;
use std::process::Command;

use drctl::layout::{BackupId, BackupObject, DrillVerdict};
use jiff::Timestamp;
use serde_json::Value;

use crate::support::Drctl;
use crate::support::backup::walk;
use crate::support::drctl::Run;
use crate::support::history::{drilled, hours_ago, passed};

const DAY: i64 = 24;

/// A target with backups of so many days ago, oldest first, and a rule that keeps two days.
fn with_days(days: &[i64]) -> (Drctl, Vec<BackupId>) {
    let drctl = Drctl::new("shop").env("DRCTL_RETENTION_DAILY", "2");
    let had = |days: &i64| drctl.had_backup("shop", hours_ago(days * DAY + 1));
    let ids = days.iter().map(had).collect();
    (drctl, ids)
}

/// What was decided on a backup, with the reasons.
#[track_caller]
fn fate(run: &Run, id: BackupId) -> (String, String) {
    let page = run.json();
    let lines = page["backups"].as_array().expect("backups");
    let line = lines
        .iter()
        .find(|line| line["id"] == id.to_string())
        .expect("the backup");
    let reasons: Vec<&str> = line["reasons"]
        .as_array()
        .expect("reasons")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    (
        line["decision"].as_str().expect("a decision").to_owned(),
        reasons.join(", "),
    )
}

#[track_caller]
fn is_fate(run: &Run, id: BackupId, decision: &str, reason: &str) {
    let (found, reasons) = fate(run, id);
    assert!(
        found == decision && reasons.contains(reason),
        "{found}: {reasons}"
    );
}

fn listed(drctl: &Drctl) -> Vec<String> {
    let list = drctl.run(["list", "--output", "json"]).ok().json();
    let ids = list.as_array().expect("an array").iter();
    ids.map(|one| one["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The names of all objects below a backup.
fn objects(drctl: &Drctl, id: BackupId) -> Vec<String> {
    let dir = drctl.store_dir().join(format!("shop/{id}"));
    let mut files = Vec::new();
    walk(&dir, &mut files);
    let prefix = format!("{}/", dir.display());
    let mut names: Vec<String> = files.iter().map(|file| file.replace(&prefix, "")).collect();
    names.sort();
    names
}

fn age(path: &Path, hours: i64) {
    let when = format!("{hours} hours ago");
    let touched = Command::new("touch").args(["-d", &when]).arg(path).status();
    assert!(touched.expect("touch runs").success());
}

/// Makes all of a backup as old as if it had been written then.
fn age_all(drctl: &Drctl, id: BackupId, hours: i64) {
    let mut files = Vec::new();
    walk(&drctl.store_dir().join(format!("shop/{id}")), &mut files);
    for file in files {
        age(Path::new(&file), hours);
    }
}

#[test]
fn a_dry_run_explains_every_backup_and_touches_nothing() {
    let (drctl, ids) = with_days(&[9, 8, 7, 6, 5, 1, 0]);
    drctl.mark("shop", ids[1], &BackupObject::Pin);
    drctl.mark("shop", ids[2], &passed(hours_ago(6 * DAY)));
    let before = {
        let mut files = Vec::new();
        walk(&drctl.store_dir(), &mut files);
        files
    };
    let run = drctl.run(["prune", "--dry-run", "--output", "json"]).ok();
    is_fate(&run, ids[0], "delete", "no rule keeps it");
    is_fate(&run, ids[1], "keep", "pinned");
    is_fate(&run, ids[2], "keep", "the newest verified, verified");
    is_fate(&run, ids[3], "delete", "");
    is_fate(&run, ids[5], "keep", "daily ");
    is_fate(&run, ids[6], "keep", "the newest, daily ");
    let page = drctl.run(["prune", "--dry-run"]).ok().stdout;
    for id in &ids {
        assert_eq!(
            page.lines()
                .filter(|line| line.contains(&id.to_string()))
                .count(),
            1,
            "{page}"
        );
    }
    assert!(
        page.contains("3 would be deleted, 4 kept, 0 postponed; nothing was changed"),
        "{page}"
    );
    let after = {
        let mut files = Vec::new();
        walk(&drctl.store_dir(), &mut files);
        files
    };
    assert_eq!(before, after);
}

#[test]
fn what_no_rule_keeps_goes_and_its_evidence_stays() {
    let (drctl, ids) = with_days(&[9, 8, 1, 0]);
    let drill = passed(hours_ago(8 * DAY));
    drctl.mark("shop", ids[0], &drill);
    drctl.mark("shop", ids[3], &passed(hours_ago(0)));
    let drctl = drctl.env("DRCTL_RETENTION_VERIFIED", "1");
    let page = drctl.run(["prune"]).ok().stdout;
    assert!(
        page.contains("2 deleted, ") && page.contains("2 kept, 0 postponed"),
        "{page}"
    );
    assert_eq!(listed(&drctl), [ids[3].to_string(), ids[2].to_string()]);
    let left = objects(&drctl, ids[0]);
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(left[0], drill.to_string());
    assert!(
        left[1].starts_with("pruned/") && left[1].ends_with("-trusted.json"),
        "{left:?}"
    );
    drctl
        .run(["show", &ids[0].to_string()])
        .fails(3, "does not exist in");
    let page = drctl.run(["prune"]).ok().stdout;
    assert!(page.contains("0 deleted, "), "{page}");
    let runs = std::fs::read_dir(drctl.store_dir().join("shop/runs"))
        .unwrap()
        .flatten();
    let names: Vec<_> = runs
        .map(|run| run.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        names.iter().all(|name| name.ends_with("-prune-0.json")),
        "{names:?}"
    );
}

#[test]
fn what_went_did_protect_so_the_rpo_does_not_grow_by_pruning() {
    let (drctl, _) = with_days(&[10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let drctl = drctl
        .env("DRCTL_RETENTION_DAILY", "0")
        .env("DRCTL_RETENTION_WEEKLY", "3")
        .env("DRCTL_OBJECTIVES_RPO_SECONDS", "93600");
    let rpo = |drctl: &Drctl| {
        let checks = drctl.run(["doctor", "--output", "json"]).json();
        let rpo = checks
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["check"] == "RPO")
            .unwrap()
            .clone();
        (
            rpo["status"].clone(),
            rpo["what"].to_string().contains(": 1 d, "),
        )
    };
    assert_eq!(rpo(&drctl), ("OK".into(), true));
    drctl.run(["prune", "--force"]).ok();
    assert!(listed(&drctl).len() <= 3);
    assert_eq!(rpo(&drctl), ("OK".into(), true));
}

#[test]
fn without_a_rule_nothing_is_pruned() {
    let drctl = Drctl::new("shop");
    drctl.had_backup("shop", hours_ago(1));
    drctl
        .run(["prune"])
        .refused(2, &["no retention rule is configured", "retention.daily"]);
}

#[test]
fn one_run_deletes_three_unless_forced() {
    let (drctl, ids) = with_days(&[9, 8, 7, 6, 5, 4, 1, 0]);
    let run = drctl.run(["prune", "--output", "json"]).ok();
    is_fate(&run, ids[2], "delete", "");
    is_fate(
        &run,
        ids[3],
        "postpone",
        "one run deletes at most 3; the next run continues, or use --force",
    );
    assert_eq!(listed(&drctl).len(), 5);
    drctl.run(["prune", "--force"]).ok();
    assert_eq!(listed(&drctl), [ids[7].to_string(), ids[6].to_string()]);
}

#[test]
fn while_verification_is_overdue_nothing_goes() {
    let (drctl, ids) = with_days(&[9, 8, 1, 0]);
    let drctl = drctl.env(
        "DRCTL_OBJECTIVES_VERIFIED_RPO_SECONDS",
        &(3 * 86400).to_string(),
    );
    drctl.run(["prune"]).refused(
        9,
        &[
            "no backup was deleted: verification is overdue",
            "ever verified",
            "drctl verify",
        ],
    );
    drctl.mark("shop", ids[1], &passed(hours_ago(7 * DAY)));
    let words = ["verification is overdue", "8 d 1 h old, more than 3 d"];
    drctl.run(["prune", "--dry-run"]).refused(9, &words);
    drctl.run(["prune"]).refused(9, &words);
    assert_eq!(listed(&drctl).len(), 4);
    drctl.mark("shop", ids[3], &passed(Timestamp::now()));
    drctl.run(["prune"]).ok();
    // The one verified before is one of the two newest verified.
    assert_eq!(listed(&drctl).len(), 3);
}

#[test]
fn a_verified_backup_that_failed_since_is_kept_only_while_it_is_the_newest_verified() {
    let (drctl, ids) = with_days(&[29, 28, 1, 0]);
    drctl.mark("shop", ids[0], &passed(hours_ago(28 * DAY)));
    drctl.mark(
        "shop",
        ids[0],
        &drilled(hours_ago(20 * DAY), DrillVerdict::Fail),
    );
    let run = drctl.run(["prune", "--dry-run", "--output", "json"]).ok();
    is_fate(&run, ids[0], "keep", "the newest verified");
    drctl.mark("shop", ids[3], &passed(hours_ago(0)));
    let run = drctl.run(["prune", "--dry-run", "--output", "json"]).ok();
    is_fate(&run, ids[0], "delete", "");
}

#[test]
fn suspect_ones_take_no_ones_place() {
    let (drctl, ids) = with_days(&[9, 1]);
    let suspect = drctl.had("shop", hours_ago(2), |manifest| {
        manifest.suspect = vec!["it shrank".into()]
    });
    let old = drctl.had("shop", hours_ago(20 * DAY), |manifest| {
        manifest.suspect = vec!["it shrank".into()]
    });
    let run = drctl.run(["prune", "--output", "json"]).ok();
    is_fate(&run, suspect, "keep", "with no newer usable backup");
    is_fate(&run, ids[0], "keep", "daily");
    is_fate(&run, old, "delete", "");
    assert!(objects(&drctl, old)[0].ends_with("-suspect.json"));
}

#[test]
fn what_is_being_read_waits_and_a_dead_readers_lease_ends_after_a_day() {
    let (drctl, ids) = with_days(&[9, 1, 0]);
    let lease = BackupObject::Reading {
        since: hours_ago(1),
        random: 7,
    };
    let path = drctl.mark("shop", ids[0], &lease);
    age(&path, 23);
    let run = drctl.run(["prune", "--output", "json"]).ok();
    is_fate(&run, ids[0], "postpone", "in use by a restore or drill");
    assert_eq!(listed(&drctl).len(), 3);
    age(&path, 25);
    drctl.run(["prune"]).ok();
    assert_eq!(listed(&drctl).len(), 2);
    assert_eq!(objects(&drctl, ids[0]).len(), 1);
}

#[test]
fn an_interrupted_deletion_is_finished_at_once_and_a_killed_backup_after_a_day() {
    let (drctl, ids) = with_days(&[9, 8, 7, 1, 0]);
    let no_manifest = |id: BackupId| {
        std::fs::remove_file(drctl.store_dir().join(format!("shop/{id}/manifest.json"))).unwrap();
    };
    for id in &ids[..3] {
        no_manifest(*id);
    }
    // Pruned half-way just now; a backup that is being made; one that was killed two days ago.
    let note = BackupObject::Pruned {
        committed_at: hours_ago(9 * DAY),
        usable: true,
    };
    drctl.mark("shop", ids[0], &note);
    drctl.mark("shop", ids[1], &BackupObject::Running);
    age_all(&drctl, ids[2], 48);
    let dry = drctl.run(["prune", "--dry-run"]).ok().stdout;
    assert!(
        dry.contains(&format!(
            "removed leftovers of an interrupted run: {}",
            ids[0]
        )),
        "{dry}"
    );
    let page = drctl.run(["prune"]).ok().stdout;
    assert!(
        page.contains(&format!(
            "removed leftovers of an interrupted run: {}",
            ids[2]
        )),
        "{page}"
    );
    assert_eq!(objects(&drctl, ids[0]), [note.to_string()]);
    assert_eq!(objects(&drctl, ids[1]).len(), 6);
    assert_eq!(objects(&drctl, ids[2]), Vec::<String>::new());
    assert_eq!(listed(&drctl).len(), 2);
}

#[test]
fn evidence_goes_when_it_is_old_enough() {
    let (drctl, ids) = with_days(&[500, 1, 0]);
    let old = passed(hours_ago(499 * DAY));
    drctl.mark("shop", ids[0], &old);
    drctl.mark("shop", ids[2], &passed(hours_ago(0)));
    let drctl = drctl
        .env("DRCTL_RETENTION_VERIFIED", "1")
        .env("DRCTL_RETENTION_EVIDENCE_DAYS", "510");
    drctl.run(["prune"]).ok();
    assert_eq!(objects(&drctl, ids[0]).len(), 2);
    let drctl = drctl.env("DRCTL_RETENTION_EVIDENCE_DAYS", "400");
    let page = drctl.run(["prune"]).ok().stdout;
    assert!(
        page.contains("old reports and records removed: 2"),
        "{page}"
    );
    assert_eq!(objects(&drctl, ids[0]), Vec::<String>::new());
    drctl
        .env("DRCTL_RETENTION_EVIDENCE_DAYS", "30")
        .run(["prune"])
        .refused(2, &["is not between 60 and 36500"]);
}

#[test]
fn a_damaged_manifest_stays_for_whoever_looks_into_it_and_is_told() {
    let (drctl, ids) = with_days(&[9, 8, 1, 0]);
    let manifest = drctl
        .store_dir()
        .join(format!("shop/{}/manifest.json", ids[0]));
    std::fs::write(&manifest, "{}").unwrap();
    drctl.run(["prune"]).refused(6, &["manifest.json"]);
    assert!(manifest.exists());
    assert_eq!(objects(&drctl, ids[1]).len(), 1);
}

#[test]
fn snapshots_of_the_future_stop_it() {
    let (drctl, _) = with_days(&[9, 1, 0]);
    drctl.had_backup("shop", hours_ago(-1));
    drctl
        .run(["prune"])
        .refused(9, &["no backup was deleted", "in the future", "NTP"]);
    assert_eq!(listed(&drctl).len(), 4);
}
