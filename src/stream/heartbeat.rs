//! The heartbeat `log/head.json`: how far the archive is, and when it was behind.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::binlog::record::{FORMAT, Head, Late, Record};
use crate::layout::TimelineId;
use crate::stream::late;
use crate::util::times::seconds_up;

/// Least pause between two heartbeats in the store.
pub(super) const PAUSE: Duration = Duration::from_secs(30);

/// Sets of GTIDs that are longer stand in no heartbeat, bytes.
const MOST_SET: usize = 64 << 10;

/// What the next heartbeat says.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// Bytes that the server had written and that were not archived.
    pub lag_bytes: u64,
    /// For how long the server keeps its log, seconds.
    pub kept: Option<u64>,
    /// By how much the server's clock is ahead of the store's, at most.
    pub ahead: Option<SignedDuration>,
    /// Every commit of the timeline up to this time is archived.
    covered_until: Option<Timestamp>,
    /// The latest commit that was cut or, in a file that goes on, is archived.
    commit_last: Option<Timestamp>,
    /// What the heartbeat before said was covered, of this timeline or another.
    reported: Option<Timestamp>,
    /// When the archive was behind.
    late: Vec<Late>,
    /// Maximum time for which an event waits for its segment.
    cut: Duration,
    last: Option<Instant>,
}

impl Heartbeat {
    /// One that follows the last of the session before.
    pub fn after(before: Option<Head>, cut: Duration) -> Heartbeat {
        Heartbeat {
            lag_bytes: 0,
            kept: None,
            ahead: None,
            covered_until: None,
            commit_last: before.as_ref().and_then(|head| head.commit_last),
            reported: before.as_ref().and_then(|head| head.covered_until),
            late: before.map(|head| head.late).unwrap_or_default(),
            cut,
            last: None,
        }
    }

    /// Every commit up to this time is archived, too.
    pub fn covers(&mut self, until: Option<Timestamp>) {
        self.covered_until = self.covered_until.max(until);
    }

    /// Whether any commit is known to be archived.
    pub fn covers_something(&self) -> bool {
        self.covered_until.is_some()
    }

    /// A commit of this time was cut.
    pub fn commits(&mut self, at: Option<Timestamp>) {
        self.commit_last = self.commit_last.max(at);
    }

    /// Whether the last one was long enough ago.
    pub fn is_due(&self) -> bool {
        self.last.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    /// The next one, at the end of this segment.
    pub fn beat(&mut self, timeline: TimelineId, last: Record) -> Head {
        let written_at = Timestamp::now();
        let (reported, covered) = (self.reported, self.covered_until);
        late::note(&mut self.late, reported, covered, written_at, self.cut);
        self.reported = covered.or(reported);
        self.last = Some(Instant::now());
        Head {
            format: FORMAT,
            timeline,
            file: last.file,
            log_pos: last.log_pos_to,
            segment: Some(last.from),
            covered_until: covered,
            gtid_set: last.gtid_set.filter(|set| set.len() <= MOST_SET),
            written_at,
            lag_bytes: self.lag_bytes,
            commit_last: self.commit_last,
            expire_seconds: self.kept,
            ahead_seconds: self.ahead.map(seconds_up),
            late: self.late.clone(),
        }
    }
}
