//! The passes of keys and of foreign keys: what a table can do without while its rows come in.
//!
//! Sorting a key once costs a fraction of what keeping it in order costs with every row. One ALTER a
//! table, several tables at once; FULLTEXT keys one by one, since a server builds no two in place.
//! Foreign keys come after all keys of all tables: one that is added before its index invents one. First of all
//! comes what a table computes in another time zone than that of the dump ([`crate::sql::computed`]).
//!
//! Both passes look at what a table has before they add to it, so that they can be repeated.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::apply::engine::Engine;
use crate::apply::failure::Failure;
use crate::apply::lane::{Lane, LaneConfig, Lanes, Tries, name_literal};
use crate::apply::marker::Pass;
use crate::apply::survey::WaitingKeys;
use crate::error::Result;
use crate::server::connect::server_code;
use crate::sql::statement::ObjectId;

/// Builds the keys that waited, several tables at once.
pub async fn run(engine: &Engine) -> Result<()> {
    engine.progress.begin(Pass::Keys, None);
    let scope = &engine.options.scope;
    let ledger = engine.archive.contents().ledger.iter();
    let rows: BTreeMap<ObjectId, u64> = ledger
        .filter_map(|(object, entry)| Some((scope.placed(object), entry.rows?.rows)))
        .collect();
    // The longest first, so that no lane is left with it at the end.
    let mut tables: Vec<(ObjectId, WaitingKeys)> =
        engine.survey.waiting.clone().into_iter().collect();
    tables.sort_by_key(|(table, _)| std::cmp::Reverse(rows.get(table).copied()));
    let tables = Arc::new(Mutex::new(VecDeque::from(tables)));
    let mut lanes = Lanes::new(&engine.lane_config);
    for _ in 0..engine.options.lanes.max(1) {
        lanes.begin(|config| build(config, tables.clone()));
    }
    lanes.join().await.map(|_| ())
}

async fn build(
    config: LaneConfig,
    tables: Arc<Mutex<VecDeque<(ObjectId, WaitingKeys)>>>,
) -> Result<()> {
    let mut lane = Lane::open_patiently(config).await?;
    loop {
        let next = tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some((table, waiting)) = next else { break };
        let mut tries = Tries::default();
        while let Err(failure) = add_keys(&mut lane, &table, &waiting).await {
            let again = tries.again(&mut lane, failure).await;
            again.map_err(|error| error.context(format!("keys of {table}")))?;
        }
    }
    lane.close().await;
    Ok(())
}

/// Adds the foreign keys, on one connection: each locks the definitions of two tables, and with the
/// checks off none of them reads a row.
pub async fn run_foreign(engine: &Engine) -> Result<()> {
    engine.progress.begin(Pass::ForeignKeys, None);
    let mut lane = Lane::open_patiently(engine.lane_config.clone()).await?;
    for (table, waiting) in &engine.survey.waiting {
        let added = lane.step(async |lane| add_foreign_keys(lane, table, waiting).await);
        added
            .await
            .map_err(|error| error.context(format!("foreign keys of {table}")))?;
    }
    lane.close().await;
    Ok(())
}

async fn add_keys(lane: &mut Lane, table: &ObjectId, waiting: &WaitingKeys) -> Result<(), Failure> {
    lane.enter(&waiting.session).await?;
    if waiting.recomputes {
        recompute(lane, table, waiting).await?;
    }
    let there = names(lane, "statistics", "index_name", table).await?;
    alter(lane, table, waiting.table.key_alters(&there)).await
}

async fn add_foreign_keys(
    lane: &mut Lane,
    table: &ObjectId,
    waiting: &WaitingKeys,
) -> Result<(), Failure> {
    if waiting
        .table
        .foreign_key_alters(&BTreeSet::new())
        .is_empty()
    {
        return Ok(());
    }
    lane.enter(&waiting.session).await?;
    let there = names(lane, "table_constraints", "constraint_name", table).await?;
    alter(lane, table, waiting.table.foreign_key_alters(&there)).await
}

/// Computes what a table stores again, in the session that it needs, and adds the CHECKs that waited for it.
/// The rows came in under UTC, which alone tells their TIMESTAMPs.
async fn recompute(
    lane: &mut Lane,
    table: &ObjectId,
    waiting: &WaitingKeys,
) -> Result<(), Failure> {
    const AGAIN: &[u8] = b"FORCE, ALGORITHM=COPY";
    let there = names(lane, "table_constraints", "constraint_name", table).await?;
    let mut changes = waiting.table.check_additions(&there);
    // Both come in one: an earlier try got as far as this.
    if waiting.table.defers_checks() && changes.is_empty() {
        return Ok(());
    }
    changes.push(AGAIN.to_vec());
    alter(lane, table, vec![changes.join(&b", "[..])]).await
}

async fn alter(lane: &mut Lane, table: &ObjectId, changes: Vec<Vec<u8>>) -> Result<(), Failure> {
    let name = format!("ALTER TABLE {} ", table.quoted());
    /// ER_DUP_KEYNAME, ER_FK_DUP_NAME, ER_CHECK_CONSTRAINT_DUP_NAME.
    const THERE_ALREADY: [u16; 3] = [1061, 1826, 3822];
    for change in changes {
        match lane.run(&[name.as_bytes(), &change].concat()).await {
            // An earlier try, of which only the connection was gone, has ended meanwhile.
            Err(Failure::Fatal(error))
                if server_code(&error).is_some_and(|code| THERE_ALREADY.contains(&code)) =>
            {
                return Err(Failure::Conflict(error));
            }
            done => done?,
        };
    }
    Ok(())
}

/// The names of the keys or constraints that a table has.
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
