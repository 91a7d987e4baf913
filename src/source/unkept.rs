//! What a dump carries, or leaves out, so that it is not there after a restore unless somebody does
//! something: named in time.
//!
//! - Events of a replica, which are disabled there and stay so.
//! - MySQL: tables in general tablespaces, which the dump names and does not create; schemas that are
//!   READ ONLY, which it says in a comment alone; histograms, of which it has nothing.

use std::collections::BTreeSet;

use super::innodb_name::innodb_name;
use crate::Result;
use crate::server::{Connection, ServerVersion};
use crate::sql::definer::enable_event;
use crate::sql::statement::{ObjectId, ObjectKind, quote};

/// How many names a line has.
const LISTED: usize = 5;

/// All of it in these schemas, a line each.
pub(super) async fn warnings(
    connection: &mut Connection,
    server: &ServerVersion,
    schemas: &[String],
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    if !server.is_mariadb() {
        all.extend(tablespaces(connection, schemas).await?);
    }
    if connection.has_information("column_statistics").await? {
        all.extend(histograms(connection, schemas).await?);
    }
    if connection.has_information("schemata_extensions").await? {
        all.extend(read_only(connection, schemas).await?);
    }
    all.extend(events(connection, schemas).await?);
    Ok(all)
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

async fn tablespaces(connection: &mut Connection, schemas: &[String]) -> Result<Option<String>> {
    let tables: Option<Vec<String>> = connection
        .rows_if_allowed(
            "SELECT name FROM information_schema.innodb_tables WHERE space_type = 'General' ORDER BY 1",
        )
        .await?;
    let tables = tables.unwrap_or_default();
    let tables = tables.iter().filter_map(|name| innodb_name(name));
    // Of a table's partitions each is one.
    let tables: BTreeSet<String> = tables
        .filter(|(schema, _)| schemas.contains(schema))
        .map(|(schema, name)| ObjectId::table(schema, name).to_string())
        .collect();
    Ok(some_of(tables).map(|tables| {
        format!(
            "in general tablespaces, which a restore finds there or fails: {tables}; CREATE TABLESPACE before it"
        )
    }))
}

async fn read_only(connection: &mut Connection, schemas: &[String]) -> Result<Option<String>> {
    let found: Vec<String> = connection
        .rows(
            "SELECT schema_name FROM information_schema.schemata_extensions \
             WHERE options LIKE '%READ ONLY=1%' ORDER BY 1",
        )
        .await?;
    let ours = found.into_iter().filter(|schema| schemas.contains(schema));
    Ok(some_of(ours.map(|schema| format!("schema {}", quote(&schema)))).map(|schemas| {
        format!(
            "READ ONLY, which a restore does not bring back and its proof therefore misses (exit 7): {schemas}; \
             ALTER SCHEMA … READ ONLY = 0 for the backup"
        )
    }))
}

async fn histograms(connection: &mut Connection, schemas: &[String]) -> Result<Option<String>> {
    let found: Vec<(String, String)> = connection
        .rows(
            "SELECT DISTINCT schema_name, table_name FROM information_schema.column_statistics \
             ORDER BY 1, 2",
        )
        .await?;
    let ours = found
        .into_iter()
        .filter(|(schema, _)| schemas.contains(schema));
    let tables = ours.map(|(schema, name)| ObjectId::table(schema, name).to_string());
    Ok(some_of(tables).map(|tables| {
        format!("histograms are not dumped, those of {tables}; ANALYZE TABLE … UPDATE HISTOGRAM after a restore")
    }))
}

/// The first of them, and how many more there are; `None` where there are none.
fn some_of(all: impl IntoIterator<Item = String>) -> Option<String> {
    let mut all = all.into_iter();
    let first: Vec<String> = all.by_ref().take(LISTED).collect();
    let more = match all.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!first.is_empty()).then(|| format!("{}{more}", first.join(", ")))
}
