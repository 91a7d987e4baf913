//! Tests of the scanner with input that must be rejected, with statements of dumps, and with random bytes.

use super::*;

/// Text, SQL and kind.
type Owned = (Vec<u8>, Vec<u8>, Kind);

/// Scans `dump` in chunks of the given size.
fn scan_by(dump: &[u8], chunk: usize) -> Result<Vec<Owned>, ScanError> {
    let mut scanner = Scanner::new();
    let mut statements = Vec::new();
    let mut chunks = dump.chunks(chunk);
    let mut ended = false;
    while !ended {
        match chunks.next() {
            Some(chunk) => scanner.push(chunk),
            None => {
                scanner.finish();
                ended = true;
            }
        }
        while let Some(it) = scanner.next()? {
            statements.push((it.text.to_vec(), it.sql.to_vec(), it.kind));
        }
    }
    Ok(statements)
}

fn kinds(dump: &str) -> Vec<Kind> {
    let all = scan_by(dump.as_bytes(), dump.len().max(1)).unwrap();
    all.into_iter().map(|it| it.2).collect()
}

fn refused(dump: &str) -> String {
    let error = scan_by(dump.as_bytes(), dump.len()).expect_err(dump);
    error.to_string()
}

fn table(name: &str) -> ObjectId {
    ObjectId::table("d", name)
}

#[test]
fn unsupported_statements_are_rejected_without_showing_values() {
    for sql in [
        "SET GLOBAL x=1",
        "SET PERSIST sql_mode=''",
        "SET @@global.sql_mode=''",
        "SET sql_notes=0, GLOBAL max_connections=1",
        "SET PASSWORD='hunter2'",
        "SET @@SESSION.SQL_LOG_BIN= 0",
        "SET @@GLOBAL.GTID_PURGED='x'",
        "SET sql_mode=(SELECT 'hunter2')",
        "SET @x='hunter2'",
        "GRANT ALL ON *.* TO hunter2",
        "CREATE USER x IDENTIFIED BY 'hunter2'",
        "INSTALL PLUGIN x SONAME 'hunter2'",
        "CREATE FUNCTION f RETURNS STRING SONAME 'hunter2'",
        "SELECT 'hunter2' INTO OUTFILE '/tmp/x'",
        "INSERT INTO t SELECT 'hunter2'",
        "REPLACE INTO t VALUES ('hunter2')",
        "DROP TABLE t",
        "DROP TABLE IF EXISTS t, hunter2",
        "CREATE TABLE t (a int) SELECT 'hunter2'",
        "CREATE TABLE t AS SELECT 'hunter2'",
        "CREATE TABLE t LIKE hunter2",
        "CREATE TEMPORARY TABLE t (a int)",
        "ALTER TABLE t DROP COLUMN hunter2",
        "ALTER DATABASE d READ ONLY = 1",
        "LOAD DATA INFILE 'hunter2' INTO TABLE t",
        "CALL hunter2()",
        "/*!80000 SET GLOBAL x=1 */",
        "/*M!100203 EXECUTE IMMEDIATE 'hunter2' */",
        "USE d; hunter2",
        "\u{c0}hunter2",
        "hunter2",
        "(1,'hunter2')",
    ] {
        let message = refused(&format!("{sql};\n"));
        assert!(!message.contains("hunter2"), "{sql}: {message}");
        assert!(
            message.contains("unsupported statement"),
            "{sql}: {message}"
        );
    }
}

#[test]
fn an_error_names_the_offset_of_its_statement() {
    let error = scan_by(b"USE `d`;\n\nGRANT x;\n", 5).unwrap_err();
    assert_eq!(error.offset, 9);
    assert_eq!(
        error.to_string(),
        "at byte 9 of the dump: unsupported statement: GRANT …"
    );
}

