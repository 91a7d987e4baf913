//! What a standby says of itself: `standby.json` in its store, for whoever watches it from there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::layout::{BackupId, TargetName, TimelineId};
use crate::replay::filter::Refused;
use crate::standby::Follower;
use crate::store::{MOST_RECORD_BYTES, Store, StoreError};
use crate::util::error::{Error, Result};

/// Format of `standby.json`.
const FORMAT: u32 = 1;

/// Least pause between two of them, where nothing but the time has changed.
const PAUSE: Duration = Duration::from_secs(30);

/// Most statements that are listed as not replayed.
const MOST_REFUSED: usize = 100;

/// What a standby does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is restored from a backup.
    Building,
    /// It applies the log as it is archived.
    Following,
    /// It applies nothing until a backup is there to compare it with.
    Waiting,
    /// It is compared with a backup.
    Comparing,
    /// The log that it needs is not archived; it is built anew from the next backup.
    Gap,
    /// It cannot go on; `error` says why.
    Failed,
    /// It is no standby any more.
    Promoted,
}

/// A comparison with a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The backup.
    pub backup: BackupId,
    /// When it was compared.
    pub at: Timestamp,
    /// Whether they were equal.
    pub equal: bool,
    /// What differs, in words; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub differences: String,
}

/// `standby.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The target.
    pub target: TargetName,
    /// The server, as it is named in the configuration.
    pub server: String,
    /// What it does.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// The backup that it was built from, or was last found equal to.
    pub backup: Option<BackupId>,
    /// The timeline that it follows.
    pub timeline: Option<TimelineId>,
    /// Every commit up to this time, by the clock of the target's server, is applied.
    pub applied_until: Option<Timestamp>,
    /// The transactions that it has executed.
    pub executed: Option<String>,
    /// Transactions that it has applied since it was started.
    pub transactions: u64,
    /// The last comparison with a backup.
    pub compared: Option<Compared>,
    /// Statements that were not replayed, the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<NotReplayed>,
    /// Why it does not go on.
    pub error: Option<String>,
    /// When this was written.
    pub written_at: Timestamp,
}

/// A statement that was not replayed: about accounts, or the server itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotReplayed {
    /// Its transaction.
    pub gtid: String,
    /// What it is.
    pub what: String,
}

impl Report {
    /// How far it is behind the commits of the primary; `None` where it does not know.
    pub fn lag(&self, now: Timestamp) -> Option<jiff::SignedDuration> {
        Some(
            now.duration_since(self.applied_until?)
                .max(jiff::SignedDuration::ZERO),
        )
    }
}

/// Reads it; `None` where there is none.
pub async fn read(store: &Arc<dyn Store>, target: &TargetName) -> Result<Option<Report>> {
    let key = target.standby();
    match store.get_at_most(&key, MOST_RECORD_BYTES).await {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::archive(format!("{key} cannot be read")).because(e)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The report that is kept.
#[derive(Debug)]
pub struct Status {
    store: Arc<dyn Store>,
    /// What is known.
    pub report: Report,
    written: Option<(Instant, Report)>,
}

impl Status {
    /// Of a standby that begins, with what the last run found.
    pub async fn begin(follower: &Follower) -> Status {
        let now = Timestamp::now();
        let before = read(&follower.store, &follower.target).await;
        let before = before.unwrap_or_else(|error| {
            tracing::warn!(%error, "the state of the standby is not known");
            None
        });
        let (compared, refused) = before
            .map(|before| (before.compared, before.refused))
            .unwrap_or_default();
        Status {
            store: follower.store.clone(),
            report: Report {
                format: FORMAT,
                target: follower.target.clone(),
                server: follower.server.url.endpoint.to_string(),
                state: State::Building,
                since: now,
                backup: None,
                timeline: None,
                applied_until: None,
                executed: None,
                transactions: 0,
                compared,
                refused,
                error: None,
                written_at: now,
            },
            written: None,
        }
    }

    /// Changes the state.
    pub fn set(&mut self, state: State, error: Option<&Error>) {
        if self.report.state != state {
            self.report.state = state;
            self.report.since = Timestamp::now();
        }
        self.report.error = error.map(ToString::to_string);
    }

    /// Transactions that were applied.
    pub fn moved(&self) -> u64 {
        self.report.transactions
    }

    /// Writes what was not replayed, where that is not written yet: whoever promotes the standby names it.
    pub async fn write_refused(&mut self) {
        let is_written = self
            .written
            .as_ref()
            .is_some_and(|(_, written)| written.refused == self.report.refused);
        if !is_written {
            self.write(true).await;
        }
    }

    /// Adds statements that were not replayed.
    pub fn refuse(&mut self, refused: Vec<Refused>) {
        let all = &mut self.report.refused;
        all.extend(refused.into_iter().map(|one| NotReplayed {
            gtid: one.gtid,
            what: one.what,
        }));
        let more = all.len().saturating_sub(MOST_REFUSED);
        all.drain(..more);
    }

    /// Writes it, where something has changed, or it is old. Best effort: a standby without it follows all the same.
    pub async fn write(&mut self, at_once: bool) {
        let is_due = self.written.as_ref().is_none_or(|(at, written)| {
            at.elapsed() >= PAUSE || written.state != self.report.state
        });
        if !is_due && !at_once {
            return;
        }
        self.report.written_at = Timestamp::now();
        let json = match serde_json::to_vec_pretty(&self.report) {
            Ok(json) => json,
            Err(error) => return tracing::warn!(%error, "cannot write the state of the standby"),
        };
        let key = self.report.target.standby();
        match self.store.put(&key, Bytes::from(json)).await {
            Ok(()) => self.written = Some((Instant::now(), self.report.clone())),
            Err(error) => tracing::warn!(%error, "cannot write the state of the standby"),
        }
    }
}
