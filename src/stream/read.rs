//! The archived log, read back: every byte is checked before it is handed on.
//!
//! Checked are the chain (each segment names the one before by its digest), the digests of the raw bytes, that files
//! have no holes, the checksum and position of each event, and that a record says what its events say.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::binlog::checks::Cursor;
use crate::binlog::digest::Digest;
use crate::binlog::event::{Checksum, HEADER_BYTES, Header, MAGIC, kind};
use crate::binlog::file::Events;
use crate::binlog::gtid::GtidSet;
use crate::binlog::gtid_event::Begin;
use crate::binlog::note::{Fingerprint, LastEvents};
use crate::binlog::record::{Closed, Contents, FileEnd, Record, Timeline};
use crate::binlog::segment;
use crate::keys::Trust;
use crate::layout::{LogFile, TimelineId};
use crate::stream::objects::{self, FileObjects, Objects, StoredSegment, TimelineObjects, is_at};
use crate::stream::resume::End;
use crate::{Error, Result};

/// Records that are read at once.
const READS_AT_ONCE: usize = 32;

/// The end of the archive, with what a streamer needs to go on.
#[derive(Debug)]
pub struct Tail {
    /// Where it is.
    pub end: End,
    /// What followed the events of the transaction that is open at the end, if one is.
    pub digest: Digest,
    /// The last events: the server must have the same ones at the same place.
    pub events: VecDeque<Fingerprint>,
    /// Position of the first of them in the server's file.
    pub events_from: u64,
    /// Whether its timeline is signed as new ones would be.
    pub is_trusted: bool,
}

/// Reads the end of the newest timeline; `None` if nothing is archived.
pub async fn tail(objects: &Objects) -> Result<Option<Tail>> {
    let Some((&id, timeline)) = objects.timelines.last_key_value() else {
        return Ok(None);
    };
    let (begun, is_trusted) = objects.timeline_for_streamer(id).await?;
    let mut segments = timeline.all().rev();
    let Some((file, from)) = segments.next() else {
        return Ok(None);
    };
    let listed = timeline.files.get(file);
    if listed.is_some_and(|listed| listed.encrypted.contains(&from)) {
        return by_note(objects, begun, is_trusted, file, from)
            .await
            .map(Some);
    }
    let (last, raw, sha256) = whole(objects, id, file, from).await?;
    let (events, events_from) = last_events(&last, &raw)?;
    // A transaction may be longer than a segment: what began before is followed again.
    let mut open = vec![(last.clone(), raw)];
    let mut is_open = !last.contents.complete;
    while is_open && let Some((file, from)) = segments.next() {
        let record = objects.record(id, file, from).await?;
        is_open = !record.contents.complete;
        if is_open {
            let (record, raw, _) = whole(objects, id, file, from).await?;
            open.push((record, raw));
        }
    }
    let mut digest = Digest::new(last.mariadb);
    for (record, raw) in open.iter().rev().filter(|_| !last.contents.complete) {
        let checksum = checksum_of(&record.contents);
        let mut events = Events::of(raw, record.from)?;
        while let Some(event) = events.next_event()? {
            digest.take(&event, checksum)?;
        }
    }
    digest.cut(Checksum::Off);
    let gtids = match &last.gtid_set {
        Some(set) => Some(GtidSet::parse(last.mariadb, set)?),
        None => gtids_at_end(objects, id, &last).await?,
    };
    Ok(Some(Tail {
        end: End {
            timeline: begun,
            last,
            sha256,
            gtids,
        },
        digest,
        events,
        events_from,
        is_trusted,
    }))
}

