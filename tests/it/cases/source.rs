//! What a source has that a dump makes trouble of: names of the server's own, what no dump holds, what
//! dump programs fail on, and settings that cut or end a dump.

use crate::support::lab::ScratchDir;
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

use super::{Case, own_collation};

/// What doctor prints, and the exit code.
fn doctor(drctl: &Drctl) -> (i32, String) {
    let run = drctl.run(["doctor"]);
    (run.code, run.stdout)
}

/// A line of a text that has all of these words.
#[track_caller]
fn says(text: &str, words: &[&str]) {
    let holds = |line: &str| words.iter().all(|word| line.contains(word));
    assert!(
        text.lines().any(holds),
        "no line has all of {words:?}:\n{text}"
    );
}

/// The warnings of the newest backup, a line each.
fn warnings(drctl: &Drctl) -> String {
    let shown = drctl.run(["show", "--latest", "--output", "json"]).ok();
    let warnings = shown.json()["warnings"].clone();
    let all = warnings.as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|line| format!("{}\n", line.as_str().expect("a text")))
        .collect()
}

/// Whoever makes a backup is told these words before and with it.
#[track_caller]
fn named(drctl: &Drctl, all: &[&[&str]]) {
    drctl.run(["backup"]).ok();
    let (told, manifest) = (doctor(drctl).1, warnings(drctl));
    for words in all {
        says(&told, words);
        says(&manifest, words);
    }
}

on_both!(
    fn schemas_with_names_of_the_servers_own_but_for_their_case(flavour) {
        let case = Case::load(flavour, "upper_system", &[]);
        if flavour == Flavour::MariaDb {
            // Its dump program takes MYSQL for mysql, looks for general_log in it, and ends.
            let (code, told) = doctor(&case.drctl);
            assert_eq!(code, 4);
            says(&told, &["FAIL", "schema `MYSQL`", "takes"]);
            case.drctl.run(["backup"]).refused(4, &["schema `MYSQL`", "exclude its schema"]);
            case.source.exec("DROP DATABASE `MYSQL`");
        }
        case.comes_back();
        let folding = Server::initialised(flavour, &["--lower-case-table-names=1"]);
        let drctl = case.drctl.into(&folding);
        for more in [&["--plan"][..], &[]] {
            let run = drctl.run([&["restore", "--latest"], more].concat());
            let said = format!("{}{}", run.stdout, run.stderr);
            says(&said, &["the destination reserves the name of", "schema `SYS`"]);
        }
        assert_eq!(folding.value("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'drctl'"), "0");
    }
);

#[test]
fn tables_that_mysqldump_takes_for_the_servers_own_are_refused_by_name() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE DATABASE `MYSQL`; CREATE TABLE `MYSQL`.gtid_executed (id INT PRIMARY KEY);
         INSERT INTO `MYSQL`.gtid_executed VALUES (1)",
    );
    let words = ["table `MYSQL`.`gtid_executed`", "for a system object"];
    says(&doctor(&case.drctl).1, &words);
    case.drctl.run(["backup"]).refused(4, &words);
}

#[test]
fn a_directory_that_mariadb_takes_for_a_schema_is_left_out_by_name() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE DATABASE apart; \
         CREATE DATABASE `Performance_Schema`",
    );
    std::fs::create_dir(case.source.datadir().join("lost+found")).expect("a data directory");
    let Case {
        source,
        into,
        drctl,
    } = case;
    let drctl = drctl.env("DRCTL_BACKUP_EXCLUDE_SCHEMAS", "apart");
    named(
        &drctl,
        &[
            &["schema `#mysql50#lost+found` is left out", "directory"],
            &[
                "schema `Performance_Schema` is left out",
                "no table can be created in it",
            ],
            &["left out", "backup.exclude_schemas", "schema `apart`"],
        ],
    );
    drctl.run(["restore", "--latest"]).ok();
    drop((source, into));
}

