//! Manifest and index to checked, decoded frames.
//!
//! Nothing that fails a digest is ever handed on: a frame's stored bytes are held against their
//! SHA-256, decoded by a codec with its own checksum, and its SQL held against its XXH3-128. The
//! index is read as a stream, each time against its SHA-256 in the manifest; the manifest is the
//! root of it all.

use std::collections::VecDeque;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::archive::BackupPlace;
use crate::archive::codec::{decode, decode_all};
use crate::archive::index::{FrameRecord, InventoryRecord, Record, TableRecord};
use crate::archive::manifest::{FileFacts, Manifest, Totals};
use crate::archive::write::encode::hex128;
use crate::error::{Error, Result};
use crate::sql::ledger::Ledger;
use crate::sql::session::Session;
use crate::store::keys::BackupObject;
use crate::store::{Key, Store, StoreError};

/// A committed backup, open for reading.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn Store>,
    place: BackupPlace,
    manifest: Arc<Manifest>,
    contents: Arc<Contents>,
}

/// What the index says beside its frames. Grows with the number of tables, not with their rows.
#[derive(Debug, Default)]
pub struct Contents {
    /// The tables, by number.
    pub tables: Vec<TableRecord>,
    /// The sessions, by number.
    pub sessions: Vec<Session>,
    /// The ledger.
    pub ledger: Ledger,
    /// The server's inventory.
    pub inventory: Vec<InventoryRecord>,
    /// The run's warnings.
    pub warnings: Vec<String>,
}

