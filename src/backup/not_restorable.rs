//! Warnings about objects that a restore does not bring back without manual work, since no dump contains them.
//!
//! The table [`KINDS`] has a query for each kind. Servers without the kind answer with an error of [`ABSENT`], so no
//! query depends on a version.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::Result;
use crate::mysql::Connection;
use crate::mysql::connect::{NamedRow, literals, server_code};
use crate::mysql::inventory::innodb_name::innodb_name;
use crate::mysql::schemas::{Own, Owner, SYSTEM};
use crate::sql::definer::enable_event;
use crate::sql::placement::directories;
use crate::sql::statement::{ObjectId, ObjectKind, quote};
use crate::util::format;

/// Errors of servers without the feature: unknown table (1146, 1109), column (1054), statement (1064) or variable
/// (1193), or an inaccessible system table (3554).
const ABSENT: &[u16] = &[1054, 1064, 1109, 1146, 1193, 3554];

/// Meaning of the columns of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Columns {
    /// The name of a server-wide object, in this column.
    Name(usize),
    /// A schema.
    Schema,
    /// A schema and a table in it; a third column, if any, is added in parentheses.
    Table,
    /// A schema, a stored program in it, and the program's kind.
    Program,
    /// A table in InnoDB's spelling.
    InnodbTable,
    /// A system schema and an object in it.
    InSystemSchema,
}

/// One kind of object.
#[derive(Debug)]
struct Kind {
    /// The warning, to be followed by the names.
    what: &'static str,
    query: &'static str,
    columns: Columns,
    /// What the operator can do.
    fix: &'static str,
}

