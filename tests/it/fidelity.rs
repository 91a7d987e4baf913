//! Restored equals source: the corpus of `tests/corpus/fidelity`, one idea a file, in the schema
//! that is called like the file.
//!
//! For each flavour, once on a server as it comes and once on one of odd modes: all files go into one server, a backup is
//! made, and what `drctl restore` by LOAD DATA and by INSERT, and what the plain client by RESTORE.txt make of it is
//! compared with the source. Each file is a
//! test of its own that looks at its part of the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use drctl::sql::scan::Scanner;
use drctl::sql::statement::Kind;

use super::support::compare::{self, Picture};
use super::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// What the corpus is loaded with, so that the same file is the same everywhere.
const SESSION: &str =
    "SET NAMES utf8mb4; SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION';";
/// A server where quoted text, operators, types and dates are read another way.
const ODD: &str = "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,IGNORE_SPACE,\
    HIGH_NOT_PRECEDENCE,PAD_CHAR_TO_FULL_LENGTH,NO_UNSIGNED_SUBTRACTION,REAL_AS_FLOAT,\
    STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO";
/// The codecs, and how their ordinary tools read a dump.
const CODECS: [(&str, &str); 3] = [
    ("zstd", "zstd -dc dump.sql.zst"),
    ("gzip", "gunzip -c dump.sql.gz"),
    ("none", "cat dump.sql"),
];

/// A file of the corpus.
struct Row {
    /// Its stem: the name of its schema, and the beginning of its further ones.
    name: String,
    /// What it does.
    sql: String,
}

impl Row {
    fn says(&self, mark: &str) -> bool {
        self.sql
            .lines()
            .take_while(|line| line.starts_with("-- "))
            .any(|line| line == format!("-- {mark}"))
    }

    fn is_for(&self, flavour: Flavour, odd: bool) -> bool {
        let other = match flavour {
            Flavour::MariaDb => "only: mysql",
            Flavour::MySql => "only: mariadb",
        };
        !(self.says(other) || odd && self.says("once"))
    }

    /// Loads it, or says which file the server does not take, and why.
    fn load(&self, into: &Server) -> Result<(), String> {
        let name = &self.name;
        let sql = format!(
            "{SESSION} CREATE DATABASE `{name}`; USE `{name}`;\n{}",
            self.sql
        );
        into.try_exec(&sql)
            .map(drop)
            .map_err(|why| format!("{name}.sql: {why}"))
    }
}

/// Runs one flavour and kind of server through backup and both ways back.
struct Trip {
    flavour: Flavour,
    odd: bool,
    /// What the source held.
    source: Picture,
    /// What `drctl restore` made of it, by LOAD DATA where the table allows it.
    lanes: Picture,
    /// The same by INSERT.
    inserts: Picture,
    /// What the plain client made of it.
    plain: Picture,
    /// Of the lossy files: `server: query` and what it answered.
    lossy: BTreeMap<(&'static str, &'static str), Vec<Vec<String>>>,
    /// The columns that the manifest calls lossy.
    named_lossy: String,
    /// The objects whose statements in the backup are not those of a backup by the dump program.
    differing: Vec<String>,
    /// What the ordinary tools make of a backup by each codec; of servers of odd modes, which have no
    /// values so long that they could not be held.
    texts: Vec<Vec<u8>>,
}

/// Queries whose results differ for what is documented as lost.
const LOSSY: [&str; 2] = [
    "SELECT f + 0e0 FROM lossy_float.f ORDER BY id",
    "SELECT HEX(t) FROM lossy_cp932.c ORDER BY id",
];
/// The same, of one flavour alone.
const JSON: &str = "SELECT JSON_TYPE(j) FROM lossy_json.j ORDER BY id";
const HISTORY: &str = "SELECT id, v FROM lossy_history.v FOR SYSTEM_TIME ALL ORDER BY id, v";

