//! The pass of triggers, routines, events and final views: in the order of the archive, on one
//! connection, after all rows and keys. And the end of it all: events are enabled.
//!
//! An event that ran in the middle of a restore would change rows that the proof then finds changed,
//! and event_scheduler is on by default on MySQL 8 and later; so events are created disabled.

use std::collections::BTreeSet;

use crate::apply::definition::{self, definer, renamed_schema};
use crate::apply::engine::Engine;
use crate::apply::frame::FrameStatement;
use crate::apply::lane::{Lane, Tries};
use crate::apply::marker::{self, Pass, PendingEvent};
use crate::apply::survey::table_of;
use crate::error::Result;
use crate::proof::normalise::disabled_event;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section, quote};

/// Creates what rows must not meet.
pub async fn run(engine: &mut Engine) -> Result<()> {
    engine.progress.begin(Pass::PostData, None);
    let mut lane = Lane::open(engine.lane_config.clone()).await?;
    let mut frames = engine.read_ahead(|record| record.has(Section::PostData));
    while let Some(ready) = frames.next().await? {
        for (statement, sql) in ready.frame.of(Section::PostData) {
            match &statement.kind {
                Kind::AlterSchema { schema } if engine.options.scope.is_everything() => {
                    alter_schema(engine, &mut lane, schema, statement, sql).await?;
                }
                Kind::Create { object, .. } => {
                    let table = match object.kind {
                        ObjectKind::Trigger => Some(table_of(object, sql)?),
                        _ => None,
                    };
                    if engine.options.scope.takes(object, table.as_deref()) {
                        create(engine, &mut lane, object, statement, sql).await?;
                    }
                }
                _ => {}
            }
        }
    }
    lane.close().await;
    Ok(())
}

/// mysqldump puts these around what was created under another default character set, and back.
async fn alter_schema(
    engine: &Engine,
    lane: &mut Lane,
    schema: &str,
    statement: &FrameStatement,
    sql: &[u8],
) -> Result<()> {
    let scope = &engine.options.scope;
    let placed = scope.schema(schema);
    let renamed = if placed == schema {
        None
    } else {
        renamed_schema(sql, schema, placed)
    };
    let session = scope.session(&statement.session);
    lane.run_in(&session, renamed.as_deref().unwrap_or(sql))
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
    let session = scope.session(&statement.session);
    let mut sql = with_definer(engine, sql);
    if object.kind == ObjectKind::Event
        && let Some(disabled) = disabled_event(&sql)
    {
        let definer = definer(&sql)
            .map(|(account, _)| account.to_string())
            .unwrap_or_default();
        let event = PendingEvent {
            schema: placed.schema.clone(),
            name: placed.name.clone(),
            definer,
        };
        marker::note_event(&mut engine.control, &event).await?;
        engine.marker.events.insert(event);
        sql = disabled;
    }
    // A view's place-holder is always in its way.
    let mut in_the_way = engine.resuming || object.kind == ObjectKind::View;
    let mut tries = Tries::default();
    let warnings = loop {
        match lane.define(&placed, &session, &sql, in_the_way).await {
            Ok(warnings) => break warnings,
            Err(failure) => {
                tries
                    .again(lane, failure)
                    .await
                    .map_err(|error| error.context(&placed))?;
            }
        }
        in_the_way = true;
    };
    for (code, text) in warnings {
        engine.report.warn(format!("{placed}: {text} ({code})"));
    }
    if object.kind == ObjectKind::Event {
        note_if_expired(engine, &placed).await?;
    }
    Ok(())
}

/// An event whose time has passed is dropped by the server as it is created, with a note at most.
async fn note_if_expired(engine: &mut Engine, event: &ObjectId) -> Result<()> {
    if marker::exists_event(&mut engine.control, event).await? {
        return Ok(());
    }
    let is_it = |other: &PendingEvent| (&other.schema, &other.name) == (&event.schema, &event.name);
    engine.marker.events.retain(|other| !is_it(other));
    engine.marker.expired.insert(event.clone());
    marker::note_expired(&mut engine.control, event).await?;
    Ok(())
}

/// The definition with the stated substitute where the server lacks its definer.
fn with_definer(engine: &Engine, sql: &[u8]) -> Vec<u8> {
    let substitute = engine.options.substitute_definer.as_ref();
    match (substitute, definer(sql), &engine.facts.accounts) {
        (Some(substitute), Some((account, place)), Some(accounts))
            if !accounts.contains(&account) =>
        {
            definition::replace(sql, place, substitute.to_string().as_bytes())
        }
        _ => sql.to_vec(),
    }
}

/// Enables the events that were enabled where they were dumped.
pub async fn enable_events(engine: &mut Engine) -> Result<()> {
    engine.progress.begin(Pass::Events, None);
    let pending: BTreeSet<PendingEvent> = engine.marker.events.clone();
    for event in pending {
        let definer = match event.definer.as_str() {
            "" => String::new(),
            // Without it the account of the restore would become the definer.
            account => format!("DEFINER={account} "),
        };
        let sql = format!(
            "ALTER {definer}EVENT {}.{} ENABLE",
            quote(&event.schema),
            quote(&event.name)
        );
        engine.control.persist(&sql).await?;
        let id = ObjectId::new(ObjectKind::Event, event.schema, event.name);
        engine.report.enabled_events.push(id);
    }
    Ok(())
}
