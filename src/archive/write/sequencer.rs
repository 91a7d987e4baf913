//! Writes encoded frames to segments and the index.
//!
//! The frames of a stream arrive in order; those of several streams are interleaved in any order. If a frame does not
//! begin in the session in which the previous one ended, a prologue is inserted, so that the archive as a whole is valid
//! SQL for a plain client.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::sync::Arc;

use crate::archive::BackupPlace;
use crate::archive::index::{FrameRecord, Record, SessionRecord, TableRecord};
use crate::archive::write::encode::{EncodedFrame, Encoders};
use crate::archive::write::framer::RawFrame;
use crate::archive::write::object::{ObjectWriter, WrittenObject, most_bytes};
use crate::archive::write::spread::Spread;
use crate::entries::Counts;
use crate::layout::BackupObject;
use crate::sql::ledger::Ledger;
use crate::sql::session::Session;
use crate::sql::statement::ObjectId;
use crate::store::Store;
use crate::util::error::{Error, Result};

/// The written objects, before the commit.
#[derive(Debug)]
pub struct Written {
    /// The segments, in order.
    pub segments: Vec<WrittenObject>,
    /// The index.
    pub index: WrittenObject,
    /// Frames for the read-back: evenly spread, including the first one.
    pub sample: Vec<FrameRecord>,
    /// The ledger: rows and definitions.
    pub ledger: Ledger,
    /// What the ledger of a stream that is not SQL adds up to.
    pub entries: Counts,
    /// Bytes of the dump.
    pub raw_bytes: u64,
    /// Stored bytes of all segments.
    pub stored_bytes: u64,
    /// Frames in all segments.
    pub frames: u64,
    /// Number of streams; at least 1.
    pub streams: u32,
    /// Length of the longest statement in bytes.
    pub longest: u64,
    /// Tables with unpaired surrogates in their rows.
    pub half_pairs: BTreeSet<ObjectId>,
    /// How often a plain client must create all views
    /// ([`Views::rounds`](crate::sql::view_order::Views::rounds)); 1 until all streams have ended.
    pub view_rounds: usize,
}

/// Writes frames in the order of the calls.
pub struct Sequencer {
    store: Arc<dyn Store>,
    place: BackupPlace,
    encoders: Encoders,
    segment_bytes: u64,
    segment: Option<ObjectWriter>,
    segments: Vec<WrittenObject>,
    index: IndexWriter,
    /// The session of a plain client after everything written so far.
    session: Session,
    sessions: HashMap<Session, u32>,
    tables: HashMap<ObjectId, u32>,
    ledger: Ledger,
    entries: Counts,
    sample: Spread<FrameRecord>,
    raw_bytes: u64,
    frames: u64,
    streams: u32,
    longest: u64,
    half_pairs: BTreeSet<ObjectId>,
}

impl Sequencer {
    /// Begins the index; the first segment begins with the first frame.
    pub async fn begin(
        store: Arc<dyn Store>,
        place: BackupPlace,
        encoders: Encoders,
        segment_bytes: u64,
    ) -> Result<Self> {
        let index = IndexWriter::begin(&store, &place).await?;
        let segment_bytes = segment_bytes.min(most_bytes(&store));
        Ok(Sequencer {
            store,
            place,
            encoders,
            segment_bytes,
            segment: None,
            segments: Vec::new(),
            index,
            session: Session::default(),
            sessions: HashMap::new(),
            tables: HashMap::new(),
            ledger: Ledger::default(),
            entries: Counts::default(),
            sample: Spread::default(),
            raw_bytes: 0,
            frames: 0,
            streams: 1,
            longest: 0,
            half_pairs: BTreeSet::new(),
        })
    }

    /// Writes the next frame.
    pub async fn push(&mut self, frame: EncodedFrame) -> Result<()> {
        if frame.before != self.session {
            let prologue = prologue(frame.stream, &self.session, &frame.before);
            let prologue = self.encoders.encode(prologue)?;
            self.write(prologue).await?;
        }
        self.write(frame).await
    }

    /// Encodes and writes a small frame: the trailer.
    pub async fn push_raw(&mut self, frame: RawFrame) -> Result<()> {
        if frame.sql.is_empty() {
            return Ok(());
        }
        let frame = self.encoders.encode(frame)?;
        self.push(frame).await
    }

    async fn write(&mut self, frame: EncodedFrame) -> Result<()> {
        let record = self.record(&frame).await?;
        self.index.write(&Record::Frame(record.clone())).await?;
        self.segment().await?.write(&frame.stored).await?;
        self.encoders.buffers().give(frame.stored);
        self.session = frame.after;
        self.raw_bytes += record.raw;
        self.longest = self.longest.max(record.longest);
        self.frames += 1;
        self.streams = self.streams.max(record.stream + 1);
        self.sample.offer(|| record);
        self.half_pairs.extend(frame.half_pairs);
        for (table, rows) in frame.rows {
            self.ledger.add_rows(&table, rows);
        }
        Ok(())
    }

    async fn record(&mut self, frame: &EncodedFrame) -> Result<FrameRecord> {
        let segment = self.segment().await?.text_bytes();
        let session = match self.sessions.get(&frame.before) {
            Some(n) => *n,
            None => {
                let n = self.sessions.len() as u32;
                self.sessions.insert(frame.before.clone(), n);
                let session = frame.before.clone();
                self.index
                    .write(&Record::Session(SessionRecord { n, session }))
                    .await?;
                n
            }
        };
        let mut tables = Vec::with_capacity(frame.tables.len());
        for table in &frame.tables {
            tables.push(self.table(table).await?);
        }
        Ok(FrameRecord {
            n: self.frames,
            stream: frame.stream,
            segment: self.segments.len() as u32,
            offset: segment,
            stored: frame.stored.len() as u64,
            raw: frame.raw as u64,
            sha256: frame.sha256,
            xxh3: frame.xxh3,
            sections: frame.sections.clone(),
            session,
            tables,
            rows: frame.rows.values().map(|rows| rows.rows).sum(),
            longest: frame.longest as u64,
        })
    }

