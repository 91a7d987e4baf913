//! `drctl prune` and the lease of readers on a real S3 server: clocks, refusals, versions, interruption.

use std::time::Duration;

use drctl::layout::BackupId;
use futures_util::StreamExt as _;
use rustix::process::Signal;

use crate::need;
use crate::support::Drctl;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::history::{self, hours_ago};
use crate::support::versitygw::Gateway;
use crate::support::wait::until;

/// drctl behind a proxy in front of a bucket with backups of so many days ago, oldest first.
struct Bucket {
    drctl: Drctl,
    proxy: FaultProxy,
    name: String,
    ids: Vec<BackupId>,
}

impl Bucket {
    fn new(name: String, days: &[i64]) -> Bucket {
        let proxy = FaultProxy::start(Gateway::shared().address());
        let mut drctl = Drctl::new("shop")
            .env("DRCTL_STORE", &format!("s3://{name}/p"))
            .env("DRCTL_STORE_S3_MAX_ATTEMPTS", "1")
            .env("DRCTL_RETENTION_DAILY", "2");
        for (name, value) in Gateway::shared().environment() {
            drctl = drctl.env(name, &value);
        }
        let drctl = drctl.env("AWS_ENDPOINT_URL", &proxy.url());
        let mut bucket = Bucket {
            drctl,
            proxy,
            name,
            ids: Vec::new(),
        };
        for days in days {
            let (id, objects) = history::objects("shop", hours_ago(days * 24 + 1), |_| {});
            runtime().block_on(async {
                let client = Gateway::shared().client().await;
                for (key, body) in objects {
                    let put = client
                        .put_object()
                        .bucket(&bucket.name)
                        .key(format!("p/{key}"));
                    put.body(body.into()).send().await.expect("an object");
                }
            });
            bucket.ids.push(id);
        }
        bucket
    }

    /// The names of all objects of a backup.
    fn objects(&self, id: BackupId) -> Vec<String> {
        let prefix = format!("p/shop/{id}/");
        runtime().block_on(async {
            let client = Gateway::shared().client().await;
            let list = client.list_objects_v2().bucket(&self.name).prefix(&prefix);
            let list = list.send().await.expect("a list");
            let keys = list.contents().iter().filter_map(|object| object.key());
            keys.map(|key| key.replace(&prefix, "")).collect()
        })
    }

    fn listed(&self) -> usize {
        let list = self.drctl.run(["list", "--output", "json"]).ok().json();
        list.as_array().expect("an array").len()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

#[test]
fn clocks_that_disagree_stop_it() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 1, 0]);
    let wrong = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(5))
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    bucket.proxy.fault(
        When::is("HEAD", "/runs/probe-"),
        Fault::Header("last-modified", wrong),
    );
    let words = [
        "no backup was deleted",
        "the clocks of this host and the store differ by ",
        "NTP",
    ];
    for args in [&["prune"][..], &["prune", "--dry-run"]] {
        bucket.drctl.run(args).refused(9, &words);
    }
    assert_eq!(bucket.listed(), 3);
}

#[test]
fn who_may_not_write_sees_what_would_be_deleted_without_a_comparison_of_clocks() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 1, 0]);
    let denied = Fault::Answer(403, "AccessDenied");
    bucket.proxy.fault(When::put("/p/"), denied);
    let run = bucket.drctl.run(["prune", "--dry-run"]).ok();
    let words = "cannot compare the store's clock with this host's";
    assert!(run.stderr.contains(words), "{run:#?}");
    assert!(run.stdout.contains(&bucket.ids[0].to_string()), "{run:#?}");
    bucket.drctl.run(["prune"]).refused(5, &["denied"]);
    assert_eq!(bucket.listed(), 3);
}

/// A list without the first manifest, of which everything is old.
fn without_a_manifest(list: &str) -> String {
    let name = list.find("/manifest.json</Key>").expect("a manifest");
    let from = list[..name].rfind("<Contents>").expect("its begin");
    let to = name + list[name..].find("</Contents>").expect("its end") + "</Contents>".len();
    let mut list = format!("{}{}", &list[..from], &list[to..]);
    let cut = |list: &mut String, name: &str, by: &str| {
        let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
        let mut at = 0;
        while let Some(from) = list[at..].find(&begin).map(|from| at + from) {
            let to = from + list[from..].find(&end).expect("an end") + end.len();
            list.replace_range(from..to, by);
            at = from + by.len();
        }
    };
    cut(&mut list, "KeyCount", "");
    let old = "<LastModified>2020-01-01T00:00:00Z</LastModified>";
    cut(&mut list, "LastModified", old);
    list
}

