//! What the store holds of the log of a target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::binlog::note::Note;
use crate::binlog::record::{Closed, Head, Record, Timeline};
use crate::binlog::segment;
use crate::keys::identities;
use crate::keys::signers::Signed;
use crate::layout::{Key, LogFile, LogObject, TargetName, TimelineId};
use crate::store::{self, MOST_RECORD_BYTES, ObjectMeta, Store, StoreError};
use crate::{Error, Result};

/// Bytes at the beginning of an encrypted segment that hold its note and its record.
const ENCRYPTED_RECORD_READ: u64 = 256 << 10;

/// Most bytes of `closed.json`.
pub const MOST_CLOSED: u64 = 256 << 20;

/// Objects of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileObjects {
    /// Stored bytes of each segment, by its offset in the file.
    pub segments: BTreeMap<u64, u64>,
    /// The segments that are encrypted.
    pub encrypted: BTreeSet<u64>,
    /// Whether the server has ended the file.
    pub closed: bool,
    /// Whether its end is signed.
    pub signed: bool,
}

impl FileObjects {
    /// Whether its first segment is there.
    pub fn is_whole(&self) -> bool {
        self.segments.contains_key(&0)
    }

    /// Stored bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.values().sum()
    }

    /// The segment with this offset.
    pub fn segment(&self, id: TimelineId, file: &LogFile, from: u64) -> LogObject {
        match self.encrypted.contains(&from) {
            true => LogObject::EncryptedSegment(id, file.clone(), from),
            false => LogObject::Segment(id, file.clone(), from),
        }
    }
}

/// A segment, as fetched.
#[derive(Debug)]
pub struct StoredSegment {
    /// Its key.
    pub key: Key,
    /// SHA-256 of it as stored.
    pub sha256: String,
    /// The segment, decrypted.
    pub object: Bytes,
}

/// Objects of one timeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimelineObjects {
    /// Its files, in order.
    pub files: BTreeMap<LogFile, FileObjects>,
    /// Whether there is a `timeline.json`.
    pub begun: bool,
    /// Whether that is signed.
    pub signed: bool,
}

impl TimelineObjects {
    /// Stored bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(FileObjects::bytes).sum()
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.files.values().map(|file| file.segments.len()).sum()
    }

    /// All segments, in order.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (&LogFile, u64)> {
        let files = self.files.iter();
        files.flat_map(|(name, file)| file.segments.keys().map(move |from| (name, *from)))
    }
}

/// The objects of the log of one target.
///
/// Retention deletes whole files from the beginning of a timeline, the first segment of each first. So a file at the
/// beginning without its first segment is being deleted, and the timeline begins behind it.
#[derive(Debug, Clone)]
pub struct Objects {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The target.
    pub target: TargetName,
    /// Timelines that have a whole file, oldest first.
    pub timelines: BTreeMap<TimelineId, TimelineObjects>,
    /// Whether there is a `RESTORE.txt`.
    pub has_readme: bool,
    /// Timelines that were begun and have none; nothing is lost with them.
    pub empty: BTreeSet<TimelineId>,
    /// Files that are being deleted, oldest first.
    pub partly_deleted: Vec<(TimelineId, LogFile, FileObjects)>,
}

impl Objects {
    /// Lists the objects.
    pub async fn list(store: Arc<dyn Store>, target: TargetName) -> Result<Objects> {
        let mut objects = Objects::none(store, target);
        for meta in objects.store.list(&objects.target.log()).await? {
            objects.add(&meta);
        }
        objects.leave_out_deleted();
        Ok(objects)
    }

