//! Stores of every kind on either side, and what fails there.

use std::time::Duration;

use super::killed::{three, to_bucket};
use super::*;
use crate::backup_store::left;
use crate::need;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::history::{self, hours_ago};
use crate::support::versitygw::{ACCESS_KEY, Gateway, SECRET_KEY};

/// A primary store in a bucket with one backup, behind a proxy, and a second one in a directory.
fn from_bucket() -> (Drctl, FaultProxy, String, String) {
    let bucket = Gateway::shared().bucket();
    let proxy = FaultProxy::start(Gateway::shared().address());
    let mut drctl = copying(Drctl::new("shop"))
        .env("DRCTL_STORE", &format!("s3://{bucket}/p"))
        .env("DRCTL_STORE_S3_MAX_ATTEMPTS", "1");
    for (name, value) in Gateway::shared().environment() {
        drctl = drctl.env(name, &value);
    }
    let (id, objects) = history::objects("shop", hours_ago(3), |_| {});
    for (key, body) in objects {
        put(&bucket, &format!("p/{key}"), body);
    }
    let drctl = drctl.env("DRCTL_STORE_S3_ENDPOINT_URL", &proxy.url());
    (drctl, proxy, bucket, id.to_string())
}

fn put(bucket: &str, key: &str, body: Vec<u8>) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = Gateway::shared().client().await;
        let put = client.put_object().bucket(bucket).key(key);
        put.body(body.into()).send().await.expect("an object");
    });
}

#[test]
fn a_bucket_is_copied_to_a_directory() {
    need!(Gateway);
    let (drctl, _proxy, bucket, id) = from_bucket();
    copy(&drctl).ok();
    assert_eq!(listed_there(&drctl), [id]);
    same(&Gateway::shared().object(&bucket, "p"), &second(&drctl));
}

#[test]
fn a_bucket_is_copied_to_one_of_another_server_and_account() {
    need!(Gateway);
    let (drctl, _proxy, bucket, id) = from_bucket();
    let other = Gateway::start();
    let there = other.bucket();
    let credentials = drctl.home().join("credentials");
    let profile = |name: &str, key: &str| {
        format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET_KEY}\n")
    };
    let text = profile("vault", ACCESS_KEY) + &profile("stranger", "stranger");
    fs::write(&credentials, text).unwrap();
    let drctl = drctl
        .env("DRCTL_COPY_TO", &format!("s3://{there}/x"))
        .env("DRCTL_COPY_S3_ENDPOINT_URL", &other.url())
        .env("DRCTL_COPY_S3_MAX_ATTEMPTS", "1")
        .env("DRCTL_COPY_S3_PROFILE", "stranger")
        .env(
            "DRCTL_COPY_S3_CREDENTIALS_FILE",
            &credentials.display().to_string(),
        );
    copy(&drctl).refused(5, &["second store", &there]);
    let drctl = drctl.env("DRCTL_COPY_S3_PROFILE", "vault");
    copy(&drctl).ok();
    assert_eq!(listed_there(&drctl), [id]);
    same(
        &Gateway::shared().object(&bucket, "p"),
        &other.object(&there, "x"),
    );
    // The variables are those of the primary store alone.
    let drctl = drctl.env("AWS_ACCESS_KEY_ID", "stranger");
    copy(&drctl).refused(5, &["primary store", &bucket]);
    assert_eq!(listed_there(&drctl).len(), 1);
}

#[test]
fn the_store_that_fails_is_named() {
    need!(Gateway);
    for fault in [
        Fault::Answer(403, "AccessDenied"),
        Fault::Answer(500, "InternalError"),
        Fault::CutAnswer(3),
    ] {
        for (method, name) in [
            ("GET", "manifest.json"),
            ("GET", "dump.sql.zst"),
            ("GET", "SHA256SUMS"),
            ("HEAD", "index.jsonl.zst"),
        ] {
            if method == "HEAD" && matches!(fault, Fault::CutAnswer(_)) {
                continue;
            }
            let (drctl, proxy, _, _) = from_bucket();
            proxy.fault(When::is(method, name), fault.clone());
            copy(&drctl).refused(5, &["primary store", name]);
            assert_eq!(listed_there(&drctl), Vec::<String>::new(), "{name}");
        }
    }
    let (drctl, ..) = from_bucket();
    let nobody = drctl.env("DRCTL_STORE_S3_ENDPOINT_URL", "http://127.0.0.1:1");
    copy(&nobody).refused(5, &["primary store", "Connection refused"]);
}

