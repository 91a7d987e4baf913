//! A backup that is ended at each stage of its work, with the stage held still by the store.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::Drctl;
use crate::support::backup::listed;
use crate::support::drctl::Running;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::Gateway;

use super::backup_store::{behind, left};
use crate::support::wait::until;

/// A backup that waits for the answer to such a request.
fn held(when: When, method: &str, text: &str) -> (Drctl, String, Running) {
    let (drctl, proxy, bucket) = behind(Some((when, Fault::Hang)));
    let running = drctl.start(["backup"]);
    wait_for(&proxy, method, text);
    (drctl, bucket, running)
}

#[track_caller]
fn wait_for(proxy: &FaultProxy, method: &str, text: &str) {
    let asked = || {
        let requests = proxy.requests();
        let mut all = requests.iter();
        all.any(|r| r.method == method && format!("{}?{}", r.path, r.query).contains(text))
    };
    until(&format!("{method} {text}"), asked);
}

/// Terminated there, nothing is left; killed there, nothing is listed, and the next run works.
fn ended(when: fn() -> When, method: &str, text: &str) {
    let (drctl, bucket, running) = held(when(), method, text);
    running.signal(Signal::TERM);
    let asked = Instant::now();
    running.wait().fails(143, "SIGTERM");
    let took = asked.elapsed();
    assert!(
        took < Duration::from_secs(25),
        "a pod's grace ends: {took:?}"
    );
    let direct = drctl.env("AWS_ENDPOINT_URL", &Gateway::shared().url());
    assert!(listed(&direct).is_empty());
    assert_eq!(left(&bucket), Vec::<String>::new());

    let (drctl, _, running) = held(when(), method, text);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 137);
    let direct = drctl.env("AWS_ENDPOINT_URL", &Gateway::shared().url());
    assert!(listed(&direct).is_empty());
    direct.run(["backup"]).ok();
    assert_eq!(listed(&direct).len(), 1);
}

#[test]
fn while_it_looks_into_the_store() {
    ended(
        || When::is("GET", "").query("list-type=2"),
        "GET",
        "list-type=2",
    );
}

#[test]
fn while_it_binds_its_target() {
    ended(|| When::put("/target.json"), "PUT", "/target.json");
}

#[test]
fn before_its_dump() {
    ended(|| When::put("/running.json"), "PUT", "/running.json");
}

#[test]
fn while_it_begins_an_upload() {
    ended(
        || When::is("POST", "/dump.").query("uploads"),
        "POST",
        "uploads",
    );
}

#[test]
fn while_it_uploads() {
    let when = || When::put("/dump.").query("partNumber=2");
    ended(when, "PUT", "partNumber=2");
}

#[test]
fn while_it_completes_an_upload() {
    ended(|| When::complete("/dump."), "POST", "uploadId=");
}

#[test]
fn while_it_reads_back() {
    ended(|| When::is("GET", "/dump."), "GET", "/dump.");
}

#[test]
fn before_its_manifest() {
    ended(|| When::put("/SHA256SUMS"), "PUT", "/SHA256SUMS");
}

#[test]
fn killed_while_the_manifest_is_under_way_it_is_either_there_or_not() {
    let put = || When::put("/manifest.json");
    let (drctl, _, running) = held(put(), "PUT", "/manifest.json");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 137);
    let direct = drctl.env("AWS_ENDPOINT_URL", &Gateway::shared().url());
    assert!(listed(&direct).is_empty());
    direct.run(["backup"]).ok();
    assert_eq!(listed(&direct).len(), 1);

    let (drctl, proxy, _) = behind(Some((put(), Fault::DropAnswer)));
    proxy.fault(When::is("GET", "/manifest.json"), Fault::Hang);
    let running = drctl.start(["backup"]);
    wait_for(&proxy, "GET", "/manifest.json");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 137);
    let direct = drctl.env("AWS_ENDPOINT_URL", &Gateway::shared().url());
    let id = listed(&direct)[0]["id"].as_str().unwrap().to_owned();
    assert!(
        direct
            .run(["cat", &id])
            .ok()
            .stdout
            .contains("-- Dump completed")
    );
}

#[test]
fn terminated_while_the_manifest_is_under_way_it_says_what_is_true() {
    let (drctl, proxy, _) = behind(Some((
        When::put("/manifest.json").first(1),
        Fault::Delay(Duration::from_secs(2)),
    )));
    let running = drctl.start(["backup"]);
    wait_for(&proxy, "PUT", "/manifest.json");
    running.signal(Signal::TERM);
    running.wait().ok();
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn terminated_while_the_store_answers_nothing_at_all() {
    let (drctl, proxy, bucket) = behind(None);
    let when = When::put("/dump.").query("partNumber=1");
    proxy.fault(when, Fault::Delay(Duration::from_secs(3)));
    let running = drctl.start(["backup"]);
    wait_for(&proxy, "PUT", "partNumber=1");
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
        proxy.fault(When::is(method, ""), Fault::Hang);
    }
    running.signal(Signal::TERM);
    let asked = Instant::now();
    running.wait().fails(143, "SIGTERM");
    let took = asked.elapsed();
    assert!(
        took < Duration::from_secs(28),
        "a pod's grace ends: {took:?}"
    );
    let direct = drctl.env("AWS_ENDPOINT_URL", &Gateway::shared().url());
    assert!(listed(&direct).is_empty(), "{bucket}");
}

/// What hangs during the cleanup does not hold up who asks again.
#[test]
fn a_signal_that_comes_again_after_two_seconds_ends_it_at_once() {
    let (drctl, proxy, _) = behind(Some((When::is("DELETE", ""), Fault::Hang)));
    let when = When::put("/dump.").query("partNumber=2");
    proxy.fault(when, Fault::Delay(Duration::from_millis(500)));
    let running = drctl.start(["backup"]);
    wait_for(&proxy, "PUT", "partNumber=2");
    running.signal(Signal::TERM);
    wait_for(&proxy, "DELETE", "");
    std::thread::sleep(Duration::from_millis(2200));
    let asked = Instant::now();
    running.signal(Signal::TERM);
    let run = running.wait();
    let took = asked.elapsed();
    assert_eq!(run.code, 143, "{run:#?}");
    assert!(took < Duration::from_secs(1), "{took:?}: {run:#?}");
}

#[test]
fn terminated_while_the_server_says_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mysql://u@{}", silent.local_addr().unwrap());
    let drctl = Drctl::new("silent").env("DRCTL_SOURCE_URL", &url);
    let running = drctl.start(["backup"]);
    let _taken = silent.accept().unwrap();
    running.signal(Signal::TERM);
    let run = running.wait();
    assert!(run.took < Duration::from_secs(10), "{run:?}");
    run.fails(143, "SIGTERM");
}
