//! The preflight of a backup and its checks after the dump, on real servers.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::BytesMut;
use drctl::backup::options::{Ddl, NonTransactional, SourceOptions, Want};
use drctl::backup::preflight::{self, Preflight};
use drctl::backup::source::Source;
use drctl::mysql::scope::Scope;
use drctl::sql::scan::Scanner;
use drctl::sql::statement::{Kind, ObjectId};
use drctl::{Error, Outcome, Result};

use super::source_server::{block_on, config};
use super::support::{Flavour, Server};
use crate::{need, on_both};

const SHOP: &str = "
CREATE DATABASE shop; USE shop;
CREATE TABLE t (id INT PRIMARY KEY, note FLOAT) ENGINE=InnoDB;
CREATE TABLE `a@b-c /` (id INT) PARTITION BY HASH (id) PARTITIONS 2;
CREATE TABLE `tä жu` (id INT); CREATE TABLE `日本` (id INT);
CREATE TABLE words (w TEXT, FULLTEXT KEY (w));
CREATE VIEW v AS SELECT id FROM t;
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.note = 1;
CREATE PROCEDURE p() SELECT 1;
CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1;
CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1;
CREATE DATABASE other; CREATE TABLE other.x (a INT);
";

fn shop() -> SourceOptions {
    SourceOptions {
        scope: Scope::Only(vec!["shop".into()]),
        ..SourceOptions::default()
    }
}

async fn open(server: &Server, user: &str, options: &SourceOptions) -> Result<Source> {
    let config = config(&server.url_as(user), Some("pw"), server.flavour());
    Source::connect(&config, &"shop".parse().unwrap(), options).await
}

fn preflight(server: &Server, user: &str, options: &SourceOptions) -> Result<Preflight> {
    block_on(async {
        let mut source = open(server, user, options).await?;
        let preflight = preflight::run(&mut source).await;
        source.close().await;
        preflight
    })
}

/// Reads a dump, and returns the objects that it defines.
async fn seen(source: &Source, preflight: &Preflight) -> Result<BTreeSet<ObjectId>> {
    let mut dump = source.dump(&preflight.plan, &preflight.line_ends)?;
    let (mut scanner, mut buffer) = (Scanner::new(), BytesMut::new());
    let mut seen = BTreeSet::new();
    loop {
        buffer.reserve(1 << 16);
        let count = dump.read(&mut buffer).await?;
        scanner.push(&buffer.split());
        if count == 0 {
            scanner.finish();
        }
        while let Some(statement) = scanner.next().unwrap() {
            match statement.kind {
                Kind::Create {
                    object,
                    placeholder: false,
                } => drop(seen.insert(object)),
                Kind::CreateSchema { schema } => drop(seen.insert(ObjectId::schema(schema))),
                _ => {}
            }
        }
        if count == 0 {
            return Ok(seen);
        }
    }
}

/// Dumps, executes `sql`, and verifies that nothing changed.
fn disturbed(server: &Server, options: &SourceOptions, sql: &str) -> Result<()> {
    block_on(async {
        let mut source = open(server, "backup", options).await?;
        let preflight = preflight::run(&mut source).await?;
        let seen = seen(&source, &preflight).await?;
        server.exec(sql);
        let verdict = source.verify_unchanged(&preflight.inventory, &seen).await;
        source.close().await;
        verdict
    })
}

fn everything(flavour: Flavour) -> Vec<&'static str> {
    match flavour {
        Flavour::MySql => vec![
            "SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS, RELOAD, REPLICATION CLIENT ON *.*",
            "SHOW_ROUTINE, BACKUP_ADMIN ON *.*",
        ],
        Flavour::MariaDb => vec![
            "SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS, RELOAD, BINLOG MONITOR, SLAVE MONITOR ON *.*",
        ],
    }
}

fn shop_server(flavour: Flavour) -> Server {
    let server = Server::start(flavour);
    server.exec(SHOP);
    server.account("backup", "pw", &everything(flavour));
    server
}

