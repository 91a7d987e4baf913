//! What a server refuses, or takes in another order only: replicas as destinations, dumps that do not restore,
//! views and sequences that need what comes later, engines and directories with a will of their own.

use super::{Case, drilled, own_collation};
use crate::support::backup::in_front_of_dump;
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

#[test]
fn a_replica_with_a_named_channel_is_refused_running_or_stopped() {
    need!(MariaDb);
    let case = Case::load(Flavour::MariaDb, "check_option", &["--server-id=7"]);
    case.drctl.run(["backup"]).ok();
    case.into
        .exec("CHANGE MASTER 'dc2' TO MASTER_HOST = 'db-0.invalid', MASTER_USER = 'repl'");
    for go in ["STOP SLAVE 'dc2'", "START SLAVE 'dc2'"] {
        case.into.exec(go);
        let plan = case.drctl.run(["restore", "--latest", "--plan"]);
        assert!(
            plan.stdout.contains("db-0.invalid (channel dc2)"),
            "{}",
            plan.stdout
        );
        case.drctl
            .run(["restore", "--latest"])
            .refused(9, &["a replica of db-0.invalid (channel dc2)"]);
    }
    case.drctl
        .run(["restore", "--latest", "--allow-replica"])
        .ok();
}

on_both!(
    fn a_dump_that_a_server_of_its_own_line_refuses_fails_and_names_the_object(flavour) {
        // The dump says what no server takes: a trigger on a column that is not there.
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, a INT); INSERT t VALUES (1, 2);
             CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
        );
        let drctl = Drctl::new("refused").source(&source);
        let other = "real \"$@\" | sed 's/SET NEW.a = 1/SET NEW.b = 1/'";
        let drctl = in_front_of_dump(flavour, drctl, "SOURCE", "", other);
        drctl.run(["backup"]).ok();
        for path in ["lanes", "client"] {
            let run = drctl.run(["verify", "--latest", "--path", path, "--output", "json"]);
            let run = run.refused(7, &["does not restore", "trigger `d`.`tr`", "1054"]);
            assert_eq!(run.json()["verdict"], "fail");
        }
    }
);

on_both!(
    fn a_view_with_a_check_option_on_a_later_view_comes_back(flavour) {
        let case = Case::load(flavour, "check_option", &[]);
        // One more between them, and one in another schema.
        case.source.exec(
            "CREATE DATABASE aa; USE check_option; CREATE VIEW a0 AS SELECT id FROM a WHERE id > 1 WITH LOCAL CHECK OPTION;
             CREATE VIEW aa.v AS SELECT id FROM check_option.z WHERE id > 2 WITH CASCADED CHECK OPTION",
        );
        case.comes_back();
        let said = drilled(&case.drctl, "client");
        assert!(said.contains("1368"), "{said}");
    }
);

#[test]
fn a_sequence_of_a_schema_that_sorts_later_comes_back() {
    need!(MariaDb);
    let case = Case::load(Flavour::MariaDb, "seq_other", &[]);
    case.comes_back();
}

#[test]
fn sequences_in_a_circle_come_back_and_are_named_for_the_plain_client() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(
        "CREATE DATABASE a; CREATE DATABASE b; CREATE SEQUENCE a.s; CREATE SEQUENCE b.s;
         CREATE TABLE a.t (id INT DEFAULT NEXTVAL(b.s), v INT); CREATE TABLE b.t (id INT DEFAULT NEXTVAL(a.s), v INT);
         INSERT a.t (v) VALUES (1); INSERT b.t (v) VALUES (1), (2)",
    );
    case.drctl.run(["backup"]).ok();
    let shown = case.drctl.run(["show", "--latest"]).ok();
    assert!(
        shown.stdout.contains("sequences of each other"),
        "{}",
        shown.stdout
    );
    case.drctl.run(["restore", "--latest"]).ok();
    case.drctl
        .run(["verify", "--latest", "--path", "lanes"])
        .ok();
    case.drctl
        .run(["verify", "--latest", "--path", "client"])
        .refused(7, &["table `a`.`t`", "1146"]);
}

#[test]
fn tables_of_the_engine_archive_come_back() {
    need!(MySql);
    let mut case = Case::load(Flavour::MySql, "archive", &[]);
    case.drctl = case.drctl.env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
    case.comes_back();
}

