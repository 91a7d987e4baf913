//! Rows and definitions that hang on the session that made them: they come back as they were, or are named.

use std::process::Command;

use drctl::restore::inspect::control_config;
use drctl::restore::passes::compare::computed_differences;
use drctl::restore::session::lane::Lane;
use drctl::sql::computed::{self, Needs};
use drctl::sql::statement::ObjectId;
use drctl::util::cancel::Cancel;

use super::Case;
use crate::apply_archive::into;
use crate::apply_restore::block_on;
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

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

on_both!(
    fn values_computed_in_the_time_zone_of_the_machine_come_back(flavour) {
        // Half an hour off, and with a summer of its own: not found among the offsets that are tried first.
        for zone in ["Asia/Kolkata", "Europe/Berlin"] {
            let source = Server::start_in(flavour, zone);
            load_zone(&source, zone);
            let case = Case {
                drctl: Drctl::new("case").source(&source),
                source,
                into: Server::start(flavour),
            };
            load_zone(&case.into, zone);
            load(&case.source, "gencol_zone");
            let drctl = case.drctl.into(&case.into);
            let case = Case { drctl, ..case };
            says_nothing_of_losses(&case);
            case.comes_back();
        }
    }
);

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

/// What a backup and doctor say where one setting gives all that a table holds.
#[track_caller]
fn says_nothing_of_losses(case: &Case) {
    let doctor = case.drctl.run(["doctor"]).ok();
    assert!(
        !doctor.stdout.contains("no session settings"),
        "{doctor:#?}"
    );
}

#[test]
fn what_hangs_on_a_setting_by_its_operands_its_type_or_its_literals_comes_back() {
    need!(MariaDb);
    need!(MySql);
    for (flavour, name) in [
        (Flavour::MySql, "computed_settings"),
        (Flavour::MariaDb, "computed_maria"),
    ] {
        let case = Case::load(flavour, name, &[]);
        says_nothing_of_losses(&case);
        case.comes_back();
    }
}

#[test]
fn rows_come_back_into_the_partitions_of_what_is_computed_from_them() {
    need!(MariaDb);
    need!(MySql);
    for (flavour, names) in [
        (
            Flavour::MySql,
            &["computed_partitions", "computed_lists"][..],
        ),
        (Flavour::MariaDb, &["computed_partitions"]),
    ] {
        let case = Case::empty(flavour, &["--default-time-zone=+02:00"]);
        for name in names {
            load(&case.source, name);
        }
        says_nothing_of_losses(&case);
        case.comes_back();
        let tables = case.into.query(
            "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables \
             WHERE table_schema LIKE 'computed\\_%' AND table_name <> 'differences'",
        );
        // That one's differences depend on who opened it first, where it was made too.
        assert!(tables.len() >= 4);
        for table in tables.concat() {
            let checked = case.into.query(&format!("CHECK TABLE {table} EXTENDED"));
            assert!(
                checked
                    .iter()
                    .all(|line| line.last().is_some_and(|said| said == "OK")),
                "{checked:?}"
            );
        }
        let found = case
            .into
            .value("SELECT COUNT(*) FROM computed_partitions.by_key WHERE d = 2");
        assert_eq!(found, "1");
    }
}

#[test]
fn partitions_that_the_dump_program_cannot_open_are_named_before_it_ends_at_them() {
    need!(MariaDb);
    need!(MySql);
    for flavour in Flavour::ALL {
        let case = Case::empty(flavour, &[]);
        case.source.exec(
            "CREATE DATABASE d; USE d; SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'; \
             CREATE TABLE t (a INT UNSIGNED) PARTITION BY RANGE (a - 10) \
             (PARTITION p0 VALUES LESS THAN (-5), PARTITION p1 VALUES LESS THAN MAXVALUE)",
        );
        let doctor = case.drctl.run(["doctor"]);
        assert!(
            doctor.code != 0 && doctor.stdout.contains("`d`.`t`"),
            "{doctor:#?}"
        );
    }
}

#[test]
fn rows_whose_computed_values_warn_come_back() {
    need!(MariaDb);
    need!(MySql);
    for flavour in Flavour::ALL {
        let case = Case::load(flavour, "warning_rows", &[]);
        says_nothing_of_losses(&case);
        case.comes_back();
    }
}

