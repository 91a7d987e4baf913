//! What a restore refuses, on real servers: each with its exit code, and nothing done.

use std::sync::Arc;

use drctl::archive::read::Archive;
use drctl::layout::BackupObject;
use drctl::restore::options::RestoreOptions;
use drctl::restore::report::{Progress, Silent};
use drctl::restore::scope::Scope;
use drctl::sql::definer::Account;
use drctl::sql::statement::Section;
use drctl::util::cancel::Cancel;

use super::apply_archive::{archive_from, archive_of, dump, forged, into, restore, stored};
use super::apply_restore::block_on;
use super::support::{Flavour, Server};
use crate::on_both;

const CREATE: &str = "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop`;\nUSE `shop`;\n\
    CREATE TABLE `t` (\n  `id` int DEFAULT NULL\n) ENGINE=InnoDB;\n";

/// Restores and expects to be refused, with nothing done.
#[track_caller]
fn refused(archive: &Archive, target: &Server, options: RestoreOptions, code: u8, words: &str) {
    let before = target.value("SELECT COUNT(*) FROM information_schema.tables");
    let error = block_on(restore(archive, target, options)).unwrap_err();
    assert_eq!(error.outcome().code(), code, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(
        target.value("SELECT COUNT(*) FROM information_schema.tables"),
        before
    );
    assert_eq!(
        target.value("SELECT COUNT(*) FROM mysql.user WHERE user = 'intruder'"),
        "0"
    );
}

on_both!(
    fn statements_that_no_dump_has_are_not_executed_whatever_their_digests(flavour) {
        let target = Server::start(flavour);
        for smuggled in [
            "GRANT ALL ON *.* TO 'intruder'@'%' IDENTIFIED BY 'x'",
            "CREATE USER intruder",
            "SET GLOBAL general_log = 1",
            "SET PERSIST general_log = 1",
            "INSTALL PLUGIN x SONAME 'x.so'",
            "CREATE FUNCTION x RETURNS STRING SONAME 'x.so'",
            "SELECT 1 INTO OUTFILE '/tmp/x'",
            "INSERT INTO `mysql`.`db` VALUES (1)",
            "CREATE TABLE `mysql`.`x` (\n  `id` int\n) ENGINE=InnoDB",
            "CREATE TABLE `other`.`x` (\n  `id` int\n) ENGINE=InnoDB",
            "USE mysql",
            "DROP DATABASE IF EXISTS `mysql`",
        ] {
            let before = format!("{smuggled};\n{CREATE}");
            let behind = format!("{CREATE}{smuggled};\n");
            for text in [before, behind] {
                let archive = block_on(forged(&target, &[(Section::PreData, &text)]));
                refused(&archive, &target, RestoreOptions::default(), 6, "frame");
            }
        }
    }
);

on_both!(
    fn nothing_is_executed_before_the_whole_archive_is_checked_where_that_is_asked_for(flavour) {
        let target = Server::start(flavour);
        let rows = "INSERT INTO `t` VALUES (1);\nCREATE USER intruder;\n";
        let frames = [(Section::PreData, CREATE), (Section::Data, rows)];
        let archive = block_on(forged(&target, &frames));
        let options = RestoreOptions { check: drctl::restore::options::Check::First, ..RestoreOptions::default() };
        refused(&archive, &target, options, 6, "frame");
        // Without it the frame is met later, and not executed either.
        let error = block_on(restore(&archive, &target, RestoreOptions::default())).unwrap_err();
        assert_eq!(error.outcome().code(), 6, "{error}");
        assert_eq!(target.value("SELECT COUNT(*) FROM shop.t"), "0");
    }
);

on_both!(
    fn no_byte_of_a_damaged_frame_is_executed(flavour) {
        let source = Server::start(flavour);
        source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT); INSERT INTO shop.t VALUES (1)");
        let target = Server::start(flavour);
        let archive = block_on(async {
            let (store, place) = stored(&source, &dump(&source, &["shop"]), None).await;
            let read = drctl::archive::read::manifest(&store, &place).await;
            let (manifest, _) = read.unwrap();
            let object = BackupObject::parse(&manifest.segments[0].name).unwrap();
            let key = place.key(&object);
            let mut bytes = store.get(&key, None).await.unwrap().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            store.put(&key, bytes.into()).await.unwrap();
            Archive::open(store, place).await.unwrap()
        });
        refused(&archive, &target, RestoreOptions::default(), 6, "SHA-256");
    }
);

