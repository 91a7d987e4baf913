//! A backup that is ended from outside, or meets another one.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::Drctl;
use crate::support::backup::{dump_by, listed, nothing_left, shop};
use crate::support::drctl::Running;
use crate::support::wait::until;

/// A backup whose dump stands still half-way until the file `go` appears.
fn paused() -> (Drctl, Running) {
    let (_, drctl) = shop();
    let script = "real \"$@\" >whole; head -c 900 whole; echo >paused\n\
                  while [ ! -e go ]; do sleep 0.05; done; tail -c +901 whole";
    let drctl = dump_by(drctl, script);
    let running = drctl.start(["backup"]);
    until("a dump begins", || drctl.home().join("paused").exists());
    (drctl, running)
}

fn go_on(drctl: &Drctl) {
    std::fs::write(drctl.home().join("go"), "").unwrap();
}

#[test]
fn a_terminated_backup_leaves_nothing() {
    for (signal, code, word) in [
        (Signal::TERM, 143, "SIGTERM"),
        (Signal::INT, 130, "interrupted"),
        (Signal::HUP, 129, "SIGHUP"),
        (Signal::QUIT, 131, "SIGQUIT"),
    ] {
        let (drctl, running) = paused();
        running.signal(signal);
        running.wait().fails(code, word);
        nothing_left(&drctl);
        go_on(&drctl);
        drctl.run(["backup"]).ok();
        assert_eq!(listed(&drctl).len(), 1);
    }
}

/// `timeout` sends its signal to the process and to its group.
#[test]
fn a_signal_that_comes_twice_at_once_is_the_same_one() {
    let (drctl, running) = paused();
    for _ in 0..3 {
        running.signal(Signal::TERM);
    }
    running.wait().fails(143, "SIGTERM");
    nothing_left(&drctl);
}

/// Of one kind the system itself makes one of those that wait: only of two kinds both are sure to come.
#[test]
fn two_signals_that_come_at_once_are_one() {
    for other in [Signal::INT, Signal::HUP] {
        let (drctl, running) = paused();
        for signal in [Signal::STOP, Signal::TERM, other, Signal::CONT] {
            running.signal(signal);
        }
        let run = running.wait();
        assert!([143, 130, 129].contains(&run.code), "{run:#?}");
        assert_eq!(run.stderr.matches("cleaning up").count(), 1, "{run:#?}");
        nothing_left(&drctl);
    }
}

/// `nohup` starts a process that ignores SIGHUP, and it goes on doing so.
#[test]
fn a_signal_that_is_ignored_from_the_start_stays_ignored() {
    let (_, drctl) = shop();
    let drctl = dump_by(
        drctl,
        "echo >paused; while [ ! -e go ]; do sleep 0.05; done; real \"$@\"",
    )
    .behind("trap '' HUP");
    let running = drctl.start(["backup"]);
    until("a dump begins", || drctl.home().join("paused").exists());
    running.signal(Signal::HUP);
    go_on(&drctl);
    running.wait().ok();
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn labels_that_fit_into_no_manifest_are_refused_before_the_dump() {
    let (_, drctl) = shop();
    let drctl = dump_by(drctl, "echo >dumped; real \"$@\"");
    let label = format!("why={}", "x".repeat(3000));
    drctl.run(["backup", "--label", &label]).fails(2, "labels");
    assert!(!drctl.home().join("dumped").exists());
}

#[test]
fn a_killed_backup_is_not_listed_and_the_next_one_is_made() {
    let (drctl, running) = paused();
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 137);
    assert!(listed(&drctl).is_empty());
    go_on(&drctl);
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
}

/// Even one that never writes again, which no closed pipe would stop.
#[test]
fn a_killed_backup_leaves_no_dump_program_behind() {
    let (_, drctl) = shop();
    let script = "real \"$@\" | head -c 900; echo $$ >pid.new; mv pid.new pid; exec sleep 600";
    let drctl = dump_by(drctl, script);
    let running = drctl.start(["backup"]);
    let file = drctl.home().join("pid");
    until("a dump begins", || file.exists());
    let pid = std::fs::read_to_string(file).expect("a file that is there");
    let pid = pid.trim();
    // Not by its command line, which is empty for an instant while it becomes `sleep`.
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    };
    assert!(lives());
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 137);
    let killed = Instant::now();
    while lives() {
        let waited = killed.elapsed();
        assert!(waited < Duration::from_secs(2), "{pid} outlives its drctl");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_second_backup_at_once_is_turned_away_and_the_first_goes_on() {
    let (drctl, running) = paused();
    drctl.run(["backup"]).fails(11, "another backup");
    go_on(&drctl);
    running.wait().ok();
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn a_backup_past_its_deadline_leaves_nothing() {
    let (_, drctl) = shop();
    let drctl = dump_by(drctl, "exec sleep 60").env("DRCTL_BACKUP_DEADLINE_SECONDS", "1");
    drctl.run(["backup"]).fails(12, "deadline");
    nothing_left(&drctl);
}