#[test]
fn a_setting_is_looked_for_where_another_column_of_the_table_has_none() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE DATABASE d; USE d; SET lc_time_names = 'de_DE', div_precision_increment = 9; \
         CREATE TABLE t (id INT PRIMARY KEY, day DATE, n VARCHAR(20) AS (DAYNAME(day)) STORED, \
         q VARCHAR(40) AS (id / 3) STORED); INSERT INTO t (id, day) VALUES (1, '2026-07-01'); \
         SET lc_time_names = 'fr_FR'; FLUSH TABLES; INSERT INTO t (id, day) VALUES (2, '2026-07-01')",
    );
    let doctor = case.drctl.run(["doctor"]);
    assert!(
        doctor.stdout.contains("d.t.n: 2 rows with values that no"),
        "{doctor:#?}"
    );
    assert!(!doctor.stdout.contains("d.t.q:"), "{doctor:#?}");
    case.drctl.run(["backup"]).ok();
    case.drctl.run(["restore", "--latest"]).ok();
    let quotients = case.into.query("SELECT q FROM d.t ORDER BY id");
    assert_eq!(
        quotients,
        case.source.query("SELECT q FROM d.t ORDER BY id")
    );
}

#[test]
fn what_was_read_without_backslash_escapes_is_named_before_it_is_lost() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        r"CREATE DATABASE d; USE d; SET sql_mode = 'NO_BACKSLASH_ESCAPES';
          CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), c INT AS (a LIKE 'a\_b') STORED, e INT AS (a LIKE a) STORED, p INT AS (a LIKE 'a%') STORED);
          FLUSH TABLES; INSERT INTO t (id, a) VALUES (1, 'a\_b'), (2, 'a_b');
          CREATE TABLE k (id INT PRIMARY KEY, a VARCHAR(20), CONSTRAINT c CHECK (a NOT LIKE '%\%')); INSERT INTO k VALUES (1, 'abc\_%')",
    );
    let doctor = case.drctl.run(["doctor"]);
    for named in ["d.t.e: ", "d.k: 1 row not passing the CHECK c"] {
        assert!(doctor.stdout.contains(named), "{named}: {doctor:#?}");
    }
    assert!(!doctor.stdout.contains("d.t.p: "), "{doctor:#?}");
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
    for flavour in Flavour::ALL {
        Case::load(flavour, "rowsize", &[]).comes_back();
    }
    Case::load(Flavour::MySql, "fk_nonstandard", &[]).comes_back();
    // MariaDB takes such a foreign key in any session, and does not know the variable.
    let sql = std::fs::read_to_string(super::file("fk_nonstandard")).expect("a case");
    let lines = sql.lines().filter(|line| !line.starts_with("SET SESSION"));
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(&lines.collect::<Vec<_>>().join("\n"));
    case.comes_back();
}

on_both!(
    fn rows_of_several_sessions_are_named_before_they_are_dumped(flavour) {
        let case = Case::load(flavour, "gencol_zone", &[]);
        case.source
            .exec("SET time_zone = '-12:00'; INSERT INTO gencol_zone.orders (id, created) VALUES (3, '2026-06-30 23:00:00')");
        let line = "gencol_zone.orders.day: 1 row with values that no session settings reproduce";
        let doctor = case.drctl.run(["doctor"]);
        assert!(doctor.stdout.contains(line), "{doctor:#?}");
        case.drctl.run(["backup"]).ok();
        let shown = case.drctl.run(["show", "--latest"]).ok();
        assert!(shown.stdout.contains(line), "{shown:#?}");
        let reported = "and the comparison reports them (exit 7)";
        match flavour {
            Flavour::MySql => {
                assert!(!shown.stdout.contains(reported), "{shown:#?}");
                case.passes_drills();
            }
            // Its dump shows what was stored.
            Flavour::MariaDb => {
                assert!(shown.stdout.contains(reported), "{shown:#?}");
                for path in ["lanes", "client"] {
                    let drill = case.drctl.run(["verify", "--latest", "--path", path]);
                    drill.refused(7, &["1 with different rows", "table `gencol_zone`.`orders`"]);
                }
                case.drctl.run(["restore", "--latest", "--no-compare"]).ok();
            }
        }
    }
);