#[test]
fn a_second_store_that_fails_lists_nothing() {
    need!(Gateway);
    let faults = [
        (
            When::put("dump.sql"),
            Fault::Answer(403, "AccessDenied"),
            "denied",
        ),
        (
            When::put("dump.sql"),
            Fault::Answer(507, "InsufficientStorage"),
            "dump.sql",
        ),
        (
            When::put("dump.sql").query("partNumber=3"),
            Fault::Answer(500, "InternalError"),
            "part 3",
        ),
        (
            When::complete("dump.sql"),
            Fault::Answer(500, "InternalError"),
            "dump.sql",
        ),
        (
            When::put("manifest.json"),
            Fault::Answer(500, "InternalError"),
            "manifest.json",
        ),
        (When::put("dump.sql"), Fault::FlipBit, "dump.sql"),
    ];
    let drctl = three();
    for (when, fault, word) in faults {
        let proxy = FaultProxy::start(Gateway::shared().address());
        let bucket = Gateway::shared().bucket();
        let mut failing = vec![
            ("DRCTL_COPY_TO", format!("s3://{bucket}/p")),
            ("DRCTL_COPY_S3_ENDPOINT_URL", proxy.url()),
            ("DRCTL_COPY_S3_MAX_ATTEMPTS", "1".to_owned()),
        ];
        failing.extend(Gateway::shared().environment());
        proxy.fault(when, fault.clone());
        let set: Vec<String> = failing
            .iter()
            .map(|(name, value)| format!("{name}='{value}'"))
            .collect();
        let command = format!("{} drctl copy --once", set.join(" "));
        drctl.shell(&command).refused(5, &["second store", word]);
        let manifests = left(&bucket);
        let manifests = manifests
            .iter()
            .filter(|key| key.ends_with("manifest.json"));
        assert_eq!(manifests.count(), 0, "{fault:?}");
    }
}

#[test]
fn a_manifest_whose_answer_is_lost_is_a_copy() {
    need!(Gateway);
    let (drctl, _) = to_bucket(three());
    let proxy = FaultProxy::start(Gateway::shared().address());
    proxy.fault(When::put("manifest.json").first(1), Fault::DropAnswer);
    proxy.fault(When::complete("dump.sql").first(1), Fault::DropAnswer);
    proxy.fault(When::put("SHA256SUMS").first(1), Fault::DropAnswer);
    let drctl = drctl
        .env("DRCTL_COPY_S3_ENDPOINT_URL", &proxy.url())
        .env("DRCTL_COPY_S3_MAX_ATTEMPTS", "1");
    copy(&drctl).ok();
    assert_eq!(listed_there(&drctl).len(), 3);
}

#[test]
fn a_full_directory_lists_nothing_and_goes_on_when_there_is_room() {
    let drctl = three().behind("trap '' XFSZ; ulimit -f 4000");
    copy(&drctl).refused(5, &["second store", "dump.sql", "File too large"]);
    let drctl = drctl.behind("true");
    assert_eq!(listed_there(&drctl), Vec::<String>::new());
    copy(&drctl).ok();
    same(&drctl.store_dir(), &second(&drctl));
}

#[test]
fn a_directory_that_denies_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let drctl = three();
    fs::write(second(&drctl).join(".drctl-store"), "").unwrap();
    let read_only = "mount --bind second second && mount -o remount,ro,bind second";
    let script = format!("unshare -rm sh -c '{read_only} && exec drctl copy --once'");
    let run = drctl.shell(&script);
    if run.stderr.contains("unshare") || run.stderr.contains("mount:") {
        fs::set_permissions(second(&drctl), fs::Permissions::from_mode(0o700)).unwrap();
        return crate::support::lab::skip("no user namespaces");
    }
    run.refused(5, &["second store", "Read-only file system", "read-write"]);
}

/// A second store in a bucket with Object Lock, behind a proxy.
fn to_locked() -> (Drctl, FaultProxy, String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bucket = runtime.block_on(Gateway::shared().locked_bucket());
    let proxy = FaultProxy::start(Gateway::shared().address());
    let (drctl, _) = to_bucket(three());
    let drctl = drctl
        .env("DRCTL_COPY_TO", &format!("s3://{bucket}/p"))
        .env("DRCTL_COPY_S3_ENDPOINT_URL", &proxy.url())
        .env("DRCTL_COPY_S3_OBJECT_LOCK_MODE", "governance")
        .env("DRCTL_COPY_S3_OBJECT_LOCK_DAYS", "2");
    (drctl, proxy, bucket)
}