/// All kinds, starting with those without which a restore fails or is incomplete.
const KINDS: &[Kind] = &[
    Kind {
        what: "tables in general tablespaces, which a restore does not create",
        query: "SELECT name FROM information_schema.innodb_tables WHERE space_type = 'General' ORDER BY 1",
        columns: Columns::InnodbTable,
        fix: "CREATE TABLESPACE before a restore",
    },
    Kind {
        what: "tables of engines that a destination may lack",
        query: "SELECT table_schema, table_name, engine FROM information_schema.tables \
                WHERE engine NOT IN ('InnoDB', 'MyISAM', 'Aria', 'MEMORY', 'MRG_MyISAM', 'CSV') ORDER BY 1, 2",
        columns: Columns::Table,
        fix: "install the engine on the destination, or convert the tables to InnoDB",
    },
    Kind {
        what: "spatial reference systems are not dumped, and a table that uses one cannot be created without it (3548)",
        // The ID of a built-in one is its EPSG number. One that was replaced under it is found by the plan.
        query: "SELECT srs_id FROM information_schema.st_spatial_reference_systems WHERE srs_id <> 0 \
                AND (organization IS NULL OR organization <> 'EPSG' OR organization_coordsys_id <> srs_id) ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE SPATIAL REFERENCE SYSTEM before a restore",
    },
    Kind {
        what: "keys of encrypted tables are not dumped, and the destination needs its own keyring",
        query: "SELECT table_schema, table_name FROM information_schema.tables \
                WHERE create_options REGEXP 'ENCRYPT(ED|ION)`?=[''\"]?Y' ORDER BY 1, 2",
        columns: Columns::Table,
        fix: "set up a keyring there",
    },
    Kind {
        what: "schemas encrypted by default, which a restore without a keyring cannot fill",
        query: "SELECT schema_name FROM information_schema.schemata WHERE default_encryption = 'YES' ORDER BY 1",
        columns: Columns::Schema,
        fix: "set up a keyring on the destination",
    },
    Kind {
        what: "programs created under NO_BACKSLASH_ESCAPES with a backslash in their comment, which the server shows doubled: \
               the comparison after a restore finds another comment (exit 7)",
        query: "SELECT routine_schema, routine_name, LOWER(routine_type) FROM information_schema.routines \
                WHERE sql_mode LIKE '%NO_BACKSLASH_ESCAPES%' AND INSTR(routine_comment, CHAR(92)) > 0 \
                UNION ALL SELECT event_schema, event_name, 'event' FROM information_schema.events \
                WHERE sql_mode LIKE '%NO_BACKSLASH_ESCAPES%' AND INSTR(event_comment, CHAR(92)) > 0 ORDER BY 1, 2",
        columns: Columns::Program,
        fix: "recreate them without the backslash or without that sql_mode",
    },
    Kind {
        // Of other objects the server prints no NOT that this mode reads as another one, or takes their own text.
        what: "events created under HIGH_NOT_PRECEDENCE, whose ON COMPLETION NOT PRESERVE no MySQL server accepts in \
               that mode: the restore ends at them",
        query: "SELECT event_schema, event_name, 'event' FROM information_schema.events \
                WHERE FIND_IN_SET('HIGH_NOT_PRECEDENCE', sql_mode) > 0 AND on_completion = 'NOT PRESERVE' \
                AND VERSION() NOT LIKE '%MariaDB%' ORDER BY 1, 2",
        columns: Columns::Program,
        fix: "ALTER EVENT … ON COMPLETION PRESERVE, or recreate them without that sql_mode",
    },
    Kind {
        what: "transactions prepared by XA are not dumped, nor are their changes",
        query: "XA RECOVER",
        columns: Columns::Name(3),
        fix: "XA COMMIT or XA ROLLBACK before the backup",
    },
    Kind {
        what: "objects in the server's own schemas are not dumped",
        query: "SELECT table_schema, table_name FROM information_schema.tables \
                WHERE table_type = 'BASE TABLE' AND (table_schema = 'sys' AND table_name <> 'sys_config' \
                OR table_schema = 'mysql' AND table_name NOT REGEXP \
                '^(column_stats|columns_priv|component|db|default_roles|engine_cost|event|func|general_log\
                |global_grants|global_priv|gtid_executed|gtid_slave_pos.*|help_.*|host|index_stats|innodb_.*\
                |ndb_.*|password_history|plugin|proc|procs_priv|proxies_priv|rds_.*|replication_.*|role_edges\
                |roles_mapping|server_cost|servers|slave_.*|slow_log|spider_.*|table_stats|tables_priv\
                |time_zone.*|transaction_registry|user|wsrep_.*)$') \
                UNION ALL SELECT table_schema, table_name FROM information_schema.views \
                WHERE table_schema IN ('mysql', 'sys') \
                AND definer NOT IN ('mysql.sys@localhost', 'mariadb.sys@localhost', 'rdsadmin@localhost') \
                UNION ALL SELECT routine_schema, routine_name FROM information_schema.routines \
                WHERE routine_schema IN ('mysql', 'sys') AND routine_name NOT LIKE 'rds\\_%' \
                AND definer NOT IN ('mysql.sys@localhost', 'mariadb.sys@localhost', 'rdsadmin@localhost') \
                UNION ALL SELECT event_schema, event_name FROM information_schema.events \
                WHERE event_schema IN ('mysql', 'sys') AND definer <> 'rdsadmin@localhost'",
        columns: Columns::InSystemSchema,
        fix: "move them into a schema of their own",
    },
    Kind {
        what: "programs of schemas that do not exist are not dumped",
        query: "SELECT CONCAT(db, '.', name) FROM mysql.proc \
                WHERE db NOT IN (SELECT schema_name FROM information_schema.schemata) \
                UNION SELECT CONCAT(db, '.', name) FROM mysql.event \
                WHERE db NOT IN (SELECT schema_name FROM information_schema.schemata)",
        columns: Columns::Name(0),
        fix: "create the schemas, or delete the rows from mysql.proc and mysql.event",
    },
    Kind {
        what: "commit times of transaction-precise tables are not dumped (mysql.transaction_registry)",
        query: "SELECT 'transaction_registry' FROM mysql.transaction_registry LIMIT 1",
        columns: Columns::Name(0),
        fix: "FOR SYSTEM_TIME AS OF TIMESTAMP returns a different history after a restore",
    },
    Kind {
        what: "server definitions (CREATE SERVER) are not dumped",
        query: "SELECT server_name FROM mysql.servers ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE SERVER after a restore",
    },
    Kind {
        what: "loadable functions are not dumped",
        query: "SELECT name FROM mysql.func ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE FUNCTION … SONAME before a restore",
    },
    Kind {
        what: "installed plugins are not dumped",
        query: "SELECT name FROM mysql.plugin ORDER BY 1",
        columns: Columns::Name(0),
        fix: "INSTALL PLUGIN before a restore",
    },
    Kind {
        what: "installed components are not dumped",
        query: "SELECT component_urn FROM mysql.component ORDER BY 1",
        columns: Columns::Name(0),
        fix: "INSTALL COMPONENT before a restore",
    },
    Kind {
        what: "collations from files of the server are not dumped",
        query: "SELECT collation_name FROM information_schema.collations \
                WHERE is_compiled <> 'Yes' AND id BETWEEN 1024 AND 2047 ORDER BY 1",
        columns: Columns::Name(0),
        fix: "copy the files in character_sets_dir to the destination",
    },
    Kind {
        what: "general tablespaces are not dumped",
        query: "SELECT name FROM information_schema.innodb_tablespaces \
                WHERE space_type = 'General' AND name <> 'mysql' ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE TABLESPACE before a restore",
    },
    Kind {
        what: "undo tablespaces are not dumped",
        query: "SELECT name FROM information_schema.innodb_tablespaces \
                WHERE space_type = 'Undo' AND name NOT LIKE 'innodb\\_undo\\_%' ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE UNDO TABLESPACE on the destination, if needed",
    },
    Kind {
        what: "encryption of the system tablespace is not dumped",
        query: "SELECT name FROM information_schema.innodb_tablespaces WHERE name = 'mysql' AND encryption = 'Y'",
        columns: Columns::Name(0),
        fix: "ALTER TABLESPACE mysql ENCRYPTION = 'Y' on the destination",
    },
    Kind {
        what: "resource groups are not dumped",
        query: "SELECT resource_group_name FROM information_schema.resource_groups \
                WHERE resource_group_name NOT IN ('USR_default', 'SYS_default') ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE RESOURCE GROUP after a restore",
    },
    Kind {
        what: "persisted variables are not dumped",
        query: "SELECT variable_name FROM performance_schema.persisted_variables ORDER BY 1",
        columns: Columns::Name(0),
        fix: "SET PERSIST after a restore",
    },
    Kind {
        what: "changed costs of the optimizer are not dumped",
        query: "SELECT cost_name FROM mysql.server_cost WHERE cost_value IS NOT NULL \
                UNION SELECT cost_name FROM mysql.engine_cost WHERE cost_value IS NOT NULL",
        columns: Columns::Name(0),
        fix: "UPDATE mysql.server_cost and mysql.engine_cost after a restore",
    },
    Kind {
        what: "replication channels are not dumped",
        query: "SELECT CONCAT(QUOTE(channel_name), ' from ', host) \
                FROM performance_schema.replication_connection_configuration \
                WHERE host <> '' AND VERSION() NOT LIKE '%MariaDB%' ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CHANGE REPLICATION SOURCE after a restore",
    },
    Kind {
        what: "replication connections are not dumped",
        query: "SHOW ALL SLAVES STATUS",
        columns: Columns::Name(0),
        fix: "CHANGE MASTER after a restore",
    },
    Kind {
        what: "replication filters are not dumped",
        query: "SELECT CONCAT(filter_name, ' = ', filter_rule) FROM performance_schema.replication_applier_filters \
                UNION SELECT CONCAT(filter_name, ' = ', filter_rule) \
                FROM performance_schema.replication_applier_global_filters",
        columns: Columns::Name(0),
        fix: "CHANGE REPLICATION FILTER after a restore",
    },
    Kind {
        what: "failover sources of replication are not dumped",
        query: "SELECT CONCAT(QUOTE(channel_name), ' from ', host) FROM mysql.replication_asynchronous_connection_failover",
        columns: Columns::Name(0),
        fix: "add them again after a restore",
    },
    Kind {
        what: "READ ONLY schemas, which a restore leaves writable",
        query: "SELECT schema_name FROM information_schema.schemata_extensions \
                WHERE options LIKE '%READ ONLY=1%' ORDER BY 1",
        columns: Columns::Schema,
        fix: "ALTER SCHEMA … READ ONLY = 1 after a restore",
    },
    Kind {
        what: "histograms are not dumped",
        query: "SELECT DISTINCT schema_name, table_name FROM information_schema.column_statistics ORDER BY 1, 2",
        columns: Columns::Table,
        fix: "ANALYZE TABLE … UPDATE HISTOGRAM after a restore",
    },
    Kind {
        what: "statistics of ANALYZE … PERSISTENT are not dumped",
        query: "SELECT db_name, table_name FROM mysql.table_stats UNION SELECT db_name, table_name FROM mysql.column_stats \
                UNION SELECT db_name, table_name FROM mysql.index_stats ORDER BY 1, 2",
        columns: Columns::Table,
        fix: "ANALYZE TABLE … PERSISTENT FOR ALL after a restore",
    },
];