on_both!(
    fn what_no_dump_holds_is_named(flavour) {
        let case = Case::load(flavour, "servers_udf", &[]);
        let mut lines: Vec<&[&str]> = vec![
            &["(CREATE SERVER) are not dumped: remote;"],
            &["objects in the server's own schemas are not dumped", "`mysql`.`mine`", "`sys`.`p`"],
        ];
        case.source.exec("CREATE TABLE mysql.mine (id INT PRIMARY KEY); CREATE PROCEDURE sys.p() SELECT 1");
        match flavour {
            Flavour::MariaDb => {
                case.source.exec("ANALYZE TABLE servers_udf.t PERSISTENT FOR ALL");
                case.source.exec(
                    "SET sql_mode = 'IGNORE_BAD_TABLE_OPTIONS'; CREATE TABLE servers_udf.e (id INT) ENGINE = MyISAM ENCRYPTED = YES;
                     CREATE TABLE servers_udf.x (id INT, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START,
                       e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING;
                     INSERT servers_udf.x (id) VALUES (1); DROP TABLE servers_udf.x",
                );
                lines.extend([
                    &["PERSISTENT are not dumped: table `servers_udf`.`t`"][..],
                    &["keys of encrypted tables are not dumped", "table `servers_udf`.`e`"],
                    &["commit times of transaction-precise tables are not dumped", "transaction_registry"],
                ]);
            }
            Flavour::MySql => {
                case.source.exec(
                    "CREATE RESOURCE GROUP batch TYPE = USER; SET PERSIST max_connections = 99;
                     CREATE UNDO TABLESPACE more ADD DATAFILE 'more.ibu'; CREATE TABLESPACE apart ADD DATAFILE 'apart.ibd';
                     CREATE DATABASE x; CREATE TABLE x.t (id INT PRIMARY KEY);
                     CREATE TABLE x.a (id INT) ENGINE = ARCHIVE; CREATE TABLE x.h (id INT) ENGINE = BLACKHOLE;
                     CREATE DATABASE ey DEFAULT ENCRYPTION = 'Y';
                     UPDATE mysql.server_cost SET cost_value = 1 WHERE cost_name = 'row_evaluate_cost';
                     XA START 'prepared'; INSERT INTO x.t VALUES (1); XA END 'prepared'; XA PREPARE 'prepared'",
                );
                lines.extend([
                    &["resource groups are not dumped: batch;"][..],
                    &["persisted variables are not dumped: max_connections;"],
                    &["undo tablespaces are not dumped: more;"],
                    &["general tablespaces are not dumped: apart;"],
                    &["costs of the optimizer are not dumped: row_evaluate_cost;"],
                    &["prepared by XA are not dumped", "prepared;"],
                    &["engines that a destination may lack", "table `x`.`a` (ARCHIVE), table `x`.`h` (BLACKHOLE);"],
                    &["schemas encrypted by default", "schema `ey`;"],
                ]);
            }
        }
        named(&case.drctl.env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow"), &lines);
    }
);

on_both!(
    fn what_no_dump_holds_keeps_nothing_else_from_coming_back(flavour) {
        Case::load(flavour, "servers_udf", &[]).comes_back();
    }
);

#[test]
fn each_kind_that_no_dump_holds_is_known_to_a_server() {
    need!(MariaDb);
    need!(MySql);
    for query in drctl::backup::not_restorable::queries() {
        let answers = Flavour::ALL.map(|flavour| Server::shared(flavour).try_exec(query));
        assert!(answers.iter().any(Result::is_ok), "{query}: {answers:?}");
    }
}

on_both!(
    fn replication_that_no_dump_holds_is_named(flavour) {
        // A replica that has stopped is backed up by nobody: doctor alone goes on.
        let source = Server::start_with(flavour, &["--server-id=7"]);
        let lines: &[&[&str]] = match flavour {
            Flavour::MariaDb => {
                source.exec("CHANGE MASTER 'dc2' TO MASTER_HOST = 'db-0.invalid', MASTER_USER = 'repl'");
                &[&["replication connections are not dumped: dc2;"]]
            }
            Flavour::MySql => {
                source.exec(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db-0.invalid', SOURCE_USER = 'repl' FOR CHANNEL 'dc2';
                     CHANGE REPLICATION FILTER REPLICATE_DO_DB = (d) FOR CHANNEL 'dc2';
                     CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (other);
                     SELECT asynchronous_connection_failover_add_source('dc2', 'db-1.invalid', 3306, '', 80)",
                );
                &[
                    &["replication channels are not dumped: 'dc2' from db-0.invalid;"],
                    &["replication filters are not dumped", "REPLICATE_DO_DB = d", "REPLICATE_IGNORE_DB = other"],
                    &["failover sources of replication are not dumped: 'dc2' from db-1.invalid;"],
                ]
            }
        };
        let told = doctor(&Drctl::new("replica").source(&source)).1;
        for words in lines {
            says(&told, words);
        }
    }
);

on_both!(
    fn a_collation_from_the_servers_files_is_named(flavour) {
        let (_files, option) = own_collation(flavour);
        let case = Case::empty(flavour, &[&option]);
        case.source.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, a VARCHAR(9) COLLATE utf8mb4_mine_ci)");
        named(&case.drctl, &[&["collations from files of the server are not dumped: utf8mb4_mine_ci;"]]);
    }
);

#[test]
fn transaction_precise_history_is_refused_by_name() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.fine (id INT PRIMARY KEY) WITH SYSTEM VERSIONING; CREATE DATABASE p;
         CREATE TABLE p.t (id INT PRIMARY KEY, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START,
           e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING;
         INSERT p.t (id) VALUES (1)",
    );
    let words = [
        "transaction-precise",
        "table `p`.`t`",
        "backup.exclude_schemas",
    ];
    let (code, told) = doctor(&case.drctl);
    assert_eq!(code, 4, "{told}");
    says(&told, &[&["FAIL"], &words[..]].concat());
    assert!(!told.contains("`fine`"), "{told}");
    case.drctl.run(["backup"]).refused(4, &words);
    let Case {
        source,
        into,
        drctl,
    } = case;
    // The way out.
    let drctl = drctl.env("DRCTL_BACKUP_EXCLUDE_SCHEMAS", "p");
    drctl.run(["backup"]).ok();
    drctl.run(["restore", "--latest"]).ok();
    drop((source, into));
}

