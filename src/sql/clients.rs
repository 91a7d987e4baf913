//! Tests with statements of the dump programs from 5.7 on, with drctl's options and with others: each has its kind or
//! is rejected, as documented in docs/compatibility.md.
//!
//! Recorded from documentation (the manuals, public dumps and bug reports). Dumps of MySQL 9.7 and MariaDB 10.11 are in
//! tests/corpus/dumps.

use super::scan::Scanner;
use super::statement::{Kind, ObjectId, ObjectKind};

/// Headers of dumps: comments and settings.
const HEADS: &[(&str, &str)] = &[
    (
        "mysqldump 5.7",
        "-- MySQL dump 10.13  Distrib 5.7.44, for Linux (x86_64)\n--\n-- Host: h    Database: d\n\
        -- ------------------------------------------------------\n-- Server version\t5.7.44-log\n\n\
        /*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n\
        /*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;\n\
        /*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;\n\
        /*!40101 SET NAMES utf8mb4 */;\n\
        /*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;\n/*!40103 SET TIME_ZONE='+00:00' */;\n\
        /*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;\n\
        /*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;\n\
        /*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n\
        /*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;\n",
    ),
    (
        "mysqldump 8.0 and 8.4, --source-data=2",
        "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n\
        /*!50503 SET NAMES utf8mb4 */;\n\
        --\n-- Position to start replication or point-in-time recovery from\n--\n\n\
        -- CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='binlog.000002', SOURCE_LOG_POS=157;\n",
    ),
    (
        "mysqldump 8.0, --set-gtid-purged=COMMENTED",
        "--\n-- GTID state at the beginning of the backup \n--\n\n\
        /* SET @@GLOBAL.GTID_PURGED='+3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5';*/\n",
    ),
    (
        "MariaDB 10.5.25, 10.6.18, 10.11.8, 11.4 and later",
        "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19-11.4.5-MariaDB, for Linux (x86_64)\n\
        /*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;\n",
    ),
    (
        "MariaDB of May 2024",
        "/*!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib 10.11.8-MariaDB, for x (x86_64)\n",
    ),
];

/// A dump by Percona's program, which enables bulk loading for MyRocks.
const PERCONA: &str = r"-- MySQL dump 10.13  Distrib 8.0.27-18, for Linux (x86_64)
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;
/*!50717 SELECT COUNT(*) INTO @rocksdb_has_p_s_session_variables FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'performance_schema' AND TABLE_NAME = 'session_variables' */;
/*!50717 SET @rocksdb_get_is_supported = IF (@rocksdb_has_p_s_session_variables, 'SELECT COUNT(*) INTO @rocksdb_is_supported FROM performance_schema.session_variables WHERE VARIABLE_NAME=\'rocksdb_bulk_load\'', 'SELECT 0') */;
/*!50717 PREPARE s FROM @rocksdb_get_is_supported */;
/*!50717 EXECUTE s */;
/*!50717 DEALLOCATE PREPARE s */;
/*!50717 SET @rocksdb_enable_bulk_load = IF (@rocksdb_is_supported, 'SET SESSION rocksdb_bulk_load = 1', 'SET @rocksdb_dummy_bulk_load = 0') */;
/*!50717 PREPARE s FROM @rocksdb_enable_bulk_load */;
/*!50717 EXECUTE s */;
/*!50717 DEALLOCATE PREPARE s */;
USE `d`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!50503 SET character_set_client = utf8mb4 */;
CREATE TABLE `t` (
  `a` int DEFAULT NULL
) ENGINE=ROCKSDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
INSERT INTO `t` VALUES (1);
/*!50112 SET @disable_bulk_load = IF (@is_rocksdb_supported, 'SET SESSION rocksdb_bulk_load = @old_rocksdb_bulk_load', 'SET @dummy_rocksdb_bulk_load = 0') */;
/*!50112 PREPARE s FROM @disable_bulk_load */;
/*!50112 EXECUTE s */;
/*!50112 DEALLOCATE PREPARE s */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed
";

