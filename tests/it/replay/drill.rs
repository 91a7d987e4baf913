//! `drctl verify --level pitr` and `--level log`: a backup and the log behind it have to equal the next backup.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{BEFORE, logging};
use crate::drill::{nothing_left, of_flavour};
use crate::support::backup::walk;
use crate::support::drctl::Run;
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// What a source has besides, before its first backup.
const EVENTS: &str = "
    CREATE EVENT shop.stays ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM shop.audit;
    CREATE EVENT shop.turned_off ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM shop.audit;
    CREATE EVENT shop.goes ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM shop.audit;
    CREATE TABLE shop.dropped (a INT);
    CREATE DATABASE gone; CREATE TABLE gone.t (a INT);";

/// Definitions and data of every kind, all of them logged.
const CHANGES: &str = "
    USE shop;
    CREATE USER maker; GRANT SELECT ON shop.* TO maker;
    CREATE DEFINER = maker VIEW cheap AS SELECT id FROM orders WHERE n < 10;
    ALTER TABLE orders ADD COLUMN note VARCHAR(40) DEFAULT 'none', ADD KEY (n);
    CREATE TRIGGER lines_noted BEFORE DELETE ON lines_of FOR EACH ROW INSERT INTO audit (what) VALUES ('gone');
    DELETE FROM lines_of WHERE order_id = 3;
    CREATE TABLE later (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40));
    INSERT INTO later (v) VALUES ('a'), ('b');
    START TRANSACTION; INSERT INTO later (v) VALUES ('never'), ('never'); ROLLBACK;
    DROP TABLE dropped; DROP DATABASE gone;
    CREATE DATABASE other; CREATE TABLE other.t (a INT PRIMARY KEY); INSERT INTO other.t VALUES (1), (2);
    ALTER EVENT turned_off DISABLE; DROP EVENT goes;
    CREATE EVENT comes ON SCHEDULE EVERY 1 HOUR STARTS '2037-01-01 00:00:00' DO DELETE FROM later;
    SET time_zone = 'Europe/Berlin'; INSERT INTO orders (item, n, at) VALUES ('here', 1, NOW(6)); SET time_zone = DEFAULT;
    CALL fill(2, 100);";

/// A source with an archived log and a first backup.
fn source(flavour: Flavour) -> (Server, Drctl) {
    let source = logging(flavour);
    load_zone(&source, "Europe/Berlin");
    source.exec(&format!("{BEFORE}\n{EVENTS}"));
    let drctl = of_flavour(Drctl::new("shop").source(&source), flavour);
    backup_and_stream(&drctl);
    (source, drctl)
}

/// Loads a time zone, as an administrator would.
fn load_zone(server: &Server, zone: &str) {
    let program = server.flavour().tzinfo_bin();
    let file = format!("/usr/share/zoneinfo/{zone}");
    let printed = Command::new(program).args([&file, zone]).output();
    let sql = String::from_utf8(printed.unwrap().stdout).unwrap();
    server.exec(&format!("USE mysql; {sql}"));
}

#[track_caller]
fn backup_and_stream(drctl: &Drctl) {
    backup(drctl);
    drctl.run(["stream", "--once"]).ok();
}

/// A backup, accepted where it is suspect because of what was dropped.
#[track_caller]
fn backup(drctl: &Drctl) {
    let run = drctl.run(["backup"]);
    if run.code == 9 {
        drctl.run(["accept", ids(drctl).last().unwrap()]).ok();
    } else {
        run.ok();
    }
}

#[track_caller]
fn drill(drctl: &Drctl) -> Run {
    drctl.run(["verify", "--level", "pitr", "--output", "json"])
}

/// The ids of the backups, oldest first.
#[track_caller]
fn ids(drctl: &Drctl) -> Vec<String> {
    let list = drctl.run(["list", "--output", "json"]).ok().json();
    let text = |one: &serde_json::Value, field: &str| one[field].as_str().unwrap().to_owned();
    let mut all: Vec<(String, String)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(one, "snapshot_at"), text(one, "id")))
        .collect();
    // Ids of one second are in no order.
    all.sort();
    all.into_iter().map(|(_, id)| id).collect()
}

