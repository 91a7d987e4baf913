//! One timeline of the log: `timeline.json`, the segments of each file in their order, and its `closed.json`.
//!
//! Nothing is decrypted: what the chain needs of an encrypted segment is in its header. A segment is written only if it
//! is the one of its place, follows the one before it in the second store, and the one behind it in the primary store
//! follows it.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use crate::binlog::record::{Closed, Record, Timeline};
use crate::binlog::segment;
use crate::copy::Tally;
use crate::copy::ends::{Ends, damaged, differs, is_of_one_object, of_primary, of_second, trusted};
use crate::copy::inspect::{Inspection, Seen};
use crate::copy::object;
use crate::layout::{Key, LogFile, LogObject, TimelineId};
use crate::store::{MOST_RECORD_BYTES, StoreError};
use crate::stream::objects::{self, FileObjects, MOST_CLOSED, TimelineObjects, record_in_clear};
use crate::stream::read::follows;
use crate::{Error, Result};

/// Segments that are read ahead, and the stored bytes from which on one is streamed instead.
const READS_AHEAD: usize = 4;
pub(super) const LARGE_BYTES: u64 = 16 << 20;

/// A segment of the second store: what the next one has to follow.
#[derive(Debug, Clone)]
pub(super) struct Last {
    pub(super) key: Key,
    /// Of an encrypted one, without statements and tables.
    pub(super) record: Record,
    pub(super) sha256: String,
}

/// A segment of the primary store.
#[derive(Debug, Clone)]
struct Found {
    object: LogObject,
    key: Key,
    file: LogFile,
    /// Stored bytes.
    bytes: u64,
    /// Whether the second store has it.
    is_there: bool,
    /// If the server has ended the file, and the second store lacks its record: where the listed segments of the file
    /// begin. Of its last segment alone.
    ends: Option<Vec<u64>>,
}

/// A segment, and what was read ahead of it.
type Fetched = (Found, Option<(Bytes, Seen)>);

/// A segment, and its stored bytes.
type Sized = (LogObject, u64);

/// One timeline.
pub(super) struct TimelineCopy<'a> {
    pub(super) ends: &'a Ends,
    pub(super) id: TimelineId,
    /// What the second store lists of it.
    pub(super) there: Option<&'a TimelineObjects>,
    /// The last segment of the second store before the next step; `None` if it was not read, or there is none.
    pub(super) last: Option<Last>,
    pub(super) tally: &'a mut Tally,
}

