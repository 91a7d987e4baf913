//! Where a stretch of a log ends: a time, a position or a GTID, resolved to the first transaction that is left out.
//!
//! Decided by the events that begin transactions alone: those inside of one carry the times of their statements. The
//! stretch ends at the first transaction in the order of the log that is at or behind the stop, so that what is
//! replayed is what the server was, once; a clock that went back changes nothing about it.

use jiff::Timestamp;
use serde::Serialize;

use crate::binlog::event::{Checksum, Description, Event, kind, rotated_to};
use crate::binlog::group::{Groups, Step};
use crate::binlog::gtid::{Gtid, GtidSet};
use crate::binlog::gtid_event::{self, Begin};
use crate::binlog::statement;
use crate::replay::destination::statements::NOT_LOGGED_TABLE;
use crate::replay::feed::Log;
use crate::replay::plan::Plan;
use crate::{Error, Result};

/// Where a replay stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Where the log ends.
    End,
    /// In front of what was committed at this time or later.
    Time(Timestamp),
    /// In front of this transaction.
    Before(Gtid),
    /// Behind this transaction.
    Through(Gtid),
    /// In front of the transaction that begins at this position of the server's file, or behind it.
    Position {
        /// The server's file.
        file: String,
        /// Position, bytes.
        position: u64,
    },
    /// Where the log has exactly these transactions: the place of a later backup.
    Holding {
        /// The transactions.
        gtids: GtidSet,
        /// The server's file.
        file: String,
        /// Position of the end of the last of them, bytes.
        position: u64,
    },
}

/// A transaction, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// Its GTID.
    #[serde(serialize_with = "as_text")]
    pub gtid: Gtid,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// A stretch, and the transactions on both sides of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What is replayed.
    pub plan: Plan,
    /// The last transaction that is replayed; `None` where none is.
    pub last: Option<Edge>,
    /// The first that is left out; `None` at the end of the log.
    pub left_out: Option<Edge>,
    /// Bytes of the transactions that are replayed.
    pub bytes: u64,
}

/// Follows the events of a log to a stop.
#[derive(Debug)]
pub struct Finder {
    stop: Stop,
    plan: Plan,
    /// The server's name of the file; empty where it is not known.
    file: String,
    is_within_file: bool,
    groups: Groups,
    checksum: Checksum,
    last: Option<Edge>,
    left_out: Option<Edge>,
    /// Whether the transaction behind which it stops has passed.
    passed_stop: bool,
    /// File and position of the backup, where they are known.
    base_at: Option<(String, u64)>,
    /// Bytes of the transactions that are replayed.
    bytes: u64,
    /// Whether the open transaction is one of them.
    counts: bool,
}

impl Finder {
    /// From a backup with these transactions to a stop. `file`: the server's name of the log's first file.
    pub fn new(base: GtidSet, stop: Stop, file: &str) -> Finder {
        Finder {
            plan: Plan {
                expected: base.clone(),
                base,
                transactions: 0,
                stop: None,
            },
            stop,
            file: file.to_owned(),
            is_within_file: false,
            groups: Groups::default(),
            checksum: Checksum::Off,
            last: None,
            left_out: None,
            passed_stop: false,
            base_at: None,
            bytes: 0,
            counts: false,
        }
    }

    /// Checks, too, that the backup's transactions are those in front of this position of the server's file.
    #[must_use]
    pub fn with_base_at(mut self, file: &str, position: u64) -> Finder {
        self.base_at = Some((file.to_owned(), position));
        self
    }

    /// Refuses a log in which a backup's position and its GTIDs are two places: it is another server's, or of another
    /// life of it.
    fn check_places(&self, gtid: &Gtid, event: &Event<'_>) -> Result<()> {
        let base = self
            .base_at
            .iter()
            .map(|(file, position)| (file, *position, &self.plan.base));
        let stop = match &self.stop {
            Stop::Holding {
                gtids,
                file,
                position,
            } => Some((file, *position, gtids)),
            _ => None,
        };
        let start = u64::from(event.header.log_pos).saturating_sub(event.header.size.into());
        for (file, position, gtids) in base.chain(stop) {
            if *file == self.file && (start < position) != gtids.contains(gtid) {
                return Err(Error::refused(format!(
                    "the log does not fit the backup: {gtid} at position {start} of {file}, the backup is at {position}"
                ))
                .hint("restore another backup"));
            }
        }
        Ok(())
    }