    /// Lists the timelines, the names of their files, and the first and last segments of each: costs nothing more for
    /// the segments between them.
    pub async fn outline(store: Arc<dyn Store>, target: TargetName) -> Result<Objects> {
        let mut objects = Objects::none(store, target);
        let ids = objects.store.folders(&objects.target.log()).await?;
        let ids: Vec<TimelineId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        if ids.is_empty() {
            return Ok(objects);
        }
        let head = objects.head().await?;
        for id in ids {
            let files = objects.store.folders(&objects.target.timeline(id)).await?;
            let names: BTreeSet<LogFile> =
                files.iter().filter_map(|file| file.parse().ok()).collect();
            let files = names
                .iter()
                .cloned()
                .map(|file| (file, FileObjects::default()));
            let timeline = TimelineObjects {
                files: files.collect(),
                begun: true,
                signed: false,
            };
            objects.timelines.insert(id, timeline);
            let Some(last) = names.last() else { continue };
            let head = head
                .as_ref()
                .filter(|head| (head.timeline, &head.file) == (id, last));
            let tail = head.and_then(|head| head.segment);
            objects.add_tail(id, last, tail).await?;
            for file in &names {
                if objects.add_first(id, file).await? {
                    break;
                }
                objects.add_file(id, file).await?;
            }
        }
        objects.leave_out_deleted();
        Ok(objects)
    }

    /// Lists what follows a segment of a timeline: of its file, and the files behind it. Costs nothing more for what is
    /// in front of it. The segment itself is listed, too.
    pub async fn behind(
        store: Arc<dyn Store>,
        target: TargetName,
        id: TimelineId,
        file: &LogFile,
        from: u64,
    ) -> Result<Objects> {
        let mut objects = Objects::none(store, target);
        let names = objects.store.folders(&objects.target.timeline(id)).await?;
        let names = names.iter().filter_map(|name| name.parse().ok());
        let later: BTreeSet<LogFile> = names.filter(|name| name > file).collect();
        // In the order of the files: what is added to an earlier one meanwhile is in the next listing.
        objects.add_tail(id, file, Some(from)).await?;
        for file in &later {
            objects.add_file(id, file).await?;
        }
        Ok(objects)
    }

    /// The last segment of a timeline.
    pub fn last_segment(&self, id: TimelineId) -> Option<(LogFile, u64)> {
        let (file, from) = self.timelines.get(&id)?.all().next_back()?;
        Some((file.clone(), from))
    }

    /// Lists a file from a segment on, which is known to be near its end.
    async fn add_tail(&mut self, id: TimelineId, file: &LogFile, from: Option<u64>) -> Result<()> {
        if let Some(before) = from.and_then(|from| from.checked_sub(1)) {
            let before = LogObject::Segment(id, file.clone(), before);
            let (prefix, after) = (
                self.target.log_file(id, file),
                self.target.log_object(&before),
            );
            for meta in self.store.list_after(&prefix, &after).await? {
                self.add(&meta);
            }
            let timeline = self.timelines.get(&id);
            let listed = timeline.and_then(|timeline| timeline.files.get(file));
            if listed.is_some_and(|listed| !listed.segments.is_empty()) {
                return Ok(());
            }
        }
        self.add_file(id, file).await
    }

    /// Asks for the first segment of a file; whether it is there.
    async fn add_first(&mut self, id: TimelineId, file: &LogFile) -> Result<bool> {
        let first = first_segment(&self.store, &self.target, id, file).await?;
        if let Some((_, meta)) = &first {
            self.add(meta);
        }
        Ok(first.is_some())
    }

    /// Lists one file.
    pub async fn add_file(&mut self, id: TimelineId, file: &LogFile) -> Result<()> {
        let prefix = self.target.log_file(id, file);
        for meta in self.store.list(&prefix).await? {
            self.add(&meta);
        }
        Ok(())
    }

    /// Of a log of which nothing is listed.
    pub fn none(store: Arc<dyn Store>, target: TargetName) -> Objects {
        Objects {
            timelines: BTreeMap::new(),
            has_readme: false,
            empty: BTreeSet::new(),
            partly_deleted: Vec::new(),
            store,
            target,
        }
    }

