//! Result of a restore: stages, totals and warnings; and its progress.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::comparison::compare::Comparison;
use crate::replay;
use crate::replay::filter::Refused;
use crate::replay::stop::{Edge, Resolved};
use crate::restore::state::marker::Pass;
use crate::sql::statement::ObjectId;
use crate::util::lines::UniqueLines;
use crate::util::times::from_seconds;

/// Receives the progress of a restore, from several tasks in parallel.
pub trait Progress: Send + Sync {
    /// A pass begins; `bytes` of SQL remain, if known.
    fn begin(&self, pass: Pass, bytes: Option<u64>) {
        let _ = (pass, bytes);
    }

    /// Part of the pass is done.
    fn advance(&self, bytes: u64, rows: u64) {
        let _ = (bytes, rows);
    }
}

/// Ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Duration of one stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// `check`, or the name of a pass.
    pub name: &'static str,
    /// Duration in seconds of wall-clock time.
    pub seconds: f64,
}

/// The binary log that would be replayed behind the backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedReplay {
    /// Number of transactions.
    pub transactions: u64,
    /// The last one; `None` if there is none behind the backup.
    pub last: Option<Edge>,
    /// The first one that is left out; `None` if the log ends.
    pub left_out: Option<Edge>,
}

impl PlannedReplay {
    /// What is planned of a stretch.
    pub fn of(stretch: &Resolved) -> PlannedReplay {
        PlannedReplay {
            transactions: stretch.plan.transactions,
            last: stretch.last.clone(),
            left_out: stretch.left_out.clone(),
        }
    }
}

/// The binary log that was replayed behind the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Transactions, those of an interrupted run included.
    pub transactions: u64,
    /// The last one; `None` if there is none behind the backup.
    pub last: Option<Edge>,
    /// The first that was left out; `None` at the end of the log.
    pub left_out: Option<Edge>,
    /// Statements that were not replayed: of accounts and the server's own tables.
    pub refused: Vec<Refused>,
}

impl Replayed {
    /// What was replayed of a stretch.
    pub fn of(stretch: &Resolved, replayed: replay::Replayed) -> Replayed {
        Replayed {
            transactions: replayed.transactions,
            last: stretch.last.clone(),
            left_out: stretch.left_out.clone(),
            refused: replayed.refused,
        }
    }
}

/// Result of a restore.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoreReport {
    /// Id of the backup.
    pub backup: String,
    /// Product and version of the destination.
    pub server: String,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Rows inserted by this run.
    pub rows: u64,
    /// Bytes of SQL whose rows were inserted by this run.
    pub raw_bytes: u64,
    /// Number of frames loaded by earlier runs.
    pub frames_before: u64,
    /// Number of connections that loaded rows.
    pub lanes: usize,
    /// Server settings changed during the restore, `name = value`.
    pub settings: Vec<String>,
    /// Replaced objects.
    pub replaced: Vec<ObjectId>,
    /// Created objects, including schemas; empty if nothing was begun.
    pub made: Vec<ObjectId>,
    /// Whether the marker exists on the server.
    pub marked: bool,
    /// Created accounts.
    pub created_accounts: Vec<String>,
    /// Privileges granted to PUBLIC on a scratch server.
    #[serde(skip)]
    pub granted_to_public: Vec<String>,
    /// One-time events whose execution time has passed: the server drops them when they are created.
    pub expired_events: Vec<ObjectId>,
    /// Events enabled at the end.
    pub enabled_events: Vec<ObjectId>,
    /// Objects with a substituted definer; everything else of them is compared.
    pub substituted: Vec<ObjectId>,
    /// Warnings for the user, without duplicates.
    pub warnings: UniqueLines,
    /// Schemas that a drill replayed a binary log into, which may have created objects there.
    #[serde(skip)]
    pub replayed_schemas: BTreeSet<String>,
    /// The replayed binary log; `None` if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
    /// The comparison with the dump; `None` if it was skipped.
    pub comparison: Option<Comparison>,
    /// Whether an earlier run found the data equal to the dump, before it began the replay that this run finished.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub compared_before: bool,
}

impl RestoreReport {
    /// Whether the restored data were equal to the dump.
    pub fn is_verified(&self) -> bool {
        self.compared_before || self.comparison.as_ref().is_some_and(Comparison::is_equal)
    }

    /// Adds a warning, unless it is already there.
    pub fn warn(&mut self, warning: String) {
        self.warnings.add(warning);
    }

    /// Adds the duration of a stage that began at `since`.
    pub fn stage(&mut self, name: &'static str, since: Instant) {
        self.stages.push(Stage {
            name,
            seconds: since.elapsed().as_secs_f64(),
        });
    }

    /// Total duration of all stages.
    pub fn total(&self) -> Duration {
        from_seconds(self.stages.iter().map(|stage| stage.seconds).sum())
    }
}
