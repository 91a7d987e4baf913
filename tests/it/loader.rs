//! How rows get into tables: by LOAD DATA where server and table allow it, else by INSERT.

use drctl::sql::create_table::CreateTable;
use drctl::sql::layout::{Layout, ascii_compatible};

use crate::on_both;
use crate::support::{Drctl, Flavour, Server};

/// A table each, whose types LOAD DATA loads: definition, rows.
const LOADED: &[(&str, &str)] = &[
    (
        "numbers",
        "(a TINYINT, b BIGINT UNSIGNED ZEROFILL, c DECIMAL(30,10), d DOUBLE, e FLOAT, f YEAR)",
    ),
    (
        "times",
        "(a DATE, b TIME(3), c DATETIME(6), d TIMESTAMP(6) NULL)",
    ),
    (
        "texts",
        "(a CHAR(9), b VARCHAR(99), c LONGTEXT, d ENUM('a','''b,'), e SET('x','y'), f VARCHAR(9) CHARACTER SET ucs2)",
    ),
    (
        "bytes",
        "(a BINARY(3), b VARBINARY(99), c LONGBLOB, d GEOMETRY, e POINT, f BIT(9))",
    ),
    // Rows that are sent in the character set of the table.
    (
        "latin",
        "(id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(99), b ENUM('a','b'), c BLOB, d TEXT) CHARACTER SET latin1",
    ),
];

/// The same for one flavour: columns of its own types beside one in latin1.
const OWN: [(Flavour, &str, &str); 2] = [
    (
        Flavour::MySql,
        "(a JSON, b VARCHAR(9), c VECTOR(2)) CHARACTER SET latin1",
        r#"(JSON_OBJECT('k', JSON_ARRAY('"\\\n', 1.5)), 'x', TO_VECTOR('[1,2]')), (NULL, '),(', NULL)"#,
    ),
    (
        Flavour::MariaDb,
        "(a UUID, b VARCHAR(9), c INET4, d INET6) CHARACTER SET latin1",
        "('123e4567-e89b-12d3-a456-426614174000', 'x', '10.0.0.1', '::1'), (NULL, '),(', NULL, NULL)",
    ),
];

const ROWS: &[(&str, &str)] = &[
    (
        "numbers",
        "(-1, 18446744073709551615, -12345678901234567890.0123456789, -0e0, 1e-30, 0), (NULL, 0, 0, 5e-324, 0.5, 2026)",
    ),
    (
        "times",
        "('0000-00-00', '-838:59:59.000', '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01'), \
         ('2026-02-31', NULL, '2026-06-30 00:00:00.1', NULL)",
    ),
    (
        "texts",
        "('NULL', '\\\\N', '),(''\"\\\\\\0\\n\\r\\t\\Z),\\n(', 'a', '', 'ä'), ('ä', '', '\\\\', '''b,', 'x,y', ''), \
         (NULL, NULL, NULL, NULL, NULL, NULL)",
    ),
    (
        "bytes",
        "('', x'00', x'27005C2C290A28', POINT(1, 2), POINT(3, 4), 257), ('abc', '', NULL, NULL, NULL, 0), \
         ('NUL', 'NULL', '0x41', LINESTRING(POINT(0, 0), POINT(1, 1)), NULL, NULL)",
    ),
    (
        "latin",
        r"(5, '\\),(\n''', 'b', 'a,\\'',', ''), (6, NULL, 'a', '', 'NULL'), (7, '~{}[]|^`', NULL, NULL, '\0')",
    ),
];

/// How often a server has executed LOAD DATA.
fn loads(server: &Server) -> u64 {
    let status = server.query("SHOW GLOBAL STATUS LIKE 'Com_load'");
    status[0][1].parse().unwrap()
}