/// The end of an archive whose last segment is encrypted, from what its header says in the clear.
async fn by_note(
    objects: &Objects,
    timeline: Timeline,
    is_trusted: bool,
    file: &LogFile,
    from: u64,
) -> Result<Tail> {
    let (key, stored) = objects.stored(timeline.id, file, from).await?;
    let note = objects::note(&key, &stored)?;
    let last = note.record;
    is_at(&key, &last, timeline.id, file, from)?;
    let (events, events_from) = note.last.expected(last.log_pos_to);
    let gtids = last.gtid_set.as_deref();
    let gtids = gtids.map(|set| GtidSet::parse(last.mariadb, set));
    Ok(Tail {
        digest: Digest::behind(last.mariadb, note.open),
        end: End {
            timeline,
            sha256: segment::sha256(&stored),
            gtids: gtids.transpose()?,
            last,
        },
        events,
        events_from,
        is_trusted,
    })
}

fn last_events(last: &Record, raw: &Bytes) -> Result<(VecDeque<Fingerprint>, u64)> {
    let mut found = LastEvents::default();
    let mut events = Events::of(raw, last.from)?;
    while let Some(event) = events.next_event()? {
        found.take(&event);
    }
    Ok(found.expected(last.log_pos_to))
}

async fn whole(
    objects: &Objects,
    id: TimelineId,
    file: &LogFile,
    from: u64,
) -> Result<(Record, Bytes, String)> {
    let stored = objects.segment(id, file, from).await?;
    let (record, raw) = segment::decode(&stored.key, &stored.object)?;
    is_at(&stored.key, &record, id, file, from)?;
    Ok((record, raw.into(), stored.sha256))
}

fn checksum_of(contents: &Contents) -> Checksum {
    match contents.checksum {
        true => Checksum::Crc32,
        false => Checksum::Off,
    }
}

/// What had been executed before a file, by the event at its head; `None` if there is none.
async fn gtids_before(
    objects: &Objects,
    id: TimelineId,
    file: &LogFile,
) -> Result<Option<GtidSet>> {
    let (first, raw, _) = whole(objects, id, file, 0).await?;
    let mut events = Events::of(&raw, 0)?;
    while let Some(event) = events.next_event()? {
        if let Some(previous) = Digest::previous(&event, checksum_of(&first.contents))? {
            return Ok(Some(previous));
        }
    }
    Ok(None)
}

/// All transactions up to the last segment of a file, where its record has no room for them.
async fn gtids_at_end(objects: &Objects, id: TimelineId, last: &Record) -> Result<Option<GtidSet>> {
    let Some(mut set) = gtids_before(objects, id, &last.file).await? else {
        return Ok(None);
    };
    for record in records_of(objects, id, &last.file).await? {
        set.extend(&GtidSet::parse(record.mariadb, &record.contents.gtids)?);
    }
    Ok(Some(set))
}

/// The newest file of a timeline that begins within a set of transactions: from there on stands what a server lacks that
/// has executed the set.
///
/// # Errors
/// `Refused`: the timeline begins behind the set, so that transactions between them are missing.
pub async fn file_behind(objects: &Objects, id: TimelineId, executed: &GtidSet) -> Result<LogFile> {
    let found = objects.timelines.get(&id);
    let files = found.into_iter().flat_map(|found| found.files.iter());
    let files: Vec<(&LogFile, &FileObjects)> = files.collect();
    for pair in files.windows(2).rev() {
        let ((before, listed), (next, _)) = (pair[0], pair[1]);
        let Some(last) = listed.segments.keys().next_back() else {
            continue;
        };
        let record = objects.record(id, before, *last).await?;
        let set = match &record.gtid_set {
            Some(set) => Some(GtidSet::parse(record.mariadb, set)?),
            None => gtids_at_end(objects, id, &record).await?,
        };
        if set.is_some_and(|set| executed.covers(&set)) {
            return Ok(next.clone());
        }
    }
    let timeline = objects.timeline(id).await?;
    let first = files.first().map_or(&timeline.file, |(first, _)| *first);
    let start = match *first != timeline.file {
        // Files before it were deleted.
        true => gtids_before(objects, id, first).await?,
        false => {
            let set = timeline.gtid_set.as_deref();
            Some(GtidSet::parse(timeline.mariadb, set.unwrap_or_default())?)
        }
    };
    let start = start.ok_or_else(|| {
        Error::refused(format!(
            "timeline {id} of {} does not say what was executed before it begins",
            objects.target
        ))
    })?;
    let missing = start.minus(executed);
    match missing.is_empty() {
        true => Ok(first.clone()),
        false => Err(Error::refused(format!(
            "timeline {id} of {} begins behind these transactions: {missing}",
            objects.target
        ))
        .hint("choose a newer backup, one whose GTIDs the timeline covers; see drctl log")),
    }
}

