//! The server's own row counts, compared with the ledger: a check independent of drctl's scanner.
//!
//! Counts what a dump program dumps. It dumps the history of a system-versioned table only with an option
//! for it, and no rows of tables whose rows are stored elsewhere.

use std::collections::BTreeSet;

use crate::monitor::report::model::Check;
use crate::mysql::Connection;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::error::Result;
use crate::util::format::counted;
use crate::verify::checks::{failed, passed, server_answer};

/// Engines whose rows are stored elsewhere, as the dump programs list them: MySQL's dump skips the first
/// three, MariaDB's all of them (`--no-data-med`, its default).
const ROWS_STORED_ELSEWHERE: &str = "UPPER(engine) IN \
     ('MRG_MYISAM', 'MRG_ISAM', 'FEDERATED', 'CONNECT', 'OQGRAPH', 'SPIDER', 'VP')";

/// System-versioned tables of MariaDB.
const VERSIONED: &str = "table_type = 'SYSTEM VERSIONED'";

/// Compares each table's count with the ledger; `history`: whether the dump contains the history.
pub(super) async fn counts<'a>(
    connection: &mut Connection,
    tables: impl Iterator<Item = (&'a ObjectId, u64)>,
    history: bool,
) -> Result<Vec<Check>> {
    let elsewhere = those(connection, ROWS_STORED_ELSEWHERE).await?;
    let versioned = if history {
        those(connection, VERSIONED).await?
    } else {
        BTreeSet::new()
    };
    let (mut all, mut wrong) = (0, Vec::new());
    for (table, expected) in tables {
        if expected == 0 && elsewhere.contains(table) {
            continue;
        }
        let rows = if versioned.contains(table) {
            " FOR SYSTEM_TIME ALL"
        } else {
            ""
        };
        let sql = format!("SELECT COUNT(*) FROM {}{rows}", table.quoted());
        let found = server_answer(connection.one::<u64>(&sql).await)?;
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

/// Names of the tables that match a condition.
async fn those(connection: &mut Connection, which: &str) -> Result<BTreeSet<ObjectId>> {
    let sql =
        format!("SELECT table_schema, table_name FROM information_schema.tables WHERE {which}");
    let rows: Vec<(String, String)> = connection.rows(&sql).await?;
    let object = |(schema, name)| ObjectId::new(ObjectKind::Table, schema, name);
    Ok(rows.into_iter().map(object).collect())
}