/// A source with those tables, in a schema of its own.
fn source(flavour: Flavour) -> Server {
    let source = Server::start(flavour);
    source.exec("CREATE DATABASE d CHARACTER SET utf8mb4");
    for (name, columns) in LOADED {
        source.exec(&format!("CREATE TABLE d.{name} {columns}"));
    }
    for (of, columns, rows) in OWN {
        if of == flavour {
            source.exec(&format!(
                "CREATE TABLE d.own {columns}; INSERT INTO d.own VALUES {rows}"
            ));
        }
    }
    for (name, rows) in ROWS {
        source.exec(&format!(
            "SET NAMES utf8mb4; SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'; INSERT INTO d.{name} VALUES {rows}"
        ));
    }
    source
}

on_both!(
    fn each_type_is_loaded_by_load_data_where_the_server_takes_it(flavour) {
        let source = source(flavour);
        let drctl = Drctl::new("loads").source(&source);
        // Frames of several streams would share tables between lanes.
        drctl.run(["backup", "--jobs", "1"]).ok();
        let into = Server::start_with(flavour, &["--local-infile=ON"]);
        let drctl = drctl.into(&into);
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(loads(&into), LOADED.len() as u64 + 1);

        let without = Server::start_with(flavour, &["--local-infile=OFF"]);
        let drctl = drctl.into(&without);
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(loads(&without), 0);
        assert_eq!(without.value("SELECT @@GLOBAL.local_infile"), "0");

        let unwanted = Server::start_with(flavour, &["--local-infile=ON"]);
        let drctl = drctl.into(&unwanted).env("DRCTL_RESTORE_LOADER", "insert");
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(loads(&unwanted), 0);
    }
);

on_both!(
    fn a_restore_that_may_change_settings_permits_local_infile_and_reverts_it(flavour) {
        let source = source(flavour);
        let into = Server::start_with(flavour, &["--local-infile=OFF"]);
        let drctl = Drctl::new("permits").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        let report = drctl
            .run(["restore", "--latest", "--fast-unsafe", "--output", "json"])
            .ok();
        assert!(report.stdout.contains("local_infile = 1"), "{}", report.stdout);
        assert_eq!(loads(&into), LOADED.len() as u64 + 1);
        assert_eq!(into.value("SELECT @@GLOBAL.local_infile"), "0");
    }
);

on_both!(
    fn a_log_of_statements_gets_inserts_and_no_files(flavour) {
        let source = source(flavour);
        let drctl = Drctl::new("logs").source(&source);
        drctl.run(["backup"]).ok();
        let logs = ["--local-infile=ON", "--log-bin=log", "--server-id=1", "--binlog-format=STATEMENT"];
        let into = Server::start_with(flavour, &logs);
        let drctl = drctl.into(&into);
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(loads(&into), 0);
        let not_logged = Server::start_with(flavour, &logs);
        let drctl = drctl.into(&not_logged);
        drctl.run(["restore", "--latest", "--no-binlog"]).ok();
        assert!(loads(&not_logged) > 0);
    }
);

on_both!(
    fn lanes_that_share_a_table_with_a_counter_load_each_row_once(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE d; CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(255), KEY a (a))",
        );
        source.exec("INSERT INTO d.t (a) VALUES (REPEAT('x', 255)), (REPEAT('y', 255))");
        for _ in 0..17 {
            source.exec("INSERT INTO d.t (a) SELECT a FROM d.t");
        }
        let into = Server::start_with(flavour, &["--local-infile=ON"]);
        let drctl = Drctl::new("shares").source(&source).into(&into).env("DRCTL_RESTORE_LANES", "3");
        drctl.run(["backup"]).ok();
        // In the order of the archive, then table by table.
        drctl.run(["restore", "--latest"]).ok();
        into.exec("DROP DATABASE d");
        drctl.run(["verify", "--latest"]).ok();
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(into.value("SELECT COUNT(*) FROM d.t"), "262144");
    }
);

