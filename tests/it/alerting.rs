//! From a failure to the person: a real Prometheus, a real Alertmanager, and whoever is behind it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::need;
use crate::support::Drctl;
use crate::support::backup::{shop, walk};
use crate::support::monitoring::Daemon;
use crate::support::receiver::{Answer, Receiver};

/// How long an alert may take to arrive.
const SOON: Duration = Duration::from_secs(40);

/// What reached the person: an alert of that name for that target, in that state.
#[track_caller]
fn arrives(person: &Receiver, state: &str, name: &str, target: &str) -> Value {
    let fits = |alert: &Value| {
        let labels = &alert["labels"];
        alert["status"] == state
            && labels["alertname"] == name
            && (target.is_empty() || labels["target"] == target)
    };
    let find = |body: &Value| {
        body["alerts"]
            .as_array()
            .and_then(|alerts| alerts.iter().find(|alert| fits(alert)).cloned())
    };
    let came = person.wait_for(SOON, |received| find(&received.json()).is_some());
    find(&came.json()).expect("it was just found")
}

/// Changes one byte in the middle of each segment.
fn damage(drctl: &Drctl) {
    let mut files = Vec::new();
    walk(&drctl.store_dir(), &mut files);
    files.retain(|file| file.contains("/dump.sql"));
    assert!(!files.is_empty());
    for file in files {
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_drill_that_fails_reaches_a_person_by_alertmanager_and_so_does_its_end() {
    need!(MariaDb);
    need!(Prometheus);
    let person = Receiver::start();
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let (schema, drctl) = shop();
    let target = schema.replace('_', "-");
    let drctl = drctl
        .env("DRCTL_NOTIFY_ALERTMANAGER_URL", &alertmanager.url())
        .env("DRCTL_NOTIFY_LABELS", "namespace=dr");
    drctl.run(["backup"]).ok();
    damage(&drctl);

    let run = drctl
        .run(["verify", "--latest"])
        .refused(6, &["does not match its SHA-256"]);
    let alert = arrives(&person, "firing", "DrctlVerifyFailed", &target);
    assert_eq!(alert["labels"]["severity"], "critical");
    assert_eq!(alert["labels"]["namespace"], "dr");
    assert_eq!(alert["annotations"]["description"], run.error_line());
    assert_eq!(
        alert["annotations"]["runbook_url"],
        "runbooks/DrctlVerifyFailed.md"
    );

    drctl.run(["backup"]).ok();
    drctl.run(["verify", "--latest"]).ok();
    arrives(&person, "resolved", "DrctlVerifyFailed", &target);
}

#[test]
fn a_marked_test_reaches_a_person_by_alertmanager() {
    need!(Prometheus);
    let person = Receiver::start();
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let drctl = Drctl::new("shop").env("DRCTL_NOTIFY_ALERTMANAGER_URL", &alertmanager.url());
    drctl.run(["alert-test"]).ok();
    let alert = arrives(&person, "firing", "DrctlTest", "shop");
    assert_eq!(alert["labels"]["test"], "true");
    drctl.run(["alert-test", "--as", "late"]).ok();
    let alert = arrives(&person, "firing", "DrctlBackupOverdue", "shop");
    assert_eq!(alert["labels"]["severity"], "critical");
    drctl.run(["alert-test", "--as", "recovered"]).ok();
    arrives(&person, "resolved", "DrctlBackupOverdue", "shop");
}

/// A page as drctl serve gives it: a good backup of then, and how its last run and drill ended.
fn page(backup_at: u64, exit: u8, drill: u8) -> String {
    let interval = 3600;
    format!(
        "drctl_build_info{{version=\"test\"}} 1\n\
         drctl_catalog_last_scan_timestamp_seconds{{target=\"shop\"}} {}\n\
         drctl_target_created_timestamp_seconds{{target=\"shop\"}} 1\n\
         drctl_schedule_interval_seconds{{target=\"shop\",task=\"backup\"}} {interval}\n\
         drctl_backup_last_success_timestamp_seconds{{target=\"shop\"}} {backup_at}\n\
         drctl_run_last_exit_code{{target=\"shop\",verb=\"backup\"}} {exit}\n\
         drctl_verify_last_result{{target=\"shop\",level=\"restore\"}} {drill}\n",
        now()
    )
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Waits until Prometheus has heard of drctl, and no longer misses it.
#[track_caller]
fn wait_until_scraped(prometheus: &Daemon) {
    let begun = Instant::now();
    let result = |path: &str| {
        prometheus.json(path)["data"]["result"]
            .as_array()
            .map(Vec::len)
    };
    let scraped = || result("/api/v1/query?query=drctl_build_info") == Some(1);
    let missed = || result("/api/v1/query?query=ALERTS") != Some(0);
    while !scraped() || missed() {
        assert!(begun.elapsed() < SOON, "Prometheus does not hear of it");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_prometheus_notices_reaches_a_person_and_is_one_with_what_drctl_says_itself() {
    need!(Prometheus);
    let (person, metrics) = (Receiver::start(), Receiver::start());
    metrics.serve(&page(now(), 0, 1));
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let prometheus = Daemon::prometheus(metrics.address(), &alertmanager);
    wait_until_scraped(&prometheus);
    std::thread::sleep(Duration::from_secs(5));
    let about_shop = |alert: &Value| alert["labels"]["target"] == "shop";
    let alerts = prometheus.json("/api/v1/alerts");
    let alerts = alerts["data"]["alerts"].as_array().expect("an array");
    assert!(!alerts.iter().any(about_shop), "all is well: {alerts:#?}");

    metrics.serve(&page(now() - 3 * 3600, 4, 0));
    let overdue = arrives(&person, "firing", "DrctlBackupOverdue", "shop");
    let description = overdue["annotations"]["description"].as_str().unwrap();
    assert!(
        description.contains("shop") && description.contains("3h 0m"),
        "{description}"
    );
    arrives(&person, "firing", "DrctlVerifyFailed", "shop");
    arrives(&person, "firing", "DrctlBackupFailed", "shop");

    // The same alert once more, by drctl itself: not a second one.
    Drctl::new("shop")
        .env("DRCTL_NOTIFY_ALERTMANAGER_URL", &alertmanager.url())
        .env("DRCTL_NOTIFY_LABELS", "namespace=dr")
        .run(["backup"])
        .fails(2, "source.url");
    let failed = alertmanager.json("/api/v2/alerts?filter=alertname%3DDrctlBackupFailed");
    assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed:#}");

    metrics.serve(&page(now(), 0, 1));
    arrives(&person, "resolved", "DrctlBackupOverdue", "shop");
    arrives(&person, "resolved", "DrctlVerifyFailed", "shop");
}

#[test]
fn a_drctl_that_falls_silent_reaches_a_person() {
    need!(Prometheus);
    let (person, metrics) = (Receiver::start(), Receiver::start());
    metrics.serve(&page(now(), 0, 1));
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let prometheus = Daemon::prometheus(metrics.address(), &alertmanager);
    wait_until_scraped(&prometheus);
    let _silent = metrics.answer_all(Answer::Is(503, String::new()));
    arrives(&person, "firing", "DrctlMetricsAbsent", "");
}