on_both!(
    fn tables_of_engines_with_a_will_of_their_own_come_back(flavour) {
        let mut case = Case::empty(flavour, &[]);
        case.source.exec(
            "CREATE DATABASE e; USE e; CREATE TABLE csv (a INT NOT NULL, b VARCHAR(20) NOT NULL) ENGINE = CSV;
             INSERT csv VALUES (1, 'x,\"y'), (2, '');
             CREATE TABLE mem (a INT PRIMARY KEY, b VARCHAR(20)) ENGINE = MEMORY; INSERT mem VALUES (1, 'x');
             CREATE TABLE second (g INT NOT NULL, n INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (g, n)) ENGINE = MyISAM;
             INSERT second (g) VALUES (1), (1), (2); DELETE FROM second WHERE g = 1 AND n = 1;
             CREATE TABLE m2 LIKE second; INSERT m2 (g) VALUES (7);
             CREATE TABLE all_of_them (g INT NOT NULL, n INT NOT NULL AUTO_INCREMENT, KEY (g, n)) ENGINE = MERGE UNION = (second, m2) INSERT_METHOD = LAST",
        );
        if flavour == Flavour::MySql {
            case.source
                .exec("CREATE TABLE e.hole (a INT PRIMARY KEY) ENGINE = BLACKHOLE");
        }
        case.drctl = case.drctl.env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
        case.comes_back();
    }
);

on_both!(
    fn tables_in_directories_of_their_own_are_drilled_and_refused_where_the_directory_is_unknown(flavour) {
        let dir = crate::support::lab::ScratchDir::new();
        let elsewhere = dir.path().display().to_string();
        let known = format!("--innodb-directories={elsewhere}");
        let options: &[&str] = match flavour {
            Flavour::MariaDb => &[],
            Flavour::MySql => &[&known],
        };
        let source = Server::start_with(flavour, options);
        let into = Server::start(flavour);
        source.exec(&format!(
            "CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, a INT, KEY k (a)) DATA DIRECTORY = '{elsewhere}';
             CREATE TABLE p (id INT PRIMARY KEY) PARTITION BY RANGE (id)
               (PARTITION p0 VALUES LESS THAN (10) DATA DIRECTORY = '{elsewhere}', PARTITION p1 VALUES LESS THAN (20));
             INSERT t VALUES (1, 2); INSERT p VALUES (1), (11)"
        ));
        let drctl = Drctl::new("placed").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        let shown = drctl.run(["show", "--latest"]).ok().stdout;
        for said in [drctl.run(["doctor"]).stdout, shown] {
            for table in ["`d`.`p`", "`d`.`t`"] {
                let named = format!("table {table} ({elsewhere}");
                assert!(said.contains(&named), "{named}: {said}");
            }
        }
        for path in ["lanes", "client"] {
            let said = drilled(&drctl, path);
            assert!(said.contains("DATA DIRECTORY"), "{said}");
        }
        let plan = drctl.run(["restore", "--latest", "--plan"]);
        assert!(plan.stdout.contains(&elsewhere), "{}", plan.stdout);
        if flavour == Flavour::MySql {
            drctl.run(["restore", "--latest"]).refused(9, &["innodb_directories"]);
        }
    }
);

on_both!(
    fn a_large_table_in_memory_comes_back_where_the_default_has_no_room_for_it(flavour) {
        let source = Server::start_with(flavour, &["--max-heap-table-size=64M"]);
        let into = Server::start_with(flavour, &["--max-heap-table-size=1M"]);
        // One that fits under the server's limit alone, and one that was made under a session's.
        source.exec(
            "CREATE DATABASE d; USE d; CREATE TABLE rows_of (n INT PRIMARY KEY); INSERT rows_of VALUES (0), (1), (2), (3), (4), (5), (6), (7);
             CREATE TABLE m (id INT PRIMARY KEY AUTO_INCREMENT, a CHAR(250) CHARACTER SET latin1, KEY (a)) ENGINE = MEMORY;
             INSERT m (a) SELECT CONCAT(a.n, b.n, c.n, d.n, e.n) FROM rows_of a, rows_of b, rows_of c, rows_of d, rows_of e;
             DROP TABLE rows_of",
        );
        let drctl = Drctl::new("heap").source(&source).into(&into).env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest"]).ok();
        for path in ["lanes", "client"] {
            drctl.run(["verify", "--latest", "--path", path]).ok();
        }
    }
);