on_both!(
    fn tables_that_load_data_does_not_load_exactly_are_loaded_by_insert(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE d; USE d; CREATE TABLE e (a ENUM('x') CHARACTER SET binary); INSERT INTO e VALUES ('x'); \
             CREATE TABLE m (a INT) ENGINE=MyISAM; INSERT INTO m VALUES (1)",
        );
        if flavour == Flavour::MariaDb {
            source.exec(
                "USE d; CREATE TABLE g (a INT, b INT AS (a + 1) STORED); INSERT INTO g (a) VALUES (1); \
                 CREATE TABLE c (a VARCHAR(9) COMPRESSED); INSERT INTO c VALUES ('x'); \
                 CREATE TABLE v (a INT) WITH SYSTEM VERSIONING; INSERT INTO v VALUES (1)",
            );
        }
        let into = Server::start_with(flavour, &["--local-infile=ON"]);
        let drctl = Drctl::new("inserts")
            .source(&source)
            .into(&into)
            .env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(loads(&into), 0);
    }
);

on_both!(
    fn rows_that_load_data_would_alter_are_rolled_back_and_loaded_by_insert(flavour) {
        // The CHECK warns for this row, as it did when the row was written; INSERT tells this from an altered value.
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE d; USE d; SET sql_mode = ''; \
             CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(9), KEY s (s)); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        );
        let extra = match flavour {
            Flavour::MySql => "ALTER TABLE t ADD n INT AS (CAST(s AS SIGNED)) STORED",
            Flavour::MariaDb => "ALTER TABLE t ADD CONSTRAINT k CHECK (CAST(s AS SIGNED) < 9)",
        };
        source.exec(&format!("USE d; SET sql_mode = ''; {extra}"));
        let into = Server::start_with(flavour, &["--local-infile=ON"]);
        let drctl = Drctl::new("alters").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(loads(&into), 1);
        assert_eq!(into.value("SELECT COUNT(*) FROM d.t"), "2");
    }
);

on_both!(
    fn ascii_text_has_the_same_bytes_in_each_character_set_it_is_sent_in(flavour) {
        let server = Server::shared(flavour);
        for charset in ascii_compatible() {
            // From utf8mb4, to utf8mb4, and as bytes.
            let different = server.value(&format!(
                "WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 127) \
                 SELECT COUNT(*) FROM n WHERE LPAD(HEX(i), 2, '0') <> \
                 HEX(CONVERT(CONVERT(CHAR(i USING utf8mb4) USING {charset}) USING binary)) \
                 OR LPAD(HEX(i), 2, '0') <> HEX(CONVERT(CONVERT(CHAR(i) USING {charset}) USING utf8mb4))"
            ));
            assert_eq!(different, "0", "{charset}");
        }
    }
);

on_both!(
    fn the_character_set_of_a_definition_is_the_one_that_the_server_has(flavour) {
        let server = Server::start(flavour);
        server.exec("CREATE DATABASE d");
        let columns = [
            "VARCHAR(9)",
            "VARCHAR(9) COLLATE latin1_bin",
            "TEXT CHARACTER SET koi8r COLLATE koi8r_bin",
            "ENUM('a') CHARACTER SET latin1",
            "SET('a') COLLATE latin2_general_ci",
            "CHAR(3) CHARACTER SET utf8mb3",
        ];
        for (n, options) in ["latin1", "latin1 COLLATE latin1_bin", "utf8mb4", "koi8r"].iter().enumerate() {
            for (m, column) in columns.iter().enumerate() {
                server.exec(&format!(
                    "CREATE TABLE d.t{n}_{m} (a {column} COMMENT 'CHARACTER SET ascii') CHARSET {options}"
                ));
                let shown = server.exec(&format!("SHOW CREATE TABLE d.t{n}_{m}"));
                let sql = shown.split_once('\t').unwrap().1.replace("\\n", "\n");
                let found = Layout::of(&CreateTable::parse(sql.as_bytes())).unwrap().charset;
                let has = server.value(&format!(
                    "SELECT character_set_name FROM information_schema.columns WHERE table_schema = 'd' AND table_name = 't{n}_{m}'"
                ));
                let expected = ascii_compatible().contains(&has.as_str()).then_some(has);
                assert_eq!(found, expected, "{sql}");
            }
        }
    }
);
