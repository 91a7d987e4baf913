//! Drills: a backup verified in a scratch server that leaves nothing behind, and everything that a drill has
//! to detect, by the real `drctl verify`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::support::backup::in_front_of_dump;
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// A table with every clause of a definition, and one object of each other kind.
pub const SHOP: &str = "
    CREATE DATABASE shop; USE shop;
    CREATE TABLE customer (id INT PRIMARY KEY);
    INSERT customer VALUES (1), (2);
    CREATE TABLE t (
      id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL DEFAULT 1,
      name VARCHAR(20) CHARACTER SET latin1 NOT NULL, f DOUBLE,
      KEY by_name (name), CONSTRAINT fk FOREIGN KEY (customer) REFERENCES customer (id)
    ) AUTO_INCREMENT = 100;
    INSERT t (name) VALUES ('a'), ('b'), ('c');
    CREATE TABLE log (line TEXT); INSERT log VALUES ('x'), ('x'), ('y');
    CREATE VIEW v AS SELECT name FROM t;
    CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.name = UPPER(NEW.name);
    CREATE PROCEDURE p() SELECT 1;
    CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1;
    CREATE EVENT e ON SCHEDULE EVERY 1 HOUR STARTS '2037-01-01 00:00:00' DO INSERT log VALUES ('e');
    CREATE USER app@localhost IDENTIFIED BY 'hunter2hunter2'; GRANT SELECT ON shop.t TO app@localhost";

/// A backup of [`SHOP`] in its own store, its server, which must not be changed, and a directory for scratch
/// servers.
pub fn shop(flavour: Flavour) -> (&'static Server, Drctl) {
    static MARIADB: LazyLock<(Server, Drctl)> = LazyLock::new(|| own_shop(Flavour::MariaDb));
    static MYSQL: LazyLock<(Server, Drctl)> = LazyLock::new(|| own_shop(Flavour::MySql));
    let (source, backed_up) = match flavour {
        Flavour::MariaDb => &*MARIADB,
        Flavour::MySql => &*MYSQL,
    };
    let drctl = Drctl::new("shop").source(source);
    let copied = Command::new("cp")
        .arg("-rT")
        .args([backed_up.store_dir(), drctl.store_dir()])
        .status();
    assert!(copied.expect("cp runs").success());
    (source, of_flavour(drctl, flavour))
}

/// As [`shop`], with its own server and a new backup.
pub fn own_shop(flavour: Flavour) -> (Server, Drctl) {
    let source = Server::start(flavour);
    source.exec(SHOP);
    let drctl = of_flavour(Drctl::new("shop").source(&source), flavour);
    drctl.run(["backup"]).ok();
    (source, drctl)
}

/// Scratch servers of that flavour, in a private directory.
pub fn of_flavour(drctl: Drctl, flavour: Flavour) -> Drctl {
    let scratch = scratch_dir(&drctl);
    fs::create_dir_all(&scratch).unwrap();
    let server = flavour.server_bin();
    drctl
        .env("DRCTL_VERIFY_SCRATCH_DIR", &scratch.display().to_string())
        .env(
            "DRCTL_VERIFY_SERVER_DIRS",
            &server.parent().unwrap().display().to_string(),
        )
}

pub fn scratch_dir(drctl: &Drctl) -> PathBuf {
    drctl.home().join("s")
}

/// Checks that no directory and no process of a scratch server is left.
#[track_caller]
pub fn nothing_left(drctl: &Drctl) {
    let dir = scratch_dir(drctl);
    let left: Vec<_> = fs::read_dir(&dir).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let text = dir.display().to_string();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        let is_server = arguments.contains("--datadir=") && arguments.contains(&text);
        assert!(!is_server, "a scratch server still runs: {arguments}");
    }
}

