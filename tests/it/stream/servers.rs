//! Logs that do not continue what is archived: a new timeline, and a gap that says what is missing.

use super::*;
use crate::on_both;
use crate::support::wait::until;

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

#[test]
fn an_encrypted_log_is_archived_in_the_clear_and_replayed() {
    crate::need!(MySql);
    let server = Server::with_keyring(&[
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        "--server-id=7",
        "--binlog-encryption=ON",
    ]);
    server.exec(WRITER);
    let into = logging(Flavour::MySql, &[]);
    let drctl = streamer(&server).into(&into);
    drctl.run(["backup"]).ok();
    server.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
    assert!(
        server
            .query("SHOW BINARY LOGS")
            .iter()
            .all(|row| row[2] == "Yes")
    );
    drctl.run(["stream", "--once"]).ok();
    server.exec("CALL d.write(5)");
    drctl.run(["stream", "--once"]).ok();
    drctl.run(["log", "--check"]).ok();
    assert_eq!(reasons(&drctl).0, ["first"]);
    drctl.run(["restore", "--to", "latest"]).ok();
    let rows = "SELECT COUNT(*), MAX(v) FROM d.t";
    assert_eq!(into.query(rows), server.query(rows));
}

on_both!(
    fn a_data_directory_of_an_earlier_time_is_another_timeline(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        server.exec("CALL d.write(5)");
        let drctl = streamer(&server);
        drctl.run(["stream", "--once"]).ok();
        server.stop();
        let (data, kept) = (server.datadir(), server.datadir().with_extension("kept"));
        let copy = |from: &Path, to: &Path| {
            let _ = fs::remove_dir_all(to);
            let copied = Command::new("cp").arg("-r").args([from, to]).status();
            assert!(copied.unwrap().success());
        };
        copy(&data, &kept);
        server.start_again();
        server.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        assert_eq!(reasons(&drctl).0, ["first"]);
        // As from a snapshot of its volume: the same server, the same names, another history.
        server.stop();
        copy(&kept, &data);
        server.start_again();
        server.exec("CALL d.write(30)");
        drctl.run(["stream", "--once"]).ok();
        let (reasons, log) = reasons(&drctl);
        assert_eq!(reasons, ["first", "rewound"], "{log}");
        let id = timelines(&drctl).pop().unwrap();
        same_as_the_servers(&server, &files_again(&drctl, &id));
    }
);

/// Makes a server a replica of another one.
fn replicate(replica: &Server, primary: &Server) {
    let port = primary.port();
    primary.exec("SET sql_log_bin = 0; CREATE USER IF NOT EXISTS repl IDENTIFIED BY 'pass-word'; GRANT REPLICATION SLAVE ON *.* TO repl");
    replica.exec(&match replica.flavour() {
        Flavour::MySql => format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'repl', \
             SOURCE_PASSWORD = 'pass-word', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA"
        ),
        Flavour::MariaDb => format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'repl', \
             MASTER_PASSWORD = 'pass-word', MASTER_USE_GTID = slave_pos, MASTER_SSL_VERIFY_SERVER_CERT = 0; START SLAVE"
        ),
    });
}

/// Ends replication.
fn detach(replica: &Server) {
    replica.exec(match replica.flavour() {
        Flavour::MySql => "STOP REPLICA; RESET REPLICA ALL",
        Flavour::MariaDb => "STOP SLAVE; RESET SLAVE ALL",
    });
}

/// A MariaDB server of its own identity that logs what it replicates.
fn mariadb(server_id: u32) -> Server {
    let id = format!("--server-id={server_id}");
    let server = logging(Flavour::MariaDb, &[&id, "--log-slave-updates=ON"]);
    // Who it is, to the second: copies of one data directory are one server otherwise.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    server.exec("SET sql_log_bin = 0; ALTER TABLE mysql.proc FORCE");
    server
}

fn follows(replica: &Server, primary: &Server) {
    let position = primary.value("SELECT @@gtid_binlog_pos");
    until("the replica follows", || {
        replica.value("SELECT @@gtid_binlog_pos") == position
    });
}