on_both!(
    fn full_text_keys_that_will_hold_other_words_are_named_by_the_plan(flavour) {
        let source = Server::start_with(flavour, &["--innodb-ft-min-token-size=2", "--innodb-ft-enable-stopword=OFF"]);
        let into = Server::start(flavour);
        source.exec("CREATE DATABASE d; CREATE TABLE d.plain (id INT PRIMARY KEY)");
        let drctl = Drctl::new("words").source(&source).into(&into);
        let plan = || {
            drctl.run(["backup"]).ok();
            drctl.run(["restore", "--latest", "--plan"]).ok().stdout
        };
        let said = plan();
        assert!(!said.contains("innodb_ft"), "{said}");
        source.exec("CREATE TABLE d.t (id INT PRIMARY KEY, a TEXT, FULLTEXT KEY k (a))");
        let said = plan();
        for variable in ["innodb_ft_min_token_size is \"3\", it was \"2\"", "innodb_ft_enable_stopword is \"ON\""] {
            assert!(said.contains(variable), "{variable}: {said}");
        }
        drctl.run(["restore", "--latest"]).ok();
    }
);

#[test]
fn an_engine_that_the_destination_lacks_is_named_by_the_plan() {
    need!(MySql);
    need!(MariaDb);
    let (source, into) = (
        Server::start(Flavour::MySql),
        Server::start(Flavour::MariaDb),
    );
    source.exec(
        "CREATE DATABASE d CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci; CREATE TABLE d.a (id INT) ENGINE = ARCHIVE;
         CREATE TABLE d.t (id INT PRIMARY KEY)",
    );
    let drctl = Drctl::new("engine")
        .source(&source)
        .into(&into)
        .clients_of(&source)
        .env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
    drctl.run(["backup"]).ok();
    let plan = |args: &[&str]| {
        let args = [&["restore", "--latest", "--plan"], args].concat();
        drctl.run(args).ok().stdout
    };
    let said = plan(&[]);
    assert!(
        said.contains("lacks the storage engine ARCHIVE (used by table `d`.`a`)"),
        "{said}"
    );
    let said = plan(&["--tables", "d.t"]);
    assert!(!said.contains("lacks the storage engine"), "{said}");
}

#[test]
fn a_schema_that_the_account_may_not_create_unencrypted_is_refused_by_name() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source
        .exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)");
    case.drctl.run(["backup"]).ok();
    case.into.exec(
        "SET GLOBAL default_table_encryption = ON; SET GLOBAL table_encryption_privilege_check = ON;
         CREATE USER restorer@localhost; GRANT ALL ON *.* TO restorer@localhost;
         REVOKE TABLE_ENCRYPTION_ADMIN ON *.* FROM restorer@localhost",
    );
    let url = case.into.url_as("restorer");
    let drctl = case.drctl.env("DRCTL_INTO_URL", &url);
    drctl.run(["restore", "--latest"]).refused(
        9,
        &[
            "table_encryption_privilege_check",
            "schema `d`",
            "TABLE_ENCRYPTION_ADMIN",
        ],
    );
    // Without a keyring nothing can be created here that is encrypted by default.
    case.into.exec("SET GLOBAL default_table_encryption = OFF");
    drctl.run(["restore", "--latest"]).ok();
}

on_both!(
    fn rows_that_are_there_twice_fail_a_drill_and_break_none_off(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, a INT UNIQUE); INSERT d.t VALUES (1, 7), (2, 8)",
        );
        for twice in ["s/(2,8)/(1,8)/", "s/(2,8)/(2,7)/"] {
            let drctl = Drctl::new("twice").source(&source);
            let other = format!("real \"$@\" | sed '{twice}'");
            let drctl = in_front_of_dump(flavour, drctl, "SOURCE", "", &other);
            drctl.run(["backup"]).ok();
            for path in ["lanes", "client"] {
                drctl
                    .run(["verify", "--latest", "--path", path])
                    .refused(7, &["table `d`.`t`"]);
            }
        }
    }
);

/// What a plan and a restore refuse, before anything is touched: the schema is not there.
#[track_caller]
fn refused_untouched(drctl: &Drctl, into: &Server, schema: &str, words: &[&str]) {
    let plan = drctl.run(["restore", "--latest", "--plan"]);
    let plan = plan.refused(9, &[]).stdout;
    for word in words {
        assert!(plan.contains(word), "{word}: {plan}");
    }
    drctl.run(["restore", "--latest"]).refused(9, words);
    let there =
        format!("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{schema}'");
    assert_eq!(into.value(&there), "0");
}

