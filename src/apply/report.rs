//! What a restore did: stages, sums and what its user should know; and how it says so meanwhile.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::apply::marker::Pass;
use crate::proof::compare::Comparison;
use crate::sql::statement::ObjectId;
use crate::times::from_seconds;

/// Hears of a restore while it runs, from several tasks at once.
pub trait Progress: Send + Sync {
    /// A pass begins; `bytes` of SQL are ahead of it, where that is known.
    fn begin(&self, pass: Pass, bytes: Option<u64>) {
        let _ = (pass, bytes);
    }

    /// Some of it is done.
    fn advance(&self, bytes: u64, rows: u64) {
        let _ = (bytes, rows);
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// Its name: `check`, or that of a pass.
    pub name: &'static str,
    /// Seconds of wall-clock time.
    pub seconds: f64,
}

/// What a restore did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoreReport {
    /// The backup's id.
    pub backup: String,
    /// What the server is.
    pub server: String,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Rows that this run inserted.
    pub rows: u64,
    /// Bytes of SQL whose rows this run inserted.
    pub raw_bytes: u64,
    /// Frames that an earlier run had loaded.
    pub frames_before: u64,
    /// Connections that loaded rows.
    pub lanes: usize,
    /// Settings of the server that were changed meanwhile, `name = value`.
    pub settings: Vec<String>,
    /// What was replaced.
    pub replaced: Vec<ObjectId>,
    /// What it made, schemas too; empty where nothing was begun.
    pub made: Vec<ObjectId>,
    /// Whether its marker stands on the server.
    pub marked: bool,
    /// Accounts that were created.
    pub created_accounts: Vec<String>,
    /// What PUBLIC of a scratch server was granted.
    #[serde(skip)]
    pub granted_to_public: Vec<String>,
    /// One-shot events whose time has passed: the server drops them as they are created.
    pub expired_events: Vec<ObjectId>,
    /// Events that were enabled at the end.
    pub enabled_events: Vec<ObjectId>,
    /// Objects that got another definer than they had: all else of them is compared.
    pub substituted: Vec<ObjectId>,
    /// What its user should know, each once.
    pub warnings: Vec<String>,
    /// The comparison with the dump, where it was asked for.
    pub proof: Option<Comparison>,
}

impl RestoreReport {
    /// Notes something for the user, once.
    pub fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Notes how long a stage took that began at `since`.
    pub fn stage(&mut self, name: &'static str, since: Instant) {
        self.stages.push(Stage {
            name,
            seconds: since.elapsed().as_secs_f64(),
        });
    }

    /// All stages together.
    pub fn total(&self) -> Duration {
        from_seconds(self.stages.iter().map(|stage| stage.seconds).sum())
    }
}
