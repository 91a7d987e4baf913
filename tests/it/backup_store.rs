//! A store that fails, and the password, which nothing shows.

use std::fmt::Debug;

use crate::support::Drctl;
use crate::support::backup::{listed, server, shop, walk};
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::Gateway;

/// drctl behind a proxy in front of a real S3 server, with 20 MB of rows: several parts.
pub(super) fn behind(rule: Option<(When, Fault)>) -> (Drctl, FaultProxy, String) {
    let (schema, drctl) = shop();
    server().exec(&format!(
        "CREATE TABLE {schema}.big (id INT PRIMARY KEY, v TEXT);
         INSERT {schema}.big SELECT seq, REPEAT('x', 1000) FROM mysql.seq_1_to_20000"
    ));
    let proxy = FaultProxy::start(Gateway::shared().address());
    if let Some((when, fault)) = rule {
        proxy.fault(when, fault);
    }
    let bucket = Gateway::shared().bucket();
    let mut drctl = drctl
        .env("DRCTL_STORE", &format!("s3://{bucket}/p"))
        .env("DRCTL_BACKUP_CODEC", "none")
        .env("DRCTL_STORE_PART_BYTES", "5242880")
        .env("DRCTL_STORE_S3_MAX_ATTEMPTS", "2");
    for (name, value) in Gateway::shared().environment() {
        drctl = drctl.env(name, &value);
    }
    (drctl.env("AWS_ENDPOINT_URL", &proxy.url()), proxy, bucket)
}

/// The keys and the unfinished uploads of a bucket, apart from `runs/` and `target.json`.
pub(crate) fn left(bucket: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Gateway::shared().client().await;
        let keys = client
            .list_objects_v2()
            .bucket(bucket)
            .send()
            .await
            .unwrap();
        let keys = keys
            .contents()
            .iter()
            .filter_map(|o| o.key().map(str::to_owned));
        let uploads = client
            .list_multipart_uploads()
            .bucket(bucket)
            .send()
            .await
            .unwrap();
        let uploads = uploads
            .uploads()
            .iter()
            .filter_map(|u| u.key().map(str::to_owned));
        let all = keys.chain(uploads);
        all.filter(|key| !key.contains("/runs/") && !key.ends_with("/target.json"))
            .collect()
    })
}

fn refused(when: When, fault: Fault, text: &str) {
    let (drctl, _proxy, bucket) = behind(Some((when, fault)));
    drctl.run(["backup"]).fails(5, text);
    let direct = drctl.env("AWS_ENDPOINT_URL", &Gateway::shared().url());
    assert!(listed(&direct).is_empty());
    assert_eq!(left(&bucket), Vec::<String>::new());
}

#[test]
fn a_store_that_denies() {
    refused(
        When::put("/p/"),
        Fault::Answer(403, "AccessDenied"),
        "denied",
    );
}

#[test]
fn a_store_that_fails_the_second_part() {
    let when = When::put("/p/").query("partNumber=2");
    refused(
        when,
        Fault::Answer(500, "InternalError"),
        "dump.sql: part 2: InternalError",
    );
}

#[test]
fn a_store_that_fails_to_complete() {
    refused(
        When::complete("/p/"),
        Fault::Answer(500, "InternalError"),
        "dump.sql: InternalError",
    );
}

#[test]
fn a_store_that_takes_no_manifest() {
    let when = When::put("manifest.json");
    let (drctl, _proxy, _) = behind(Some((when, Fault::Answer(403, "AccessDenied"))));
    drctl.run(["backup"]).fails(5, "manifest.json");
    assert!(listed(&drctl).is_empty());
}

#[test]
fn a_manifest_whose_answer_is_lost_is_a_backup() {
    let (drctl, proxy, _) = behind(Some((
        When::put("manifest.json").first(1),
        Fault::DropAnswer,
    )));
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
    assert!(proxy.count("PUT", "manifest.json") >= 1);
}