/// Whether a backup is listed as verified, and as failed.
#[track_caller]
fn marks(drctl: &Drctl, id: &str) -> (bool, bool) {
    let list = drctl.run(["list", "--output", "json"]).ok().json();
    let row = list.as_array().unwrap().iter().find(|row| row["id"] == id);
    let has = |name: &str| !row.expect("a backup")[name].is_null();
    (has("verified_at"), has("failed_at"))
}

/// Paths of the reports of a level.
fn reports(drctl: &Drctl, level: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(&drctl.store_dir(), &mut files);
    files.retain(|file| file.contains("/drills/") && file.contains(&format!("-{level}-")));
    files.sort();
    files.into_iter().map(PathBuf::from).collect()
}

fn read(report: &PathBuf) -> Value {
    serde_json::from_slice(&fs::read(report).unwrap()).unwrap()
}

fn segments(drctl: &Drctl) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(&drctl.store_dir().join("shop/log"), &mut files);
    files.retain(|file| file.ends_with(".zst"));
    files.sort();
    files.into_iter().map(PathBuf::from).collect()
}

on_both!(
    fn an_earlier_backup_and_the_log_behind_it_equal_the_newest_backup(flavour) {
        let (source, drctl) = source(flavour);
        source.exec(CHANGES);
        // The newest backup is made while rows are written.
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| source.exec("CALL shop.fill(3, 1500)"));
            backup(&drctl);
            writer.join().unwrap();
        });
        source.exec("DELETE FROM shop.orders WHERE id > 20");
        drctl.run(["stream", "--once"]).ok();
        let [earlier, newest] = &ids(&drctl)[..] else { panic!("not two backups") };

        let run = drill(&drctl).ok();
        let report = run.json();
        println!("{}\n{}", report["replay"], report["stages"]);
        assert_eq!(report["backup"], **earlier);
        assert_eq!((&report["level"], &report["verdict"]), (&"pitr".into(), &"pass".into()));
        let replay = &report["replay"];
        assert_eq!(replay["until_backup"], **newest);
        assert_eq!(replay["equal"], true);
        assert!(replay["transactions"].as_u64().unwrap() > 100, "{replay}");
        assert!(replay["bytes"].as_u64().unwrap() > 10_000, "{replay}");
        assert!(replay["compared"]["rows"].as_u64() > report["verified"]["rows"].as_u64());
        let refused = replay["refused"].to_string();
        assert!(refused.contains("CREATE USER") && refused.contains("GRANT"), "{refused}");
        assert_eq!(replay["refused_total"], 2);
        let stages: Vec<&str> = report["stages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stage| stage["name"].as_str().unwrap())
            .collect();
        let beyond = &replay["beyond"];
        assert!(beyond["transactions"].as_u64().unwrap() > 0 && beyond["until"].is_string(), "{replay}");
        for stage in ["find-log", "data", "compare", "replay", "compare-log", "checks", "replay-beyond", "teardown"] {
            assert!(stages.contains(&stage), "{stages:?}");
        }
        let seconds = |name: &str| {
            let stages = report["stages"].as_array().unwrap().iter();
            let stage = stages.filter(|stage| stage["name"] == name);
            stage.map(|stage| stage["seconds"].as_f64().unwrap()).sum::<f64>()
        };
        let rto = replay["rto_seconds"].as_f64().unwrap();
        assert!(rto > seconds("replay") + seconds("data"), "{rto}");
        let more = seconds("compare-log") + seconds("replay-beyond");
        assert!(rto < report["drill_seconds"].as_f64().unwrap() - more, "{rto}");
        nothing_left(&drctl);

        // The backup that was restored is verified; the one that the result was compared with is not.
        let [name] = &reports(&drctl, "pitr")[..] else { panic!("not one report") };
        assert!(name.to_string_lossy().contains(earlier.as_str()), "{name:?}");
        assert!(name.to_string_lossy().ends_with("-pitr-pass.json"), "{name:?}");
        assert_eq!(marks(&drctl, earlier), (true, false));
        assert_eq!(marks(&drctl, newest), (false, false));
        let text = drctl.run(["verify", "--level", "pitr", earlier]).ok().stdout;
        println!("{text}");
        assert!(text.contains("PASS: restored, and with the binary log equal to the newest backup"), "{text}");
        assert!(text.contains(&format!("equal to backup {newest}")), "{text}");
        assert!(text.contains("transactions/s"), "{text}");
        assert!(text.contains("not verified") && text.contains("behind the later backup"), "{text}");

        // By the programs that a restore by hand uses.
        let report = drctl.run(["verify", "--level", "pitr", "--path", "client", "--output", "json"]).ok().json();
        assert_eq!((&report["path"], &report["replay"]["equal"]), (&"client".into(), &true.into()));
        assert!(report["replay"]["beyond"]["transactions"].as_u64().unwrap() > 0, "{report}");

        // What is archived behind the newest backup cannot be replayed: the newest moment cannot be restored.
        source.exec(
            "SET sql_log_bin = 0; CREATE TABLE shop.unlogged (a INT); SET sql_log_bin = 1; \
             INSERT INTO shop.unlogged VALUES (1)",
        );
        drctl.run(["stream", "--once"]).ok();
        for path in ["lanes", "client"] {
            let run = drctl.run(["verify", "--level", "pitr", "--path", path]);
            run.fails(7, "the binary log behind the later backup cannot be replayed");
        }
        nothing_left(&drctl);
    }
);