on_both!(
    fn a_server_that_would_not_take_the_backup_whole_is_refused(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE shop; CREATE TABLE shop.t (b LONGBLOB);
             INSERT INTO shop.t VALUES (REPEAT('x', 2000000));",
        );
        let archive = block_on(archive_of(&source, &["shop"]));
        let small = Server::start_with(flavour, &["--max-allowed-packet=1M"]);
        refused(&archive, &small, RestoreOptions::default(), 9, "max_allowed_packet is 1048576");
        let read_only = Server::start(flavour);
        read_only.exec("SET GLOBAL read_only = ON");
        refused(&archive, &read_only, RestoreOptions::default(), 9, "read_only is on");
        let replica = Server::start(flavour);
        replica.exec(match flavour {
            Flavour::MariaDb => "CHANGE MASTER TO MASTER_HOST = 'db-0'",
            Flavour::MySql => "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db-0'",
        });
        refused(&archive, &replica, RestoreOptions::default(), 9, "a replica of db-0");
        let busy = Server::start(flavour);
        let session = busy.session();
        refused(&archive, &busy, RestoreOptions::default(), 9, "other clients are connected: root@localhost");
        drop(session);
    }
);

on_both!(
    fn objects_of_definers_that_the_server_lacks_are_refused_or_get_the_stated_one(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE shop; CREATE USER app@'%'; CREATE TABLE shop.t (id INT);
             CREATE DEFINER = app@'%' VIEW shop.v AS SELECT 1;
             CREATE DEFINER = app@'%' TRIGGER shop.tr BEFORE INSERT ON shop.t FOR EACH ROW SET @x = 1",
        );
        let archive = block_on(archive_of(&source, &["shop"]));
        let target = Server::start(flavour);
        refused(&archive, &target, RestoreOptions::default(), 9, "lacks the definer `app`@`%`");
        let root = Account { user: "root".into(), host: "localhost".into() };
        let options = RestoreOptions {
            substitute_definer: Some(root),
            compare: false,
            ..RestoreOptions::default()
        };
        block_on(restore(&archive, &target, options)).unwrap();
        assert_eq!(target.value("SELECT COUNT(*) FROM information_schema.views WHERE definer = 'root@localhost' AND table_schema = 'shop'"), "1");
    }
);

on_both!(
    fn a_rename_is_refused_where_something_names_the_old_schema(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE shop; CREATE DATABASE ref; CREATE TABLE ref.parent (id INT PRIMARY KEY);
             CREATE TABLE shop.child (id INT, CONSTRAINT to_parent FOREIGN KEY (id) REFERENCES ref.parent (id));
             CREATE TABLE shop.t (id INT);
             CREATE PROCEDURE shop.p() SELECT COUNT(*) FROM shop.t",
        );
        let archive = block_on(archive_of(&source, &["ref", "shop"]));
        let target = Server::start(flavour);
        let renamed = |old: &str, tables: &[(&str, &str)]| RestoreOptions {
            scope: Scope {
                tables: tables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
                rename: [(old.to_owned(), "renamed".to_owned())].into(),
            },
            ..RestoreOptions::default()
        };
        refused(&archive, &target, renamed("shop", &[]), 9, "procedure `shop`.`p`");
        refused(&archive, &target, renamed("ref", &[]), 9, "table `shop`.`child`");
        block_on(restore(&archive, &target, renamed("shop", &[("shop", "t")]))).unwrap();
        assert_eq!(target.value("SELECT table_schema FROM information_schema.tables WHERE table_name = 't'"), "renamed");
    }
);

