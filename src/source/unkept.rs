//! What a server holds and no dump does, so that it is not there after a restore unless somebody does
//! something: one table, [`UNKEPT`], of which doctor and the manifest name what is found.
//!
//! A server that has no such thing at all says so by the number of its error, so no row asks for versions.

use std::collections::BTreeSet;

use super::innodb_name::innodb_name;
use crate::Result;
use crate::server::Connection;
use crate::server::connect::{NamedRow, server_code};
use crate::server::schemas::{Own, Owner, SYSTEM};
use crate::sql::definer::enable_event;
use crate::sql::statement::{ObjectId, ObjectKind, quote};

/// How many names a line has.
const LISTED: usize = 5;

/// The errors of a server that has no such thing: an unknown table (1146, 1109), column (1054), statement
/// (1064), variable (1193), or a table that is hidden from everybody (3554).
const ABSENT: &[u16] = &[1054, 1064, 1109, 1146, 1193, 3554];

/// What the columns of a query are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Columns {
    /// A name of the whole server's, in this column.
    Name(usize),
    /// A schema.
    Schema,
    /// A schema and a table in it.
    Table,
    /// A table as InnoDB spells it.
    InnodbTable,
    /// One of the server's own schemas and what is in it.
    InTheServers,
}

/// One kind of thing that no dump holds.
#[derive(Debug)]
struct Unkept {
    /// What it is, and what becomes of it.
    what: &'static str,
    /// Finds it.
    query: &'static str,
    /// What the query's columns are.
    columns: Columns,
    /// What to do about it.
    fix: &'static str,
}

