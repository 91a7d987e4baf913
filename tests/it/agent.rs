//! `drctl agent`: what is scheduled runs, what was missed is made good, nothing overlaps itself.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::need;
use crate::support::Drctl;
use crate::support::drctl::{Run, Running};
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::history::hours_ago;
use crate::support::receiver::{Received, Receiver};
use crate::support::versitygw::Gateway;
use crate::support::wait::until;

/// The names of the records of runs in the store of its own.
fn records(drctl: &Drctl) -> Vec<String> {
    let dir = std::fs::read_dir(drctl.store_dir().join("shop/runs"));
    let files = dir.into_iter().flatten().flatten();
    files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        // What the store's clock is read from stands beside them for a moment.
        .filter(|name| !name.starts_with("probe-"))
        .collect()
}

/// Told to stop, it is done within the grace period, and that is no failure.
#[track_caller]
fn stopped(agent: Running) -> Run {
    let begun = Instant::now();
    agent.signal(Signal::TERM);
    let run = agent.wait();
    assert!(begun.elapsed() < Duration::from_secs(20), "{run:#?}");
    run.ok()
}

fn pruned() -> Drctl {
    let drctl = Drctl::new("shop")
        .env("DRCTL_RETENTION_LAST", "5")
        .env("DRCTL_LOG_FORMAT", "human");
    drctl.had_backup("shop", hours_ago(1));
    drctl
}

#[test]
fn what_is_scheduled_runs_again_and_again_until_sigterm() {
    let drctl = pruned().env("DRCTL_SCHEDULE_PRUNE", "@every 1s");
    let agent = drctl.start(["agent"]);
    // The signal may meet the next run.
    let done = |drctl: &Drctl| {
        let records = records(drctl);
        let done = records
            .iter()
            .filter(|name| name.ends_with("-prune-0.json"));
        done.count()
    };
    until("two runs", || done(&drctl) >= 2);
    stopped(agent);
}

#[test]
fn what_was_missed_while_no_agent_ran_is_made_good_at_once_and_said() {
    let drctl = pruned().env("DRCTL_SCHEDULE_PRUNE", "@daily");
    let runs = drctl.store_dir().join("shop/runs");
    std::fs::create_dir_all(&runs).unwrap();
    let last = hours_ago(49).strftime("%Y%m%dT%H%M%SZ").to_string();
    std::fs::write(runs.join(format!("{last}-prune-0.json")), "{}").unwrap();
    let agent = drctl.start(["agent"]);
    until("a run", || records(&drctl).len() == 2);
    let said = stopped(agent).stderr;
    assert!(
        said.contains("scheduled runs of prune were missed"),
        "{said}"
    );
    // A restart makes nothing good again.
    let agent = drctl.start(["agent"]);
    std::thread::sleep(Duration::from_secs(2));
    let said = stopped(agent).stderr;
    assert!(!said.contains("missed"), "{said}");
    assert_eq!(records(&drctl).len(), 2);
}

#[test]
fn a_run_that_fails_does_not_end_the_agent() {
    // No rule: exit 2, again and again.
    let drctl = Drctl::new("shop")
        .env("DRCTL_SCHEDULE_PRUNE", "@every 1s")
        .env("DRCTL_LOG_FORMAT", "human");
    let agent = drctl.start(["agent"]);
    until("two runs", || records(&drctl).len() >= 2);
    agent.signal(Signal::TERM);
    let run = agent.wait();
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stderr.contains("exit status: 2"), "{run:#?}");
}

#[test]
fn a_run_that_cannot_be_made_is_told_and_the_next_one_is_tried() {
    let person = Receiver::start();
    let drctl = Drctl::new("shop")
        .env("DRCTL_SCHEDULE_BACKUP", "@every 1s")
        .env("DRCTL_SOURCE_URL", "mysql://root@localhost:1")
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &person.url("/"))
        .env("DRCTL_LOG_FORMAT", "human");
    // An agent whose program goes away, as it does for a moment while it is replaced.
    let (built, own) = (
        Path::new(env!("CARGO_BIN_EXE_drctl")),
        drctl.home().join("drctl"),
    );
    std::fs::copy(built, &own).unwrap();
    let drctl = drctl.behind(&format!("shift; set -- {} \"$@\"", own.display()));
    let agent = drctl.start(["agent"]);
    until("a run", || !records(&drctl).is_empty());
    std::fs::remove_file(&own).unwrap();
    let cannot = |told: &Received| told.body.contains("cannot run drctl backup");
    let told = person.wait_for(cannot).json();
    assert_eq!(
        (&told["kind"], &told["alert"]),
        (&"failed".into(), &"DrctlBackupFailed".into())
    );
    std::fs::copy(built, &own).unwrap();
    let failed = || {
        records(&drctl)
            .iter()
            .filter(|name| name.ends_with("-backup-4.json"))
            .count()
    };
    let before = failed();
    until("another run", || failed() > before);
    let said = stopped(agent).stderr;
    assert!(
        said.contains("ERROR") && said.contains("cannot start the run"),
        "{said}"
    );
}

#[test]
fn a_run_that_takes_too_long_is_not_overtaken_and_stops_when_the_agent_does() {
    need!(Gateway);
    let proxy = FaultProxy::start(Gateway::shared().address());
    let mut drctl = pruned()
        .env(
            "DRCTL_STORE",
            &format!("s3://{}/p", Gateway::shared().bucket()),
        )
        .env("DRCTL_SCHEDULE_PRUNE", "@every 1s");
    for (name, value) in Gateway::shared().environment() {
        drctl = drctl.env(name, &value);
    }
    let drctl = drctl.env("AWS_ENDPOINT_URL", &proxy.url());
    // The agent's own list of runs is the first.
    proxy.fault(When::is("GET", "").query("list-type=2").nth(2), Fault::Hang);
    let agent = drctl.start(["agent"]);
    // The two lists of a run begin together.
    until("a list that hangs", || proxy.count("GET", "") >= 3);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(proxy.count("GET", ""), 3, "nothing beside it");
    agent.signal(Signal::TERM);
    let run = agent.wait();
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(
        run.stderr.contains("previous run still in progress"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("drctl: stopped by SIGTERM"), "{run:#?}");
}

#[test]
fn without_any_schedule_there_is_nothing_to_do() {
    Drctl::new("shop")
        .run(["agent"])
        .refused(2, &["nothing is scheduled", "schedule.backup"]);
}