#[test]
fn a_backup_whose_manifest_a_list_leaves_out_is_not_swept() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 1, 0]);
    let objects = || {
        bucket
            .ids
            .iter()
            .map(|id| bucket.objects(*id))
            .collect::<Vec<_>>()
    };
    let before = objects();
    let list = When::is("GET", "/").query("list-type=2").and("shop%2F2");
    bucket.proxy.fault(list, Fault::Rewrite(without_a_manifest));
    for args in [&["prune"][..], &["prune", "--dry-run"]] {
        let words = [
            "the store's list leaves out",
            "manifest.json, which exists",
            "nothing was deleted",
        ];
        bucket.drctl.run(args).refused(5, &words);
    }
    assert_eq!(objects(), before);
}

#[test]
fn no_other_object_of_the_target_is_listed_however_many_there_are() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 1, 0]);
    runtime().block_on(async {
        let client = Gateway::shared().client().await;
        let puts = (0..3000).map(|n| {
            let put = client.put_object().bucket(&bucket.name);
            put.key(format!("p/shop/kept/{n:08}")).send()
        });
        let mut puts = futures_util::stream::iter(puts).buffer_unordered(50);
        while let Some(put) = puts.next().await {
            put.expect("an object");
        }
    });
    assert_eq!(bucket.listed(), 3);
    let lists = || {
        let requests = bucket.proxy.requests();
        let lists = requests.into_iter().map(|request| request.query);
        lists
            .filter(|query| query.contains("list-type=2"))
            .collect::<Vec<_>>()
    };
    // Of the log the timelines alone, of which there are none.
    assert_eq!(lists().len(), 3, "{:?}", lists());
    for verb in [&["show", "--latest"][..], &["prune"], &["doctor"]] {
        bucket.drctl.run(verb);
    }
    for query in lists() {
        let prefixes = [
            "shop%2F1",
            "shop%2F2",
            "shop%2Fruns%2F",
            "shop%2Flog%2F",
            "shop%2Fsummaries%2F",
        ];
        let is_known = prefixes.iter().any(|prefix| query.contains(prefix));
        assert!(is_known && !query.contains("continuation"), "{query}");
    }
    assert_eq!(bucket.listed(), 2);
}

#[test]
fn one_that_the_store_refuses_keeps_none_of_the_others() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 8, 1, 0]);
    let refused = format!("{}/manifest.json", bucket.ids[0]);
    bucket.proxy.fault(
        When::is("DELETE", &refused),
        Fault::Answer(403, "AccessDenied"),
    );
    let run = bucket
        .drctl
        .run(["prune"])
        .refused(5, &["cannot delete 1 backup", "denied", "credentials"]);
    assert!(
        run.stdout.contains("FAILED") && run.stdout.contains("1 deleted"),
        "{run:#?}"
    );
    assert_eq!(bucket.listed(), 3);
    assert_eq!(bucket.objects(bucket.ids[1]).len(), 1);
    // It is whole as before, but for the note of what was begun.
    assert_eq!(bucket.objects(bucket.ids[0]).len(), 7);
}

#[test]
fn cut_off_half_way_nothing_is_half_listed_and_the_next_one_finishes() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 8, 1, 0]);
    // After the manifest of the first backup and one of its objects.
    let hang = When::is("DELETE", &bucket.ids[0].to_string()).nth(3);
    bucket.proxy.fault(hang, Fault::Hang);
    let running = bucket.drctl.start(["prune"]);
    until("the third delete", || {
        bucket.proxy.count("DELETE", &bucket.ids[0].to_string()) == 3
    });
    running.signal(Signal::KILL);
    running.wait();
    assert_eq!(bucket.listed(), 3);
    let left = bucket.objects(bucket.ids[0]);
    assert!(
        left.len() > 2 && !left.contains(&"manifest.json".to_owned()),
        "{left:?}"
    );
    bucket.drctl.run(["prune"]).ok();
    assert_eq!(bucket.listed(), 2);
    assert_eq!(bucket.objects(bucket.ids[0]).len(), 1);
    assert_eq!(bucket.objects(bucket.ids[1]).len(), 1);
}

