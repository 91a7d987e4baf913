//! What `drctl prune` deletes of the archived log, and that the rest is a log.

use std::sync::Arc;

use drctl::binlog::gtid::GtidSet;
use drctl::store::Store;
use drctl::store::file::FileStore;
use drctl::stream::objects::Objects;
use drctl::stream::read::file_behind;
use rustix::process::Signal;
use serde_json::Value;

use super::archive::behind;
use super::store::to_s3;
use super::*;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::wait::until;
use crate::{need, on_both};

/// The page of a run.
#[track_caller]
fn page(drctl: &Drctl, args: &[&str]) -> Value {
    let args = [args, &["--output", "json"]].concat();
    drctl.run(args).ok().json()
}

/// The names of the files that go, by a page of `prune`.
fn going(page: &Value) -> Vec<String> {
    let files = page["log"]["files"].as_array().expect("files").iter();
    files
        .map(|file| file["file"].as_str().unwrap().to_owned())
        .collect()
}

/// The file in which the newest backup stands.
#[track_caller]
fn file_of_newest(drctl: &Drctl) -> String {
    let shown = page(drctl, &["show", "--latest"]);
    shown["coordinates"]["file"].as_str().unwrap().to_owned()
}

/// A log of several files with a backup in the second and one in the fourth, of which a rule keeps the newest.
pub(crate) fn archived(server: &Server, drctl: &Drctl) {
    server.exec(WRITER);
    server.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
    drctl.run(["stream", "--once"]).ok();
    drctl.run(["backup"]).ok();
    server.exec(
        "CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)",
    );
    drctl.run(["stream", "--once"]).ok();
    drctl.run(["backup"]).ok();
    server.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    drctl.run(["stream", "--once"]).ok();
}

pub(crate) fn pruning(drctl: Drctl) -> Drctl {
    drctl
        .env("DRCTL_RETENTION_LAST", "1")
        // Backups do not wait for a streamer.
        .env("DRCTL_BACKUP_COORDINATES", "require")
        .without("DRCTL_STREAM_CUT_SECONDS")
}

