//! What drctl uses that not every server and client has: since and until which version, and how drctl finds
//! out. docs/compatibility.md is made of this table.
//!
//! The versions are for people. The code asks ([`super::asked`], `--help`, an answer's columns), since
//! packagers and hosts change what a version has; what is here as [`Chosen::Flavour`] is the same in all
//! supported versions of a flavour.

use super::{ServerVersion, Version};

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A statement.
    Statement,
    /// A privilege.
    Privilege,
    /// A system or status variable.
    Variable,
    /// A table of `information_schema`, `performance_schema` or `mysql`, or a column of one.
    Table,
    /// A column of what a SHOW answers.
    Column,
    /// An option of the dump program.
    DumpOption,
    /// An option of the client programs, in the file that logs them in.
    LoginOption,
}

/// In which versions of a flavour it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum In {
    /// In all that are supported.
    All,
    /// From this one on.
    From(u16, u16, u16),
    /// Up to and without this one.
    Until(u16, u16, u16),
    /// In none.
    None,
}

/// How drctl finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// By the flavour alone.
    Flavour,
    /// It is tried; a server that does not know it (1064) is asked in the older words.
    Tried,
    /// The server is asked whether it has it: SHOW VARIABLES, SHOW STATUS, information_schema.
    Asked,
    /// The server lists it in SHOW PRIVILEGES.
    Listed,
    /// The account holds it, in its SHOW GRANTS; another name is as good.
    Held,
    /// The program names it in its `--help`.
    Help,
    /// Whichever name the answer has.
    Answer,
    /// By the version: nothing else tells.
    Version,
    /// In a conditional comment, which an older server skips.
    Comment,
    /// As a `loose` option, which a program that does not know it skips.
    Loose,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// What kind of thing it is.
    pub what: What,
    /// Its name, as drctl writes it.
    pub name: &'static str,
    /// What drctl uses it for.
    pub used_for: &'static str,
    /// In which MySQL.
    pub mysql: In,
    /// In which MariaDB.
    pub mariadb: In,
    /// How drctl finds out.
    pub chosen: Chosen,
    /// The page of the manual: of MySQL, or after `mariadb:` of MariaDB.
    pub page: &'static str,
}

/// Where the binary log ends, newest words first.
pub const BINARY_LOG_STATUS: &[&str] = &["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"];

/// What a replica says of its channels, newest words first.
pub const REPLICA_STATUS: &[&str] = &["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"];

/// Whether a replica logs what it applies, newest name first.
pub const LOG_REPLICA_UPDATES: &[&str] = &["log_replica_updates", "log_slave_updates"];

/// The privileges by which an account of MySQL defines objects as another one.
const DEFINE_ON_MYSQL: &[&str] = &["SET_ANY_DEFINER", "SET_USER_ID", "SUPER"];

/// The same of MariaDB; the last one where SUPER holds that.
const DEFINE_ON_MARIADB: &[&str] = &["SET USER", "SUPER"];

/// The privileges of which any lets an account define objects as another one, and which to grant. MariaDB
/// took that out of SUPER, which nothing but its version tells.
pub fn definer_privileges(server: &ServerVersion) -> (&'static [&'static str], &'static str) {
    let in_super = FEATURES.iter().any(|row| {
        row.name == "SUPER"
            && match server.flavour {
                super::Flavour::MySql => row.mysql.has(server.version),
                super::Flavour::MariaDb => row.mariadb.has(server.version),
            }
    });
    match (server.is_mariadb(), in_super) {
        (false, _) => (
            DEFINE_ON_MYSQL,
            "SET_ANY_DEFINER (before MySQL 8.2: SET_USER_ID)",
        ),
        (true, true) => (DEFINE_ON_MARIADB, "SET USER"),
        (true, false) => (&DEFINE_ON_MARIADB[..1], "SET USER"),
    }
}

/// Shows the hashes of SHOW CREATE USER as text; older servers show them raw.
pub const HEX_HASHES: &str =
    "SET SESSION sql_quote_show_create = 1 /*!80017 , print_identified_with_as_hex = ON */";

