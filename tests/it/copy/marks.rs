//! Marks follow their backups, retention does not, and one copier runs at a time.

use drctl::layout::{BackupId, BackupObject, DrillVerdict};
use rustix::process::Signal;

use super::*;
use crate::support::history::{drilled, hours_ago, passed};
use crate::support::serving::{Serving, on_a_free_port};
use crate::support::wait::until;

/// The backup that an option selects in the primary store, or in the second.
#[track_caller]
fn selected(drctl: &Drctl, store: Option<&str>, option: &str) -> String {
    let store = store.map(|store| ["--store", store]);
    let args: Vec<&str> = store
        .iter()
        .flatten()
        .copied()
        .chain(["show", option, "--output", "json"])
        .collect();
    let shown = drctl.run(args).ok().json();
    shown["id"].as_str().expect("an id").to_owned()
}

fn suspect(drctl: &Drctl, hours: i64) -> BackupId {
    drctl.had("shop", hours_ago(hours), |manifest| {
        manifest.suspect = vec!["it shrank".to_owned()];
    })
}

#[test]
fn both_stores_select_the_same_backup() {
    let drctl = copying(Drctl::new("shop"));
    let old = drctl.had_backup("shop", hours_ago(50));
    let middle = suspect(&drctl, 30);
    let new = suspect(&drctl, 10);
    drctl.mark("shop", old, &passed(hours_ago(49)));
    drctl.mark("shop", middle, &BackupObject::Accepted);
    drctl.mark("shop", old, &BackupObject::Pin);
    copy(&drctl).ok();
    same(&drctl.store_dir(), &second(&drctl));
    let agree = |latest: BackupId, verified: BackupId| {
        for store in [None, Some("copy")] {
            assert_eq!(selected(&drctl, store, "--latest"), latest.to_string());
            let found = selected(&drctl, store, "--latest-verified");
            assert_eq!(found, verified.to_string());
        }
    };
    agree(middle, old);
    // What changes about a backup that is there already.
    drctl.mark("shop", new, &BackupObject::Accepted);
    drctl.mark("shop", middle, &passed(hours_ago(5)));
    drctl.mark("shop", old, &drilled(hours_ago(4), DrillVerdict::Fail));
    assert_eq!(copy(&drctl).ok().json()["marks"], 3);
    agree(new, middle);
    assert_eq!(copy(&drctl).ok().json()["marks"], 0);
}

#[test]
fn what_one_store_prunes_the_other_keeps_and_is_not_copied_again() {
    let drctl = copying(Drctl::new("shop")).env("DRCTL_RETENTION_LAST", "1");
    let ids: Vec<BackupId> = [60, 40, 20]
        .into_iter()
        .map(|hours| drctl.had_backup("shop", hours_ago(hours)))
        .collect();
    copy(&drctl).ok();
    drctl.run(["--store", "copy", "prune", "--force"]).ok();
    assert_eq!(listed_there(&drctl), [ids[2].to_string()]);
    let page = copy(&drctl).ok().json();
    assert_eq!((&page["pruned"], &page["present"]), (&2.into(), &1.into()));
    assert_eq!(page["copied"], serde_json::json!([]));
    let newer = drctl.had_backup("shop", hours_ago(1));
    drctl.run(["prune", "--force"]).ok();
    assert_eq!(
        copy(&drctl).ok().json()["copied"],
        serde_json::json!([newer])
    );
    let there = listed_there(&drctl);
    assert_eq!(there, [newer.to_string(), ids[2].to_string()]);
    // Tombstones and leases are those of one store.
    let files = objects(&second(&drctl));
    let tombstones = files.iter().filter(|(name, _)| name.contains("/pruned/"));
    assert_eq!(tombstones.count(), 2);
}

#[test]
fn nothing_to_copy_is_said_and_changes_nothing() {
    let drctl = copying(Drctl::new("shop"));
    copy(&drctl).refused(
        3,
        &["shop has neither a backup nor an archived log", "file://"],
    );
    drctl.had_backup("shop", hours_ago(2));
    copy(&drctl).ok();
    fs::remove_dir_all(drctl.store_dir().join("shop")).unwrap();
    copy(&drctl).refused(3, &["neither a backup"]);
    assert_eq!(listed_there(&drctl).len(), 1);
    assert_eq!(recorded(&drctl, "shop"), [3, 0, 3]);
}

#[test]
fn a_second_store_must_be_named_and_another_one() {
    let drctl = Drctl::new("shop");
    drctl.had_backup("shop", hours_ago(2));
    copy(&drctl).refused(2, &["no second store", "--to", "DRCTL_COPY_TO"]);
    drctl
        .run(["--store", "copy", "list"])
        .refused(2, &["no second store", "DRCTL_COPY_TO"]);
    let own = format!("file://{}", drctl.store_dir().display());
    drctl
        .run(["copy", "--once", "--to", &own])
        .refused(2, &["is the primary one"]);
    drctl
        .run(["copy", "--once", "--to", "file:///no/such/place"])
        .refused(
            5,
            &["second store", "/no/such/place", "drctl copy --init-store"],
        );
    let new = drctl.home().join("new");
    let to = format!("file://{}", new.display());
    drctl
        .run(["copy", "--once", "--to", &to, "--init-store"])
        .ok();
    same(&drctl.store_dir(), &new);
}

