//! Checks of a drill besides the comparison, with answers that tables and views do not usually give.

use std::time::Duration;

use crate::drill::{is_verified, meddle, nothing_left, of_flavour, report, shop};
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// A server on which these statements were executed, and a backup of it.
fn backed_up(flavour: Flavour, sql: &str) -> (Server, Drctl) {
    let source = Server::start(flavour);
    source.exec(sql);
    let drctl = of_flavour(Drctl::new("shop").source(&source), flavour)
        .env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
    drctl.run(["backup"]).ok();
    (source, drctl)
}

/// The server's own count, in the report of the only drill.
fn count(drctl: &Drctl) -> String {
    let (_, report) = report(drctl);
    let checks = report["checks"].as_array().unwrap();
    let count = checks
        .iter()
        .find(|check| check["name"].as_str().unwrap().contains("own count"));
    count.unwrap()["found"].as_str().unwrap().to_owned()
}

#[test]
fn the_history_of_a_table_is_counted_if_it_is_dumped() {
    need!(MariaDb);
    let (_source, drctl) = backed_up(
        Flavour::MariaDb,
        "CREATE DATABASE shop; CREATE TABLE shop.v (i INT) WITH SYSTEM VERSIONING;
         INSERT shop.v VALUES (1), (2), (3); UPDATE shop.v SET i = 4 WHERE i = 1; DELETE FROM shop.v WHERE i = 2;
         CREATE TABLE shop.t (i INT); INSERT shop.t VALUES (1)",
    );
    drctl.run(["verify", "--latest", "--path", "client"]).ok();
    assert_eq!(count(&drctl), "5 rows");
}

on_both!(
    fn tables_whose_rows_are_stored_elsewhere_are_not_counted(flavour) {
        let (_source, drctl) = backed_up(
            flavour,
            "CREATE DATABASE shop; USE shop;
             CREATE TABLE a (i INT) ENGINE = MyISAM; INSERT a VALUES (1), (2);
             CREATE TABLE both_of_them (i INT) ENGINE = MERGE UNION = (a)",
        );
        drctl.run(["verify", "--latest", "--path", "client"]).ok();
        assert_eq!(count(&drctl), "2 rows");
    }
);

#[test]
fn a_view_that_does_not_open_is_a_finding_and_blocks_nothing() {
    need!(MariaDb);
    let (_source, drctl) = backed_up(
        Flavour::MariaDb,
        "CREATE DATABASE shop; USE shop; CREATE TABLE t (i INT); INSERT t VALUES (1);
         CREATE ALGORITHM = TEMPTABLE VIEW slow AS SELECT SLEEP(1000) AS i;
         CREATE VIEW zz AS SELECT i FROM t",
    );
    // An external server is cleaned up by dropping what the view reads.
    let scratch = Server::start_with(Flavour::MariaDb, &["--event-scheduler=OFF"]);
    let drctl = drctl.env("DRCTL_VERIFY_SCRATCH", &scratch.url());
    let run = drctl.run(["verify", "--latest"]);
    assert!(run.took < Duration::from_secs(90), "{run:#?}");
    run.refused(
        7,
        &["view `shop`.`slow` can be read", "no answer within 60 s"],
    );
    assert!(!is_verified(&drctl));
    assert_eq!(
        scratch
            .value("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'shop'"),
        "0"
    );
}

#[test]
fn a_failed_drill_counts_as_a_turn_and_ordinary_ones_continue() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = drctl.env("DRCTL_VERIFY_CLIENT_PATH_EVERY", "2");
    drctl.run(["verify", "--latest"]).ok();
    let drctl = meddle(drctl, Flavour::MariaDb, "sql 'DELETE FROM shop.log'");
    let run = drctl.run(["verify", "--latest"]);
    assert!(run.stdout.contains("with the plain client"), "{run:#?}");
    run.refused(7, &["restored by the plain client differ"]);
    let run = drctl.run(["verify", "--latest"]).ok();
    assert!(!run.stdout.contains("with the plain client"), "{run:#?}");
    nothing_left(&drctl);
}
