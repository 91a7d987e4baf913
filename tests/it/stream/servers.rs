//! Logs that do not continue what is archived: a new timeline, and a gap that says what is missing.

use super::*;
use crate::on_both;

/// The reasons of all timelines, and the log.
#[track_caller]
fn reasons(drctl: &Drctl) -> (Vec<String>, serde_json::Value) {
    drctl.run(["log", "--check"]).ok();
    let log = log(drctl);
    let timelines = log["timelines"].as_array().unwrap().iter();
    let reasons = timelines.map(|timeline| timeline["reason"].as_str().unwrap().to_owned());
    (reasons.collect(), log)
}

on_both!(
    fn a_log_that_was_purged_before_it_was_archived_is_a_gap(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        let drctl = streamer(&server);
        drctl.run(["stream", "--once"]).ok();
        server.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5); FLUSH BINARY LOGS");
        purge_all_but_newest(&server);
        let run = drctl.run(["stream", "--once"]).ok();
        assert!(run.stderr.contains("make a backup now"), "{}", run.stderr);
        let (reasons, log) = reasons(&drctl);
        assert_eq!(reasons, ["first", "gap"]);
        let gap = &log["timelines"][1]["gaps"][0];
        assert!(gap["missing"].as_str().unwrap().starts_with("purged before"), "{log}");
        assert!(gap["from"].as_str().unwrap() <= gap["to"].as_str().unwrap());
        let page = drctl.run(["log"]).ok().stdout;
        assert!(page.contains("gap before"), "{page}");
    }
);

on_both!(
    fn a_log_that_was_purged_behind_what_is_archived_is_none(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        let drctl = streamer(&server);
        server.exec("CALL d.write(5); FLUSH BINARY LOGS");
        drctl.run(["stream", "--once"]).ok();
        purge_all_but_newest(&server);
        server.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        assert_eq!(reasons(&drctl).0, ["first"]);
    }
);

on_both!(
    fn a_server_that_was_reset_is_another_timeline_however_long_its_log_is(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        server.exec(reset(flavour));
        server.exec("CALL d.write(5)");
        let drctl = streamer(&server);
        drctl.run(["stream", "--once"]).ok();
        // Same file, same numbers, and longer than what is archived.
        server.exec(reset(flavour));
        server.exec("CALL d.write(20)");
        drctl.run(["stream", "--once"]).ok();
        let (reasons, log) = reasons(&drctl);
        assert_eq!(reasons, ["first", "rewound"], "{log}");
        server.exec(reset(flavour));
        drctl.run(["stream", "--once"]).ok();
        assert_eq!(self::reasons(&drctl).0, ["first", "rewound", "rewound"]);
    }
);

on_both!(
    fn another_server_behind_the_same_address_is_not_taken_for_the_first(flavour) {
        let (one, other) = (logging(flavour, &[]), logging(flavour, &[]));
        for server in [&one, &other] {
            server.exec(WRITER);
            server.exec("CALL d.write(5)");
        }
        let drctl = streamer(&one);
        drctl.run(["stream", "--once"]).ok();
        other.exec("CALL d.write(50)");
        let drctl = drctl.source(&other);
        drctl.run(["stream", "--once"]).ok();
        let (reasons, log) = reasons(&drctl);
        assert_eq!(reasons.len(), 2, "{log}");
        assert!(["gap", "rewound"].contains(&reasons[1].as_str()), "{log}");
        let id = timelines(&drctl).pop().unwrap();
        same_as_the_servers(&other, &files_again(&drctl, &id));
    }
);

on_both!(
    fn an_account_that_may_only_read_the_log_is_enough_and_less_is_refused_with_the_grant(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        server.exec("CALL d.write(5)");
        server.account("least", "pw-of-least", &["REPLICATION SLAVE, REPLICATION CLIENT ON *.*"]);
        server.account("less", "pw-of-less", &["REPLICATION CLIENT ON *.*"]);
        server.account("none", "pw-of-none", &["USAGE ON *.*"]);
        let of = |user: &str| {
            streamer(&server)
                .env("DRCTL_SOURCE_URL", &server.url_as(user))
                .env("DRCTL_SOURCE_PASSWORD", &format!("pw-of-{user}"))
        };
        of("less").run(["stream", "--once"]).refused(4, &["grant the account REPLICATION SLAVE on *.*"]);
        of("none").run(["stream", "--once"]).refused(4, &["grant the account REPLICATION SLAVE and REPLICATION CLIENT"]);
        let drctl = of("least");
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["log", "--check"]).ok();
        let id = timelines(&drctl).pop().unwrap();
        same_as_the_servers(&server, &files_again(&drctl, &id));
    }
);

#[test]
fn a_server_without_a_binary_log_is_refused_with_what_to_set() {
    crate::need!(MySql);
    let server = Server::start_with(Flavour::MySql, &["--skip-log-bin"]);
    streamer(&server)
        .run(["stream", "--once"])
        .refused(4, &["the server writes no binary log", "set log_bin"]);
}

#[test]
fn a_server_without_gtids_is_followed_by_its_files_alone() {
    crate::need!(MySql);
    let off = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"];
    let server = Server::start_with(Flavour::MySql, &off);
    server.exec(WRITER);
    let drctl = streamer(&server);
    for _ in 0..2 {
        server.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
    }
    assert_eq!(reasons(&drctl).0, ["first"]);
    let id = timelines(&drctl).remove(0);
    same_as_the_servers(&server, &files_again(&drctl, &id));
    // The same names, and longer than what is archived.
    server.exec(reset(Flavour::MySql));
    server.exec("CALL d.write(20); FLUSH BINARY LOGS; CALL d.write(20); FLUSH BINARY LOGS; CALL d.write(50); FLUSH BINARY LOGS");
    drctl.run(["stream", "--once"]).ok();
    assert_eq!(reasons(&drctl).0, ["first", "rewound"]);
}