impl Trip {
    fn take(flavour: Flavour, odd: bool) -> Trip {
        let source = server(flavour, odd);
        let refused: Vec<String> = rows()
            .iter()
            .filter(|row| row.is_for(flavour, odd))
            .filter_map(|row| row.load(&source).err())
            .collect();
        assert!(refused.is_empty(), "{flavour:?}: {refused:#?}");
        let codec = match (flavour, odd) {
            (_, false) => "zstd",
            (Flavour::MySql, true) => "gzip",
            (Flavour::MariaDb, true) => "none",
        };
        let drctl = Drctl::new("corpus")
            .source(&source)
            .env("DRCTL_BACKUP_CODEC", codec);
        drctl.run(["backup", "--jobs", "3"]).ok();
        let (jobs, native) = statements(&drctl);
        assert_eq!(jobs, Some(3));
        let by_program = Drctl::new("by-program")
            .source(&source)
            .env("DRCTL_SOURCE_READER", "mysqldump");
        by_program.run(["backup"]).ok();
        let (jobs, by_program) = statements(&by_program);
        assert_eq!(jobs, None);
        let differing = differing(&native, &by_program);
        let into = server(flavour, odd);
        let drctl = drctl.into(&into);
        let report = drctl.run(["restore", "--latest", "--accounts"]).ok();
        assert!(report.stdout.contains("comparison"), "{}", report.stdout);
        assert!(loads(&into) > 20, "{flavour:?}: {}", loads(&into));
        assert!(!report.stderr.contains("using INSERT"), "{}", report.stderr);
        let lanes = compare::picture(&into);
        let by_insert = server(flavour, odd);
        let drctl = drctl.into(&by_insert).env("DRCTL_RESTORE_LOADER", "insert");
        drctl.run(["restore", "--latest", "--accounts"]).ok();
        assert_eq!(loads(&by_insert), 0);
        let inserts = compare::picture(&by_insert);
        // The redo logs of four servers would not fit.
        drop(by_insert);
        let drctl = drctl.without("DRCTL_RESTORE_LOADER");
        // And by several dumps at once, with the result of one.
        drctl.run(["verify", "--latest"]).ok();
        let backup = backup_in(&drctl.store_dir());
        let plain = server(flavour, odd);
        follow_restore_txt(&backup, &plain);
        let mut lossy = BTreeMap::new();
        for (name, server) in [("source", &source), ("lanes", &into), ("plain", &plain)] {
            let own = match flavour {
                Flavour::MariaDb => HISTORY,
                Flavour::MySql => JSON,
            };
            for query in LOSSY.into_iter().chain([own]) {
                lossy.insert((name, query), server.query(query));
            }
        }
        let manifest = std::fs::read(backup.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let texts = CODECS.iter().filter(|_| odd).map(|(codec, reader)| {
            let drctl = Drctl::new("codec")
                .source(&source)
                .env("DRCTL_SOURCE_READER", "mysqldump")
                .env("DRCTL_BACKUP_CODEC", codec);
            drctl.run(["backup"]).ok();
            let read = Command::new("bash")
                .args(["-c", reader])
                .current_dir(backup_in(&drctl.store_dir()))
                .output()
                .unwrap();
            assert!(read.status.success(), "{reader}");
            read.stdout
        });
        Trip {
            differing,
            texts: texts.collect(),
            flavour,
            odd,
            source: compare::picture(&source),
            lanes,
            inserts,
            plain: compare::picture(&plain),
            lossy,
            named_lossy: manifest["lossy"].to_string(),
        }
    }

    /// The trip that all rows of a flavour and kind of server share; where it fails as a whole, each
    /// of them fails and says that it was not its own fault.
    #[track_caller]
    fn of(flavour: Flavour, odd: bool) -> &'static Trip {
        static TRIPS: [LazyLock<Option<Trip>>; 4] = [
            LazyLock::new(|| Trip::try_take(Flavour::MariaDb, false)),
            LazyLock::new(|| Trip::try_take(Flavour::MariaDb, true)),
            LazyLock::new(|| Trip::try_take(Flavour::MySql, false)),
            LazyLock::new(|| Trip::try_take(Flavour::MySql, true)),
        ];
        TRIPS[usize::from(flavour == Flavour::MySql) * 2 + usize::from(odd)]
            .as_ref()
            .unwrap_or_else(|| {
                panic!("the trip of {flavour:?} (odd: {odd}) failed as a whole: see the first panic of `Trip::take`")
            })
    }