on_both!(
    fn what_the_log_does_not_lead_to_fails_the_drill_and_is_named(flavour) {
        let (source, drctl) = source(flavour);
        source.exec(
            "SET sql_log_bin = 0;
             UPDATE shop.orders SET n = n + 1000 WHERE id = 7;
             CREATE EVENT shop.unlogged ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM shop.audit;
             SET sql_log_bin = 1;
             INSERT INTO shop.lines_of VALUES (7, 100)",
        );
        backup_and_stream(&drctl);
        let first = ids(&drctl)[0].clone();
        let run = drill(&drctl).fails(7, "2 objects differ");
        for named in ["table `shop`.`orders`", "`shop`.`unlogged`", &first] {
            assert!(run.stderr.contains(named), "{named}: {}", run.stderr);
        }
        assert!(!run.stderr.contains("lines_of"), "{}", run.stderr);
        let [report] = &reports(&drctl, "pitr")[..] else { panic!("not one report") };
        assert!(report.to_string_lossy().ends_with("-pitr-fail.json"), "{report:?}");
        let report = read(report);
        assert_eq!((&report["exit"], &report["differences_total"]), (&7.into(), &2.into()));
        assert_eq!(report["replay"]["equal"], false);
        let differing = report["differences"].to_string();
        assert!(differing.contains("orders") && differing.contains("unlogged"), "{differing}");
        // The backup itself was found equal to its dump before.
        assert_eq!(marks(&drctl, &first), (false, false));

        // A log that contradicts the data.
        source.exec(
            "SET sql_log_bin = 0; DELETE FROM shop.lines_of WHERE order_id = 7 AND n = 100; SET sql_log_bin = 1;
             INSERT INTO shop.lines_of VALUES (7, 100)",
        );
        backup_and_stream(&drctl);
        let run = drill(&drctl).fails(7, "cannot be replayed behind the backup");
        assert!(run.stderr.contains("lines_of"), "{}", run.stderr);
        // From the first backup on it is more of the same.
        drctl.run(["verify", "--level", "pitr", &first]).fails(7, "cannot be replayed behind the backup");
        nothing_left(&drctl);
    }
);