/// A server program with the right version output that then runs `script`.
pub fn server_that(drctl: Drctl, script: &str) -> Drctl {
    let dir = drctl.home().join("servers");
    fs::create_dir_all(&dir).unwrap();
    let program = dir.join("mariadbd");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*|*--help*|*--bootstrap*) exec /usr/sbin/mariadbd \"$@\";; esac\n{script}\n"
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // The script is another program in each test: its cached data are not used again.
    drctl
        .env("DRCTL_VERIFY_SERVER_DIRS", &dir.display().to_string())
        .env("DRCTL_VERIFY_CACHE_DIR", "off")
}

/// The only report in the store, with its name.
#[track_caller]
pub fn report(drctl: &Drctl) -> (String, Value) {
    let mut files = Vec::new();
    crate::support::backup::walk(&drctl.store_dir(), &mut files);
    files.retain(|file| file.contains("/drills/"));
    let [file] = &files[..] else {
        panic!("not one report: {files:?}");
    };
    let name = file.rsplit('/').next().unwrap().to_owned();
    (
        name,
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap(),
    )
}

pub fn is_verified(drctl: &Drctl) -> bool {
    let list = drctl.run(["list", "--output", "json"]).ok().json();
    !list[0]["verified_at"].is_null()
}

/// Runs a script before a restored server is dumped for the comparison: `sql "…"` is its administrator.
pub fn meddle(drctl: Drctl, flavour: Flavour, script: &str) -> Drctl {
    let first = drctl.home().join("meddled");
    let _ = fs::remove_dir(&first);
    let script = format!(
        "if mkdir {} 2>/dev/null; then\n{script}\nfi\nreal \"$@\"",
        first.display()
    );
    in_front_of_dump(flavour, drctl, "INTO", "$1", &script)
}

on_both!(
    fn a_backup_is_verified_in_a_server_of_its_own_release_series(flavour) {
        let (source, drctl) = shop(flavour);
        assert!(!is_verified(&drctl));
        let run = drctl.run(["verify", "--latest"]).ok();
        for words in ["PASS", "8 rows of 3 tables", "stages", "RTO", "RPO", "local, relaxed"] {
            assert!(run.stdout.contains(words), "{words}: {run:#?}");
        }
        nothing_left(&drctl);
        assert!(is_verified(&drctl));
        let (name, report) = report(&drctl);
        assert!(name.ends_with("-restore-pass.json"), "{name}");
        assert_eq!((&report["verdict"], &report["exit"]), (&"pass".into(), &0.into()));
        assert_eq!(report["verified"]["rows"], 8);
        assert_eq!(report["differences_total"], 0);
        assert_eq!(report["rto"]["basis"], "at-least");
        let version = source.value("SELECT SUBSTRING_INDEX(VERSION(), '-', 1)");
        assert!(report["scratch"]["version"].as_str().unwrap().ends_with(&version));
        let stages: Vec<&str> =
            report["stages"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        for stage in ["locate", "boot", "data", "keys", "post-data", "compare", "checks", "teardown"] {
            assert!(stages.contains(&stage), "{stage} in {stages:?}");
        }
        let text = report.to_string();
        assert!(!text.contains("hunter2"), "a secret in the report");
    }
);

on_both!(
    fn the_plain_client_restores_the_same_and_the_server_counts_its_rows(flavour) {
        let (_source, drctl) = shop(flavour);
        let run = drctl.run(["verify", "--latest", "--path", "client"]).ok();
        assert!(run.stdout.contains("with the plain client"), "{run:#?}");
        nothing_left(&drctl);
        let (_, report) = report(&drctl);
        let checks = report["checks"].to_string();
        assert!(checks.contains("own count of every table") && checks.contains("8 rows"), "{checks}");
    }
);

on_both!(
    fn a_production_drill_has_the_durability_of_the_target_and_measures_the_rto(flavour) {
        let (_source, drctl) = shop(flavour);
        let run = drctl.run(["verify", "--latest", "--scratch-profile", "production"]).ok();
        assert!(run.stdout.contains("measured with the target's durability"), "{run:#?}");
        let (_, report) = report(&drctl);
        assert_eq!(report["rto"]["basis"], "measured");
        assert_eq!(report["scratch"]["profile"], "production");
        let settings = &report["scratch"]["settings"];
        assert_eq!(settings["innodb_flush_log_at_trx_commit"], "1", "{settings}");
    }
);

#[test]
fn the_archive_alone_is_verified_without_a_server_and_verifies_no_restore() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = drctl.env("DRCTL_VERIFY_SERVER_DIRS", "/nowhere");
    let run = drctl.run(["verify", "--latest", "--level", "archive"]).ok();
    assert!(
        run.stdout.contains("archive intact; not restored"),
        "{run:#?}"
    );
    assert!(!is_verified(&drctl));
    let (name, report) = report(&drctl);
    assert!(name.ends_with("-archive-pass.json"), "{name}");
    assert_eq!(report["verified"]["rows"], 8);
}

