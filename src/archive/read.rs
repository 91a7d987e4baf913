//! Reads archives: manifest and index → verified, decoded frames.
//!
//! Data that do not match a digest are never returned: the stored bytes of a frame are compared with their SHA-256,
//! decoded by a codec with its own checksum, and the SQL is compared with its XXH3-128. The index is compared with its
//! SHA-256 in the manifest, on which all other digests depend.

use std::sync::Arc;

use bytes::Bytes;

use crate::archive::BackupPlace;
use crate::archive::codec::{decode, decode_all};
use crate::archive::index::{FrameRecord, InventoryRecord, Record, SourceRecord, TableRecord};
use crate::archive::manifest::{FileFacts, MAX_BYTES, Manifest, Totals};
use crate::archive::stored_index::{Records, StoredIndex, damaged};
use crate::archive::stored_object::{StoredObject, StoredRange};
use crate::archive::write::framer::FRAME_BYTES;
use crate::entries;
use crate::entries::record::Format;
use crate::keys::signers::Signed;
use crate::layout::BackupObject;
use crate::sql::ledger::Ledger;
use crate::sql::session::Session;
use crate::store::{self, Store, StoreError};
use crate::util::digest::{Sha256Digest, Xxh3Digest};
use crate::util::error::{Error, Result};

/// Maximum size in bytes of accounts.sql, stored or decoded.
const MAX_ACCOUNTS_BYTES: u64 = 256 << 20;

/// Maximum size in bytes of the names, ledger and warnings in an index.
const MAX_NAMES_BYTES: usize = 1 << 30;

/// Maximum length in bytes of a statement: a row of 1 GiB, the protocol's limit, with two digits per byte.
const MAX_STATEMENT_BYTES: u64 = (2 << 30) + (64 << 20);

/// A committed backup, open for reading.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn Store>,
    place: BackupPlace,
    manifest: Arc<Manifest>,
    index: StoredIndex,
    segments: Arc<[StoredObject]>,
    contents: Arc<Contents>,
}

/// The records of the index except frames. Grows with the number of tables, not with their rows.
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
    /// The warnings of the run.
    pub warnings: Vec<String>,
    /// Columns whose values mysqldump cannot represent exactly.
    pub lossy: Vec<String>,
    /// The GTIDs executed at the snapshot, if they are too long for the manifest.
    pub gtid: Option<String>,
    /// What the server itself computed of tables.
    pub source: Vec<SourceRecord>,
    /// What the entries of a stream that is not SQL are; `None` of SQL.
    pub format: Option<Format>,
    /// The ledger of a stream that is not SQL.
    pub entries: entries::Ledger,
}

