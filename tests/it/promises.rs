//! What doctor says of objectives and schedules, on stores with a past.

use serde_json::Value;

use crate::support::Drctl;
use crate::support::history::{hours_ago, passed};

/// The line of a check.
#[track_caller]
fn line(drctl: &Drctl, check: &str) -> (String, String) {
    let run = drctl.run(["doctor", "--output", "json"]);
    let checks = run.json();
    let found: Vec<&Value> = checks
        .as_array()
        .expect("an array")
        .iter()
        .filter(|one| one["check"] == check)
        .collect();
    let [found] = found[..] else {
        panic!("not one {check:?} in {checks:#?}");
    };
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("status"), format!("{}; {}", text("what"), text("fix")))
}

#[track_caller]
fn says(drctl: &Drctl, check: &str, status: &str, words: &str) {
    let (found, line) = line(drctl, check);
    assert!(found == status && line.contains(words), "{found} {line}");
}

fn promised(rpo_hours: u32, backup: &str) -> Drctl {
    Drctl::new("shop")
        .env(
            "DRCTL_OBJECTIVES_RPO_SECONDS",
            &(rpo_hours * 3600).to_string(),
        )
        .env("DRCTL_SCHEDULE_BACKUP", backup)
}

#[test]
fn a_schedule_that_cannot_meet_the_rpo_is_told_with_its_worst_case() {
    let drctl = promised(1, "0 2 * * *");
    says(
        &drctl,
        "RPO by schedule",
        "FAIL",
        "0 2 * * * cannot meet an RPO of 1 h: worst case 1 d + what a backup takes",
    );
    drctl.had_backup("shop", hours_ago(1));
    says(
        &drctl,
        "RPO by schedule",
        "FAIL",
        "worst case 1 d + 2 min that a backup takes; schedule backups more often",
    );
    assert_eq!(drctl.run(["doctor"]).code, 8);
}

#[test]
fn a_day_and_a_backup_do_not_fit_into_a_day() {
    let drctl = promised(24, "@daily");
    drctl.had_backup("shop", hours_ago(1));
    says(
        &drctl,
        "RPO by schedule",
        "FAIL",
        "cannot meet an RPO of 1 d",
    );
    let drctl = drctl.env(
        "DRCTL_OBJECTIVES_RPO_SECONDS",
        &(24 * 3600 + 120).to_string(),
    );
    says(&drctl, "RPO by schedule", "OK", "@daily can meet");
}

#[test]
fn a_night_without_a_backup_is_seen_although_the_newest_is_fresh() {
    let drctl = promised(26, "0 2 * * *");
    for hours in [100, 76, 28, 4] {
        drctl.had_backup("shop", hours_ago(hours));
    }
    says(&drctl, "RPO", "WARN", ": 2 d, ");
    says(
        &drctl,
        "RPO",
        "WARN",
        "find out why no backup succeeded then",
    );
    let drctl = drctl.env("DRCTL_OBJECTIVES_RPO_SECONDS", &(49 * 3600).to_string());
    says(&drctl, "RPO", "OK", "within 2 d 1 h");
}

#[test]
fn backups_that_stopped_fail_the_rpo_and_suspect_ones_do_not_mend_it() {
    let drctl = promised(26, "0 2 * * *");
    says(
        &drctl,
        "RPO",
        "WARN",
        "an RPO of 1 d 2 h is declared, but there is no backup; create one",
    );
    drctl.had_backup("shop", hours_ago(30));
    drctl.had("shop", hours_ago(2), |manifest| {
        manifest.suspect = vec!["it shrank".into()]
    });
    says(
        &drctl,
        "RPO",
        "FAIL",
        "the newest backup is older than 1 d 2 h; run drctl backup",
    );
}

#[test]
fn where_all_backups_are_suspect_none_is_chosen_and_the_way_out_is_named() {
    let drctl = Drctl::new("shop").env("DRCTL_INTO_URL", "mysql://root@127.0.0.1:1");
    let at = hours_ago(1);
    let id = drctl.had("shop", at, |manifest| {
        manifest.suspect = vec!["it shrank".into()]
    });
    drctl.mark("shop", id, &passed(hours_ago(0)));
    let now = hours_ago(0).to_string();
    for args in [
        &["show", "--latest"][..],
        &["show", "--latest-verified"],
        &["restore", "--before", &now],
    ] {
        let words = ["every backup of shop", "is suspect", "drctl accept ID"];
        drctl.run(args).refused(3, &words);
    }
    drctl.run(["accept", &id.to_string()]).ok();
    for latest in ["--latest", "--latest-verified"] {
        drctl.run(["show", latest]).ok();
    }
}

#[test]
fn a_verified_restore_that_is_too_old_is_reported() {
    let drctl = promised(26, "0 2 * * *").env("DRCTL_SCHEDULE_VERIFY", "0 5 * * sun");
    let id = drctl.had_backup("shop", hours_ago(10 * 24));
    drctl.had_backup("shop", hours_ago(2));
    says(
        &drctl,
        "verified RPO",
        "WARN",
        "no backup was ever verified; run drctl verify",
    );
    drctl.mark("shop", id, &passed(hours_ago(9 * 24)));
    // A week, a day, and no time for the drill itself.
    says(&drctl, "verified RPO", "WARN", "10 d old, more than 8 d");
    let drctl = drctl.env(
        "DRCTL_OBJECTIVES_VERIFIED_RPO_SECONDS",
        &(9 * 86400).to_string(),
    );
    says(&drctl, "verified RPO", "FAIL", "10 d old, more than 9 d");
    let drctl = drctl.env(
        "DRCTL_OBJECTIVES_VERIFIED_RPO_SECONDS",
        &(11 * 86400).to_string(),
    );
    says(&drctl, "verified RPO", "OK", "within 11 d");
}

#[test]
fn the_next_runs_are_shown_in_their_zone() {
    let drctl = Drctl::new("shop")
        .env("DRCTL_SCHEDULE_BACKUP", "30 2 * * *")
        .env("DRCTL_SCHEDULE_TIME_ZONE", "Asia/Tokyo");
    says(&drctl, "schedule: backup", "OK", " 02:30 JST, ");
}

#[test]
fn a_schedule_that_is_none_is_refused_with_its_key() {
    let drctl = Drctl::new("shop").env("DRCTL_SCHEDULE_BACKUP", "0 0 2 * * *");
    drctl.run(["list"]).refused(
        2,
        &[
            "schedule.backup: ",
            "6 fields, not five",
            "write five fields",
        ],
    );
}