#[test]
fn a_cancelled_run_ends_at_once() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 8, 1, 0]);
    bucket
        .proxy
        .fault(When::is("DELETE", "/manifest.json"), Fault::Hang);
    let running = bucket.drctl.start(["prune"]);
    until("a delete", || {
        bucket.proxy.count("DELETE", "/manifest.json") == 1
    });
    running.signal(Signal::TERM);
    let run = running.wait();
    assert_eq!(run.code, 143, "{run:#?}");
    assert!(run.took < Duration::from_secs(20));
}

#[test]
fn a_bucket_with_versions_and_locks_is_pruned_and_said_to_free_nothing() {
    need!(Gateway);
    let name = runtime().block_on(Gateway::shared().locked_bucket());
    let mut bucket = Bucket::new(name, &[9, 1, 0]);
    bucket.drctl = bucket
        .drctl
        .env("DRCTL_STORE_S3_OBJECT_LOCK_MODE", "governance")
        .env("DRCTL_STORE_S3_OBJECT_LOCK_DAYS", "2");
    let page = bucket.drctl.run(["prune"]).ok().stdout;
    assert!(
        page.contains("1 deleted") && page.contains("the bucket is versioned"),
        "{page}"
    );
    assert_eq!(bucket.listed(), 2);
    let versions = runtime().block_on(async {
        let client = Gateway::shared().client().await;
        let list = client
            .list_object_versions()
            .bucket(&bucket.name)
            .prefix(format!("p/shop/{}/manifest", bucket.ids[0]));
        list.send().await.expect("versions").versions().len()
    });
    assert_eq!(versions, 1, "the version is there still");
}

#[test]
fn who_reads_a_backup_has_a_lease_on_it_until_it_ends() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 1, 0]);
    let id = bucket.ids[0];
    bucket
        .proxy
        .fault(When::is("GET", "/dump.sql").first(1), Fault::Hang);
    let reader = bucket.drctl.start(["cat", &id.to_string()]);
    until("a lease", || {
        bucket
            .objects(id)
            .iter()
            .any(|name| name.starts_with("reading/"))
    });
    until("a read", || bucket.proxy.count("GET", "/dump.sql") == 1);
    let page = bucket.drctl.run(["prune"]).ok().stdout;
    assert!(
        page.contains("postponed") && page.contains("in use by a restore or drill"),
        "{page}"
    );
    reader.signal(Signal::TERM);
    reader.wait();
    assert_eq!(bucket.objects(id).len(), 6, "the lease was given back");
    bucket.drctl.run(["prune"]).ok();
    assert_eq!(bucket.listed(), 2);
}

#[test]
fn a_reader_whose_lease_came_too_late_to_be_seen_keeps_the_data() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[9, 1, 0]);
    let id = bucket.ids[0];
    // The prune has decided, and stands before the manifest; the reader comes, and has it already.
    bucket.proxy.fault(
        When::is("DELETE", "/manifest.json").first(1),
        Fault::Delay(Duration::from_secs(3)),
    );
    bucket.proxy.fault(
        When::is("GET", "/dump.sql").first(1),
        Fault::Delay(Duration::from_secs(6)),
    );
    let prune = bucket.drctl.start(["prune"]);
    until("the delete", || {
        bucket.proxy.count("DELETE", "/manifest.json") == 1
    });
    let reader = bucket.drctl.start(["cat", &id.to_string()]);
    let page = prune.wait().ok().stdout;
    assert!(
        page.contains("data kept while a reader holds a lease"),
        "{page}"
    );
    let read = reader.wait().ok();
    assert!(read.stdout.contains("INSERT INTO"), "the whole dump");
    bucket.drctl.run(["prune"]).ok();
    assert_eq!(bucket.objects(id).len(), 1);
}

#[test]
fn who_may_only_read_reads_without_a_lease() {
    need!(Gateway);
    let bucket = Bucket::new(Gateway::shared().bucket(), &[0]);
    bucket
        .proxy
        .fault(When::put("/p/"), Fault::Answer(403, "AccessDenied"));
    let run = bucket.drctl.run(["cat", "--latest"]).ok();
    assert!(
        run.stderr.contains("cannot take a lease on the backup"),
        "{}",
        run.stderr
    );
}