/// The newest timeline: why it began, whether it continues, and what is missing.
#[track_caller]
fn newest(drctl: &Drctl) -> (String, bool, String) {
    drctl.run(["log", "--check"]).ok();
    let id = timelines(drctl).pop().unwrap();
    let text = fs::read(log_dir(drctl).join(id).join("timeline.json")).unwrap();
    let timeline: serde_json::Value = serde_json::from_slice(&text).unwrap();
    (
        timeline["reason"].as_str().unwrap().to_owned(),
        timeline["continues"].as_bool().unwrap(),
        timeline["missing"].as_str().unwrap_or_default().to_owned(),
    )
}

#[test]
fn a_promotion_without_the_last_transactions_does_not_continue_whatever_numbers_follow() {
    crate::need!(MariaDb);
    let (one, two, three) = (mariadb(1), mariadb(2), mariadb(3));
    one.exec(WRITER);
    replicate(&two, &one);
    replicate(&three, &one);
    one.exec("CALL d.write(5)");
    for replica in [&two, &three] {
        follows(replica, &one);
        detach(replica);
    }
    // Archived, and known to no other server.
    one.exec("CALL d.write(3)");
    let lost = one.value("SELECT @@gtid_binlog_pos");
    let drctl = streamer(&one);
    drctl.run(["stream", "--once"]).ok();
    one.stop();
    // The second one is promoted, and its numbers go beyond those.
    two.exec("CALL d.write(10)");
    replicate(&three, &two);
    follows(&three, &two);
    let at_two = drctl.source(&two);
    let run = at_two.run(["stream", "--once"]).ok();
    assert!(run.stderr.contains(&lost), "{}", run.stderr);
    let (reason, continues, missing) = newest(&at_two);
    assert_eq!((reason.as_str(), continues), ("gap", false), "{missing}");
    assert!(
        missing.contains(&format!("unknown to it: {lost}")),
        "{missing}"
    );
    // What is promoted after it has all of that.
    detach(&three);
    three.exec("CALL d.write(5)");
    let at_three = at_two.source(&three);
    at_three.run(["stream", "--once"]).ok();
    let (reason, continues, missing) = newest(&at_three);
    assert_eq!(
        (reason.as_str(), continues),
        ("failover", true),
        "{missing}"
    );
}

#[test]
fn a_server_id_that_is_promoted_again_gives_its_numbers_again_and_does_not_continue() {
    crate::need!(MariaDb);
    for more in [1, 30] {
        let (one, two, again) = (mariadb(1), mariadb(2), mariadb(3));
        one.exec(WRITER);
        replicate(&two, &one);
        one.exec("CALL d.write(5)");
        follows(&two, &one);
        detach(&two);
        one.exec("CALL d.write(3)");
        let lost = one.value("SELECT @@gtid_binlog_pos");
        let drctl = streamer(&one);
        drctl.run(["stream", "--once"]).ok();
        one.stop();
        // Commits of MariaDB are dated to the second.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        // With 1 the transactions of the server that came back have the very ids of those that are lost.
        two.exec(&format!("CALL d.write({more})"));
        replicate(&again, &two);
        follows(&again, &two);
        detach(&again);
        // A replica skips what has its own id: rebuilt servers get theirs back at the end.
        again.exec("SET GLOBAL server_id = 1");
        again.exec("CALL d.write(20)");
        let drctl = drctl.source(&again);
        drctl.run(["stream", "--once"]).ok();
        let (reason, continues, missing) = newest(&drctl);
        assert_eq!((reason.as_str(), continues), ("gap", false), "{missing}");
        assert!(
            missing.contains(&format!("unknown to it: {lost}")),
            "{missing}"
        );
    }
}

