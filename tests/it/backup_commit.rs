//! The moments around the commit, and stores that are slow, silent, full or forgetful.

use std::time::Duration;

use crate::support::Drctl;
use crate::support::backup::{listed, nothing_left, server, shop};
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::Gateway;

use super::backup_store::{behind, left};
use crate::support::wait::until;

/// Nothing of a request comes back sooner than this gives up on it.
fn impatient(drctl: Drctl) -> Drctl {
    drctl
        .env("DRCTL_STORE_S3_ATTEMPT_TIMEOUT_SECONDS", "1")
        .env("DRCTL_STORE_S3_OPERATION_TIMEOUT_SECONDS", "3")
}

fn direct(drctl: Drctl) -> Drctl {
    drctl.env("AWS_ENDPOINT_URL", &Gateway::shared().url())
}

/// The backup fails so, and neither list nor bucket knows anything of it.
#[track_caller]
fn refused(when: When, fault: Fault, code: i32, text: &str) -> FaultProxy {
    let (drctl, proxy, bucket) = behind(Some((when, fault)));
    let drctl = impatient(drctl);
    drctl.run(["backup"]).fails(code, text);
    assert!(listed(&direct(drctl)).is_empty());
    assert_eq!(left(&bucket), Vec::<String>::new());
    proxy
}

/// Waits until a request was made, and says its path.
#[track_caller]
fn asked(proxy: &FaultProxy, method: &str, path: &str) -> String {
    let first = || {
        let requests = proxy.requests();
        let mut fitting = requests.iter();
        let first = fitting.find(|r| r.method == method && r.path.contains(path));
        first.map(|request| request.path.clone())
    };
    until(&format!("{method} {path}"), || first().is_some());
    first().expect("it was there")
}

#[test]
fn a_manifest_that_another_run_wrote_is_not_ours() {
    let when = When::put("manifest.json");
    let (drctl, proxy, bucket) = behind(Some((when, Fault::Delay(Duration::from_secs(2)))));
    let running = drctl.start(["backup"]);
    let path = asked(&proxy, "PUT", "manifest.json");
    let key = path.strip_prefix(&format!("/{bucket}/")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let put = Gateway::shared().client().await.put_object();
        let put = put.bucket(&bucket).key(key).body(b"{}".to_vec().into());
        put.send().await.unwrap();
    });
    running.wait().fails(11, "was written by another run");
    let body = std::fs::read(Gateway::shared().object(&bucket, key)).unwrap();
    assert_eq!(body, b"{}", "the other run's manifest was overwritten");
}

#[test]
fn a_manifest_whose_every_answer_is_lost_is_a_backup() {
    let (drctl, proxy, _) = behind(Some((When::put("manifest.json"), Fault::DropAnswer)));
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
    assert!(proxy.count("PUT", "manifest.json") >= 1);
}

#[test]
fn a_manifest_that_never_arrives_is_no_backup() {
    let fault = Fault::Answer(503, "SlowDown");
    let (drctl, _proxy, _) = behind(Some((When::put("manifest.json"), fault)));
    let run = drctl.run(["backup"]);
    run.fails(5, "nothing was committed");
    assert!(listed(&drctl).is_empty());
}

#[test]
fn a_manifest_of_which_nobody_knows_is_said_to_be_unknown_and_kept() {
    let (drctl, proxy, _) = behind(Some((When::put("manifest.json"), Fault::DropAnswer)));
    let denied = Fault::Answer(403, "AccessDenied");
    proxy.fault(When::is("GET", "manifest.json"), denied.clone());
    proxy.fault(When::is("HEAD", "manifest.json"), denied);
    drctl.run(["backup"]).fails(5, "outcome unknown");
    let list = listed(&direct(drctl));
    assert_eq!(list.len(), 1, "what was committed was deleted");
}

#[test]
fn a_store_that_fails_the_last_document_before_the_manifest() {
    let denied = Fault::Answer(403, "AccessDenied");
    refused(When::put("SHA256SUMS"), denied, 5, "SHA256SUMS");
}

#[test]
fn a_store_that_fails_the_index() {
    let denied = Fault::Answer(403, "AccessDenied");
    refused(When::put("index.jsonl"), denied, 5, "index.jsonl");
}

