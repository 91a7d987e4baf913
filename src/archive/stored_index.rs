//! The index as it is stored: fetched once, held against its digest before anything of it is read, and
//! kept compressed for as long as the archive is open.
//!
//! Who can write the store can write an index and every digest over it. So reading one is bounded,
//! whatever it says: its stored bytes by [`MOST_STORED_BYTES`], what they decompress to by
//! [`MOST_EXPANSION`], the decoder's window by [`WINDOW_LOG`], one record by [`MOST_RECORD_BYTES`].
//!
//! Memory: the stored bytes, about 100 for each frame of 8 MiB of SQL and 50 for each table (12 MiB for
//! 1 TB of SQL); and for each reading under way the decoder's window and one record.

use std::io::{BufRead as _, BufReader, Cursor, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::archive::BackupPlace;
use crate::archive::index::Record;
use crate::archive::manifest::FileFacts;
use crate::error::{Error, Result};
use crate::store::keys::BackupObject;
use crate::store::{Store, StoreError};

/// The most stored bytes of an index: those of 20 TB of SQL.
const MOST_STORED_BYTES: u64 = 256 << 20;

/// How many times its stored bytes an index may decompress to; one of a million tables without rows whose
/// names are counted up has 40.
const MOST_EXPANSION: u64 = 256;

/// The smallest index may decompress to this, bytes.
const LEAST_BOUND: u64 = 1 << 20;

/// The decoder's window as a power of two: 8 MiB. An index is written with 2 MiB.
const WINDOW_LOG: u32 = 23;

/// The most bytes of one record: that of a frame of the smallest tables names 100,000 of them.
const MOST_RECORD_BYTES: u64 = 4 << 20;

/// Bytes of the index asked of the store at a time.
const CHUNK_BYTES: u64 = 4 << 20;

/// An index whose stored bytes are those of the manifest.
#[derive(Debug, Clone)]
pub struct StoredIndex {
    key: Arc<str>,
    stored: Bytes,
}

impl StoredIndex {
    /// Fetches an index and holds it against its size and digest.
    pub async fn fetch(
        store: &Arc<dyn Store>,
        place: &BackupPlace,
        facts: &FileFacts,
    ) -> Result<StoredIndex> {
        let key: Arc<str> = place.key(&BackupObject::Index).into();
        if facts.bytes > MOST_STORED_BYTES {
            let what = format!(
                "it is said to have {} bytes, and no index has more than {MOST_STORED_BYTES}",
                facts.bytes
            );
            return Err(damaged(&key, &what));
        }
        // By what comes, not by what was said.
        let mut stored = Vec::new();
        while (stored.len() as u64) < facts.bytes {
            let at = stored.len() as u64;
            let range = at..facts.bytes.min(at + CHUNK_BYTES);
            stored.extend_from_slice(&read_range(store, &key, range, "the index").await?);
        }
        if hex::encode(Sha256::digest(&stored)) != facts.sha256 {
            return Err(damaged(&key, "it does not match its SHA-256"));
        }
        stored.shrink_to_fit();
        let stored = stored.into();
        Ok(StoredIndex { key, stored })
    }

    /// Begins to read it.
    pub fn records(&self) -> Result<Records> {
        let most = (self.stored.len() as u64).saturating_mul(MOST_EXPANSION);
        let most = most.max(LEAST_BOUND);
        let mut zstd = zstd::stream::read::Decoder::with_buffer(Cursor::new(self.stored.clone()))
            .map_err(|e| Error::unexpected("cannot decompress").because(e))?;
        zstd.window_log_max(WINDOW_LOG)
            .map_err(|e| Error::unexpected("cannot decompress").because(e))?;
        Ok(Records {
            key: self.key.clone(),
            empty: self.stored.is_empty(),
            // One byte more, to tell what ends there from what does not.
            text: BufReader::new(zstd.take(most + 1)),
            left: most,
            line: Vec::new(),
        })
    }
}

/// The records of an index, one at a time.
pub struct Records {
    key: Arc<str>,
    empty: bool,
    text: BufReader<std::io::Take<zstd::stream::read::Decoder<'static, Cursor<Bytes>>>>,
    /// How many bytes it may still decompress to.
    left: u64,
    line: Vec<u8>,
}

impl Records {
    /// Bytes of the text of the last record.
    pub fn record_bytes(&self) -> usize {
        self.line.len()
    }

    /// The next record, or `None` behind the last one.
    pub fn read(&mut self) -> Result<Option<Record>> {
        if self.empty {
            return Ok(None);
        }
        loop {
            self.line.clear();
            let mut line = (&mut self.text).take(MOST_RECORD_BYTES);
            let read = line.read_until(b'\n', &mut self.line);
            let read = read.map_err(|e| damaged(&self.key, "it cannot be decoded").because(e))?;
            if read == 0 {
                return Ok(None);
            }
            self.left = match self.left.checked_sub(read as u64) {
                Some(left) => left,
                None => {
                    let what =
                        format!("it decompresses to more than {MOST_EXPANSION} times its size");
                    return Err(damaged(&self.key, &what));
                }
            };
            let Some(line) = self.line.strip_suffix(b"\n") else {
                return Err(damaged(&self.key, "its last record is cut off or too long"));
            };
            if line.is_empty() {
                continue;
            }
            let record = Record::parse(line)
                .map_err(|e| damaged(&self.key, "a record cannot be read").because(e))?;
            if record.is_some() {
                return Ok(record);
            }
        }
    }
}

/// Reads what the archive says is there. That it is not is damage, which no retry mends; only what
/// is left is the store's failure.
pub(super) async fn read_range(
    store: &Arc<dyn Store>,
    key: &str,
    range: Range<u64>,
    what: &str,
) -> Result<bytes::Bytes> {
    let error = match store.get(key, Some(range.clone())).await {
        Ok(stored) if stored.len() as u64 == range.end - range.start => return Ok(stored),
        Ok(stored) => {
            return Err(Error::archive(format!(
                "{what} of the backup came incomplete: {} of {} bytes of {key}",
                stored.len(),
                range.end - range.start
            ))
            .hint("check what is between drctl and the store, and run it again"));
        }
        Err(error @ StoreError::NotFound { .. }) => {
            return Err(Error::archive(format!("{what} of the backup is missing")).because(error));
        }
        Err(error) => error,
    };
    match store.head(key).await {
        Ok(meta) if meta.size < range.end => Err(Error::archive(format!(
            "{what} of the backup is truncated: {key} has {} bytes, and at least {} belong to it",
            meta.size, range.end
        ))
        .hint("restore another backup, and find out what changed the store")),
        _ => Err(error.into()),
    }
}

/// An index that is not what was written.
pub(super) fn damaged(what: impl std::fmt::Display, how: &str) -> Error {
    Error::archive(format!("the index of {what} is damaged: {how}"))
        .hint("restore another backup, and find out what changed the store")
}
