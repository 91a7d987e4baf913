//! How a copy ends: on schedule, with notifications, and because the side that it is for was promoted.

use std::sync::Arc;
use std::time::Duration;

use drctl::lease;
use drctl::store::Store;
use drctl::store::file::FileStore;
use rustix::process::Signal;

use super::*;
use crate::support::history::hours_ago;
use crate::support::receiver::Receiver;
use crate::support::wait::{until, within};

/// A target with a backup, and an empty second store.
fn with_backup() -> Drctl {
    let drctl = copying(Drctl::new("shop"));
    drctl.had_backup("shop", hours_ago(1));
    drctl
}

#[test]
fn a_failure_of_a_copy_and_its_recovery_are_notified() {
    let hook = Receiver::start();
    let drctl = with_backup().env("DRCTL_NOTIFY_WEBHOOK_URL", &hook.url("/hook"));
    copy(&drctl).ok();
    assert!(hook.take().is_empty(), "a success after a success");
    let id = drctl.had_backup("shop", hours_ago(2));
    let manifest = drctl.store_dir().join(format!("shop/{id}/manifest.json"));
    let bytes = fs::read(&manifest).unwrap();
    fs::write(&manifest, &bytes[..bytes.len() / 2]).unwrap();
    copy(&drctl).refused(6, &["primary store"]);
    let [told] = &hook.take()[..] else {
        panic!("one notification")
    };
    let news = told.json();
    assert_eq!(
        (news["kind"].as_str(), news["verb"].as_str()),
        (Some("failed"), Some("copy"))
    );
    assert_eq!(news["alert"], "DrctlCopyBehind", "{news}");
    fs::write(&manifest, &bytes).unwrap();
    copy(&drctl).ok();
    let [told] = &hook.take()[..] else {
        panic!("one notification")
    };
    assert_eq!(told.json()["kind"], "recovered");
}

#[test]
fn an_agent_copies_on_schedule() {
    let drctl = with_backup().env("DRCTL_SCHEDULE_COPY", "@every 1s");
    let agent = drctl.start(["agent"]);
    let records = || {
        let dir = fs::read_dir(second(&drctl).join("shop/runs"));
        let names = dir.into_iter().flatten().flatten();
        names
            .filter(|file| file.file_name().to_string_lossy().ends_with("-copy-0.json"))
            .count()
    };
    until("two copies", || records() >= 2);
    agent.signal(Signal::TERM);
    agent.wait().ok();
    assert_eq!(listed_there(&drctl).len(), 1);
    let drctl = drctl.env("DRCTL_COPY_TO", "");
    drctl.run(["agent"]).refused(2, &["no second store"]);
}

#[test]
fn a_copy_ends_when_the_side_that_it_is_for_is_promoted() {
    let drctl = with_backup()
        .env("DRCTL_COPY_SIDE", "west")
        .env("DRCTL_COPY_INTERVAL_SECONDS", "1");
    let take = |side: &str| {
        let store: Arc<dyn Store> = Arc::new(FileStore::new(second(&drctl)));
        let (target, side) = ("shop".parse().unwrap(), side.parse().unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let taken = lease::take(&store, &target, &side, lease::Reason::Promote);
        runtime.block_on(taken).unwrap();
    };
    copy(&drctl).ok();
    take("east");
    let mut copier = drctl.start(["copy"]);
    std::thread::sleep(Duration::from_secs(7));
    assert!(!copier.has_ended(), "the other side has it");
    take("west");
    within(Duration::from_secs(20), "the copy ends", || {
        copier.has_ended()
    });
    let line = "west was promoted: it has the lease of shop since epoch";
    copier.wait().refused(9, &[line]);
    // Nor does one that begins behind that.
    drctl.had_backup("shop", hours_ago(2));
    copy(&drctl).refused(9, &[line]);
    assert_eq!(listed_there(&drctl).len(), 1);
    // The side that has been taken back from.
    take("east");
    copy(&drctl).ok();
    assert_eq!(listed_there(&drctl).len(), 2);
}