#[test]
fn an_error_names_the_object_of_its_statement() {
    for (sql, object) in [
        ("CREATE TABLE `t` (a int) AS SELECT 1;", "table `s`.`t`"),
        ("INSERT INTO `o`.`t` SELECT 1;", "table `o`.`t`"),
        (
            "DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER `x``y` # */;;\n",
            "trigger `s`.`x``y`",
        ),
        ("CREATE SCHEMA `z` (", "schema `z`"),
    ] {
        let error = scan_by(format!("USE `s`;\n{sql}\n").as_bytes(), 4096).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(&format!("of the dump, in {object}: ")),
            "{said}"
        );
    }
    let error = scan_by(b"CREATE USER `secret`;\n", 4096).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_second_statement_cannot_be_hidden_by_another_delimiter() {
    for sql in [
        "INSERT INTO t VALUES (1); DROP DATABASE d",
        "CREATE TABLE t (a int); DROP DATABASE d",
        "CREATE VIEW v AS SELECT 1; DROP DATABASE d",
        "USE d; DROP DATABASE d",
        "DROP TABLE IF EXISTS t; DROP DATABASE d",
    ] {
        refused(&format!("DELIMITER ;;\n{sql} ;;\nDELIMITER ;\n"));
    }
}

#[test]
fn truncated_input_is_an_error() {
    for dump in [
        "USE `d`",
        "INSERT INTO t VALUES (1,'a",
        "INSERT INTO t VALUES (1,'a\\",
        "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2)",
        "/*!40101 SET NAMES utf8mb4",
        "/* no end",
    ] {
        for chunk in [1, 7, 100] {
            let error = scan_by(dump.as_bytes(), chunk).unwrap_err();
            assert!(matches!(error.problem, Problem::Unterminated(_)), "{dump}");
        }
    }
}

#[test]
fn a_statement_of_the_maximum_length_is_accepted_and_a_longer_one_rejected() {
    let statement = "INSERT INTO t VALUES ('0123456789')";
    for (limit, taken) in [(statement.len(), true), (statement.len() - 1, false)] {
        let mut scanner = Scanner::new().with_limit(limit);
        scanner.push(statement.as_bytes());
        scanner.push(b";\n");
        assert_eq!(scanner.next().is_ok(), taken);
    }
    let mut endless = Scanner::new().with_limit(100);
    endless.push(&[b'a'; 101]);
    assert_eq!(endless.next().unwrap_err().problem, Problem::TooLong(100));
}

#[test]
fn names_that_are_not_utf8_are_rejected() {
    let error = scan_by(b"USE `\xff`;\n", 100).unwrap_err();
    assert!(matches!(error.problem, Problem::Name(_)));
}

#[test]
fn a_backslash_that_the_client_interprets_as_a_command_is_rejected() {
    let error = scan_by(b"DELIMITER ;;\nCREATE PROCEDURE p() SELECT \\! ;;\n", 9).unwrap_err();
    assert!(matches!(error.problem, Problem::Backslash(_)));
}

#[test]
fn a_body_that_ends_differently_for_client_and_server_is_rejected() {
    let whole = "DELIMITER ;;\nCREATE LIBRARY `l` LANGUAGE JAVASCRIPT AS $$ a; \"b\" $$ ;;\n";
    assert_eq!(kinds(whole).len(), 2);
    // The apostrophe opens a string for the client, which ends in the next statement.
    refused(
        "DELIMITER ;;\nCREATE LIBRARY `l` LANGUAGE JAVASCRIPT AS $$ don't $$ ;;\nDELIMITER ;\n\
         /*!50003 SET sql_mode = '' */ ;\n/*!50003 SET sql_mode = '' */ ;;\n",
    );
}

#[test]
fn a_body_that_the_client_would_split_is_rejected() {
    // To the client the comment goes on to the second star and slash, inside of the text.
    refused(
        "DELIMITER ;;\n/*!50003 CREATE*/ /*!50003 TRIGGER t BEFORE INSERT ON u FOR EACH ROW BEGIN \
         /* c */ SET @a='*/;;'; END */;;\nDELIMITER ;\n",
    );
}

#[test]
fn a_comment_between_statements_is_a_statement_of_its_own() {
    let dump = "/* SET @@GLOBAL.GTID_PURGED='+3e11;\n-4';*/\n\nUSE d;\n/* x */";
    let use_d = Kind::Use { schema: "d".into() };
    assert_eq!(kinds(dump), [Kind::Comment, use_d, Kind::Comment]);
    assert_eq!(scan_by(dump.as_bytes(), 1).unwrap()[1].1, b"USE d");
    refused("/* a /*! b */ c */ USE d;\n");
}

