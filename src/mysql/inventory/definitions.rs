//! Hashes of table definitions, from `information_schema`.
//!
//! Servers report the time of the last ALTER in whole seconds, so two ALTERs within a second are only distinguished by
//! the definition. The hash covers everything in `information_schema` about a table that rows, statistics and grants do
//! not change: columns, keys, constraints, partitions, options, comments, as far as the server's version has them. There
//! is one query per source and none per table: 5,000 tables take about a second. Rows are hashed as they arrive, so
//! memory does not grow with the number of columns.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::{Row, Value};
use xxhash_rust::xxh3::Xxh3;

use crate::Result;
use crate::mysql::Connection;
use crate::mysql::connect::literals;
use crate::mysql::schemas;
use crate::sql::statement::ObjectId;

/// The tables of information_schema, each with its column for the schema.
const SOURCES: &[(&str, &str)] = &[
    ("CHECK_CONSTRAINTS", "CONSTRAINT_SCHEMA"),
    ("COLUMNS", "TABLE_SCHEMA"),
    ("COLUMNS_EXTENSIONS", "TABLE_SCHEMA"),
    ("KEY_COLUMN_USAGE", "TABLE_SCHEMA"),
    ("KEY_PERIOD_USAGE", "TABLE_SCHEMA"),
    ("PARTITIONS", "TABLE_SCHEMA"),
    ("PERIODS", "TABLE_SCHEMA"),
    ("REFERENTIAL_CONSTRAINTS", "CONSTRAINT_SCHEMA"),
    ("STATISTICS", "TABLE_SCHEMA"),
    ("TABLES", "TABLE_SCHEMA"),
    ("TABLES_EXTENSIONS", "TABLE_SCHEMA"),
    ("TABLE_CONSTRAINTS", "TABLE_SCHEMA"),
];

/// Columns that change without an ALTER.
const VOLATILE: &[&str] = &[
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CARDINALITY",
    "CHECKSUM",
    "CHECK_TIME",
    "CREATE_TIME",
    "DATA_FREE",
    "DATA_LENGTH",
    "INDEX_LENGTH",
    "MAX_DATA_LENGTH",
    "MAX_INDEX_LENGTH",
    "PRIVILEGES",
    "SECONDARY_LOAD",
    "TABLE_ROWS",
    "TEMPORARY",
    "UPDATE_TIME",
];

/// In MySQL, check_constraints has no column for the table.
const CHECKS_OF_MYSQL: &str = "SELECT t.table_schema, t.table_name, c.constraint_name, c.check_clause \
     FROM information_schema.table_constraints t JOIN information_schema.check_constraints c \
     ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name \
     WHERE t.constraint_type = 'CHECK'";

/// Hashes of all tables and views outside system schemas that are visible to the account.
pub(super) async fn hashes(connection: &mut Connection) -> Result<BTreeMap<ObjectId, u128>> {
    let known: Vec<(String, String)> = connection
        .rows(
            "SELECT UPPER(table_name), UPPER(column_name) FROM information_schema.columns \
             WHERE table_schema = 'information_schema' ORDER BY 1, ordinal_position",
        )
        .await?;
    let mut hashes = BTreeMap::new();
    for (source, schema) in SOURCES {
        let columns: BTreeSet<&str> = known
            .iter()
            .filter(|(table, _)| table == source)
            .map(|(_, column)| column.as_str())
            .collect();
        let query = if columns.contains("TABLE_NAME") {
            query(source, schema, &columns)
        } else if *source == "CHECK_CONSTRAINTS" && !columns.is_empty() {
            CHECKS_OF_MYSQL.to_owned()
        } else {
            continue;
        };
        connection
            .each_row(&query, |row| add(&mut hashes, source, row))
            .await?;
    }
    Ok(hashes)
}

fn query(source: &str, schema: &str, columns: &BTreeSet<&str>) -> String {
    let facts: Vec<&str> = columns
        .iter()
        .copied()
        .filter(|column| !VOLATILE.contains(column))
        .collect();
    // Compared as bytes, since MariaDB's information_schema ignores case.
    format!(
        "SELECT {schema}, table_name, {} FROM information_schema.{source} \
         WHERE CAST({schema} AS BINARY) NOT IN ({})",
        facts.join(", "),
        literals(schemas::SYSTEM)
    )
}

/// Adds one row to the hash of its table: a sum, since rows arrive in no particular order.
fn add(hashes: &mut BTreeMap<ObjectId, u128>, source: &str, row: Row) {
    let mut values = row.unwrap().into_iter();
    let (Some(schema), Some(table)) = (text(values.next()), text(values.next())) else {
        return;
    };
    let mut hash = Xxh3::new();
    hash.update(source.as_bytes());
    for value in values {
        match value {
            Value::NULL => hash.update(b"\0"),
            value => {
                let bytes = match value {
                    Value::Bytes(bytes) => bytes,
                    other => other.as_sql(true).into_bytes(),
                };
                hash.update(b"\x01");
                hash.update(&(bytes.len() as u64).to_le_bytes());
                hash.update(&bytes);
            }
        }
    }
    let sum: &mut u128 = hashes.entry(ObjectId::table(schema, table)).or_default();
    *sum = sum.wrapping_add(hash.digest128());
}

fn text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_changed_by_rows_statistics_and_grants_are_left_out() {
        let columns = BTreeSet::from(["CARDINALITY", "COLUMN_NAME", "TABLE_NAME"]);
        let asked = query("STATISTICS", "TABLE_SCHEMA", &columns);
        assert!(asked.contains("COLUMN_NAME, TABLE_NAME FROM"), "{asked}");
        assert!(!asked.contains("CARDINALITY"), "{asked}");
    }
}