#[test]
fn a_spatial_reference_system_of_ones_own_is_named() {
    need!(MySql);
    let case = Case::load(Flavour::MySql, "custom_srs", &[]);
    named(
        &case.drctl,
        &[&["spatial reference systems", ": 1999999;", "CREATE SPATIAL"]],
    );
    let there = "SELECT CONCAT('CREATE SPATIAL REFERENCE SYSTEM ', srs_id, ' NAME ''', srs_name, ''' DEFINITION ''', definition, '''') \
                 FROM information_schema.st_spatial_reference_systems WHERE srs_id = 1999999";
    // What it says to do is what helps.
    case.into.exec(&case.source.value(there));
    case.drctl.run(["restore", "--latest"]).ok();
}

on_both!(
    fn bodies_that_end_in_a_line_comment_come_back(flavour) {
        let case = Case::load(flavour, "trailing_trigger", &["--default-time-zone=+00:00"]);
        case.source.exec(
            "USE tt;
             CREATE PROCEDURE `p.p`() SELECT 1 -- it's done\n;
             CREATE FUNCTION `f``f`() RETURNS INT DETERMINISTIC RETURN 1 #\n;
             CREATE EVENT `e e` ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1 # `done` */ ;\n;
             CREATE TRIGGER `t``r` BEFORE UPDATE ON t FOR EACH ROW SET @a = 1 /* ; */ + 2 # it's */ ;;\n;
             CREATE PROCEDURE ends() SELECT 1 -- within\n + 1;
             SET NAMES latin1; CREATE PROCEDURE latin() SELECT 1 # é\n;
             CREATE TABLE told (v TEXT); INSERT INTO told VALUES ('SET NEW.a = 1 # done */;;\n')",
        );
        let kept = "SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = 'tt' AND routine_definition REGEXP '(#|-- )'";
        assert_eq!(case.source.value(kept), "4", "the client leaves comments in");
        assert_eq!(doctor(&case.drctl).0, 0);
        case.comes_back();
    }
);

on_both!(
    fn a_view_of_more_columns_than_a_table_takes(flavour) {
        Case::load(flavour, "wide_view", &[]).comes_back();
    }
);