impl TimelineCopy<'_> {
    /// Copies what the second store lacks of it.
    pub(super) async fn copy(&mut self, source: &TimelineObjects) -> Result<()> {
        let Some(first) = source.files.keys().next() else {
            return Ok(());
        };
        let found = self.found(source)?;
        let has_record = |there: &TimelineObjects| there.begun && (there.signed || !source.signed);
        if !self.there.is_some_and(has_record) && self.last.is_none() {
            self.copy_timeline().await?;
        }
        // The last segment of the second store in front of the next one.
        let mut before = self.last_there_before(first);
        if let Some((file, ended)) = source.files.first_key_value()
            && ended.segments.is_empty()
            && ended.closed
        {
            // The file that was reached was ended, and nothing more came.
            self.copy_closed(file, &[]).await?;
        }
        let ends = self.ends;
        let fetched = stream::iter(found)
            .map(|found| fetch(ends, found))
            .buffered(READS_AHEAD)
            .peekable();
        let mut fetched = std::pin::pin!(fetched);
        loop {
            let next = async { Ok(fetched.next().await) };
            let Some(next) = ends.cancel.unless(next).await? else {
                break;
            };
            let (found, read) = next?;
            let here = (found.object.clone(), found.bytes);
            match found.is_there {
                true => self.last = None,
                false => {
                    self.read_last(before.as_ref()).await?;
                    let behind = async { Ok(fetched.as_mut().peek().await) };
                    let behind = ends.cancel.unless(behind).await?;
                    let behind = match behind {
                        Some(Ok(behind)) => self.record_behind(behind).await?,
                        _ => None,
                    };
                    self.copy_segment(&found, read, behind, first).await?;
                    self.tally.segments += 1;
                    self.tally.bytes += found.bytes;
                }
            }
            before = Some(here);
            if let Some(listed) = &found.ends {
                self.read_last(before.as_ref()).await?;
                self.copy_closed(&found.file, listed).await?;
            }
        }
        self.read_last(before.as_ref()).await
    }

    /// The segments of the primary store, in order.
    fn found(&self, source: &TimelineObjects) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        for (file, found) in &source.files {
            let there = self.there.and_then(|there| there.files.get(file));
            for (&from, &bytes) in &found.segments {
                let object = found.segment(self.id, file, from);
                let key = self.ends.target.log_object(&object);
                let size = there.and_then(|there| there.segments.get(&from));
                let is_same = |there: &FileObjects| there.segment(self.id, file, from) == object;
                if size.is_some_and(|size| *size != bytes)
                    || (size.is_some() && !there.is_some_and(is_same))
                {
                    return Err(differs(&key));
                }
                all.push(Found {
                    object,
                    key,
                    file: file.clone(),
                    bytes,
                    is_there: size.is_some(),
                    ends: None,
                });
            }
            let has_closed = there.is_some_and(|there| there.closed);
            let has_signature = there.is_some_and(|there| there.signed);
            if found.closed
                && !(has_closed && (has_signature || !found.signed))
                && let Some(last) = all.last_mut().filter(|last| last.file == *file)
            {
                last.ends = Some(found.segments.keys().copied().collect());
            }
        }
        Ok(all)
    }

    /// Reads the last segment of the second store, unless it is known.
    async fn read_last(&mut self, before: Option<&Sized>) -> Result<()> {
        if self.last.is_none()
            && let Some(before) = before
        {
            self.last = Some(self.read_there(before).await?);
        }
        Ok(())
    }

    /// The record of the segment behind the one that is to be copied; `None` if it is not one of its place: then it is
    /// that segment which is wrong.
    async fn record_behind(&self, (found, read): &Fetched) -> Result<Option<(Key, Record)>> {
        let Found { object, key, .. } = found;
        let record = match read {
            Some((_, seen)) => record_in_clear(object, key, &seen.front),
            None => {
                let ends = self.ends;
                let read = objects::front(&ends.primary, &ends.target, object, found.bytes);
                let front = ends.cancel.unless(async { Ok(read.await) }).await?;
                front.and_then(|(_, front)| record_in_clear(object, key, &front))
            }
        };
        match record {
            Ok(record) => Ok(Some((key.clone(), record))),
            Err(error) if is_of_one_object(&error) => Ok(None),
            Err(error) => Err(of_primary(error)),
        }
    }

    /// The last segment of the second store in front of a file.
    fn last_there_before(&self, file: &LogFile) -> Option<Sized> {
        let files = &self.there?.files;
        let mut before = files.range(..file.clone()).rev();
        before.find_map(|(file, found)| {
            let (from, bytes) = found.segments.last_key_value()?;
            Some((found.segment(self.id, file, *from), *bytes))
        })
    }

    /// Reads record and digest of a segment of the second store.
    async fn read_there(&self, (object, bytes): &Sized) -> Result<Last> {
        let ends = self.ends;
        let front = async {
            let read = objects::front(&ends.second, &ends.target, object, *bytes);
            read.await.map_err(of_second)
        };
        let (key, front) = ends.cancel.unless(front).await?;
        let record = record_in_clear(object, &key, &front).map_err(of_second)?;
        let digest = object::digest(ends, &ends.second, &key, *bytes).await?;
        Ok(Last {
            key,
            record,
            sha256: digest.to_string(),
        })
    }

    async fn copy_timeline(&mut self) -> Result<()> {
        let object = LogObject::Timeline(self.id);
        let key = self.ends.target.log_object(&object);
        let Some(bytes) = self.read(&key, MOST_RECORD_BYTES).await? else {
            return Err(damaged(&key, "is missing"));
        };
        let timeline: Timeline =
            serde_json::from_slice(&bytes).map_err(|_| damaged(&key, "cannot be read"))?;
        if timeline.id != self.id {
            return Err(damaged(
                &key,
                &format!("is that of timeline {}", timeline.id),
            ));
        }
        self.put_signed(&object, &key, bytes, self.id.began()).await
    }

    /// A record of the primary store; `None` if it has none.
    async fn read(&self, key: &str, most: u64) -> Result<Option<Bytes>> {
        let ends = self.ends;
        let read = async { Ok(ends.primary.get_at_most(key, most).await) };
        match ends.cancel.unless(read).await? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(StoreError::TooLong { .. }) => Err(damaged(key, "is longer than it can be")),
            Err(error) => Err(of_primary(error)),
        }
    }

    /// Creates a record in the second store, which was made at the time `at`, behind its signature, if that may be copied.
    async fn put_signed(
        &self,
        object: &LogObject,
        key: &str,
        record: Bytes,
        at: Timestamp,
    ) -> Result<()> {
        let ends = self.ends;
        let of_signature = ends.target.log_object(&object.signature());
        let signature = self.read(&of_signature, MOST_RECORD_BYTES).await?;
        trusted(ends, key, &record, signature.as_ref(), at)?;
        if let Some(signature) = signature {
            object::put(ends, &of_signature, signature).await?;
        }
        object::put(ends, key, record).await.map(drop)
    }

    /// Copies a segment that follows the last one, and that the one behind it follows.
    async fn copy_segment(
        &mut self,
        found: &Found,
        read: Option<(Bytes, Seen)>,
        behind: Option<(Key, Record)>,
        first: &LogFile,
    ) -> Result<()> {
        let key = &found.key;
        let judge = |seen: &Seen| {
            let last = self.judge(found, seen)?;
            match &behind {
                Some((next, behind))
                    if behind.seq == last.record.seq + 1
                        && behind.prev.as_ref() != Some(&last.sha256) =>
                {
                    Err(damaged(
                        key,
                        &format!("is not the segment that {next} follows"),
                    ))
                }
                _ => Ok(last),
            }
        };
        let last = match read {
            Some((body, seen)) => {
                let last = self.explained(judge(&seen), key, first).await?;
                object::put(self.ends, key, body).await?;
                last
            }
            None => {
                let inspection = Inspection::segment(&found.object);
                let copied = object::transfer(self.ends, key, found.bytes, inspection, judge).await;
                self.explained(copied, key, first).await?
            }
        };
        self.last = Some(last);
        Ok(())
    }

    /// Whether the bytes are those of this segment, and follow the last one. What is encrypted has no digest but the one by
    /// which the next segment names it.
    fn judge(&self, found: &Found, seen: &Seen) -> Result<Last> {
        let (object, key) = (&found.object, &found.key);
        let record = record_in_clear(object, key, &seen.front).map_err(of_primary)?;
        let raw = record.to.saturating_sub(record.from);
        match seen.raw {
            _ if matches!(object, LogObject::EncryptedSegment(..)) => {}
            Some((bytes, xxh3)) if bytes == raw && segment::hex128(xxh3) == record.xxh3 => {}
            Some(_) => return Err(damaged(key, "does not fit its record")),
            None => return Err(damaged(key, "cannot be decompressed")),
        }
        match &self.last {
            Some(last) => follows(key, &last.record, &last.sha256, &record).map_err(of_primary)?,
            None if record.seq == 0 && record.prev.is_some() => {
                return Err(damaged(
                    key,
                    "is the first of its timeline and names one before it",
                ));
            }
            None if record.from != 0 => return Err(damaged(key, "does not begin its file")),
            None => {}
        }
        Ok(Last {
            key: key.clone(),
            record,
            sha256: seen.sha256.to_string(),
        })
    }

    /// If a segment does not follow the last one: whether the primary store no longer has what is between them, or the
    /// second has another one.
    async fn explained(&self, judged: Result<Last>, key: &str, first: &LogFile) -> Result<Last> {
        let (error, last) = match (judged, &self.last) {
            (Err(error), Some(last)) if is_of_one_object(&error) => (error, last),
            (judged, _) => return judged,
        };
        let file = &last.record.file;
        if file < first {
            return Err(Error::refused(format!(
                "second store: the log of timeline {} ends in {}, and the primary store no longer has what follows",
                self.id, file
            ))
            .hint(format!(
                "restores to a moment from the second store end there; delete {} of the second store to copy what is \
                 left, and run copy more often than retention.log_days",
                self.ends.target.timeline(self.id)
            )));
        }
        let ours = async {
            let ours = self.ends.primary.get_at_most(&last.key, segment::MOST_RAW);
            Ok(ours.await)
        };
        match self.ends.cancel.unless(ours).await? {
            Ok(ours) if last.key != key && segment::sha256(&ours) != last.sha256 => {
                Err(differs(&last.key))
            }
            _ => Err(error),
        }
    }

    /// Copies the record of a file that the server has ended, if it fits the segments.
    async fn copy_closed(&self, file: &LogFile, listed: &[u64]) -> Result<()> {
        let object = LogObject::Closed(self.id, file.clone());
        let key = self.ends.target.log_object(&object);
        // Retention deletes it first.
        let Some(bytes) = self.read(&key, MOST_CLOSED).await? else {
            return Ok(());
        };
        let closed: Closed =
            serde_json::from_slice(&bytes).map_err(|_| damaged(&key, "cannot be read"))?;
        let of_target = closed.target.as_ref();
        let is_here = closed.timeline.is_none_or(|id| id == self.id)
            && of_target.is_none_or(|target| *target == self.ends.target);
        let at = closed.closed_at.unwrap_or(self.id.began());
        match is_here && fits(&closed, file, listed, self.last.as_ref()) {
            true => self.put_signed(&object, &key, bytes, at).await,
            false => Err(damaged(&key, "does not fit the segments of its file")),
        }
    }
}

