//! Table of features that not all servers and clients have: their versions, and how drctl detects them.
//! docs/compatibility.md is generated from it.
//!
//! The versions are documentation, each according to the linked page. The code detects features
//! ([`crate::mysql::capabilities`], `--help`, columns of a result), since packagers and hosting providers change what
//! a version has. A feature with [`Chosen::Flavour`] is the same in all supported versions of a flavour.

use std::collections::BTreeSet;

use crate::mysql::{ServerVersion, Version};

/// Kind of a feature.
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
    /// A column in the result of a SHOW statement.
    Column,
    /// An option of the dump program.
    DumpOption,
    /// An option in the login file of the client programs.
    LoginOption,
    /// An authentication plugin.
    Plugin,
    /// An option of a scratch server.
    ServerOption,
}

/// The versions of a flavour that have a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum In {
    /// All supported versions.
    All,
    /// This version and later.
    From(u16, u16, u16),
    /// Versions before this one.
    Until(u16, u16, u16),
    /// No version.
    None,
}

/// How drctl detects a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// By the flavour alone.
    Flavour,
    /// Tried; on an error (1054, 1064, 1109, 1146) the older form is used, or none.
    Tried,
    /// Queried: SHOW VARIABLES, SHOW STATUS, information_schema.
    Asked,
    /// Listed in SHOW PRIVILEGES.
    Listed,
    /// Present in the account's SHOW GRANTS; an alternative privilege suffices.
    Held,
    /// Listed in the `--help` of the program.
    Help,
    /// Whichever name the result has.
    Answer,
    /// By version, since there is no other way.
    Version,
    /// In a conditional comment, which older servers ignore.
    Comment,
    /// As a `loose` option, which programs without it ignore.
    Loose,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// Kind of the feature.
    pub what: What,
    /// Name, as used by drctl.
    pub name: &'static str,
    /// Purpose in drctl.
    pub used_for: &'static str,
    /// Versions of MySQL.
    pub mysql: In,
    /// Versions of MariaDB.
    pub mariadb: In,
    /// How drctl detects it.
    pub chosen: Chosen,
    /// References, separated by blanks: pages of MySQL's manual for 8.4, or for the version before the colon; of
    /// MariaDB's manual after `mariadb:`, of its release notes after `mariadb-notes:`. Empty if none was found.
    pub pages: &'static str,
}

/// Statements for the end of the binary log, newest first.
pub const BINARY_LOG_STATUS: &[&str] = &["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"];

/// Statement for the channels of a replica of MariaDB. Without ALL it shows only the default channel.
pub const ALL_CHANNELS: &[&str] = &["SHOW ALL SLAVES STATUS"];

/// Statements for the channels of a replica of MySQL, newest first.
pub const REPLICA_STATUS: &[&str] = &["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"];

/// Variables that show whether a replica logs the transactions it applies, newest first.
pub const LOG_REPLICA_UPDATES: &[&str] = &["log_replica_updates", "log_slave_updates"];

/// Privileges that allow an account of MySQL to create objects of other definers.
const DEFINE_ON_MYSQL: &[&str] = &["SET_ANY_DEFINER", "SET_USER_ID", "SUPER"];

/// The same for MariaDB; SUPER only on versions where it includes SET USER.
const DEFINE_ON_MARIADB: &[&str] = &["SET USER", "SUPER"];

/// Whether SUPER includes the privileges that were split off from it, which a server cannot be asked.
pub fn super_includes(server: &ServerVersion) -> bool {
    FEATURES.iter().any(|row| {
        row.name == "SUPER"
            && match server.flavour {
                crate::mysql::Flavour::MySql => row.mysql.has(server.version),
                crate::mysql::Flavour::MariaDb => row.mariadb.has(server.version),
            }
    })
}

/// Privileges of which any allows an account to create objects of other definers, and the one to grant.
pub fn definer_privileges(server: &ServerVersion) -> (&'static [&'static str], &'static str) {
    match (server.is_mariadb(), super_includes(server)) {
        (false, _) => (
            DEFINE_ON_MYSQL,
            "SET_ANY_DEFINER (before MySQL 8.2: SET_USER_ID)",
        ),
        (true, true) => (DEFINE_ON_MARIADB, "SET USER"),
        (true, false) => (&DEFINE_ON_MARIADB[..1], "SET USER"),
    }
}

