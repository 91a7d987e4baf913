//! Digests of the rows of a server, read by the native reader: over several connections, without a dump.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use crate::mysql::{ServerConfig, ServerVersion};
use crate::reader::read::{self, RowReader};
use crate::reader::tables::TableRows;
use crate::sql::ledger::RowSum;
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};

/// The sum of the rows of each table, under one snapshot.
pub(super) async fn digests(
    server: &ServerConfig,
    version: &ServerVersion,
    tables: &[TableRows],
    jobs: usize,
) -> Result<BTreeMap<ObjectId, RowSum>> {
    let mut digesting = JoinSet::new();
    for reader in read::open(server, version, tables, jobs, false)
        .await?
        .readers
    {
        digesting.spawn(digest(reader));
    }
    let mut sums: BTreeMap<ObjectId, RowSum> = BTreeMap::new();
    let interrupted = |e| Error::unexpected("reading rows was interrupted").because(e);
    while let Some(digested) = digesting.join_next().await {
        for (table, sum) in digested.map_err(interrupted)?? {
            sums.entry(table).or_default().add(sum);
        }
    }
    Ok(sums)
}

/// Capacity above which a buffer is not used again.
const KEPT_BYTES: usize = 4 << 20;

/// The sums of the pieces that one connection reads.
async fn digest(mut reader: RowReader) -> Result<Vec<(ObjectId, RowSum)>> {
    let mut sums = Vec::new();
    let mut tuple = Vec::new();
    while let Some((rows, tuples)) = reader.next_piece().await? {
        let mut sum = RowSum::default();
        while let Some(row) = reader.next_row().await? {
            if tuple.capacity() > KEPT_BYTES {
                tuple = Vec::new();
            }
            tuple.clear();
            tuples.write(row, &mut tuple)?;
            sum.add_tuple(&tuple);
        }
        sums.push((rows.table, sum));
    }
    Ok(sums)
}
