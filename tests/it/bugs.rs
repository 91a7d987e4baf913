//! A bug ends a run as any other failure does: exit 1, one line, its record and its alert.
//!
//! Builds for tests panic where `DRCTL_INJECT_PANIC` says, with the source's password in what they say.

use std::fs;

use serde_json::Value;

use crate::need;
use crate::support::Drctl;
use crate::support::backup::{shop, walk};
use crate::support::history::hours_ago;
use crate::support::receiver::Receiver;

const PASSWORD: &str = "hunter2-that-nobody-may-read";

/// The records that runs left, as JSON.
fn records(drctl: &Drctl) -> Vec<Value> {
    let mut files = Vec::new();
    walk(&drctl.store_dir(), &mut files);
    files.retain(|file| file.contains("/runs/"));
    let read = |file: String| serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    files.into_iter().map(read).collect()
}

#[track_caller]
fn ends_as_a_failure(drctl: Drctl, verb: &[&str], place: &str, records_there: usize) {
    let person = Receiver::start();
    let drctl = drctl
        .env("DRCTL_INJECT_PANIC", place)
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &person.url("/"))
        .may_panic();
    let run = drctl.run(verb);
    let run = run.refused(
        1,
        &[
            "a bug in drctl ",
            "panicked at src/",
            "report it with the log",
        ],
    );
    assert!(!run.stderr.contains("backtrace"), "{run:#?}");
    assert!(!format!("{run:?}").contains(PASSWORD));
    let records = records(&drctl);
    assert_eq!(records.len(), records_there, "{place}: {records:#?}");
    for record in &records {
        assert_eq!(
            (&record["verb"], &record["exit"]),
            (&verb[0].into(), &1.into())
        );
        assert_eq!(record["error"], run.error_line(), "{place}");
    }
    let told = person.take();
    assert_eq!(told.len(), usize::from(verb[0] != "prune"), "{place}");
    for told in told {
        let news = told.json();
        assert_eq!(
            (&news["kind"], &news["exit"]),
            (&"failed".into(), &1.into())
        );
        assert!(!told.body.contains(PASSWORD));
    }
}

#[test]
fn wherever_it_is_and_with_its_record_and_its_alert() {
    for verb in [&["verify", "--latest"][..], &["prune"]] {
        // Within what a run waits for, and outside of it.
        for place in ["catalog", "verb"] {
            let drctl = Drctl::new("shop")
                .env("DRCTL_RETENTION_LAST", "2")
                .env("DRCTL_SOURCE_PASSWORD", PASSWORD);
            drctl.had_backup("shop", hours_ago(1));
            ends_as_a_failure(drctl, verb, place, 1);
        }
    }
}

#[test]
fn of_a_backup_too_and_in_a_task_that_runs_beside_it() {
    need!(MariaDb);
    for place in ["catalog", "verb", "task"] {
        let (_, drctl) = shop();
        ends_as_a_failure(drctl, &["backup"], place, 1);
    }
}

#[test]
fn before_there_is_a_store_to_keep_a_record_in() {
    let drctl = Drctl::new("shop").env("DRCTL_SOURCE_PASSWORD", PASSWORD);
    ends_as_a_failure(drctl, &["verify", "--latest"], "open", 0);
}

#[test]
fn numbers_and_times_of_any_size_are_refused_or_taken() {
    let drctl = Drctl::new("shop").env("DRCTL_RETENTION_LAST", "5");
    drctl.had_backup("shop", hours_ago(1));
    drctl
        .run(["report", "--days", "5000000"])
        .refused_by_the_parser();
    drctl.run(["report", "--days", "36500"]).ok();
    for (key, bounds) in [
        ("RETENTION_EVIDENCE_DAYS", "60 and 36500"),
        ("RETENTION_WITHIN_DAYS", "0 and 36500"),
        ("VERIFY_DEADLINE_SECONDS", "0 and 3153600000"),
        ("OBJECTIVES_RPO_SECONDS", "1 and 3153600000"),
    ] {
        for huge in ["5000000000", "18446744073709551615"] {
            let drctl = Drctl::new("shop")
                .env("DRCTL_RETENTION_LAST", "5")
                .env(&format!("DRCTL_{key}"), huge);
            drctl.run(["prune"]).refused(2, &["is not between", bounds]);
        }
    }
    let most = Drctl::new("shop")
        .env("DRCTL_RETENTION_LAST", "5")
        .env("DRCTL_RETENTION_EVIDENCE_DAYS", "36500")
        .env("DRCTL_RETENTION_WITHIN_DAYS", "36500");
    most.had_backup("shop", hours_ago(1));
    most.run(["prune"]).ok();
}

#[test]
fn times_of_any_age_in_the_store_are_taken() {
    let drctl = Drctl::new("shop").env("DRCTL_RETENTION_LAST", "5");
    let id = drctl.had_backup("shop", hours_ago(1));
    let odd = ["00010101T000000Z", "99991231T235959Z", "99991231T220000Z"];
    for time in odd {
        for name in [
            format!("runs/{time}-backup-0.json"),
            format!("runs/{time}-prune-9.json"),
            format!("{id}/drills/{time}-restore-pass.json"),
            format!("{id}/drills/{time}-archive-fail.json"),
            format!("{id}/reading/{time}-00000a.json"),
            format!("{time}-00000b/pruned/{time}-trusted.json"),
            format!("{time}-00000c/running.json"),
        ] {
            let path = drctl.store_dir().join("shop").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}").unwrap();
        }
    }
    for (hours, at) in [
        (2, "0001-01-01T00:00:00Z"),
        (3, "9999-12-30T21:00:00.999999999Z"),
    ] {
        let time = at.parse().unwrap();
        drctl.had("shop", hours_ago(hours), |manifest| {
            manifest.snapshot_at = time;
            manifest.started_at = time;
            manifest.finished_at = time;
        });
    }
    for verb in [
        &["list"][..],
        &["show", "--latest"],
        &["prune", "--dry-run"],
        &["prune"],
        &["report"],
        &["verify", "--latest", "--level", "archive"],
        &["doctor"],
    ] {
        // None panics, which the harness sees.
        let run = drctl.run(verb);
        assert!(run.code != 1 && run.code < 128, "{run:#?}");
    }
}
