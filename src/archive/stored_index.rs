//! The index as stored: fetched once, verified before any of it is parsed, and kept compressed while the archive is
//! open.
//!
//! An account that can write to the store can write an index and its digests. So memory is bounded for any index: its
//! stored bytes by [`MAX_STORED_BYTES`], its expansion by [`MAX_EXPANSION`], the decoder's window by [`WINDOW_LOG`], a
//! record by [`MAX_RECORD_BYTES`].
//!
//! Memory: the stored bytes, about 100 per frame of 8 MiB of SQL and 50 per table (12 MiB for 1 TB of SQL); and for each
//! concurrent reader the decoder's window and one record.

use std::io::{BufRead as _, BufReader, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;

use crate::archive::BackupPlace;
use crate::archive::index::Record;
use crate::archive::manifest::{Coordinates, Manifest};
use crate::archive::stored_object::StoredObject;
use crate::layout::BackupObject;
use crate::store::Store;
use crate::util::error::{Error, Result};

/// Maximum stored size of an index in bytes: that of 20 TB of SQL.
const MAX_STORED_BYTES: u64 = 256 << 20;

/// Maximum ratio of decompressed to stored bytes; the index of a million empty tables with numbered names has 40.
const MAX_EXPANSION: u64 = 256;

/// Decompressed size in bytes that is always allowed.
const MIN_LIMIT: u64 = 1 << 20;

/// The decoder's maximum window as a power of two: 8 MiB. An index is written with 2 MiB.
const WINDOW_LOG: u32 = 23;

/// Maximum length of a record in bytes: a frame of the smallest tables refers to 100,000 of them.
const MAX_RECORD_BYTES: u64 = 4 << 20;

/// An index that matches its size and digest in the manifest.
#[derive(Debug, Clone)]
pub struct StoredIndex {
    key: Arc<str>,
    stored: Bytes,
}

impl StoredIndex {
    /// Fetches and verifies an index.
    pub async fn fetch(
        store: &Arc<dyn Store>,
        place: &BackupPlace,
        manifest: &Manifest,
    ) -> Result<StoredIndex> {
        let facts = &manifest.index;
        let object = StoredObject::new(store, place, manifest, BackupObject::Index, facts);
        let key: Arc<str> = object.key().as_str().into();
        if facts.bytes > MAX_STORED_BYTES {
            let what = format!(
                "according to the manifest it has {} bytes, more than the maximum of {MAX_STORED_BYTES}",
                facts.bytes
            );
            return Err(damaged(&key, &what));
        }
        let stored = object.whole().await?;
        Ok(StoredIndex { key, stored })
    }

    /// Starts to read the records.
    pub fn records(&self) -> Result<Records> {
        let most = (self.stored.len() as u64)
            .saturating_mul(MAX_EXPANSION)
            .max(MIN_LIMIT);
        let mut zstd = zstd::stream::read::Decoder::with_buffer(Cursor::new(self.stored.clone()))
            .map_err(|e| Error::unexpected("cannot decompress").because(e))?;
        zstd.window_log_max(WINDOW_LOG)
            .map_err(|e| Error::unexpected("cannot decompress").because(e))?;
        Ok(Records {
            key: self.key.clone(),
            empty: self.stored.is_empty(),
            // One more byte, to detect a longer text.
            text: BufReader::new(zstd.take(most + 1)),
            left: most,
            line: Vec::new(),
        })
    }
}

/// The coordinates of a backup with its whole GTID set, which may be in the index; `None` if it has none.
pub async fn coordinates(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    manifest: &Manifest,
) -> Result<Option<Coordinates>> {
    let Some(mut coordinates) = manifest.coordinates.clone() else {
        return Ok(None);
    };
    if std::mem::take(&mut coordinates.gtid_in_index) {
        let index = StoredIndex::fetch(store, place, manifest).await?;
        let read = move || {
            let mut records = index.records()?;
            while let Some(record) = records.read()? {
                if let Record::Gtid(set) = record {
                    return Ok(set);
                }
            }
            Err(damaged(&index.key, "it lacks the GTIDs of the backup"))
        };
        let set = tokio::task::spawn_blocking(read)
            .await
            .map_err(|e| Error::unexpected("reading the index was interrupted").because(e))??;
        coordinates.gtid = Some(set);
    }
    Ok(Some(coordinates))
}

/// The records of an index, one at a time.
pub struct Records {
    key: Arc<str>,
    empty: bool,
    text: BufReader<std::io::Take<zstd::stream::read::Decoder<'static, Cursor<Bytes>>>>,
    /// Number of bytes that may still be decompressed.
    left: u64,
    line: Vec<u8>,
}

impl Records {
    /// Length of the last record in bytes.
    pub fn record_bytes(&self) -> usize {
        self.line.len()
    }

    /// The next record; `None` after the last one.
    pub fn read(&mut self) -> Result<Option<Record>> {
        if self.empty {
            return Ok(None);
        }
        loop {
            self.line.clear();
            let mut line = (&mut self.text).take(MAX_RECORD_BYTES);
            let read = line.read_until(b'\n', &mut self.line);
            let read = read.map_err(|e| damaged(&self.key, "it cannot be decoded").because(e))?;
            if read == 0 {
                return Ok(None);
            }
            self.left = match self.left.checked_sub(read as u64) {
                Some(left) => left,
                None => {
                    let what =
                        format!("it decompresses to more than {MAX_EXPANSION} times its size");
                    return Err(damaged(&self.key, &what));
                }
            };
            let Some(line) = self.line.strip_suffix(b"\n") else {
                return Err(damaged(
                    &self.key,
                    "its last record is truncated or too long",
                ));
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

/// The error for a damaged index.
pub(super) fn damaged(what: impl std::fmt::Display, how: &str) -> Error {
    Error::archive(format!("the index of {what} is damaged: {how}"))
        .hint("restore another backup, and find out what changed the store")
}
