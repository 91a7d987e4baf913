//! The pass of schemas, tables, sequences and views' place-holders: in the order of the archive, on
//! one connection.
//!
//! The archive's own DROPs are never executed. What was in the way has been replaced before; what an
//! interrupted run created is dropped and created again, which costs nothing while it has no rows.

use crate::apply::create;
use crate::apply::definition::{renamed_schema, schema_options};
use crate::apply::engine::Engine;
use crate::apply::frame::FrameStatement;
use crate::apply::lane::Lane;
use crate::apply::marker::Pass;
use crate::error::{Error, Result};
use crate::server::connect::server_code;
use crate::sql::placement::{without_archived_counter, without_directories};
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section, quote};

/// The server's word for an engine that it does not have: it would take another one.
const OTHER_ENGINE: u16 = 1266;

/// Creates what rows need.
pub async fn run(engine: &mut Engine) -> Result<()> {
    engine.progress.begin(Pass::PreData, None);
    let mut lane = Lane::open_patiently(engine.lane_config.clone()).await?;
    let mut waiting = Vec::new();
    let mut frames = engine.read_ahead(|record| record.has(Section::PreData));
    while let Some(ready) = frames.next().await? {
        for (statement, sql) in ready.frame.of(Section::PreData) {
            match &statement.kind {
                Kind::CreateSchema { schema } if engine.options.scope.takes_schema(schema) => {
                    create_schema(engine, &mut lane, schema, sql).await?;
                }
                Kind::Create { object, .. } if engine.options.scope.takes(object, None) => {
                    let sql = prepared(engine, object, sql);
                    match create(engine, &mut lane, object, statement, &sql).await {
                        // Its default is out of a sequence of a schema that comes later.
                        Err(error) if needs_another(object, &error) => {
                            waiting.push((object.clone(), statement.clone(), sql));
                        }
                        made => made?,
                    }
                }
                Kind::SetSequence { object } if engine.options.scope.takes(object, None) => {
                    let session = engine.options.scope.session(&statement.session);
                    lane.run_in(&session, sql).await?;
                }
                _ => {}
            }
        }
    }
    create_waiting(engine, &mut lane, waiting).await?;
    lane.close().await;
    Ok(())
}

fn needs_another(object: &ObjectId, error: &Error) -> bool {
    /// ER_NO_SUCH_TABLE, MariaDB's ER_UNKNOWN_SEQUENCES.
    const NOT_THERE: [u16; 2] = [1146, 4091];
    object.kind == ObjectKind::Table
        && server_code(error).is_some_and(|code| NOT_THERE.contains(&code))
}

/// Creates what waits for what was still to come, in as many rounds as it takes; a round that helps nobody is the
/// last.
async fn create_waiting(
    engine: &mut Engine,
    lane: &mut Lane,
    mut waiting: Vec<(ObjectId, FrameStatement, Vec<u8>)>,
) -> Result<()> {
    while !waiting.is_empty() {
        let round = std::mem::take(&mut waiting);
        let (count, mut failed) = (round.len(), None);
        for (object, statement, sql) in round {
            if let Err(error) = create(engine, lane, &object, &statement, &sql).await {
                failed.get_or_insert(error);
                waiting.push((object, statement, sql));
            }
        }
        if let Some(error) = failed.filter(|_| waiting.len() == count) {
            return Err(error);
        }
    }
    Ok(())
}

/// Creates a schema; one that was there gets the options of the dumped one where all of it is
/// restored, since they decide what later definitions mean.
async fn create_schema(engine: &Engine, lane: &mut Lane, schema: &str, sql: &[u8]) -> Result<()> {
    let scope = &engine.options.scope;
    let placed = scope.schema(schema);
    let statement = if !engine.met_schema(placed) {
        match placed == schema {
            true => Some(sql.to_vec()),
            false => renamed_schema(sql, schema, placed),
        }
    } else {
        schema_options(sql, schema)
            .filter(|_| scope.is_everything())
            .map(|options| [b"ALTER DATABASE ", quote(placed).as_bytes(), b" ", options].concat())
    };
    let Some(statement) = statement else {
        return Ok(());
    };
    lane.step(async |lane| lane.run(&statement).await.map(|_| ()))
        .await
}

async fn create(
    engine: &mut Engine,
    lane: &mut Lane,
    object: &ObjectId,
    statement: &FrameStatement,
    sql: &[u8],
) -> Result<()> {
    let scope = engine.options.scope.clone();
    let placed = scope.placed(object);
    // A day that does not exist may be a default.
    let session = scope.session(&statement.session).with_any_day();
    let warnings = create::create(lane, &placed, &session, sql, engine.resuming).await?;
    for (code, text) in warnings {
        if code == OTHER_ENGINE {
            return Err(Error::server(format!("{placed}: {text}"))
                .hint("restore into a server that has the engine"));
        }
        engine.report.warn(format!("{text} ({code})"));
    }
    Ok(())
}

/// A definition as rows are to meet it. A scratch server keeps all tables in its own directory.
fn prepared(engine: &Engine, object: &ObjectId, sql: &[u8]) -> Vec<u8> {
    if object.kind != ObjectKind::Table {
        return sql.to_vec();
    }
    let waiting = engine
        .survey
        .waiting
        .get(&engine.options.scope.placed(object));
    let mut kept = waiting.map_or_else(|| sql.to_vec(), |waiting| waiting.table.kept());
    if let Some(without) = without_archived_counter(&kept) {
        kept = without;
    }
    match engine.options.scratch {
        true => without_directories(&kept).unwrap_or(kept),
        false => kept,
    }
}