    /// None where it failed; the panic was printed by the test that took it. The redo logs of three servers with
    /// long values fill 2 GB of a file system in memory: one such trip at a time.
    fn try_take(flavour: Flavour, odd: bool) -> Option<Trip> {
        static LONG_VALUES: Mutex<()> = Mutex::new(());
        let _alone = (!odd).then(|| LONG_VALUES.lock());
        std::panic::catch_unwind(|| Trip::take(flavour, odd)).ok()
    }

    /// Everything of that file came back, both ways.
    #[track_caller]
    fn judge(&self, name: &str) {
        let all = rows();
        let of = |schema: &str| owner(&all, schema) == Some(name);
        assert!(
            self.source.keys().any(|(schema, _)| of(schema)),
            "{name} made nothing"
        );
        for (way, restored) in [
            ("drctl restore", &self.lanes),
            ("drctl restore by INSERT", &self.inserts),
            ("plain client", &self.plain),
        ] {
            let disabled = way == "plain client"
                && all
                    .iter()
                    .any(|row| row.name == name && row.says("disabled by the plain client"));
            let mut source = self.source.clone();
            if disabled {
                for ((schema, _), text) in &mut source {
                    if of(schema) {
                        *text = text
                            .replace(" ENABLE DO", " DISABLE DO")
                            .replace("\nENABLED\t", "\nDISABLED\t");
                    }
                }
            }
            let differences = compare::differences(&source, restored, of);
            assert!(
                differences.is_empty(),
                "{:?}, odd: {}, by {way}:\n{}",
                self.flavour,
                self.odd,
                differences.join("\n")
            );
        }
    }
}

/// The number of connections that read the rows of the latest backup, if not the dump program did, and its statements, by
/// the object that each defines or has rows of.
fn statements(drctl: &Drctl) -> (Option<u64>, BTreeMap<String, Vec<u8>>) {
    let manifest = drctl.run(["show", "--latest", "--output", "json"]).ok();
    let manifest: serde_json::Value = serde_json::from_str(&manifest.stdout).unwrap();
    let reader = manifest["reader"]["jobs"].as_u64();
    let dump = drctl.run(["cat", "--latest"]).ok();
    (reader, statements_of(dump.stdout.as_bytes()))
}

/// The statements of a dump, by the object that each defines or has rows of.
pub(crate) fn statements_of(dump: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut scanner = Scanner::new();
    scanner.push(dump);
    scanner.finish();
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some(statement) = scanner.next().unwrap() {
        let object = match &statement.kind {
            Kind::Insert { table } => format!("rows of {table}"),
            Kind::Create { object, .. } | Kind::SetSequence { object } => object.to_string(),
            Kind::CreateSchema { schema } => format!("schema {schema}"),
            _ => continue,
        };
        let all = found.entry(object).or_default();
        all.extend_from_slice(statement.sql);
        all.extend_from_slice(b";\n");
    }
    found
}

/// The names that do not have the same statements in both.
pub(crate) fn differing(
    one: &BTreeMap<String, Vec<u8>>,
    other: &BTreeMap<String, Vec<u8>>,
) -> Vec<String> {
    let names = one.keys().chain(other.keys());
    let differs = |name: &&String| one.get(*name) != other.get(*name);
    let shown = |statements: Option<&Vec<u8>>| {
        let bytes = statements.map_or(&b"none"[..], |bytes| &bytes[..bytes.len().min(300)]);
        String::from_utf8_lossy(bytes).into_owned()
    };
    let mut differing: Vec<String> = names
        .filter(differs)
        .map(|name| {
            format!(
                "{name}: {} / {}",
                shown(one.get(name)),
                shown(other.get(name))
            )
        })
        .collect();
    differing.dedup();
    differing
}