#[test]
fn times_read_from_a_text_with_an_offset_come_back_as_the_zone_of_their_session_had_them() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &["--default-time-zone=+03:00"]);
    case.source.exec(
        "CREATE DATABASE z; USE z; CREATE TABLE c (id INT PRIMARY KEY, s VARCHAR(40), d DATETIME AS (CAST(s AS DATETIME)) STORED);
         CREATE TABLE l (id INT PRIMARY KEY, dt DATETIME, g INT AS (dt < '2020-01-01 00:00:00+05:00') STORED);
         CREATE TABLE k (id INT PRIMARY KEY, s VARCHAR(40), CHECK (CAST(s AS DATETIME) >= '2019-12-31 22:00:00'));
         INSERT INTO c (id, s) VALUES (1, '2020-01-01 00:00:00+05:00');
         INSERT INTO l (id, dt) VALUES (1, '2019-12-31 21:00:00'); INSERT INTO k VALUES (1, '2020-01-01 00:00:00+05:00')",
    );
    let doctor = case.drctl.run(["doctor"]).ok();
    assert!(
        !doctor.stdout.contains("session settings"),
        "{}",
        doctor.stdout
    );
    case.comes_back();
}

on_both!(
    fn values_by_the_zone_of_the_machine_are_named(flavour) {
        let source = Server::start_in(flavour, "Europe/Berlin");
        source.exec(
            "CREATE DATABASE st; CREATE TABLE st.t (id INT PRIMARY KEY, d DATETIME, u DATETIME AS (CONVERT_TZ(d,'SYSTEM','+00:00')) STORED)",
        );
        let drctl = Drctl::new("zone").source(&source);
        let doctor = drctl.run(["doctor"]).ok();
        let line = "st.t.u: CONVERT_TZ with 'SYSTEM' reads the time zone of the machine, here CE";
        assert!(doctor.stdout.contains(line), "{}", doctor.stdout);
    }
);

/// The same hour in two zones: both rows pass in none.
const CHECKED_IN_TWO_ZONES: &str = "CREATE DATABASE d; USE d;
    CREATE TABLE t (id INT PRIMARY KEY, ts TIMESTAMP NOT NULL, CONSTRAINT morning CHECK (HOUR(ts) BETWEEN 8 AND 9));
    SET time_zone = '+00:00'; INSERT INTO t VALUES (1, '2026-01-01 09:00:00');
    SET time_zone = '-07:00'; INSERT INTO t VALUES (2, '2026-01-01 09:00:00')";

#[test]
fn rows_that_pass_a_check_in_no_session_are_named_and_fail_a_restore_into_mysql() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(CHECKED_IN_TWO_ZONES);
    let line = "d.t: 1 row not passing the CHECK morning under any session settings";
    let doctor = case.drctl.run(["doctor"]).ok();
    assert!(doctor.stdout.contains(line), "{doctor:#?}");
    case.drctl.run(["backup"]).ok();
    let shown = case.drctl.run(["show", "--latest"]).ok();
    assert!(shown.stdout.contains(line), "{shown:#?}");
    let plan = case.drctl.run(["restore", "--latest", "--plan"]).ok();
    let warned = format!("warning  backup: lossy: {line}");
    assert_eq!(plan.stdout.matches(&warned).count(), 1, "{plan:#?}");
    let run = case.drctl.run(["restore", "--latest"]);
    run.refused(10, &["`d`.`t`", "morning"]);
    for path in ["lanes", "client"] {
        let drill = case.drctl.run(["verify", "--latest", "--path", path]);
        drill.refused(7, &["`d`.`t`", "morning"]);
    }
}

#[test]
fn rows_that_pass_no_check_come_back_where_the_server_lets_them_in() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(CHECKED_IN_TWO_ZONES);
    case.source.exec(
        "USE d; CREATE TABLE plain (id INT PRIMARY KEY, n INT, CONSTRAINT small CHECK (n < 10));
         SET check_constraint_checks = OFF; INSERT INTO plain VALUES (1, 99)",
    );
    let doctor = case.drctl.run(["doctor"]).ok();
    let line = "d.t: 1 row not passing the CHECK morning under any session settings";
    assert!(doctor.stdout.contains(line), "{doctor:#?}");
    case.comes_back();
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
    for flavour in Flavour::ALL {
        let source = Server::start(flavour);
        source.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB");
        let mut drctl = Drctl::new("case").source(&source);
        drctl.run(["backup"]).ok();
        for (option, name, by_doctor) in [
            (
                "--innodb-default-row-format=compact",
                "innodb_default_row_format",
                true,
            ),
            ("--innodb-force-recovery=1", "innodb_force_recovery", true),
            ("--read-only=ON", "read_only", true),
            // Which engines the backup needs, only a plan reads.
            (
                "--loose-disabled-storage-engines=InnoDB",
                "disabled_storage_engines",
                false,
            ),
        ] {
            if flavour == Flavour::MariaDb && name == "disabled_storage_engines" {
                continue;
            }
            let into = Server::start_with(flavour, &[option]);
            drctl = drctl.into(&into);
            for more in [&["--plan"][..], &[]] {
                let run = drctl.run([&["restore", "--latest"], more].concat());
                assert!(
                    run.stderr.contains(name) || run.stdout.contains(name),
                    "{run:#?}"
                );
                assert_eq!(run.code, 9, "{run:#?}");
            }
            let doctor = drctl.run(["doctor"]).ok();
            let mut lines = doctor.stdout.lines();
            let warned = lines.any(|line| line.starts_with("WARN") && line.contains(name));
            assert_eq!(warned, by_doctor, "{doctor:#?}");
        }
    }
}

