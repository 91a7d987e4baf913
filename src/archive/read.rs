//! Manifest and index to checked, decoded frames.
//!
//! Nothing that fails a digest is ever handed on: a frame's stored bytes are held against their
//! SHA-256, decoded by a codec with its own checksum, and its SQL held against its XXH3-128. The
//! index is read as a stream, each time against its SHA-256 in the manifest; the manifest is the
//! root of it all.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::archive::BackupPlace;
use crate::archive::codec::{decode, decode_all};
use crate::archive::index::{FrameRecord, InventoryRecord, Record, TableRecord};
use crate::archive::manifest::{Manifest, Totals};
use crate::archive::stored_index::{Records, StoredIndex, damaged, read_range};
use crate::archive::write::encode::hex128;
use crate::archive::write::framer::FRAME_BYTES;
use crate::error::{Error, Result};
use crate::sql::ledger::Ledger;
use crate::sql::session::Session;
use crate::store::keys::BackupObject;
use crate::store::{Key, Store, StoreError};

/// The most bytes of accounts.sql, stored or decoded.
const MOST_ACCOUNTS_BYTES: u64 = 256 << 20;

/// The most bytes that names, definitions' digests and warnings of an index may take.
const MOST_NAMES_BYTES: usize = 1 << 30;

/// The longest statement: a row of 1 GiB, the protocol's limit, whose every byte takes two digits.
const MOST_STATEMENT_BYTES: u64 = (2 << 30) + (64 << 20);

/// A committed backup, open for reading.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn Store>,
    place: BackupPlace,
    manifest: Arc<Manifest>,
    index: StoredIndex,
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
    /// Columns whose values mysqldump cannot carry exactly.
    pub lossy: Vec<String>,
    /// The GTIDs executed at the snapshot, where the manifest has no room for them.
    pub gtid: Option<String>,
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
        let index = StoredIndex::fetch(&store, &place, &manifest.index).await?;
        let (reader, of, whose) = (index.clone(), manifest.clone(), place.to_string());
        let contents = tokio::task::spawn_blocking(move || read_contents(&reader, &of, &whose))
            .await
            .map_err(|e| Error::unexpected("reading the index broke off").because(e))??;
        Ok(Archive {
            store,
            place,
            manifest,
            index,
            contents: Arc::new(contents),
        })
    }

    /// The commit record.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the index says beside its frames.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The frames, in order.
    pub fn frames(&self) -> Result<Frames> {
        Ok(Frames {
            records: self.index.records()?,
        })
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
        let Some(facts) = &self.manifest.accounts else {
            return Ok(None);
        };
        let codec = self.manifest.codec;
        let key = self.place.key(&BackupObject::Accounts(codec.suffix()));
        let wrong = |what: &str| {
            Error::archive(format!("accounts.sql {what}"))
                .hint("restore another backup, and find out what changed the store")
        };
        if facts.bytes > MOST_ACCOUNTS_BYTES {
            return Err(wrong("is said to be longer than it can be"));
        }
        let stored = read_range(&self.store, &key, 0..facts.bytes, "accounts.sql").await?;
        if hex::encode(Sha256::digest(&stored)) != facts.sha256 {
            return Err(wrong("does not match its SHA-256"));
        }
        let sql = decode_all(codec, &stored, MOST_ACCOUNTS_BYTES)
            .map_err(|e| wrong("cannot be decoded").because(e))?;
        Ok(Some(sql))
    }
}

/// Reads the whole index once: what it declares, and that its frames fill the segments exactly.
fn read_contents(index: &StoredIndex, manifest: &Manifest, whose: &str) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut filled = vec![0u64; manifest.segments.len()];
    let (mut frames, mut segment, mut raw, mut longest) = (0, 0, 0u64, 0);
    let wrong = |what: &str| damaged(whose, what);
    let (mut records, mut names) = (index.records()?, 0usize);
    while let Some(record) = records.read()? {
        if !matches!(record, Record::Frame(_)) {
            names = names.saturating_add(records.record_bytes());
            if names > MOST_NAMES_BYTES {
                return Err(wrong("it has more names than a server can have"));
            }
        }
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
                check_sizes(&frame).map_err(wrong)?;
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
            Record::Lossy(column) => contents.lossy.push(column),
            Record::Gtid(set) => contents.gtid = Some(set),
        }
    }
    let sizes = manifest.segments.iter().map(|segment| segment.bytes);
    let totals = Totals {
        raw_bytes: raw,
        stored_bytes: filled.iter().sum(),
        frames,
        // A stream may have been too short for a frame.
        streams: manifest.totals.streams,
        rows: contents.ledger.total_rows(),
        largest_statement_bytes: longest,
        objects: Totals::objects_of(&contents.ledger),
    };
    if !filled.into_iter().eq(sizes) || totals != manifest.totals {
        return Err(wrong("it does not agree with the manifest"));
    }
    Ok(contents)
}

/// Holds the sizes that a frame is said to have against what a frame can have: memory is taken by them.
fn check_sizes(frame: &FrameRecord) -> std::result::Result<(), &'static str> {
    // A frame ends with the statement that makes it long enough.
    let most_raw = frame.longest.saturating_add(2 * FRAME_BYTES as u64);
    // What does not compress grows by a few bytes a block.
    let most_stored = frame.raw.saturating_add(frame.raw / 64 + (64 << 10));
    match () {
        () if frame.longest > MOST_STATEMENT_BYTES => Err("a statement is longer than any can be"),
        () if frame.raw > most_raw => Err("a frame is longer than any can be"),
        () if frame.stored > most_stored => Err("a frame takes more room than any can"),
        () => Ok(()),
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
    /// The next frame, or `None` after the last one.
    pub fn read(&mut self) -> Result<Option<FrameRecord>> {
        while let Some(record) = self.records.read()? {
            if let Record::Frame(frame) = record {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