#[test]
fn a_continuous_copy_follows_holds_its_lease_and_ends_by_a_signal() {
    let drctl = copying(Drctl::new("shop")).env("DRCTL_COPY_INTERVAL_SECONDS", "1");
    let mut running = drctl.start(["copy"]);
    running.until_says("neither a backup");
    let id = drctl.had_backup("shop", hours_ago(2));
    running.until_says("backup copied");
    until("it is listed", || listed_there(&drctl) == [id.to_string()]);
    copy(&drctl).refused(11, &["another run copies shop to file://", "one copier"]);
    let damaged = drctl.had_backup("shop", hours_ago(1));
    let segment = drctl
        .store_dir()
        .join(format!("shop/{damaged}/dump.sql.zst"));
    let whole = fs::read(&segment).unwrap();
    // Committed with damage: it is tried again until the object is whole.
    fs::write(&segment, b"x").unwrap();
    running.until_says("has 1 bytes instead of");
    fs::write(&segment, whole).unwrap();
    until("it is listed", || listed_there(&drctl).len() == 2);
    running.signal(Signal::TERM);
    running.wait().refused(143, &["SIGTERM"]);
    copy(&drctl).ok();
    let exits = recorded(&drctl, "shop");
    assert_eq!(exits.first(), Some(&3), "{exits:?}");
    assert_eq!(exits[exits.len() - 2..], [143, 0], "{exits:?}");
}

#[test]
fn a_lease_of_another_machine_that_is_renewed_is_respected() {
    let drctl = copying(Drctl::new("shop"));
    drctl.had_backup("shop", hours_ago(2));
    copy(&drctl).ok();
    let lease = second(&drctl).join("shop/copying.json");
    let written = fs::read_to_string(&lease).unwrap();
    let mut body: Value = serde_json::from_str(&written).unwrap();
    body["ended"] = false.into();
    body["process"]["boot"] = "another".into();
    fs::write(&lease, body.to_string()).unwrap();
    let mut running = drctl.start(["copy", "--once"]);
    running.until_says("checking whether it still runs");
    body["at"] = "2026-11-30T00:00:00Z".into();
    fs::write(&lease, body.to_string()).unwrap();
    running.wait().refused(11, &["another run copies shop"]);
    assert_eq!(fs::read_to_string(&lease).unwrap(), body.to_string());
}

#[test]
fn the_age_of_the_copy_is_a_metric_and_a_problem() {
    let drctl = copying(Drctl::new("shop")).env("DRCTL_COPY_RPO_SECONDS", "7200");
    drctl.had_backup("shop", hours_ago(3));
    copy(&drctl).ok();
    let (drctl, address) = on_a_free_port(drctl);
    let serving = Serving::ready(&drctl, address);
    let store = format!("store=\"file://{}\"", second(&drctl).display());
    serving.until_metric("drctl_copy_readable", &[&store], 1.0);
    serving.until_metric("drctl_copy_rpo_objective_seconds", &[&store], 7_200.0);
    let snapshot = || serving.metric("drctl_copy_snapshot_timestamp_seconds", &[&store]);
    let before = snapshot().expect("a snapshot");
    assert!(serving.get("/").1.contains("DrctlCopyBehind"));
    drctl.had_backup("shop", hours_ago(1));
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(snapshot(), Some(before), "the primary store alone is newer");
    copy(&drctl).ok();
    serving.until("it is newer", |_| snapshot() > Some(before));
    serving.until("no problem is left", |serving| {
        !serving.get("/").1.contains("DrctlCopyBehind")
    });
    // A second store that is gone hides neither the first nor what was known.
    let after = snapshot();
    fs::rename(second(&drctl), drctl.home().join("away")).unwrap();
    serving.until_metric("drctl_copy_readable", &[&store], 0.0);
    assert_eq!(snapshot(), after);
    assert_eq!(serving.get("/readyz").0, 200);
    assert!(serving.get("/").1.contains("no such directory"));
    serving.stop();
}

#[test]
fn doctor_looks_at_the_second_store_and_never_fails_because_of_it() {
    let (_, drctl) = crate::support::backup::shop();
    let drctl = copying(drctl).env("DRCTL_COPY_RPO_SECONDS", "3600");
    let found = |drctl: &Drctl| {
        let all = drctl.run(["doctor", "--output", "json"]).ok().json();
        let mut all = all.as_array().expect("checks").iter();
        let check = all.find(|check| check["check"] == "second store");
        let check = check.expect("a check of the second store");
        let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("what"))
    };
    drctl.run(["backup"]).ok();
    let (status, what) = found(&drctl);
    assert_eq!(status, "WARN");
    assert!(
        what.contains("it is empty") && what.contains("drctl copy creates"),
        "{what}"
    );
    copy(&drctl).ok();
    assert_eq!(found(&drctl).0, "OK");
    let late = drctl.env("DRCTL_COPY_RPO_SECONDS", "1");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert_eq!(found(&late).0, "WARN");
}

#[test]
fn a_copy_goes_back_into_a_new_primary_store() {
    let drctl = copying(Drctl::new("shop"));
    let id = drctl.had_backup("shop", hours_ago(2));
    drctl.mark("shop", id, &passed(hours_ago(1)));
    copy(&drctl).ok();
    let before = objects(&drctl.store_dir());
    fs::remove_dir_all(drctl.store_dir()).unwrap();
    let to = format!("file://{}", drctl.store_dir().display());
    let back = [
        "--store",
        "copy",
        "copy",
        "--once",
        "--init-store",
        "--to",
        &to,
    ];
    drctl.run(back).ok();
    assert!(objects(&drctl.store_dir()) == before);
    assert_eq!(selected(&drctl, None, "--latest-verified"), id.to_string());
}