fn scan(dump: &str, chunk: usize) -> Result<(Vec<Kind>, bool), String> {
    let mut scanner = Scanner::new();
    let mut kinds = Vec::new();
    let mut take = |scanner: &mut Scanner| -> Result<(), String> {
        while let Some(it) = scanner.next().map_err(|error| error.to_string())? {
            kinds.push(it.kind);
        }
        Ok(())
    };
    for chunk in dump.as_bytes().chunks(chunk) {
        scanner.push(chunk);
        take(&mut scanner)?;
    }
    scanner.finish();
    take(&mut scanner)?;
    Ok((kinds, scanner.saw_trailer()))
}

#[test]
fn the_header_of_each_programs_dump_consists_of_settings_and_comments() {
    for (program, head) in HEADS {
        let (kinds, _) = scan(head, head.len()).unwrap_or_else(|why| panic!("{program}: {why}"));
        let plain = |kind: &Kind| matches!(kind, Kind::Comment | Kind::Set);
        assert!(kinds.iter().all(plain), "{program}: {kinds:?}");
    }
}

#[test]
fn the_dump_of_perconas_program_is_accepted_and_its_bulk_load_statements_are_comments() {
    for chunk in [1, 64, PERCONA.len()] {
        let (kinds, trailer) = scan(PERCONA, chunk).unwrap();
        assert!(trailer);
        let table = ObjectId::table("d", "t");
        let created = Kind::Create {
            object: table.clone(),
            placeholder: false,
        };
        assert!(kinds.contains(&created) && kinds.contains(&Kind::Insert { table }));
        let settings = kinds.iter().filter(|kind| **kind == Kind::Set).count();
        assert_eq!(settings, 5, "{kinds:?}");
    }
    // Only the exact texts are accepted.
    for (from, to) in [
        ("PREPARE s FROM @disable_bulk_load", "PREPARE s FROM @mine"),
        ("'SELECT 0'", "'DROP DATABASE d'"),
        ("DEALLOCATE PREPARE s", "DEALLOCATE PREPARE t"),
        ("/*!50717 EXECUTE s */", "EXECUTE s"),
    ] {
        assert!(PERCONA.contains(from), "{from}");
        let why = scan(&PERCONA.replacen(from, to, 1), 64).unwrap_err();
        assert!(why.contains("unsupported statement"), "{from}: {why}");
    }
}

#[test]
fn statements_of_all_programs_have_their_kinds() {
    let table = || ObjectId::table("d", "t");
    let insert = || Kind::Insert { table: table() };
    let schema = || Kind::CreateSchema { schema: "d".into() };
    let create = |kind, name: &str| Kind::Create {
        object: ObjectId::new(kind, "d", name),
        placeholder: false,
    };
    for (program, sql, kind) in [
        (
            "5.7",
            "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `d` /*!40100 DEFAULT CHARACTER SET latin1 */;",
            schema(),
        ),
        (
            "8.0.16",
            "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `d` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci */ /*!80016 DEFAULT ENCRYPTION='N' */;",
            schema(),
        ),
        (
            "8.0",
            "/*!50503 SET character_set_client = utf8mb4 */;",
            Kind::Set,
        ),
        (
            "5.7, before a view's placeholder",
            "SET @saved_cs_client     = @@character_set_client;",
            Kind::Set,
        ),
        (
            "5.7, the same",
            "SET character_set_client = utf8;",
            Kind::Set,
        ),
        (
            "5.7, an event",
            "/*!50106 SET @save_time_zone= @@TIME_ZONE */ ;",
            Kind::Set,
        ),
        (
            "8.0, a generated invisible primary key",
            "CREATE TABLE `t` (\n  `my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */,\n  `a` int DEFAULT NULL /*!80016 CHECK (`a` > 0) */,\n  PRIMARY KEY (`my_row_id`)\n) ENGINE=InnoDB;",
            create(ObjectKind::Table, "t"),
        ),
        (
            "8.0.16, a table of an encrypted tablespace",
            "CREATE TABLE `t` (\n  `a` int\n) /*!50100 TABLESPACE `innodb_system` */ ENGINE=InnoDB /*!80016 ENCRYPTION='N' */;",
            create(ObjectKind::Table, "t"),
        ),
        (
            "--insert-ignore",
            "INSERT  IGNORE INTO `t` VALUES (1);",
            insert(),
        ),
        (
            "--complete-insert",
            "INSERT INTO `t` (`a`, `b`) VALUES (1,2);",
            insert(),
        ),
        (
            "--skip-extended-insert",
            "INSERT INTO `t` VALUES (1);",
            insert(),
        ),
        ("--add-locks", "LOCK TABLES `t` WRITE;", Kind::LockTables),
        (
            "--disable-keys",
            "/*!40000 ALTER TABLE `t` DISABLE KEYS */;",
            Kind::ToggleKeys,
        ),
        ("--no-autocommit", "set autocommit=0;", Kind::Set),
        (
            "MariaDB 10.6 and later, of a versioned table",
            "/*M!101100 SET @old_system_versioning_insert_history=@@session.system_versioning_insert_history, @@session.system_versioning_insert_history=1 */;",
            Kind::Set,
        ),
    ] {
        let dump = format!("USE `d`;\n{sql}\n");
        let (kinds, _) = scan(&dump, 9).unwrap_or_else(|why| panic!("{program}: {sql}: {why}"));
        assert_eq!(kinds[1..], [kind], "{program}: {sql}");
    }
}