on_both!(
    fn views_that_the_dump_program_fails_on_are_named_in_every_language(flavour) {
        let source = Server::start_with(flavour, &["--lc-messages=es_ES"]);
        source.exec(
            "CREATE DATABASE v; USE v; CREATE TABLE t (a INT, b INT); CREATE TABLE gone (a INT);
             CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1;
             CREATE VIEW no_table AS SELECT a FROM gone; CREATE VIEW no_column AS SELECT b FROM t;
             CREATE VIEW no_function AS SELECT f() x; CREATE VIEW `on.``one` AS SELECT a FROM no_table;
             CREATE VIEW fine AS SELECT a FROM t;
             DROP TABLE gone; ALTER TABLE t DROP COLUMN b; DROP FUNCTION f",
        );
        let drctl = Drctl::new("views").source(&source);
        let (code, told) = doctor(&drctl);
        assert_eq!(code, 4, "{told}");
        let words = ["cannot dump 4 views", "`no_column`", "`no_function`", "`no_table`", "`on.``one`"];
        says(&told, &words);
        assert!(!told.contains("`fine`"), "{told}");
        drctl.run(["backup"]).refused(4, &words);
        source.exec("DROP VIEW v.`on.``one`; DROP VIEW v.no_table, v.no_column, v.no_function");
        assert!(doctor(&drctl).1.contains("1 schema with 3 objects: everything can be dumped"));
        drctl.run(["backup"]).ok();
    }
);

on_both!(
    fn settings_for_everybody_neither_cut_nor_end_a_dump(flavour) {
        let case = Case::empty(flavour, &[]);
        case.source.exec(
            "CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT);
             INSERT INTO t WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, i FROM n",
        );
        let ours = match flavour {
            Flavour::MariaDb => "SET GLOBAL max_statement_time = 0.01, GLOBAL tx_isolation = 'SERIALIZABLE', GLOBAL tx_read_only = 1",
            Flavour::MySql => {
                "SET GLOBAL max_execution_time = 1, GLOBAL sql_select_limit = 3, GLOBAL max_join_size = 2,
                 GLOBAL sql_big_selects = 0, GLOBAL transaction_read_only = 1, GLOBAL wait_timeout = 1,
                 GLOBAL net_write_timeout = 1, GLOBAL show_create_table_verbosity = 1, GLOBAL lc_messages = 'ja_JP',
                 GLOBAL sql_safe_updates = 1"
            }
        };
        case.source.exec(ours);
        assert_eq!(doctor(&case.drctl).0, 0);
        case.drctl.run(["backup"]).ok();
        case.drctl.run(["restore", "--latest"]).ok();
        assert_eq!(case.into.value("SELECT CONCAT(COUNT(*), ' ', SUM(v)) FROM d.t"), "900 405450");
        case.passes_drills();
    }
);

#[test]
fn settings_that_mariadbs_dump_program_cannot_change_are_named() {
    need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    server.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY) WITH SYSTEM VERSIONING; INSERT INTO d.t VALUES (1)",
    );
    let drctl = Drctl::new("settings").source(&server);
    for (set, back, name) in [
        (
            "system_versioning_asof = '2001-01-01'",
            "system_versioning_asof = DEFAULT",
            "system_versioning_asof",
        ),
        (
            "sql_big_selects = 0",
            "sql_big_selects = 1",
            "sql_big_selects",
        ),
        (
            "sql_select_limit = 5",
            "sql_select_limit = DEFAULT",
            "sql_select_limit",
        ),
    ] {
        server.exec(&format!("SET GLOBAL {set}"));
        let (code, told) = doctor(&drctl);
        assert_eq!(code, 9, "{told}");
        says(&told, &["FAIL", name, "SET GLOBAL"]);
        drctl.run(["backup"]).refused(9, &[name, "SET GLOBAL"]);
        server.exec(&format!("SET GLOBAL {back}"));
    }
    for name in [
        "wait_timeout",
        "idle_transaction_timeout",
        "net_write_timeout",
    ] {
        server.exec(&format!("SET GLOBAL {name} = 30"));
        let fix = format!("SET GLOBAL {name} = 600");
        named(
            &drctl,
            &[&["the dump aborts if the store stalls for 30 s", &fix]],
        );
    }
}