/// The query of each kind, for a test: a wrong query would look like a server without the kind.
pub fn queries() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.query)
}

/// The warnings, a line each. `schemas` are those that are dumped, `left_out` those that are neither dumped nor system
/// schemas.
pub(super) async fn warnings(
    connection: &mut Connection,
    own: &Own,
    schemas: &[String],
    left_out: &[String],
) -> Result<Vec<String>> {
    let mut all = not_dumped(own, left_out);
    let mut unknown = Vec::new();
    for kind in KINDS {
        let rows = match connection.named_rows(kind.query).await {
            Ok(rows) => rows,
            Err(error) => match server_code(&error) {
                Some(code) if ABSENT.contains(&code) => continue,
                // The account lacks the privilege.
                Some(_) => {
                    unknown.push(kind.what.split(" are ").next().unwrap_or(kind.what));
                    continue;
                }
                None => return Err(error),
            },
        };
        // A set, since each partition of a table is a row.
        let names: BTreeSet<String> = rows
            .iter()
            .filter_map(|row| kind.columns.name(row, schemas))
            .collect();
        let Kind { what, fix, .. } = kind;
        all.extend(some_of(names).map(|names| format!("{what}: {names}; {fix}")));
    }
    all.extend(some_of(with_directories(connection, schemas).await?).map(|tables| {
        format!(
            "tables with DATA DIRECTORY or INDEX DIRECTORY, which the destination must have: {tables}; create the \
             directories there (MySQL: list them in innodb_directories), or move the tables"
        )
    }));
    all.extend(some_of(counting_sequences(connection, schemas).await?).map(|sequences| {
        format!(
            "the cycle counts of sequences are not dumped, and are 0 after a restore: {sequences}; DO SETVAL(sequence, n, \
             0, count) with its next_not_cached_value as n after a restore, if an application reads them"
        )
    }));
    all.extend(events(connection, schemas).await?);
    all.extend(some_of(unknown).map(|what| {
        format!("the account lacks privileges to check for objects that dumps omit: {what}; grant SELECT on mysql.*")
    }));
    Ok(all)
}

