//! Giving up an unfinished restore without losing what it brought: the marker goes, what was restored
//! stays, and all that was not done is said, since nothing on the server says it any more.

use serde::Serialize;

use crate::apply::discard;
use crate::apply::lane::Lane;
use crate::apply::marker::{self, Marker, Pass};
use crate::apply::{routine_grants, tuning};
use crate::error::{Error, Result};
use crate::words::counted;

/// What is left of a restore that was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The backup that was being restored; `None` where the marker did not say it any more.
    pub backup: Option<String>,
    /// Settings that were put back, `name = value`.
    pub settings: Vec<String>,
    /// What a whole restore would have done yet, a line each; empty where nothing.
    pub undone: Vec<String>,
}

/// Puts back settings and drops the marker alone.
pub async fn keep(control: &mut Lane) -> Result<Kept> {
    let Some(marker) = marker::read(control).await? else {
        return match discard::remains(control).await? {
            true => Ok(Kept::default()),
            false => Err(Error::nothing("the server has no unfinished restore")
                .hint("there is nothing to give up")),
        };
    };
    let mut undone = undone(&marker);
    if !marker.passed(Pass::PostData) {
        for grant in routine_grants::noted(control).await? {
            undone.push(format!("a privilege is not given back: {grant}"));
        }
    }
    let settings = tuning::undo(control).await?;
    marker::drop_marker(control).await?;
    Ok(Kept {
        backup: Some(marker.run.backup),
        settings,
        undone,
    })
}

/// What the passes would have done that are not over.
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
            "secondary keys may be missing, unique ones too".to_owned(),
        ),
        (Pass::ForeignKeys, "foreign keys may be missing".to_owned()),
        (
            Pass::PostData,
            "triggers, routines, events may be missing, and views may be place-holders".to_owned(),
        ),
        (
            Pass::Events,
            "nothing says that the data are right: they were not proven, or are not what was dumped"
                .to_owned(),
        ),
    ];
    let waiting = |(pass, _): &(Pass, String)| !marker.passed(*pass);
    let mut undone: Vec<String> = passes
        .into_iter()
        .filter(waiting)
        .map(|(_, what)| what)
        .collect();
    if !marker.passed(Pass::Events) {
        let events = marker.events.iter();
        undone.extend(events.map(|event| format!("an event is disabled: {}", event.enabling())));
    }
    undone
}
