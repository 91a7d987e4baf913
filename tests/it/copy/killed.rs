//! Copies that are killed at any moment, and go on.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::*;
use crate::need;
use crate::support::backup::{listed, server, shop};
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::Gateway;

/// Moments at which a copy is killed.
const MOMENTS: u32 = 30;

/// Three backups, one of them of several parts.
pub(super) fn three() -> Drctl {
    let (schema, drctl) = shop();
    let drctl = copying(drctl.env("DRCTL_BACKUP_CODEC", "none"));
    drctl.run(["backup"]).ok();
    server().exec(&format!(
        "CREATE TABLE {schema}.big (id INT PRIMARY KEY, v TEXT);
         INSERT {schema}.big SELECT seq, REPEAT('x', 1000) FROM mysql.seq_1_to_20000"
    ));
    drctl.run(["backup"]).ok();
    drctl.run(["backup"]).ok();
    drctl.env("DRCTL_COPY_PART_BYTES", "5242880")
}

/// Kills copies at many moments; after each, whatever is listed there is whole.
#[track_caller]
fn killed_at_every_moment(drctl: &Drctl, took: Duration) {
    let mut unfinished = 0;
    for moment in 0..MOMENTS {
        let running = drctl.start(["copy", "--once"]);
        std::thread::sleep(took * moment / MOMENTS);
        running.signal(Signal::KILL);
        unfinished += u32::from(running.wait().code == 128 + 9);
        for id in listed_there(drctl) {
            let cat = drctl.run(["--store", "copy", "cat", &id]);
            assert!(cat.ok().stdout.contains("Dump completed"), "{id}");
        }
    }
    assert!(unfinished > 3, "{unfinished} of {MOMENTS} were killed");
}

#[test]
fn a_copy_to_a_directory_that_is_killed_goes_on() {
    let drctl = three();
    let begun = Instant::now();
    let elsewhere = format!("file://{}", drctl.home().join("elsewhere").display());
    drctl
        .run(["copy", "--once", "--init-store", "--to", &elsewhere])
        .ok();
    let took = begun.elapsed();
    fs::write(second(&drctl).join(".drctl-store"), "").unwrap();
    killed_at_every_moment(&drctl, took);
    copy(&drctl).ok();
    assert_eq!(listed_there(&drctl).len(), 3);
    let mut left = objects(&second(&drctl));
    left.retain(|(name, _)| !name.contains(".drctl-tmp-"));
    assert!(left == objects(&drctl.store_dir()));
}

/// A second store in a bucket.
pub(super) fn to_bucket(drctl: Drctl) -> (Drctl, String) {
    let bucket = Gateway::shared().bucket();
    let mut drctl = drctl.env("DRCTL_COPY_TO", &format!("s3://{bucket}/p"));
    for (name, value) in Gateway::shared().environment() {
        drctl = drctl.env(name, &value);
    }
    (drctl, bucket)
}

#[test]
fn a_copy_to_a_bucket_that_is_killed_goes_on() {
    need!(Gateway);
    let (drctl, bucket) = to_bucket(three());
    let begun = Instant::now();
    let elsewhere = format!("s3://{bucket}/elsewhere");
    drctl.run(["copy", "--once", "--to", &elsewhere]).ok();
    killed_at_every_moment(&drctl, begun.elapsed());
    copy(&drctl).ok();
    same(&drctl.store_dir(), &Gateway::shared().object(&bucket, "p"));
}

#[test]
fn a_copy_that_is_stopped_leaves_no_upload_and_lists_nothing() {
    need!(Gateway);
    let (drctl, bucket) = to_bucket(three());
    let proxy = FaultProxy::start(Gateway::shared().address());
    let drctl = drctl.env("DRCTL_COPY_S3_ENDPOINT_URL", &proxy.url());
    // More parts than are in flight: the upload is not at its completion, which would be waited for.
    let parts = When::put("/p/").query("partNumber=");
    proxy.fault(parts, Fault::Delay(Duration::from_secs(3)));
    let running = drctl.start(["copy", "--once"]);
    crate::support::wait::until("a part is sent", || {
        proxy.count_of(&When::put("/p/").query("partNumber=2")) > 0
    });
    running.signal(Signal::TERM);
    let run = running.wait();
    assert!(run.took < Duration::from_secs(25), "{:?}", run.took);
    run.refused(143, &["SIGTERM"]);
    let left = crate::backup_store::left(&bucket);
    // Neither the object nor its upload; objects that were complete are there for the next run.
    assert!(!left.iter().any(|key| key.contains("dump.sql")), "{left:?}");
    assert!(
        left.iter().any(|key| key.ends_with("/copying.json")),
        "{left:?}"
    );
    assert_eq!(listed_there(&drctl), Vec::<String>::new());
    // The lease was given back, and the newest goes first.
    let direct = drctl.env("DRCTL_COPY_S3_ENDPOINT_URL", &Gateway::shared().url());
    let page = copy(&direct).ok().json();
    let newest = listed(&direct)[0]["id"].clone();
    assert_eq!(page["copied"][0], newest);
}

#[test]
fn what_is_there_is_not_sent_again() {
    need!(Gateway);
    let (drctl, _) = to_bucket(three());
    let proxy = FaultProxy::start(Gateway::shared().address());
    let drctl = drctl.env("DRCTL_COPY_S3_ENDPOINT_URL", &proxy.url());
    // All but the manifests.
    proxy.fault(
        When::put("manifest.json"),
        Fault::Answer(403, "AccessDenied"),
    );
    copy(&drctl).refused(5, &["second store", "manifest.json", "denied"]);
    let parts = || proxy.count_of(&When::put("/p/").query("partNumber="));
    let before = parts();
    assert!(before > 2);
    let (direct, bucket) = (
        drctl.env("DRCTL_COPY_S3_ENDPOINT_URL", &Gateway::shared().url()),
        3,
    );
    let sent = copy(&direct).ok().json();
    assert_eq!(sent["copied"].as_array().unwrap().len(), bucket);
    // Of the newest, whose objects were there, only the manifest.
    let once: u64 = objects(&direct.store_dir())
        .iter()
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    let bytes = sent["bytes"].as_u64().unwrap();
    assert!(bytes < once * 2 / 3, "{bytes} of {once}");
    assert_eq!(copy(&direct).ok().json()["bytes"], 0);
}
