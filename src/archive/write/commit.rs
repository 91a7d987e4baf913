//! The commit: checks the stored objects, and then writes the manifest.
//!
//! Until the manifest is *sent*, a failure discards everything. From then on nothing is deleted: if the response is lost,
//! or the manifest already exists, it is read; if it has the same bytes, the commit succeeded.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio_util::task::AbortOnDropHandle;

use crate::archive::BackupPlace;
use crate::archive::codec::Codec;
use crate::archive::index::{FrameRecord, InventoryRecord};
use crate::archive::manifest::{
    ClientFacts, Coordinates, FORMAT, FORMAT_OF_KINDS, FileFacts, Manifest, ReaderFacts,
    ServerFacts, Totals,
};
use crate::archive::read::check_and_decode;
use crate::archive::restore_txt::{Finish, pointer_txt, restore_txt};
use crate::archive::write::framer::FRAME_BYTES;
use crate::archive::write::object::{ObjectWriter, Sample, protected};
use crate::archive::write::sequencer::Written;
use crate::keys::Keys;
use crate::layout::BackupObject;
use crate::store::{self, Key, Store, StoreError};
use crate::util::digest::Sha256Digest;
use crate::util::error::{Error, Result};
use crate::util::format::counted;
use crate::util::times::{after, minutes};

/// Frames that are read back at the same time; long ones alone.
const READS: usize = 2;

/// The origin of the data, for the manifest.
#[derive(Debug)]
pub struct Provenance {
    /// The kind of the source; `None`: MySQL.
    pub kind: Option<String>,
    /// Time of the data in the dump.
    pub snapshot_at: Timestamp,
    /// When the run began.
    pub started_at: Timestamp,
    /// The dumped server.
    pub server: ServerFacts,
    /// The snapshot's position in the binary log, if known.
    pub coordinates: Option<Coordinates>,
    /// The dump program.
    pub client: ClientFacts,
    /// How the rows were read, if not by the dump program.
    pub reader: Option<ReaderFacts>,
    /// Columns whose values the dump does not represent exactly, a line each.
    pub lossy: Vec<String>,
    /// Warnings of the run, a line each.
    pub warnings: Vec<String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// Why the backup is suspect, a line each; empty if it is not.
    pub suspect: Vec<String>,
}

/// The manifest of an archive whose objects are in the store; its documents are added when they are written.
///
/// If the archive is encrypted, nothing in its manifest names an object of the database.
pub fn manifest(
    keys: &Keys,
    place: &BackupPlace,
    codec: Codec,
    written: &Written,
    accounts: Option<FileFacts>,
    provenance: Provenance,
) -> Result<Manifest> {
    let recipients = keys.recipients()?;
    let or_none = |is: bool, name: &str| if is { name } else { "none" }.to_owned();
    let listed = |lines: Vec<String>, noun: &str| match (&recipients, lines.len() as u64) {
        (None, _) | (_, 0) => lines,
        (Some(_), count) => vec![format!("{}, listed in the index", counted(count, noun))],
    };
    let mut server = provenance.server;
    if recipients.is_some() {
        // Variables that name a table.
        server
            .fingerprint
            .retain(|name, _| !name.ends_with("stopword_table"));
    }
    Ok(Manifest {
        format: match provenance.kind {
            None => FORMAT,
            Some(_) => FORMAT_OF_KINDS,
        },
        kind: provenance.kind,
        drctl: env!("CARGO_PKG_VERSION").into(),
        id: place.id,
        target: place.target.clone(),
        snapshot_at: provenance.snapshot_at,
        started_at: provenance.started_at,
        finished_at: Timestamp::now(),
        server,
        coordinates: provenance.coordinates,
        client: provenance.client,
        reader: provenance.reader,
        codec,
        encryption: or_none(recipients.is_some(), "age"),
        recipients: recipients
            .as_ref()
            .map_or(Vec::new(), |all| all.names().collect()),
        rekeyed_from: None,
        signature: or_none(keys.signing()?.is_some(), "sshsig"),
        segments: written
            .segments
            .iter()
            .map(|segment| segment.facts.clone())
            .collect(),
        index: written.index.facts.clone(),
        accounts,
        documents: Vec::new(),
        totals: Totals {
            raw_bytes: written.raw_bytes,
            stored_bytes: written.stored_bytes,
            frames: written.frames,
            streams: written.streams,
            rows: written.ledger.total_rows() + written.entries.lines,
            largest_statement_bytes: written.longest,
            objects: Totals::objects_with(&written.ledger, &written.entries),
        },
        lossy: listed(provenance.lossy, "inexact column"),
        warnings: listed(provenance.warnings, "warning"),
        labels: provenance.labels,
        suspect: provenance.suspect,
    })
}