#[test]
fn tables_in_general_tablespaces_are_drilled_and_refused_where_the_tablespace_is_missing() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE TABLESPACE ts ADD DATAFILE 'ts.ibd'; CREATE TABLESPACE small ADD DATAFILE 'small.ibd' FILE_BLOCK_SIZE = 4K;
         CREATE DATABASE d; USE d;
         CREATE TABLE t (id INT PRIMARY KEY, a INT, KEY k (a)) TABLESPACE ts; INSERT t VALUES (1, 2);
         CREATE TABLE c (id INT PRIMARY KEY) TABLESPACE small ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 4;
         CREATE TABLESPACE half ADD DATAFILE 'half.ibd' FILE_BLOCK_SIZE = 8K;
         CREATE TABLE h (id INT PRIMARY KEY) TABLESPACE half ROW_FORMAT = COMPRESSED",
    );
    case.drctl.run(["backup"]).ok();
    for path in ["lanes", "client"] {
        let said = drilled(&case.drctl, path);
        let named = said.contains("table `d`.`c`") && said.contains("table `d`.`t`");
        assert!(named && said.contains("were not tested"), "{said}");
    }
    let creates = [
        "CREATE TABLESPACE `half` FILE_BLOCK_SIZE = 8K",
        "CREATE TABLESPACE `small` FILE_BLOCK_SIZE = 4K",
        "CREATE TABLESPACE `ts`",
    ];
    let words = [
        "the tablespace `half` (used by table `d`.`h`)",
        "the tablespace `small` (used by table `d`.`c`)",
        "the tablespace `ts`",
        creates[0],
        creates[1],
        creates[2],
    ];
    refused_untouched(&case.drctl, &case.into, "d", &words);
    // What it says is what helps.
    for create in creates {
        case.into.exec(create);
    }
    case.comes_back();
}

#[test]
fn encrypted_tables_are_drilled_and_refused_where_there_is_no_keyring() {
    need!(MySql);
    let (source, into) = (Server::with_keyring(&[]), Server::start(Flavour::MySql));
    source.exec(
        "CREATE TABLESPACE te ADD DATAFILE 'te.ibd' ENCRYPTION = 'Y';
         CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, a INT, KEY k (a)) ENCRYPTION = 'Y'; INSERT t VALUES (1, 2);
         CREATE TABLE p (id INT PRIMARY KEY) ENCRYPTION = 'Y' PARTITION BY HASH (id) PARTITIONS 2; INSERT p VALUES (1), (2);
         CREATE TABLE s (id INT PRIMARY KEY) TABLESPACE te ENCRYPTION = 'Y';
         CREATE DATABASE e DEFAULT ENCRYPTION = 'Y'; USE e; CREATE TABLE t (id INT PRIMARY KEY); INSERT t VALUES (1);
         CREATE TABLE plain (id INT PRIMARY KEY) ENCRYPTION = 'N'",
    );
    let drctl = Drctl::new("encrypted").source(&source).into(&into);
    drctl.run(["backup"]).ok();
    for path in ["lanes", "client"] {
        let said = drilled(&drctl, path);
        for object in ["table `d`.`t`", "schema `e`"] {
            assert!(said.contains(object), "{object}: {said}");
        }
    }
    let words = [
        "the tablespace `te`",
        "the destination has no keyring",
        "table `d`.`p`",
        "ENCRYPTION = 'Y'",
    ];
    refused_untouched(&drctl, &into, "d", &words);
    let case = Case {
        into: Server::with_keyring(&[]),
        drctl,
        source,
    };
    case.into.exec("CREATE TABLESPACE te ENCRYPTION = 'Y'");
    let drctl = case.drctl.into(&case.into);
    Case { drctl, ..case }.comes_back();
}

#[test]
fn encrypted_tables_of_mariadb_are_drilled_and_refused_where_there_is_no_plugin_for_keys() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    // The lab has no such plugin either, so only the dump says that the table is encrypted.
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, a INT, KEY k (a)) encrypted = 'no'; INSERT d.t VALUES (1, 2)",
    );
    let encrypted = "real \"$@\" | sed \"s/.encrypted.='no'/\\`encrypted\\`='yes'/\"";
    let drctl = in_front_of_dump(Flavour::MariaDb, case.drctl, "SOURCE", "", encrypted);
    drctl.run(["backup"]).ok();
    assert!(
        drctl
            .run(["cat", "--latest"])
            .ok()
            .stdout
            .contains("`encrypted`='yes'")
    );
    for path in ["lanes", "client"] {
        let said = drilled(&drctl, path);
        assert!(said.contains("table `d`.`t`"), "{said}");
    }
    let words = [
        "no plugin for encryption keys",
        "table `d`.`t`",
        "file_key_management",
    ];
    refused_untouched(&drctl, &case.into, "d", &words);
}