on_both!(
    fn a_plan_shows_everything_and_touches_nothing(flavour) {
        let source = Server::start(flavour);
        source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT); INSERT INTO shop.t VALUES (1), (2)");
        let archive = block_on(archive_of(&source, &["shop"]));
        let target = Server::start(flavour);
        target.exec("CREATE DATABASE shop; CREATE TABLE shop.t (other INT); SET GLOBAL read_only = ON");
        let before = target.value("SELECT COUNT(*) FROM information_schema.tables");
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let options = RestoreOptions::default();
        let plan = block_on(drctl::restore::plan(
            &archive,
            &into(&target),
            &options,
            &progress,
            &Cancel::default(),
        ))
        .unwrap();
        assert_eq!((plan.tables, plan.rows), (1, 2));
        assert_eq!(plan.refusals.len(), 2, "{:?}", plan.refusals);
        assert_eq!(target.value("SELECT COUNT(*) FROM information_schema.tables"), before);
    }
);

on_both!(
    fn a_table_without_transactions_is_restored_too(flavour) {
        let source = Server::start(flavour);
        source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT, KEY (id)) ENGINE=MyISAM; INSERT INTO shop.t VALUES (1), (1)");
        let target = Server::start(flavour);
        let report = block_on(async {
            let archive = archive_from(&source, &dump(&source, &["shop"])).await;
            restore(&archive, &target, RestoreOptions::default()).await.unwrap()
        });
        assert!(report.comparison.unwrap().is_equal());
    }
);

on_both!(
    fn accounts_that_are_missing_come_back_and_those_that_exist_stay_as_they_are(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE shop; CREATE ROLE reader; GRANT SELECT ON shop.* TO reader;
             CREATE USER app@'%' IDENTIFIED BY 'it''s'; GRANT reader TO app@'%'; GRANT INSERT ON shop.* TO app@'%';
             CREATE USER known@'%' IDENTIFIED BY 'x'; GRANT ALL ON *.* TO known@'%';
             CREATE DEFINER = app@'%' VIEW shop.v AS SELECT 1 AS one",
        );
        source.exec(match flavour {
            Flavour::MariaDb => "SET DEFAULT ROLE reader FOR app@'%'",
            Flavour::MySql => "SET DEFAULT ROLE reader TO app@'%'",
        });
        let target = Server::start(flavour);
        target.exec("CREATE USER known@'%'");
        let archive = block_on(async {
            let mut connection = drctl::mysql::connect(&into(&source)).await.unwrap();
            let text = (source.value("SELECT @@version"), source.value("SELECT @@version_comment"));
            let version = drctl::mysql::ServerVersion::parse(&text.0, &text.1).unwrap();
            let accounts = drctl::backup::accounts::sql(&mut connection, &version).await.unwrap();
            let text = dump(&source, &["shop"]);
            let (store, place) = stored(&source, &text, Some(&accounts)).await;
            Archive::open(store, place).await.unwrap()
        });
        refused(&archive, &target, RestoreOptions::default(), 9, "lacks the definer `app`@`%`");
        let options = RestoreOptions { accounts: true, ..RestoreOptions::default() };
        let report = block_on(restore(&archive, &target, options)).unwrap();
        assert!(report.comparison.unwrap().is_equal());
        assert!(report.warnings.iter().any(|warning| warning.contains("`known`@`%`")));
        let shown = |server: &Server, account: &str| server.query(&format!("SHOW GRANTS FOR {account}"));
        assert_eq!(shown(&target, "app@'%'"), shown(&source, "app@'%'"));
        assert_ne!(shown(&target, "known@'%'"), shown(&source, "known@'%'"));
        assert_eq!(target.value("SELECT one FROM shop.v"), "1");
    }
);