#[test]
fn every_form_in_dumps_has_its_kind() {
    let dump = "USE `d`;\n\
        CREATE DATABASE /*!32312 IF NOT EXISTS*/ `e``f` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\n\
        /*!40000 DROP DATABASE IF EXISTS `d`*/;\n\
        DROP TABLE IF EXISTS `t`;\n\
        /*!50106 DROP EVENT IF EXISTS `e` */;\n\
        DROP SEQUENCE IF EXISTS `s`;\n\
        DO SETVAL(`s`, -35, 0);\n\
        SELECT SETVAL(`s`, 35, 0);\n\
        LOCK TABLES `t` WRITE;\n\
        /*!40000 ALTER TABLE `t` DISABLE KEYS */;\n\
        INSERT  IGNORE INTO `t` (`a`, b) VALUES (1,2);\n\
        UNLOCK TABLES;\n\
        COMMIT;\n\
        ALTER DATABASE `d` CHARACTER SET latin1 COLLATE latin1_bin ;\n\
        /*!50003 SET SESSION SQL_MODE=\"\" */;\n";
    let drop = |kind, name: &str| Kind::Drop {
        object: ObjectId::new(kind, "d", name),
    };
    let sequence = || ObjectId::new(ObjectKind::Sequence, "d", "s");
    assert_eq!(
        kinds(dump),
        [
            Kind::Use { schema: "d".into() },
            Kind::CreateSchema {
                schema: "e`f".into()
            },
            Kind::Drop {
                object: ObjectId::schema("d"),
            },
            drop(ObjectKind::Table, "t"),
            drop(ObjectKind::Event, "e"),
            drop(ObjectKind::Sequence, "s"),
            Kind::SetSequence { object: sequence() },
            Kind::SetSequence { object: sequence() },
            Kind::LockTables,
            Kind::ToggleKeys,
            Kind::Insert { table: table("t") },
            Kind::UnlockTables,
            Kind::Transaction,
            Kind::AlterSchema { schema: "d".into() },
            Kind::Set,
        ]
    );
}

#[test]
fn placeholders_are_distinguished_from_views_by_form_not_by_body() {
    let dump = "USE `d`;\n\
        DROP TABLE IF EXISTS `v`;\n\
        /*!50001 DROP VIEW IF EXISTS `v`*/;\n\
        /*!50001 CREATE VIEW `v` AS SELECT \n 1 AS `a`*/;\n\
        /*!50001 CREATE TABLE `w` (\n  `a` tinyint NOT NULL\n) ENGINE=MyISAM */;\n\
        /*!50001 DROP VIEW IF EXISTS `v`*/;\n\
        /*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`r`@`%` SQL SECURITY DEFINER */\n\
        /*!50001 VIEW `v` AS select 1 AS `a` */;\n\
        /*!50001 DROP TABLE IF EXISTS `w`*/;\n";
    let view = |name: &str| ObjectId::new(ObjectKind::View, "d", name);
    let object = || view("v");
    assert_eq!(
        kinds(dump)[1..],
        [
            Kind::Drop { object: table("v") },
            Kind::Drop { object: object() },
            Kind::Create {
                object: object(),
                placeholder: true
            },
            Kind::Create {
                object: view("w"),
                placeholder: true
            },
            Kind::Drop { object: object() },
            Kind::Create {
                object: object(),
                placeholder: false
            },
            Kind::Drop { object: table("w") },
        ]
    );
    let mut scanner = Scanner::new();
    scanner.push(dump.as_bytes());
    while scanner.next().unwrap().is_some() {}
    assert_eq!(scanner.pending_views().collect::<Vec<_>>(), [&view("w")]);
}