    /// Takes an event; false where the stretch ends in front of it.
    pub fn take(&mut self, event: &Event<'_>) -> Result<bool> {
        match event.header.kind {
            kind::FORMAT_DESCRIPTION => {
                self.checksum = Description::parse(event)?.checksum;
                // A server that was stopped does not say how its next file is named.
                if self.is_within_file {
                    self.file.clear();
                }
                self.is_within_file = true;
            }
            kind::ROTATE => {
                if let Some((_, name)) = rotated_to(event.body(self.checksum)) {
                    self.file = name;
                    self.is_within_file = false;
                }
            }
            _ => {}
        }
        let begin = gtid_event::begin(event, self.checksum)?;
        if let Some(gtid) = begin.as_ref().and_then(|begin| begin.gtid.as_ref()) {
            self.check_places(gtid, event)?;
        }
        if let Some(begin) = &begin
            && let Some(gtid) = &begin.gtid
            && self.is_behind(begin, gtid, event)
        {
            if self.plan.base.contains(gtid) {
                return Err(Error::refused(format!(
                    "the backup that is restored is later than the stop: it holds {gtid}"
                ))
                .hint("restore an earlier backup"));
            }
            self.plan.stop = Some(gtid.clone());
            self.left_out = Some(edge(begin, gtid));
            return Ok(false);
        }
        if let Some(begin) = &begin {
            let gtid = begin.gtid.as_ref();
            self.counts = gtid.is_some_and(|gtid| !self.plan.base.contains(gtid));
        }
        if self.counts {
            self.bytes += u64::from(event.header.size);
            refuse_not_logged(event, self.checksum)?;
        }
        if let Step::Ends(begin) = self.groups.take(event, self.checksum)?
            && let Some(gtid) = &begin.gtid
        {
            self.counts = false;
            self.passed_stop |= matches!(&self.stop, Stop::Through(last) if last == gtid);
            if !self.plan.base.contains(gtid) {
                self.plan.expected.add(gtid);
                self.plan.transactions += 1;
                self.last = Some(edge(&begin, gtid));
            }
        }
        Ok(true)
    }

    /// Whether a transaction is the first that is left out.
    fn is_behind(&self, begin: &Begin, gtid: &Gtid, event: &Event<'_>) -> bool {
        match &self.stop {
            Stop::End => false,
            Stop::Time(time) => begin.committed_at >= *time,
            Stop::Before(first) => gtid == first,
            Stop::Through(_) => self.passed_stop,
            Stop::Position { file, position } => {
                let end = u64::from(event.header.log_pos);
                let start = end.saturating_sub(event.header.size.into());
                self.file == *file && start >= *position
            }
            Stop::Holding { gtids, .. } => !gtids.contains(gtid),
        }
    }

    /// The stretch.
    ///
    /// # Errors
    /// `Refused`: the log ends before the stop. A time is no exception: that nothing was committed up to it is known
    /// only where a later transaction is there, or a server that said so. `Archive`: transactions of a later backup are
    /// neither in the earlier one nor in the log between them.
    pub fn finish(mut self, covered_until: Option<Timestamp>) -> Result<Resolved> {
        // Its end is not archived: the stretch ends in front of it.
        if self.stop == Stop::End
            && let Some(open) = self.groups.open()
            && let Some(gtid) = open.gtid.clone()
        {
            self.left_out = Some(edge(open, &gtid));
            self.plan.stop = Some(gtid);
        }
        if let Stop::Holding { gtids, .. } = &self.stop {
            let missing = gtids.minus(&self.plan.expected);
            if !missing.is_empty() {
                return Err(Error::archive(format!(
                    "the later backup holds transactions that the log between the two lacks: {missing}"
                ))
                .hint("find out who executed them without the binary log, or deleted segments of the archive"));
            }
        }
        let reached = match &self.stop {
            Stop::End | Stop::Holding { .. } => true,
            Stop::Through(_) => self.passed_stop,
            Stop::Time(time) => {
                self.left_out.is_some() || covered_until.is_some_and(|until| until >= *time)
            }
            Stop::Before(_) | Stop::Position { .. } => self.left_out.is_some(),
        };
        if !reached {
            let last = self.last.map_or("nothing".to_owned(), |last| {
                format!("{} of {}", last.gtid, last.committed_at)
            });
            return Err(Error::refused(format!(
                "the log does not reach the stop: its last transaction behind the backup is {last}"
            )));
        }
        Ok(Resolved {
            plan: self.plan,
            last: self.last,
            left_out: self.left_out,
            bytes: self.bytes,
        })
    }
}

/// Refuses a log that lacks what a restore wrote.
fn refuse_not_logged(event: &Event<'_>, checksum: Checksum) -> Result<()> {
    if ![kind::QUERY, kind::MARIADB_QUERY_COMPRESSED].contains(&event.header.kind) {
        return Ok(());
    }
    let statement = statement::query(event, checksum)?;
    match memchr::memmem::find(&statement.sql, NOT_LOGGED_TABLE.as_bytes()) {
        None => Ok(()),
        Some(_) => Err(Error::refused(
            "the log lacks what a restore wrote into the server without logging it",
        )
        .hint("restore to a moment before that restore, or begin with a backup made after it")),
    }
}

fn as_text<S: serde::Serializer>(
    gtid: &Gtid,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(gtid)
}

fn edge(begin: &Begin, gtid: &Gtid) -> Edge {
    Edge {
        gtid: gtid.clone(),
        committed_at: begin.committed_at,
    }
}

/// Resolves a stop by reading a log from its beginning to there.
pub async fn resolve(
    log: &dyn Log,
    mut finder: Finder,
    covered_until: Option<Timestamp>,
) -> Result<Resolved> {
    let mut events = log.open().await?;
    while let Some(bytes) = events.next().await? {
        if !finder.take(&Event::parse(&bytes)?)? {
            break;
        }
    }
    finder.finish(covered_until)
}
