//! Encoded frames, in order, to segments and the index.
//!
//! Frames of several streams may arrive in any order between streams, in order within each. Where
//! a frame does not begin under the session that the one before it ended with, a prologue of ours
//! goes between them, so that the whole is valid SQL for one plain client from first byte to last.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use crate::archive::BackupPlace;
use crate::archive::index::{FrameRecord, Record, SessionRecord, TableRecord};
use crate::archive::write::encode::{EncodedFrame, Encoders};
use crate::archive::write::framer::RawFrame;
use crate::archive::write::object::{ObjectWriter, WrittenObject, most_bytes};
use crate::error::{Error, Result};
use crate::sql::ledger::Ledger;
use crate::sql::session::Session;
use crate::sql::statement::ObjectId;
use crate::store::Store;
use crate::store::keys::BackupObject;

/// Everything that was written, before the commit.
#[derive(Debug)]
pub struct Written {
    /// The segments, in order.
    pub segments: Vec<WrittenObject>,
    /// The index.
    pub index: WrittenObject,
    /// Every frame that a read-back may want: the first and last and some between.
    pub sample: Vec<FrameRecord>,
    /// The ledger: rows and definitions.
    pub ledger: Ledger,
    /// Bytes of SQL.
    pub raw_bytes: u64,
    /// Stored bytes of all segments.
    pub stored_bytes: u64,
    /// Frames in all segments.
    pub frames: u64,
    /// The longest statement, bytes.
    pub longest: u64,
}

/// Writes frames in the order in which it is given them.
pub struct Sequencer {
    store: Arc<dyn Store>,
    place: BackupPlace,
    encoders: Encoders,
    segment_bytes: u64,
    segment: Option<ObjectWriter>,
    segments: Vec<WrittenObject>,
    index: IndexWriter,
    /// What a plain client's session is after everything written so far.
    session: Session,
    sessions: HashMap<Session, u32>,
    tables: HashMap<ObjectId, u32>,
    ledger: Ledger,
    sample: Vec<FrameRecord>,
    raw_bytes: u64,
    frames: u64,
    longest: u64,
}

impl Sequencer {
    /// Begins the index, and with the first frame the first segment, in a backup's directory.
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
            sample: Vec::new(),
            raw_bytes: 0,
            frames: 0,
            longest: 0,
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

    /// Writes a small frame that nobody has encoded yet: the trailer.
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
        self.session = frame.after;
        self.raw_bytes += record.raw;
        self.longest = self.longest.max(record.longest);
        self.frames += 1;
        self.keep_sample(record);
        for (table, rows) in frame.rows {
            self.ledger.add_rows(&table, rows);
        }
        Ok(())
    }

    async fn record(&mut self, frame: &EncodedFrame) -> Result<FrameRecord> {
        let segment = self.segment().await?.bytes();
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
            sha256: frame.sha256.clone(),
            xxh3: frame.xxh3.clone(),
            sections: frame.sections.clone(),
            session,
            tables,
            rows: frame.rows.values().map(|rows| rows.rows).sum(),
            longest: frame.longest as u64,
        })
    }

    /// The number of a table, declared in the index at its first use.
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

    /// The open segment; a full one is completed and the next begun.
    async fn segment(&mut self) -> Result<&mut ObjectWriter> {
        if self
            .segment
            .as_ref()
            .is_some_and(|open| open.bytes() >= self.segment_bytes)
        {
            self.complete_segment().await?;
        }
        if self.segment.is_none() {
            let object = self.encoders.codec().segment(self.segments.len())?;
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

    /// Keeps every frame of a small archive, and of a large one ever fewer, evenly spread.
    fn keep_sample(&mut self, record: FrameRecord) {
        const MOST: usize = 64;
        if self.sample.len() == MOST {
            let mut n = 0;
            self.sample.retain(|_| {
                n += 1;
                n % 2 == 1
            });
        }
        let every = self.sample.get(1).map_or(1, |second| second.n.max(1));
        if record.n.is_multiple_of(every) {
            self.sample.push(record);
        }
    }

    /// Completes the last segment and, behind all records, the index.
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
                sample: self.sample,
                ledger: self.ledger,
                raw_bytes: self.raw_bytes,
                frames: self.frames,
                longest: self.longest,
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
            .map_err(|e| Error::source("the dump contradicts itself").because(e))?;
        for record in self.ledger.clone().into_records() {
            self.index.write(&Record::Ledger(record)).await?;
        }
        for record in more {
            self.index.write(&record).await?;
        }
        self.index.complete(&self.store).await
    }

    /// Gives up: no upload remains open. Complete objects are left to [`super::commit::discard`].
    pub async fn abort(mut self) {
        if let Some(open) = self.segment.take() {
            open.abort().await;
        }
        self.index.abort().await;
    }
}

/// The statements that bring a plain client from one session to another, as a frame.
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
        inserts: Vec::new(),
        longest,
    }
}

/// The index as a stream of records, compressed as one zstd frame.
struct IndexWriter {
    object: Option<ObjectWriter>,
    zstd: zstd::stream::write::Encoder<'static, Vec<u8>>,
}

impl IndexWriter {
    /// Compressed bytes kept back until they are worth a write.
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