/// Writes RESTORE.txt and SHA256SUMS, the documents for a restore without drctl, and records them in the manifest.
pub async fn put_documents(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    manifest: &mut Manifest,
    inventory: &[InventoryRecord],
    finish: &Finish,
) -> Result<()> {
    let text = restore_txt(manifest, inventory, finish);
    let unnamed = Finish {
        roles: Vec::new(),
        ..finish.clone()
    };
    let names = manifest.is_encrypted() && text != restore_txt(manifest, &[], &unnamed);
    put_instructions(store, place, manifest, &text, names).await
}

/// Writes RESTORE.txt with this text, and SHA256SUMS. Where it names what the archive encrypts, it is encrypted, too.
pub async fn put_instructions(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    manifest: &mut Manifest,
    text: &str,
    names: bool,
) -> Result<()> {
    let (readme, mut text) = (BackupObject::Readme, text.to_owned());
    let mut documents = Vec::new();
    if names {
        let encrypted = readme.clone().encrypted();
        documents.push(put_file(store, place, &encrypted, text.as_bytes()).await?);
        text = pointer_txt(manifest);
    }
    documents.insert(0, put_file(store, place, &readme, text.as_bytes()).await?);
    manifest.documents = documents;
    let sums = sha256sums(manifest.files());
    put_file(store, place, &BackupObject::Sums, sums.as_bytes()).await?;
    Ok(())
}

/// Writes the signature of a manifest that is not yet in the store, if the store has a signing key.
pub async fn put_signature(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    manifest: &Manifest,
) -> Result<()> {
    let Some(signature) = store::sign(store, manifest.to_bytes()?.into()).await? else {
        return Ok(());
    };
    let object = BackupObject::ManifestSignature;
    put_file(store, place, &object, signature.as_bytes()).await?;
    Ok(())
}

/// How much of an archive is read back before it is committed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ReadBack {
    /// Sizes and checksums of all objects, and up to 32 frames spread over the archive.
    #[default]
    Sample,
    /// Every byte.
    Full,
}

/// Checks the metadata of every written object, and reads back frames or everything. Returns configured properties that
/// objects lack, except retention and encryption, which are errors.
pub async fn read_back(
    store: &Arc<dyn Store>,
    written: &Written,
    codec: Codec,
    how_much: ReadBack,
) -> Result<Vec<String>> {
    let mut lacks = Vec::new();
    for object in written.segments.iter().chain([&written.index]) {
        lacks.extend(object.check(store).await?);
    }
    match how_much {
        ReadBack::Sample if store.keys().encrypts() => {
            // Nobody here can decrypt it.
            for object in &written.segments {
                for Sample { range, sha256 } in &object.samples {
                    let stored = store.get(&object.key, Some(range.clone())).await?;
                    if Sha256Digest::of(&stored) != *sha256 {
                        return Err(Error::store(format!(
                            "{} differs when read back",
                            object.key
                        )));
                    }
                }
            }
        }
        ReadBack::Sample => {
            let is_long = |frame: &&FrameRecord| frame.raw > 2 * FRAME_BYTES as u64;
            let (long, short): (Vec<_>, Vec<_>) = written.sample.iter().partition(is_long);
            for frame in long {
                read_frame(store.clone(), key_of(written, frame)?, frame.clone(), codec).await?;
            }
            let short = short
                .into_iter()
                .map(|frame| Ok((key_of(written, frame)?, frame)));
            let short = short.collect::<Result<Vec<_>>>()?;
            let mut reads = stream::iter(short)
                .map(|(key, frame)| read_frame(store.clone(), key, frame.clone(), codec))
                .map(|read| AbortOnDropHandle::new(tokio::spawn(read)))
                .buffer_unordered(READS);
            while let Some(read) = reads.next().await {
                read.map_err(|e| Error::unexpected("reading back was interrupted").because(e))??;
            }
        }
        ReadBack::Full => {
            for object in &written.segments {
                read_whole(store, &object.key, &object.facts).await?;
            }
        }
    }
    Ok(lacks)
}

