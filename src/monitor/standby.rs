//! `standby.json`: what a standby says of itself in its store, and what follows from it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::copy::ends::of_second;
use crate::layout::{BackupId, TargetName, TimelineId};
use crate::store::{MOST_RECORD_BYTES, Store, StoreError};
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::{ago, span};
use crate::util::times::minutes;

/// How long a standby may fail before that is reported, as in the alert rules.
const FAILING: SignedDuration = minutes(15);

/// Age of a report above which its standby does not run, as in the alert rules.
pub const SILENT: SignedDuration = minutes(10);

/// Time limit: a second store that does not answer must not hide the state of the primary one.
const TIMEOUT: Duration = Duration::from_secs(30);

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
    /// The log that it needs is not archived; it is rebuilt from the next backup.
    Gap,
    /// It cannot go on; `error` says why.
    Failed,
    /// It has applied what was archived, and ended as `--once` asked for. Its server stays a standby.
    Ended,
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
    /// [`Report::FORMAT`].
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
    /// By how much that clock is ahead of its store's at most, seconds; `None` if they were not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead_seconds: Option<i64>,
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
    /// Since when it fails again and again without applying anything, or has a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
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

impl State {
    /// All states.
    pub const ALL: [State; 8] = [
        State::Building,
        State::Following,
        State::Waiting,
        State::Comparing,
        State::Gap,
        State::Failed,
        State::Ended,
        State::Promoted,
    ];

    /// Its name in `standby.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Building => "building",
            State::Following => "following",
            State::Waiting => "waiting",
            State::Comparing => "comparing",
            State::Gap => "gap",
            State::Failed => "failed",
            State::Ended => "ended",
            State::Promoted => "promoted",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Report {
    /// The current format.
    pub const FORMAT: u32 = 1;

    /// How far it is behind the commits of the primary; `None` where it does not know.
    pub fn lag(&self, now: Timestamp) -> Option<SignedDuration> {
        Some(
            now.duration_since(self.applied_until?)
                .max(SignedDuration::ZERO),
        )
    }

    /// The longest time whose commits are lost, if the other side could write up to a moment of a host whose clock is behind
    /// the store's by no more than `behind`; `None` where the clocks were not compared. The clocks of the two stores count
    /// as equal.
    pub fn lost(&self, until: Timestamp, behind: SignedDuration) -> Option<SignedDuration> {
        let ahead = SignedDuration::from_secs(self.ahead_seconds?);
        let lost = until.duration_since(self.applied_until?);
        let lost = lost.saturating_add(ahead).saturating_add(behind);
        Some(lost.max(SignedDuration::ZERO))
    }

    /// Whether it is a standby no more.
    pub fn is_promoted(&self) -> bool {
        self.state == State::Promoted
    }

    /// Since when it fails; `None` while it is built, and after a promotion.
    pub fn failing_since(&self) -> Option<Timestamp> {
        let judged = !matches!(self.state, State::Building | State::Promoted);
        self.failing_since.filter(|_| judged)
    }

    /// Why it could not take over, each reason a line; `seen_at` is when the report was read.
    pub fn broken(&self, seen_at: Timestamp, now: Timestamp) -> Vec<String> {
        let mut found = Vec::new();
        if self.is_promoted() {
            return found;
        }
        let since = |time: Timestamp| now.duration_since(time);
        // A store that cannot be read says nothing of the standby. One that ended as asked has no more to report; whether it is
        // too far behind is judged by its lag.
        let silent = seen_at.duration_since(self.written_at);
        if silent > SILENT && self.state != State::Ended {
            found.push(format!("has reported nothing for {}", span(silent)));
        }
        if let Some(failing) = self.failing_since().map(since).filter(|age| *age > FAILING) {
            let why = self.error.as_deref().unwrap_or("no reason is known");
            found.push(format!("fails for {}: {why}", span(failing)));
        }
        if let Some(compared) = self.compared.as_ref().filter(|compared| !compared.equal) {
            let Compared {
                backup,
                differences,
                ..
            } = compared;
            found.push(format!("is not equal to backup {backup}: {differences}"));
        }
        found
    }

    /// Its lag, if that exceeds `most`. While it waits for a backup or is compared, it applies nothing on purpose.
    pub fn late(&self, most: SignedDuration, now: Timestamp) -> Option<SignedDuration> {
        let judged = !matches!(
            self.state,
            State::Waiting | State::Comparing | State::Promoted
        );
        self.lag(now).filter(|lag| judged && *lag > most)
    }

    /// State, lag and last comparison in one line.
    pub fn line(&self, now: Timestamp) -> String {
        let mut line = format!("{} {}", self.server, self.state);
        if self.is_promoted() {
            return format!("{line} {}", ago(self.since.min(now), now));
        }
        match self.lag(now) {
            Some(lag) => line.push_str(&format!(", {} behind", span(lag))),
            None => line.push_str(", lag unknown"),
        }
        match &self.compared {
            Some(compared) => line.push_str(&format!(
                ", {} to backup {} {}",
                if compared.equal { "equal" } else { "NOT equal" },
                compared.backup,
                ago(compared.at.min(now), now)
            )),
            None => line.push_str(", not compared with a backup yet"),
        }
        line
    }
}

/// What a store says of a standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandbyGlance {
    /// Description of the store, without secrets.
    pub store: String,
    /// The newest report that could be read; `None` if there is none.
    pub report: Option<Report>,
    /// Why the report is not understood.
    pub damaged: Option<String>,
    /// When the store was last read.
    pub seen_at: Timestamp,
}

