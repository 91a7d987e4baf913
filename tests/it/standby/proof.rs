//! The comparison with a newer backup.

use std::time::Duration;

use rustix::process::Signal;

use super::{assert_same, sides, status};
use crate::on_both;
use crate::replay::MIXED;
use crate::support::Flavour;
use crate::support::wait::within;

on_both!(
    fn a_standby_at_the_place_of_a_newer_backup_is_compared_with_it(flavour) {
        let (source, standby, drctl) = sides(flavour);
        drctl.run(["standby", "--once"]).ok();
        source.exec("CREATE USER fred; GRANT ALL ON *.* TO fred");
        source.exec(MIXED);
        source.exec(
            "CREATE DEFINER = fred VIEW shop.seen AS SELECT id FROM shop.orders;
             CREATE EVENT shop.nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.audit;
             CREATE EVENT shop.never ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM shop.audit",
        );
        drctl.run(["stream", "--once"]).ok();
        let made = drctl.run(["backup", "--output", "json"]).ok().json();
        drctl.run(["standby", "--once"]).ok();
        // The log is applied first, and the backup is there when it is looked for next.
        drctl.run(["standby", "--once"]).ok();
        let said = status(&drctl);
        println!("{said:#}");
        assert_eq!(said["compared"]["equal"], true);
        assert_eq!(said["compared"]["backup"], made["id"]);
        assert_eq!(said["backup"], made["id"], "it counts as built from that one");
        assert_same(&source, &standby);

        // What somebody changed behind its back is found.
        let lifted = match flavour {
            Flavour::MySql => "SET GLOBAL super_read_only = OFF; SET sql_log_bin = 0",
            Flavour::MariaDb => "SET sql_log_bin = 0",
        };
        standby.exec(&format!("{lifted}; UPDATE shop.orders SET n = n + 1 WHERE id = 7"));
        source.exec("CALL shop.fill(9, 3)");
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["standby", "--once"]).ok();
        drctl.run(["backup"]).ok();
        drctl.run(["standby", "--once"]).ok();
        let said = status(&drctl);
        assert_eq!(said["compared"]["equal"], false, "{said:#}");
        assert!(said["compared"]["differences"].as_str().unwrap().contains("orders"), "{said:#}");
    }
);

on_both!(
    fn at_its_time_a_standby_waits_for_the_next_backup(flavour) {
        let (source, standby, drctl) = sides(flavour);
        let drctl = drctl
            .env("DRCTL_STANDBY_POLL_SECONDS", "1")
            .env("DRCTL_STREAM_CUT_SECONDS", "1")
            .env("DRCTL_SCHEDULE_STANDBY", "@every 15s");
        let stream = drctl.start(["stream"]);
        let mut running = drctl.start(["standby"]);
        let is = |state: &str| {
            let json = std::fs::read_to_string(drctl.store_dir().join("shop/standby.json"));
            json.is_ok_and(|json| json.contains(&format!("\"state\": \"{state}\"")))
        };
        within(Duration::from_secs(90), "the standby waits", || is("waiting"));
        source.exec("CALL shop.fill(2, 50)");
        let made = drctl.run(["backup", "--output", "json"]).ok().json();
        // The place of the backup is in the midst of what is archived.
        source.exec("CALL shop.fill(3, 50)");
        within(Duration::from_secs(90), "the standby is compared", || {
            assert!(!running.has_ended());
            status(&drctl)["compared"]["backup"] == made["id"]
        });
        assert_eq!(status(&drctl)["compared"]["equal"], true, "{:#}", status(&drctl));
        running.signal(Signal::TERM);
        running.wait().ok();
        stream.signal(Signal::TERM);
        stream.wait().ok();
        let drctl = drctl.without("DRCTL_SCHEDULE_STANDBY");
        drctl.run(["standby", "--once"]).ok();
        assert_same(&source, &standby);
    }
);
