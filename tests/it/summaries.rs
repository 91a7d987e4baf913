//! Summaries of manifests: `list` reads them instead of the manifests, with real programs on a real S3 server.

use std::fs;
use std::path::{Path, PathBuf};

use drctl::archive::manifest::Manifest;
use drctl::util::digest;
use rustix::fs::{XattrFlags, setxattr};

use crate::need;
use crate::support::fault_proxy::FaultProxy;
use crate::support::history::{hours_ago, objects};
use crate::support::versitygw::Gateway;
use crate::support::{Drctl, Flavour, Server};

/// drctl with a bucket of its own, behind a proxy that counts.
fn in_a_bucket() -> (Drctl, FaultProxy, PathBuf) {
    let gateway = Gateway::shared();
    let bucket = gateway.bucket();
    let proxy = FaultProxy::start(gateway.address());
    let mut drctl = Drctl::new("shop").env("DRCTL_STORE", &format!("s3://{bucket}/p"));
    for (name, value) in gateway.environment() {
        drctl = drctl.env(name, &value);
    }
    let drctl = drctl.env("AWS_ENDPOINT_URL", &proxy.url());
    (drctl, proxy, gateway.object(&bucket, "p"))
}

/// So many backups of the past, an hour apart: their manifests alone, as the server would have written them.
fn had_backups(root: &Path, count: i64) {
    for hours in 1..=count {
        let (_, objects) = objects("shop", hours_ago(hours), |_| {});
        let (key, body) = objects.last().expect("the manifest is the last one");
        let path = root.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, body).unwrap();
        let etag = digest::md5(body);
        setxattr(&path, "user.etag", etag.as_bytes(), XattrFlags::empty()).unwrap();
    }
}

fn summaries(root: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(root.join("shop/summaries"));
    let listed = listed.into_iter().flatten().flatten();
    listed.map(|entry| entry.path()).collect()
}

#[test]
fn a_list_reads_a_summary_instead_of_its_manifests() {
    need!(Gateway);
    let (drctl, proxy, root) = in_a_bucket();
    had_backups(&root, 300);
    let drctl = drctl.env("DRCTL_RETENTION_LAST", "1000");
    let read_singly = drctl.run(["list", "--output", "json"]).ok();
    assert_eq!(proxy.count("GET", "manifest.json"), 300);
    drctl.run(["prune"]).ok();
    assert_eq!(summaries(&root).len(), 1);

    let before = proxy.requests().len();
    let read = proxy.count("GET", "manifest.json");
    let from_summary = drctl.run(["list", "--output", "json"]).ok();
    assert_eq!(from_summary.stdout, read_singly.stdout);
    assert_eq!(proxy.count("GET", "manifest.json"), read, "none is read");
    // The lists of both millennia and of the summaries, the summary, and what concerns the log.
    let requests = proxy.requests().len() - before;
    assert!(requests <= 8, "{requests} requests");

    // Another one in place of a manifest.
    let listed = from_summary.json();
    let newest = listed[0]["id"].as_str().unwrap();
    let path = root.join(format!("shop/{newest}/manifest.json"));
    let mut manifest = Manifest::from_bytes(&fs::read(&path).unwrap()).unwrap();
    manifest.suspect = vec!["it is another one".into()];
    fs::write(&path, manifest.to_bytes().unwrap()).unwrap();
    let listed = drctl.run(["list", "--output", "json"]).ok().json();
    assert_eq!(listed[0]["suspect"], true);
    assert_eq!(
        proxy.count("GET", "manifest.json"),
        read + 1,
        "it alone is read"
    );
}

#[test]
fn each_eighth_backup_writes_a_summary() {
    need!(MariaDb);
    need!(Gateway);
    let server = Server::start(Flavour::MariaDb);
    server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (i INT PRIMARY KEY)");
    let (drctl, _, root) = in_a_bucket();
    let drctl = drctl.source(&server);
    for known in 0..8 {
        drctl.run(["backup"]).ok();
        assert_eq!(summaries(&root).len(), 0, "it knows {known} others");
    }
    drctl.run(["backup"]).ok();
    assert_eq!(summaries(&root).len(), 1);
    let listed = drctl.run(["list", "--output", "json"]).ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 9);
}
