//! The last pass: enables the events that were enabled on the target.

use std::collections::BTreeSet;

use crate::mysql::connect::{literal, server_code};
use crate::restore::inspect::refusal::all_of;
use crate::restore::report::RestoreReport;
use crate::restore::session::lane::Lane;
use crate::restore::state::marker::PendingEvent;
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::definer::alter_event;
use crate::sql::statement::{ObjectId, ObjectKind, quote};
use crate::util::error::Result;

/// The server does not know the words.
const SYNTAX: u16 = 1064;

/// Enables the recorded events.
pub async fn enable(marker: &mut OpenMarker, report: &mut RestoreReport) -> Result<()> {
    for event in &marker.contents.events {
        let sql = altering(&mut marker.control, event, "ENABLE").await?;
        marker.control.persist(&sql).await?;
        report.enabled_events.push(event.object());
    }
    Ok(())
}

/// Disables an event, whatever its state.
pub async fn disable(control: &mut Lane, event: &PendingEvent) -> Result<()> {
    let sql = altering(control, event, "DISABLE").await?;
    control.persist(&sql).await
}

/// Marks the recorded events before a client replays the log: what it alters loses the mark.
pub async fn mark(marker: &mut OpenMarker) -> Result<()> {
    for event in &marker.contents.events {
        let control = &mut marker.control;
        let newer = altering(control, event, "DISABLE ON REPLICA").await?;
        match control.persist(&newer).await {
            Err(error) if server_code(&error) == Some(SYNTAX) => {
                let older = altering(control, event, "DISABLE ON SLAVE").await?;
                control.persist(&older).await?;
            }
            marked => marked?,
        }
    }
    Ok(())
}

/// Removes events from the record that the log has dropped or altered: their state in the backup is outdated. A client
/// leaves each as the target had it. A replica creates and alters events as disabled on replicas, which is reported.
pub async fn forget_replayed(
    marker: &mut OpenMarker,
    by_client: bool,
    of_replicas: &BTreeSet<PendingEvent>,
    report: &mut RestoreReport,
) -> Result<()> {
    let events = "SELECT event_schema, event_name, status FROM information_schema.events";
    let events: Vec<(String, String, String)> = marker.control.query(events).await?;
    let is_marked = |status: &str| status.ends_with("SIDE_DISABLED");
    let untouched: BTreeSet<(&str, &str)> = events
        .iter()
        .filter(|(_, _, status)| match by_client {
            true => is_marked(status),
            false => status == "DISABLED",
        })
        .map(|(schema, name, _)| (schema.as_str(), name.as_str()))
        .collect();
    let is_untouched =
        |event: &PendingEvent| untouched.contains(&(event.schema.as_str(), event.name.as_str()));
    marker.contents.events.retain(is_untouched);
    // A client's, too: one that the log renamed is still marked. Not those that are to be enabled or were so before.
    let known: BTreeSet<ObjectId> = marker
        .contents
        .events
        .iter()
        .chain(of_replicas)
        .map(PendingEvent::object)
        .collect();
    let disabled: Vec<ObjectId> = events
        .iter()
        .filter(|(_, _, status)| is_marked(status))
        .map(|(schema, name, _)| ObjectId::new(ObjectKind::Event, schema, name))
        .filter(|event| !by_client || !known.contains(event))
        .collect();
    if !disabled.is_empty() {
        report.warn(format!(
            "events that the replayed log created or changed are disabled: {}; enable those that were enabled on \
             the target with ALTER EVENT … ENABLE",
            all_of(&disabled)
        ));
    }
    Ok(())
}

/// The statements that give an event a state. ALTER EVENT replaces the event's character sets by those of the
/// session, and its collation by the default of the schema, so the original ones are set temporarily.
async fn altering(control: &mut Lane, event: &PendingEvent, state: &str) -> Result<String> {
    let alter = alter_event(&event.object(), &event.definer, state);
    let (schema, name) = (literal(&event.schema), literal(&event.name));
    let settings = format!(
        "SELECT character_set_client, collation_connection, database_collation, \
         default_collation_name FROM information_schema.events JOIN information_schema.schemata \
         ON schema_name = event_schema WHERE event_schema = {schema} AND event_name = {name}"
    );
    let settings: Vec<(String, String, String, String)> = control.query(&settings).await?;
    let Some((client, connection, collation, default)) = settings.into_iter().next() else {
        return Ok(alter);
    };
    // Another character set would change the meaning of other characters in the name.
    let mut sql = if alter.is_ascii() {
        format!(
            "SET character_set_client = {client}, collation_connection = {connection}; {alter}; SET NAMES utf8mb4"
        )
    } else {
        alter
    };
    if collation != default {
        let schema = quote(&event.schema);
        let set = |collation| format!("ALTER DATABASE {schema} COLLATE {collation}");
        sql = format!("{}; {sql}; {}", set(&collation), set(&default));
    }
    Ok(sql)
}
