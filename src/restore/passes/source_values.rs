//! Compares columns whose values a dump may not carry with what the target computed of them in the snapshot of the dump
//! ([`crate::sql::source_digest`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::index::{ColumnDigest, SourceRecord};
use crate::restore::scope::Scope;
use crate::restore::session::lane::Lane;
use crate::sql::computed::Needs;
use crate::sql::session::Session;
use crate::sql::source_digest::{self, Risk, SourceColumn, TableSums};
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};

/// What is compared.
pub(super) struct SourceValues<'a> {
    /// What the target computed.
    pub source: &'a [SourceRecord],
    /// Which of it was restored, and under which names.
    pub scope: &'a Scope,
    /// Tables that are not compared: missing, or with other rows.
    pub skip: &'a BTreeSet<ObjectId>,
    /// The settings of computed columns, by names on the destination.
    pub needs: &'a BTreeMap<ObjectId, Needs>,
}

impl SourceValues<'_> {
    /// The columns with other values than on the target, by name and reason. None is a difference: the restore is as good
    /// as the dump, whose ledger is compared elsewhere.
    pub async fn compare(&self, lane: &mut Lane) -> Result<Vec<String>> {
        let mut session = Session::default();
        // That of the reader.
        if !session.set("sql_mode", "''") || !session.set("time_zone", "'+00:00'") {
            return Err(Error::unexpected("cannot represent the session of a dump"));
        }
        let mut losses = Vec::new();
        for record in self.source {
            // Not what a later version computed in another way.
            let known = record.columns.iter().filter(|one| one.column.is_known());
            let known: Vec<&ColumnDigest> = known.collect();
            if known.is_empty() {
                continue;
            }
            let table = self.scope.mapped_name(&record.table());
            if !self.scope.includes_table(&record.schema, &record.name)
                || self.skip.contains(&table)
            {
                continue;
            }
            let columns: Vec<SourceColumn> = known.iter().map(|one| one.column.clone()).collect();
            let sql = source_digest::select(&table, &columns, false, None);
            let rows = lane.query_in::<mysql_async::Row>(&session, &sql).await?;
            let sums = rows.first().and_then(|row| TableSums::parse(&texts(row)));
            let Some(sums) = sums else {
                return Err(Error::unexpected(format!(
                    "the server returned no digests of {table}"
                )));
            };
            for (before, after) in known.iter().zip(&sums.columns) {
                if (before.values, u128::from(before.sum)) != (after.values, after.sum) {
                    losses.push(self.loss(&table, &before.column));
                }
            }
        }
        Ok(losses)
    }

    fn loss(&self, table: &ObjectId, column: &SourceColumn) -> String {
        let name = &column.name;
        let needs = self.needs.get(table);
        let why = match column.risk {
            Risk::Float => "FLOAT or DOUBLE",
            Risk::Unknown => "for a reason of a later version",
            Risk::Text => "characters that changed in utf8mb4",
            Risk::Generated if needs.is_some_and(|needs| needs.is_mismatched(name)) => {
                "values computed under several settings"
            }
            // It may derive from a value that the dump lost, or from a last digit of the platform.
            Risk::Generated => "generated, from values that changed or by another server",
        };
        format!("{}.{}.{name} ({why})", table.schema, table.name)
    }
}

/// The values of a row as texts.
fn texts(row: &mysql_async::Row) -> Vec<Option<String>> {
    let value = |at| row.get::<Option<String>, _>(at).flatten();
    (0..row.len()).map(value).collect()
}