on_both!(
    fn a_table_that_cannot_be_opened_is_named_before_the_backup(flavour) {
        let server = Server::start(flavour);
        server.exec(
            "CREATE DATABASE d; USE d; CREATE TABLE fine (id INT PRIMARY KEY); CREATE TABLE `gone%s.x` (id INT PRIMARY KEY);
             ALTER TABLE `gone%s.x` DISCARD TABLESPACE",
        );
        let drctl = Drctl::new("discarded").source(&server);
        let (code, told) = doctor(&drctl);
        assert_eq!(code, 4, "{told}");
        says(&told, &["FAIL", "cannot read 1 table: table `d`.`gone%s.x`"]);
        drctl.run(["backup"]).refused(4, &["table `d`.`gone%s.x`"]);
    }
);

on_both!(
    fn an_account_without_a_connection_for_the_dump_is_told_so_by_doctor(flavour) {
        let server = Server::start(flavour);
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)");
        server.account("single", "x", &["ALL ON *.*"]);
        server.exec("ALTER USER single WITH MAX_USER_CONNECTIONS 1");
        let drctl = Drctl::new("single")
            .source(&server)
            .env("DRCTL_SOURCE_URL", &server.url_as("single"))
            .env("DRCTL_SOURCE_PASSWORD", "x");
        let (code, told) = doctor(&drctl);
        assert_eq!(code, 4, "{told}");
        says(&told, &["FAIL", "max_user_connections"]);
        drctl.run(["backup"]).refused(4, &["max_user_connections"]);
    }
);

#[test]
fn what_mysql_loaded_from_files_is_named() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY);
         INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';
         INSTALL COMPONENT 'file://component_log_filter_dragnet';
         INSTALL PLUGIN keyring_udf SONAME 'keyring_udf.so';
         CREATE FUNCTION keyring_key_fetch RETURNS STRING SONAME 'keyring_udf.so'",
    );
    named(
        &case.drctl,
        &[
            &["installed plugins are not dumped: auth_socket, keyring_udf;"],
            &["components are not dumped: file://component_log_filter_dragnet;"],
            &["loadable functions are not dumped: keyring_key_fetch;"],
        ],
    );
}

#[test]
fn programs_of_schemas_that_are_gone_are_named() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE PROCEDURE d.p() SELECT 1;
         UPDATE mysql.proc SET db = 'gone' WHERE db = 'd'",
    );
    let words = "programs of schemas that do not exist are not dumped: gone.p;";
    named(&case.drctl, &[&[words]]);
}

on_both!(
    fn programs_whose_comment_comes_back_with_more_backslashes_are_named(flavour) {
        let case = Case::empty(flavour, &[]);
        case.source.exec(
            "CREATE DATABASE o; USE o; CREATE PROCEDURE fine() COMMENT 'C:\\\\data' SELECT 1; \
             SET sql_mode = 'NO_BACKSLASH_ESCAPES'; CREATE PROCEDURE plain() COMMENT 'data' SELECT 1; \
             CREATE PROCEDURE p() COMMENT 'C:\\data' SELECT 1",
        );
        named(&case.drctl, &[&["NO_BACKSLASH_ESCAPES", "procedure `o`.`p`"]]);
        let told = doctor(&case.drctl).1;
        assert!(!told.contains("`fine`") && !told.contains("`plain`"), "{told}");
        case.drctl.run(["restore", "--latest"]).fails(7, "procedure `o`.`p`");
    }
);

/// Runs SQL by a client with this character set.
fn exec_in(server: &Server, charset: &str, sql: &[u8]) {
    let dir = ScratchDir::new();
    let file = dir.path().join("sql");
    std::fs::write(&file, sql).expect("a scratch file");
    let status = server
        .client_command()
        .arg(format!("--default-character-set={charset}"))
        .stdin(std::fs::File::open(&file).expect("the file opens"))
        .status()
        .expect("the client runs");
    assert!(status.success(), "{charset}");
}