on_both!(
    fn a_damaged_log_is_found_with_and_without_a_server(flavour) {
        let (source, drctl) = source(flavour);
        for _ in 0..4 {
            source.exec("CALL shop.fill(2, 5)");
            drctl.run(["stream", "--once"]).ok();
        }
        backup_and_stream(&drctl);
        let cheap = || drctl.run(["verify", "--level", "log", "--output", "json"]);
        let run = cheap().ok();
        let report = run.json();
        println!("{report}");
        assert_eq!((&report["level"], &report["verdict"]), (&"log".into(), &"pass".into()));
        assert_eq!(report["log"]["timelines"], 1);
        assert_eq!(report["log"]["segments"], segments(&drctl).len());
        assert!(report["log"]["transactions"].as_u64().unwrap() >= 70, "{report}");
        let ids = ids(&drctl);
        assert_eq!(report["backup"], *ids[1]);
        assert_eq!(marks(&drctl, &ids[1]), (false, false), "it says nothing about a backup");
        let text = drctl.run(["verify", "--level", "log"]).ok().stdout;
        assert!(text.contains("PASS: binary log intact; not replayed"), "{text}");
        drctl.run(["verify", "--level", "log", &ids[0]]).fails(2, "verifies no backup");

        let segments = segments(&drctl);
        let one = &segments[segments.len() / 2];
        let whole = fs::read(one).unwrap();
        fs::remove_file(one).unwrap();
        drill(&drctl).fails(6, "is missing");
        cheap().fails(6, "is missing");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 4;
        fs::write(one, flipped).unwrap();
        drill(&drctl).fails(6, ";");
        cheap().fails(6, ";");
        fs::write(one, &whole).unwrap();
        cheap().ok();
        // What it once had up to the newest backup.
        let last = segments.last().unwrap();
        let end = fs::read(last).unwrap();
        fs::remove_file(last).unwrap();
        drill(&drctl).fails(6, "was archived up to");
        cheap().fails(6, "was archived up to");
        fs::write(last, end).unwrap();

        let pitr = reports(&drctl, "pitr");
        assert_eq!(pitr.len(), 2, "{pitr:?}");
        assert!(pitr.iter().all(|name| name.to_string_lossy().ends_with("-pitr-fail.json")), "{pitr:?}");
        let log = reports(&drctl, "log");
        assert_eq!(log.iter().filter(|name| name.to_string_lossy().ends_with("-log-fail.json")).count(), 3);
        assert_eq!(marks(&drctl, &ids[0]), (false, false));

        // A backup that is damaged itself is the one that failed.
        let mut files = Vec::new();
        walk(&drctl.store_dir().join("shop"), &mut files);
        let dump = files.iter().find(|file| file.contains(&ids[0]) && file.contains("/dump")).unwrap();
        let mut bytes = fs::read(dump).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(dump, bytes).unwrap();
        drill(&drctl).fails(6, ";");
        let [failed] = &reports(&drctl, "restore")[..] else { panic!("not one report") };
        assert!(failed.to_string_lossy().ends_with("-restore-fail.json"), "{failed:?}");
        assert_eq!(marks(&drctl, &ids[0]), (false, true));
    }
);

on_both!(
    fn a_newest_backup_that_the_log_does_not_reach_is_refused_with_the_reason(flavour) {
        let source = logging(flavour);
        source.exec(BEFORE);
        let drctl = of_flavour(Drctl::new("shop").source(&source), flavour);
        drctl.run(["backup"]).ok();
        drill(&drctl).fails(3, "no binary log of shop");
        drctl.run(["verify", "--level", "log"]).fails(3, "no binary log of shop");
        drctl.run(["stream", "--once"]).ok();
        drill(&drctl).fails(9, "there is no other usable one");
        drctl.run(["verify", "--level", "pitr", "--latest"]).fails(9, "nothing was committed between");
        source.exec("CALL shop.fill(2, 5)");
        drctl.run(["backup"]).ok();
        drill(&drctl).fails(9, "the log is archived up to");
        // A scheduled drill says so, and verifies the backup all the same.
        let drctl = drctl.env("DRCTL_VERIFY_PITR_EVERY", "1");
        let run = drctl.run(["verify", "--latest", "--output", "json"]).ok();
        let warnings = run.json()["warnings"].to_string();
        assert!(warnings.contains("the binary log was not verified") && warnings.contains("archived up to"), "{warnings}");
        let reset = match flavour {
            Flavour::MySql => "RESET BINARY LOGS AND GTIDS",
            Flavour::MariaDb => "RESET MASTER",
        };
        source.exec(&format!("{reset}; CALL shop.fill(2, 5)"));
        drctl.run(["stream", "--once"]).ok();
        backup_and_stream(&drctl);
        drill(&drctl).fails(9, "does not lead from an earlier backup to the newest one");
        assert!(reports(&drctl, "pitr").is_empty());
        nothing_left(&drctl);
    }
);