/// The status variable of a server whose redo log can be switched off.
pub const REDO_LOG_ENABLED: &str = "Innodb_redo_log_enabled";

use Chosen::{Answer, Asked, Comment, Flavour, Held, Help, Listed, Loose, Tried};
use In::{All, From, None, Until};
use What::{Column, DumpOption, LoginOption, Privilege, Statement, Table, Variable};

const fn row(
    what: What,
    name: &'static str,
    used_for: &'static str,
    (mysql, mariadb): (In, In),
    chosen: Chosen,
    page: &'static str,
) -> Feature {
    Feature {
        what,
        name,
        used_for,
        mysql,
        mariadb,
        chosen,
        page,
    }
}

/// All of it.
#[rustfmt::skip]
pub const FEATURES: &[Feature] = &[
    row(Statement, "SHOW BINARY LOG STATUS", "the GTIDs of a snapshot", (From(8, 2, 0), None), Tried, "show-binary-log-status"),
    row(Statement, "SHOW MASTER STATUS", "the same, in older words", (Until(8, 4, 0), All), Tried, "show-master-status"),
    row(Statement, "SHOW BINARY LOGS", "the GTIDs of a snapshot", (All, All), Flavour, "show-binary-logs"),
    row(Statement, "SHOW BINLOG EVENTS", "the GTIDs of a snapshot", (All, All), Flavour, "show-binlog-events"),
    row(Statement, "SHOW REPLICA STATUS", "whether a server is a replica, and how far behind", (From(8, 0, 22), From(10, 5, 1)), Tried, "show-replica-status"),
    row(Statement, "SHOW SLAVE STATUS", "the same, in older words", (Until(8, 4, 0), All), Tried, "show-slave-status"),
    row(Statement, "SHOW ALL SLAVES STATUS", "the same, of all channels of MariaDB", (None, All), Flavour, "mariadb:show-replica-status"),
    row(Statement, "SHOW CREATE USER", "accounts", (All, All), Flavour, "show-create-user"),
    row(Statement, "SHOW PRIVILEGES", "which privileges a server knows, for hints", (All, All), Flavour, "show-privileges"),
    row(Statement, "SET DEFAULT ROLE", "accounts; MySQL says TO, MariaDB FOR", (All, All), Flavour, "set-default-role"),
    row(Statement, "LOCK INSTANCE FOR BACKUP", "`backup.ddl: block`", (All, None), Flavour, "lock-instance-for-backup"),
    row(Statement, "BACKUP STAGE", "`backup.ddl: block`", (None, All), Flavour, "mariadb:backup-stage"),
    row(Statement, "FLUSH TABLES WITH READ LOCK", "coordinates, by the dump program; refused by hosted servers", (All, All), Tried, "flush"),
    row(Statement, "ALTER INSTANCE DISABLE INNODB REDO_LOG", "scratch servers that are given", (From(8, 0, 21), None), Asked, "alter-instance"),
    row(Privilege, "SHOW_ROUTINE", "to see the bodies of routines; before it SELECT on all", (From(8, 0, 20), None), Listed, "privileges-provided"),
    row(Privilege, "SHOW CREATE ROUTINE", "to see the bodies of routines; else SELECT on `mysql.proc`", (None, From(11, 3, 0)), Held, "mariadb:grant"),
    row(Privilege, "BACKUP_ADMIN", "LOCK INSTANCE FOR BACKUP", (All, None), Flavour, "privileges-provided"),
    row(Privilege, "FLUSH_TABLES", "coordinates, instead of RELOAD", (From(8, 0, 23), None), Held, "privileges-provided"),
    row(Privilege, "REPLICATION CLIENT", "coordinates; MariaDB calls it BINLOG MONITOR too", (All, All), Held, "privileges-provided"),
    row(Privilege, "SET_USER_ID", "to restore objects of other definers", (Until(8, 4, 0), None), Held, "privileges-provided"),
    row(Privilege, "SET_ANY_DEFINER", "the same, since SET_USER_ID was split", (From(8, 2, 0), None), Held, "privileges-provided"),
    row(Privilege, "SET USER", "the same on MariaDB", (None, From(10, 5, 2)), Held, "mariadb:grant"),
    row(Privilege, "SUPER", "the same, in the place of those", (All, Until(11, 0, 1)), Chosen::Version, "mariadb:grant"),
    row(Privilege, "SYSTEM_USER", "to restore objects of definers that hold it", (From(8, 0, 16), None), Held, "privileges-provided"),
    row(Variable, "partial_revokes", "how SHOW GRANTS is read", (From(8, 0, 16), None), Asked, "partial-revokes"),
    row(Variable, "print_identified_with_as_hex", "accounts", (From(8, 0, 17), None), Comment, "server-system-variables"),
    row(Variable, "log_replica_updates", "the GTIDs of a snapshot", (From(8, 0, 26), None), Asked, "replication-options-binary-log"),
    row(Variable, "log_slave_updates", "the same, in older words", (All, All), Asked, "replication-options-binary-log"),
    row(Variable, "show_gipk_in_create_table_and_information_schema", "dumps that leave no column out", (From(8, 0, 30), None), Comment, "create-table-gipks"),
    row(Variable, "innodb_ddl_buffer_size", "indexes of a restore", (From(8, 0, 27), None), Asked, "innodb-parameters"),
    row(Variable, "innodb_redo_log_capacity", "scratch servers", (From(8, 0, 30), None), Loose, "innodb-parameters"),
    row(Variable, "innodb_log_file_size", "scratch servers", (None, All), Loose, "mariadb:innodb-system-variables"),
    row(Variable, "restrict_fk_on_non_standard_key", "scratch servers, as the source has it", (From(8, 4, 0), None), Loose, "server-system-variables"),
    row(Variable, "character_set_collations", "scratch servers, as the source has it", (None, From(10, 10, 1)), Loose, "mariadb:server-system-variables"),
    row(Variable, "old_mode", "scratch servers, as the source has it", (None, All), Loose, "mariadb:old-mode"),
    row(Variable, "sql_require_primary_key", "restores", (From(8, 0, 13), None), Asked, "server-system-variables"),
    row(Variable, "Innodb_redo_log_enabled", "whether the redo log can be switched off", (From(8, 0, 21), None), Asked, "server-status-variables"),
    row(Table, "information_schema.innodb_tables", "tables that no grant hides", (All, None), Flavour, "information-schema-innodb-tables-table"),
    row(Table, "information_schema.innodb_sys_tables", "tables that no grant hides", (None, All), Flavour, "mariadb:information-schema-innodb_sys_tables-table"),
    row(Table, "information_schema.column_statistics", "the warning of histograms", (All, None), Asked, "information-schema-column-statistics-table"),
    row(Table, "information_schema.schemata_extensions", "the warning of READ ONLY schemas", (From(8, 0, 22), None), Asked, "information-schema-schemata-extensions-table"),
    row(Table, "information_schema.libraries", "libraries", (From(9, 2, 0), None), Asked, "information-schema-libraries-table"),
    row(Table, "mysql.global_grants", "who holds SYSTEM_USER", (All, None), Flavour, "grant-tables"),
    row(Table, "mysql.default_roles", "accounts", (All, None), Flavour, "grant-tables"),
    row(Table, "mysql.proc", "the identity of a server; the bodies of routines", (None, All), Flavour, "mariadb:mysqlproc-table"),
    row(Table, "performance_schema.replication_applier_status_by_worker", "the commit time of a replica", (All, None), Flavour, "performance-schema-replication-applier-status-by-worker-table"),
    row(Column, "Source_Host", "what a replica reads from; older: Master_Host", (From(8, 0, 22), None), Answer, "show-replica-status"),
    row(Column, "Seconds_Behind_Source", "the lag of a replica; older: Seconds_Behind_Master", (From(8, 0, 22), None), Answer, "show-replica-status"),
    row(Column, "Replica_IO_Running", "whether a channel runs; older: Slave_IO_Running", (From(8, 0, 22), None), Answer, "show-replica-status"),
    row(Column, "Channel_Name", "a channel; on MariaDB: Connection_name", (All, None), Answer, "show-replica-status"),
    row(Column, "Executed_Gtid_Set", "the GTIDs of a snapshot", (All, None), Answer, "show-binary-log-status"),
    row(DumpOption, "source-data", "coordinates", (From(8, 0, 26), None), Help, "mysqldump"),
    row(DumpOption, "master-data", "the same, in older words", (All, All), Help, "mysqldump"),
    row(DumpOption, "set-gtid-purged", "dumps without GTIDs of their own", (All, None), Help, "mysqldump"),
    row(DumpOption, "column-statistics", "dumps without histograms", (All, None), Help, "mysqldump"),
    row(DumpOption, "network-timeout", "patience with a slow store", (From(8, 0, 14), None), Help, "mysqldump"),
    row(DumpOption, "init-command", "the session of a dump; without it `sql_select_limit` and hidden keys are refused", (From(8, 4, 0), None), Help, "mysqldump"),
    row(DumpOption, "skip-masking-policies", "dumps without masking policies", (From(9, 7, 0), None), Help, "mysqldump"),
    row(DumpOption, "dump-history", "the history of system-versioned tables", (None, From(10, 11, 0)), Help, "mariadb:mariadb-dump"),
    row(DumpOption, "no-tablespaces", "dumps without PROCESS", (All, All), Help, "mysqldump"),
    row(LoginOption, "ssl-mode", "TLS", (All, None), Flavour, "connection-options"),
    row(LoginOption, "get-server-public-key", "caching_sha2_password without TLS", (All, None), Flavour, "connection-options"),
    row(LoginOption, "enable-cleartext-plugin", "tokens as passwords, over verified TLS alone", (All, None), Flavour, "cleartext-pluggable-authentication"),
    row(LoginOption, "ssl-verify-server-cert", "TLS; on by default from 11.4 on, so it is always said", (None, All), Flavour, "mariadb:mariadb-command-line-client"),
];

