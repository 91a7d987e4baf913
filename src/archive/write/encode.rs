//! One frame to its stored bytes and its share of the ledger; runs on a blocking thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_128;

use crate::archive::codec::{Codec, Encoder};
use crate::archive::write::framer::RawFrame;
use crate::error::{Error, Result};
use crate::sql::ledger::RowSum;
use crate::sql::session::Session;
use crate::sql::statement::{ObjectId, Section};

/// A frame ready to be written.
#[derive(Debug)]
pub struct EncodedFrame {
    /// Which stream it belongs to.
    pub stream: u32,
    /// The bytes to store.
    pub stored: Vec<u8>,
    /// SHA-256 of `stored`, hex.
    pub sha256: String,
    /// Bytes of SQL.
    pub raw: usize,
    /// XXH3-128 of the SQL, hex.
    pub xxh3: String,
    /// The sections it has statements of.
    pub sections: Vec<Section>,
    /// What is in force before its first byte.
    pub before: Session,
    /// What is in force after its last byte.
    pub after: Session,
    /// The tables that it creates or has rows of.
    pub tables: Vec<ObjectId>,
    /// Its share of the ledger.
    pub rows: BTreeMap<ObjectId, RowSum>,
    /// Its longest statement, bytes.
    pub longest: usize,
}

/// Compression contexts, reused: one for each frame that is being encoded at the same time.
#[derive(Clone)]
pub struct Encoders {
    codec: Codec,
    level: i32,
    idle: Arc<Mutex<Vec<Encoder>>>,
}

impl Encoders {
    /// No contexts yet, for one codec at one level.
    pub fn new(codec: Codec, level: i32) -> Self {
        Encoders {
            codec,
            level,
            idle: Arc::default(),
        }
    }

    /// The codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Digests and compresses one frame.
    pub fn encode(&self, frame: RawFrame) -> Result<EncodedFrame> {
        let rows = digest_rows(&frame)?;
        let xxh3 = hex128(xxh3_128(&frame.sql));
        let raw = frame.sql.len();
        let stored = self.compress(frame.sql)?;
        Ok(EncodedFrame {
            stream: frame.stream,
            sha256: hex::encode(Sha256::digest(&stored)),
            stored,
            raw,
            xxh3,
            sections: frame.sections,
            before: frame.before,
            after: frame.after,
            tables: frame.tables,
            rows,
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
        let stored = encoder.encode(&sql).map_err(failed)?;
        idle().push(encoder);
        Ok(stored)
    }
}

fn digest_rows(frame: &RawFrame) -> Result<BTreeMap<ObjectId, RowSum>> {
    let mut sums: BTreeMap<ObjectId, RowSum> = BTreeMap::new();
    for (range, table) in &frame.inserts {
        let sum = RowSum::of_insert(&frame.sql[range.clone()]).map_err(|e| {
            Error::source(format!(
                "mysqldump wrote rows of {table} that drctl cannot read"
            ))
            .because(e)
        })?;
        sums.entry(table.clone()).or_default().add(sum);
    }
    Ok(sums)
}

/// 128 bits as 32 hex digits.
pub fn hex128(n: u128) -> String {
    format!("{n:032x}")
}