/// The segment of a frame.
fn key_of(written: &Written, frame: &FrameRecord) -> Result<Key> {
    let segment = written.segments.get(frame.segment as usize);
    let segment = segment.ok_or_else(|| Error::unexpected("a frame is in no segment"))?;
    Ok(segment.key.clone())
}

async fn read_frame(
    store: Arc<dyn Store>,
    key: Key,
    frame: FrameRecord,
    codec: Codec,
) -> Result<()> {
    let range = frame.offset..frame.offset + frame.stored;
    let stored = store.get(&key, Some(range)).await?;
    let differs = || Error::store(format!("frame {} of {key} differs when read back", frame.n));
    check_and_decode(codec, &frame, &key, &stored).map_err(|error| differs().caused_by(error))?;
    Ok(())
}

async fn read_whole(store: &Arc<dyn Store>, key: &str, facts: &FileFacts) -> Result<()> {
    const CHUNK_BYTES: u64 = 8 << 20;
    let mut sha256 = Sha256::new();
    let mut at = 0;
    while at < facts.bytes {
        let end = facts.bytes.min(at + CHUNK_BYTES);
        sha256.update(store.get(key, Some(at..end)).await?);
        at = end;
    }
    if Sha256Digest::from(sha256) != facts.sha256 {
        return Err(Error::store(format!("{key} differs when read back")));
    }
    Ok(())
}

/// Writes a small object of a backup: accounts, SHA256SUMS, RESTORE.txt.
pub async fn put_file(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    object: &BackupObject,
    body: &[u8],
) -> Result<FileFacts> {
    let mut object = ObjectWriter::begin(store, place, object).await?;
    if let Err(error) = object.write(body).await {
        object.abort().await;
        return Err(error);
    }
    let written = object.complete(store).await?;
    written.check(store).await?;
    Ok(written.facts)
}

/// Commits the backup. After this call the run must not delete any of its objects.
///
/// Returns an error inside `Ok` if the backup exists but is not protected as configured.
pub async fn put_manifest(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    manifest: &Manifest,
) -> Result<Option<Error>> {
    let key = place.key(&BackupObject::Manifest);
    let bytes = Bytes::from(manifest.to_bytes()?);
    let begun = Timestamp::now();
    let refusal = match store.put_new(&key, bytes.clone()).await {
        Ok(()) => return Ok(protected(store, &key, begun).await.err().map(listed)),
        Err(error) => error,
    };
    let definitive = matches!(
        refusal,
        StoreError::Denied { .. } | StoreError::Refused { .. }
    );
    match store.get_at_most(&key, bytes.len() as u64).await {
        // The store rejected the object but kept it, so it lacks the rejected properties.
        Ok(theirs) if theirs == bytes && definitive => Err(Error::from(refusal).context(format!(
            "{} is listed, although the store rejected its manifest",
            place.id
        ))),
        Ok(theirs) if theirs == bytes => Ok(protected(store, &key, begun).await.err().map(listed)),
        Ok(_) | Err(StoreError::TooLong { .. }) => {
            Err(Error::locked(format!("{key} was written by another run"))
                .hint("the segments of this run remain unlisted; run the backup again"))
        }
        Err(_) if definitive => Err(refusal.into()),
        Err(StoreError::NotFound { .. }) => Err(Error::from(refusal)
            .context("commit the backup")
            .hint("nothing was committed; run the backup again")),
        Err(_) => Err(Error::from(refusal)
            .context("commit the backup, outcome unknown")
            .hint("check with drctl list whether it exists")),
    }
}

