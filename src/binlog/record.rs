//! Records kept with the log: of a segment, a file, a timeline, and the heartbeat.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::layout::{LogFile, TargetName, TimelineId};
use crate::util::times::before;

/// Format of the archived log.
pub const FORMAT: u32 = 1;

/// A statement worth listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedStatement {
    /// Its transaction; `None` on a server without GTIDs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    /// When it was committed.
    pub at: Timestamp,
    /// What it does: `DROP TABLE`; `statement UPDATE` for data changed in statement format.
    pub kind: String,
    /// `schema.table`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// Its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

/// Bytes of row events of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableBytes {
    /// Of inserted rows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inserted: u64,
    /// Of updated rows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub updated: u64,
    /// Of deleted rows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a segment holds. It stands in the segment itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// Its timeline.
    pub timeline: TimelineId,
    /// The server's file.
    pub file: LogFile,
    /// Where it begins in the archived file, bytes.
    pub from: u64,
    /// Where it ends in the archived file.
    pub to: u64,
    /// Position of its end in the server's file.
    pub log_pos_to: u64,
    /// Bytes of its last event.
    pub last_event: u64,
    /// Number within the timeline, from 0.
    pub seq: u64,
    /// SHA-256 of the segment before, as stored; `None` for the first.
    pub prev: Option<String>,
    /// XXH3-128 of the raw bytes.
    pub xxh3: String,
    /// Whether MariaDB wrote it.
    pub mariadb: bool,
    /// What follows from the contents.
    #[serde(flatten)]
    pub contents: Contents,
    /// All transactions up to its end, where known and short enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid_set: Option<String>,
}

impl Record {
    /// Up to when every commit is in the log that ends with this segment, by its commits: of MariaDB, which has whole
    /// seconds, more of the last one may follow.
    pub fn covered_by_commits(&self) -> Option<Timestamp> {
        const SECOND: SignedDuration = SignedDuration::from_secs(1);
        match (self.contents.commit_last, self.mariadb) {
            (Some(last), true) => Some(before(last, SECOND)),
            (last, _) => last,
        }
    }
}

/// What follows from the bytes of a segment and those before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Whether its events have checksums.
    pub checksum: bool,
    /// The transactions that end in it; of MariaDB the last of each domain.
    pub gtids: String,
    /// Their number.
    pub transactions: u64,
    /// Time of the first event, to the second.
    pub first_at: Option<Timestamp>,
    /// When the first transaction that ends in it was committed.
    pub commit_first: Option<Timestamp>,
    /// The latest commit that ends in it.
    pub commit_last: Option<Timestamp>,
    /// Whether it ends between transactions.
    pub complete: bool,
    /// The event that ends the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<FileEnd>,
    /// Statements worth listing, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<LoggedStatement>,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_statements: u64,
    /// Bytes of row events by table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TableBytes>,
    /// How many more tables there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_tables: u64,
}

/// How a file ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileEnd {
    /// The server went on in this file.
    Rotate(LogFile),
    /// The server was shut down.
    Stop,
    /// The server lost events.
    Incident,
}

/// `closed.json`: a file that the server has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// [`FORMAT`].
    pub format: u32,
    /// The file.
    pub file: LogFile,
    /// Bytes of the archived file.
    pub bytes: u64,
    /// Position of its end in the server's file.
    pub log_pos: u64,
    /// Length of the file by the server's own word; `None` if it had purged the file.
    pub server_bytes: Option<u64>,
    /// The records of its segments.
    pub segments: Vec<Record>,
    /// The target; `None` if an older version wrote it, as with the following.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// The timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<TimelineId>,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// SHA-256 of each segment as stored, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sha256: Vec<String>,
}

impl Closed {
    /// SHA-256 of a segment, by its offset in the file.
    pub fn sha256_of(&self, from: u64) -> Option<&str> {
        let at = self
            .segments
            .iter()
            .position(|record| record.from == from)?;
        self.sha256.get(at).map(String::as_str)
    }
}

/// Why a timeline began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Nothing was archived before.
    First,
    /// The target is another server that has all that was archived.
    Failover,
    /// Part of the log is missing.
    Gap,
    /// The server no longer has what was archived: RESET, a restored data directory, or a crash.
    Rewound,
    /// The timeline before is not signed by an allowed signer.
    Signed,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::First => "first",
            Reason::Failover => "failover",
            Reason::Gap => "gap",
            Reason::Rewound => "rewound",
            Reason::Signed => "signed",
        })
    }
}

/// Where a timeline ended when the next one began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The timeline.
    pub id: TimelineId,
    /// Its last file.
    pub file: LogFile,
    /// Position of its end in the server's file.
    pub log_pos: u64,
    /// All of its transactions, where known.
    pub gtid_set: Option<String>,
    /// Up to when it covers every commit, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_until: Option<Timestamp>,
}

/// `timeline.json`: an unbroken stretch of one server's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// [`FORMAT`].
    pub format: u32,
    /// Its id.
    pub id: TimelineId,
    /// Why it began.
    pub reason: Reason,
    /// The server, as backups name it.
    pub server: String,
    /// Version of the server.
    pub version: String,
    /// Whether the server is MariaDB.
    pub mariadb: bool,
    /// Its first file, archived from the beginning.
    pub file: LogFile,
    /// What the server had executed before that file, where known.
    pub gtid_set: Option<String>,
    /// The timeline before.
    pub parent: Option<Parent>,
    /// Whether nothing is missing between the two.
    pub continues: bool,
    /// What is missing, for people.
    pub missing: Option<String>,
    /// The target; `None` if an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
}

/// `head.json`: how far the archive is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// The timeline.
    pub timeline: TimelineId,
    /// The file.
    pub file: LogFile,
    /// Position of the end of what is archived, in the server's file.
    pub log_pos: u64,
    /// Where the last segment begins in the archived file: readers list the file from there on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// Every commit up to this time, by the server's clock, is archived.
    pub covered_until: Option<Timestamp>,
    /// All transactions archived, where known and short enough.
    pub gtid_set: Option<String>,
    /// When this was written.
    pub written_at: Timestamp,
    /// Bytes that the server had written and that were not archived.
    pub lag_bytes: u64,
    /// The latest commit that is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_last: Option<Timestamp>,
    /// For how long the server keeps its log, seconds; `None` if it never purges by age, or if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_seconds: Option<u64>,
    /// By how much the server's clock was ahead of the store's at most, seconds; negative if it was behind, `None` if
    /// they were not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead_seconds: Option<i64>,
    /// When the archive was behind, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<Late>,
}

/// A time in which the archive was behind: what was committed since `from` was archived only at `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Up to when every commit was archived.
    pub from: Timestamp,
    /// When more than that was.
    pub to: Timestamp,
}