on_both!(
    fn an_undisturbed_dump_settles_with_everything_seen(flavour) {
        let server = shop_server(flavour);
        for options in [shop(), SourceOptions::default(), SourceOptions { ddl: Ddl::Block, ..shop() }] {
            disturbed(&server, &options, "INSERT INTO shop.t VALUES (FLOOR(RAND() * 1000000), 1)").unwrap();
        }
        let preflight = preflight(&server, "backup", &SourceOptions::default()).unwrap();
        assert_eq!(preflight.schemas, ["other", "shop"]);
        assert!(preflight.inventory.table_ids);
        assert_eq!(preflight.inventory.objects.len(), 2 + 6 + 5);
        let unknown = preflight.inventory.tables.keys().filter(|t| preflight.inventory.objects[t].table_id.is_none());
        assert_eq!(unknown.count(), 0, "InnoDB told every table's id");
        assert_eq!(preflight.lossy, ["shop.t.note: FLOAT is dumped with six digits"]);
        assert!(!preflight.identity.ends_with(':'), "{}", preflight.identity);
        assert_eq!(preflight.fingerprint["innodb_page_size"], "16384");
        let apart = preflight.snapshot_at.duration_since(jiff::Timestamp::now()).unsigned_abs();
        assert!(apart < Duration::from_secs(60), "{apart:?}");
    }
);

on_both!(
    fn each_privilege_that_is_missing_is_refused_with_the_grant_that_helps(flavour) {
        let server = shop_server(flavour);
        let all = everything(flavour);
        for privilege in ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"] {
            let user = format!("no_{}", privilege.to_lowercase().replace(' ', "_"));
            let without = all[0].replacen(&format!("{privilege}, "), "", 1);
            let mut grants = vec![without.as_str()];
            grants.extend(&all[1..]);
            server.account(&user, "pw", &grants);
            for options in [shop(), SourceOptions::default()] {
                let error = preflight(&server, &user, &options).unwrap_err();
                assert_eq!(error.outcome(), Outcome::Source, "{error}");
                assert!(error.to_string().contains(&format!("missing: {privilege} on")), "{error}");
                // The statement in the hint is the one that helps.
                let hint = error.to_string();
                let grant = hint.split("run: ").nth(1).unwrap();
                server.exec(grant);
                preflight(&server, &user, &options).unwrap();
                server.exec(&format!("REVOKE {privilege} ON *.* FROM `{user}`@`%`"));
                if options.scope != Scope::default() {
                    server.exec(&format!("REVOKE {privilege} ON shop.* FROM `{user}`@`%`"));
                }
            }
        }
        server.account("schema_only", "pw", &["SELECT, SHOW VIEW, TRIGGER, EVENT ON shop.*"]);
        let routines = preflight(&server, "schema_only", &shop()).unwrap_err().to_string();
        assert!(routines.contains(if flavour == Flavour::MySql { "SHOW_ROUTINE on *.*" } else { "SELECT on `mysql`.`proc`" }), "{routines}");
        assert!(preflight(&server, "schema_only", &SourceOptions::default()).is_err());
    }
);

on_both!(
    fn a_role_counts_when_it_is_active(flavour) {
        let server = shop_server(flavour);
        server.exec("CREATE ROLE sees");
        for grant in everything(flavour) {
            server.exec(&format!("GRANT {grant} TO sees"));
        }
        server.account("actor", "pw", &[]);
        server.exec("GRANT sees TO actor@'%'");
        let error = preflight(&server, "actor", &shop()).unwrap_err();
        assert!(error.to_string().contains("default role"), "{error}");
        server.exec(match flavour {
            Flavour::MySql => "ALTER USER actor@'%' DEFAULT ROLE sees",
            Flavour::MariaDb => "SET DEFAULT ROLE sees FOR actor@'%'",
        });
        preflight(&server, "actor", &shop()).unwrap();
    }
);

#[test]
fn a_partial_revoke_hides_a_schema_and_is_refused() {
    need!(MySql);
    let server = Server::start_with(Flavour::MySql, &["--partial-revokes=ON"]);
    server.exec(SHOP);
    server.account("backup", "pw", &everything(Flavour::MySql));
    server.exec("REVOKE SELECT ON mysql.* FROM backup@'%'");
    preflight(&server, "backup", &SourceOptions::default()).unwrap();
    for privilege in ["SELECT", "TRIGGER", "SHOW VIEW", "EVENT"] {
        server.exec(&format!("REVOKE {privilege} ON shop.* FROM backup@'%'"));
        for options in [shop(), SourceOptions::default()] {
            let error = preflight(&server, "backup", &options).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains(&format!("{privilege} on `shop`.*")),
                "{error}"
            );
        }
        server.exec(&format!("GRANT {privilege} ON shop.* TO backup@'%'"));
    }
    preflight(&server, "backup", &shop()).unwrap();
}

