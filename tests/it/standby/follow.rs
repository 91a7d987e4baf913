//! What it is built from, what it applies, and what ends it.

use std::time::Duration;

use rustix::process::Signal;

use super::{as_app, assert_same, sides, status};
use crate::on_both;
use crate::replay::MIXED;
use crate::stream::purge_all_but_newest;
use crate::support::Flavour;
use crate::support::wait::within;

on_both!(
    fn a_standby_is_built_and_follows_in_steps(flavour) {
        let (source, standby, drctl) = sides(flavour);
        source.exec("CREATE USER app IDENTIFIED BY 'secret'; GRANT ALL ON shop.* TO app");
        drctl.run(["backup"]).ok();
        source.exec(MIXED);
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["standby", "--once"]).ok();
        assert_same(&source, &standby);
        let said = status(&drctl);
        println!("{said:#}");
        assert_eq!(said["state"], "ended");
        assert!(said["applied_until"].is_string());

        // What follows is applied without what is in front of it, in the same file and in the next ones.
        for step in ["CALL shop.fill(4, 20)", "FLUSH BINARY LOGS; CALL shop.fill(5, 7)", "DO 1", "DROP TABLE shop.later"] {
            source.exec(step);
            drctl.run(["stream", "--once"]).ok();
            drctl.run(["standby", "--once"]).ok();
            assert_same(&source, &standby);
        }

        // Nobody else writes to it, before and after a restart of it.
        let refused = as_app(&standby, "INSERT INTO shop.orders (item) VALUES ('here')");
        assert!(refused.unwrap_err().contains("read-only"));
        standby.restart();
        source.exec("CALL shop.fill(6, 3)");
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["standby", "--once"]).ok();
        assert_same(&source, &standby);
        let refused = as_app(&standby, "INSERT INTO shop.orders (item) VALUES ('here')");
        assert!(refused.unwrap_err().contains("read-only"));

        // A restore into it is refused: it is not complete.
        drctl.run(["restore", "--latest"]).refused(9, &["unfinished restore"]);
    }
);

on_both!(
    fn a_standby_that_is_killed_goes_on(flavour) {
        let (source, standby, drctl) = sides(flavour);
        let drctl = drctl.env("DRCTL_STANDBY_POLL_SECONDS", "1").env("DRCTL_STREAM_CUT_SECONDS", "1");
        source.exec("SET GLOBAL sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 0");
        let stream = drctl.start(["stream"]);
        for round in 0..8u64 {
            let running = drctl.start(["standby"]);
            source.exec(&format!("CALL shop.fill({round}, 50)"));
            std::thread::sleep(Duration::from_millis(100 + 400 * round));
            println!("{round}");
            running.signal(if round % 3 == 0 { Signal::TERM } else { Signal::KILL });
            running.wait();
        }
        source.exec(MIXED);
        let mut running = drctl.start(["standby"]);
        let last = match flavour {
            Flavour::MySql => "SELECT @@GLOBAL.gtid_executed",
            Flavour::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
        };
        let executed = match flavour {
            Flavour::MySql => "SELECT @@GLOBAL.gtid_executed",
            Flavour::MariaDb => "SELECT @@GLOBAL.gtid_slave_pos",
        };
        within(Duration::from_secs(120), "the standby has everything", || {
            assert!(!running.has_ended());
            source.value(last) == standby.value(executed)
        });
        assert_same(&source, &standby);
        running.signal(Signal::TERM);
        running.wait().ok();
        stream.signal(Signal::TERM);
        stream.wait().ok();
    }
);

on_both!(
    fn a_server_that_is_not_empty_is_refused(flavour) {
        let (source, standby, drctl) = sides(flavour);
        drctl.run(["standby", "--once", "--into", &source.url()]).refused(9, &["not empty", "shop"]);
        standby.exec("CREATE DATABASE other");
        drctl.run(["standby", "--once"]).refused(9, &["not empty", "other"]);
        assert_eq!(standby.value("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name IN ('other', 'shop')"), "1");
    }
);

on_both!(
    fn a_standby_behind_a_gap_is_built_anew_from_the_next_backup(flavour) {
        let (source, standby, drctl) = sides(flavour);
        drctl.run(["standby", "--once"]).ok();
        // What is purged before it was archived is lost to the log.
        source.exec("CALL shop.fill(2, 10); FLUSH BINARY LOGS; CALL shop.fill(3, 10); FLUSH BINARY LOGS");
        purge_all_but_newest(&source);
        source.exec("CALL shop.fill(4, 10)");
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["standby", "--once"]).refused(9, &["the log goes on in timeline", "gap"]);
        assert_eq!(status(&drctl)["state"], "gap");

        source.exec("CREATE DATABASE late; CREATE TABLE late.t (a INT PRIMARY KEY)");
        drctl.run(["backup"]).ok();
        source.exec("INSERT INTO late.t VALUES (1); CALL shop.fill(5, 10)");
        drctl.run(["stream", "--once"]).ok();
        let mut running = drctl.start(["standby"]);
        within(Duration::from_secs(120), "the standby is built anew", || {
            assert!(!running.has_ended());
            standby.try_exec("SELECT a FROM late.t").is_ok_and(|rows| rows.contains('1'))
        });
        running.signal(Signal::TERM);
        running.wait().ok();
        drctl.run(["standby", "--once"]).ok();
        assert_same(&source, &standby);
    }
);