/// Changes a restored server before it is compared, and checks the error of the drill.
#[track_caller]
fn caught(flavour: Flavour, sql: &str, words: &[&str]) {
    let (_source, drctl) = shop(flavour);
    let drctl = meddle(drctl, flavour, &format!("sql \"{sql}\" || exit 9"));
    let run = drctl.run(["verify", "--latest"]).refused(7, words);
    assert!(run.stdout.contains("FAIL"), "{run:#?}");
    nothing_left(&drctl);
    assert!(!is_verified(&drctl));
    let (name, report) = report(&drctl);
    assert!(name.ends_with("-restore-fail.json"), "{name}");
    assert_eq!(report["exit"], 7);
    assert!(report["differences_total"].as_u64() > Some(0), "{report}");
}

macro_rules! caught {
    ($($name:ident: $sql:expr, $words:expr;)*) => {
        $(#[test] fn $name() {
            need!(MariaDb);
            caught(Flavour::MariaDb, $sql, $words);
        })*
    };
}

caught! {
    a_changed_row_is_caught: "UPDATE shop.log SET line = 'z' WHERE line = 'y'", &["1 with different rows", "table `shop`.`log`"];
    a_lost_row_is_caught: "DELETE FROM shop.log WHERE line = 'y'", &["table `shop`.`log`", "backup: 3 rows, server: 2 rows"];
    a_doubled_row_is_caught: "INSERT shop.log VALUES ('y')", &["table `shop`.`log`", "server: 4 rows"];
    a_row_exchanged_for_another_of_the_same_table_is_caught: "UPDATE shop.log SET line = 'y' LIMIT 1", &["table `shop`.`log`"];
    a_lost_trigger_is_caught: "DROP TRIGGER shop.tr", &["trigger `shop`.`tr`", "missing"];
    a_lost_procedure_is_caught: "DROP PROCEDURE shop.p", &["procedure `shop`.`p`", "missing"];
    a_lost_function_is_caught: "DROP FUNCTION shop.f", &["function `shop`.`f`", "missing"];
    a_lost_event_is_caught: "DROP EVENT shop.e", &["event `shop`.`e`", "missing"];
    a_lost_view_is_caught: "DROP VIEW shop.v", &["view `shop`.`v`", "missing"];
    a_lost_table_is_caught: "DROP TABLE shop.log", &["table `shop`.`log`"];
    a_lost_index_is_caught: "ALTER TABLE shop.t DROP KEY by_name", &["a different definition", "table `shop`.`t`"];
    a_lost_foreign_key_is_caught: "ALTER TABLE shop.t DROP FOREIGN KEY fk", &["table `shop`.`t`"];
    a_lost_default_is_caught: "ALTER TABLE shop.t ALTER customer DROP DEFAULT", &["table `shop`.`t`"];
    another_auto_increment_is_caught: "ALTER TABLE shop.t AUTO_INCREMENT = 500", &["table `shop`.`t`"];
    another_charset_is_caught: "ALTER TABLE shop.t MODIFY name VARCHAR(20) CHARACTER SET utf8mb4 NOT NULL", &["table `shop`.`t`"];
    another_body_is_caught: "DROP PROCEDURE shop.p; CREATE PROCEDURE shop.p() SELECT 2", &["procedure `shop`.`p`"];
    an_object_too_many_is_caught: "CREATE TABLE shop.extra (i INT)", &["table `shop`.`extra`"];
}