impl In {
    fn words(self) -> String {
        let one = |(major, minor, patch): (u16, u16, u16)| format!("{major}.{minor}.{patch}");
        match self {
            In::All => "all".to_owned(),
            In::From(a, b, c) => format!("{} and later", one((a, b, c))),
            In::Until(a, b, c) => format!("before {}", one((a, b, c))),
            In::None => "–".to_owned(),
        }
    }

    /// Whether it is in this version.
    pub fn has(self, version: Version) -> bool {
        match self {
            In::All => true,
            In::From(a, b, c) => version >= Version::new(a, b, c),
            In::Until(a, b, c) => version < Version::new(a, b, c),
            In::None => false,
        }
    }
}

impl Chosen {
    fn words(self) -> &'static str {
        match self {
            Chosen::Flavour => "by flavour",
            Chosen::Tried => "tried",
            Chosen::Asked => "asked",
            Chosen::Listed => "SHOW PRIVILEGES",
            Chosen::Held => "SHOW GRANTS",
            Chosen::Help => "`--help`",
            Chosen::Answer => "by the answer",
            Chosen::Version => "by version",
            Chosen::Comment => "conditional comment",
            Chosen::Loose => "`loose` option",
        }
    }
}

impl What {
    fn words(self) -> &'static str {
        match self {
            What::Statement => "Statements",
            What::Privilege => "Privileges",
            What::Variable => "Variables",
            What::Table => "Tables",
            What::Column => "Columns of answers",
            What::DumpOption => "Options of the dump program",
            What::LoginOption => "Options that log a client in",
        }
    }
}

