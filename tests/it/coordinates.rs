//! Where in the binary log a backup stands: file, position and GTIDs, with writes going on, held
//! against the rows that it holds.

use super::support::backup::in_front_of_dump;
use super::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// A server that logs with GTIDs.
fn logging(flavour: Flavour) -> Server {
    let options: &[&str] = match flavour {
        Flavour::MySql => &["--gtid-mode=ON", "--enforce-gtid-consistency=ON"],
        Flavour::MariaDb => &["--log-bin=b", "--server-id=7", "--gtid-strict-mode=ON"],
    };
    Server::start_with(flavour, options)
}

fn executed(server: &Server) -> String {
    let sql = match server.flavour() {
        Flavour::MySql => "SELECT @@global.gtid_executed",
        Flavour::MariaDb => "SELECT @@global.gtid_binlog_pos",
    };
    server.exec(sql).split_whitespace().collect()
}

/// How many transactions a set of one interval, or a MariaDB position, stands for.
fn count(set: &str) -> u64 {
    let digits = set.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap_or(0)
}

/// Rows that come one a transaction, for as long as the server runs.
const WRITER: &str =
    "CREATE DATABASE d; CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT);
    CREATE TABLE d.filler (v VARCHAR(1000)); INSERT INTO d.filler VALUES (REPEAT('x', 1000));
    INSERT INTO d.filler SELECT a.v FROM d.filler a, information_schema.character_sets b,
        information_schema.character_sets c;
\nDELIMITER //\n
    CREATE PROCEDURE d.write_on() LOOP INSERT INTO d.t (v) VALUES (1); END LOOP//
    CREATE PROCEDURE d.rotate() LOOP FLUSH BINARY LOGS; DO SLEEP(0.02); END LOOP//\nDELIMITER ;\n";

on_both!(
    fn the_gtids_are_those_of_the_snapshot_and_come_back_with_no_log_turned_off(flavour) {
        let source = logging(flavour);
        source.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT); INSERT INTO d.t VALUES (1),(2)");
        let (into, plain) = (logging(flavour), logging(flavour));
        let drctl = Drctl::new("quiet").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        let shown = drctl.run(["show", "--latest", "--output", "json"]).ok().json();
        let gtid = shown["coordinates"]["gtid"].as_str().unwrap().to_owned();
        assert_eq!(gtid, executed(&source));
        let page = drctl.run(["show", "--latest"]).ok().stdout;
        assert!(page.contains(&format!("GTID {gtid}")), "{page}");
        assert!(!shown["warnings"].to_string().contains("GTID"), "{shown}");

        drctl.run(["restore", "--latest"]).ok();
        let sql = drctl.run(["cat", "--latest"]).ok().stdout;
        for word in ["SQL_LOG_BIN", "GTID_PURGED"] {
            assert!(!sql.to_uppercase().contains(word), "{word}");
        }
        let before = count(&executed(&plain));
        plain.exec(&sql);
        assert!(count(&executed(&plain)) > before, "replicas of it follow");
        for server in [&into, &plain] {
            assert_eq!(server.exec("SELECT COUNT(*) FROM d.t").trim(), "2");
        }
    }
);

on_both!(
    fn the_gtids_fit_the_rows_while_writes_go_on(flavour) {
        let source = logging(flavour);
        source.exec(WRITER);
        let before = count(&executed(&source));
        let filler: u64 = source.exec("SELECT COUNT(*) FROM d.filler").trim().parse().unwrap();
        let mut writer = source.session();
        writer.send("CALL d.write_on()");
        // Logs that end between the snapshot and the question.
        let mut rotator = source.session();
        rotator.send("CALL d.rotate()");
        let drctl = Drctl::new("busy").source(&source);
        for _ in 0..3 {
            drctl.run(["backup"]).ok();
            let shown = drctl.run(["show", "--latest", "--output", "json"]).ok().json();
            let gtid = shown["coordinates"]["gtid"].as_str();
            let gtid = gtid.unwrap_or_else(|| panic!("{}", shown["warnings"]));
            let rows = shown["totals"]["rows"].as_u64().unwrap() - filler;
            assert!(rows > 0);
            assert_eq!(count(gtid), before + rows, "{gtid}");
        }
    }
);

#[test]
fn writes_that_cannot_be_told_apart_leave_the_gtids_out_with_a_warning() {
    need!(MySql);
    let source = logging(Flavour::MySql);
    source.exec(WRITER);
    source.account(
        "poor",
        "pw",
        &["SELECT, SHOW VIEW, TRIGGER, EVENT, SHOW_ROUTINE, PROCESS, RELOAD, REPLICATION CLIENT ON *.*"],
    );
    let mut writer = source.session();
    writer.send("CALL d.write_on()");
    let drctl = Drctl::new("poor")
        .source(&source)
        .env("DRCTL_SOURCE_READER", "mysqldump")
        .env("DRCTL_SOURCE_URL", &source.url_as("poor"))
        .env("DRCTL_SOURCE_PASSWORD", "pw");
    drctl.run(["backup"]).ok();
    let shown = drctl
        .run(["show", "--latest", "--output", "json"])
        .ok()
        .json();
    assert!(shown["coordinates"]["position"].as_u64().unwrap() > 0);
    assert_eq!(shown["coordinates"]["gtid"], serde_json::Value::Null);
    let warnings = shown["warnings"].to_string();
    println!("{warnings}");
    assert!(warnings.contains("lacks REPLICATION SLAVE"), "{warnings}");
}

#[test]
fn a_host_that_refuses_the_global_read_lock_gets_a_backup_without_coordinates() {
    need!(MySql);
    let source = logging(Flavour::MySql);
    source.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT); INSERT INTO d.t VALUES (1)");
    // Hosted servers say so to an account that holds RELOAD; recorded from documentation.
    let refusal = "case \"$*\" in *--source-data*)
        echo \"mysqldump: Couldn't execute 'FLUSH TABLES WITH READ LOCK': Access denied for user 'admin'@'%' (using password: YES) (1045)\" >&2
        exit 2;;
        esac
        real \"$@\"";
    let hosted = |name| {
        let drctl = Drctl::new(name)
            .source(&source)
            .env("DRCTL_SOURCE_READER", "mysqldump");
        in_front_of_dump(Flavour::MySql, drctl, "SOURCE", "", refusal)
    };
    let drctl = hosted("auto");
    drctl.run(["backup"]).ok();
    let shown = drctl
        .run(["show", "--latest", "--output", "json"])
        .ok()
        .json();
    assert!(shown["coordinates"].is_null(), "{shown}");
    let warnings = shown["warnings"].to_string();
    assert!(warnings.contains("refuses the global read lock"), "{shown}");

    let drctl = hosted("required").env("DRCTL_BACKUP_COORDINATES", "require");
    drctl
        .run(["backup"])
        .refused(4, &["READ LOCK", "backup.coordinates to auto"]);
    drctl.run(["show", "--latest"]).fails(3, "no backup");
}