/// The privilege without which a server that knows the privileges `known` rejects CREATE USER for an account that
/// existing objects name as their definer; SUPER does not replace it. `None` if the server accepts it.
pub fn create_definer_privilege(
    server: &ServerVersion,
    known: &BTreeSet<String>,
) -> Option<&'static str> {
    let checks = !server.is_mariadb() && server.version >= Version::new(8, 0, 22);
    let mut all = ["ALLOW_NONEXISTENT_DEFINER", "SET_USER_ID"].into_iter();
    all.find(|privilege| checks && known.contains(*privilege))
}

/// Privileges of which any allows an account to disconnect other clients, and the one to grant.
pub fn kill_privileges(server: &ServerVersion) -> (&'static [&'static str], &'static str) {
    match (server.is_mariadb(), super_includes(server)) {
        (false, _) => (&["CONNECTION_ADMIN", "SUPER"], "CONNECTION_ADMIN"),
        (true, true) => (&["CONNECTION ADMIN", "SUPER"], "CONNECTION ADMIN"),
        (true, false) => (&["CONNECTION ADMIN"], "CONNECTION ADMIN"),
    }
}

/// The privilege that allows an account to make a server read-only and writable.
pub fn read_only_privilege(server: &ServerVersion) -> &'static str {
    match server.is_mariadb() {
        true => "READ ONLY ADMIN",
        false => "SYSTEM_VARIABLES_ADMIN",
    }
}

/// Makes SHOW CREATE USER print hashes in hexadecimal; older servers print them raw.
pub const HEX_HASHES: &str =
    "SET SESSION sql_quote_show_create = 1 /*!80017 , print_identified_with_as_hex = ON */";

/// Status variable of servers whose redo log can be disabled.
pub const REDO_LOG_ENABLED: &str = "Innodb_redo_log_enabled";

use Chosen::{Answer, Asked, Comment, Flavour, Held, Help, Listed, Loose, Tried};
use In::{All, From, None, Until};
use What::{
    Column, DumpOption, LoginOption, Plugin, Privilege, ServerOption, Statement, Table, Variable,
};

const fn row(
    what: What,
    name: &'static str,
    used_for: &'static str,
    (mysql, mariadb): (In, In),
    chosen: Chosen,
    pages: &'static str,
) -> Feature {
    Feature {
        what,
        name,
        used_for,
        mysql,
        mariadb,
        chosen,
        pages,
    }
}