fn link(page: &str) -> String {
    match page.strip_prefix("mariadb:") {
        Some(page) => format!("[{page}](https://mariadb.com/kb/en/{page}/)"),
        Option::None => format!("[{page}](https://dev.mysql.com/doc/refman/8.4/en/{page}.html)"),
    }
}

/// The table, as Markdown.
pub fn markdown() -> String {
    let mut text = String::new();
    let mut of = Option::None;
    for feature in FEATURES {
        if of != Some(feature.what) {
            of = Some(feature.what);
            let header = "what | used for | MySQL | MariaDB | chosen | manual";
            text += &format!(
                "\n**{}**\n\n| {header} |\n|---|---|---|---|---|---|\n",
                feature.what.words()
            );
        }
        text += &format!(
            "| `{}` | {} | {} | {} | {} | {} |\n",
            feature.name,
            feature.used_for,
            feature.mysql.words(),
            feature.mariadb.words(),
            feature.chosen.words(),
            link(feature.page)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::dump_options::{Need, OPTIONS};
    use crate::server::flavour::{OLDEST_MARIADB, OLDEST_MYSQL};

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");
    /// What surrounds the table in its page.
    const MARKS: [&str; 2] = ["<!-- made from src/server/compat.rs -->\n", "<!-- end -->"];

    fn sources(dir: &std::path::Path, all: &mut Vec<(std::path::PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|it| it == "rs") {
                all.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }

    #[test]
    fn the_documentation_is_made_of_the_table_of_versions() {
        let file = format!("{ROOT}/docs/compatibility.md");
        let page = std::fs::read_to_string(&file).unwrap();
        let (head, rest) = page.split_once(MARKS[0]).unwrap();
        let (_, tail) = rest.split_once(MARKS[1]).unwrap();
        let made = format!("{head}{}{}\n{}{tail}", MARKS[0], markdown(), MARKS[1]);
        if std::env::var_os("DRCTL_WRITE_DOCS").is_some() {
            std::fs::write(&file, &made).unwrap();
            return;
        }
        assert!(page == made, "run make docs");
    }

    #[test]
    fn what_the_table_names_is_used_and_in_some_supported_version() {
        let mut all = Vec::new();
        sources(&std::path::Path::new(ROOT).join("src"), &mut all);
        all.retain(|(path, _)| !path.ends_with("server/compat.rs"));
        let constants = [
            BINARY_LOG_STATUS,
            REPLICA_STATUS,
            LOG_REPLICA_UPDATES,
            DEFINE_ON_MYSQL,
            DEFINE_ON_MARIADB,
            &[HEX_HASHES, REDO_LOG_ENABLED],
        ];
        for feature in FEATURES {
            let name = feature.name;
            let named = constants
                .iter()
                .any(|list| list.iter().any(|one| one.contains(name)));
            // A variable of options is written with dashes too.
            let used =
                |text: &String| text.contains(name) || text.contains(&name.replace('_', "-"));
            assert!(
                named || all.iter().any(|(_, text)| used(text)),
                "{name} is used nowhere"
            );
            let gone = |versions: In, oldest: Version| match versions {
                In::Until(a, b, c) => Version::new(a, b, c) <= oldest,
                In::None => true,
                _ => false,
            };
            assert!(
                !(gone(feature.mysql, OLDEST_MYSQL) && gone(feature.mariadb, OLDEST_MARIADB)),
                "{name} is in no supported version"
            );
        }
    }

    #[test]
    fn every_optional_option_of_a_dump_is_in_the_table() {
        for (option, need) in OPTIONS {
            let name = option.split('=').next().unwrap();
            let listed = FEATURES
                .iter()
                .any(|row| row.what == What::DumpOption && row.name == name);
            assert!(
                *need == Need::Always || listed,
                "{name} is not in the table"
            );
        }
    }

    #[test]
    fn no_name_stands_twice_and_kinds_stand_together() {
        let mut names: Vec<_> = FEATURES.iter().map(|row| (row.what, row.name)).collect();
        assert!(names.is_sorted_by_key(|(what, _)| *what));
        names.sort();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }

    #[test]
    fn super_stands_for_the_right_to_define_for_others_as_long_as_it_held_it() {
        for (version, in_super, grant) in [
            ("8.0.36", true, "SET_USER_ID"),
            ("9.7.4", true, "SET_ANY_DEFINER"),
            ("10.11.19-MariaDB", true, "SET USER"),
            ("11.4.5-MariaDB", false, "SET USER"),
            ("11.8.2-MariaDB", false, "SET USER"),
        ] {
            let server = ServerVersion::parse(version, "").unwrap();
            let (any_of, which) = definer_privileges(&server);
            assert_eq!(any_of.contains(&"SUPER"), in_super, "{version}");
            assert!(which.contains(grant), "{version}: {which}");
        }
    }
}