#[test]
fn a_schema_that_was_read_only_comes_back_writable_and_is_named() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE DATABASE r; CREATE TABLE r.t (id INT PRIMARY KEY, a INT, KEY k (a)); INSERT r.t VALUES (1, 2);
         ALTER SCHEMA r READ ONLY = 1",
    );
    case.drctl.run(["backup"]).ok();
    for path in ["lanes", "client"] {
        let said = drilled(&case.drctl, path);
        assert!(said.contains("schema `r`"), "{said}");
    }
    // The other way round, nothing can be written to it.
    case.into
        .exec("CREATE DATABASE r; ALTER SCHEMA r READ ONLY = 1");
    let make_writable = "ALTER SCHEMA `r` READ ONLY = 0";
    case.drctl.run(["restore", "--latest"]).refused(
        9,
        &["schema `r` is READ ONLY on the destination", make_writable],
    );
    case.into.exec(make_writable);
    let make_read_only = "ALTER SCHEMA `r` READ ONLY = 1";
    for args in [
        &["restore", "--latest", "--plan"][..],
        &["restore", "--latest"],
    ] {
        let said = case.drctl.run(args).ok().stdout;
        assert!(said.contains(make_read_only), "{said}");
    }
    case.into.exec(make_read_only);
    let shown = "SHOW CREATE DATABASE r";
    assert_eq!(case.into.query(shown), case.source.query(shown));
}

#[test]
fn plugins_and_functions_that_a_server_lacks_break_a_drill_off_and_are_refused() {
    need!(MySql);
    const INSTALL: &str = "INSTALL PLUGIN simple_parser SONAME 'mypluglib.so'; INSTALL PLUGIN keyring_udf SONAME 'keyring_udf.so';
        CREATE FUNCTION keyring_key_type_fetch RETURNS STRING SONAME 'keyring_udf.so'";
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(&format!(
        "{INSTALL}; CREATE DATABASE d; CREATE TABLE d.n (a TEXT, FULLTEXT KEY (a) WITH PARSER ngram);
         CREATE TABLE d.t (a TEXT, FULLTEXT KEY (a) WITH PARSER simple_parser); INSERT d.t VALUES ('a b');
         CREATE VIEW d.v AS SELECT Keyring_Key_Type_Fetch('k') AS k"
    ));
    let words = [
        "the full-text parser simple_parser (used by table `d`.`t`)",
        "the loadable function keyring_key_type_fetch (used by view `d`.`v`)",
    ];
    case.drctl.run(["backup"]).ok();
    broken_off(&case.drctl, &words);
    refused_untouched(&case.drctl, &case.into, "d", &words);
    case.into.exec(INSTALL);
    case.drctl.run(["restore", "--latest"]).ok();
}

#[test]
fn a_function_of_a_component_that_a_server_lacks_breaks_a_drill_off_and_is_refused() {
    need!(MySql);
    const INSTALL: &str = "INSTALL COMPONENT 'file://component_classic_hashing'";
    let case = Case::empty(Flavour::MySql, &[]);
    if case.source.try_exec(INSTALL).is_err() {
        // Before MySQL 9, MD5 is a function of the server itself.
        return;
    }
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, a VARCHAR(99)); INSERT INTO d.t VALUES (1, 'x');
         CREATE VIEW d.v AS SELECT MD5(a) AS m FROM d.t;
         CREATE TRIGGER d.tr BEFORE INSERT ON d.t FOR EACH ROW SET NEW.a = MD5(NEW.a)",
    );
    let words = ["the loadable function md5 (used by view `d`.`v`)"];
    case.drctl.run(["backup"]).ok();
    broken_off(&case.drctl, &words);
    refused_untouched(&case.drctl, &case.into, "d", &words);
    case.into.exec(INSTALL);
    case.drctl.run(["restore", "--latest"]).ok();
}

on_both!(
    fn a_collation_that_a_server_lacks_breaks_a_drill_off_and_is_refused(flavour) {
        let (_files, option) = own_collation(flavour);
        let source = Server::start_with(flavour, &[&option]);
        source.exec(
            "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, a VARCHAR(9) COLLATE utf8mb4_mine_ci);
             CREATE VIEW d.v AS SELECT 'a' = 'b' COLLATE utf8mb4_bin AS b",
        );
        let into = Server::start(flavour);
        let drctl = Drctl::new("collated").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        let words = ["lacks the collation utf8mb4_mine_ci (used by table `d`.`t`)"];
        broken_off(&drctl, &words);
        refused_untouched(&drctl, &into, "d", &words);
        let into = Server::start_with(flavour, &[&option]);
        drctl.into(&into).run(["restore", "--latest"]).ok();
    }
);

/// A drill by either path ends before it restores anything, and says nothing about the backup.
#[track_caller]
fn broken_off(drctl: &Drctl, words: &[&str]) {
    for path in ["lanes", "client"] {
        let run = drctl.run(["verify", "--latest", "--path", path, "--output", "json"]);
        assert_eq!(run.refused(9, words).json()["verdict"], "broken");
    }
}
