//! The switch: traffic and workloads follow the writable side.
//!
//! Each step can be repeated. All are tried, whatever fails: the server is switched already.
//!
//! - [`config`]: what is switched; `command`: a program; `cluster`: Services and workloads of a cluster.

mod cluster;
mod command;
pub mod config;

use serde::Serialize;

use crate::switch::cluster::Changes;
use crate::util::cancel::Cancel;
use crate::{Error, Result};

pub use config::SwitchConfig;

/// Which way a side is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Traffic goes to this side.
    Promote,
    /// Traffic goes away from this side.
    Demote,
}

impl Direction {
    /// As in `DRCTL_SWITCH`.
    pub fn word(self) -> &'static str {
        match self {
            Direction::Promote => "promote",
            Direction::Demote => "demote",
        }
    }
}

/// Switches traffic and workloads of this side; returns what was done, one line each. `side` may be empty.
///
/// # Errors
/// All failures in one, which says that the server is switched already.
pub async fn switch(
    config: &SwitchConfig,
    direction: Direction,
    target: &str,
    side: &str,
    cancel: &Cancel,
) -> Result<Vec<String>> {
    let (mut done, mut failed) = (Vec::new(), None::<Error>);
    let mut note = |step: Result<Vec<String>>| match (step, failed.take()) {
        (Ok(lines), before) => {
            done.extend(lines);
            failed = before;
        }
        (Err(error), Some(before)) => failed = Some(before.also(&error)),
        (Err(error), None) => failed = Some(error),
    };
    let changes = Changes::of(config, direction);
    if !changes.is_empty() {
        note(cluster::apply(&changes, cancel).await);
    }
    if let Some(command) = config.command(direction, target, side) {
        note(command.run(cancel).await.map(|line| vec![line]));
    }
    match failed {
        None => Ok(done),
        Some(error) => Err(is_switched(error, direction)),
    }
}

/// Adds to a failure of the switch that the server is switched already.
fn is_switched(error: Error, direction: Direction) -> Error {
    let server = match direction {
        Direction::Promote => "the server is promoted already",
        Direction::Demote => "the server is read-only already",
    };
    let step = error.next_step().map(|step| format!("; {step}"));
    error.hint(format!(
        "{server}, only the switch failed: run it again{}",
        step.unwrap_or_default()
    ))
}
