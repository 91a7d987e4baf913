//! The passes of secondary keys and of foreign keys, which are added after the rows.
//!
//! Building a key by sorting is much faster than maintaining it with every row. One ALTER per table, several
//! tables in parallel; FULLTEXT keys one at a time, since a server builds only one of them in place. Foreign
//! keys are added after the keys of all tables, since a server creates an index of its own for a foreign key
//! without one. Before all keys, columns that depend on the time zone are recomputed ([`crate::sql::computed`]).
//!
//! Both passes check what exists before they add to it, so they can be repeated.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mysql::connect::server_code;
use crate::restore::inspect::survey::DeferredKeys;
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::{Lane, LaneConfig, Lanes, Tries, name_literal};
use crate::sql::statement::ObjectId;
use crate::util::error::Result;

type Tables = BTreeMap<ObjectId, DeferredKeys>;

/// Builds the deferred keys of all tables on parallel lanes. `rows`: number of rows of each table.
pub async fn run(
    deferred: &Tables,
    rows: &BTreeMap<ObjectId, u64>,
    config: &LaneConfig,
    lane_count: usize,
) -> Result<()> {
    let mut tables: Vec<(ObjectId, DeferredKeys)> = deferred.clone().into_iter().collect();
    // The longest first, so that none is left for a single lane at the end.
    tables.sort_by_key(|(table, _)| Reverse(rows.get(table).copied()));
    let tables = Arc::new(Mutex::new(VecDeque::from(tables)));
    let mut lanes = Lanes::new(config);
    for _ in 0..lane_count {
        lanes.begin(|config| build(config, tables.clone()));
    }
    lanes.join().await.map(|_| ())
}

async fn build(
    config: LaneConfig,
    tables: Arc<Mutex<VecDeque<(ObjectId, DeferredKeys)>>>,
) -> Result<()> {
    let mut lane = Lane::open_patiently(config).await?;
    loop {
        let next = tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some((table, deferred)) = next else { break };
        let mut tries = Tries::default();
        while let Err(failure) = add_keys(&mut lane, &table, &deferred).await {
            let again = tries.again(&mut lane, failure).await;
            again.map_err(|error| error.context(format!("keys of {table}")))?;
        }
    }
    lane.close().await;
    Ok(())
}

/// Adds the foreign keys on one connection: each locks the definitions of two tables, and reads no rows,
/// since the checks are off.
pub async fn run_foreign(deferred: &Tables, config: &LaneConfig) -> Result<()> {
    let mut lane = Lane::open_patiently(config.clone()).await?;
    for (table, deferred) in deferred {
        let added = lane.step(async |lane| add_foreign_keys(lane, table, deferred).await);
        added
            .await
            .map_err(|error| error.context(format!("foreign keys of {table}")))?;
    }
    lane.close().await;
    Ok(())
}

async fn add_keys(
    lane: &mut Lane,
    table: &ObjectId,
    deferred: &DeferredKeys,
) -> Result<(), Failure> {
    lane.enter(&deferred.session).await?;
    if deferred.recomputes {
        recompute(lane, table, deferred).await?;
    }
    let existing = names(lane, "statistics", "index_name", table).await?;
    alter(lane, table, deferred.table.key_alters(&existing)).await
}

async fn add_foreign_keys(
    lane: &mut Lane,
    table: &ObjectId,
    deferred: &DeferredKeys,
) -> Result<(), Failure> {
    if deferred
        .table
        .foreign_key_alters(&BTreeSet::new())
        .is_empty()
    {
        return Ok(());
    }
    lane.enter(&deferred.session).await?;
    let existing = names(lane, "table_constraints", "constraint_name", table).await?;
    alter(lane, table, deferred.table.foreign_key_alters(&existing)).await
}

/// Computes the stored columns of a table again, in the session that they need, and adds the deferred CHECKs and
/// partitions. The rows were loaded under UTC, as required by TIMESTAMP values.
async fn recompute(
    lane: &mut Lane,
    table: &ObjectId,
    deferred: &DeferredKeys,
) -> Result<(), Failure> {
    const REBUILD: &[u8] = b"FORCE, ALGORITHM=COPY";
    let existing = names(lane, "table_constraints", "constraint_name", table).await?;
    let mut changes = deferred.table.check_alters(&existing);
    // One statement does all of it, so an earlier attempt succeeded.
    if deferred.table.defers_checks() && changes.is_empty() {
        return Ok(());
    }
    changes.push(REBUILD.to_vec());
    let mut change = changes.join(&b", "[..]);
    if let Some(partitions) = deferred.table.deferred_partitions() {
        change.push(b'\n');
        change.extend_from_slice(partitions);
    }
    alter(lane, table, vec![change]).await
}

async fn alter(lane: &mut Lane, table: &ObjectId, changes: Vec<Vec<u8>>) -> Result<(), Failure> {
    let name = format!("ALTER TABLE {} ", table.quoted());
    /// ER_DUP_KEYNAME, ER_FK_DUP_NAME, ER_CHECK_CONSTRAINT_DUP_NAME.
    const DUPLICATE: [u16; 3] = [1061, 1826, 3822];
    for change in changes {
        match lane.run(&[name.as_bytes(), &change].concat()).await {
            // The statement of an earlier attempt, whose connection was lost, has completed in the meantime.
            Err(Failure::Fatal(error))
                if server_code(&error).is_some_and(|code| DUPLICATE.contains(&code)) =>
            {
                return Err(Failure::Conflict(error));
            }
            done => done?,
        };
    }
    Ok(())
}

/// Names of the existing keys or constraints of a table.
async fn names(
    lane: &mut Lane,
    what: &str,
    column: &str,
    table: &ObjectId,
) -> Result<BTreeSet<String>, Failure> {
    let sql = format!(
        "SELECT DISTINCT {column} FROM information_schema.{what}
         WHERE table_schema = {} AND table_name = {}",
        name_literal(&table.schema),
        name_literal(&table.name)
    );
    Ok(lane.rows(&sql).await?.into_iter().collect())
}