/// All kinds; those first without which a restore fails or lacks data.
const UNKEPT: &[Unkept] = &[
    Unkept {
        what: "in general tablespaces, which a restore finds there or fails",
        query: "SELECT name FROM information_schema.innodb_tables WHERE space_type = 'General' ORDER BY 1",
        columns: Columns::InnodbTable,
        fix: "CREATE TABLESPACE before it",
    },
    Unkept {
        what: "spatial reference systems are not dumped, and a table that uses one cannot be created without it (3548)",
        // Of the server's own, the identifier is the number that the EPSG gave it.
        query: "SELECT srs_id FROM information_schema.st_spatial_reference_systems WHERE srs_id <> 0 \
                AND (organization IS NULL OR organization <> 'EPSG' OR organization_coordsys_id <> srs_id) ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE SPATIAL REFERENCE SYSTEM before a restore",
    },
    Unkept {
        what: "keys of encrypted tables are not dumped, and a restore needs a keyring of its own",
        query: "SELECT table_schema, table_name FROM information_schema.tables \
                WHERE create_options REGEXP 'ENCRYPT(ED|ION)`?=[''\"]?Y' ORDER BY 1, 2",
        columns: Columns::Table,
        fix: "set one up on the destination",
    },
    Unkept {
        what: "schemas encrypted by default, which a restore without a keyring cannot fill",
        query: "SELECT schema_name FROM information_schema.schemata WHERE default_encryption = 'YES' ORDER BY 1",
        columns: Columns::Schema,
        fix: "set a keyring up on the destination",
    },
    Unkept {
        what: "transactions prepared by XA are not dumped, nor what they wrote",
        query: "XA RECOVER",
        columns: Columns::Name(3),
        fix: "XA COMMIT or XA ROLLBACK before the backup",
    },
    Unkept {
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
        columns: Columns::InTheServers,
        fix: "move them into a schema of their own",
    },
    Unkept {
        what: "programs of schemas that do not exist are not dumped",
        query: "SELECT CONCAT(db, '.', name) FROM mysql.proc \
                WHERE db NOT IN (SELECT schema_name FROM information_schema.schemata) \
                UNION SELECT CONCAT(db, '.', name) FROM mysql.event \
                WHERE db NOT IN (SELECT schema_name FROM information_schema.schemata)",
        columns: Columns::Name(0),
        fix: "create the schemas, or delete the rows from mysql.proc and mysql.event",
    },
    Unkept {
        what: "commit times of transaction-precise tables are not dumped (mysql.transaction_registry)",
        query: "SELECT 'transaction_registry' FROM mysql.transaction_registry LIMIT 1",
        columns: Columns::Name(0),
        fix: "FOR SYSTEM_TIME AS OF TIMESTAMP answers another history after a restore",
    },
    Unkept {
        what: "servers of CREATE SERVER are not dumped",
        query: "SELECT server_name FROM mysql.servers ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE SERVER after a restore",
    },
    Unkept {
        what: "loadable functions are not dumped",
        query: "SELECT name FROM mysql.func ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE FUNCTION … SONAME before a restore",
    },
    Unkept {
        what: "installed plugins are not dumped",
        query: "SELECT name FROM mysql.plugin ORDER BY 1",
        columns: Columns::Name(0),
        fix: "INSTALL PLUGIN before a restore",
    },
    Unkept {
        what: "installed components are not dumped",
        query: "SELECT component_urn FROM mysql.component ORDER BY 1",
        columns: Columns::Name(0),
        fix: "INSTALL COMPONENT before a restore",
    },
    Unkept {
        what: "collations from files of the server are not dumped",
        query: "SELECT collation_name FROM information_schema.collations \
                WHERE is_compiled <> 'Yes' AND id BETWEEN 1024 AND 2047 ORDER BY 1",
        columns: Columns::Name(0),
        fix: "bring the files of character_sets_dir along",
    },
    Unkept {
        what: "general tablespaces are not dumped",
        query: "SELECT name FROM information_schema.innodb_tablespaces \
                WHERE space_type = 'General' AND name <> 'mysql' ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE TABLESPACE before a restore",
    },
    Unkept {
        what: "undo tablespaces are not dumped",
        query: "SELECT name FROM information_schema.innodb_tablespaces \
                WHERE space_type = 'Undo' AND name NOT LIKE 'innodb\\_undo\\_%' ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE UNDO TABLESPACE where they are wanted",
    },
    Unkept {
        what: "the encryption of the server's own tablespace is not dumped",
        query: "SELECT name FROM information_schema.innodb_tablespaces WHERE name = 'mysql' AND encryption = 'Y'",
        columns: Columns::Name(0),
        fix: "ALTER TABLESPACE mysql ENCRYPTION = 'Y' on the destination",
    },
    Unkept {
        what: "resource groups are not dumped",
        query: "SELECT resource_group_name FROM information_schema.resource_groups \
                WHERE resource_group_name NOT IN ('USR_default', 'SYS_default') ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CREATE RESOURCE GROUP after a restore",
    },
    Unkept {
        what: "persisted variables are not dumped",
        query: "SELECT variable_name FROM performance_schema.persisted_variables ORDER BY 1",
        columns: Columns::Name(0),
        fix: "SET PERSIST after a restore",
    },
    Unkept {
        what: "changed costs of the optimizer are not dumped",
        query: "SELECT cost_name FROM mysql.server_cost WHERE cost_value IS NOT NULL \
                UNION SELECT cost_name FROM mysql.engine_cost WHERE cost_value IS NOT NULL",
        columns: Columns::Name(0),
        fix: "UPDATE mysql.server_cost and mysql.engine_cost after a restore",
    },
    Unkept {
        what: "replication channels are not dumped",
        query: "SELECT CONCAT(QUOTE(channel_name), ' from ', host) \
                FROM performance_schema.replication_connection_configuration \
                WHERE host <> '' AND VERSION() NOT LIKE '%MariaDB%' ORDER BY 1",
        columns: Columns::Name(0),
        fix: "CHANGE REPLICATION SOURCE after a restore",
    },
    Unkept {
        what: "replication connections are not dumped",
        query: "SHOW ALL SLAVES STATUS",
        columns: Columns::Name(0),
        fix: "CHANGE MASTER after a restore",
    },
    Unkept {
        what: "replication filters are not dumped",
        query: "SELECT CONCAT(filter_name, ' = ', filter_rule) FROM performance_schema.replication_applier_filters \
                UNION SELECT CONCAT(filter_name, ' = ', filter_rule) \
                FROM performance_schema.replication_applier_global_filters",
        columns: Columns::Name(0),
        fix: "CHANGE REPLICATION FILTER after a restore",
    },
    Unkept {
        what: "sources for the failover of replication are not dumped",
        query: "SELECT CONCAT(QUOTE(channel_name), ' from ', host) FROM mysql.replication_asynchronous_connection_failover",
        columns: Columns::Name(0),
        fix: "add them again after a restore",
    },
    Unkept {
        what: "READ ONLY, which a restore does not bring back and its proof therefore misses (exit 7)",
        query: "SELECT schema_name FROM information_schema.schemata_extensions \
                WHERE options LIKE '%READ ONLY=1%' ORDER BY 1",
        columns: Columns::Schema,
        fix: "ALTER SCHEMA … READ ONLY = 0 for the backup",
    },
    Unkept {
        what: "histograms are not dumped, those of",
        query: "SELECT DISTINCT schema_name, table_name FROM information_schema.column_statistics ORDER BY 1, 2",
        columns: Columns::Table,
        fix: "ANALYZE TABLE … UPDATE HISTOGRAM after a restore",
    },
    Unkept {
        what: "statistics of ANALYZE … PERSISTENT are not dumped, those of",
        query: "SELECT db_name, table_name FROM mysql.table_stats UNION SELECT db_name, table_name FROM mysql.column_stats \
                UNION SELECT db_name, table_name FROM mysql.index_stats ORDER BY 1, 2",
        columns: Columns::Table,
        fix: "ANALYZE TABLE … PERSISTENT FOR ALL after a restore",
    },
];