    /// Adds an object that was listed; those that are not of the log are left out.
    pub fn add(&mut self, meta: &ObjectMeta) {
        match self.target.parse_log(&meta.key) {
            Some(LogObject::Timeline(id)) => {
                self.timelines.entry(id).or_default().begun = true;
            }
            Some(LogObject::Segment(id, file, from)) => {
                let timeline = self.timelines.entry(id).or_default();
                let file = timeline.files.entry(file).or_default();
                file.segments.insert(from, meta.size);
            }
            Some(LogObject::EncryptedSegment(id, file, from)) => {
                let timeline = self.timelines.entry(id).or_default();
                let file = timeline.files.entry(file).or_default();
                file.segments.insert(from, meta.size);
                file.encrypted.insert(from);
            }
            Some(LogObject::Closed(id, file)) => {
                let timeline = self.timelines.entry(id).or_default();
                timeline.files.entry(file).or_default().closed = true;
            }
            Some(LogObject::Signature(of)) => match *of {
                LogObject::Timeline(id) => self.timelines.entry(id).or_default().signed = true,
                LogObject::Closed(id, file) => {
                    let timeline = self.timelines.entry(id).or_default();
                    timeline.files.entry(file).or_default().signed = true;
                }
                _ => {}
            },
            Some(LogObject::Readme) => self.has_readme = true,
            Some(LogObject::Head) | None => {}
        }
    }

    /// Moves what is being deleted out of the timelines. In the newest one, which is never deleted whole, a beginning
    /// that is missing everywhere is damage.
    fn leave_out_deleted(&mut self) {
        let newest = self.timelines.iter().rev();
        let newest = newest.filter(|(_, timeline)| timeline.segments() > 0);
        let newest = newest.map(|(id, _)| *id).next();
        for (id, timeline) in &mut self.timelines {
            let is_whole = |(_, file): (&LogFile, &FileObjects)| file.is_whole();
            if newest == Some(*id) && !timeline.files.iter().any(is_whole) {
                continue;
            }
            while let Some(first) = timeline.files.first_entry()
                && !first.get().is_whole()
            {
                let (name, file) = first.remove_entry();
                self.partly_deleted.push((*id, name, file));
            }
        }
        let (rest, empty) = std::mem::take(&mut self.timelines)
            .into_iter()
            .partition(|(_, timeline)| !timeline.files.is_empty());
        self.timelines = rest;
        self.empty.extend(empty.into_keys());
    }

    /// The heartbeat; `None` before the first.
    pub async fn head(&self) -> Result<Option<Head>> {
        head(&self.store, &self.target).await
    }

    /// Why and where a timeline began.
    pub async fn timeline(&self, id: TimelineId) -> Result<Timeline> {
        timeline(&self.store, &self.target, id).await
    }

    /// The end of a file.
    pub async fn closed(&self, id: TimelineId, file: &LogFile) -> Result<Closed> {
        let object = LogObject::Closed(id, file.clone());
        let key = self.target.log_object(&object);
        let made_at = |closed: &Closed| closed.closed_at.unwrap_or(id.began());
        let read = signed(&self.store, &self.target, &object, MOST_CLOSED, made_at).await?;
        let (closed, signed): (Closed, Signed) = read;
        signed.admit(&key)?;
        let is_here = closed.file == *file
            && closed.timeline.is_none_or(|timeline| timeline == id)
            && closed
                .target
                .as_ref()
                .is_none_or(|target| *target == self.target);
        match is_here {
            true => Ok(closed),
            false => Err(segment::broken(&key, "it is the end of another file")),
        }
    }

    /// Why and where a timeline began, for a streamer that goes on in it: the server shows whether it is the same log. And
    /// whether its record is signed as a new one would be.
    pub async fn timeline_for_streamer(&self, id: TimelineId) -> Result<(Timeline, bool)> {
        let (timeline, signed) = read_timeline(&self.store, &self.target, id).await?;
        let keys = self.store.keys();
        let is_signed = self.timelines.get(&id).is_some_and(|listed| listed.signed);
        let is_trusted = match signed {
            Signed::Unverified => is_signed || keys.signing()?.is_none(),
            Signed::By(_) => true,
            Signed::Warned(_) | Signed::Refused(_) => keys.signing()?.is_none(),
        };
        Ok((timeline, is_trusted))
    }

    /// Fails if statements are asked for that are encrypted, and there is no identity to read them.
    pub fn check_readable(&self) -> Result<()> {
        let files = self
            .timelines
            .values()
            .flat_map(|timeline| timeline.files.values());
        let encrypted = files.map(|file| file.encrypted.len()).sum::<usize>() > 0;
        if encrypted {
            self.store.keys().identities()?;
        }
        Ok(())
    }