on_both!(
    fn what_moves_under_a_dump_is_noticed(flavour) {
        let server = shop_server(flavour);
        for (sql, says) in [
            ("ALTER TABLE shop.t ADD COLUMN c INT", "table `shop`.`t` was altered"),
            ("ALTER TABLE shop.t ALTER COLUMN id SET DEFAULT 7", "table `shop`.`t` was altered"),
            ("ALTER TABLE shop.t COMMENT 'said'", "table `shop`.`t` was altered"),
            ("ALTER TABLE shop.t ADD CONSTRAINT k CHECK (id > 0)", "table `shop`.`t` was altered"),
            ("ALTER TABLE shop.t DROP CONSTRAINT k, ADD CONSTRAINT k CHECK (id > 1)", "table `shop`.`t` was altered"),
            ("CREATE INDEX i ON shop.t (id DESC)", "table `shop`.`t` was altered"),
            ("ALTER TABLE shop.`tä жu` ADD COLUMN c INT", "table `shop`.`tä жu` was altered"),
            ("TRUNCATE TABLE shop.`tä жu`", "table `shop`.`tä жu` was truncated"),
            ("TRUNCATE TABLE shop.words", "table `shop`.`words` was truncated"),
            ("RENAME TABLE shop.words TO shop.w, shop.w TO shop.words, shop.`日本` TO shop.`é`", "table `shop`.`日本` was renamed"),
            ("CREATE TABLE shop.n (a INT)", "table `shop`.`n` was created"),
            ("DROP TABLE shop.n", "table `shop`.`n` was dropped"),
            ("CREATE OR REPLACE VIEW shop.v AS SELECT id + 1 AS id FROM shop.t", "view `shop`.`v` was altered"),
            ("DROP TRIGGER shop.tr; CREATE TRIGGER shop.tr BEFORE INSERT ON shop.t FOR EACH ROW SET NEW.note = 2", "trigger `shop`.`tr` was altered"),
            ("DROP PROCEDURE shop.p; CREATE PROCEDURE shop.p() SELECT 2", "procedure `shop`.`p` was altered"),
            ("ALTER EVENT shop.e ON SCHEDULE EVERY 2 DAY", "event `shop`.`e` was altered"),
            ("ALTER DATABASE shop CHARACTER SET ascii", "schema `shop` was altered"),
            ("CREATE TABLE shop.twin LIKE shop.words; RENAME TABLE shop.words TO shop.x, shop.twin TO shop.words, shop.x TO shop.twin", "table `shop`.`words` was exchanged by RENAME"),
        ] {
            let error = disturbed(&server, &shop(), sql).expect_err(sql);
            assert!(error.to_string().contains(says), "{sql}: {error}");
            assert!(error.is_retryable(), "{sql}");
        }
        let ignoring = SourceOptions { ignore_ddl_on: vec!["shop.tmp%".into()], ..shop() };
        disturbed(&server, &ignoring, "CREATE TABLE shop.tmp_1 (a INT)").unwrap();
    }
);

on_both!(
    fn a_rename_that_exchanges_two_tables_is_noticed_by_their_ids(flavour) {
        let server = shop_server(flavour);
        server.exec("USE shop; CREATE TABLE a (x INT); CREATE TABLE b (x INT);");
        let error = disturbed(&server, &shop(), "USE shop; RENAME TABLE a TO c, b TO a, c TO b").unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("`shop`.`a` was exchanged by RENAME"), "{error}");
        server.account("no_process", "pw", &["SELECT, SHOW VIEW, TRIGGER, EVENT ON *.*"]);
        if flavour == Flavour::MySql {
            server.exec("GRANT SHOW_ROUTINE ON *.* TO no_process@'%'");
        }
        let preflight = preflight(&server, "no_process", &shop()).unwrap();
        assert!(preflight.warnings.iter().any(|w| w.contains("exchanged by RENAME")), "{:?}", preflight.warnings);
    }
);

on_both!(
    fn what_a_dump_lacks_is_an_error_that_no_repetition_heals(flavour) {
        let server = shop_server(flavour);
        let error: Error = block_on(async {
            let mut source = open(&server, "backup", &shop()).await.unwrap();
            let preflight = preflight::run(&mut source).await.unwrap();
            let mut seen = seen(&source, &preflight).await.unwrap();
            seen.retain(|object| object.name != "tr");
            source.verify_unchanged(&preflight.inventory, &seen).await.unwrap_err()
        });
        assert_eq!(error.outcome(), Outcome::Source);
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("trigger `shop`.`tr`"), "{error}");
    }
);