/// How often a server has executed LOAD DATA.
fn loads(server: &Server) -> u64 {
    let status = server.query("SHOW GLOBAL STATUS LIKE 'Com_load'");
    status[0][1].parse().unwrap()
}

/// A private server that runs no events, takes rows by LOCAL INFILE and, unless it is odd, takes the longest value: a tenth of its redo log.
fn server(flavour: Flavour, odd: bool) -> Server {
    let mut options = vec![
        "--max-allowed-packet=512M",
        "--event-scheduler=OFF",
        "--local-infile=ON",
    ];
    options.push(match (odd, flavour) {
        (true, _) => ODD,
        (false, Flavour::MariaDb) => "--innodb-log-file-size=704M",
        (false, Flavour::MySql) => "--innodb-redo-log-capacity=704M",
    });
    Server::start_with(flavour, &options)
}

/// Every file of the corpus.
fn rows() -> Vec<Row> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/fidelity");
    let mut rows: Vec<Row> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            Row {
                name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                sql: std::fs::read_to_string(&path).unwrap(),
            }
        })
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

/// The file that a schema is from: the longest whose name begins it.
fn owner<'a>(rows: &'a [Row], schema: &str) -> Option<&'a str> {
    rows.iter()
        .map(|row| row.name.as_str())
        .filter(|name| schema.starts_with(name))
        .max_by_key(|name| name.len())
}

/// The directory of the only backup in a store.
pub fn backup_in(store: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut open = vec![store.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.ends_with("RESTORE.txt") {
                found.push(path.parent().unwrap().to_owned());
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Runs the commands of RESTORE.txt as they stand there, but for how to log in.
#[track_caller]
pub fn follow_restore_txt(backup: &Path, into: &Server) {
    let text = std::fs::read_to_string(backup.join("RESTORE.txt")).unwrap();
    let commands: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .map(|command| {
            let login = format!("-u root --socket={}", into.socket().display());
            command.replace("-u root -p", &login)
        })
        .collect();
    assert!(commands.len() >= 2, "{text}");
    for command in commands {
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &command])
            .current_dir(backup)
            .env_clear()
            .env("HOME", backup)
            // The least that a machine has: the commands have to say all themselves.
            .env("LC_ALL", "C")
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", into.flavour().client_dir().display()),
            )
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A test for each file, on the flavours that have it and on both kinds of server.
macro_rules! corpus {
    (both: $($both:ident)*; mysql: $($mysql:ident)*; mariadb: $($mariadb:ident)*; once: $($once:ident)*;) => {
        const TESTED: &[&str] = &[$(stringify!($both),)* $(stringify!($mysql),)* $(stringify!($mariadb),)* $(stringify!($once),)*];
        $(corpus!(@test $both mariadb MariaDb, mariadb_odd MariaDb odd, mysql MySql, mysql_odd MySql odd);)*
        $(corpus!(@test $mysql mysql MySql, mysql_odd MySql odd);)*
        $(corpus!(@test $mariadb mariadb MariaDb, mariadb_odd MariaDb odd);)*
        $(corpus!(@test $once mariadb MariaDb, mysql MySql);)*
    };
    (@test $name:ident $($on:ident $flavour:ident $($odd:ident)?),*) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $on() {
                    need!($flavour);
                    let odd = !concat!($(stringify!($odd))?).is_empty();
                    Trip::of(Flavour::$flavour, odd).judge(stringify!($name));
                }
            )*
        }
    };
}

corpus! {
    both: accounts binaries charsets checks database_collations events expired foreign_keys generated invisible
        json keyless keys modes more_modes names numbers partitions routines schemas spatial texts times triggers views;
    mysql: checks_mysql duality_mysql invisible_mysql json_mysql keys_mysql spatial_mysql;
    mariadb: mariadb_types packages sequences versioned;
    once: large_value;
}

#[test]
fn each_file_of_the_corpus_is_a_test() {
    let mut tested = TESTED.to_vec();
    tested.sort_unstable();
    let rows = rows();
    let there: Vec<&str> = rows
        .iter()
        .filter(|row| !row.says("lossy"))
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(tested, there);
}