/// The records of a file's segments, in order: from `closed.json`, or from each segment.
pub async fn records_of(objects: &Objects, id: TimelineId, file: &LogFile) -> Result<Vec<Record>> {
    let found = objects
        .timelines
        .get(&id)
        .and_then(|timeline| timeline.files.get(file));
    let Some(found) = found else {
        return Ok(Vec::new());
    };
    // Of encrypted segments it lists no statements.
    if found.closed && found.encrypted.is_empty() {
        return Ok(objects.closed(id, file).await?.segments);
    }
    let reads = found
        .segments
        .keys()
        .map(|from| objects.record(id, file, *from));
    futures_util::stream::iter(reads)
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await
}

/// An event of the archived log.
#[derive(Debug, Clone)]
pub struct LogEvent {
    /// The server's file.
    pub file: LogFile,
    /// Where it begins in the archived file.
    pub offset: u64,
    /// Position of its end in the server's file.
    pub log_pos: u64,
    /// Its header.
    pub header: Header,
    /// All of its bytes.
    pub bytes: Bytes,
    /// Whether it ends with a checksum.
    pub checksum: Checksum,
    /// The transaction that it belongs to; `None` between transactions.
    pub transaction: Option<Begin>,
    /// Whether it ends that transaction.
    pub ends: bool,
}

/// Reads the events of one timeline, in order.
#[derive(Debug)]
pub struct Reader<'a> {
    objects: &'a Objects,
    id: TimelineId,
    left: VecDeque<(LogFile, u64)>,
    /// The segment before, and its digest.
    before: Option<(Record, String)>,
    current: Option<Current>,
    cursor: Cursor,
    digest: Digest,
    /// The signed end of a file, where signatures count.
    closed: Option<(LogFile, Closed)>,
    /// The FORMAT_DESCRIPTION of the file that is read.
    description: Bytes,
    /// The end of the last segment that ends between transactions.
    rest: Option<Checkpoint>,
}

/// The end of the last segment that was read and ends between transactions, for a reader of what follows it.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The segment, and its digest.
    before: (Record, String),
    cursor: Cursor,
    digest: Digest,
    description: Bytes,
}

impl Checkpoint {
    /// The last segment.
    pub fn last(&self) -> &Record {
        &self.before.0
    }

    /// The FORMAT_DESCRIPTION of the file; `None` where the next one begins a file.
    pub fn description(&self) -> Option<Bytes> {
        let is_open = self.last().contents.ends.is_none();
        is_open.then(|| self.description.clone())
    }
}

