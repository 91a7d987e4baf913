//! `runs/<time>-<verb>-<exit>.json`: what every run did, also the failed ones.
//!
//! Best effort: it is evidence for people and for `serve`, never part of a backup.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::keys::{BackupId, RunName, TargetName};
use crate::store::{Store, StoreError};

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The command.
    pub verb: String,
    /// The version of drctl.
    pub drctl: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its exit code.
    pub exit: u8,
    /// The backup that it made or used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// Its one line where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Puts the record into the store; a failure is logged and changes nothing.
pub async fn record(store: &Arc<dyn Store>, target: &TargetName, record: &RunRecord) {
    let body = match serde_json::to_vec_pretty(record) {
        Ok(body) => Bytes::from(body),
        Err(error) => {
            tracing::warn!(%error, "cannot write the record of this run");
            return;
        }
    };
    // Names have whole seconds: of two runs that ended in the same one, the later gives way.
    const TRIES: i64 = 5;
    for later in 0..TRIES {
        let name = RunName {
            time: record.ended_at + jiff::SignedDuration::from_secs(later),
            verb: record.verb.clone(),
            exit: record.exit,
        };
        match store.put_new(&target.run(&name), body.clone()).await {
            Ok(()) => return,
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot store the record of this run");
                return;
            }
        }
    }
}