on_both!(
    fn values_computed_in_another_session_are_caught_on_both_paths(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE zoned; USE zoned; SET time_zone = '+09:00';
             CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, hour INT AS (HOUR(at)) STORED);
             INSERT INTO t (id, at) VALUES (1, '2026-01-01 03:00:00'), (2, NULL)",
        );
        let mut drctl = of_flavour(Drctl::new("shop").source(&source), flavour);
        drctl.run(["backup"]).ok();
        // Written twice, so that what was not computed does not change.
        let anew = "SET time_zone = '+00:00'; UPDATE zoned.t SET at = at + INTERVAL 1 DAY; \
                    UPDATE zoned.t SET at = at - INTERVAL 1 DAY";
        for path in ["lanes", "client"] {
            drctl.run(["verify", "--latest", "--path", path]).ok();
            drctl = meddle(drctl, flavour, &format!("sql \"{anew}\" || exit 9"));
            let run = drctl.run(["verify", "--latest", "--path", path]);
            let words = match flavour {
                // Its dump shows them.
                Flavour::MariaDb => ["with different rows", "table `zoned`.`t`", "(backup: "],
                Flavour::MySql => [
                    "1 with different rows",
                    "table `zoned`.`t`",
                    "computed values as stored on the target",
                ],
            };
            run.refused(7, &words);
            drctl = drctl.without("DRCTL_INTO_CLIENT_DIR");
        }
    }
);

#[test]
fn a_difference_of_definitions_is_shown_line_by_line() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = meddle(
        drctl,
        Flavour::MariaDb,
        "sql 'ALTER TABLE shop.t DROP KEY by_name'",
    );
    let run = drctl
        .run(["verify", "--latest"])
        .refused(7, &["table `shop`.`t`"]);
    assert!(
        run.stdout.contains("-  KEY `by_name` (`name`),"),
        "{run:#?}"
    );
    let (_, report) = report(&drctl);
    let diff = report["differences"][0]["diff"].as_str().unwrap();
    assert!(
        diff.contains("-  KEY `by_name`") && !diff.contains("\n+"),
        "{diff}"
    );
}

#[test]
fn a_changed_row_is_caught_on_mysql_too() {
    need!(MySql);
    let sql = "UPDATE shop.log SET line = 'z' WHERE line = 'y'";
    caught(Flavour::MySql, sql, &["table `shop`.`log`"]);
}

#[test]
fn a_lost_row_is_caught_with_the_plain_client_too() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = meddle(drctl, Flavour::MariaDb, "sql 'DELETE FROM shop.t LIMIT 1'");
    let words = [
        "the plain client",
        "table `shop`.`t`",
        "backup: 3 rows, server: 2 rows",
    ];
    drctl
        .run(["verify", "--latest", "--path", "client"])
        .refused(7, &words);
    nothing_left(&drctl);
}

#[test]
fn rows_that_the_scanner_does_not_see_are_counted_by_the_server() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    // The comparison's dump does not show the rows; the server's own count does.
    let hide = "sql \"INSERT shop.log VALUES ('hidden')\"\n\
                real \"$@\" | perl -0pe \"s/,\\n?\\('hidden'\\)//g\"";
    let drctl = in_front_of_dump(Flavour::MariaDb, drctl, "INTO", "$1", hide);
    let words = ["own count of table `shop`.`log`", "3 rows"];
    drctl
        .run(["verify", "--latest", "--path", "client"])
        .refused(7, &words);
}

/// Configures assertions by an environment variable.
fn assert_that(drctl: Drctl, checks: &Value) -> Drctl {
    drctl.env("DRCTL_VERIFY_CHECKS", &checks.to_string())
}

