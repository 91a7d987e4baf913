//! Events to segments: checks each event, follows transactions, and cuts.

use bytes::Bytes;
use tokio::time::Instant;

use crate::binlog::checks::Cursor;
use crate::binlog::digest::Digest;
use crate::binlog::event::{Checksum, Event, MAGIC, kind};
use crate::binlog::gtid::GtidSet;
use crate::binlog::note::{LastEvents, Note};
use crate::binlog::record::Record;
use crate::binlog::segment::{self, Packer, Place};
use crate::keys::recipients::Recipients;
use crate::layout::{LogFile, TimelineId};
use crate::{Error, Result};

/// Raw bytes of a segment, not counting its last event.
pub const CUT_BYTES: u64 = 16 << 20;

/// What to do about an event that is not what a server writes.
const NOT_ARCHIVED: &str =
    "nothing of it was archived: check the server's error log and its disk, and start again";

/// Makes the segments of one timeline.
#[derive(Debug)]
pub struct Cutter {
    /// The timeline.
    timeline: TimelineId,
    mariadb: bool,
    /// The server's file.
    file: LogFile,
    /// The end of what was taken of it.
    cursor: Cursor,
    /// The same, in the archived file.
    offset: u64,
    /// What the events mean.
    digest: Digest,
    /// The segment in the making.
    open: Option<Open>,
    /// Its bytes; `None` before the first one.
    packer: Option<Packer>,
    /// The last events of the segment in the making.
    last: LastEvents,
    /// To whom segments are encrypted; `None` if they are not.
    recipients: Option<Recipients>,
    /// Number of the next segment.
    seq: u64,
    /// SHA-256 of the segment before it.
    prev: Option<String>,
    /// All transactions so far, where known.
    gtids: Option<GtidSet>,
    /// What the head of the first file of the timeline says came before, where this process began it.
    began_with: Option<GtidSet>,
    /// What the server had executed before its log began: a server of MySQL that was restored, or was a standby, was told
    /// so, and the heads of its files do not say it.
    not_logged: GtidSet,
    /// Whether the file's events say that they are the last.
    ended: bool,
}

#[derive(Debug)]
struct Open {
    /// Its offset in the archived file.
    from: u64,
    /// When its first event came.
    since: Instant,
    /// Bytes of its last event.
    last_event: u64,
}

/// A segment that is to be stored.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Its record.
    pub record: Record,
    /// The object.
    pub object: Bytes,
}

/// Why the log does not continue what is archived, found at the head of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discontinuity {
    /// These were executed before the file and are not archived.
    Missing(GtidSet),
    /// These are archived, and the server never executed them.
    Lost(GtidSet),
}

impl Cutter {
    /// A new timeline, which begins with the next [`Cutter::begin_file`].
    pub fn begin(
        timeline: TimelineId,
        mariadb: bool,
        file: LogFile,
        recipients: Option<Recipients>,
    ) -> Cutter {
        Cutter {
            timeline,
            mariadb,
            file,
            cursor: Cursor::start(mariadb),
            offset: 0,
            digest: Digest::new(mariadb),
            open: None,
            packer: None,
            last: LastEvents::default(),
            recipients,
            seq: 0,
            prev: None,
            gtids: None,
            began_with: None,
            not_logged: GtidSet::empty(mariadb),
            ended: false,
        }
    }

    /// Goes on behind the last segment. `digest` has followed the events of a transaction that is open there.
    pub fn resume(
        last: &Record,
        sha256: String,
        gtids: Option<GtidSet>,
        digest: Digest,
        recipients: Option<Recipients>,
    ) -> Cutter {
        let checksum = match last.contents.checksum {
            true => Checksum::Crc32,
            false => Checksum::Off,
        };
        Cutter {
            timeline: last.timeline,
            mariadb: last.mariadb,
            file: last.file.clone(),
            cursor: Cursor::at(last.mariadb, last.log_pos_to, checksum),
            offset: last.to,
            digest,
            open: None,
            packer: None,
            last: LastEvents::default(),
            recipients,
            seq: last.seq + 1,
            prev: Some(sha256),
            gtids,
            began_with: None,
            not_logged: GtidSet::empty(last.mariadb),
            ended: last.contents.ends.is_some(),
        }
    }

    /// On a server that was told that it has executed these transactions.
    #[must_use]
    pub fn told(mut self, executed: Option<&GtidSet>) -> Cutter {
        self.not_logged = executed.cloned().unwrap_or(self.not_logged);
        self
    }

    /// To whom segments are encrypted from here on.
    pub fn encrypt_to(&mut self, recipients: Option<Recipients>) {
        self.recipients = recipients;
    }

    /// The file.
    pub fn file(&self) -> &LogFile {
        &self.file
    }

    /// Position of the end of what was taken, in the server's file.
    pub fn log_pos(&self) -> u64 {
        self.cursor.log_pos
    }