impl Columns {
    /// The name in a row; `None` if the object does not belong to these schemas.
    fn name(self, row: &NamedRow, schemas: &[String]) -> Option<String> {
        let at = |column| row.at(column).unwrap_or_default().to_owned();
        let ours = |schema: &String| schemas.contains(schema);
        match self {
            Columns::Name(column) => {
                let name = at(column);
                Some(if name.is_empty() {
                    "''".to_owned()
                } else {
                    name
                })
            }
            Columns::Schema => Some(at(0))
                .filter(ours)
                .map(|schema| ObjectId::schema(schema).to_string()),
            Columns::Table => ours(&at(0)).then(|| {
                let table = ObjectId::table(at(0), at(1));
                row.at(2)
                    .map_or_else(|| table.to_string(), |engine| format!("{table} ({engine})"))
            }),
            Columns::Program => {
                ours(&at(0)).then(|| format!("{} {}.{}", at(2), quote(&at(0)), quote(&at(1))))
            }
            Columns::InnodbTable => {
                let (schema, name) = innodb_name(&at(0))?;
                ours(&schema).then(|| ObjectId::table(schema, name).to_string())
            }
            // Compared here, since MariaDB's information_schema ignores case.
            Columns::InSystemSchema => SYSTEM
                .contains(&at(0).as_str())
                .then(|| format!("{}.{}", quote(&at(0)), quote(&at(1)))),
        }
    }
}

/// Schemas that are not in the backup, with the reason.
fn not_dumped(own: &Own, left_out: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    let mut chosen = Vec::new();
    for schema in left_out {
        let id = ObjectId::schema(schema.as_str()).to_string();
        match own.owner(schema) {
            Owner::Unreachable(why) => all.push(format!("{id} is left out: {why}")),
            Owner::User | Owner::Server => chosen.push(id),
        }
    }
    all.extend(
        some_of(chosen).map(|schemas| {
            format!("left out by backup.schemas or backup.exclude_schemas: {schemas}")
        }),
    );
    all
}