    /// The segment with this offset.
    fn named(&self, id: TimelineId, file: &LogFile, from: u64) -> (LogObject, Option<u64>) {
        let listed = self.timelines.get(&id);
        match listed.and_then(|timeline| timeline.files.get(file)) {
            Some(listed) => (
                listed.segment(id, file, from),
                listed.segments.get(&from).copied(),
            ),
            None => (LogObject::Segment(id, file.clone(), from), None),
        }
    }

    /// The key of a segment.
    pub fn key(&self, id: TimelineId, file: &LogFile, from: u64) -> Key {
        self.target.log_object(&self.named(id, file, from).0)
    }

    /// A whole segment as stored, and its key.
    pub async fn stored(&self, id: TimelineId, file: &LogFile, from: u64) -> Result<(Key, Bytes)> {
        let key = self.key(id, file, from);
        let bytes = self.store.get_at_most(&key, segment::MOST_RAW).await;
        let bytes = bytes.map_err(|error| missing(&key, error))?;
        Ok((key, bytes))
    }

    /// A whole segment, decrypted.
    pub async fn segment(
        &self,
        id: TimelineId,
        file: &LogFile,
        from: u64,
    ) -> Result<StoredSegment> {
        let (key, stored) = self.stored(id, file, from).await?;
        let sha256 = segment::sha256(&stored);
        let object = match self.named(id, file, from).0 {
            LogObject::EncryptedSegment(..) => {
                let identities = self.store.keys().identities()?;
                identities.decrypt_all(&key, &stored)?.into()
            }
            _ => stored,
        };
        Ok(StoredSegment {
            key,
            sha256,
            object,
        })
    }

    /// The record of a segment alone.
    pub async fn record(&self, id: TimelineId, file: &LogFile, from: u64) -> Result<Record> {
        let (object, size) = self.named(id, file, from);
        let size = size.unwrap_or(segment::RECORD_READ);
        record(&self.store, &self.target, &object, size).await
    }
}

fn parsed<T: DeserializeOwned>(key: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|e| segment::broken(key, "it cannot be read").because(e))
}

/// A document, and who signed it. `at` is when it was made, by its own word.
async fn signed<T: DeserializeOwned>(
    store: &Arc<dyn Store>,
    target: &TargetName,
    object: &LogObject,
    most: u64,
    at: impl Fn(&T) -> Timestamp,
) -> Result<(T, Signed)> {
    let key = target.log_object(object);
    let bytes = store.get_at_most(&key, most).await;
    let bytes = bytes.map_err(|error| missing(&key, error))?;
    let document = parsed(&key, &bytes)?;
    let signature = target.log_object(&object.signature());
    let signed = store::verify(store, &bytes, &signature, at(&document)).await?;
    Ok((document, signed))
}

/// The record of a timeline, and who signed it.
async fn read_timeline(
    store: &Arc<dyn Store>,
    target: &TargetName,
    id: TimelineId,
) -> Result<(Timeline, Signed)> {
    let object = LogObject::Timeline(id);
    let began = |_: &Timeline| id.began();
    let read = signed(store, target, &object, MOST_RECORD_BYTES, began).await?;
    let (timeline, signed): (Timeline, Signed) = read;
    let of_another = timeline.target.as_ref().filter(|other| *other != target);
    match of_another {
        None if timeline.id == id => Ok((timeline, signed)),
        None => Err(Error::archive(format!(
            "timeline {id} of {target} calls itself {}",
            timeline.id
        ))),
        Some(other) => Err(Error::archive(format!(
            "timeline {id} of {target} is one of {other}: it was moved or copied"
        ))),
    }
}

/// Why and where a timeline began, without a LIST.
pub async fn timeline(
    store: &Arc<dyn Store>,
    target: &TargetName,
    id: TimelineId,
) -> Result<Timeline> {
    let (timeline, signed) = read_timeline(store, target, id).await?;
    signed.admit(&target.log_object(&LogObject::Timeline(id)))?;
    Ok(timeline)
}