/// Whether the record of a file names all of its segments, without a hole, and ends with the last one; and whether it has
/// the digests by which each names the one before it, and that of the last one. Older versions noted no digests.
fn fits(closed: &Closed, file: &LogFile, listed: &[u64], last: Option<&Last>) -> bool {
    let records = &closed.segments;
    let froms: Vec<u64> = records.iter().map(|record| record.from).collect();
    let without_hole = records
        .windows(2)
        .all(|pair| pair[0].to == pair[1].from && pair[0].seq.checked_add(1) == Some(pair[1].seq));
    let (Some(first), Some(end), Some(last)) = (froms.first(), records.last(), last) else {
        return false;
    };
    let noted = closed.sha256.iter().map(String::as_str);
    let named = records[1..]
        .iter()
        .filter_map(|record| record.prev.as_deref());
    let has_digests = closed.sha256.is_empty() || noted.eq(named.chain([last.sha256.as_str()]));
    let last = &last.record;
    has_digests
        && closed.file == *file
        && *first == 0
        && without_hole
        && froms.ends_with(listed)
        && is_of(end, last)
        && (closed.bytes, closed.log_pos) == (last.to, last.log_pos_to)
}

/// Whether the record of a file says of a segment what the segment says; it leaves out what is long.
fn is_of(noted: &Record, record: &Record) -> bool {
    let brief = |record: &Record| {
        let mut brief = record.clone();
        brief.gtid_set = None;
        let contents = &mut brief.contents;
        contents.more_tables = 0;
        contents.tables.clear();
        contents.more_statements = 0;
        contents.statements.clear();
        brief
    };
    brief(noted) == brief(record)
}

/// Reads a small segment ahead.
async fn fetch(ends: &Ends, found: Found) -> Result<Fetched> {
    if found.is_there || found.bytes > LARGE_BYTES {
        return Ok((found, None));
    }
    let (key, bytes) = (&found.key, found.bytes);
    let body = match ends.read(key, 0..bytes).await {
        Ok(body) => body,
        Err(StoreError::NotFound { .. }) => return Err(damaged(key, "is missing")),
        Err(error) => {
            let head = ends.primary.head(key).await;
            return Err(match head {
                Ok(meta) if meta.size != bytes => damaged(key, "has changed its size"),
                _ => of_primary(error),
            });
        }
    };
    let inspect = {
        let (body, object) = (body.clone(), found.object.clone());
        move || {
            let mut inspection = Inspection::segment(&object);
            inspection.update(&body);
            inspection.end()
        }
    };
    let seen = tokio::task::spawn_blocking(inspect)
        .await
        .map_err(|e| Error::unexpected("digesting a segment was interrupted").because(e))?;
    Ok((found, Some((body, seen))))
}
