//! Writes what a standby says of itself ([`crate::monitor::standby`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::monitor::standby::{NotReplayed, Report, State, read};
use crate::replay::filter::Refused;
use crate::standby::Follower;
use crate::store::Store;
use crate::util::error::Error;

/// Least pause between two of them, where nothing but the time has changed.
const PAUSE: Duration = Duration::from_secs(30);

/// Most statements that are listed as not replayed.
const MOST_REFUSED: usize = 100;

/// The report that is kept.
#[derive(Debug)]
pub struct Status {
    store: Arc<dyn Store>,
    /// What is known.
    pub report: Report,
    written: Arc<Mutex<Written>>,
}

/// The last report that was written, and when.
type Written = Option<(Instant, Report)>;

/// Writes the report again and again until it is dropped, so that a long step is not taken for a standby that has ended.
#[must_use]
pub(super) struct Beat(tokio::task::JoinHandle<()>);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.abort();
    }
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
        let (compared, refused, failing_since) = before
            .map(|before| (before.compared, before.refused, before.failing_since))
            .unwrap_or_default();
        Status {
            store: follower.store.clone(),
            report: Report {
                format: Report::FORMAT,
                target: follower.target.clone(),
                server: follower.server.url.endpoint.to_string(),
                state: State::Building,
                since: now,
                backup: None,
                timeline: None,
                applied_until: None,
                ahead_seconds: None,
                executed: None,
                transactions: 0,
                compared,
                refused,
                error: None,
                failing_since,
                written_at: now,
            },
            written: Arc::default(),
        }
    }

    /// Changes the state.
    pub fn set(&mut self, state: State, error: Option<&Error>) {
        if self.report.state != state {
            self.report.state = state;
            self.report.since = Timestamp::now();
        }
        self.report.error = error.map(ToString::to_string);
        if matches!(state, State::Failed | State::Gap) {
            self.report.failing_since.get_or_insert_with(Timestamp::now);
        }
    }

    /// A step succeeded: what failed before is over.
    pub fn recover(&mut self) {
        self.report.failing_since = None;
    }

    /// Transactions that were applied.
    pub fn moved(&self) -> u64 {
        self.report.transactions
    }

    /// Writes what was not replayed, where that is not written yet: the promotion names it.
    pub async fn write_refused(&mut self) {
        let written = self.written.lock().await;
        let is_written = written
            .as_ref()
            .is_some_and(|(_, written)| written.refused == self.report.refused);
        drop(written);
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
        let mut written = self.written.lock().await;
        let is_due = written.as_ref().is_none_or(|(at, written)| {
            at.elapsed() >= PAUSE || written.state != self.report.state
        });
        if is_due || at_once {
            self.report.written_at = Timestamp::now();
            put(&self.store, &self.report, &mut written).await;
        }
    }

    /// For the time of a long step.
    pub fn beat(&self) -> Beat {
        let (store, written) = (self.store.clone(), self.written.clone());
        let mut report = self.report.clone();
        Beat(tokio::spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                let mut written = written.lock().await;
                report.written_at = Timestamp::now();
                put(&store, &report, &mut written).await;
            }
        }))
    }
}

async fn put(store: &Arc<dyn Store>, report: &Report, written: &mut Written) {
    let json = match serde_json::to_vec_pretty(report) {
        Ok(json) => json,
        Err(error) => return tracing::warn!(%error, "cannot write the state of the standby"),
    };
    let key = report.target.standby();
    match store.put(&key, Bytes::from(json)).await {
        Ok(()) => *written = Some((Instant::now(), report.clone())),
        Err(error) => tracing::warn!(%error, "cannot write the state of the standby"),
    }
}
