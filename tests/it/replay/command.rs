//! `drctl restore` to a moment, by the log that `drctl stream` archived.

use std::time::Duration;

use rustix::process::Signal;

use super::{BEFORE, logging};
use crate::on_both;
use crate::support::compare::{differences, picture};
use crate::support::{Drctl, Flavour, Server};

/// A source with a backup, and an empty destination.
fn backed_up(flavour: Flavour) -> (Server, Server, Drctl) {
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
    fn a_replay_that_is_stopped_is_resumed_by_the_same_command(flavour) {
        let (source, into, drctl) = backed_up(flavour);
        source.exec("CALL shop.fill(2, 3000)");
        drctl.run(["stream", "--once"]).ok();
        let last = match flavour {
            Flavour::MySql => source.value("SELECT @@GLOBAL.gtid_executed").replace(":1-", ":"),
            Flavour::MariaDb => source.value("SELECT @@GLOBAL.gtid_binlog_pos"),
        };
        let command = ["restore", "--to-gtid", last.as_str()];
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
        std::thread::sleep(Duration::from_secs(1));
        if !running.has_ended() {
            running.signal(Signal::TERM);
        }
        let run = running.wait();
        if run.code != 0 {
            assert_eq!(run.code, 143, "{}", run.stderr);
            println!("{} of 3050", into.value("SELECT COUNT(*) FROM shop.orders"));
            assert_eq!(into.exec(status), "");
            // Another moment is another restore.
            drctl.run(["restore", "--latest"]).fails(9, "unfinished restore");
            drctl.run(command).ok();
        }
        let all = differences(&picture(&source), &picture(&into), |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
);