/// All features, grouped by kind.
#[rustfmt::skip]
pub const FEATURES: &[Feature] = &[
    row(Statement, "SHOW BINARY LOG STATUS", "the GTIDs of a snapshot", (From(8, 2, 0), None), Tried, "added-deprecated-removed"),
    row(Statement, "SHOW MASTER STATUS", "the same, older form", (Until(8, 4, 0), All), Tried, "mysql-nutshell mariadb:reference/sql-statements/administrative-sql-statements/show/show-binlog-status"),
    row(Statement, "SHOW BINARY LOGS", "the GTIDs of a snapshot", (All, All), Flavour, "show-binary-logs mariadb:reference/sql-statements/administrative-sql-statements/show/show-binary-logs"),
    row(Statement, "SHOW BINLOG EVENTS", "the GTIDs of a snapshot", (All, All), Flavour, "show-binlog-events mariadb:reference/sql-statements/administrative-sql-statements/show/show-binlog-events"),
    row(Statement, "SHOW REPLICA STATUS", "whether a server is a replica, and how far behind", (From(8, 0, 22), From(10, 5, 1)), Tried, "8.0:show-slave-status mariadb-notes:community-server/old-releases/10.5/10.5.1"),
    row(Statement, "SHOW SLAVE STATUS", "the same, older form", (Until(8, 4, 0), All), Tried, "mysql-nutshell mariadb:reference/sql-statements/administrative-sql-statements/show/show-replica-status"),
    row(Statement, "SHOW ALL SLAVES STATUS", "the same, of all channels of MariaDB", (None, All), Flavour, "mariadb:reference/sql-statements/administrative-sql-statements/show/show-replica-status"),
    row(Statement, "CHANGE REPLICATION SOURCE", "to replay a log", (From(8, 0, 23), None), Tried, "8.0:added-deprecated-removed"),
    row(Statement, "CHANGE MASTER", "the same, older form", (Until(8, 4, 0), All), Tried, "mysql-nutshell mariadb:reference/sql-statements/administrative-sql-statements/replication-statements/change-master-to"),
    row(Statement, "START REPLICA", "to replay a log", (From(8, 0, 22), None), Tried, "8.0:added-deprecated-removed"),
    row(Statement, "START SLAVE", "the same, older form", (Until(8, 4, 0), All), Tried, "mysql-nutshell mariadb:reference/sql-statements/administrative-sql-statements/replication-statements/start-replica"),
    row(Statement, "STOP REPLICA", "to end a replay", (From(8, 0, 22), None), Tried, "8.0:added-deprecated-removed"),
    row(Statement, "STOP SLAVE", "the same, older form", (Until(8, 4, 0), All), Tried, "mysql-nutshell mariadb:reference/sql-statements/administrative-sql-statements/replication-statements/stop-replica"),
    row(Statement, "RESET REPLICA", "removal of the channel of a replay", (From(8, 0, 22), None), Tried, "8.0:added-deprecated-removed"),
    row(Statement, "RESET SLAVE", "the same, older form", (Until(8, 4, 0), All), Tried, "mysql-nutshell mariadb:reference/sql-statements/administrative-sql-statements/replication-statements/reset-replica"),
    row(Statement, "RESET BINARY LOGS AND GTIDS", "a destination that has the GTIDs of the log", (From(8, 2, 0), None), Tried, "added-deprecated-removed"),
    row(Statement, "RESET MASTER", "the same, older form", (Until(8, 4, 0), All), Tried, "mysql-nutshell mariadb:reference/sql-statements/administrative-sql-statements/replication-statements/reset-master"),
    row(Statement, "DISABLE ON REPLICA", "events while a client replays a log", (From(8, 4, 0), None), Tried, "alter-event"),
    row(Statement, "DISABLE ON SLAVE", "the same, older form", (All, All), Tried, "8.0:alter-event"),
    row(Statement, "SHOW CREATE USER", "accounts", (All, All), Flavour, "show-create-user mariadb:reference/sql-statements/administrative-sql-statements/show/show-create-user"),
    row(Statement, "SHOW GRANTS FOR PUBLIC", "what all accounts are granted", (None, From(10, 11, 0)), Tried, "mariadb-notes:community-server/10.11/10.11.0"),
    row(Statement, "SHOW PRIVILEGES", "which privileges a server knows", (All, All), Flavour, "show-privileges mariadb:reference/sql-statements/administrative-sql-statements/show/show-privileges"),
    row(Statement, "SET DEFAULT ROLE", "accounts; MySQL says TO, MariaDB FOR", (All, All), Flavour, "set-default-role mariadb:reference/sql-statements/account-management-sql-statements/set-default-role"),
    row(Statement, "RETAIN CURRENT PASSWORD", "accounts with two passwords", (From(8, 0, 14), None), Asked, "8.0:grant-tables"),
    row(Statement, "LOCK INSTANCE FOR BACKUP", "`backup.ddl: block`", (All, None), Flavour, "lock-instance-for-backup"),
    row(Statement, "BACKUP STAGE", "`backup.ddl: block`", (None, All), Flavour, "mariadb:reference/sql-statements/administrative-sql-statements/backup-commands/backup-stage"),
    row(Statement, "FLUSH TABLES WITH READ LOCK", "coordinates, by the dump program; refused by hosted servers", (All, All), Tried, "flush mariadb:reference/sql-statements/administrative-sql-statements/flush-commands/flush"),
    row(Statement, "XA RECOVER", "the warning about prepared transactions; on MySQL it needs XA_RECOVER_ADMIN", (All, All), Tried, "8.0:privileges-provided mariadb:reference/sql-statements/transactions/xa-transactions"),
    row(Statement, "ALTER INSTANCE DISABLE INNODB REDO_LOG", "external scratch servers", (From(8, 0, 21), None), Asked, "8.0:privileges-provided"),
    row(Statement, "CREATE SPATIAL REFERENCE SYSTEM", "scratch servers; needs SUPER, from 9.2 on CREATE_SPATIAL_REFERENCE_SYSTEM", (All, None), Flavour, "9.2:mysql-nutshell"),
    row(Privilege, "SHOW_ROUTINE", "bodies of routines; older versions: global SELECT", (From(8, 0, 20), None), Listed, "8.0:privileges-provided"),
    row(Privilege, "SHOW CREATE ROUTINE", "bodies of routines; otherwise SELECT on `mysql.proc`", (None, From(11, 3, 0)), Held, "mariadb:reference/sql-statements/administrative-sql-statements/show/show-create-procedure"),
    row(Privilege, "BACKUP_ADMIN", "LOCK INSTANCE FOR BACKUP", (All, None), Flavour, "8.0:privileges-provided"),
    row(Privilege, "FLUSH_TABLES", "coordinates, instead of RELOAD", (From(8, 0, 23), None), Held, "8.0:privileges-provided"),
    row(Privilege, "REPLICATION CLIENT", "coordinates; on MariaDB also called BINLOG MONITOR", (All, All), Held, "8.0:privileges-provided mariadb:reference/sql-statements/account-management-sql-statements/grant"),
    row(Privilege, "REPLICATION_SLAVE_ADMIN", "replays", (All, None), Held, "8.0:privileges-provided"),
    row(Privilege, "SYSTEM_VARIABLES_ADMIN", "replays", (All, None), Held, "8.0:privileges-provided"),
    row(Privilege, "REPLICATION SLAVE ADMIN", "replays", (None, From(10, 5, 2)), Held, "mariadb-notes:community-server/old-releases/10.5/10.5.2"),
    row(Privilege, "REPLICATION MASTER ADMIN", "replays", (None, From(10, 5, 2)), Held, "mariadb-notes:community-server/old-releases/10.5/10.5.2"),
    row(Privilege, "REPLICATION_APPLIER", "replays by a client", (From(8, 0, 18), None), Held, "8.0:privileges-provided"),
    row(Privilege, "BINLOG REPLAY", "replays by a client", (None, From(10, 5, 2)), Held, "mariadb-notes:community-server/old-releases/10.5/10.5.2"),
    row(Privilege, "TRANSACTION_GTID_TAG", "replays of a log with tagged GTIDs", (From(8, 3, 0), None), Held, "privileges-provided"),
    row(Privilege, "REPLICA MONITOR", "whether a server is a replica; on MySQL: REPLICATION CLIENT", (None, From(10, 5, 9)), Tried, "mariadb-notes:community-server/old-releases/10.5/10.5.9"),
    row(Privilege, "SET_USER_ID", "restoring objects of other definers", (Until(8, 4, 0), None), Held, "mysql-nutshell"),
    row(Privilege, "SET_ANY_DEFINER", "the same, since SET_USER_ID was split", (From(8, 2, 0), None), Held, "mysql-nutshell"),
    row(Privilege, "ALLOW_NONEXISTENT_DEFINER", "the other half of SET_USER_ID: objects of missing definers, and accounts that are missing definers of existing objects", (From(8, 2, 0), None), Listed, "mysql-nutshell"),
    row(Privilege, "SET USER", "restoring objects of other definers", (None, From(10, 5, 2)), Held, "mariadb-notes:community-server/old-releases/10.5/10.5.2"),
    row(Privilege, "SUPER", "the same, instead of those; a server cannot be asked whether SUPER still includes them", (All, Until(11, 0, 1)), Chosen::Version, "8.0:stored-objects-security mariadb:reference/sql-statements/account-management-sql-statements/grant"),
    row(Privilege, "CONNECTION_ADMIN", "leases: disconnecting clients that hold up read-only", (All, None), Held, "8.0:privileges-provided"),
    row(Privilege, "CONNECTION ADMIN", "the same", (None, From(10, 5, 2)), Held, "mariadb-notes:community-server/old-releases/10.5/10.5.2"),
    row(Privilege, "READ ONLY ADMIN", "leases: read-only and writable; on MySQL SYSTEM_VARIABLES_ADMIN", (None, From(10, 5, 2)), Tried, "mariadb-notes:community-server/old-releases/10.5/10.5.2"),
    row(Privilege, "SYSTEM_USER", "restoring objects of definers that have it", (From(8, 0, 16), None), Held, "8.0:privileges-provided"),
    row(Variable, "partial_revokes", "parsing SHOW GRANTS", (From(8, 0, 16), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "mandatory_roles", "the warning that it is not part of the accounts", (All, None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "print_identified_with_as_hex", "accounts", (From(8, 0, 17), None), Comment, "8.0:added-deprecated-removed"),
    row(Variable, "authentication_policy", "the comparison of a destination with the target", (From(8, 0, 27), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "password_require_current", "the comparison of a destination with the target", (From(8, 0, 13), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "default_collation_for_utf8mb4", "the comparison of a destination with the target", (All, None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "log_replica_updates", "the GTIDs of a snapshot", (From(8, 0, 26), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "log_slave_updates", "the same, older form", (All, All), Asked, "8.0:replication-options-binary-log mariadb:ha-and-performance/standard-replication/replication-and-binary-log-system-variables"),
    row(Variable, "gtid_purged", "start of a replay", (All, None), Flavour, "replication-options-gtids"),
    row(Variable, "gtid_slave_pos", "start and progress of a replay", (None, All), Flavour, "mariadb:ha-and-performance/standard-replication/gtid"),
    row(Variable, "replica_parallel_workers", "how a log is applied; older: slave_parallel_workers", (From(8, 0, 26), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "replica_preserve_commit_order", "the same; older: slave_preserve_commit_order", (From(8, 0, 26), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "replica_exec_mode", "errors of a replay that are not hidden; older: slave_exec_mode", (From(8, 0, 26), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "slave_ddl_exec_mode", "the same, of definitions", (None, All), Asked, "mariadb:ha-and-performance/standard-replication/replication-and-binary-log-system-variables"),
    row(Variable, "slave_run_triggers_for_rbr", "a replay that does not run triggers again", (None, All), Asked, "mariadb:ha-and-performance/standard-replication/replication-and-binary-log-system-variables"),
    row(Variable, "slave_parallel_threads", "how a log is applied", (None, All), Asked, "mariadb:ha-and-performance/standard-replication/replication-and-binary-log-system-variables"),
    row(Variable, "super_read_only", "whether a server is read-only; MariaDB only has read_only", (All, None), Asked, "server-system-variables"),
    row(Variable, "NO_LOCK_NO_ADMIN", "leases: the value of read_only that holds administrators, too; older: ON", (None, From(12, 1, 1)), Asked, ""),
    row(Variable, "show_gipk_in_create_table_and_information_schema", "dumps with all columns", (From(8, 0, 30), None), Comment, "8.0:added-deprecated-removed"),
    row(Variable, "sql_generate_invisible_primary_key", "restores without generated keys", (From(8, 0, 30), None), Comment, "8.0:added-deprecated-removed"),
    row(Variable, "show_create_table_verbosity", "comparable definitions", (All, None), Comment, "8.0:added-deprecated-removed"),
    row(Variable, "show_create_table_skip_secondary_engine", "comparable definitions", (From(8, 0, 18), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "use_secondary_engine", "dumps of the primary engine", (From(8, 0, 13), None), Comment, "8.0:added-deprecated-removed"),
    row(Variable, "max_execution_time", "dumps without timeout", (All, None), Comment, "server-system-variables"),
    row(Variable, "max_statement_time", "dumps without timeout", (None, All), Comment, "mariadb:ha-and-performance/optimization-and-tuning/system-variables/server-system-variables"),
    row(Variable, "idle_transaction_timeout", "dumps without timeout", (None, All), Comment, "mariadb-notes:community-server/old-releases/10.3/10.3.0"),
    row(Variable, "system_versioning_asof", "dumps of current rows", (None, All), Comment, "mariadb:reference/sql-structure/temporal-tables/system-versioned-tables"),
    row(Variable, "system_versioning_insert_history", "restores of the history of system-versioned tables", (None, From(10, 11, 0)), Comment, "mariadb-notes:community-server/10.11/10.11.0"),
    row(Variable, "note_verbosity", "set by dumps of mariadb-dump", (None, From(10, 6, 16)), Comment, "mariadb:ha-and-performance/optimization-and-tuning/system-variables/server-system-variables"),
    row(Variable, "block_encryption_mode", "values of generated columns", (All, From(11, 2, 0)), Asked, "server-system-variables mariadb:ha-and-performance/optimization-and-tuning/system-variables/server-system-variables"),
    row(Variable, "check_constraint_checks", "restores, and scratch servers", (None, All), Comment, "mariadb:ha-and-performance/optimization-and-tuning/system-variables/server-system-variables"),
    row(Variable, "innodb_ddl_buffer_size", "indexes of a restore", (From(8, 0, 27), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "innodb_redo_log_capacity", "scratch servers", (From(8, 0, 30), None), Loose, "8.0:added-deprecated-removed"),
    row(Variable, "innodb_log_file_size", "scratch servers", (None, All), Flavour, "mariadb:server-usage/storage-engines/innodb/innodb-system-variables"),
    row(Variable, "restrict_fk_on_non_standard_key", "restores, and scratch servers as the target has it", (From(8, 4, 0), None), Loose, "added-deprecated-removed"),
    row(Variable, "character_set_collations", "scratch servers, as the target has it", (None, From(11, 2, 1)), Loose, "mariadb:ha-and-performance/optimization-and-tuning/system-variables/server-system-variables mariadb-notes:community-server/changelogs/11.2/mariadb-11-2-1-changelog"),
    row(Variable, "old_mode", "scratch servers, as the target has it", (None, All), Loose, "mariadb:server-management/variables-and-modes/old_mode"),
    row(Variable, "sql_require_primary_key", "restores", (From(8, 0, 13), None), Asked, "8.0:added-deprecated-removed"),
    row(Variable, "Innodb_redo_log_enabled", "whether the redo log can be disabled", (From(8, 0, 21), None), Asked, "8.0:added-deprecated-removed"),
    row(Table, "information_schema.check_constraints", "CHECKs; older versions of MySQL have none", (From(8, 0, 16), All), Asked, "8.0:information-schema-general-table-reference mariadb:reference/system-tables/information-schema/information-schema-tables/information-schema-check_constraints-table"),
    row(Table, "EXPRESSION", "functional indexes, a column of `information_schema.statistics`", (From(8, 0, 13), None), Asked, "8.0:information-schema-statistics-table"),
    row(Table, "default_encryption", "the warning about encrypted schemas, a column of `information_schema.schemata`", (From(8, 0, 16), None), Tried, "8.0:information-schema-schemata-table"),
    row(Table, "information_schema.innodb_tables", "tables, regardless of privileges", (All, None), Flavour, "information-schema-innodb-tables-table"),
    row(Table, "information_schema.innodb_sys_tables", "tables, regardless of privileges", (None, All), Flavour, "mariadb:reference/system-tables/information-schema/information-schema-tables/information-schema-innodb-tables/information-schema-innodb_sys_tables-table"),
    row(Table, "information_schema.innodb_tablespaces", "the warnings about tablespaces; those of a destination", (All, None), Tried, "information-schema-innodb-tablespaces-table"),
    row(Table, "information_schema.column_statistics", "the warning about histograms", (All, None), Tried, "8.0:information-schema-general-table-reference"),
    row(Table, "information_schema.schemata_extensions", "the warning about READ ONLY schemas; those of a destination", (From(8, 0, 22), None), Tried, "8.0:information-schema-schemata-extensions-table"),
    row(Table, "information_schema.resource_groups", "the warning about resource groups", (All, None), Tried, "8.0:information-schema-general-table-reference"),
    row(Table, "information_schema.st_spatial_reference_systems", "spatial reference systems", (All, None), Flavour, "8.0:information-schema-general-table-reference"),
    row(Table, "information_schema.libraries", "libraries", (From(9, 2, 0), None), Asked, "9.2:mysql-nutshell"),
    row(Table, "User_attributes", "secondary passwords, a column of `mysql.user`", (From(8, 0, 14), None), Asked, "8.0:grant-tables"),
    row(Table, "is_role", "roles, a column of `mysql.user`", (None, All), Flavour, "mariadb:reference/system-tables/the-mysql-database-tables/mysql-user-table"),
    row(Table, "mysql.global_grants", "who holds SYSTEM_USER", (All, None), Flavour, "8.0:grant-tables"),
    row(Table, "mysql.default_roles", "accounts", (All, None), Flavour, "8.0:grant-tables"),
    row(Table, "mysql.role_edges", "default roles that were not granted", (All, None), Flavour, "8.0:grant-tables"),
    row(Table, "mysql.password_history", "the warning about the password history", (All, None), Flavour, "8.0:grant-tables"),
    row(Table, "mysql.replication_asynchronous_connection_failover", "the warning about failover sources", (From(8, 0, 22), None), Tried, "8.0:replication-functions-async-failover"),
    row(Table, "mysql.proc", "the identity of a server; the bodies of routines", (None, All), Flavour, "mariadb:reference/system-tables/the-mysql-database-tables/mysql-proc-table"),
    row(Table, "mysql.table_stats", "the warning about statistics", (None, All), Tried, "mariadb:reference/system-tables/the-mysql-database-tables/mysql-table_stats-table"),
    row(Table, "mysql.transaction_registry", "the warning about commit times", (None, All), Tried, "mariadb:reference/system-tables/the-mysql-database-tables/mysql-transaction_registry-table"),
    row(Table, "performance_schema.user_defined_functions", "functions of components that views call", (All, None), Tried, "8.0:performance-schema-user-defined-functions-table"),
    row(Table, "performance_schema.keyring_component_status", "whether a destination has a keyring", (From(8, 0, 24), None), Tried, "8.0:performance-schema-keyring-component-status-table"),
    row(Table, "performance_schema.replication_applier_status_by_worker", "the commit time of a replica", (All, None), Flavour, "performance-schema-replication-applier-status-by-worker-table"),
    row(Column, "Source_Host", "the source of a replica; older: Master_Host", (From(8, 0, 22), None), Answer, "8.0:show-slave-status"),
    row(Column, "Seconds_Behind_Source", "the lag of a replica; older: Seconds_Behind_Master", (From(8, 0, 22), None), Answer, "8.0:show-slave-status"),
    row(Column, "Replica_IO_Running", "whether a channel runs; older: Slave_IO_Running", (From(8, 0, 22), None), Answer, "8.0:show-slave-status"),
    row(Column, "Channel_Name", "a channel; on MariaDB: Connection_name", (All, None), Answer, "show-replica-status"),
    row(Column, "Replica_SQL_Running_State", "whether a replay has applied what it has; older: Slave_SQL_Running_State", (From(8, 0, 22), None), Answer, "8.0:show-slave-status"),
    row(Column, "Slave_Transactional_Groups", "how many transactions a replay has applied", (None, All), Answer, "mariadb:reference/sql-statements/administrative-sql-statements/show/show-replica-status"),
    row(Column, "Executed_Gtid_Set", "the GTIDs of a snapshot", (All, None), Answer, "show-binary-log-status"),
    row(DumpOption, "source-data", "coordinates", (From(8, 0, 26), None), Help, "8.0:mysqldump"),
    row(DumpOption, "master-data", "the same, older form", (All, All), Help, "8.0:mysqldump mariadb:clients-and-utilities/backup-restore-and-import-clients/mariadb-dump"),
    row(DumpOption, "set-gtid-purged", "dumps without GTID statements", (All, None), Help, "8.0:mysqldump"),
    row(DumpOption, "column-statistics", "dumps without histograms", (All, None), Help, "8.0:mysqldump"),
    row(DumpOption, "network-timeout", "tolerance of a slow store", (All, None), Help, "8.0:mysqldump"),
    row(DumpOption, "init-command", "the session of a dump; without it `sql_select_limit` and hidden keys are refused", (From(8, 4, 0), None), Help, "mysqldump"),
    row(DumpOption, "skip-masking-policies", "dumps without masking policies; present in 9.7.4, not in the manual of 9.5", (From(9, 6, 0), None), Help, ""),
    row(DumpOption, "dump-history", "the history of system-versioned tables", (None, From(10, 11, 0)), Help, "mariadb:clients-and-utilities/backup-restore-and-import-clients/mariadb-dump"),
    row(DumpOption, "no-tablespaces", "dumps without PROCESS", (All, All), Help, "8.0:mysqldump mariadb:clients-and-utilities/backup-restore-and-import-clients/mariadb-dump"),
    row(LoginOption, "ssl-mode", "TLS", (All, None), Flavour, "connection-options"),
    row(LoginOption, "get-server-public-key", "caching_sha2_password without TLS", (All, None), Flavour, "connection-options"),
    row(LoginOption, "enable-cleartext-plugin", "tokens as passwords, only over verified TLS", (All, None), Flavour, "cleartext-pluggable-authentication"),
    row(LoginOption, "ssl-verify-server-cert", "TLS; always set, since the default is on from 11.4 on", (None, All), Flavour, "mariadb:clients-and-utilities/mariadb-client/mariadb-command-line-client"),
    row(Plugin, "caching_sha2_password", "the backup account, and accounts on scratch servers; installable in MariaDB 11.4.9, 11.8.4 and later", (All, From(11, 4, 9)), Asked, "caching-sha2-pluggable-authentication mariadb:reference/plugins/authentication-plugins/authentication-plugin-caching_sha2_password"),
    row(Plugin, "mysql_native_password", "accounts on scratch servers of MariaDB; disabled in MySQL 8.4", (Until(9, 0, 0), All), Asked, "native-pluggable-authentication mariadb:reference/plugins/authentication-plugins/pluggable-authentication-overview"),
    row(ServerOption, "initialize-insecure", "the data directory of a scratch server", (All, None), Flavour, "server-options"),
    row(ServerOption, "bootstrap", "the data directory of a scratch server", (None, All), Flavour, "mariadb:server-management/starting-and-stopping-mariadb/mariadbd-options"),
    row(ServerOption, "auto-generate-certs", "a scratch server that generates no keys", (All, None), Loose, "server-system-variables"),
    row(ServerOption, "caching-sha2-password-auto-generate-rsa-keys", "a scratch server that generates no keys", (All, None), Loose, "8.0:added-deprecated-removed"),
    row(ServerOption, "sha256-password-auto-generate-rsa-keys", "a scratch server that generates no keys", (All, None), Loose, "server-system-variables"),
    row(ServerOption, "mysqlx", "a scratch server without the X protocol", (All, None), Loose, "8.0:added-deprecated-removed"),
    row(ServerOption, "ssl", "a scratch server without TLS; MySQL 8.4 and later generate certificates by default", (Until(8, 4, 0), All), Loose, "mysql-nutshell mariadb:security/encryption/data-in-transit-encryption/secure-connections-overview"),
];

impl In {
    /// Whether this version has the feature.
    pub fn has(self, version: Version) -> bool {
        match self {
            In::All => true,
            In::From(a, b, c) => version >= Version::new(a, b, c),
            In::Until(a, b, c) => version < Version::new(a, b, c),
            In::None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::client::dump_options::{Need, OPTIONS};
    use crate::mysql::flavour::{OLDEST_MARIADB, OLDEST_MYSQL};

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

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
    fn every_feature_is_used_and_in_a_supported_version() {
        let mut all = Vec::new();
        sources(&std::path::Path::new(ROOT).join("src"), &mut all);
        all.retain(|(path, _)| !path.ends_with("mysql/compat.rs"));
        let constants = [
            BINARY_LOG_STATUS,
            REPLICA_STATUS,
            ALL_CHANNELS,
            LOG_REPLICA_UPDATES,
            DEFINE_ON_MYSQL,
            DEFINE_ON_MARIADB,
            &["CONNECTION_ADMIN", "CONNECTION ADMIN", "READ ONLY ADMIN"],
            &[HEX_HASHES, REDO_LOG_ENABLED],
        ];
        for feature in FEATURES {
            let name = feature.name;
            let named = constants
                .iter()
                .any(|list| list.iter().any(|one| one.contains(name)));
            // As an option, a variable may be written with dashes.
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
    fn every_version_has_a_reference() {
        let is_dated = |versions: In| matches!(versions, In::From(..) | In::Until(..));
        for feature in FEATURES {
            let pages: Vec<&str> = feature.pages.split_whitespace().collect();
            let (mariadb, mysql): (Vec<&str>, Vec<&str>) =
                pages.iter().partition(|page| page.starts_with("mariadb"));
            let name = feature.name;
            let said = |versions, of: &[&str]| !is_dated(versions) || !of.is_empty();
            assert!(
                pages.is_empty() || said(feature.mysql, &mysql) && said(feature.mariadb, &mariadb),
                "{name} has a version without reference"
            );
            for page in pages {
                let (of, path) = page.split_once(':').unwrap_or(("8.4", page));
                let dotted = of.split('.').all(|part| part.parse::<u8>().is_ok());
                let known = ["mariadb", "mariadb-notes"].contains(&of) || dotted;
                assert!(known && !path.contains(".html"), "{name}: {page}");
            }
        }
    }

    #[test]
    fn no_other_module_compares_server_versions() {
        let mut all = Vec::new();
        sources(&std::path::Path::new(ROOT).join("src"), &mut all);
        all.retain(|(path, _)| {
            !path.ends_with("mysql/compat.rs") && !path.ends_with("mysql/flavour.rs")
        });
        assert!(all.len() > 100);
        for (path, text) in all {
            for choice in [
                "Version::new(",
                "is_mysql_from",
                "is_mariadb_from",
                ".version.major",
            ] {
                assert!(
                    !text.contains(choice),
                    "{} compares versions; detect the feature instead",
                    path.display()
                );
            }
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
    fn features_are_unique_and_grouped_by_kind() {
        let mut names: Vec<_> = FEATURES.iter().map(|row| (row.what, row.name)).collect();
        assert!(names.is_sorted_by_key(|(what, _)| *what));
        names.sort();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }

    #[test]
    fn super_allows_other_definers_only_on_versions_where_it_does() {
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