#[test]
fn what_a_server_lacks_is_named_before_anything_is_touched() {
    need!(MariaDb);
    need!(MySql);
    for (flavour, cases, lacking) in [
        (
            Flavour::MySql,
            &["tz_events", "custom_srs"][..],
            &[
                "the time zone Europe/Berlin",
                "spatial reference system 1999999",
            ][..],
        ),
        (
            Flavour::MariaDb,
            &["tz_events"],
            &["the time zone Europe/Berlin"],
        ),
    ] {
        let case = Case::empty(flavour, &[]);
        load_zone(&case.source, "Europe/Berlin");
        for name in cases {
            load(&case.source, name);
        }
        case.drctl.run(["backup"]).ok();
        let refused = case.drctl.run(["restore", "--latest"]).refused(9, lacking);
        let made = case.into.query("SHOW DATABASES LIKE 'tz_events'");
        assert!(made.is_empty(), "{made:?}");
        // What the refusal says to do is enough.
        load_zone(&case.into, "Europe/Berlin");
        let advice = refused.error_line().split("; ");
        for create in advice.filter(|step| step.starts_with("CREATE ")) {
            case.into.exec(create);
        }
        case.comes_back();
    }
}

#[test]
fn a_scratch_server_gets_the_spatial_reference_systems_of_the_backup() {
    need!(MySql);
    let case = Case::load(Flavour::MySql, "custom_srs", &[]);
    case.drctl.run(["backup"]).ok();
    case.passes_drills();
}

#[test]
fn a_spatial_reference_system_with_another_definition_is_refused() {
    need!(MySql);
    // One of the user's own, and one that every server has, which the target replaced, under another name or its own.
    for (srid, of) in [
        ("1999999", ""),
        ("4326", ""),
        ("4326", "ORGANIZATION 'EPSG' IDENTIFIED BY 4326"),
    ] {
        let case = Case::empty(Flavour::MySql, &[]);
        let lunar = |radius: &str| {
            format!(
                "GEOGCS[\"Lunar\",DATUM[\"Lunar\",SPHEROID[\"Lunar\",{radius},0]],PRIMEM[\"P\",0],\
                 UNIT[\"degree\",0.017453292519943278],AXIS[\"Lat\",NORTH],AXIS[\"Lon\",EAST]]"
            )
        };
        let create = |name: &str, radius: &str| {
            format!(
                "CREATE OR REPLACE SPATIAL REFERENCE SYSTEM {srid} NAME '{name}' {of} DEFINITION '{}'",
                lunar(radius)
            )
        };
        case.source.exec(&create("Lunar", "1737400"));
        case.source.exec(&format!(
            "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, p POINT NOT NULL SRID {srid}, SPATIAL KEY (p));
             INSERT INTO d.t VALUES (1, ST_SRID(POINT(10, 20), {srid}))"
        ));
        case.drctl.run(["backup"]).ok();
        // A scratch server of drctl's own gets the definition of the backup.
        case.passes_drills();
        let differs = format!(
            "the destination defines the spatial reference system {srid} (used by table `d`.`t`) as "
        );
        if srid == "4326" {
            let as_installed = case.drctl.run(["restore", "--latest", "--plan"]);
            as_installed.refused(9, &[&differs, "WGS 84", "\"Lunar\",1737400,0"]);
        }
        case.into.exec(&create("Other", "1"));
        let words = [
            &differs,
            "\"Lunar\",1,0",
            "the target as ",
            "\"Lunar\",1737400,0",
        ];
        for more in [&["--plan"][..], &[]] {
            case.drctl
                .run([&["restore", "--latest"], more].concat())
                .refused(9, &words);
        }
        assert!(case.into.query("SHOW DATABASES LIKE 'd'").is_empty());
        // An external scratch server is refused for both ways to load it.
        case.into.exec("SET GLOBAL event_scheduler = OFF");
        let url = case.into.url();
        for path in ["lanes", "client"] {
            let verify = ["verify", "--latest", "--path", path, "--scratch", &url];
            case.drctl.run(verify).refused(9, &words);
        }
        // The name does not matter, the definition does.
        case.into.exec(&create("Same", "1737400"));
        case.drctl.run(["restore", "--latest", "--plan"]).ok();
        case.into.exec(&create("Other", "1"));
        let refused = case.drctl.run(["restore", "--latest"]).refused(9, &words);
        let line = refused.error_line();
        let (_, advice) = line.split_once("its definition: ").unwrap();
        case.into.exec(advice);
        case.comes_back();
    }
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
fn values_that_were_computed_differences_are_found() {
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
                computed_differences(&mut lane, &needs, &computed)
                    .await
                    .unwrap()
            });
            assert_eq!(found.len(), different, "{flavour:?} {zone}");
        }
    }
}