#[test]
fn assertions_that_are_met_pass_and_are_in_the_report() {
    need!(MariaDb);
    let (_source, drctl) = own_shop(Flavour::MariaDb);
    let drctl = assert_that(
        drctl.env("DRCTL_VERIFY_CHECK_TABLE", "true"),
        &serde_json::json!([
            {"name": "three names", "sql": "SELECT COUNT(*) FROM shop.t", "equals": 3},
            {"sql": "SELECT COUNT(*) FROM shop.log", "at_least": 2},
            {"name": "fresh", "sql": "SELECT UTC_TIMESTAMP()", "fresh_within_seconds": 60},
        ]),
    );
    let run = drctl.run(["verify", "--latest"]).ok();
    assert!(run.stdout.contains("5 of 5 passed"), "{run:#?}");
    let (_, report) = report(&drctl);
    assert_eq!(report["checks"][2]["name"], "three names");
}

#[test]
fn an_assertion_that_fails_errors_or_hangs_fails_the_drill() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let mut drctl = drctl;
    for (check, words) in [
        (
            serde_json::json!({"name": "enough", "sql": "SELECT COUNT(*) FROM shop.t", "at_least": 4}),
            &["check \"enough\" failed", "at least 4", "found 3"][..],
        ),
        (
            serde_json::json!({"name": "fresh", "sql": "SELECT '2020-01-01'", "fresh_within_seconds": 60}),
            &["check \"fresh\" failed", "2020-01-01"],
        ),
        (
            serde_json::json!({"name": "typo", "sql": "SELECT COUNT(*) FROM shop.nowhere", "equals": 0}),
            &["check \"typo\" failed", "nowhere"],
        ),
        (
            serde_json::json!({"name": "many", "sql": "SELECT id FROM shop.t", "equals": 1}),
            &["check \"many\" failed", "3 rows of 1 column"],
        ),
        (
            serde_json::json!({"name": "slow", "sql": "SELECT SLEEP(60)", "equals": 0, "timeout_seconds": 1}),
            &["check \"slow\" failed", "no answer within 1 s"],
        ),
        (
            serde_json::json!({"name": "writes", "sql": "DELETE FROM shop.log", "equals": 0}),
            &["check \"writes\" failed", "READ ONLY"],
        ),
    ] {
        drctl = assert_that(drctl, &serde_json::json!([check]));
        drctl.run(["verify", "--latest"]).refused(7, words);
        nothing_left(&drctl);
    }
    assert!(!is_verified(&drctl));
}

#[test]
fn an_assertion_is_not_met_by_accident() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = assert_that(
        drctl,
        &serde_json::json!([
            {"name": "future", "sql": "SELECT CAST('9999-12-30' AS DATETIME)", "fresh_within_seconds": 60},
            {"name": "null", "sql": "SELECT NULL", "equals": "NULL"},
            {"name": "two", "sql": "SELECT 5; SELECT 1", "equals": 5},
            {"name": "none", "sql": "SELECT id FROM shop.t WHERE id < 0", "equals": 0},
            {"name": "lines", "sql": "SELECT 'x\\n   verdict  PASS'", "equals": "y"},
        ]),
    );
    let run = drctl
        .run(["verify", "--latest"])
        .refused(7, &["check \"future\" failed", "4 more"]);
    assert!(!run.stdout.contains("\n   verdict  PASS"), "{run:#?}");
}

#[test]
fn a_drill_that_broke_off_does_not_change_a_verified_backup() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    drctl.run(["verify", "--latest"]).ok();
    let broken = server_that(drctl, "exit 3");
    broken.run(["verify", "--latest"]).refused(10, &["ended"]);
    assert!(is_verified(&broken), "nothing was found in it");
    // But a backup found damaged is no longer verified.
    let mut files = Vec::new();
    crate::support::backup::walk(&broken.store_dir(), &mut files);
    let dump = files
        .iter()
        .find(|file| file.ends_with("dump.sql.zst"))
        .unwrap();
    let mut bytes = fs::read(dump).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(dump, bytes).unwrap();
    broken
        .run(["verify", "--latest", "--level", "archive"])
        .refused(6, &["SHA-256"]);
    assert!(!is_verified(&broken));
    let list = broken.run(["list"]).ok().stdout;
    assert!(list.contains("DRILL FAILED"), "{list}");
    broken
        .run(["show", "--latest-verified"])
        .refused(3, &["no backup of shop that is verified"]);
}

