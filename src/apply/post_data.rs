//! The pass of triggers, routines, events and final views: in the order of the archive, on one
//! connection, after all rows and keys. And the end of it all: events are enabled.
//!
//! An event that ran in the middle of a restore would change rows that the proof then finds changed,
//! and event_scheduler is on by default on MySQL 8 and later; so events are created disabled.

use std::collections::BTreeSet;

use crate::apply::create;
use crate::apply::definition::renamed_schema;
use crate::apply::engine::Engine;
use crate::apply::frame::FrameStatement;
use crate::apply::lane::Lane;
use crate::apply::marker::{self, Pass, PendingEvent};
use crate::apply::survey::table_of;
use crate::error::{Error, Result};
use crate::proof::normalise::disabled_event;
use crate::server::connect::{literal, server_code};
use crate::sql::definer::{definer, replace};
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section, quote};

/// Creates what rows must not meet.
pub async fn run(engine: &mut Engine) -> Result<()> {
    engine.progress.begin(Pass::PostData, None);
    let mut lane = Lane::open_patiently(engine.lane_config.clone()).await?;
    let mut waiting = Vec::new();
    let mut altered: Option<(FrameStatement, Vec<u8>)> = None;
    let mut frames = engine.read_ahead(|record| record.has(Section::PostData));
    while let Some(ready) = frames.next().await? {
        for (statement, sql) in ready.frame.of(Section::PostData) {
            match &statement.kind {
                Kind::AlterSchema { schema } if engine.options.scope.is_everything() => {
                    alter_schema(engine, &mut lane, schema, statement, sql).await?;
                }
                // There, and back: only for what is chosen, and back to what this server's has.
                Kind::AlterSchema { .. } => {
                    altered = match altered {
                        None => Some((statement.clone(), sql.to_vec())),
                        Some(_) => None,
                    };
                }
                Kind::Create { object, .. } => {
                    let table = match object.kind {
                        ObjectKind::Trigger => Some(table_of(object, sql)?),
                        _ => None,
                    };
                    if engine.options.scope.takes(object, table.as_deref()) {
                        let view = Waiting::new(object, statement, sql);
                        let back = match &altered {
                            Some((alter, sql)) => {
                                Some(lend(engine, &mut lane, &object.schema, alter, sql).await?)
                            }
                            None => None,
                        };
                        let made = create(engine, &mut lane, object, statement, sql).await;
                        if let Some(back) = back {
                            // On the same connection, which would go by what it knew before.
                            lane.persist(&back).await?;
                        }
                        view.unless_made(made, &mut waiting)?;
                    }
                }
                _ => {}
            }
        }
    }
    create_waiting(engine, &mut lane, waiting).await?;
    lane.close().await;
    Ok(())
}

/// What could not be created in its turn: mysqldump writes views by name, and one WITH CHECK OPTION
/// on another needs more of that one than its place-holder.
struct Waiting {
    object: ObjectId,
    statement: FrameStatement,
    sql: Vec<u8>,
}

impl Waiting {
    fn new(object: &ObjectId, statement: &FrameStatement, sql: &[u8]) -> Waiting {
        Waiting {
            object: object.clone(),
            statement: statement.clone(),
            sql: sql.to_vec(),
        }
    }

    /// Lets it wait where others that are still to come can help, and fails where not.
    fn unless_made(self, made: Result<()>, waiting: &mut Vec<Waiting>) -> Result<()> {
        /// A CHECK OPTION on what cannot be updated: a place-holder.
        const NOT_UPDATABLE: u16 = 1368;
        /// What it is on waits itself.
        const NO_SUCH_TABLE: u16 = 1146;
        let Err(error) = made else {
            return Ok(());
        };
        let helps = match server_code(&error) {
            Some(NOT_UPDATABLE) => true,
            Some(NO_SUCH_TABLE) => !waiting.is_empty(),
            _ => false,
        };
        if self.object.kind != ObjectKind::View || !helps {
            return Err(error);
        }
        waiting.push(self);
        Ok(())
    }
}