    /// Bytes of the archived file so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// All transactions taken, where known.
    pub fn gtids(&self) -> Option<&GtidSet> {
        self.gtids.as_ref()
    }

    /// What had been executed before the first file, where this process began the timeline.
    pub fn began_with(&self) -> Option<&GtidSet> {
        self.began_with.as_ref()
    }

    /// Drops what was taken since the last cut.
    pub fn discard(&mut self) {
        self.open = None;
        self.packer = None;
    }

    /// Takes the buffer of an object that is stored.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        if let Some(packer) = &mut self.packer {
            packer.reuse(buffer);
        }
    }

    /// SHA-256 of the last segment.
    pub fn prev(&self) -> &Option<String> {
        &self.prev
    }

    /// Whether the events of the file say that they are its last.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether no transaction is open.
    pub fn at_rest(&self) -> bool {
        self.digest.at_rest()
    }

    /// Since when the oldest event waits for its segment; `None` if none does.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.since)
    }

    /// Whether the segment must be cut now: it is full, or its file ends.
    pub fn is_full(&self) -> bool {
        let full = self
            .packer
            .as_ref()
            .is_some_and(|packer| packer.raw() >= CUT_BYTES);
        full || (self.ended && self.open.is_some())
    }

    /// Begins another file, at its beginning. Everything before must be cut.
    pub fn begin_file(&mut self, file: LogFile) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::unexpected(
                "a file of the log begins before the one before it is cut",
            ));
        }
        self.file = file;
        self.cursor = Cursor::start(self.mariadb);
        self.offset = 0;
        self.ended = false;
        self.append(&MAGIC, 0)
    }

    /// Checks and takes an event of the file.
    ///
    /// # Errors
    /// `Archive`: it is damaged or does not continue the file; nothing of it was taken.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Discontinuity>> {
        let event = Event::parse(bytes)?;
        let at = (&self.file, self.cursor.log_pos);
        let place = format!("{} of the server, behind position {}", at.0, at.1);
        let refused = |error: Error| error.context(&place).hint(NOT_ARCHIVED);
        self.cursor.accept(&event).map_err(refused)?;
        if event.header.kind == kind::MARIADB_START_ENCRYPTION {
            // What follows came in the clear.
            return Ok(None);
        }
        let checksum = self.cursor.checksum;
        let ended = self.digest.take(&event, checksum).map_err(refused)?;
        if let (Some(gtids), Some(Some(gtid))) = (&mut self.gtids, &ended) {
            gtids.add(gtid);
        }
        self.ended = matches!(
            event.header.kind,
            kind::ROTATE | kind::STOP | kind::INCIDENT
        );
        let previous = Digest::previous(&event, checksum)?;
        let broken = previous.and_then(|previous| self.compare(previous));
        self.append(bytes, bytes.len() as u64)?;
        self.last.take(&event);
        Ok(broken)
    }

    /// Compares what the head of a file says came before with what is archived.
    fn compare(&mut self, mut previous: GtidSet) -> Option<Discontinuity> {
        let Some(ours) = &self.gtids else {
            previous.extend(&self.not_logged);
            self.began_with = (self.seq == 0).then(|| previous.clone());
            self.gtids = Some(previous);
            return None;
        };
        let missing = previous.minus(ours);
        if !missing.is_empty() {
            return Some(Discontinuity::Missing(missing));
        }
        let lost = ours.minus(&previous).minus(&self.not_logged);
        (!lost.is_empty()).then_some(Discontinuity::Lost(lost))
    }

    fn append(&mut self, bytes: &[u8], event: u64) -> Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open {
                from: self.offset,
                since: Instant::now(),
                last_event: 0,
            }),
        };
        let packer = match &mut self.packer {
            Some(packer) => packer,
            None => self.packer.insert(Packer::new()?),
        };
        packer.push(bytes)?;
        open.last_event = event;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Cuts: what was taken since the last cut; `None` if that is nothing.
    pub fn cut(&mut self) -> Result<Option<Cut>> {
        let (Some(open), Some(packer)) = (self.open.take(), &mut self.packer) else {
            return Ok(None);
        };
        let place = Place {
            timeline: self.timeline,
            file: self.file.clone(),
            from: open.from,
            log_pos_to: self.cursor.log_pos,
            last_event: open.last_event,
            seq: self.seq,
            prev: self.prev.take(),
            mariadb: self.mariadb,
            gtid_set: self.gtids.as_ref().map(ToString::to_string),
        };
        let contents = self.digest.cut(self.cursor.checksum);
        let (record, mut object) = packer.finish(place, contents)?;
        let last = std::mem::take(&mut self.last);
        if let Some(recipients) = &self.recipients {
            let note = Note::of(&record, last, self.digest.groups().clone());
            object = recipients.encrypt_all(&object, Some(note.to_bytes()?))?;
        }
        self.prev = Some(segment::sha256(&object));
        self.seq += 1;
        Ok(Some(Cut {
            record,
            object: object.into(),
        }))
    }
}