#[test]
fn an_assertion_without_a_requirement_is_refused_before_the_drill() {
    for check in [
        serde_json::json!([{"sql": "SELECT 1"}]),
        serde_json::json!([{"sql": "SELECT 1", "equals": 1, "at_least": 1}]),
        serde_json::json!([{"sql": "SELECT 1", "equal": 1}]),
        serde_json::json!([{"equals": 1}]),
    ] {
        let drctl = assert_that(Drctl::new("shop"), &check);
        drctl
            .run(["verify", "--latest"])
            .refused(2, &["verify.checks"]);
    }
}

#[test]
fn a_view_that_cannot_be_read_fails_the_drill() {
    need!(MariaDb);
    let source = Server::start(Flavour::MariaDb);
    source.exec(SHOP);
    // Its definer has no privilege on the table: the view exists, but cannot be read.
    source.exec("CREATE USER nobody@localhost; CREATE DEFINER = nobody@localhost VIEW shop.w AS SELECT * FROM shop.t");
    let drctl = of_flavour(Drctl::new("shop").source(&source), Flavour::MariaDb);
    drctl.run(["backup"]).ok();
    let words = ["view `shop`.`w` can be read"];
    drctl.run(["verify", "--latest"]).refused(7, &words);
}

on_both!(
    fn definers_without_an_account_in_the_backup_are_created_and_reported(flavour) {
        let source = Server::start(flavour);
        source.exec(SHOP);
        source.exec(
            "CREATE USER gone@localhost; GRANT ALL ON shop.* TO gone@localhost;
             CREATE DEFINER = gone@localhost VIEW shop.w AS SELECT * FROM shop.t;
             CREATE DEFINER = gone@localhost PROCEDURE shop.q() SELECT 1",
        );
        let drctl = of_flavour(Drctl::new("shop").source(&source), flavour)
            .env("DRCTL_BACKUP_ACCOUNTS", "off");
        drctl.run(["backup"]).ok();
        let run = drctl.run(["verify", "--latest"]).ok();
        let words = ["has no account `gone`@`localhost`", "the drill created one", "--definer"];
        assert!(words.iter().all(|one| run.stdout.contains(one)), "{run:#?}");
        nothing_left(&drctl);
    }
);

#[test]
fn columns_that_a_dump_does_not_preserve_are_reported() {
    need!(MariaDb);
    let source = Server::start(Flavour::MariaDb);
    source.exec("CREATE DATABASE shop; CREATE TABLE shop.m (id INT PRIMARY KEY, weight FLOAT)");
    let drctl = of_flavour(Drctl::new("shop").source(&source), Flavour::MariaDb);
    drctl.run(["backup"]).ok();
    let run = drctl.run(["verify", "--latest"]).ok();
    assert!(run.stdout.contains("weight"), "{run:#?}");
    assert!(report(&drctl).1["warnings"].to_string().contains("weight"));
}

#[test]
fn nothing_to_verify_is_reported() {
    let drctl = Drctl::new("shop");
    drctl
        .run(["verify", "--latest"])
        .refused(3, &["shop has no backup", "drctl list"]);
    drctl.run(["verify"]).refused(2, &["no backup selected"]);
    drctl
        .run(["verify", "--oldest-unverified"])
        .refused(3, &["has no backup left to verify"]);
}

#[test]
fn the_oldest_unverified_is_chosen_until_all_are_verified() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    let newest_first = drctl.run(["list", "--output", "json"]).ok().json();
    for at in [1, 0] {
        let run = drctl
            .run(["verify", "--oldest-unverified", "--output", "json"])
            .ok();
        assert_eq!(run.json()["backup"], newest_first[at]["id"]);
    }
    drctl
        .run(["verify", "--oldest-unverified"])
        .refused(3, &["has no backup left to verify"]);
}