on_both!(
    fn every_nth_drill_is_followed_by_one_of_the_log(flavour) {
        let (source, drctl) = source(flavour);
        source.exec("CALL shop.fill(2, 5)");
        backup_and_stream(&drctl);
        let drctl = drctl.env("DRCTL_VERIFY_PITR_EVERY", "2");
        let run = || drctl.run(["verify", "--latest"]).ok().stdout;
        assert!(!run().contains("replayed"));
        assert!(reports(&drctl, "pitr").is_empty());
        let text = run();
        assert_eq!(text.matches("PASS").count(), 2, "{text}");
        assert!(text.contains("with the binary log equal to the newest backup"), "{text}");
        assert_eq!((reports(&drctl, "restore").len(), reports(&drctl, "pitr").len()), (2, 1));
        assert!(!run().contains("replayed"), "its turn is over");
        let ids = ids(&drctl);
        assert_eq!((marks(&drctl, &ids[0]), marks(&drctl, &ids[1])), ((true, false), (true, false)));
    }
);

on_both!(
    fn a_provided_server_is_used_again_and_left_empty(flavour) {
        let (source, drctl) = source(flavour);
        source.exec(CHANGES);
        backup_and_stream(&drctl);
        let options: &[&str] = match flavour {
            Flavour::MySql => &["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--event-scheduler=OFF"],
            Flavour::MariaDb => &["--log-bin=binlog"],
        };
        let scratch = Server::start_with(flavour, options);
        load_zone(&scratch, "Europe/Berlin");
        let schemas = || scratch.exec("SHOW DATABASES");
        let before = schemas();
        for _ in 0..2 {
            let run = drctl.run(["verify", "--level", "pitr", "--scratch", &scratch.url()]);
            let text = run.ok().stdout;
            assert!(text.contains("external"), "{text}");
            assert_eq!(schemas(), before);
        }
        // Also after a failure.
        source.exec(
            "SET sql_log_bin = 0; CREATE TABLE other.unlogged (a INT); SET sql_log_bin = 1; CREATE TABLE other.u (a INT)",
        );
        backup_and_stream(&drctl);
        let run = drctl.run(["verify", "--level", "pitr", "--scratch", &scratch.url()]);
        run.fails(7, "`other`.`unlogged`");
        assert_eq!(schemas(), before);
    }
);

#[test]
fn tables_in_tablespaces_pass_and_a_statement_that_needs_one_fails_no_log() {
    need!(MySql);
    let source = logging(Flavour::MySql);
    source.exec(
        "CREATE TABLESPACE ts; CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY) TABLESPACE ts;
         CREATE DATABASE r; CREATE TABLE r.t (id INT PRIMARY KEY); INSERT INTO r.t VALUES (1); ALTER SCHEMA r READ ONLY = 1",
    );
    let drctl = of_flavour(Drctl::new("shop").source(&source), Flavour::MySql);
    backup_and_stream(&drctl);
    source.exec("INSERT INTO d.t VALUES (1), (2)");
    backup_and_stream(&drctl);
    assert_eq!(drill(&drctl).ok().json()["verdict"], "pass");
    // What is logged is executed as it is.
    source.exec("CREATE TABLE d.u (id INT PRIMARY KEY) TABLESPACE ts");
    backup_and_stream(&drctl);
    let run = drill(&drctl).refused(10, &["3510"]);
    assert_eq!(run.json()["verdict"], "broken");
}