on_both!(
    fn the_native_reader_writes_what_the_dump_program_writes(flavour) {
        for odd in [false, true] {
            let trip = Trip::of(flavour, odd);
            assert!(trip.differing.is_empty(), "odd: {odd}\n{}", trip.differing.join("\n"));
        }
    }
);

on_both!(
    fn what_is_lost_is_what_is_documented(flavour) {
        let trip = Trip::of(flavour, false);
        let [float, cp932] = LOSSY;
        let first = |server, query| trip.lossy[&(server, query)].iter().map(|row| row.join(" ")).collect::<Vec<_>>();
        assert_eq!(first("source", float), ["16777215", "0.5"]);
        assert_eq!(first("source", cp932), ["ED40", "88C0"]);
        for way in ["lanes", "plain"] {
            assert_eq!(first(way, float), ["16777200", "0.5"], "{way}");
            assert_eq!(first(way, cp932), ["FA5C", "88C0"], "{way}");
        }
        if flavour == Flavour::MariaDb {
            assert_eq!(first("source", HISTORY), ["1 1", "1 10", "2 2"]);
            for way in ["lanes", "plain"] {
                // Its client knows --dump-history.
                assert_eq!(first(way, HISTORY), first("source", HISTORY), "{way}");
            }
        }
        if flavour == Flavour::MySql {
            assert_eq!(
                first("source", JSON),
                ["DECIMAL", "DATE", "TIME", "UNSIGNED INTEGER", "DOUBLE", "STRING"]
            );
            for way in ["lanes", "plain"] {
                assert_eq!(
                    first(way, JSON),
                    ["DOUBLE", "STRING", "STRING", "UNSIGNED INTEGER", "DOUBLE", "STRING"],
                    "{way}"
                );
            }
        }
        let own = (flavour == Flavour::MySql).then_some("lossy_json.j.j");
        for column in ["lossy_float", "lossy_cp932"].into_iter().chain(own) {
            assert!(trip.named_lossy.contains(column), "{column}: {}", trip.named_lossy);
        }
    }
);

on_both!(
    fn a_dump_is_text_whatever_its_values_are_and_the_same_by_each_codec(flavour) {
        let texts = &Trip::of(flavour, true).texts;
        assert_eq!(texts.len(), CODECS.len());
        let text = String::from_utf8_lossy(&texts[0]);
        // What blobs of every value hold must not be met as itself.
        assert!(text.contains("000102030405060708"));
        assert!(!text.contains('\u{1}'));
        assert!(texts.iter().all(|other| other == &texts[0]));
    }
);

on_both!(
    fn a_trigger_that_is_restored_with_its_table_alone_keeps_the_collation_of_its_schema(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(
            "CREATE DATABASE d CHARACTER SET latin2; CREATE TABLE d.t (id INT, a TEXT);
             CREATE TRIGGER d.old BEFORE INSERT ON d.t FOR EACH ROW SET NEW.a = 'x';
             ALTER DATABASE d CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
             CREATE TRIGGER d.new BEFORE INSERT ON d.t FOR EACH ROW SET NEW.a = 'y'",
        );
        let drctl = Drctl::new("alone").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest", "--tables", "d.t"]).ok();
        for told in [
            "SELECT trigger_name, database_collation FROM information_schema.triggers WHERE trigger_schema = 'd'",
            "SHOW CREATE DATABASE d",
        ] {
            assert_eq!(into.exec(told), source.exec(told));
        }
    }
);