#[test]
fn a_missed_rto_is_reported_although_the_data_are_right() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = drctl.env("DRCTL_OBJECTIVES_RTO_SECONDS", "1");
    // A server whose boot takes longer than the objective.
    let drctl = server_that(drctl, "sleep 1.2; exec /usr/sbin/mariadbd \"$@\"");
    let production = ["verify", "--latest", "--scratch-profile", "production"];
    let words = [
        "the data are correct, but: RTO of 1.0 s missed",
        "a restore takes",
    ];
    let run = drctl.run(production).refused(8, &words);
    assert!(run.stdout.contains("MISSED"), "{run:#?}");
    nothing_left(&drctl);
    let (name, report) = report(&drctl);
    assert!(name.ends_with("-restore-missed.json"), "{name}");
    assert_eq!(
        (&report["exit"], &report["verdict"]),
        (&8.into(), &"missed".into())
    );
    assert!(is_verified(&drctl), "its data are right");
}

#[test]
fn a_gap_larger_than_the_rpo_is_reported_although_the_data_are_right() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = drctl
        .env("DRCTL_OBJECTIVES_RPO_SECONDS", "1")
        .env("DRCTL_OBJECTIVES_VERIFIED_RPO_SECONDS", "3600");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let words = ["the data are correct, but: RPO of 1.0 s missed", "to now"];
    drctl.run(["verify", "--latest"]).refused(8, &words);
    let (_, report) = report(&drctl);
    assert_eq!(report["rpo"]["objective_seconds"], 1.0);
    assert!(
        report["rpo"]["worst_seconds"].as_f64() > Some(1.0),
        "{report}"
    );
    assert!(is_verified(&drctl));
}

#[test]
fn every_nth_drill_uses_the_plain_client_or_the_targets_durability() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = drctl
        .env("DRCTL_VERIFY_CLIENT_PATH_EVERY", "2")
        .env("DRCTL_VERIFY_PRODUCTION_EVERY", "3");
    let drill = || {
        let report = drctl
            .run(["verify", "--latest", "--output", "json"])
            .ok()
            .json();
        let word = |value: &Value| value.as_str().unwrap_or("none").to_owned();
        (
            word(&report["path"]),
            word(&report["scratch"]["profile"]),
            word(&report["rto"]["basis"]),
        )
    };
    let expected = [
        ("lanes", "relaxed", "at-least"),
        ("client", "relaxed", "none"),
        ("lanes", "production", "measured"),
        ("client", "relaxed", "none"),
        ("lanes", "relaxed", "estimated"),
    ];
    for (path, profile, basis) in expected {
        assert_eq!(
            drill(),
            (path.to_owned(), profile.to_owned(), basis.to_owned())
        );
    }
}

#[test]
fn the_drill_history_page_is_self_contained_and_hides_no_failure() {
    need!(MariaDb);
    let source = Server::start(Flavour::MariaDb);
    source.exec(SHOP);
    source.exec("CREATE TABLE shop.`<script>x` (i INT PRIMARY KEY)");
    let drctl = of_flavour(Drctl::new("shop").source(&source), Flavour::MariaDb);
    drctl.run(["backup"]).ok();
    let empty = drctl.run(["report"]).ok().stdout;
    assert!(empty.contains("None yet"), "{empty}");
    drctl.run(["verify", "--latest"]).ok();
    let drctl = meddle(
        drctl,
        Flavour::MariaDb,
        "sql 'ALTER TABLE shop.`<script>x` ADD j INT'",
    );
    drctl.run(["verify", "--latest"]).refused(7, &["<script>x"]);
    let file = drctl.home().join("report.html");
    let run = drctl
        .run(["report", "--file", &file.display().to_string()])
        .ok();
    assert!(run.stdout.contains("2 drills of shop"), "{run:#?}");
    let page = fs::read_to_string(&file).unwrap();
    for words in [
        "1 of 2 verified",
        "FAIL",
        ">pass<",
        "8 rows of 4 tables",
        "SHA-256",
        "<svg",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(
        page.contains("&lt;script&gt;x") && !page.contains("<script"),
        "not escaped"
    );
    // Self-contained: no external resources.
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("src="));
    let all = drctl.run(["report", "--output", "json"]).ok().json();
    let verdicts: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|drill| drill["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["fail", "pass"]);
}