/// Reads a manifest, and holds it against the place that it was found in.
pub async fn manifest(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<Manifest> {
    let key = place.key(&BackupObject::Manifest);
    let bytes = match store.get(&key, None).await {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => {
            return Err(Error::nothing(format!("there is no {place}")).hint("see drctl list"));
        }
        Err(error) => return Err(error.into()),
    };
    let manifest = Manifest::from_bytes(&bytes).map_err(|e| e.context(&key))?;
    if (&manifest.id, &manifest.target) != (&place.id, &place.target) {
        return Err(Error::archive(format!(
            "{key} is the manifest of {} of {}: the archive was moved or edited",
            manifest.id, manifest.target
        )));
    }
    Ok(manifest)
}

impl Archive {
    /// Opens a backup: manifest, index and their agreement.
    pub async fn open(store: Arc<dyn Store>, place: BackupPlace) -> Result<Archive> {
        let manifest = Arc::new(manifest(&store, &place).await?);
        let mut archive = Archive {
            store,
            place,
            manifest,
            contents: Arc::new(Contents::default()),
        };
        archive.contents = Arc::new(archive.read_contents().await?);
        Ok(archive)
    }

    /// The commit record.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the index says beside its frames.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The frames, in order, from a new reading of the index.
    pub fn frames(&self) -> Frames {
        Frames {
            records: self.records(),
        }
    }

    fn records(&self) -> Records {
        Records::new(self.store.clone(), &self.place, self.manifest.index.clone())
    }

    /// Reads the whole index once: what it declares, and that its frames fill the segments exactly.
    async fn read_contents(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut filled = vec![0u64; self.manifest.segments.len()];
        let (mut frames, mut segment, mut raw, mut longest) = (0, 0, 0u64, 0);
        let wrong = |what: &str| damaged(&self.place, what);
        let mut records = self.records();
        while let Some(record) = records.next().await? {
            match record {
                Record::Session(session) if session.n as usize == contents.sessions.len() => {
                    contents.sessions.push(session.session);
                }
                Record::Table(table) if table.n as usize == contents.tables.len() => {
                    contents.tables.push(table);
                }
                Record::Session(_) | Record::Table(_) => {
                    return Err(wrong("numbers are not in order"));
                }
                Record::Frame(frame) => {
                    let place = filled.get_mut(frame.segment as usize);
                    let place = place.ok_or_else(|| wrong("a frame lies in no segment"))?;
                    let declared = (frame.session as usize) < contents.sessions.len()
                        && frame
                            .tables
                            .iter()
                            .all(|n| (*n as usize) < contents.tables.len());
                    let in_order =
                        frame.n == frames && frame.segment >= segment && frame.offset == *place;
                    if !in_order || !declared {
                        return Err(wrong("frames are not in order"));
                    }
                    segment = frame.segment;
                    let ends = place
                        .checked_add(frame.stored)
                        .zip(raw.checked_add(frame.raw));
                    (*place, raw) = ends.ok_or_else(|| wrong("a frame has no end"))?;
                    longest = frame.longest.max(longest);
                    frames += 1;
                }
                Record::Ledger(entry) => contents
                    .ledger
                    .add(entry)
                    .map_err(|e| wrong("its ledger contradicts itself").because(e))?,
                Record::Inventory(object) => contents.inventory.push(object),
                Record::Warning(warning) => contents.warnings.push(warning),
            }
        }
        let sizes = self.manifest.segments.iter().map(|segment| segment.bytes);
        let totals = Totals {
            raw_bytes: raw,
            stored_bytes: filled.iter().sum(),
            frames,
            // A stream may have been too short for a frame.
            streams: self.manifest.totals.streams,
            rows: contents.ledger.total_rows(),
            largest_statement_bytes: longest,
            objects: Totals::objects_of(&contents.ledger),
        };
        if !filled.into_iter().eq(sizes) || totals != self.manifest.totals {
            return Err(wrong("it does not agree with the manifest"));
        }
        Ok(contents)
    }

    /// Fetches a frame, checks it and decodes it.
    pub async fn fetch(&self, frame: &FrameRecord) -> Result<Vec<u8>> {
        let stored = self.fetch_stored(frame).await?;
        let (codec, frame, key) = (self.manifest.codec, frame.clone(), self.segment_key(frame)?);
        tokio::task::spawn_blocking(move || check_and_decode(codec, &frame, &key, &stored))
            .await
            .map_err(|e| Error::unexpected("decoding a frame broke off").because(e))?
    }

    pub(super) async fn fetch_stored(&self, frame: &FrameRecord) -> Result<bytes::Bytes> {
        let key = self.segment_key(frame)?;
        let range = frame.offset..frame.offset + frame.stored;
        read_range(&self.store, &key, range, "a segment").await
    }

    /// The key of the segment that a frame lies in.
    pub(super) fn segment_key(&self, frame: &FrameRecord) -> Result<Key> {
        Ok(self
            .place
            .key(&self.manifest.codec.segment(frame.segment as usize)?))
    }

    /// The store, and where in it the backup is.
    pub(super) fn place(&self) -> (&Arc<dyn Store>, &BackupPlace) {
        (&self.store, &self.place)
    }

    /// accounts.sql, checked and decoded; `None` where none were taken.
    pub async fn accounts(&self) -> Result<Option<Vec<u8>>> {
        const MOST_BYTES: u64 = 256 << 20;
        let Some(facts) = &self.manifest.accounts else {
            return Ok(None);
        };
        let codec = self.manifest.codec;
        let key = self.place.key(&BackupObject::Accounts(codec.suffix()));
        let stored = read_range(&self.store, &key, 0..facts.bytes, "accounts.sql").await?;
        let wrong = |what: &str| {
            Error::archive(format!("accounts.sql {what}"))
                .hint("restore another backup, and find out what changed the store")
        };
        if hex::encode(Sha256::digest(&stored)) != facts.sha256 {
            return Err(wrong("does not match its SHA-256"));
        }
        let sql = decode_all(codec, &stored, MOST_BYTES)
            .map_err(|e| wrong("cannot be decoded").because(e))?;
        Ok(Some(sql))
    }
}

/// Reads what the archive says is there. That it is not is damage, which no retry mends; only what
/// is left is the store's failure.
async fn read_range(
    store: &Arc<dyn Store>,
    key: &str,
    range: Range<u64>,
    what: &str,
) -> Result<bytes::Bytes> {
    let error = match store.get(key, Some(range.clone())).await {
        Ok(stored) => return Ok(stored),
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

/// A frame's SQL, if its stored bytes and its SQL match their digests.
pub(super) fn check_and_decode(
    codec: crate::archive::codec::Codec,
    frame: &FrameRecord,
    key: &str,
    stored: &[u8],
) -> Result<Vec<u8>> {
    let wrong = |what: &str| {
        Error::archive(format!("{key}: frame {} {what}", frame.n))
            .hint("restore another backup, and find out what changed the store")
    };
    if hex::encode(Sha256::digest(stored)) != frame.sha256 {
        return Err(wrong("does not match its SHA-256"));
    }
    let raw = decode(codec, stored, frame.raw as usize)
        .map_err(|e| wrong("cannot be decoded").because(e))?;
    match hex128(xxhash_rust::xxh3::xxh3_128(&raw)) == frame.xxh3 {
        true => Ok(raw),
        false => Err(wrong("does not match its XXH3-128")),
    }
}

/// The frames of an archive, one at a time.
pub struct Frames {
    records: Records,
}

impl Frames {
    /// The next frame, or `None` after the last one of an index that is whole.
    pub async fn next(&mut self) -> Result<Option<FrameRecord>> {
        while let Some(record) = self.records.next().await? {
            if let Record::Frame(frame) = record {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

/// The records of a backup's index, without the rest of the archive. What they say is certain when they have
/// ended without an error.
pub fn records(store: &Arc<dyn Store>, place: &BackupPlace, manifest: &Manifest) -> Records {
    Records::new(store.clone(), place, manifest.index.clone())
}

/// The records of an index: ranged reads, decompressed and split into lines as they come.
pub struct Records {
    store: Arc<dyn Store>,
    key: String,
    facts: FileFacts,
    at: u64,
    sha256: Sha256,
    zstd: Option<zstd::stream::write::Decoder<'static, Vec<u8>>>,
    ready: VecDeque<Record>,
}

impl Records {
    const CHUNK_BYTES: u64 = 1 << 20;

    fn new(store: Arc<dyn Store>, place: &BackupPlace, facts: FileFacts) -> Self {
        let key = place.key(&BackupObject::Index);
        Records {
            store,
            key,
            facts,
            at: 0,
            sha256: Sha256::new(),
            zstd: None,
            ready: VecDeque::new(),
        }
    }

    /// The next one; `None` behind the last one of an index that is whole.
    pub async fn next(&mut self) -> Result<Option<Record>> {
        while self.ready.is_empty() && self.at < self.facts.bytes {
            self.read_more().await?;
        }
        Ok(self.ready.pop_front())
    }

    async fn read_more(&mut self) -> Result<()> {
        let end = self.facts.bytes.min(self.at + Self::CHUNK_BYTES);
        let stored = read_range(&self.store, &self.key, self.at..end, "the index").await?;
        self.at = end;
        self.sha256.update(&stored);
        let wrong = |what: &str| damaged(&self.key, what);
        if end == self.facts.bytes
            && hex::encode(self.sha256.clone().finalize()) != self.facts.sha256
        {
            return Err(wrong("it does not match its SHA-256"));
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            None => self.zstd.insert(
                zstd::stream::write::Decoder::new(Vec::new())
                    .map_err(|e| Error::unexpected("cannot decompress").because(e))?,
            ),
        };
        zstd.write_all(&stored)
            .and_then(|()| zstd.flush())
            .map_err(|e| wrong("it cannot be decoded").because(e))?;
        let text = zstd.get_mut();
        let whole = memchr::memrchr(b'\n', text).map_or(0, |last| last + 1);
        let rest = text.split_off(whole);
        let lines = std::mem::replace(text, rest);
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let record =
                Record::parse(line).map_err(|e| wrong("a record cannot be read").because(e))?;
            self.ready.extend(record);
        }
        if end == self.facts.bytes && !zstd.get_ref().is_empty() {
            return Err(wrong("its last record is cut off"));
        }
        Ok(())
    }
}

fn damaged(what: impl std::fmt::Display, how: &str) -> Error {
    Error::archive(format!("the index of {what} is damaged: {how}"))
        .hint("restore another backup, and find out what changed the store")
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