#[test]
fn a_store_that_denies_looking() {
    let denied = Fault::Answer(403, "AccessDenied");
    refused(
        When::is("GET", "").query("list-type=2"),
        denied,
        5,
        "denied",
    );
}

#[test]
fn a_store_that_forgets_what_it_took() {
    let gone = Fault::Answer(404, "NoSuchKey");
    let (drctl, proxy, bucket) = behind(Some((When::is("HEAD", "/dump."), gone.clone())));
    proxy.fault(When::is("GET", "/dump."), gone);
    drctl
        .run(["backup"])
        .refused(5, &["dump.sql: no such object", "list the backups with"]);
    assert!(listed(&direct(drctl)).is_empty());
    assert_eq!(left(&bucket), Vec::<String>::new());
}

#[test]
fn a_bit_that_turns_on_its_way_to_the_store() {
    let when = When::put("/dump.").query("partNumber=2");
    let (drctl, _proxy, bucket) = behind(Some((when, Fault::FlipBit)));
    drctl.run(["backup"]).refused(5, &["dump.sql: part 2: "]);
    assert!(listed(&direct(drctl)).is_empty());
    assert_eq!(left(&bucket), Vec::<String>::new());
}

#[test]
fn a_store_that_returns_other_bytes_than_it_took() {
    let other = Fault::Rewrite(|text| text.replace("xxxx", "xxxy"));
    for how_much in ["sample", "full"] {
        let (drctl, _proxy, bucket) = behind(Some((When::is("GET", "/dump."), other.clone())));
        let drctl = drctl.env("DRCTL_BACKUP_READ_BACK", how_much);
        drctl
            .run(["backup"])
            .refused(5, &["dump.sql", "differs when read back"]);
        assert!(listed(&direct(drctl)).is_empty(), "{how_much}");
        assert_eq!(left(&bucket), Vec::<String>::new(), "{how_much}");
    }
}

#[test]
fn a_store_whose_checksum_is_another_than_ours() {
    let heads = When::is("HEAD", "/dump.");
    // At the end of the upload, and at the look before the commit.
    for (when, text) in [
        (heads.clone(), "different bytes"),
        (
            heads.nth(2),
            "dump.sql differs in the store from what was written",
        ),
    ] {
        let other = Fault::Header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=".into());
        refused(when, other, 5, text);
    }
}

#[test]
fn a_store_that_is_slow_is_waited_for() {
    let slow = Fault::Delay(Duration::from_millis(400));
    let (drctl, _proxy, _) = behind(Some((When::put("/dump.").query("partNumber"), slow)));
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl)[0]["rows"], 20_003);
}

#[test]
fn a_store_that_is_too_slow_once_is_asked_again() {
    let slow = Fault::Delay(Duration::from_millis(1500));
    let when = When::put("/dump.").query("partNumber=2").first(1);
    let (drctl, proxy, _) = behind(Some((when, slow)));
    impatient(drctl).run(["backup"]).ok();
    let asked = proxy.requests();
    let twice = asked.iter().filter(|r| r.query.contains("partNumber=2"));
    assert_eq!(twice.count(), 2);
}

#[test]
fn a_store_that_answers_later_than_anybody_waits() {
    let slow = Fault::Delay(Duration::from_millis(3500));
    let when = When::put("/dump.").query("partNumber=2");
    refused(when, slow, 5, "dump.sql: part 2: ");
}

#[test]
fn a_store_that_takes_a_part_and_never_answers() {
    let when = When::put("/dump.").query("partNumber=2");
    refused(when, Fault::Hang, 5, "dump.sql");
}

#[test]
fn a_disk_that_is_full() {
    // Past this size of a file a write fails with EFBIG, as it does with ENOSPC on a full disk.
    let (schema, drctl) = shop();
    server().exec(&format!(
        "CREATE TABLE {schema}.big (id INT PRIMARY KEY, v TEXT);
         INSERT {schema}.big SELECT seq, REPEAT('x', 1000) FROM mysql.seq_1_to_4000"
    ));
    let drctl = drctl
        .env("DRCTL_BACKUP_CODEC", "none")
        .behind("trap '' XFSZ; ulimit -f 2000");
    drctl.run(["backup"]).fails(5, "dump.sql");
    nothing_left(&drctl);
}
