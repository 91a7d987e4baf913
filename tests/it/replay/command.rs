//! `drctl restore` to a moment, by the log that `drctl stream` archived.

use std::time::Duration;

use rustix::process::Signal;

use super::{BEFORE, logging, logging_with};
use crate::support::compare::{differences, picture};
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// A source with a backup, and an empty destination.
pub(crate) fn backed_up(flavour: Flavour) -> (Server, Server, Drctl) {
    let (source, into) = (logging(flavour), logging(flavour));
    source.exec(BEFORE);
    let drctl = Drctl::new("shop").source(&source).into(&into);
    drctl.run(["backup"]).ok();
    (source, into, drctl)
}

on_both!(
    fn a_dropped_table_is_brought_back_by_the_statement_that_dropped_it(flavour) {
        let (source, into, drctl) = backed_up(flavour);
        source.exec("CALL shop.fill(2, 30); CREATE USER eve; INSERT INTO shop.orders (item, n) VALUES ('last', 1)");
        let held = picture(&source);
        source.exec("DROP TABLE shop.lines_of; CREATE TABLE shop.lines_of (a INT); DROP TABLE shop.audit");
        drctl.run(["stream", "--once"]).ok();

        let plan = drctl.run(["restore", "--before-statement", "drop table.*lines_of", "--plan"]).ok().stdout;
        println!("{plan}");
        assert!(plan.contains("32 transactions"), "{plan}");
        drctl
            .run(["restore", "--before-statement", "drop table", "--plan"])
            .refused(2, &["several statements match", "lines_of", "audit", "--before-gtid"]);
        drctl.run(["restore", "--to", "2099-01-01T00:00:00Z", "--plan"]).refused(9, &["not covered", "does not reach"]);
        drctl.run(["restore", "--to", "2001-01-01T00:00:00Z", "--plan"]).refused(9, &["not covered", "made later"]);
        assert!(differences(&picture(&into), &Default::default(), |_| true).is_empty(), "nothing is changed");

        let run = drctl.run(["restore", "--before-statement", "drop table.*lines_of", "--output", "json"]).ok();
        let report = run.json();
        println!("{}", report["replayed"]);
        assert_eq!(report["replayed"]["transactions"], 32);
        assert_eq!(report["replayed"]["refused"][0]["what"], "CREATE USER");
        let all = differences(&held, &picture(&into), |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
        // It is a server like any other: it can be backed up.
        Drctl::new("copy").source(&into).run(["backup"]).ok();
    }
);

on_both!(
    fn a_replay_that_is_stopped_or_killed_is_resumed_by_the_same_command(flavour) {
        for (signal, undo) in [(Signal::TERM, false), (Signal::KILL, false), (Signal::KILL, true)] {
            let (source, into, drctl) = backed_up(flavour);
            source.exec("CALL shop.fill(2, 3000)");
            drctl.run(["stream", "--once"]).ok();
            let last = last_gtid(&source);
            let command = ["restore", "--to-gtid", last.as_str(), "--output", "json"];
            let mut running = drctl.start(command);
            let status = match flavour {
                Flavour::MySql => "SHOW REPLICA STATUS",
                Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
            };
            // By its files: a client that asks would be one that is connected.
            let replicates = || {
                let files = std::fs::read_dir(into.datadir()).unwrap();
                let mut names = files.map(|file| file.unwrap().file_name());
                names.any(|name| name.to_string_lossy().contains("drctl_replay"))
            };
            while !running.has_ended() && !replicates() {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(300));
            if !running.has_ended() {
                running.signal(signal);
            }
            let run = running.wait();
            println!("{signal:?}, {undo}: {}", run.code);
            if run.code != 0 {
                if signal == Signal::TERM {
                    assert_eq!(run.code, 143, "{}", run.stderr);
                    assert_eq!(into.exec(status), "");
                }
                println!("{} of 3050", into.value("SELECT COUNT(*) FROM shop.orders"));
                if undo {
                    drctl.run(["restore", "--undo-settings"]).ok();
                    assert_eq!(into.exec(status), "");
                    assert_eq!(into.value("SELECT @@GLOBAL.read_only"), "0");
                }
                // Another moment is another restore.
                drctl.run(["restore", "--latest", "--allow-replica"]).fails(9, "unfinished restore");
                drctl.run(["restore", "--to-gtid", last.as_str(), "--plan"]).ok();
                let report = drctl.run(command).ok().json();
                assert_eq!(report["compared_before"], true, "{report}");
            }
            let all = differences(&picture(&source), &picture(&into), |_| true);
            assert!(all.is_empty(), "{}", all.join("\n"));
            assert_eq!(into.value("SELECT @@GLOBAL.read_only"), "0");
        }
    }
);

on_both!(
    fn all_that_is_archived_comes_back_behind_the_newest_backup(flavour) {
        let (source, into, drctl) = backed_up(flavour);
        source.exec("CALL shop.fill(2, 10)");
        drctl.run(["stream", "--once"]).ok();
        let latest = ["restore", "--to", "latest"];
        let plan = drctl.run(["restore", "--to", "latest", "--plan"]).ok().stdout;
        assert!(plan.contains("10 transactions") && plan.contains("none: the log ends"), "{plan}");
        // A newer backup whose log is not archived yet: an older one and its log are older than that alone.
        source.exec("CALL shop.fill(3, 10)");
        drctl.run(["backup"]).ok();
        drctl.run(latest).refused(9, &["the log is archived up to", "--latest"]);
        source.exec("CALL shop.fill(4, 5)");
        drctl.run(["stream", "--once"]).ok();
        // The streamer of the destination is no other client.
        let streamer = Drctl::new("shop").source(&into);
        let running = streamer.archiving();
        drctl.run(latest).ok();
        running.signal(Signal::TERM);
        running.wait().ok();
        let all = differences(&picture(&source), &picture(&into), |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
        drctl.run(["restore", "--to", "yesterday"]).refused_by_the_parser();
    }
);

/// The last transaction of a source.
pub(crate) fn last_gtid(source: &Server) -> String {
    match source.flavour() {
        Flavour::MySql => source
            .value("SELECT @@GLOBAL.gtid_executed")
            .replace(":1-", ":"),
        Flavour::MariaDb => source.value("SELECT @@GLOBAL.gtid_binlog_pos"),
    }
}

#[test]
fn filters_of_a_destination_of_mysql_skip_nothing() {
    need!(MySql);
    let (source, _, drctl) = backed_up(Flavour::MySql);
    let into = Server::start_with(
        Flavour::MySql,
        &[
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--replicate-ignore-db=shop",
            "--replicate-wild-ignore-table=shop.%",
            "--max-allowed-packet=256M",
        ],
    );
    source.exec("CALL shop.fill(2, 20)");
    drctl.run(["stream", "--once"]).ok();
    drctl.into(&into).run(["restore", "--to", "latest"]).ok();
    let all = differences(&picture(&source), &picture(&into), |_| true);
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// A restore into the target itself that its log does not hold: what is archived behind it lacks it, and is never
/// replayed on an earlier backup.
#[test]
fn a_log_that_lacks_a_restore_is_not_replayed() {
    need!(MariaDb);
    need!(MySql);
    for (flavour, options, no_binlog) in [
        (Flavour::MariaDb, &["--log-slave-updates=OFF"][..], false),
        (Flavour::MySql, &[], true),
    ] {
        let server = logging_with(flavour, options);
        server.exec(BEFORE);
        let drctl = Drctl::new("shop").source(&server).into(&server);
        drctl.run(["backup"]).ok();
        server.exec("CALL shop.fill(2, 10)");
        let last = last_gtid(&server);
        server.exec("DROP TABLE shop.lines_of");
        drctl.run(["stream", "--once"]).ok();
        let mut command = vec!["restore", "--overwrite", "--confirm", "shop"];
        match no_binlog {
            true => command.extend(["--latest", "--no-binlog"]),
            false => command.extend(["--to-gtid", last.as_str()]),
        }
        drctl.run(command).ok();
        server.exec("INSERT INTO shop.orders (item, n) VALUES ('later', 1)");
        drctl.run(["stream", "--once"]).ok();
        drctl
            .run(["restore", "--to", "latest", "--plan"])
            .refused(9, &["the log lacks what a restore wrote"]);
        // A backup that holds it is a beginning.
        drctl.run(["backup"]);
        server.exec("INSERT INTO shop.orders (item, n) VALUES ('last', 1)");
        drctl.run(["stream", "--once"]).ok();
        let into = logging(flavour);
        drctl.into(&into).run(["restore", "--to", "latest"]).ok();
        let all = differences(&picture(&server), &picture(&into), |_| true);
        assert!(all.is_empty(), "{flavour:?}: {}", all.join("\n"));
    }
}

/// The grants of a restore by an account of its own, without those for a replay.
pub(super) fn restore_grants(flavour: Flavour) -> &'static [&'static str] {
    const WRITES: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW, \
        TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, LOCK TABLES, CREATE TEMPORARY TABLES, PROCESS ON *.*";
    match flavour {
        Flavour::MySql => &[
            WRITES,
            "SYSTEM_USER, SET_ANY_DEFINER, SESSION_VARIABLES_ADMIN, SHOW_ROUTINE ON *.*",
        ],
        Flavour::MariaDb => &[WRITES, "SET USER, BINLOG ADMIN ON *.*"],
    }
}

on_both!(
    fn what_would_end_the_replay_is_refused_before_anything_is_changed(flavour) {
        let (source, into, drctl) = backed_up(flavour);
        source.exec("CALL shop.fill(2, 5)");
        let held = picture(&source);
        let last = last_gtid(&source);
        drctl.run(["stream", "--once"]).ok();
        let command = ["restore", "--to-gtid", last.as_str()];
        let empty = || assert!(picture(&into).keys().all(|(schema, _)| schema != "shop"));

        // Each privilege, and as many as are needed.
        into.account("restorer", "pass-word", restore_grants(flavour));
        into.exec("SET GLOBAL log_bin_trust_function_creators = ON");
        let drctl = drctl.env("DRCTL_INTO_URL", &into.tcp_url("restorer")).env("DRCTL_INTO_PASSWORD", "pass-word");
        let privileges = match flavour {
            Flavour::MySql => ["REPLICATION_SLAVE_ADMIN", "SYSTEM_VARIABLES_ADMIN", "REPLICATION CLIENT", "RELOAD"],
            Flavour::MariaDb => ["REPLICATION SLAVE ADMIN", "REPLICATION MASTER ADMIN", "SLAVE MONITOR", "RELOAD"],
        };
        let drctl = drctl.env("DRCTL_STREAM_CUT_SECONDS", "10");
        for (at, privilege) in privileges.iter().enumerate() {
            let words = ["lacks privileges to replay", &privileges[at..].join(", "), "GRANT"];
            drctl.run(command).refused(9, &words);
            let doctor = drctl.run(["doctor"]).stdout;
            assert!(words.iter().all(|words| doctor.contains(words)), "{doctor}");
            empty();
            into.exec(&format!("GRANT {privilege} ON *.* TO restorer"));
        }

        let doctor = drctl.run(["doctor"]).stdout;
        assert!(!doctor.contains("privileges to replay"), "{doctor}");

        // Servers that would skip transactions.
        let (option, words): (&[&str], _) = match flavour {
            Flavour::MySql => (&["--log-bin", "--gtid-mode=OFF", "--max-allowed-packet=256M"], "gtid_mode = OFF"),
            Flavour::MariaDb => (&["--replicate-ignore-db=shop", "--max-allowed-packet=256M"], "replicate_ignore_db = shop"),
        };
        let unfit = Server::start_with(flavour, option);
        let elsewhere = |server: &Server| {
            server.account("admin", "pass-word", &["ALL ON *.*"]);
            let url = server.tcp_url("admin");
            drctl.run(["restore", "--to-gtid", last.as_str(), "--plan", "--into", url.as_str()])
        };
        elsewhere(&unfit).refused(9, &[words]);
        if flavour == Flavour::MySql {
            source.exec("DROP DATABASE shop");
            elsewhere(&source).refused(9, &["has executed transactions of the log", "--overwrite"]);
        }
        drop(unfit);

        // Without a word on the command line, as a Job that is made from a CronJob.
        let job = drctl.env("DRCTL_RESTORE_TO_GTID", &last).env("DRCTL_CONFIRM", "shop");
        // The command line has the last word, and an empty variable is none.
        job.run(["restore", "--to", "2001-01-01T00:00:00Z"]).refused(9, &["not covered"]);
        let job = job.env("DRCTL_RESTORE_TO", "latest");
        job.run(["restore"]).refused(2, &["several variables"]);
        let job = job.env("DRCTL_RESTORE_BEFORE_STATEMENT", "").env("DRCTL_RESTORE_TO", "");
        job.run(["restore"]).ok();
        let all = differences(&held, &picture(&into), |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
);