#[test]
fn tables_that_compare_times_with_numbers_come_back() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE DATABASE dn; USE dn;
         CREATE TABLE gen (id INT PRIMARY KEY, d DATETIME(6), t TIME, n INT, y DATE, s VARCHAR(20), KEY (n),
           recent INT AS (d >= 20200101000000) STORED, exact INT AS (d >= 20200101000000.5) VIRTUAL, KEY (exact),
           noon INT AS (t < -120000), old INT AS (y BETWEEN 20200101 AND '2021-01-01'), text INT AS (s <> '2020-01-01'),
           CONSTRAINT later CHECK (y > 20190101));
         INSERT INTO gen (id, d, t, n, y, s) VALUES (1, '2024-01-01', '-13:00:00', 1, '2020-05-05', 'x');
         CREATE TABLE fidx (id INT PRIMARY KEY, d TIMESTAMP NULL, KEY ((d > 20200101000000)), KEY ((d BETWEEN 20200101 AND 20210101)));
         INSERT INTO fidx (id, d) VALUES (1, '2024-01-01')",
    );
    // Not comes_back(): the definitions are printed otherwise.
    case.drctl.run(["backup"]).ok();
    let restored = case.drctl.run(["restore", "--latest"]).ok();
    assert!(!restored.stderr.contains("differs"), "{restored:#?}");
    case.passes_drills();
    let rows = "SELECT CONCAT_WS(' ', recent, exact, noon, old, text) FROM dn.gen";
    assert_eq!(case.into.value(rows), "1 1 1 1 1");
    assert_eq!(case.source.value(rows), "1 1 1 1 1");
}

#[test]
fn rows_with_columns_that_each_session_computes_come_back() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(
        "CREATE DATABASE vn; USE vn;
         CREATE TABLE loans (id INT PRIMARY KEY, due DATE, days_left INT AS (DATEDIFF(due, CURDATE())) VIRTUAL,
           age INT AS (TIMESTAMPDIFF(MICROSECOND, '2026-01-01', NOW(6)) MOD 1000000007) VIRTUAL, twice INT AS (age + 1) VIRTUAL,
           due_year INT AS (YEAR(due)) STORED, note VARCHAR(20) INVISIBLE DEFAULT 'it''s');
         INSERT INTO loans (id, due) VALUES (1, '2030-01-01'), (2, NULL);
         CREATE TABLE sessions (id INT PRIMARY KEY, c INT AS (CONNECTION_ID()) VIRTUAL, v VARCHAR(99) AS (VERSION()) VIRTUAL,
           u VARCHAR(99) AS (UUID()) VIRTUAL, r DOUBLE AS (RAND()) VIRTUAL);
         INSERT INTO sessions (id) VALUES (1), (2)",
    );
    case.drctl.run(["backup"]).ok();
    case.drctl.run(["restore", "--latest"]).ok();
    case.drctl
        .run(["restore", "--latest", "--rename", "vn=other"])
        .ok();
    case.passes_drills();
    let rows = |schema: &str| {
        format!(
            "SELECT GROUP_CONCAT(CONCAT_WS(' ', id, due, due_year, note) ORDER BY id) FROM {schema}.loans"
        )
    };
    for schema in ["vn", "other"] {
        assert_eq!(
            case.into.value(&rows(schema)),
            "1 2030-01-01 2030 it's,2 it's"
        );
    }
}