#[derive(Debug)]
struct Current {
    key: String,
    record: Record,
    sha256: String,
    raw: Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the beginning of a file, or of the timeline: of its first file that retention has not deleted.
    pub async fn from(
        objects: &'a Objects,
        id: TimelineId,
        file: Option<&LogFile>,
    ) -> Result<Reader<'a>> {
        let timeline = objects.timelines.get(&id).ok_or_else(|| {
            Error::nothing(format!("there is no timeline {id} of {}", objects.target))
                .hint("see drctl log")
        })?;
        let begun = objects.timeline(id).await?;
        let first = timeline.files.keys().next();
        let first = file.or(first).unwrap_or(&begun.file);
        let all = timeline.all().filter(|(name, _)| *name >= first);
        let left: VecDeque<(LogFile, u64)> = all.map(|(name, from)| (name.clone(), from)).collect();
        let place = left.front().map(|(name, from)| (name, *from));
        if place != Some((first, 0)) {
            return Err(segment::broken(
                &format!("{}/{id}/{first}", objects.target),
                "its beginning is missing",
            ));
        }
        Ok(Reader {
            objects,
            id,
            left,
            before: None,
            current: None,
            cursor: Cursor::start(begun.mariadb),
            digest: Digest::new(begun.mariadb),
            closed: None,
            description: Bytes::new(),
            rest: None,
        })
    }

    /// Behind what was read before, of the same timeline.
    pub fn behind(objects: &'a Objects, checkpoint: Checkpoint) -> Reader<'a> {
        let last = checkpoint.last();
        let (id, at) = (last.timeline, (&last.file, last.from));
        let listed = objects.timelines.get(&id);
        let all = listed.into_iter().flat_map(TimelineObjects::all);
        let left = all.filter(|place| *place > at);
        let rest = Some(checkpoint.clone());
        Reader {
            objects,
            id,
            left: left.map(|(file, from)| (file.clone(), from)).collect(),
            before: Some(checkpoint.before),
            current: None,
            cursor: checkpoint.cursor,
            digest: checkpoint.digest,
            closed: None,
            description: checkpoint.description,
            rest,
        }
    }

    /// The last place between transactions that was read.
    pub fn checkpoint(self) -> Option<Checkpoint> {
        self.rest
    }

    /// The next event; `None` at the end of the timeline.
    ///
    /// # Errors
    /// `Archive`: something is damaged, missing, doubled or out of order.
    pub async fn next(&mut self) -> Result<Option<LogEvent>> {
        loop {
            if let Some(current) = &self.current {
                if current.at < current.raw.len() {
                    return self.event().map(Some);
                }
                self.end_segment()?;
            }
            let Some((file, from)) = self.left.pop_front() else {
                return Ok(None);
            };
            self.begin_segment(file, from).await?;
        }
    }

    async fn begin_segment(&mut self, file: LogFile, from: u64) -> Result<()> {
        let StoredSegment {
            key,
            sha256,
            object,
        } = self.objects.segment(self.id, &file, from).await?;
        let (record, raw) = segment::decode(&key, &object)?;
        is_at(&key, &record, self.id, &file, from)?;
        self.check_vouched(&key, &sha256, &file, from).await?;
        if let Some((before, sha256)) = self.before.clone() {
            follows(&key, &before, &sha256, &record)?;
            if before.file != file {
                // It may have been read before its file was closed.
                let key = self.objects.key(self.id, &before.file, before.from);
                self.check_vouched(&key, &sha256, &before.file, before.from)
                    .await?;
            }
        } else if record.seq == 0 && record.prev.is_some() {
            return Err(segment::broken(
                &key,
                "it is the first of its timeline and names one before it",
            ));
        }
        let at = match from {
            0 if raw.starts_with(&MAGIC) => {
                self.cursor = Cursor::start(record.mariadb);
                MAGIC.len()
            }
            0 => return Err(segment::broken(&key, "it does not begin as binary logs do")),
            _ => 0,
        };
        self.current = Some(Current {
            key,
            record,
            sha256,
            raw: raw.into(),
            at,
        });
        Ok(())
    }

    /// Where signatures count, a segment must be the one that the signed end of its file names. The file that the server
    /// has not ended has none.
    async fn check_vouched(
        &mut self,
        key: &str,
        sha256: &str,
        file: &LogFile,
        from: u64,
    ) -> Result<()> {
        let trust = self.objects.store.keys().trust();
        if trust == Trust::Off {
            return Ok(());
        }
        let timeline = self.objects.timelines.get(&self.id);
        let is_last = timeline.and_then(|all| all.files.keys().next_back()) == Some(file);
        let is_closed = timeline
            .and_then(|all| all.files.get(file))
            .is_some_and(|file| file.closed);
        if is_last && !is_closed {
            if from == 0 {
                tracing::warn!(%file, "the server has not ended this file of the log, so that what it holds is not signed yet");
            }
            return Ok(());
        }
        if self.closed.as_ref().is_none_or(|(name, _)| name != file) {
            let closed = self.objects.closed(self.id, file).await?;
            self.closed = Some((file.clone(), closed));
        }
        let vouched = self.closed.as_ref();
        let vouched = vouched.and_then(|(_, closed)| closed.sha256_of(from));
        match (vouched == Some(sha256), trust) {
            (true, _) => Ok(()),
            (false, Trust::Require) => Err(segment::broken(
                key,
                "it is not the segment that the signed closed.json names",
            )),
            (false, _) => {
                tracing::warn!("{key}: it is not the segment that the signed closed.json names");
                Ok(())
            }
        }
    }

    fn event(&mut self) -> Result<LogEvent> {
        let Some(current) = &mut self.current else {
            return Err(Error::unexpected("there is no segment to read from"));
        };
        let rest = &current.raw[current.at..];
        let header = Header::parse(&rest[..rest.len().min(HEADER_BYTES)]);
        let size = header.map_or(usize::MAX, |header| header.size as usize);
        if size > rest.len() {
            return Err(segment::broken(&current.key, "it ends within an event"));
        }
        let bytes = current.raw.slice(current.at..current.at + size);
        let event = crate::binlog::event::Event::parse(&bytes)?;
        if event.header.kind == kind::FORMAT_DESCRIPTION {
            // A copy: a slice would keep the whole segment.
            self.description = Bytes::copy_from_slice(&bytes);
        }
        let within = |error: Error| error.context(&current.key);
        self.cursor.accept(&event).map_err(within)?;
        let checksum = self.cursor.checksum;
        let open = self.digest.open().cloned();
        let ended = self.digest.take(&event, checksum).map_err(within)?;
        let transaction = self
            .digest
            .open()
            .cloned()
            .or_else(|| open.filter(|_| ended.is_some()));
        let logged = LogEvent {
            file: current.record.file.clone(),
            offset: current.record.from + current.at as u64,
            log_pos: self.cursor.log_pos,
            header: event.header,
            checksum,
            transaction,
            ends: ended.is_some(),
            bytes: bytes.clone(),
        };
        current.at += size;
        Ok(logged)
    }

    /// Whether the record says what the events said.
    fn end_segment(&mut self) -> Result<()> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let found = self.digest.cut(self.cursor.checksum);
        let said = &current.record.contents;
        let same = (
            &found.gtids,
            found.transactions,
            found.complete,
            &found.ends,
        ) == (&said.gtids, said.transactions, said.complete, &said.ends)
            && (found.commit_first, found.commit_last) == (said.commit_first, said.commit_last)
            && self.cursor.log_pos == current.record.log_pos_to;
        if !same {
            return Err(segment::broken(
                &current.key,
                "its record does not say what its events say",
            ));
        }
        let is_complete = current.record.contents.complete;
        let before = (current.record, current.sha256);
        if is_complete {
            self.rest = Some(Checkpoint {
                before: before.clone(),
                cursor: self.cursor.clone(),
                digest: self.digest.clone(),
                description: self.description.clone(),
            });
        }
        self.before = Some(before);
        Ok(())
    }
}

/// Refuses a segment that does not follow the one before it.
pub fn follows(key: &str, before: &Record, sha256: &str, record: &Record) -> Result<()> {
    if record.seq != before.seq + 1 {
        return Err(segment::broken(
            key,
            &format!(
                "it is segment {}, and {} is missing",
                record.seq,
                before.seq + 1
            ),
        ));
    }
    if record.prev.as_deref() != Some(sha256) {
        return Err(segment::broken(
            key,
            "it follows another segment than the one before it",
        ));
    }
    let in_order = match record.file == before.file {
        true => record.from == before.to,
        false => {
            let next = match &before.contents.ends {
                Some(FileEnd::Rotate(next)) => *next == record.file,
                _ => record.file > before.file,
            };
            record.from == 0 && next
        }
    };
    match in_order {
        true => Ok(()),
        false => Err(segment::broken(
            key,
            "it does not begin where the one before it ends",
        )),
    }
}