/// The heartbeat, without a LIST; `None` if nothing is archived.
pub async fn head(store: &Arc<dyn Store>, target: &TargetName) -> Result<Option<Head>> {
    let key = target.log_object(&LogObject::Head);
    match store.get_at_most(&key, MOST_RECORD_BYTES).await {
        Ok(bytes) => parsed(&key, &bytes).map(Some),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The first segment of a file, without a LIST; `None` if it is not archived, or no longer.
pub async fn first_segment(
    store: &Arc<dyn Store>,
    target: &TargetName,
    id: TimelineId,
    file: &LogFile,
) -> Result<Option<(LogObject, ObjectMeta)>> {
    let plain = LogObject::Segment(id, file.clone(), 0);
    let encrypted = LogObject::EncryptedSegment(id, file.clone(), 0);
    let mut names = [plain, encrypted];
    if store.keys().encrypts() || store.keys().has_identities() {
        names.reverse();
    }
    for object in names {
        match store.head(&target.log_object(&object)).await {
            Ok(meta) => return Ok(Some((object, meta))),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// The record of a segment of `size` stored bytes, without a LIST. That of an encrypted one lists statements and tables only
/// for who can decrypt it.
pub async fn record(
    store: &Arc<dyn Store>,
    target: &TargetName,
    object: &LogObject,
    size: u64,
) -> Result<Record> {
    let (key, front) = front(store, target, object, size).await?;
    match object {
        LogObject::EncryptedSegment(id, file, from) if store.keys().has_identities() => {
            let identities = store.keys().identities()?;
            let front = identities.decrypt_front(&key, &front, segment::RECORD_READ)?;
            let (record, _) = segment::record(&key, &front)?;
            is_at(&key, &record, *id, file, *from)?;
            Ok(record)
        }
        _ => record_in_clear(object, &key, &front),
    }
}

/// The key of a segment of `size` stored bytes, and the bytes at its beginning that hold its record.
pub async fn front(
    store: &Arc<dyn Store>,
    target: &TargetName,
    object: &LogObject,
    size: u64,
) -> Result<(Key, Bytes)> {
    let key = target.log_object(object);
    let front = store
        .get(&key, Some(0..size.min(front_bytes(object))))
        .await;
    let front = front.map_err(|error| missing(&key, error))?;
    Ok((key, front))
}

/// Maximum number of bytes at the beginning of a segment that hold its record.
pub fn front_bytes(object: &LogObject) -> u64 {
    match object {
        LogObject::EncryptedSegment(..) => ENCRYPTED_RECORD_READ,
        _ => segment::RECORD_READ,
    }
}

/// The record of a segment, by the bytes at its beginning and without an identity: that of an encrypted one lists neither
/// statements nor tables.
///
/// # Errors
/// `Archive`: there is none, or it is that of another segment.
pub fn record_in_clear(object: &LogObject, key: &str, front: &[u8]) -> Result<Record> {
    let (record, id, file, from) = match object {
        LogObject::Segment(id, file, from) => (segment::record(key, front)?.0, id, file, from),
        LogObject::EncryptedSegment(id, file, from) => (note(key, front)?.record, id, file, from),
        _ => return Err(Error::unexpected(format!("{key} has no record"))),
    };
    is_at(key, &record, *id, file, *from)?;
    Ok(record)
}

/// The note in the header of an encrypted segment.
pub fn note(key: &str, stored: &[u8]) -> Result<Note> {
    let note = identities::note(stored)
        .ok_or_else(|| segment::broken(key, "it has no header that can be read"))?;
    parsed(key, &note)
}

/// Refuses a segment that is not the one that its key names.
pub fn is_at(key: &str, record: &Record, id: TimelineId, file: &LogFile, from: u64) -> Result<()> {
    let same = record.timeline == id && record.file == *file && record.from == from;
    match same {
        true => Ok(()),
        false => Err(Error::archive(format!(
            "{key} holds another segment: {}/{} from {}",
            record.timeline, record.file, record.from
        ))
        .hint("find out who renamed objects in the store, and put them back")),
    }
}

/// An object of the log that is not there is damage, not an empty answer.
fn missing(key: &str, error: StoreError) -> Error {
    match error {
        StoreError::NotFound { .. } => Error::archive(format!("{key} is missing"))
            .hint("find out who deleted it; the log before and behind it can still be used"),
        error => error.into(),
    }
}