#[test]
fn every_object_of_a_copy_is_locked_as_configured() {
    need!(Gateway);
    let (drctl, _proxy, bucket) = to_locked();
    copy(&drctl).ok();
    assert_eq!(listed_there(&drctl).len(), 3);
    let (runtime, keys) = (tokio::runtime::Runtime::new().unwrap(), left(&bucket));
    runtime.block_on(async {
        let client = Gateway::shared().client().await;
        let mut locked = 0;
        for key in keys {
            let head = client.head_object().bucket(&bucket).key(&key);
            let head = head.send().await.unwrap();
            let is_locked = head.object_lock_mode().is_some();
            // Heartbeats and leases are rewritten and removed.
            let is_lease = key.ends_with("/copying.json") || key.ends_with("/running.json");
            assert_eq!(is_locked, !is_lease, "{key}");
            locked += u32::from(is_locked);
        }
        assert!(locked >= 15, "{locked}");
    });
}

#[test]
fn a_copy_that_the_second_store_does_not_protect_is_not_listed() {
    need!(Gateway);
    for name in ["dump.sql", "index.jsonl", "SHA256SUMS"] {
        let (drctl, proxy, _) = to_locked();
        let strip = Fault::WithoutHeader("x-amz-object-lock-mode");
        proxy.fault(When::is("HEAD", name), strip);
        copy(&drctl).refused(
            5,
            &[
                "second store",
                name,
                "not protected as configured",
                "copy.s3.object_lock",
            ],
        );
        assert_eq!(listed_there(&drctl), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_copier_needs_no_right_to_write_here_nor_to_delete_there() {
    need!(Gateway);
    let (drctl, primary, _, id) = from_bucket();
    for method in ["PUT", "POST", "DELETE"] {
        primary.fault(When::is(method, "/"), Fault::Answer(403, "AccessDenied"));
    }
    let second = FaultProxy::start(Gateway::shared().address());
    second.fault(When::is("DELETE", "/"), Fault::Answer(403, "AccessDenied"));
    let bucket = Gateway::shared().bucket();
    let drctl = drctl
        .env("DRCTL_COPY_TO", &format!("s3://{bucket}/p"))
        .env("DRCTL_COPY_S3_ENDPOINT_URL", &second.url());
    copy(&drctl).ok();
    assert_eq!(listed_there(&drctl), [id]);
    assert!(
        primary.count("PUT", "/reading/") > 0,
        "it tried to take a lease"
    );
    // A lease that could not be deleted keeps nobody out.
    assert_eq!(copy(&drctl).ok().json()["present"], 1);
}

#[test]
fn what_a_replication_moved_is_checked_before_it_is_listed() {
    need!(Gateway);
    // The same damage in both stores: they agree, and both are wrong.
    let (drctl, _proxy, bucket, id) = from_bucket();
    let other = Gateway::shared().bucket();
    let key = format!("p/shop/{id}/dump.sql.zst");
    let mut bytes = fs::read(Gateway::shared().object(&bucket, &key)).unwrap();
    bytes[9] ^= 1;
    put(&bucket, &key, bytes.clone());
    put(&other, &key, bytes);
    let drctl = drctl
        .env("DRCTL_COPY_TO", &format!("s3://{other}/p"))
        .env("DRCTL_COPY_S3_ENDPOINT_URL", &Gateway::shared().url());
    copy(&drctl).refused(6, &["second store", "dump.sql.zst"]);
    assert_eq!(listed_there(&drctl), Vec::<String>::new());
}

#[test]
fn an_object_that_vanishes_meanwhile_is_damage_unless_its_backup_was_deleted() {
    need!(Gateway);
    for pruned in [false, true] {
        let (drctl, proxy, bucket, id) = from_bucket();
        let get = When::is("GET", "dump.sql.zst");
        proxy.fault(get.clone(), Fault::Delay(Duration::from_secs(2)));
        let running = drctl.start(["copy", "--once"]);
        crate::support::wait::until("it is read", || proxy.count_of(&get) > 0);
        let object = |name: &str| Gateway::shared().object(&bucket, &format!("p/shop/{id}/{name}"));
        if pruned {
            fs::remove_file(object("manifest.json")).unwrap();
        }
        fs::remove_file(object("dump.sql.zst")).unwrap();
        let run = running.wait();
        match pruned {
            true => drop(run.ok()),
            false => drop(run.refused(6, &["primary store", &id, "dump.sql.zst", "is missing"])),
        }
        assert_eq!(listed_there(&drctl), Vec::<String>::new());
    }
}

#[test]
fn the_rate_is_kept() {
    let drctl = three();
    let bytes: u64 = objects(&drctl.store_dir())
        .iter()
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    let run = drctl.run(["copy", "--once", "--max-rate", "16MiB/s"]).ok();
    let least = Duration::from_secs_f64(bytes as f64 / f64::from(16 << 20));
    // Documents and manifests do not count.
    assert!(run.took > least.mul_f64(0.9), "{:?} < {least:?}", run.took);
    same(&drctl.store_dir(), &second(&drctl));
    drctl
        .run(["copy", "--once", "--max-rate", "fast"])
        .refused_by_the_parser();
}
