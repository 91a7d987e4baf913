//! Whether the server itself counts as many rows as the ledger: drctl's scanner has no part in that.
//!
//! What is counted is what a dump program dumps. It takes the history of a system-versioned table only
//! where it is told to, and nothing of tables whose rows are kept elsewhere.

use std::collections::BTreeSet;

use super::{failed, in_its_words, passed};
use crate::error::Result;
use crate::report::model::Check;
use crate::server::Connection;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::words::counted;

/// Engines whose rows are kept elsewhere, by the dump programs' own lists: of MySQL the first three, of
/// MariaDB all of them (`--no-data-med`, its default).
const ROWS_ELSEWHERE: &str = "UPPER(engine) IN \
     ('MRG_MYISAM', 'MRG_ISAM', 'FEDERATED', 'CONNECT', 'OQGRAPH', 'SPIDER', 'VP')";

/// Tables of MariaDB that remember what their rows were.
const VERSIONED: &str = "table_type = 'SYSTEM VERSIONED'";

/// Counts each table against its rows in the ledger; `history`: whether the dump holds it.
pub(super) async fn counts<'a>(
    connection: &mut Connection,
    tables: impl Iterator<Item = (&'a ObjectId, u64)>,
    history: bool,
) -> Result<Vec<Check>> {
    let elsewhere = those(connection, ROWS_ELSEWHERE).await?;
    let versioned = match history {
        true => those(connection, VERSIONED).await?,
        false => BTreeSet::new(),
    };
    let (mut all, mut wrong) = (0, Vec::new());
    for (table, expected) in tables {
        if expected == 0 && elsewhere.contains(table) {
            continue;
        }
        let rows = match versioned.contains(table) {
            true => " FOR SYSTEM_TIME ALL",
            false => "",
        };
        let sql = format!("SELECT COUNT(*) FROM {}{rows}", table.quoted());
        let found = in_its_words(connection.one::<u64>(&sql).await)?;
        all += found.as_ref().unwrap_or(&0);
        if found != Ok(expected) {
            wrong.push(failed(
                format!("the server's own count of {table}"),
                &counted(expected, "row"),
                found.map_or_else(|why| why, |found| counted(found, "row")),
            ));
        }
    }
    if wrong.is_empty() {
        let found = counted(all, "row");
        wrong.push(passed("the server's own count of every table", &found));
    }
    Ok(wrong)
}

/// The tables of which that holds.
async fn those(connection: &mut Connection, which: &str) -> Result<BTreeSet<ObjectId>> {
    let sql =
        format!("SELECT table_schema, table_name FROM information_schema.tables WHERE {which}");
    let rows: Vec<(String, String)> = connection.rows(&sql).await?;
    let object = |(schema, name)| ObjectId::new(ObjectKind::Table, schema, name);
    Ok(rows.into_iter().map(object).collect())
}