/// All that is found, a line each. `schemas`: those that are dumped; `left_out`: those that are not, and
/// are not the server's own.
pub(super) async fn warnings(
    connection: &mut Connection,
    own: &Own,
    schemas: &[String],
    left_out: &[String],
) -> Result<Vec<String>> {
    let mut all = not_dumped(own, left_out);
    let mut unknown = Vec::new();
    for unkept in UNKEPT {
        let rows = match connection.named_rows(unkept.query).await {
            Ok(rows) => rows,
            Err(error) => match server_code(&error) {
                Some(code) if ABSENT.contains(&code) => continue,
                // The account may not look.
                Some(_) => {
                    let kind = unkept.what.split(" are ").next().unwrap_or(unkept.what);
                    unknown.push(kind.to_owned());
                    continue;
                }
                None => return Err(error),
            },
        };
        // Of a table's partitions each is one.
        let names: BTreeSet<String> = rows
            .iter()
            .filter_map(|row| unkept.columns.name(row, schemas))
            .collect();
        let Unkept { what, fix, .. } = unkept;
        all.extend(some_of(names).map(|names| format!("{what}: {names}; {fix}")));
    }
    all.extend(events(connection, schemas).await?);
    let unseen = some_of(unknown);
    all.extend(unseen.map(|what| {
        format!("what no dump holds was not looked for, as the account may not: {what}; grant SELECT on mysql.*")
    }));
    Ok(all)
}

impl Columns {
    /// The name in a row; `None` where it is no business of a dump of these schemas.
    fn name(self, row: &NamedRow, schemas: &[String]) -> Option<String> {
        let at = |column| row.at(column).unwrap_or_default().to_owned();
        let ours = |schema: &String| schemas.contains(schema);
        match self {
            Columns::Name(column) => {
                let name = at(column);
                Some(match name.is_empty() {
                    true => "''".to_owned(),
                    false => name,
                })
            }
            Columns::Schema => Some(at(0))
                .filter(ours)
                .map(|schema| ObjectId::schema(schema).to_string()),
            Columns::Table => ours(&at(0)).then(|| ObjectId::table(at(0), at(1)).to_string()),
            Columns::InnodbTable => {
                let (schema, name) = innodb_name(&at(0))?;
                ours(&schema).then(|| ObjectId::table(schema, name).to_string())
            }
            // To MariaDB's information_schema SYS is sys.
            Columns::InTheServers => SYSTEM
                .contains(&at(0).as_str())
                .then(|| format!("{}.{}", quote(&at(0)), quote(&at(1)))),
        }
    }
}

/// Schemas that are not in the backup and not the server's own, with the reason.
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
    all.extend(some_of(chosen).map(|schemas| {
        format!("left out, as backup.schemas or backup.exclude_schemas says: {schemas}")
    }));
    all
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
    let said = ours.map(|(schema, name, definer)| {
        let event = ObjectId::new(ObjectKind::Event, schema, name);
        let definer = definer
            .rsplit_once('@')
            .map_or(String::new(), |(user, host)| {
                format!("{}@{}", quote(user), quote(host))
            });
        format!(
            "{event} is disabled as that of a replica, and stays so after a restore: {}",
            enable_event(&event, &definer)
        )
    });
    Ok(said.collect())
}

/// The first of them, and how many more there are; `None` where there are none.
pub(super) fn some_of(all: impl IntoIterator<Item = impl ToString>) -> Option<String> {
    let mut all = all.into_iter();
    let first: Vec<String> = all
        .by_ref()
        .take(LISTED)
        .map(|one| one.to_string())
        .collect();
    let more = match all.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!first.is_empty()).then(|| format!("{}{more}", first.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::schemas::own;

    #[test]
    fn a_schema_that_is_left_out_is_named_with_the_reason() {
        let left_out = ["scratch".to_owned(), "#mysql50#lost+found".to_owned()];
        assert_eq!(
            not_dumped(&own("10.11.19-MariaDB", false, false), &left_out),
            [
                "schema `#mysql50#lost+found` is left out: it is a directory that the server took for a schema",
                "left out, as backup.schemas or backup.exclude_schemas says: schema `scratch`",
            ]
        );
    }
}