on_both!(
    fn ddl_waits_while_it_is_held_back_and_rows_do_not(flavour) {
        let server = shop_server(flavour);
        let blocked = SourceOptions { ddl: Ddl::Block, ..shop() };
        block_on(async {
            let mut source = open(&server, "backup", &blocked).await.unwrap();
            let preflight = preflight::run(&mut source).await.unwrap();
            server.exec("INSERT INTO shop.t VALUES (1, 1)");
            let denied = server.try_exec("SET SESSION lock_wait_timeout = 1; ALTER TABLE shop.t ADD COLUMN c INT").unwrap_err();
            assert!(denied.contains("1205"), "{denied}");
            let seen = seen(&source, &preflight).await.unwrap();
            source.verify_unchanged(&preflight.inventory, &seen).await.unwrap();
            server.exec("ALTER TABLE shop.t ADD COLUMN c INT");
            source.close().await;
        });
        server.account("weak", "pw", &["SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS ON *.*"]);
        let error = preflight(&server, "weak", &blocked).unwrap_err();
        let privilege = if flavour == Flavour::MySql { "BACKUP_ADMIN" } else { "RELOAD" };
        assert!(error.to_string().contains(privilege), "{error}");
    }
);

on_both!(
    fn one_backup_at_a_time_holds_a_target(flavour) {
        let server = shop_server(flavour);
        block_on(async {
            let first = open(&server, "backup", &shop()).await.unwrap();
            let error = open(&server, "backup", &shop()).await.unwrap_err();
            assert_eq!(error.outcome(), Outcome::Locked);
            assert!(error.to_string().contains("connection "), "{error}");
            first.close().await;
            open(&server, "backup", &shop()).await.unwrap().close().await;
        });
    }
);

on_both!(
    fn what_would_make_a_backup_that_lies_is_refused(flavour) {
        let server = shop_server(flavour);
        let absent = SourceOptions { scope: Scope::Only(vec!["shop".into(), "nowhere".into()]), ..shop() };
        let error = preflight(&server, "backup", &absent).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Source);
        assert!(error.to_string().contains("no schema nowhere"), "{error}");

        server.exec("CREATE TABLE shop.loose (a INT) ENGINE=MyISAM");
        let error = preflight(&server, "backup", &shop()).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Refused);
        assert!(error.to_string().contains("`shop`.`loose` (MyISAM)"), "{error}");
        let allowed = SourceOptions { non_transactional: NonTransactional::Allow, ..shop() };
        let warnings = preflight(&server, "backup", &allowed).unwrap().warnings;
        assert!(warnings.iter().any(|w| w.contains("MyISAM")), "{warnings:?}");
        server.exec("DROP TABLE shop.loose");

        server.exec("CREATE TABLE shop.gone (a INT); CREATE VIEW shop.broken AS SELECT a FROM shop.gone; DROP TABLE shop.gone");
        let error = preflight(&server, "backup", &shop()).unwrap_err();
        assert!(error.to_string().contains("view `shop`.`broken`"), "{error}");
        server.exec("DROP VIEW shop.broken");

        server.exec("CREATE DATABASE drctl_restore");
        let error = preflight(&server, "backup", &SourceOptions::default()).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Refused);
        assert!(error.to_string().contains("unfinished restore"), "{error}");
    }
);