/// Looks at a store's report, again and again.
#[derive(Debug)]
pub struct StandbyWatcher {
    store: Arc<dyn Store>,
    target: TargetName,
    last: Option<Report>,
    seen_at: Timestamp,
}

impl StandbyWatcher {
    /// One that has seen nothing.
    pub fn new(store: Arc<dyn Store>, target: TargetName) -> StandbyWatcher {
        StandbyWatcher {
            store,
            target,
            last: None,
            seen_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// Looks; `None` if there is no report.
    ///
    /// # Errors
    /// Any but that the report is damaged.
    pub async fn look(&mut self, now: Timestamp) -> Result<Option<StandbyGlance>> {
        let damaged = match read(&self.store, &self.target).await {
            Ok(report) => {
                self.last = report;
                None
            }
            Err(error) if error.outcome() == Outcome::Archive => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        self.seen_at = now;
        Ok(self.glance(damaged))
    }

    /// Looks at a second store. While that cannot be read, the last report stays.
    pub async fn look_at_second(&mut self, now: Timestamp) -> Option<StandbyGlance> {
        match tokio::time::timeout(TIMEOUT, self.look(now)).await {
            Ok(Ok(glance)) => glance,
            Ok(Err(error)) => {
                tracing::debug!(error = %of_second(error), "the state of the standby is not known");
                self.glance(None)
            }
            Err(_) => self.glance(None),
        }
    }

    fn glance(&self, damaged: Option<String>) -> Option<StandbyGlance> {
        (self.last.is_some() || damaged.is_some()).then(|| StandbyGlance {
            store: self.store.location(),
            report: self.last.clone(),
            damaged,
            seen_at: self.seen_at,
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::status_fixture::standby;

    #[test]
    fn a_loss_is_never_said_to_be_shorter_than_it_may_be() {
        let span = SignedDuration::from_secs;
        let mut report = standby().report.unwrap();
        let fenced = report.applied_until.unwrap() + span(12);
        let mut lost = |ahead, behind| {
            report.ahead_seconds = ahead;
            report.lost(fenced, span(behind))
        };
        assert_eq!(lost(Some(0), 0), Some(span(12)));
        assert_eq!(lost(Some(90), 0), Some(span(102)), "its clock is ahead");
        assert_eq!(lost(Some(0), 60), Some(span(72)), "ours is behind");
        assert_eq!(lost(Some(-5), 1), Some(span(8)));
        assert_eq!(lost(None, 0), None, "nothing is known of its clock");
    }
}