on_both!(
    fn definitions_that_servers_show_with_question_marks_are_named_before_they_are_lost(flavour) {
        let source = Server::start(flavour);
        source.exec(&format!(
            "{SESSION} CREATE DATABASE marks CHARACTER SET utf8mb4; USE marks;
             CREATE TABLE t (hidden VARCHAR(9) DEFAULT 'a🦀', honest VARCHAR(9) DEFAULT 'a?',
             name ENUM('x','🦀'), plain ENUM('x')); CREATE VIEW v AS SELECT * FROM t"
        ));
        let drctl = Drctl::new("marks").source(&source);
        drctl.run(["backup"]).ok();
        let shown = drctl.run(["show", "--latest", "--output", "json"]).ok().json();
        let lossy = shown["lossy"].to_string();
        for (column, is_named) in [
            ("marks.t.hidden", flavour == Flavour::MariaDb),
            ("marks.t.honest", false),
            ("marks.t.name", true),
            ("marks.t.plain", false),
        ] {
            assert_eq!(lossy.contains(column), is_named, "{column}: {lossy}");
        }
    }
);

/// What does not come back, in a schema of its own: why, what makes it, how the restore ends.
const REFUSED: [(&str, &str, i32, &str); 3] = [
    (
        "a name of an ENUM beyond the first plane, which servers show as a question mark",
        "CREATE TABLE t (a ENUM('x','🦀')) DEFAULT CHARACTER SET utf8mb4; INSERT INTO t VALUES ('🦀')",
        7,
        "altered inserted rows",
    ),
    (
        "the error value of an ENUM",
        "CREATE TABLE t (a ENUM('x')); SET sql_mode = ''; INSERT IGNORE INTO t VALUES ('no such')",
        7,
        "altered inserted rows",
    ),
    (
        "the same beside a generated column, whose own warnings do no harm",
        "SET sql_mode = ''; CREATE TABLE t (s VARCHAR(9), n INT AS (CAST(s AS SIGNED)) STORED, a ENUM('x')); \
         INSERT IGNORE INTO t (s, a) VALUES ('12abc', 'no such')",
        7,
        "altered inserted rows: Data truncated for column 'a'",
    ),
];

on_both!(
    fn a_view_with_a_check_on_one_that_comes_later_in_the_alphabet_waits_for_it(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE v; USE v; CREATE TABLE t (id INT); CREATE VIEW z AS SELECT id FROM t;
             CREATE VIEW m AS SELECT id FROM z WHERE id < 9 WITH CASCADED CHECK OPTION;
             CREATE VIEW a AS SELECT id FROM m WHERE id > 0 WITH LOCAL CHECK OPTION;
             CREATE VIEW b AS SELECT id FROM a",
        );
        let into = Server::start(flavour);
        let drctl = Drctl::new("views").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest"]).ok();
        into.exec("INSERT INTO v.b VALUES (1)");
        assert!(into.try_exec("INSERT INTO v.a VALUES (-1)").is_err());
    }
);

on_both!(
    fn days_that_do_not_exist_come_back_as_they_are(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE days; USE days; SET sql_mode = 'ALLOW_INVALID_DATES';
             CREATE TABLE t (a DATE DEFAULT '2026-02-31', b DATETIME(3), c INT, p INT AS (DAYOFMONTH(a)) STORED,
             KEY (a), UNIQUE (b, a)) PARTITION BY RANGE COLUMNS (a)
             (PARTITION p0 VALUES LESS THAN ('2026-03-01'), PARTITION p1 VALUES LESS THAN (MAXVALUE));
             CREATE TABLE u (a DATE PRIMARY KEY DEFAULT '2026-04-31'); CREATE TABLE v (a DATE, KEY (a), FOREIGN KEY (a) REFERENCES u (a));
             INSERT INTO u VALUES (DEFAULT), ('0000-00-00'), ('2026-00-31'); INSERT INTO v VALUES ('2026-04-31');
             INSERT INTO t (b, c) VALUES ('2026-02-31 23:59:59.999', 1), ('0000-00-00', 2);
             INSERT INTO t (a, b) VALUES ('2026-03-02', '2026-06-31')",
        );
        let into = Server::start(flavour);
        let drctl = Drctl::new("days").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest"]).ok();
        for told in [
            "SELECT * FROM days.t ORDER BY b", "SELECT * FROM days.u ORDER BY a", "SELECT * FROM days.v",
            "SELECT COUNT(*), MAX(a) FROM days.t PARTITION (p0)", "SHOW CREATE TABLE days.t", "SHOW CREATE TABLE days.u",
        ] {
            assert_eq!(into.exec(told), source.exec(told));
        }
    }
);