/// Creates what waits, in as many rounds as it takes; a round that helps nobody is the last.
async fn create_waiting(
    engine: &mut Engine,
    lane: &mut Lane,
    mut waiting: Vec<Waiting>,
) -> Result<()> {
    while !waiting.is_empty() {
        let round = std::mem::take(&mut waiting);
        let (count, mut failed) = (round.len(), None);
        for view in round {
            let made = create(engine, lane, &view.object, &view.statement, &view.sql).await;
            if let Err(error) = made {
                failed.get_or_insert(error);
                waiting.push(view);
            }
        }
        if let Some(error) = failed.filter(|_| waiting.len() == count) {
            return Err(error);
        }
    }
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

/// Gives a schema that is restored in part the collation that its next trigger was made under; says
/// what gives it its own again.
async fn lend(
    engine: &mut Engine,
    lane: &mut Lane,
    schema: &str,
    statement: &FrameStatement,
    sql: &[u8],
) -> Result<String> {
    let placed = engine.options.scope.schema(schema).to_owned();
    let own = format!(
        "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata \
         WHERE schema_name = {}",
        literal(&placed)
    );
    let own: Vec<(String, String)> = engine.control.query(&own).await?;
    let (charset, collation) = own
        .into_iter()
        .next()
        .ok_or_else(|| Error::server(format!("the schema {} is gone", quote(&placed))))?;
    alter_schema(engine, lane, schema, statement, sql).await?;
    Ok(format!(
        "ALTER DATABASE {} CHARACTER SET {charset} COLLATE {collation}",
        quote(&placed)
    ))
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
    let in_the_way = engine.resuming || object.kind == ObjectKind::View;
    let warnings = create::create(lane, &placed, &session, &sql, in_the_way).await?;
    for (code, text) in warnings {
        // That a scratch server runs no events is meant.
        if engine.options.scratch && object.kind == ObjectKind::Event && code == SCHEDULER_IS_OFF {
            continue;
        }
        engine.report.warn(format!("{placed}: {text} ({code})"));
    }
    if object.kind == ObjectKind::Event {
        note_if_expired(engine, &placed).await?;
    }
    Ok(())
}

/// MariaDB's warning about an event that is created while none runs.
const SCHEDULER_IS_OFF: u16 = 1105;

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

/// The definition with the stated substitute where the server lacked its definer.
fn with_definer(engine: &Engine, sql: &[u8]) -> Vec<u8> {
    match (&engine.options.substitute_definer, definer(sql)) {
        (Some(substitute), Some((account, place)))
            if engine.marker.run.substituted.contains(&account.to_string()) =>
        {
            replace(sql, place, substitute.to_string().as_bytes())
        }
        _ => sql.to_vec(),
    }
}

/// Enables the events that were enabled where they were dumped.
pub async fn enable_events(engine: &mut Engine) -> Result<()> {
    engine.progress.begin(Pass::Events, None);
    let pending: BTreeSet<PendingEvent> = engine.marker.events.clone();
    for event in pending {
        let sql = as_it_was_made(engine, &event, &event.enabling()).await?;
        engine.control.persist(&sql).await?;
        let id = ObjectId::new(ObjectKind::Event, event.schema, event.name);
        engine.report.enabled_events.push(id);
    }
    Ok(())
}

/// ALTER EVENT gives an event the character sets of who executes it, and its schema's collation of the
/// moment: so those that it has are put in force around the statement.
async fn as_it_was_made(engine: &mut Engine, event: &PendingEvent, alter: &str) -> Result<String> {
    let (schema, name) = (literal(&event.schema), literal(&event.name));
    let made = format!(
        "SELECT character_set_client, collation_connection, database_collation, \
         default_collation_name FROM information_schema.events JOIN information_schema.schemata \
         ON schema_name = event_schema WHERE event_schema = {schema} AND event_name = {name}"
    );
    let made: Vec<(String, String, String, String)> = engine.control.query(&made).await?;
    let Some((client, connection, collation, own)) = made.into_iter().next() else {
        return Ok(alter.to_owned());
    };
    let mut sql = alter.to_owned();
    // In another character set its name would be another one.
    if alter.is_ascii() {
        let set = format!("character_set_client = {client}, collation_connection = {connection}");
        sql = format!("SET {set}; {sql}; SET NAMES utf8mb4");
    }
    if collation != own {
        let schema = quote(&event.schema);
        let to = |collation| format!("ALTER DATABASE {schema} COLLATE {collation}");
        sql = format!("{}; {sql}; {}", to(&collation), to(&own));
    }
    Ok(sql)
}