on_both!(
    fn coordinates_come_with_the_snapshot_where_they_can_be_had(flavour) {
        let server = Server::start_with(flavour, &["--log-bin=binlog", "--server-id=7"]);
        server.exec(SHOP);
        let mut all = everything(flavour);
        // For the GTIDs.
        all.push("REPLICATION SLAVE ON *.*");
        server.account("backup", "pw", &all);
        let required = SourceOptions { coordinates: Want::Require, ..shop() };
        let found = block_on(async {
            let mut source = open(&server, "backup", &required).await.unwrap();
            let preflight = preflight::run(&mut source).await.unwrap();
            let mut dump = source.dump(&preflight.plan, &preflight.line_ends).unwrap();
            let mut buffer = BytesMut::new();
            while { buffer.clear(); buffer.reserve(1 << 16); dump.read(&mut buffer).await.unwrap() > 0 } {}
            dump.coordinates().unwrap()
        });
        assert!(found.file.starts_with("binlog."), "{found:?}");
        let status = server.query(if flavour == Flavour::MySql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" });
        assert_eq!((&found.file, found.position.to_string()), (&status[0][0], status[0][1].clone()));
        assert_eq!(found.gtid.is_some(), flavour == Flavour::MariaDb);

        if flavour == Flavour::MySql {
            server.account("poor", "pw", &["SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS ON *.*"]);
            assert_eq!(preflight(&server, "poor", &required).unwrap_err().outcome(), Outcome::Refused);
            let warnings = preflight(&server, "poor", &shop()).unwrap().warnings;
            assert!(warnings.iter().any(|w| w.contains("coordinates")), "{warnings:?}");
        }
    }
);

on_both!(
    fn accounts_are_sql_that_another_server_takes(flavour) {
        let server = shop_server(flavour);
        server.exec("CREATE ROLE reader; GRANT SELECT ON shop.* TO reader; CREATE USER `o'b``r`@`10.%` IDENTIFIED BY 'x;\\n'; GRANT reader TO `o'b``r`@`10.%`");
        server.exec(match flavour {
            Flavour::MySql => "ALTER USER `o'b``r`@`10.%` DEFAULT ROLE reader",
            Flavour::MariaDb => "SET DEFAULT ROLE reader FOR `o'b``r`@`10.%`",
        });
        let take = |server: &Server| {
            block_on(async {
                let mut source = open(server, "backup", &SourceOptions::default()).await.unwrap();
                let sql = source.accounts().await.unwrap().0.unwrap();
                source.close().await;
                String::from_utf8(sql).unwrap()
            })
        };
        let sql = take(&server);
        assert!(!sql.contains("`root`@`localhost`") && !sql.contains("mysql.sys") && !sql.contains("mariadb.sys"), "{sql}");
        let mut scanner = Scanner::accounts();
        scanner.push(sql.as_bytes());
        scanner.finish();
        while let Some(statement) = scanner.next().unwrap() {
            assert!(matches!(statement.kind, Kind::Account | Kind::Comment | Kind::Set), "{:?}", statement.kind);
        }
        let other = Server::start(flavour);
        other.exec("CREATE DATABASE shop");
        other.exec(&sql);
        assert_eq!(take(&other), sql);
        // Again over what exists.
        other.exec(&sql);

        server.account("no_mysql", "pw", &["SELECT, SHOW VIEW, TRIGGER, EVENT ON shop.*"]);
        server.exec(match flavour {
            Flavour::MySql => "GRANT SHOW_ROUTINE ON *.* TO no_mysql@'%'",
            Flavour::MariaDb => "GRANT SELECT ON mysql.proc TO no_mysql@'%'",
        });
        let warnings = preflight(&server, "no_mysql", &shop()).unwrap().warnings;
        assert!(warnings.iter().any(|w| w.contains("accounts are not backed up")), "{warnings:?}");
        let required = SourceOptions { accounts: Want::Require, ..shop() };
        assert_eq!(preflight(&server, "no_mysql", &required).unwrap_err().outcome(), Outcome::Source);
    }
);

on_both!(
    fn a_replica_that_stands_still_is_refused(flavour) {
        let primary = Server::start_with(flavour, &["--log-bin=binlog", "--server-id=1"]);
        primary.account("repl", "pw", &["REPLICATION SLAVE ON *.*"]);
        let replica = Server::start_with(flavour, &["--server-id=2", "--log-bin=binlog"]);
        let port = primary.port();
        let (point, start, stop) = match flavour {
            Flavour::MySql => (
                format!("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='repl', SOURCE_PASSWORD='pw', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"),
                "START REPLICA", "STOP REPLICA SQL_THREAD",
            ),
            Flavour::MariaDb => (
                format!("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='repl', MASTER_PASSWORD='pw', MASTER_USE_GTID=slave_pos"),
                "START SLAVE", "STOP SLAVE SQL_THREAD",
            ),
        };
        replica.exec(&point);
        replica.exec(start);
        primary.exec(SHOP);
        primary.account("backup", "pw", &everything(flavour));
        let mut tries = 0;
        while replica.try_exec("SELECT COUNT(*) FROM other.x").is_err() || replica.value("SELECT COUNT(*) FROM mysql.user WHERE user = 'backup'") == "0" {
            tries += 1;
            assert!(tries < 300, "nothing is replicated: {}", replica.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(Duration::from_millis(300));
        let flight = preflight(&replica, "backup", &shop()).unwrap();
        let age = jiff::Timestamp::now().duration_since(flight.snapshot_at);
        assert!(age.as_secs() >= 0 && age.as_secs() < 60, "{age:?}");
        replica.exec(stop);
        let error = preflight(&replica, "backup", &shop()).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Refused);
        assert!(error.to_string().contains("stopped"), "{error}");
    }
);
