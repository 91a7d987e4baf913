//! Ends an unfinished restore but keeps its data: drops the marker and reports what was not done, since
//! nothing on the server shows it afterwards.

use serde::Serialize;

use crate::restore::passes::routine_grants;
use crate::restore::session::lane::Lane;
use crate::restore::session::tuning;
use crate::restore::state::discard;
use crate::restore::state::marker::{self, Marker, Pass};
use crate::util::error::{Error, Result};
use crate::util::format::counted;

/// Result of ending an unfinished restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Id of the backup that was being restored; `None` if the marker no longer contains it.
    pub backup: Option<String>,
    /// Reverted settings, `name = value`.
    pub settings: Vec<String>,
    /// What the complete restore would still have done, a line each.
    pub undone: Vec<String>,
}

/// Reverts settings and drops only the marker.
pub async fn keep(control: &mut Lane) -> Result<Kept> {
    let Some(marker) = marker::read(control).await? else {
        return if discard::drop_incomplete_marker(control).await? {
            Ok(Kept::default())
        } else {
            Err(no_unfinished_restore())
        };
    };
    let mut undone = undone(&marker);
    if !marker.passed(Pass::PostData) {
        for grant in routine_grants::noted(control).await? {
            undone.push(format!("a privilege was not restored: {grant}"));
        }
    }
    let settings = tuning::revert(control).await?;
    marker::drop_marker(control).await?;
    Ok(Kept {
        backup: Some(marker.request.backup),
        settings,
        undone,
    })
}

/// The error if the server has no marker.
pub fn no_unfinished_restore() -> Error {
    Error::nothing("the server has no unfinished restore")
        .hint("there is nothing to keep or discard")
}

/// Work of the passes that did not complete.
fn undone(marker: &Marker) -> Vec<String> {
    let passes = [
        (
            Pass::PreData,
            "schemas, tables, sequences may be missing".to_owned(),
        ),
        (
            Pass::Data,
            format!(
                "rows may be missing: {} of them restored",
                counted(marker.frames.len() as u64, "frame")
            ),
        ),
        (
            Pass::Keys,
            "secondary keys may be missing, including unique keys".to_owned(),
        ),
        (Pass::ForeignKeys, "foreign keys may be missing".to_owned()),
        (
            Pass::PostData,
            "triggers, routines, events may be missing, and views may be placeholders".to_owned(),
        ),
        (
            Pass::Events,
            "the data are not verified, or differ from the dump".to_owned(),
        ),
    ];
    let mut undone: Vec<String> = passes
        .into_iter()
        .filter(|(pass, _)| !marker.passed(*pass))
        .map(|(_, what)| what)
        .collect();
    if let Some(replay) = &marker.request.replay
        && !marker.passed(Pass::Replay)
    {
        undone.push(format!(
            "the binary log was not replayed, or not completely ({replay})"
        ));
    }
    if !marker.passed(Pass::Events) {
        let events = marker.events.iter();
        undone.extend(events.map(|event| format!("an event is disabled: {}", event.enabling())));
    }
    undone
}