on_both!(
    fn what_cannot_come_back_is_refused_and_never_silent(flavour) {
        let source = Server::start(flavour);
        let into = Server::start(flavour);
        for (n, (why, sql, code, says)) in REFUSED.into_iter().enumerate() {
            source.exec(&format!("{SESSION} CREATE DATABASE refused{n}; USE refused{n}; {sql};"));
            let drctl = Drctl::new("refused").source(&source).into(&into);
            drctl.run(["backup"]).ok();
            println!("{why}");
            drctl.run(["restore", "--latest"]).fails(code, says);
            drctl.run(["restore", "--discard", "--confirm", "refused"]).ok();
            source.exec(&format!("DROP DATABASE refused{n};"));
        }
    }
);

#[test]
fn a_decimal_in_json_whose_text_changes_does_not_pass_the_comparison() {
    need!(MySql);
    let (source, into) = (Server::start(Flavour::MySql), Server::start(Flavour::MySql));
    source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (j JSON);
         INSERT INTO d.t VALUES (JSON_OBJECT('price', CAST(9.90 AS DECIMAL(5,2))))",
    );
    let drctl = Drctl::new("json").source(&source).into(&into);
    drctl.run(["backup"]).ok();
    drctl
        .run(["restore", "--latest"])
        .fails(7, "different rows");
}

#[test]
fn an_event_made_under_high_not_precedence_is_named_since_mysql_does_not_read_what_it_writes() {
    need!(MySql);
    let (source, into) = (Server::start(Flavour::MySql), Server::start(Flavour::MySql));
    source.exec(
        "CREATE DATABASE d; SET sql_mode = 'HIGH_NOT_PRECEDENCE';
         CREATE EVENT d.e ON SCHEDULE EVERY 1 YEAR DO SELECT 1;
         CREATE EVENT d.kept ON SCHEDULE EVERY 1 YEAR ON COMPLETION PRESERVE DO SELECT 1;
         CREATE TABLE d.t (id INT PRIMARY KEY, a INT NOT NULL, CHECK (NOT a BETWEEN -5 AND -1));
         CREATE FUNCTION d.f(a INT) RETURNS INT NOT DETERMINISTIC NO SQL RETURN NOT a BETWEEN 2 AND 3;
         CREATE TRIGGER d.tr BEFORE INSERT ON d.t FOR EACH ROW SET NEW.a = NOT NEW.a BETWEEN 2 AND 3;
         CREATE VIEW d.v AS SELECT NOT a BETWEEN 2 AND 3 AS b FROM d.t",
    );
    let drctl = Drctl::new("not").source(&source).into(&into);
    let named = "event `d`.`e`; ALTER EVENT … ON COMPLETION PRESERVE";
    let doctor = drctl.run(["doctor"]).ok();
    assert!(doctor.stdout.contains(named), "{doctor:#?}");
    drctl.run(["backup"]).ok();
    let shown = drctl.run(["show", "--latest"]).ok();
    assert!(shown.stdout.contains(named), "{shown:#?}");
    let words = [
        "event `d`.`e`",
        "created under HIGH_NOT_PRECEDENCE",
        "ALTER EVENT … ON COMPLETION PRESERVE on the target",
    ];
    drctl.run(["restore", "--latest"]).refused(10, &words);
    for path in ["lanes", "client"] {
        let drill = drctl.run(["verify", "--latest", "--path", path]);
        drill.refused(7, &["event `d`.`e`"]);
    }
    // Nothing else has this fault.
    source.exec("ALTER EVENT d.e ON COMPLETION PRESERVE");
    drctl.run(["backup"]).ok();
    for path in ["lanes", "client"] {
        drctl.run(["verify", "--latest", "--path", path]).ok();
    }
}