/// Reads a manifest, checks that it belongs to its location, and finds out who signed it.
pub async fn manifest(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<(Manifest, Signed)> {
    let bytes = manifest_bytes(store, place).await?;
    let manifest = parse_manifest(place, &bytes)?;
    let signature = place.key(&BackupObject::ManifestSignature);
    let signed = store::verify(store, &bytes, &signature, manifest.finished_at).await?;
    Ok((manifest, signed))
}

/// Reads the bytes of a manifest.
pub async fn manifest_bytes(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<Bytes> {
    let key = place.key(&BackupObject::Manifest);
    match store.get_at_most(&key, MAX_BYTES as u64).await {
        Ok(bytes) => Ok(bytes),
        Err(StoreError::NotFound { .. }) => {
            Err(Error::nothing(format!("there is no {place}")).hint("see drctl list"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Parses a manifest, and checks that it belongs to its location.
pub fn parse_manifest(place: &BackupPlace, bytes: &[u8]) -> Result<Manifest> {
    let key = place.key(&BackupObject::Manifest);
    let manifest = Manifest::from_bytes(bytes).map_err(|e| e.context(&key))?;
    if (&manifest.id, &manifest.target) != (&place.id, &place.target) {
        return Err(Error::archive(format!(
            "{key} is the manifest of {} of {}: the archive was moved or edited",
            manifest.id, manifest.target
        )));
    }
    Ok(manifest)
}

impl Archive {
    /// Opens a backup: reads manifest and index, and checks that they agree.
    pub async fn open(store: Arc<dyn Store>, place: BackupPlace) -> Result<Archive> {
        let (manifest, signed) = manifest(&store, &place).await?;
        signed.admit(&place.key(&BackupObject::Manifest))?;
        let manifest = Arc::new(manifest);
        let index = StoredIndex::fetch(&store, &place, &manifest).await?;
        let (reader, of, whose) = (index.clone(), manifest.clone(), place.to_string());
        let contents = tokio::task::spawn_blocking(move || read_contents(&reader, &of, &whose))
            .await
            .map_err(|e| Error::unexpected("reading the index was interrupted").because(e))??;
        let segments = (0..).zip(&manifest.segments).map(|(number, facts)| {
            let object = manifest.segment(number)?;
            Ok(StoredObject::new(&store, &place, &manifest, object, facts))
        });
        Ok(Archive {
            segments: segments.collect::<Result<_>>()?,
            store,
            place,
            manifest,
            index,
            contents: Arc::new(contents),
        })
    }

    /// The public keys of the identities that decrypt the dump; none if it is not encrypted.
    pub async fn decrypting(&self) -> Result<Vec<String>> {
        match self.segments.first() {
            Some(first) => first.decrypting().await,
            None => Ok(Vec::new()),
        }
    }

    /// The commit record.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The records of the index except frames.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The frames, in order.
    pub fn frames(&self) -> Result<Frames> {
        Ok(Frames {
            records: self.index.records()?,
        })
    }

    /// Fetches, verifies and decodes a frame.
    pub async fn fetch(&self, frame: &FrameRecord) -> Result<Vec<u8>> {
        let stored = self.fetch_stored(frame).await?;
        let (codec, frame, key) = (
            self.manifest.codec,
            frame.clone(),
            self.segment(frame)?.key().clone(),
        );
        let decode = move || check_and_decode(codec, &frame, &key, &stored.text()?);
        tokio::task::spawn_blocking(decode)
            .await
            .map_err(|e| Error::unexpected("decoding a frame was interrupted").because(e))?
    }

    pub(super) async fn fetch_stored(&self, frame: &FrameRecord) -> Result<StoredRange> {
        let range = frame.offset..frame.offset + frame.stored;
        self.segment(frame)?.range(range).await
    }

    /// The segment of a frame.
    pub(super) fn segment(&self, frame: &FrameRecord) -> Result<&StoredObject> {
        let segment = self.segments.get(frame.segment as usize);
        segment.ok_or_else(|| damaged(&self.place, "a frame is in no segment"))
    }

    /// An object that holds data, by the name that it has in this backup.
    pub(super) fn stored_object(
        &self,
        object: BackupObject,
        facts: &FileFacts,
    ) -> Result<StoredObject> {
        let BackupObject::Encrypted(plain) = object else {
            return Err(damaged(&self.place, "an object is not encrypted"));
        };
        let (store, place) = (&self.store, &self.place);
        Ok(StoredObject::new(
            store,
            place,
            &self.manifest,
            *plain,
            facts,
        ))
    }

    /// The store, and the location of the backup.
    pub(super) fn place(&self) -> (&Arc<dyn Store>, &BackupPlace) {
        (&self.store, &self.place)
    }

    /// accounts.sql, verified and decoded; `None` if the backup contains no accounts.
    pub async fn accounts(&self) -> Result<Option<Vec<u8>>> {
        let Some(facts) = &self.manifest.accounts else {
            return Ok(None);
        };
        let codec = self.manifest.codec;
        let object = BackupObject::Accounts(codec.suffix());
        let object = StoredObject::new(&self.store, &self.place, &self.manifest, object, facts);
        let wrong = |what: &str| {
            Error::archive(format!("accounts.sql {what}"))
                .hint("restore another backup, and find out what changed the store")
        };
        if facts.bytes > MAX_ACCOUNTS_BYTES {
            return Err(wrong(
                "is longer than the maximum, according to the manifest",
            ));
        }
        let stored = object.whole().await?;
        let sql = decode_all(codec, &stored, MAX_ACCOUNTS_BYTES)
            .map_err(|e| wrong("cannot be decoded").because(e))?;
        Ok(Some(sql))
    }
}

/// Reads the whole index, and checks that its frames fill the segments exactly.
fn read_contents(index: &StoredIndex, manifest: &Manifest, whose: &str) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut filled = vec![0u64; manifest.segments.len()];
    let (mut frames, mut segment, mut raw, mut longest) = (0, 0, 0u64, 0);
    let wrong = |what: &str| damaged(whose, what);
    let (mut records, mut names) = (index.records()?, 0usize);
    while let Some(record) = records.read()? {
        if !matches!(record, Record::Frame(_)) {
            names = names.saturating_add(records.record_bytes());
            if names > MAX_NAMES_BYTES {
                return Err(wrong(
                    "its names take more than the maximum number of bytes",
                ));
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
                let place = place.ok_or_else(|| wrong("a frame is in no segment"))?;
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
                (*place, raw) = ends.ok_or_else(|| wrong("a frame is longer than possible"))?;
                longest = frame.longest.max(longest);
                frames += 1;
            }
            Record::Ledger(entry) => contents
                .ledger
                .add(entry)
                .map_err(|e| wrong("its ledger is inconsistent").because(e))?,
            Record::Inventory(object) => contents.inventory.push(object),
            Record::Warning(warning) => contents.warnings.push(warning),
            Record::Lossy(column) => contents.lossy.push(column),
            Record::Gtid(set) => contents.gtid = Some(set),
            Record::Source(table) => contents.source.push(table),
            Record::Format(format) => contents.format = Some(format),
            Record::Entry(entry) => contents
                .entries
                .add(entry)
                .map_err(|e| wrong("its ledger is inconsistent").because(e))?,
        }
    }
    let segments = manifest.segments.iter();
    let sizes = segments.clone().map(FileFacts::text_bytes);
    let totals = Totals {
        raw_bytes: raw,
        stored_bytes: segments.map(|segment| segment.bytes).sum(),
        frames,
        // A stream may have no frame.
        streams: manifest.totals.streams,
        rows: contents.ledger.total_rows() + contents.entries.counts().lines,
        largest_statement_bytes: longest,
        objects: Totals::objects_with(&contents.ledger, contents.entries.counts()),
    };
    if !filled.into_iter().eq(sizes) || totals != manifest.totals {
        return Err(wrong("it does not agree with the manifest"));
    }
    Ok(contents)
}

/// Checks that the sizes of a frame are possible, since memory is allocated by them.
fn check_sizes(frame: &FrameRecord) -> std::result::Result<(), &'static str> {
    // A frame ends with the statement with which it exceeds its size.
    let max_raw = frame.longest.saturating_add(2 * FRAME_BYTES as u64);
    // Incompressible data grow by a few bytes per block.
    let max_stored = frame.raw.saturating_add(frame.raw / 64 + (64 << 10));
    if frame.longest > MAX_STATEMENT_BYTES {
        Err("a statement is longer than possible")
    } else if frame.raw > max_raw {
        Err("a frame is longer than possible")
    } else if frame.stored > max_stored {
        Err("a frame has more stored bytes than possible")
    } else {
        Ok(())
    }
}

/// Decodes a frame whose stored bytes and SQL match their digests.
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
    if Sha256Digest::of(stored) != frame.sha256 {
        return Err(wrong("does not match its SHA-256"));
    }
    let raw = decode(codec, stored, frame.raw as usize)
        .map_err(|e| wrong("cannot be decoded").because(e))?;
    if Xxh3Digest::of(&raw) != frame.xxh3 {
        return Err(wrong("does not match its XXH3-128"));
    }
    Ok(raw)
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
