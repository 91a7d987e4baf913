//! Rows and definitions that hang on the session that made them: they come back as they were, or are named.

use std::process::Command;

use drctl::apply::lane::Lane;
use drctl::apply::look::control_config;
use drctl::apply::prove::computed_otherwise;
use drctl::cancel::Cancel;
use drctl::sql::computed::{self, Needs};
use drctl::sql::statement::ObjectId;

use super::Case;
use crate::apply_archive::into;
use crate::apply_restore::block_on;
use crate::need;
use crate::support::{Drctl, Flavour, Server};

/// What every client of the server is given, and what would end a restore or change what it makes.
const POISON: &[&str] = &[
    "--completion-type=RELEASE",
    "--transaction-read-only=ON",
    "--autocommit=OFF",
    "--loose-sql-safe-updates=ON",
    "--explicit-defaults-for-timestamp=OFF",
    "--lock-wait-timeout=1",
    "--innodb-lock-wait-timeout=1",
    "--loose-max-statement-time=1",
    "--loose-max-execution-time=1000",
    "--loose-alter-algorithm=INSTANT",
    "--loose-innodb-compression-default=ON",
    "--loose-sql-require-primary-key=ON",
    "--loose-sql-generate-invisible-primary-key=ON",
    "--loose-lc-time-names=de_DE",
    "--loose-div-precision-increment=9",
];

/// Loads a time zone into a server as its administrator would.
fn load_zone(server: &Server, zone: &str) {
    let program = server.flavour().tzinfo_bin();
    let printed = Command::new(program)
        .args([&format!("/usr/share/zoneinfo/{zone}"), zone])
        .output()
        .expect("the program of the server runs");
    let sql = String::from_utf8(printed.stdout).expect("SQL");
    server.exec(&format!("USE mysql; {sql}"));
}

/// Loads one of the cases.
fn load(server: &Server, case: &str) {
    server.exec_file(&super::file(case));
}

#[test]
fn values_computed_in_a_server_s_time_zone_come_back() {
    need!(MariaDb);
    need!(MySql);
    for flavour in Flavour::ALL {
        Case::load(flavour, "gencol_zone", &["--default-time-zone=+02:00"]).comes_back();
    }
}

#[test]
fn rows_that_pass_a_check_in_their_own_time_zone_come_back() {
    need!(MariaDb);
    need!(MySql);
    for flavour in Flavour::ALL {
        Case::load(flavour, "check_session", &[]).comes_back();
    }
}

#[test]
fn what_is_computed_from_any_session_variable_comes_back() {
    need!(MariaDb);
    need!(MySql);
    Case::load(Flavour::MySql, "computed", &[]).comes_back();
}

#[test]
fn checks_that_an_alter_would_reword_keep_their_words() {
    need!(MariaDb);
    need!(MySql);
    Case::load(Flavour::MySql, "check_latin1", &[]).comes_back();
    Case::load(Flavour::MySql, "reworded", &[]).comes_back();
}

#[test]
fn definitions_that_only_a_session_allowed_come_back() {
    need!(MariaDb);
    need!(MySql);
    Case::load(Flavour::MySql, "rowsize", &[]).comes_back();
    Case::load(Flavour::MySql, "fk_nonstandard", &[]).comes_back();
}

#[test]
fn rows_of_several_sessions_are_named_before_they_are_dumped() {
    need!(MariaDb);
    need!(MySql);
    let case = Case::load(Flavour::MySql, "gencol_zone", &[]);
    case.source
        .exec("SET time_zone = '-12:00'; INSERT INTO gencol_zone.orders (id, created) VALUES (3, '2026-06-30 23:00:00')");
    let line = "gencol_zone.orders.day: 1 row with what no one session setting gives";
    let doctor = case.drctl.run(["doctor"]);
    assert!(doctor.stdout.contains(line), "{doctor:#?}");
    case.drctl.run(["backup"]).ok();
    let shown = case.drctl.run(["show", "--latest"]).ok();
    assert!(shown.stdout.contains(line), "{shown:#?}");
    case.passes_drills();
}

