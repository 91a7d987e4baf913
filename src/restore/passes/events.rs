//! The last pass: enables the events that were enabled on the target.

use std::collections::BTreeSet;

use crate::mysql::connect::literal;
use crate::restore::inspect::refusal::all_of;
use crate::restore::report::RestoreReport;
use crate::restore::session::lane::Lane;
use crate::restore::state::marker::PendingEvent;
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::statement::{ObjectId, ObjectKind, quote};
use crate::util::error::Result;

/// Enables the recorded events.
pub async fn enable(marker: &mut OpenMarker, report: &mut RestoreReport) -> Result<()> {
    for event in &marker.contents.events {
        let sql = enabling(&mut marker.control, event).await?;
        marker.control.persist(&sql).await?;
        report.enabled_events.push(event.object());
    }
    Ok(())
}

/// An event, its status, and when it was altered last.
pub type Altered = (String, String, String, String);

/// All events.
pub async fn altered(marker: &mut OpenMarker) -> Result<BTreeSet<Altered>> {
    let events = "SELECT event_schema, event_name, status, CAST(last_altered AS CHAR) FROM information_schema.events";
    let events: Vec<Altered> = marker.control.query(events).await?;
    Ok(events.into_iter().collect())
}

/// Removes events from the record that the log has dropped or changed while the server was a replica: their state in
/// the backup is outdated. A replica creates and changes events as disabled, which is reported.
pub async fn forget_replicated(marker: &mut OpenMarker, report: &mut RestoreReport) -> Result<()> {
    let events = altered(marker).await?;
    let (untouched, disabled): (Vec<&Altered>, Vec<&Altered>) = events
        .iter()
        .filter(|(_, _, status, _)| status.ends_with("DISABLED"))
        .partition(|(_, _, status, _)| status == "DISABLED");
    keep(marker, &untouched);
    warn_of_disabled(
        disabled
            .iter()
            .map(|(schema, name, ..)| ObjectId::new(ObjectKind::Event, schema, name)),
        report,
    );
    Ok(())
}

/// Removes events from the record that the log has dropped or changed by statements of the client, which leave each as
/// it was on the target. Where it is unknown which those are, since an interrupted run replayed the log, all that are
/// disabled stay so.
pub async fn forget_altered(
    marker: &mut OpenMarker,
    before: Option<BTreeSet<Altered>>,
    report: &mut RestoreReport,
) -> Result<()> {
    let after = altered(marker).await?;
    match before {
        Some(before) => keep(marker, &after.intersection(&before).collect::<Vec<_>>()),
        None => {
            let pending = std::mem::take(&mut marker.contents.events);
            warn_of_disabled(pending.iter().map(PendingEvent::object), report);
        }
    }
    Ok(())
}

/// Keeps these events in the record.
fn keep(marker: &mut OpenMarker, untouched: &[&Altered]) {
    let untouched: BTreeSet<(&str, &str)> = untouched
        .iter()
        .map(|(schema, name, ..)| (schema.as_str(), name.as_str()))
        .collect();
    let is_untouched =
        |event: &PendingEvent| untouched.contains(&(event.schema.as_str(), event.name.as_str()));
    marker.contents.events.retain(is_untouched);
}

fn warn_of_disabled(events: impl Iterator<Item = ObjectId>, report: &mut RestoreReport) {
    let disabled: Vec<ObjectId> = events.collect();
    if !disabled.is_empty() {
        report.warn(format!(
            "events that the replayed log created or changed are disabled: {}; enable those that were enabled on \
             the target with ALTER EVENT … ENABLE",
            all_of(&disabled)
        ));
    }
}

/// The statements that enable an event. ALTER EVENT replaces the event's character sets by those of the
/// session, and its collation by the default of the schema, so the original ones are set temporarily.
async fn enabling(control: &mut Lane, event: &PendingEvent) -> Result<String> {
    let enable = event.enabling();
    let (schema, name) = (literal(&event.schema), literal(&event.name));
    let settings = format!(
        "SELECT character_set_client, collation_connection, database_collation, \
         default_collation_name FROM information_schema.events JOIN information_schema.schemata \
         ON schema_name = event_schema WHERE event_schema = {schema} AND event_name = {name}"
    );
    let settings: Vec<(String, String, String, String)> = control.query(&settings).await?;
    let Some((client, connection, collation, default)) = settings.into_iter().next() else {
        return Ok(enable);
    };
    // Another character set would change the meaning of other characters in the name.
    let mut sql = if enable.is_ascii() {
        format!(
            "SET character_set_client = {client}, collation_connection = {connection}; {enable}; SET NAMES utf8mb4"
        )
    } else {
        enable
    };
    if collation != default {
        let schema = quote(&event.schema);
        let set = |collation| format!("ALTER DATABASE {schema} COLLATE {collation}");
        sql = format!("{}; {sql}; {}", set(&collation), set(&default));
    }
    Ok(sql)
}