on_both!(
    fn files_that_no_backup_needs_go_and_the_rest_is_restored_and_continued(flavour) {
        let (server, into) = (logging(flavour, &[]), logging(flavour, &[]));
        let drctl = pruning(streamer(&server)).into(&into);
        archived(&server, &drctl);
        let before = segments(&drctl);
        let first = log(&drctl)["timelines"][0]["covered"][0]["from"].clone();

        let plan = page(&drctl, &["prune", "--dry-run"]);
        let kept = file_of_newest(&drctl);
        assert_eq!(plan["log"]["kept_from"]["file"], kept.as_str(), "{plan}");
        let files = going(&plan);
        assert_eq!(files.len(), 3, "{plan}");
        assert!(files.iter().all(|file| *file < kept), "{files:?}");
        let text = drctl.run(["prune", "--dry-run"]).ok().stdout;
        assert!(text.contains("log: 3 files would be deleted, "), "{text}");
        assert!(text.contains("the oldest of the last 7 d"), "{text}");
        assert_eq!(segments(&drctl), before);
        // All of it, whatever the backups.
        let all = drctl.env("DRCTL_RETENTION_LOG_DAYS", "0");
        let plan = page(&all, &["prune", "--dry-run"]);
        assert_eq!((going(&plan).len(), &plan["log"]["kept_from"]), (0, &Value::Null));
        let drctl = all.without("DRCTL_RETENTION_LOG_DAYS");

        let done = page(&drctl, &["prune"]);
        assert_eq!(going(&done), files);
        assert!(done["log"]["files"].as_array().unwrap().iter().all(|file| file["outcome"] == "deleted"), "{done}");
        assert!(done["log"]["bytes"].as_u64().unwrap() > 0);
        drctl.run(["log", "--check"]).ok();
        let log = log(&drctl);
        assert_eq!(log["timelines"][0]["first_file"], kept.as_str(), "{log}");
        assert!(log["timelines"][0]["covered"][0]["from"].as_str() >= first.as_str());
        assert!(segments(&drctl).iter().all(|path| !files.iter().any(|file| path.to_string_lossy().contains(file))));
        assert_eq!(going(&page(&drctl, &["prune"])).len(), 0);

        // A reader of what follows a set of transactions is not given less.
        let store: Arc<dyn Store> = Arc::new(FileStore::new(drctl.store_dir()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mariadb = flavour == Flavour::MariaDb;
        let shown = page(&drctl, &["show", "--latest"]);
        let base = shown["coordinates"]["gtid"].as_str().unwrap().to_owned();
        let id = timelines(&drctl).remove(0).parse().unwrap();
        runtime.block_on(async {
            let objects = Objects::list(store, "shop".parse().unwrap()).await.unwrap();
            let refused = file_behind(&objects, id, &GtidSet::empty(mariadb)).await.unwrap_err();
            assert_eq!(refused.outcome(), drctl::Outcome::Refused, "{refused}");
            let set = GtidSet::parse(mariadb, &base).unwrap();
            assert_eq!(behind(&objects, id, &set).await.len(), 10);
        });

        // A streamer goes on, and a restore begins with what is left.
        server.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        assert_eq!(timelines(&drctl).len(), 1);
        drctl.run(["log", "--check"]).ok();
        let last = match flavour {
            Flavour::MySql => server.value("SELECT @@GLOBAL.gtid_executed").replace(":1-", ":"),
            Flavour::MariaDb => server.value("SELECT @@GLOBAL.gtid_binlog_pos"),
        };
        drctl.run(["restore", "--to-gtid", &last]).ok();
        let rows = "SELECT COUNT(*), MAX(v) FROM d.t";
        assert_eq!(into.exec(rows), server.exec(rows));
    }
);

#[test]
fn a_timeline_goes_whole_and_a_running_streamer_is_not_touched() {
    need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    let drctl = pruning(streamer(&server));
    archived(&server, &drctl);
    server.exec("RESET BINARY LOGS AND GTIDS; FLUSH BINARY LOGS; CALL d.write(5)");
    let mut running = drctl.start(["stream"]);
    running.until_says("the log has a gap");
    until("the new timeline", || timelines(&drctl).len() == 2);
    // The newest verified backup keeps the old one.
    let plan = page(&drctl, &["prune", "--dry-run"]);
    assert_eq!(going(&plan).len(), 3, "{plan}");
    drctl.run(["backup"]).ok();
    server.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
    let old = timelines(&drctl).remove(0);
    until("the place of the backup", || {
        page(&drctl, &["show", "--latest"])["pitr"]["from_here"] == "yes"
    });
    drctl.run(["prune"]).ok();
    assert_eq!(timelines(&drctl).len(), 1);
    assert!(!log_dir(&drctl).join(old).exists());
    server.exec("CALL d.write(5)");
    let executed = server.value("SELECT @@global.gtid_executed");
    until("it goes on", || {
        log(&drctl)["timelines"][0]["gtid_set"] == executed.as_str()
    });
    running.signal(Signal::TERM);
    running.wait().ok();
    drctl.run(["log", "--check"]).ok();
}

#[test]
fn a_killed_prune_leaves_a_shorter_log_and_the_next_one_finishes() {
    need!(MySql);
    need!(Gateway);
    let server = logging(Flavour::MySql, &[]);
    let (drctl, proxy): (Drctl, FaultProxy) = to_s3(&server);
    let drctl = pruning(drctl);
    archived(&server, &drctl);
    let kept = file_of_newest(&drctl);
    let mut rounds = 0;
    loop {
        // closed.json of the first file, its first segment, and so on.
        proxy.fault(When::is("DELETE", "/shop/log/").nth(2), Fault::Hang);
        let before = proxy.count("DELETE", "/shop/log/");
        let mut running = drctl.start(["prune"]);
        until("it hangs or ends", || {
            proxy.count("DELETE", "/shop/log/") >= before + 2 || running.has_ended()
        });
        if running.has_ended() {
            running.wait().ok();
            break;
        }
        running.signal(Signal::KILL);
        running.wait();
        drctl.run(["log", "--check"]).ok();
        let log = log(&drctl);
        assert_eq!(log["timelines"].as_array().unwrap().len(), 1);
        assert!(log["timelines"][0]["first_file"].as_str().unwrap() <= kept.as_str());
        let newest = page(&drctl, &["show", "--latest"]);
        assert_eq!(newest["pitr"]["from_here"], "yes", "{newest}");
        rounds += 1;
    }
    assert!(rounds > 2, "{rounds}");
    assert_eq!(log(&drctl)["timelines"][0]["first_file"], kept.as_str());
    drctl.run(["log", "--check"]).ok();
    server.exec("CALL d.write(5)");
    drctl.run(["stream", "--once"]).ok();
    assert_eq!(timelines(&drctl).len(), 1);
}

#[test]
fn a_file_that_the_store_refuses_to_delete_keeps_those_behind_it() {
    need!(MySql);
    need!(Gateway);
    let server = logging(Flavour::MySql, &[]);
    let (drctl, proxy) = to_s3(&server);
    let drctl = pruning(drctl);
    archived(&server, &drctl);
    let files = going(&page(&drctl, &["prune", "--dry-run"]));
    let refused = format!("{}/000000000000.zst", files[1]);
    proxy.fault(
        When::is("DELETE", &refused),
        Fault::Answer(403, "AccessDenied"),
    );
    let run = drctl.run(["prune"]);
    let run = run.refused(
        5,
        &[
            &format!("cannot delete {} of the archived log", files[1]),
            "denied",
        ],
    );
    assert!(
        run.stdout.contains("log: 1 file deleted, "),
        "{}",
        run.stdout
    );
    drctl.run(["log", "--check"]).ok();
    assert_eq!(log(&drctl)["timelines"][0]["first_file"], files[1].as_str());
}

#[test]
fn the_number_of_segments_costs_no_request() {
    need!(MySql);
    need!(Gateway);
    let server = logging(Flavour::MySql, &[]);
    let (drctl, proxy) = to_s3(&server);
    let drctl = pruning(drctl);
    server.exec(WRITER);
    drctl.run(["backup"]).ok();
    server.exec("CALL d.write(100)");
    drctl.run(["stream", "--once"]).ok();
    // A segment far behind the first one.
    server.exec("CALL d.write(5)");
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    drctl.run(["stream", "--once"]).ok();
    let requests = |args: &[&str]| {
        let before = proxy.requests().len();
        drctl.run(args).ok();
        proxy.requests().len() - before
    };
    let verbs: [&[&str]; 4] = [
        &["list"],
        &["show", "--latest"],
        &["prune", "--dry-run"],
        &["backup"],
    ];
    let few: Vec<usize> = verbs.iter().map(|args| requests(args)).collect();
    let lists = few[0];
    println!("{verbs:?}: {few:?}");
    assert!(lists <= 20, "{lists}");

    let gateway = crate::support::versitygw::Gateway::shared();
    let bucket = proxy.requests()[0]
        .path
        .split('/')
        .nth(1)
        .unwrap()
        .to_owned();
    let id = timelines(&drctl).remove(0);
    let file = log(&drctl)["timelines"][0]["last_file"]
        .as_str()
        .unwrap()
        .to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use futures_util::StreamExt as _;
        let client = gateway.client().await;
        // Between the first and the last: a server that was never idle.
        let puts = (1..=3_000).map(|n| {
            let key = format!("p/shop/log/{id}/{file}/{n:012}.zst");
            client.put_object().bucket(&bucket).key(key).send()
        });
        let mut puts = futures_util::stream::iter(puts).buffer_unordered(50);
        while let Some(put) = puts.next().await {
            put.expect("an object");
        }
    });
    let many: Vec<usize> = verbs.iter().map(|args| requests(args)).collect();
    println!("with 3,000 segments: {many:?}");
    // Backups were added: each costs its manifest.
    let more = |n: usize| many[n].saturating_sub(few[n]);
    assert!((0..verbs.len()).all(|n| more(n) <= 4), "{few:?} {many:?}");
    let serving = crate::support::serving::on_a_free_port(drctl);
    let before = proxy.requests().len();
    let running = crate::support::serving::Serving::ready(&serving.0, serving.1);
    drop(running);
    let lists = proxy.requests().into_iter().skip(before);
    let pages = lists.filter(|request| request.query.contains("continuation-token="));
    assert_eq!(pages.count(), 0);
}
