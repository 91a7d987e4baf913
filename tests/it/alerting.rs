//! From a failure to the engineer on call: a real Prometheus, a real Alertmanager, and a receiver behind it.

use std::time::Duration;

use serde_json::Value;

use crate::need;
use crate::support::Drctl;
use crate::support::backup::{shop, walk};
use crate::support::history::hours_ago;
use crate::support::monitoring::Daemon;
use crate::support::receiver::Receiver;
use crate::support::serving::{Serving, on_a_free_port};
use crate::support::wait::until;

/// The received alert of that name for that target, in that state.
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
    let came = person.wait_for(|received| find(&received.json()).is_some());
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
fn a_failed_drill_and_its_resolution_are_received_through_alertmanager() {
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
fn a_marked_test_is_received_through_alertmanager() {
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

/// Waits until Prometheus has scraped drctl, and its absence alert has ended.
#[track_caller]
fn wait_until_scraped(prometheus: &Daemon) {
    let result = |path: &str| {
        prometheus.json(path)["data"]["result"]
            .as_array()
            .map(Vec::len)
    };
    let scraped = || result("/api/v1/query?query=drctl_build_info") == Some(1);
    let missed = || result("/api/v1/query?query=ALERTS") != Some(0);
    until("Prometheus has scraped it", || scraped() && !missed());
}

/// Checks that Prometheus has no alert for a target some evaluations after it was scraped.
#[track_caller]
fn is_silent(prometheus: &Daemon, target: &str) {
    wait_until_scraped(prometheus);
    std::thread::sleep(Duration::from_secs(5));
    let alerts = prometheus.json("/api/v1/alerts");
    let alerts = alerts["data"]["alerts"].as_array().expect("an array");
    let about = |alert: &Value| alert["labels"]["target"] == target;
    assert!(!alerts.iter().any(about), "all is well: {alerts:#?}");
}

#[test]
fn a_failed_drill_and_its_resolution_are_received_through_serve_and_prometheus() {
    need!(MariaDb);
    need!(Prometheus);
    let person = Receiver::start();
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let (schema, drctl) = shop();
    let target = schema.replace('_', "-");
    let (drctl, address) = on_a_free_port(drctl);
    drctl.run(["backup"]).ok();
    drctl.run(["verify", "--latest"]).ok();
    let serving = Serving::ready(&drctl, address);
    let prometheus = Daemon::prometheus(address, &alertmanager);
    is_silent(&prometheus, &target);

    damage(&drctl);
    drctl.run(["verify", "--latest"]).fails(6, "does not match");
    let alert = arrives(&person, "firing", "DrctlVerifyFailed", &target);
    assert_eq!(alert["labels"]["severity"], "critical");
    assert_eq!(alert["labels"]["namespace"], "dr");
    assert_eq!(alert["labels"]["level"], "restore");

    drctl.run(["backup"]).ok();
    drctl.run(["verify", "--latest"]).ok();
    arrives(&person, "resolved", "DrctlVerifyFailed", &target);
    serving.stop();
}

#[test]
fn an_alert_of_a_rule_is_merged_with_the_one_that_drctl_sends() {
    need!(Prometheus);
    let person = Receiver::start();
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let (drctl, address) = on_a_free_port(Drctl::new("shop"));
    let drctl = drctl.env("DRCTL_SCHEDULE_BACKUP", "@hourly");
    drctl.had_backup("shop", hours_ago(3));
    let serving = Serving::ready(&drctl, address);
    let prometheus = Daemon::prometheus(address, &alertmanager);
    let overdue = arrives(&person, "firing", "DrctlBackupOverdue", "shop");
    let description = overdue["annotations"]["description"].as_str().unwrap();
    assert!(
        description.contains("shop") && description.contains("2h 58m"),
        "{description}"
    );

    // The same alert again, sent by drctl: not a second one.
    let failing = Drctl::new("shop")
        .env(
            "DRCTL_STORE",
            &format!("file://{}", drctl.store_dir().display()),
        )
        .env("DRCTL_NOTIFY_ALERTMANAGER_URL", &alertmanager.url())
        .env("DRCTL_NOTIFY_LABELS", "namespace=dr");
    failing.run(["backup"]).fails(2, "source.url");
    arrives(&person, "firing", "DrctlBackupFailed", "shop");
    serving.until_metric("drctl_run_last_exit_code", &["backup"], 2.0);
    let of_rules = || {
        let alerts = prometheus.json("/api/v1/alerts").to_string();
        alerts.contains("DrctlBackupFailed")
    };
    until("the rule fires", of_rules);
    std::thread::sleep(Duration::from_secs(2));
    let failed = alertmanager.json("/api/v2/alerts?filter=alertname%3DDrctlBackupFailed");
    assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed:#}");

    drctl.had_backup("shop", hours_ago(0));
    arrives(&person, "resolved", "DrctlBackupOverdue", "shop");
    serving.stop();
}

#[test]
fn missing_metrics_are_received_as_an_alert() {
    need!(Prometheus);
    let person = Receiver::start();
    let (drctl, address) = on_a_free_port(Drctl::new("shop"));
    drctl.had_backup("shop", hours_ago(1));
    let serving = Serving::ready(&drctl, address);
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let prometheus = Daemon::prometheus(address, &alertmanager);
    is_silent(&prometheus, "shop");
    serving.stop();
    arrives(&person, "firing", "DrctlMetricsAbsent", "");
}