#[test]
fn statements_that_only_other_options_write_are_refused() {
    for (option, sql) in [
        (
            "--set-gtid-purged=ON",
            "SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;",
        ),
        ("--set-gtid-purged=ON", "SET @@SESSION.SQL_LOG_BIN= 0;"),
        (
            "--set-gtid-purged=ON",
            "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5';",
        ),
        (
            "--set-gtid-purged=ON",
            "SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN;",
        ),
        ("--replace", "REPLACE INTO `t` VALUES (1);"),
        (
            "--source-data=1",
            "CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='b.1', SOURCE_LOG_POS=4;",
        ),
        (
            "--master-data=1",
            "CHANGE MASTER TO MASTER_LOG_FILE='b.1', MASTER_LOG_POS=4;",
        ),
        ("--dump-replica", "STOP REPLICA;"),
        (
            "--gtid --master-data=1",
            "SET GLOBAL gtid_slave_pos='0-1-59';",
        ),
        (
            "--column-statistics",
            "/*!80002 ANALYZE TABLE `t` UPDATE HISTOGRAM ON `a` WITH 100 BUCKETS */;",
        ),
        (
            "--all-tablespaces",
            "CREATE LOGFILE GROUP lg1 ADD UNDOFILE 'u.dat' ENGINE=NDB;",
        ),
        (
            "--all-tablespaces",
            "CREATE TABLESPACE `ts` ADD DATAFILE 'ts.ibd' ENGINE=InnoDB;",
        ),
        ("--flush-privileges", "FLUSH PRIVILEGES;"),
        ("--flush-privileges, 8.0", "/*! FLUSH PRIVILEGES */;"),
        ("--delete-source-logs", "PURGE BINARY LOGS TO 'b.2';"),
        (
            "--system=users",
            "CREATE USER `u`@`%` IDENTIFIED BY PASSWORD '*B';",
        ),
        (
            "--system=servers",
            "CREATE SERVER `s` FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'h');",
        ),
        ("--system=plugins", "INSTALL PLUGIN p SONAME 'p.so';"),
        (
            "the other way round",
            "/*!50717 PREPARE s FROM 'DROP DATABASE d' */;",
        ),
    ] {
        let dump = format!("USE `d`;\n{sql}\n");
        let why = scan(&dump, dump.len()).expect_err(sql);
        assert!(
            why.contains("unsupported statement"),
            "{option}: {sql}: {why}"
        );
    }
}
