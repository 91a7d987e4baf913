//! Whatever breaks: no hole, nothing doubled.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::on_both;
use crate::support::wait::until;

/// Ends writes, archives the rest, and compares everything with the server.
#[track_caller]
fn all_is_there(server: &Server, drctl: &Drctl) {
    drctl.run(["stream", "--once"]).ok();
    drctl.run(["log", "--check"]).ok();
    let ids = timelines(drctl);
    assert_eq!(ids.len(), 1, "{ids:?}");
    same_as_the_servers(server, &files_again(drctl, &ids[0]));
}

pub(super) fn stop_writers(server: &Server) {
    let ids = server.query("SELECT id FROM information_schema.processlist WHERE info LIKE '%write\\_on%' AND id <> CONNECTION_ID() OR info LIKE 'DO SLEEP%' OR info LIKE 'INSERT INTO d.t%'");
    for id in ids {
        let _ = server.try_exec(&format!("KILL {}", id[0]));
    }
    until("writers end", || {
        let sql = "SELECT COUNT(*) FROM d.t";
        let before = server.value(sql);
        std::thread::sleep(Duration::from_millis(100));
        server.value(sql) == before
    });
}

on_both!(
    fn a_streamer_that_is_killed_at_any_moment_goes_on_exactly(flavour) {
        let server = logging(flavour, &["--max-binlog-size=65536"]);
        server.exec(WRITER);
        let mut writer = server.session();
        writer.send("CALL d.write_on()");
        let drctl = streamer(&server);
        for round in 0..15_u64 {
            let running = drctl.start(["stream"]);
            // From before the connection to behind some cuts.
            std::thread::sleep(Duration::from_millis(50 + round * round * 17 % 2_900));
            running.signal(Signal::KILL);
            drop(running);
        }
        stop_writers(&server);
        all_is_there(&server, &drctl);
    }
);

on_both!(
    fn a_server_that_is_killed_or_restarted_is_followed_again(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        let drctl = streamer(&server);
        let running = drctl.archiving();
        for round in 0..4 {
            server.exec("CALL d.write(20)");
            match round % 2 {
                0 => server.kill(),
                _ => server.stop(),
            }
            server.start_again();
        }
        server.exec("CALL d.write(20)");
        let at = match flavour {
            Flavour::MySql => "SELECT @@global.gtid_executed",
            Flavour::MariaDb => "SELECT @@gtid_binlog_pos",
        };
        let executed = server.value(at);
        until("all is archived", || log(&drctl)["timelines"][0]["gtid_set"] == executed.as_str());
        running.signal(Signal::TERM);
        running.wait().ok();
        all_is_there(&server, &drctl);
    }
);

on_both!(
    fn a_frozen_server_is_noticed_and_followed_again(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        server.exec("CALL d.write(5)");
        let drctl = streamer(&server);
        let mut running = drctl.archiving();
        until("something is archived", || !segments(&drctl).is_empty());
        let pid = Pid::from_raw(server.pid().unwrap() as i32).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        running.until_says("no word from the server");
        kill_process(pid, Signal::CONT).unwrap();
        server.exec("CALL d.write(5)");
        running.until_says("going on where the archive ends");
        running.signal(Signal::TERM);
        running.wait().ok();
        all_is_there(&server, &drctl);
    }
);

#[test]
fn a_store_that_is_away_for_a_while_delays_the_log_and_loses_nothing() {
    crate::need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    server.exec("CALL d.write(5)");
    let drctl = streamer(&server);
    let mut running = drctl.start(["stream"]);
    until("something is archived", || !segments(&drctl).is_empty());
    let (store, away) = (drctl.store_dir(), drctl.home().join("away"));
    fs::rename(&store, &away).unwrap();
    server.exec("CALL d.write(500)");
    running.until_says("cannot store a piece of the log");
    server.exec("FLUSH BINARY LOGS; CALL d.write(500)");
    fs::rename(&away, &store).unwrap();
    let executed = server.value("SELECT @@global.gtid_executed");
    until("all is archived", || {
        log(&drctl)["timelines"][0]["gtid_set"] == executed.as_str()
    });
    running.signal(Signal::TERM);
    running.wait().ok();
    all_is_there(&server, &drctl);
}

#[test]
fn sigterm_stores_what_was_taken() {
    crate::need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    // No cut comes by itself.
    let drctl = streamer(&server).env("DRCTL_STREAM_CUT_SECONDS", "3600");
    let running = drctl.archiving();
    server.exec("CALL d.write(5)");
    std::thread::sleep(Duration::from_secs(2));
    assert!(
        segments(&drctl)
            .iter()
            .all(|segment| !segment.ends_with("0.zst"))
            || !segments(&drctl).is_empty()
    );
    running.signal(Signal::TERM);
    running.wait().ok();
    let executed = server.value("SELECT @@global.gtid_executed");
    assert_eq!(log(&drctl)["timelines"][0]["gtid_set"], executed.as_str());
    all_is_there(&server, &drctl);
}

#[test]
fn a_second_streamer_is_refused() {
    crate::need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    let drctl = streamer(&server);
    let running = drctl.archiving();
    drctl.run(["stream", "--once"]).refused(
        11,
        &["another drctl stream of shop is running", "wait for it"],
    );
    running.signal(Signal::TERM);
    running.wait().ok();
}