#[test]
fn a_negative_zero_of_mysql_comes_back_where_the_plain_client_loses_it() {
    need!(MySql);
    let source = Server::start(Flavour::MySql);
    source.exec(
        "CREATE DATABASE zero; CREATE TABLE zero.t (d DOUBLE, f FLOAT, t TEXT);
         INSERT INTO zero.t VALUES (-0e0, ROUND(-0.4e0), ',-0,')",
    );
    let (into, plain) = (Server::start(Flavour::MySql), Server::start(Flavour::MySql));
    let drctl = Drctl::new("zero").source(&source).into(&into);
    drctl.run(["backup"]).ok();
    drctl.run(["restore", "--latest"]).ok();
    follow_restore_txt(&backup_in(&drctl.store_dir()), &plain);
    for (server, told) in [(&source, "-0\t-0"), (&into, "-0\t-0"), (&plain, "0\t0")] {
        assert_eq!(server.exec("SELECT d, f FROM zero.t").trim(), told);
    }
}

on_both!(
    fn what_the_plain_client_loses_is_what_is_documented(flavour) {
        let source = Server::start(flavour);
        source.exec(&format!(
            "{SESSION} CREATE DATABASE quiet; USE quiet; SET sql_mode = 'ALLOW_INVALID_DATES';
             CREATE TABLE days (a DATE); INSERT INTO days VALUES ('2026-02-31');
             CREATE TABLE names (id INT, a ENUM('x','🦀'), b VARCHAR(9) DEFAULT '🦀')
             DEFAULT CHARACTER SET utf8mb4; INSERT INTO names VALUES (1, '🦀', '🦀');
             CREATE TABLE errors (a ENUM('x')); SET sql_mode = ''; INSERT IGNORE INTO errors VALUES ('no');"
        ));
        let drctl = Drctl::new("quiet").source(&source);
        drctl.run(["backup"]).ok();
        let plain = Server::start(flavour);
        follow_restore_txt(&backup_in(&drctl.store_dir()), &plain);
        for server in [&source, &plain] {
            server.exec("INSERT INTO quiet.names (id) VALUES (2)");
        }
        let told = |server: &Server| {
            ["SELECT a FROM quiet.days", "SELECT HEX(a), HEX(b) FROM quiet.names ORDER BY id", "SELECT HEX(a), a + 0 FROM quiet.errors"]
                .map(|sql| server.query(sql).iter().map(|row| row.join(" ")).collect::<Vec<_>>().join(", "))
        };
        assert_eq!(told(&source), ["2026-02-31", "F09FA680 F09FA680, NULL F09FA680", " 0"]);
        // MariaDB prints a default as it prints the names of an ENUM.
        let names = match flavour {
            Flavour::MariaDb => " F09FA680, NULL 3F",
            Flavour::MySql => " F09FA680, NULL F09FA680",
        };
        assert_eq!(told(&plain), ["0000-00-00", names, " 0"]);
    }
);

#[test]
fn five_thousand_tables_come_back() {
    need!(MariaDb);
    let flavour = Flavour::MariaDb;
    let source = server(flavour, false);
    let mut sql = String::from("CREATE DATABASE many; USE many;\n");
    for i in 0..5000 {
        let key = if i % 10 == 0 { ", KEY (v)" } else { "" };
        sql.push_str(&format!(
            "CREATE TABLE t{i} (id INT PRIMARY KEY, v INT{key});\n"
        ));
        if i % 10 == 0 {
            sql.push_str(&format!("INSERT INTO t{i} VALUES ({i}, 1);\n"));
        }
    }
    source.exec(&sql);
    let drctl = Drctl::new("many")
        .source(&source)
        .env("DRCTL_BACKUP_CODEC", "none");
    let backup = drctl.run(["backup"]).ok();
    let into = server(flavour, false);
    let restore = drctl.into(&into).run(["restore", "--latest"]).ok();
    println!(
        "backup {:?}, restore {:?}\n{}",
        backup.took, restore.took, restore.stdout
    );
    let differences =
        compare::differences(&compare::picture(&source), &compare::picture(&into), |_| {
            true
        });
    assert!(
        differences.is_empty(),
        "{} differ, as {}",
        differences.len(),
        differences[0]
    );
}