/// Tables with directories of their own, and these directories. Only definitions contain all directories, so they are
/// read for each table that the server's lists do not rule out.
async fn with_directories(connection: &mut Connection, schemas: &[String]) -> Result<Vec<String>> {
    // MySQL's create_options do not contain directories, and it lists only the files of InnoDB.
    const CANDIDATES: [&str; 2] = [
        "SELECT table_schema, table_name FROM information_schema.tables WHERE (create_options LIKE '%DIRECTORY=%' \
         OR create_options LIKE '%partitioned%' AND (engine <> 'InnoDB' OR VERSION() LIKE '%MariaDB%') \
         OR engine = 'MyISAM' AND VERSION() NOT LIKE '%MariaDB%') AND table_schema IN (@)",
        "SELECT name FROM information_schema.innodb_tablespaces JOIN information_schema.innodb_datafiles USING (space) \
         WHERE space_type = 'Single' AND path NOT LIKE './%'",
    ];
    let mut tables = BTreeSet::new();
    for query in CANDIDATES {
        let query = query.replace('@', &literals(schemas));
        let rows = match connection.named_rows(&query).await {
            Ok(rows) => rows,
            // The server has no such table, or the account lacks PROCESS, which has its own warning.
            Err(error) if server_code(&error).is_some() => continue,
            Err(error) => return Err(error),
        };
        tables.extend(rows.iter().filter_map(|row| match (row.at(0)?, row.at(1)) {
            (schema, Some(table)) => Some((schema.to_owned(), table.to_owned())),
            (innodb, None) => innodb_name(innodb),
        }));
    }
    let mut found = Vec::new();
    for (schema, name) in tables {
        if !schemas.contains(&schema) {
            continue;
        }
        let table = ObjectId::table(schema, name);
        let sql = format!("SHOW CREATE TABLE {}", table.quoted());
        let definition = match connection.row::<(String, Vec<u8>)>(&sql).await {
            Ok(definition) => definition,
            // Dropped in the meantime, or unreadable, which another check reports.
            Err(error) if server_code(&error).is_some() => continue,
            Err(error) => return Err(error),
        };
        let directories = definition.map_or_else(Vec::new, |(_, sql)| directories(&sql));
        if !directories.is_empty() {
            found.push(format!("{table} ({})", directories.join(", ")));
        }
    }
    Ok(found)
}

/// MariaDB's sequences that started again, with their cycle counts: dumps have a SETVAL without it.
async fn counting_sequences(
    connection: &mut Connection,
    schemas: &[String],
) -> Result<Vec<String>> {
    let sequences: Vec<(String, String)> = connection
        .rows(&format!(
            "SELECT table_schema, table_name FROM information_schema.tables \
             WHERE table_type = 'SEQUENCE' AND table_schema IN ({}) ORDER BY 1, 2",
            literals(schemas)
        ))
        .await?;
    let mut found = Vec::new();
    for (schema, name) in sequences {
        if !schemas.contains(&schema) {
            continue;
        }
        let sequence = ObjectId::new(ObjectKind::Sequence, schema, name);
        let sql = format!("SELECT cycle_count FROM {}", sequence.quoted());
        match connection.row::<i64>(&sql).await {
            Ok(Some(count)) if count != 0 => found.push(format!("{sequence} ({count})")),
            // Dropped in the meantime, or denied, which the check of grants reports.
            Err(error) if server_code(&error).is_none() => return Err(error),
            _ => {}
        }
    }
    Ok(found)
}

async fn events(connection: &mut Connection, schemas: &[String]) -> Result<Vec<String>> {
    // SLAVESIDE_DISABLED, and REPLICA_SIDE_DISABLED of newer MySQL.
    let rows: Vec<(String, String, String)> = connection
        .rows(
            "SELECT event_schema, event_name, definer FROM information_schema.events \
             WHERE status LIKE '%SIDE\\_DISABLED' ORDER BY 1, 2",
        )
        .await?;
    let ours = rows
        .into_iter()
        .filter(|(schema, ..)| schemas.contains(schema));
    let warnings = ours.map(|(schema, name, definer)| {
        let event = ObjectId::new(ObjectKind::Event, schema, name);
        let definer = definer
            .rsplit_once('@')
            .map_or(String::new(), |(user, host)| {
                format!("{}@{}", quote(user), quote(host))
            });
        format!(
            "{event} is disabled on replicas (DISABLE ON SLAVE) and stays disabled after a restore: {}",
            enable_event(&event, &definer)
        )
    });
    Ok(warnings.collect())
}

/// [`format::some_of`] the names; `None` if there are none.
pub(super) fn some_of(all: impl IntoIterator<Item = impl Display>) -> Option<String> {
    let some = format::some_of(all);
    (!some.is_empty()).then_some(some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::schemas::own;

    #[test]
    fn schemas_that_are_left_out_are_reported_with_the_reason() {
        let left_out = ["scratch".to_owned(), "#mysql50#lost+found".to_owned()];
        assert_eq!(
            not_dumped(&own("10.11.19-MariaDB", false, false), &left_out),
            [
                "schema `#mysql50#lost+found` is left out: it is a directory that the server takes for a schema",
                "left out by backup.schemas or backup.exclude_schemas: schema `scratch`",
            ]
        );
    }
}