#[test]
fn a_replica_that_did_not_log_what_it_replicated_does_not_continue() {
    crate::need!(MySql);
    let old = logging(Flavour::MySql, &[]);
    let new = logging(
        Flavour::MySql,
        &["--server-id=8", "--log-replica-updates=OFF"],
    );
    old.exec(WRITER);
    replicate(&new, &old);
    let drctl = streamer(&old);
    drctl.run(["stream", "--once"]).ok();
    // Not archived, and in no file of the new one.
    old.exec("CALL d.write(5)");
    until("the replica follows", || {
        new.value("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'd'") == "1"
            && new.value("SELECT COUNT(*) FROM d.t") == "5"
    });
    old.kill();
    detach(&new);
    new.exec("CALL d.write(5)");
    let drctl = drctl.source(&new);
    drctl.run(["stream", "--once"]).ok();
    let (reason, continues, missing) = newest(&drctl);
    assert_eq!((reason.as_str(), continues), ("gap", false), "{missing}");
    assert!(
        missing.contains("purged there and not archived"),
        "{missing}"
    );
}

on_both!(
    fn a_replica_that_takes_over_goes_on_in_a_timeline_that_continues(flavour) {
        let old = logging(flavour, &[]);
        let options = match flavour {
            Flavour::MySql => ["--server-id=8"].as_slice(),
            Flavour::MariaDb => &["--server-id=8", "--log-slave-updates=ON"],
        };
        let new = logging(flavour, options);
        if flavour == Flavour::MariaDb {
            // Who it is: copies of one data directory are one server otherwise.
            new.exec("SET sql_log_bin = 0; ALTER TABLE mysql.proc FORCE");
        }
        replicate(&new, &old);
        old.exec(WRITER);
        let drctl = streamer(&old);
        drctl.run(["backup"]).ok();
        // Commits of MariaDB are dated to the second, and what they cover ends a second before.
        std::thread::sleep(std::time::Duration::from_millis(2_200));
        old.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        let rows = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'd'";
        until("the replica follows", || new.value(rows) == "1" && new.value("SELECT COUNT(*) FROM d.t") == "5");
        old.kill();
        detach(&new);
        new.exec("CALL d.write(5)");
        let into = logging(flavour, &[]);
        let drctl = drctl.source(&new).into(&into);
        drctl.run(["stream", "--once"]).ok();
        let (reasons, log) = reasons(&drctl);
        assert_eq!(reasons, ["first", "failover"], "{log}");
        assert_eq!(log["timelines"][1]["gaps"], serde_json::json!([]), "{log}");
        // A replay does not go on there, and says so instead of ending early.
        drctl.run(["restore", "--to", "latest"]).refused(9, &["the log goes on in timeline", "--to"]);
        let code = drctl.run(["backup"]).code;
        if code == 9 {
            let list = drctl.run(["list", "--output", "json"]).ok().json();
            drctl.run(["accept", list[0]["id"].as_str().unwrap()]).ok();
        }
        std::thread::sleep(std::time::Duration::from_millis(2_200));
        new.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["restore", "--to", "latest"]).ok();
        assert_eq!(into.value("SELECT COUNT(*) FROM d.t"), "15");
    }
);

on_both!(
    fn a_moment_inside_a_gap_is_refused_and_those_on_both_sides_are_not(flavour) {
        let (server, into) = (logging(flavour, &[]), logging(flavour, &[]));
        server.exec(WRITER);
        let drctl = streamer(&server).into(&into);
        let pause = || std::thread::sleep(std::time::Duration::from_millis(2_200));
        let now = || jiff::Timestamp::now().to_string();
        let plan = |to: &str| drctl.run(["restore", "--to", to, "--plan"]);
        drctl.run(["backup"]).ok();
        pause();
        let before = now();
        server.exec("CALL d.write(5)");
        pause();
        server.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        pause();
        server.exec("FLUSH BINARY LOGS; CALL d.write(5)");
        let inside = now();
        pause();
        server.exec("CALL d.write(5); FLUSH BINARY LOGS");
        purge_all_but_newest(&server);
        pause();
        server.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        plan(&before).ok();
        plan(&inside).refused(9, &["not covered", "the log covers"]);
        drctl.run(["backup"]).ok();
        pause();
        let behind = now();
        pause();
        server.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        plan(&behind).ok();
        plan(&inside).refused(9, &["not covered", "the log covers"]);
    }
);