#[test]
fn a_server_s_settings_for_its_clients_do_no_harm_to_a_restore() {
    need!(MariaDb);
    need!(MySql);
    for (flavour, case) in [
        (Flavour::MySql, "computed"),
        (Flavour::MariaDb, "gencol_zone"),
    ] {
        let source = Server::start(flavour);
        let into = Server::start_with(flavour, POISON);
        let drctl = Drctl::new("case").source(&source).into(&into);
        load(&source, case);
        source.exec("CREATE DATABASE more; CREATE TABLE more.t (a TIMESTAMP NOT NULL, b TIMESTAMP NULL, KEY (b)); INSERT INTO more.t VALUES ('2026-01-01 00:00:00', NULL)");
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest"]).ok();
    }
}

#[test]
fn what_no_session_can_change_is_named_by_the_plan() {
    need!(MariaDb);
    need!(MySql);
    let source = Server::start(Flavour::MySql);
    source.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB");
    let mut drctl = Drctl::new("case").source(&source);
    drctl.run(["backup"]).ok();
    for (option, name) in [
        (
            "--innodb-default-row-format=compact",
            "innodb_default_row_format",
        ),
        (
            "--disabled-storage-engines=InnoDB",
            "disabled_storage_engines",
        ),
    ] {
        let into = Server::start_with(Flavour::MySql, &[option]);
        drctl = drctl.into(&into);
        drctl.run(["restore", "--latest"]).fails(9, name);
    }
}

#[test]
fn what_a_server_lacks_is_named_before_anything_is_touched() {
    need!(MariaDb);
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    load_zone(&case.source, "Europe/Berlin");
    for name in ["tz_events", "custom_srs"] {
        load(&case.source, name);
    }
    case.drctl.run(["backup"]).ok();
    let lacking = [
        "the time zone Europe/Berlin",
        "spatial reference system 1999999",
    ];
    let refused = case.drctl.run(["restore", "--latest"]);
    refused.refused(9, &lacking);
    assert!(
        case.into
            .query("SHOW DATABASES LIKE 'tz_events'")
            .is_empty()
    );
}

#[test]
fn a_scratch_server_gets_the_spatial_reference_systems_of_the_backup() {
    need!(MySql);
    let case = Case::load(Flavour::MySql, "custom_srs", &[]);
    case.drctl.run(["backup"]).ok();
    case.passes_drills();
}

#[test]
fn a_scratch_server_gets_the_time_zones_of_the_backup() {
    need!(MariaDb);
    need!(MySql);
    for flavour in Flavour::ALL {
        let case = Case::empty(flavour, &[]);
        load_zone(&case.source, "Europe/Berlin");
        load(&case.source, "tz_events");
        case.drctl.run(["backup"]).ok();
        case.passes_drills();
    }
}

#[test]
fn values_that_were_computed_otherwise_are_found() {
    need!(MariaDb);
    need!(MySql);
    for flavour in Flavour::ALL {
        let server = Server::start(flavour);
        server.exec(
            "CREATE DATABASE d; SET time_zone = '+09:00'; \
             CREATE TABLE d.t (id INT PRIMARY KEY, ts TIMESTAMP NULL, h INT AS (HOUR(ts)) STORED); \
             INSERT INTO d.t (id, ts) VALUES (1, '2026-01-01 03:00:00')",
        );
        let create = "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `ts` timestamp NULL DEFAULT NULL,\n  \
             `h` int GENERATED ALWAYS AS (hour(`ts`)) STORED,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB";
        let table = ObjectId::table("d", "t");
        let expressions = computed::of_table(create.as_bytes());
        assert_eq!(expressions.len(), 1);
        for (zone, different) in [("+09:00", 0), ("+00:00", 1)] {
            let needs = Needs {
                settings: [("time_zone".to_owned(), zone.to_owned())].into(),
                ..Needs::default()
            };
            let needs = [(table.clone(), needs)].into();
            let computed = [(table.clone(), expressions.clone())].into();
            let found = block_on(async {
                let config = control_config(&into(&server), true, &Cancel::default());
                let mut lane = Lane::open(config).await.unwrap();
                computed_otherwise(&mut lane, &needs, &computed)
                    .await
                    .unwrap()
            });
            assert_eq!(found.len(), different, "{flavour:?} {zone}");
        }
    }
}
