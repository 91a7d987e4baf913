//! Encodes a frame: its stored bytes and its part of the ledger. Runs on a blocking thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::archive::codec::{Codec, Encoder, Form};
use crate::archive::write::framer::{FRAME_BYTES, FrameRows, RawFrame, frame_capacity};
use crate::layout::BackupObject;
use crate::sql::ledger::RowSum;
use crate::sql::session::Session;
use crate::sql::statement::{ObjectId, Section};
use crate::util::digest::{Sha256Digest, Xxh3Digest};
use crate::util::error::{Error, Result};

/// A frame ready to be written.
#[derive(Debug)]
pub struct EncodedFrame {
    /// Its stream.
    pub stream: u32,
    /// The bytes to store.
    pub stored: Vec<u8>,
    /// Digest of `stored`.
    pub sha256: Sha256Digest,
    /// Bytes of SQL.
    pub raw: usize,
    /// Digest of the SQL.
    pub xxh3: Xxh3Digest,
    /// The sections of its statements.
    pub sections: Vec<Section>,
    /// The session before its first byte.
    pub before: Session,
    /// The session after its last byte.
    pub after: Session,
    /// The tables that it creates or has rows of.
    pub tables: Vec<ObjectId>,
    /// Its part of the ledger.
    pub rows: BTreeMap<ObjectId, RowSum>,
    /// Tables with unpaired surrogates in the frame's rows: neither characters nor valid UTF-8.
    pub half_pairs: BTreeSet<ObjectId>,
    /// Length of its longest statement in bytes.
    pub longest: usize,
}

/// Reused compression contexts: one per frame that is being encoded concurrently.
#[derive(Clone)]
pub struct Encoders {
    codec: Codec,
    form: Form,
    level: i32,
    idle: Arc<Mutex<Vec<Encoder>>>,
    buffers: Buffers,
}

/// Buffers for the SQL and the stored bytes of frames, used again: a new one of this size costs as much as its
/// compression, since the system clears its pages.
#[derive(Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// Maximum number of buffers kept.
    const MOST: usize = 2;

    /// Maximum size of a buffer that is kept.
    const MOST_BYTES: usize = frame_capacity(FRAME_BYTES);

    /// An empty buffer; a new one has no capacity.
    pub fn take(&self) -> Vec<u8> {
        self.idle().pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut idle = self.idle();
        if idle.len() < Self::MOST && buffer.capacity() <= Self::MOST_BYTES {
            idle.push(buffer);
        }
    }

    /// Releases the memory of the idle buffers.
    pub fn clear(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Encoders {
    /// Contexts for a codec and level, created when needed.
    pub fn new(codec: Codec, level: i32) -> Self {
        Encoders {
            codec,
            form: Form::default(),
            level,
            idle: Arc::default(),
            buffers: Buffers::default(),
        }
    }

    /// The same for frames with other contents.
    #[must_use]
    pub fn of(self, form: Form) -> Self {
        Encoders { form, ..self }
    }

    /// The name of a segment of their frames, counted from 0.
    pub fn segment(&self, number: usize) -> Result<BackupObject> {
        self.codec.segment(self.form, number)
    }

    /// The buffers of the frames.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Digests and compresses a frame.
    pub fn encode(&self, frame: RawFrame) -> Result<EncodedFrame> {
        let rows = digest_rows(&frame)?;
        let half_pairs = frame
            .rows
            .iter()
            .filter(|rows| has_half_pair(&frame.sql[rows.text.clone()]))
            .map(|rows| rows.table.clone())
            .collect();
        let xxh3 = Xxh3Digest::of(&frame.sql);
        let raw = frame.sql.len();
        let stored = self.compress(frame.sql)?;
        Ok(EncodedFrame {
            stream: frame.stream,
            sha256: Sha256Digest::of(&stored),
            stored,
            raw,
            xxh3,
            sections: frame.sections,
            before: frame.before,
            after: frame.after,
            tables: frame.tables,
            rows,
            half_pairs,
            longest: frame.longest,
        })
    }

    fn compress(&self, sql: Vec<u8>) -> Result<Vec<u8>> {
        if self.codec == Codec::None {
            return Ok(sql);
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = idle().pop();
        let failed = |e: std::io::Error| Error::unexpected("cannot compress a frame").because(e);
        let mut encoder = match spare {
            Some(encoder) => encoder,
            None => Encoder::new(self.codec, self.level).map_err(failed)?,
        };
        let mut stored = self.buffers.take();
        encoder.encode(&sql, &mut stored).map_err(failed)?;
        self.buffers.give(sql);
        idle().push(encoder);
        Ok(stored)
    }
}

fn digest_rows(frame: &RawFrame) -> Result<BTreeMap<ObjectId, RowSum>> {
    let mut sums: BTreeMap<ObjectId, RowSum> = BTreeMap::new();
    for FrameRows { text, table, sum } in &frame.rows {
        let sum = match sum {
            Some(sum) => *sum,
            None => RowSum::of_insert(&frame.sql[text.clone()]).map_err(|e| {
                Error::source(format!("cannot parse the rows of {table} in the dump")).because(e)
            })?,
        };
        sums.entry(table.clone()).or_default().add(sum);
    }
    Ok(sums)
}

/// Whether rows contain an unpaired surrogate (U+D800 to U+DFFF), as a column of ucs2 or utf16 may. Binary values are
/// dumped as hexadecimal digits.
fn has_half_pair(rows: &[u8]) -> bool {
    memchr::memchr_iter(0xed, rows).any(|at| matches!(rows.get(at + 1), Some(0xa0..=0xbf)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpaired_surrogate_is_distinguished_from_adjacent_characters() {
        for (rows, half) in [
            (&b"(1,'\xed\xa0\x80')"[..], true),
            (b"(1,'\xed\xbf\xbf')", true),
            ("(1,'\u{d7ff}\u{e000}한😀')".as_bytes(), false),
            (b"(1,'\xed", false),
        ] {
            assert_eq!(has_half_pair(rows), half, "{rows:x?}");
        }
    }
}