on_both!(
    fn programs_of_a_client_whose_characters_contain_backslashes_are_named_if_no_client_finds_their_end(flavour) {
        let case = Case::empty(flavour, &[]);
        case.source.exec("CREATE DATABASE c; CREATE TABLE c.t (id INT PRIMARY KEY)");
        // Shift JIS and Big5: the second byte of the character is a backslash; GBK: a backquote is fine in a text.
        exec_in(&case.source, "sjis", b"CREATE PROCEDURE c.sj() SELECT '\x95\\', 'x'");
        exec_in(&case.source, "big5", b"CREATE TRIGGER c.tr BEFORE INSERT ON c.t FOR EACH ROW SET @a = '\xa5\\'");
        exec_in(&case.source, "gbk", b"CREATE PROCEDURE c.fine() SELECT '\x81`', 'x'");
        // What follows the character is a comment for a client, and a part of the text for the server.
        exec_in(&case.source, "sjis", b"CREATE EVENT c.ev ON SCHEDULE EVERY 1 YEAR DO SET @a = '\x95\\'' # '");
        let (code, told) = doctor(&case.drctl);
        assert_eq!(code, 4, "{told}");
        let words = ["no client could parse", "trigger `c`.`tr`", "procedure `c`.`sj`"];
        says(&told, &words);
        assert!(!told.contains("`fine`"), "{told}");
        case.drctl.run(["backup"]).refused(4, &words);
        case.source.exec("DROP PROCEDURE c.sj; DROP TRIGGER c.tr");
        assert_eq!(doctor(&case.drctl).0, 0);
        case.comes_back();
    }
);

#[test]
fn a_view_that_mysql_opens_and_cannot_print_is_named() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    exec_in(
        &case.source,
        "sjis",
        b"CREATE DATABASE c; CREATE VIEW c.v AS SELECT '\x95\\' AS x; CREATE VIEW c.fine AS SELECT '\x95a' AS x",
    );
    let (code, told) = doctor(&case.drctl);
    assert_eq!(code, 4, "{told}");
    let words = ["cannot dump 1 view", "cannot print", "view `c`.`v`"];
    says(&told, &words);
    case.drctl.run(["backup"]).refused(4, &words);
    case.source.exec("DROP VIEW c.v");
    assert_eq!(doctor(&case.drctl).0, 0);
    case.drctl.run(["backup"]).ok();
}

#[test]
fn tables_with_vector_indexes_come_back() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    // Of MariaDB 11.7 and later.
    if case.source.try_exec("SELECT VEC_FromText('[1]')").is_err() {
        return;
    }
    case.source.exec(
        "CREATE DATABASE vi; USE vi; CREATE TABLE vec (id INT PRIMARY KEY, v VECTOR(3) NOT NULL, n INT, VECTOR KEY (v), KEY (n));
         INSERT INTO vec VALUES (1, VEC_FromText('[1,2,3]'), 1), (2, VEC_FromText('[3,2,1]'), 2);
         CREATE TABLE `a#i#01` LIKE vec; INSERT INTO `a#i#01` SELECT * FROM vec",
    );
    let (code, told) = doctor(&case.drctl);
    assert_eq!(code, 0, "{told}");
    case.comes_back();
    let nearest =
        "SELECT id FROM vi.vec ORDER BY VEC_DISTANCE_EUCLIDEAN(v, VEC_FromText('[3,2,2]')) LIMIT 1";
    assert_eq!(case.into.value(nearest), "2");
}

#[test]
fn cycle_counts_of_sequences_are_named() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(
        "CREATE DATABASE m; USE m; CREATE SEQUENCE cyc MAXVALUE 2 CYCLE NOCACHE; DO NEXTVAL(cyc), NEXTVAL(cyc), NEXTVAL(cyc);
         CREATE SEQUENCE round MAXVALUE 20 CYCLE NOCACHE; DO SETVAL(round, 10, 1, 5); DO NEXTVAL(round); CREATE SEQUENCE plain; DO NEXTVAL(plain)",
    );
    named(
        &case.drctl,
        &[&[
            "cycle counts",
            "sequence `m`.`cyc` (1)",
            "sequence `m`.`round` (5)",
            "SETVAL",
        ]],
    );
    assert!(!warnings(&case.drctl).contains("`plain`"));
    case.drctl.run(["restore", "--latest"]).ok();
    let next = "SELECT NEXTVAL(m.cyc)";
    assert_eq!(case.into.value(next), case.source.value(next));
    // As the warning says.
    let count = "SELECT cycle_count FROM m.round";
    assert_eq!(case.into.value(count), "0");
    let next = case.into.value("SELECT next_not_cached_value FROM m.round");
    case.into.exec(&format!("DO SETVAL(m.round, {next}, 0, 5)"));
    assert_eq!(case.into.value(count), "5");
    assert_eq!(case.into.value("SELECT NEXTVAL(m.round)"), "12");
}