    /// The number of a table; declares the table in the index at its first use.
    async fn table(&mut self, table: &ObjectId) -> Result<u32> {
        if let Some(n) = self.tables.get(table) {
            return Ok(*n);
        }
        let n = self.tables.len() as u32;
        self.tables.insert(table.clone(), n);
        let record = TableRecord {
            n,
            schema: table.schema.clone(),
            name: table.name.clone(),
        };
        self.index.write(&Record::Table(record)).await?;
        Ok(n)
    }

    /// The open segment; completes a full one and begins the next.
    async fn segment(&mut self) -> Result<&mut ObjectWriter> {
        if self
            .segment
            .as_ref()
            .is_some_and(|open| open.text_bytes() >= self.segment_bytes)
        {
            self.complete_segment().await?;
        }
        if self.segment.is_none() {
            let object = self.encoders.segment(self.segments.len())?;
            self.segment = Some(ObjectWriter::begin(&self.store, &self.place, &object).await?);
        }
        self.segment
            .as_mut()
            .ok_or_else(|| Error::unexpected("no segment is open"))
    }

    async fn complete_segment(&mut self) -> Result<()> {
        if let Some(open) = self.segment.take() {
            self.segments.push(open.complete(&self.store).await?);
        }
        Ok(())
    }

    /// Completes the last segment, writes the remaining records, and completes the index.
    pub async fn finish(mut self, objects: Ledger, more: Vec<Record>) -> Result<Written> {
        match self.finish_all(objects, more).await {
            Ok(index) => Ok(Written {
                stored_bytes: self
                    .segments
                    .iter()
                    .map(|segment| segment.facts.bytes)
                    .sum(),
                segments: self.segments,
                index,
                sample: self.sample.into_kept(),
                ledger: self.ledger,
                entries: self.entries,
                raw_bytes: self.raw_bytes,
                frames: self.frames,
                streams: self.streams,
                longest: self.longest,
                half_pairs: self.half_pairs,
                view_rounds: 1,
            }),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn finish_all(&mut self, objects: Ledger, more: Vec<Record>) -> Result<WrittenObject> {
        self.complete_segment().await?;
        self.ledger
            .merge(objects)
            .map_err(|e| Error::source("inconsistent dump").because(e))?;
        for record in self.ledger.clone().into_records() {
            self.index.write(&Record::Ledger(record)).await?;
        }
        for record in more {
            if let Record::Entry(entry) = &record {
                self.entries.add(entry);
            }
            self.index.write(&record).await?;
        }
        self.index.complete(&self.store).await
    }

    /// Aborts open uploads. Complete objects are left to [`super::commit::discard`].
    pub async fn abort(mut self) {
        if let Some(open) = self.segment.take() {
            open.abort().await;
        }
        self.index.abort().await;
    }
}

/// A frame of the statements that change a plain client's session to another one.
fn prologue(stream: u32, from: &Session, to: &Session) -> RawFrame {
    let mut sql = format!("-- drctl: stream {stream}\n").into_bytes();
    let mut longest = sql.len();
    for statement in to.statements_from(Some(from)) {
        longest = longest.max(statement.len() + 2);
        sql.extend_from_slice(statement.as_bytes());
        sql.extend_from_slice(b";\n");
    }
    RawFrame {
        stream,
        sql,
        sections: Vec::new(),
        before: from.clone(),
        after: to.clone(),
        tables: Vec::new(),
        rows: Vec::new(),
        longest,
    }
}

/// The index as a stream of records, compressed as one zstd frame.
struct IndexWriter {
    object: Option<ObjectWriter>,
    zstd: zstd::stream::write::Encoder<'static, Vec<u8>>,
}

impl IndexWriter {
    /// Compressed bytes that are buffered before a write.
    const BUFFER_BYTES: usize = 256 << 10;

    async fn begin(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<Self> {
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).map_err(failed)?;
        zstd.include_checksum(true).map_err(failed)?;
        let object = ObjectWriter::begin(store, place, &BackupObject::Index).await?;
        Ok(IndexWriter {
            object: Some(object),
            zstd,
        })
    }

    async fn write(&mut self, record: &Record) -> Result<()> {
        serde_json::to_writer(&mut self.zstd, record)
            .map_err(|e| Error::unexpected("cannot write an index record").because(e))?;
        self.zstd.write_all(b"\n").map_err(failed)?;
        if self.zstd.get_ref().len() >= Self::BUFFER_BYTES {
            let bytes = std::mem::take(self.zstd.get_mut());
            self.open()?.write(&bytes).await?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<&mut ObjectWriter> {
        self.object
            .as_mut()
            .ok_or_else(|| Error::unexpected("the index is complete already"))
    }

    async fn complete(&mut self, store: &Arc<dyn Store>) -> Result<WrittenObject> {
        self.zstd.do_finish().map_err(failed)?;
        let bytes = std::mem::take(self.zstd.get_mut());
        self.open()?.write(&bytes).await?;
        match self.object.take() {
            Some(object) => object.complete(store).await,
            None => Err(Error::unexpected("the index is complete already")),
        }
    }

    async fn abort(&mut self) {
        if let Some(object) = self.object.take() {
            object.abort().await;
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::unexpected("cannot compress the index").because(error)
}

#[cfg(test)]
#[path = "sequencer_tests.rs"]
mod tests;