#[test]
fn a_manifest_that_is_there_already_with_our_bytes_is_a_backup() {
    let fault = Fault::ReplaceAnswer(412, "PreconditionFailed");
    let (drctl, _proxy, _) = behind(Some((When::put("manifest.json").first(1), fault)));
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn a_store_that_nobody_serves() {
    let (_, drctl) = shop();
    let drctl = drctl.env("DRCTL_STORE", "file:///proc/no/such/place");
    drctl.run(["backup"]).refused(
        5,
        &["/proc/no/such/place", "no such directory", "mount its disk"],
    );
    let (drctl, _proxy, _) = behind(None);
    drctl
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .run(["backup"])
        .refused(5, &["list s3://", "Connection refused", "is reachable"]);
}

#[test]
fn parts_have_the_size_that_was_configured() {
    let (drctl, proxy, _) = behind(None);
    for bytes in [5 << 20, 6 << 20] {
        let before = proxy.requests().len();
        let set = format!("DRCTL_STORE_PART_BYTES={bytes} drctl backup");
        drctl.shell(&set).ok();
        let requests = proxy.requests().split_off(before);
        let parts: Vec<usize> = requests
            .iter()
            .filter(|request| request.query.contains("partNumber"))
            .map(|request| request.body_bytes)
            .collect();
        assert!(parts.len() > 2, "{parts:?}");
        let (last, full) = parts.split_last().unwrap();
        assert!(*last <= bytes && full.iter().filter(|part| **part != bytes).count() <= 1);
    }
}

/// drctl behind a proxy, on a bucket with Object Lock, that asks for retention.
fn locked(rule: Option<(When, Fault)>) -> (Drctl, FaultProxy, String) {
    let (drctl, proxy, _) = behind(rule);
    let bucket = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(Gateway::shared().locked_bucket());
    let drctl = drctl
        .env("DRCTL_STORE", &format!("s3://{bucket}/p"))
        .env("DRCTL_STORE_S3_OBJECT_LOCK_MODE", "governance")
        .env("DRCTL_STORE_S3_OBJECT_LOCK_DAYS", "2");
    (drctl, proxy, bucket)
}

#[test]
fn a_store_that_refuses_protection_and_keeps_the_objects_makes_no_backup() {
    let refuse = Fault::ReplaceAnswer(400, "InvalidRequest");
    let (drctl, _proxy, _) = locked(Some((When::put("/p/"), refuse)));
    drctl
        .run(["backup"])
        .refused(5, &["refused: InvalidRequest", "object_lock"]);
    assert!(listed(&drctl).is_empty());
}

#[test]
fn an_object_that_the_store_refuses_and_keeps_is_not_taken_for_ours() {
    for name in [
        "dump.sql",
        "index.jsonl",
        "accounts.sql",
        "RESTORE.txt",
        "SHA256SUMS",
    ] {
        let refuse = Fault::ReplaceAnswer(400, "InvalidRequest");
        let (drctl, _proxy, _) = locked(Some((When::put(name), refuse)));
        drctl
            .run(["backup"])
            .refused(5, &[name, "refused: ", "InvalidRequest", "object_lock"]);
        assert!(listed(&drctl).is_empty(), "{name}");
    }
}

#[test]
fn a_store_that_takes_objects_and_does_not_protect_them_makes_no_backup() {
    for name in [
        "dump.sql",
        "index.jsonl",
        "accounts.sql",
        "RESTORE.txt",
        "SHA256SUMS",
    ] {
        let strip = Fault::WithoutHeader("x-amz-object-lock-mode");
        let (drctl, _proxy, _) = locked(Some((When::is("HEAD", name), strip)));
        drctl.run(["backup"]).refused(
            5,
            &[name, "not protected as configured", "s3:GetObjectRetention"],
        );
        assert!(listed(&drctl).is_empty(), "{name}");
    }
}

#[test]
fn a_manifest_that_is_not_protected_is_a_backup_and_an_error() {
    let strip = Fault::WithoutHeader("x-amz-object-lock-mode");
    let (drctl, _proxy, _) = locked(Some((When::is("HEAD", "manifest.json"), strip)));
    let run = drctl.run(["backup", "--output", "json"]);
    let id = run.json()["id"].as_str().unwrap().to_owned();
    run.refused(
        5,
        &["complete and committed", "manifest.json", "not protected"],
    );
    let listed = listed(&drctl);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], id.as_str());
}

#[test]
fn a_manifest_that_the_store_refuses_and_keeps_is_told() {
    let refuse = Fault::ReplaceAnswer(400, "InvalidRequest");
    let (drctl, _proxy, _) = locked(Some((When::put("manifest.json"), refuse)));
    drctl.run(["backup"]).refused(
        5,
        &["is listed, although the store rejected", "InvalidRequest"],
    );
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn a_store_that_protects_as_asked_makes_a_backup() {
    let (drctl, _proxy, bucket) = locked(None);
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
    assert!(left(&bucket).len() >= 5);
}

#[test]
fn a_storage_class_that_was_not_given_is_a_warning_of_the_backup() {
    let fault = Fault::Header("x-amz-storage-class", "STANDARD".into());
    let (drctl, _proxy, _) = behind(Some((When::is("HEAD", "dump.sql"), fault)));
    let drctl = drctl.env("DRCTL_STORE_S3_STORAGE_CLASS", "STANDARD_IA");
    let run = drctl.run(["backup", "--output", "json"]).ok();
    let warnings = run.json()["warnings"].to_string();
    assert!(warnings.contains("storage class is"), "{warnings}");
}

fn free_of(secret: &str, what: &impl Debug) {
    assert!(
        !format!("{what:?}").contains(secret),
        "the password is in {what:?}"
    );
}

#[test]
fn the_password_appears_nowhere() {
    let (schema, drctl) = shop();
    let (user, secret) = (format!("u_{schema}"), "hunter2-and-more");
    server().account(&user, secret, &["ALL ON *.*"]);
    let drctl = drctl
        .env("DRCTL_SOURCE_URL", &server().tcp_url(&user))
        .env("DRCTL_SOURCE_PASSWORD", secret);
    let script = "tr '\\0' ' ' </proc/$$/cmdline >argv; real \"$@\"";
    let drctl = crate::support::backup::dump_by(drctl, script);
    free_of(secret, &drctl.run(["-vv", "backup"]).ok());
    free_of(
        secret,
        &std::fs::read_to_string(drctl.home().join("argv")).unwrap(),
    );
    let mut files = Vec::new();
    walk(&drctl.store_dir(), &mut files);
    assert!(files.len() > 4);
    for file in files {
        free_of(
            secret,
            &String::from_utf8_lossy(&std::fs::read(file).unwrap()),
        );
    }
}