fn listed(error: Error) -> Error {
    error.context("the backup is complete and committed, but")
}

/// Checks that a backup has no manifest, with a HEAD: a LIST may be incomplete, which must not cause the deletion of a
/// backup.
///
/// # Errors
/// `Store` if the manifest exists, or may exist.
pub async fn check_uncommitted(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<()> {
    let manifest = place.key(&BackupObject::Manifest);
    match store.head(&manifest).await {
        Err(StoreError::NotFound { .. }) => Ok(()),
        Ok(_) => Err(Error::store(format!(
            "the store's list leaves out {manifest}, which exists"
        ))
        .hint("nothing was deleted; find out why the list of the store, or of a proxy before it, is incomplete")),
        Err(error) => Err(Error::from(error)
            .context(format!("nothing of {place} was deleted: cannot check whether it is committed"))),
    }
}

/// Deletes the objects of an uncommitted backup. Best effort: a later run deletes the rest.
pub async fn discard(store: &Arc<dyn Store>, place: &BackupPlace) {
    let objects = match store.list(&place.prefix()).await {
        Ok(objects) => objects,
        Err(error) => {
            tracing::warn!(%place, %error, "cannot list the leftovers; a later run deletes them");
            return;
        }
    };
    if let Err(error) = check_uncommitted(store, place).await {
        tracing::warn!(%place, %error, "leftovers of the backup were not deleted");
        return;
    }
    // A cancelled run may have dropped an unfinished upload.
    let all = after(Timestamp::now(), minutes(5));
    if let Err(error) = store.abort_stale_uploads(&place.prefix(), all).await {
        tracing::warn!(%place, %error, "cannot abort uploads; a later run aborts them");
    }
    for object in objects {
        let name = place.target.parse_object(&object.key);
        if name.is_some_and(|(_, name)| name.is_evidence()) {
            continue;
        }
        if let Err(error) = store.delete(&object.key).await {
            tracing::warn!(key = object.key, %error, "cannot delete a leftover; a later run deletes it");
        }
    }
}

/// `SHA256SUMS`, in the format of `sha256sum -c`.
pub fn sha256sums<'a>(files: impl IntoIterator<Item = &'a FileFacts>) -> String {
    files
        .into_iter()
        .map(|file| format!("{}  {}\n", file.sha256, file.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::fixture::{self, dump, edit, small};
    use crate::archive::write::WriteOptions;

    #[tokio::test]
    async fn a_bit_that_differs_in_the_store_is_found_by_either_way_to_read_back() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            let (store, place) = fixture::place();
            let store: Arc<dyn Store> = Arc::new(store);
            let options = WriteOptions {
                codec,
                // One frame per segment: the sample has each.
                ..small(400, 1)
            };
            let written = fixture::write(&store, &place, &[&dump("d", 20)], options, Vec::new())
                .await
                .unwrap();
            assert_eq!(written.sample.len(), written.segments.len());
            for object in &written.segments {
                let whole = store.get(&object.key, None).await.unwrap();
                for how_much in [ReadBack::Sample, ReadBack::Full] {
                    let read = || read_back(&store, &written, codec, how_much);
                    read().await.unwrap();
                    edit(&store, &object.key.as_str().into(), |bytes| {
                        let middle = bytes.len() / 2;
                        bytes[middle] ^= 1;
                    })
                    .await;
                    let error = read().await.unwrap_err();
                    assert_eq!(error.outcome().code(), 5);
                    let text = error.to_string();
                    assert!(
                        text.contains(&object.key) && text.contains("differs when read back"),
                        "{codec:?} {how_much:?}: {text}"
                    );
                    store.put(&object.key, whole.clone()).await.unwrap();
                }
            }
        }
    }
}