#[test]
fn the_trailer_counts_only_at_the_end_and_outside_any_statement() {
    let ends = |dump: &str| {
        let mut scanner = Scanner::new();
        scanner.push(dump.as_bytes());
        scanner.finish();
        while let Ok(Some(_)) = scanner.next() {}
        scanner.saw_trailer()
    };
    assert!(ends(
        "USE d;\n\n-- Dump completed on 2026-11-21  4:15:02\n\n"
    ));
    assert!(ends("-- Dump completed"));
    for dump in [
        "",
        "USE d;\n",
        "-- Dump completed on x\nUSE d;\n",
        "-- Dump completed on x\n-- more\n",
        "-- Dump completed on x\nUSE",
        "USE d; x -- Dump completed on x\n",
        "INSERT INTO t VALUES ('\n-- Dump completed on x\n');\n",
        "INSERT INTO t VALUES ('\n-- Dump completed on x\n",
        "-- Dump completely\n",
    ] {
        assert!(!ends(dump), "{dump}");
    }
}

#[test]
fn accounts_sql_may_contain_only_statements_about_accounts() {
    let first = |sql: &str| {
        let mut scanner = Scanner::accounts();
        scanner.push(sql.as_bytes());
        scanner.next().map(|it| it.map(|it| it.kind))
    };
    for sql in [
        "CREATE USER IF NOT EXISTS `a`@`%` IDENTIFIED WITH 'x' AS 0x01;\n",
        "GRANT SELECT ON *.* TO `a`@`%`;\n",
        "CREATE ROLE `r`;\n",
        "SET DEFAULT ROLE `r` FOR `a`@`%`;\n",
        "ALTER USER `a`@`%` DEFAULT ROLE `r`;\n",
    ] {
        assert_eq!(first(sql), Ok(Some(Kind::Account)), "{sql}");
    }
    for sql in ["SET sql_mode = 'ORACLE';\n", "SET sql_mode = DEFAULT;\n"] {
        assert_eq!(first(sql), Ok(Some(Kind::Set)), "{sql}");
    }
    for sql in [
        "SET GLOBAL sql_mode = '';\n",
        "SET sql_mode = (SELECT 1);\n",
        "DROP DATABASE IF EXISTS d;\n",
        "SET PASSWORD='x';\n",
        "USE d;\n",
    ] {
        assert!(first(sql).is_err(), "{sql}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Random sequences of texts that are significant to the lexer.
    fn shreds() -> impl Strategy<Value = Vec<u8>> {
        let shred = prop_oneof![
            4 => Just(";".to_owned()),
            2 => Just("\n".to_owned()),
            1 => Just("USE `d`".to_owned()),
            1 => Just("INSERT INTO t VALUES (1,'".to_owned()),
            1 => Just("')".to_owned()),
            1 => Just("-- x ' ;\n".to_owned()),
            1 => Just("\nDELIMITER ;;\n".to_owned()),
            1 => Just("\nDELIMITER ;\n".to_owned()),
            1 => Just("DROP EVENT IF EXISTS e".to_owned()),
            1 => Just("/*!50003 ".to_owned()),
            1 => Just("SET NAMES utf8mb4".to_owned()),
            1 => Just("/*M!999999\\- enable the sandbox mode */ \n".to_owned()),
            1 => "[-#/*!+'\"`\\\\; \nN]{1,3}",
        ];
        prop::collection::vec(shred, 0..12).prop_map(|shreds| shreds.concat().into_bytes())
    }

    fn same_in_any_chunks(dump: &[u8], cut: usize) {
        let whole = scan_by(dump, dump.len().max(1));
        assert_eq!(whole, scan_by(dump, 1));
        assert_eq!(whole, scan_by(dump, cut));
        if let Ok(statements) = whole {
            let texts: Vec<u8> = statements.into_iter().flat_map(|it| it.0).collect();
            assert_eq!(texts, dump);
        }
    }

    proptest! {
        #[test]
        fn any_split_into_chunks_gives_the_same_statements(dump in shreds(), cut in 2usize..20) {
            same_in_any_chunks(&dump, cut);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            dump in prop::collection::vec(any::<u8>(), 0..200), cut in 2usize..20,
        ) {
            same_in_any_chunks(&dump, cut);
        }
    }
}
