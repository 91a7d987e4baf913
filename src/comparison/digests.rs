//! Row sums, computed on every core within a memory budget.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::sql::ledger::{Omitted, RowSum};
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};

/// Maximum bytes of INSERTs between the scanner and their digests.
pub const BUDGET_BYTES: usize = 32 << 20;

/// A number of INSERTs, copied from the scanner.
#[derive(Default)]
pub struct Batch {
    sql: Vec<u8>,
    inserts: Vec<(Range<usize>, ObjectId)>,
}

impl Batch {
    /// Bytes of SQL in the batch.
    pub fn len(&self) -> usize {
        self.sql.len()
    }

    /// Whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }

    /// Adds one INSERT.
    pub fn push(&mut self, table: &ObjectId, sql: &[u8]) {
        let start = self.sql.len();
        self.sql.extend_from_slice(sql);
        self.inserts.push((start..self.sql.len(), table.clone()));
    }
}

/// Row sums in progress.
#[derive(Clone)]
pub struct Digests {
    budget: Arc<Semaphore>,
    sums: Arc<Mutex<Sums>>,
    without: Arc<BTreeMap<ObjectId, Omitted>>,
}

#[derive(Default)]
struct Sums {
    rows: BTreeMap<ObjectId, RowSum>,
    failure: Option<Error>,
}

impl Digests {
    /// Digests of rows `without` the values of columns of some tables.
    pub fn new(without: Arc<BTreeMap<ObjectId, Omitted>>) -> Digests {
        Digests {
            budget: Arc::new(Semaphore::new(BUDGET_BYTES)),
            sums: Arc::default(),
            without,
        }
    }

    /// Digests a batch on another thread once there is room; blocks, so never call it from async code.
    pub fn begin(&self, batch: Batch, handle: &tokio::runtime::Handle) {
        let share = batch.sql.len().clamp(1, BUDGET_BYTES) as u32;
        // The semaphore is never closed.
        let Ok(permit) = handle.block_on(self.budget.clone().acquire_many_owned(share)) else {
            return;
        };
        let (sums, without) = (self.sums.clone(), self.without.clone());
        handle.spawn_blocking(move || {
            let digested = digest(&batch, &without);
            let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
            match digested {
                Ok(rows) => {
                    for (table, rows) in rows {
                        sums.rows.entry(table).or_default().add(rows);
                    }
                }
                Err(error) => {
                    sums.failure.get_or_insert(error);
                }
            }
            drop(sums);
            drop(permit);
        });
    }

    /// Waits for all batches.
    pub async fn finish(self) -> Result<BTreeMap<ObjectId, RowSum>> {
        let all = self.budget.acquire_many(BUDGET_BYTES as u32).await;
        let _all =
            all.map_err(|e| Error::unexpected("digesting rows was interrupted").because(e))?;
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        match sums.failure.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut sums.rows)),
        }
    }
}

fn digest(
    batch: &Batch,
    without: &BTreeMap<ObjectId, Omitted>,
) -> Result<BTreeMap<ObjectId, RowSum>> {
    let mut all: BTreeMap<ObjectId, RowSum> = BTreeMap::new();
    for (place, table) in &batch.inserts {
        let insert = &batch.sql[place.clone()];
        let rows = match without.get(table) {
            None => RowSum::of_insert(insert),
            Some(omitted) => RowSum::of_insert_without(insert, omitted),
        };
        let rows = rows.map_err(|e| {
            Error::server(format!("cannot read the rows of {table} in the new dump")).because(e)
        })?;
        all.entry(table.clone()).or_default().add(rows);
    }
    Ok(all)
}
