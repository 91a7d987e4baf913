//! What is archived is what the server wrote.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use drctl::binlog::gtid::{Gtid, GtidSet};
use drctl::layout::TimelineId;
use drctl::store::Store;
use drctl::store::file::FileStore;
use drctl::stream::objects::Objects;
use drctl::stream::read::{Reader, file_behind};

use super::*;
use crate::on_both;

on_both!(
    fn what_the_server_wrote_comes_back_by_what_restore_txt_says(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        server.exec("CALL d.write(50); FLUSH BINARY LOGS; CALL d.write(50); ALTER TABLE d.t ADD w INT;
            BEGIN; UPDATE d.t SET w = id; DELETE FROM d.t WHERE id % 7 = 0; COMMIT;
            SET SESSION binlog_format = STATEMENT; UPDATE d.t SET w = 1 WHERE id = 1");
        let drctl = streamer(&server);
        drctl.run(["stream", "--once"]).ok();
        let first = segments(&drctl);
        // Nothing was written since: nothing is archived.
        drctl.run(["stream", "--once"]).ok();
        assert_eq!(segments(&drctl), first);
        let id = timelines(&drctl).remove(0);
        let again = files_again(&drctl, &id);

        // Replayed by the plain client, all of it is there.
        let plain = logging(flavour, &[]);
        let reader = match flavour {
            Flavour::MariaDb => "/usr/bin/mariadb-binlog".into(),
            Flavour::MySql => flavour.client_dir().join("mysqlbinlog"),
        };
        let sql = Command::new(reader)
            .args(["--no-defaults"])
            .args(names(&again).iter().map(|name| again.join(name)))
            .output()
            .unwrap();
        assert!(sql.status.success());
        let file = drctl.home().join("replay.sql");
        fs::write(&file, sql.stdout).unwrap();
        plain.exec(reset(flavour));
        plain.exec_file(&file);
        let rows = "SELECT COUNT(*), SUM(id), SUM(w), MAX(v) FROM d.t";
        assert_eq!(plain.exec(rows), server.exec(rows));

        server.exec("CALL d.write(3); DROP TABLE d.t");
        drctl.run(["stream", "--once"]).ok();
        assert!(segments(&drctl).len() > first.len());
        drctl.run(["log", "--check"]).ok();
        same_as_the_servers(&server, &files_again(&drctl, &id));
        let log = log(&drctl);
        assert_eq!(log["timelines"].as_array().unwrap().len(), 1);
        let timeline = &log["timelines"][0];
        assert_eq!(timeline["reason"], "first", "{log}");
        assert_eq!(timeline["gaps"].as_array().unwrap().len(), 0);
        let covered = &timeline["covered"][0];
        let time = |of: &serde_json::Value| of.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(time(&covered["from"]) < time(&covered["to"]), "{log}");
    }
);

on_both!(
    fn statements_are_found_with_their_gtids(flavour) {
        let server = logging(flavour, &[]);
        server.exec("CREATE DATABASE s; CREATE TABLE s.orders (id INT PRIMARY KEY); INSERT INTO s.orders VALUES (1);
            CREATE USER secret_one IDENTIFIED BY 'Not-To-Be-Listed1'; DROP TABLE s.orders");
        let gtid: String = match flavour {
            Flavour::MySql => {
                let set = server.value("SELECT @@global.gtid_executed");
                format!("{}:{}", &set[..36], set.rsplit(['-', ':']).next().unwrap())
            }
            Flavour::MariaDb => server.value("SELECT @@gtid_binlog_pos"),
        };
        let drctl = streamer(&server);
        drctl.run(["stream", "--once"]).ok();
        let log = drctl.run(["log", "--grep", "drop table.*orders", "--output", "json"]).ok().json();
        let found = log["statements"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{log}");
        assert_eq!(found[0]["gtid"], gtid.as_str());
        assert_eq!(found[0]["objects"][0], "s.orders");
        let all = drctl.run(["log", "--statements"]).ok().stdout;
        assert!(all.contains("CREATE USER") && !all.contains("Listed1"), "{all}");
        let none = drctl.run(["log", "--since", "2999-01-01T00:00:00Z", "--output", "json"]).ok().json();
        assert_eq!(none["statements"].as_array().unwrap().len(), 0);
    }
);

on_both!(
    fn a_transaction_longer_than_any_segment_is_archived_in_pieces(flavour) {
        let server = logging(flavour, &["--max-allowed-packet=64M"]);
        server.exec("CREATE DATABASE d; CREATE TABLE d.big (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)");
        let insert = "INSERT INTO d.big (v) VALUES (RANDOM_BYTES(1024))".to_owned();
        let blob = "INSERT INTO d.big (v) SELECT REPEAT(v, 1024) FROM d.big WHERE id = 1;".repeat(40);
        server.exec(&format!("{insert}; BEGIN; {blob} COMMIT; INSERT INTO d.big (v) VALUES ('end')"));
        let drctl = streamer(&server);
        drctl.run(["stream", "--once"]).ok();
        assert!(segments(&drctl).len() >= 3, "{:?}", segments(&drctl));
        drctl.run(["log", "--check"]).ok();
        let id = timelines(&drctl).remove(0);
        same_as_the_servers(&server, &files_again(&drctl, &id));
    }
);

#[test]
fn compressed_transactions_are_archived_as_they_are() {
    crate::need!(MySql);
    let server = logging(Flavour::MySql, &["--binlog-transaction-compression=ON"]);
    server.exec(WRITER);
    server.exec("CALL d.write(200); INSERT INTO d.t (v) SELECT v FROM d.t");
    let drctl = streamer(&server);
    drctl.run(["stream", "--once"]).ok();
    drctl.run(["log", "--check"]).ok();
    let id = timelines(&drctl).remove(0);
    same_as_the_servers(&server, &files_again(&drctl, &id));
}

#[test]
fn the_first_start_is_at_the_file_of_the_newest_backup() {
    crate::need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    server.exec("FLUSH BINARY LOGS; CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
    let drctl = streamer(&server);
    drctl.run(["backup"]).ok();
    let shown = drctl
        .run(["show", "--latest", "--output", "json"])
        .ok()
        .json();
    server.exec("FLUSH BINARY LOGS; CALL d.write(5)");
    let run = drctl.run(["stream", "--once"]).ok();
    assert!(run.stderr.contains("the file of backup"), "{}", run.stderr);
    let log = log(&drctl);
    assert_eq!(
        log["timelines"][0]["first_file"],
        shown["coordinates"]["file"]
    );
    // The backup is still listed, and nothing of the log is taken for one.
    assert_eq!(crate::support::backup::listed(&drctl).len(), 1);
}

/// All transactions of a server.
fn executed(server: &Server) -> String {
    let sql = match server.flavour() {
        Flavour::MySql => "SELECT @@global.gtid_executed",
        Flavour::MariaDb => "SELECT @@global.gtid_binlog_pos",
    };
    server.exec(sql).split_whitespace().collect()
}

/// The archived transactions that a server lacks that has executed a set.
pub async fn behind(objects: &Objects, id: TimelineId, executed: &GtidSet) -> Vec<Gtid> {
    let file = file_behind(objects, id, executed).await.unwrap();
    let mut reader = Reader::from(objects, id, Some(&file)).await.unwrap();
    let mut missing = Vec::new();
    while let Some(event) = reader.next().await.unwrap() {
        let gtid = event
            .transaction
            .filter(|_| event.ends)
            .and_then(|begin| begin.gtid);
        missing.extend(gtid.filter(|gtid| !executed.contains(gtid)));
    }
    missing
}

on_both!(
    fn the_log_is_read_from_a_set_of_transactions_on(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        server.exec("FLUSH BINARY LOGS; CALL d.write(10)");
        let half = executed(&server);
        server.exec("CALL d.write(7); FLUSH BINARY LOGS; CALL d.write(5)");
        let whole = executed(&server);
        let drctl = streamer(&server);
        drctl.run(["stream", "--once"]).ok();
        let id = timelines(&drctl).remove(0).parse().unwrap();
        let store: Arc<dyn Store> = Arc::new(FileStore::new(drctl.store_dir()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let objects = Objects::list(store, "shop".parse().unwrap()).await.unwrap();
            for (from, left) in [(&half, 12), (&whole, 0)] {
                let set = GtidSet::parse(flavour == Flavour::MariaDb, from).unwrap();
                let missing = behind(&objects, id, &set).await;
                let (ended, mut seen) = (missing.len(), set);
                for gtid in &missing {
                    seen.add(gtid);
                }
                assert_eq!((ended, seen.to_string()), (left, whole.clone()));
            }
        });
    }
);
