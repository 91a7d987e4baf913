//! The commit: what the store holds is checked, and only then is the manifest written.
//!
//! Until the manifest is *sent*, a failure discards everything. From then on nothing is deleted:
//! where the answer is lost or says that there is one already, the manifest is read, and its own
//! bytes are success.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::codec::{Codec, decode};
use crate::archive::index::FrameRecord;
use crate::archive::manifest::{FileFacts, Manifest};
use crate::archive::write::object::{ObjectWriter, protected};
use crate::archive::write::sequencer::Written;
use crate::error::{Error, Result};
use crate::store::keys::BackupObject;
use crate::store::{Store, StoreError};
use crate::times::{after, minutes};

/// How much of an archive is read again before it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadBack {
    /// Sizes and checksums of all objects, and up to 64 frames spread over the archive.
    #[default]
    Sample,
    /// Every byte.
    Full,
}

/// Reads back what was written: the store's word on every object, and frames by ranged reads. Gives
/// what the store did not give of what was asked for, where that endangers nothing.
pub async fn read_back(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    written: &Written,
    codec: Codec,
    how_much: ReadBack,
) -> Result<Vec<String>> {
    let mut lacks = Vec::new();
    for object in written.segments.iter().chain([&written.index]) {
        lacks.extend(object.check(store).await?);
    }
    match how_much {
        ReadBack::Sample => {
            for frame in &written.sample {
                read_frame(store, place, frame, codec).await?;
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

async fn read_frame(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    frame: &FrameRecord,
    codec: Codec,
) -> Result<()> {
    let key = place.key(&codec.segment(frame.segment as usize)?);
    let range = frame.offset..frame.offset + frame.stored;
    let stored = store.get(&key, Some(range)).await?;
    let differs = || {
        Error::store(format!(
            "frame {} of {key} reads back as other bytes",
            frame.n
        ))
    };
    if hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&stored)) != frame.sha256 {
        return Err(differs());
    }
    let raw = decode(codec, &stored, frame.raw as usize).map_err(|e| differs().because(e))?;
    match super::encode::hex128(xxhash_rust::xxh3::xxh3_128(&raw)) == frame.xxh3 {
        true => Ok(()),
        false => Err(differs()),
    }
}

async fn read_whole(store: &Arc<dyn Store>, key: &str, facts: &FileFacts) -> Result<()> {
    const CHUNK_BYTES: u64 = 8 << 20;
    let mut sha256 = <sha2::Sha256 as sha2::Digest>::new();
    let mut at = 0;
    while at < facts.bytes {
        let end = facts.bytes.min(at + CHUNK_BYTES);
        sha2::Digest::update(&mut sha256, store.get(key, Some(at..end)).await?);
        at = end;
    }
    match hex::encode(sha2::Digest::finalize(sha256)) == facts.sha256 {
        true => Ok(()),
        false => Err(Error::store(format!("{key} reads back as other bytes"))),
    }
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

/// Makes the backup exist. After this was called nothing of it may be deleted by this run.
///
/// Gives an error where it exists, whole and listed, and is not protected as configured.
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
    match store.get(&key, None).await {
        // What a server keeps of an object that it refused lacks what it refused.
        Ok(theirs) if theirs == bytes && definitive => Err(Error::from(refusal).context(format!(
            "{} is listed, although the store refused to commit it",
            place.id
        ))),
        Ok(theirs) if theirs == bytes => Ok(protected(store, &key, begun).await.err().map(listed)),
        Ok(_) => Err(Error::held(format!("{key} was written by another run"))
            .hint("this run's segments stay unlisted; run the backup again")),
        Err(_) if definitive => Err(refusal.into()),
        Err(StoreError::NotFound { .. }) => Err(Error::from(refusal)
            .context("commit the backup")
            .hint("nothing was committed; run the backup again")),
        Err(_) => Err(Error::from(refusal)
            .context("commit the backup, outcome unknown")
            .hint("see with drctl list whether it is there")),
    }
}

fn listed(error: Error) -> Error {
    error.context("the backup is committed and whole, but")
}

/// Deletes what an uncommitted backup left. Best effort: a later run sweeps what remains.
pub async fn discard(store: &Arc<dyn Store>, place: &BackupPlace) {
    let objects = match store.list(&place.prefix()).await {
        Ok(objects) => objects,
        Err(error) => {
            tracing::warn!(%place, %error, "cannot look for leftovers; a later run sweeps them");
            return;
        }
    };
    let manifest = place.key(&BackupObject::Manifest);
    if objects.iter().any(|object| object.key == manifest) {
        return;
    }
    // A cancelled run may have dropped an upload half-way.
    let all = after(Timestamp::now(), minutes(5));
    if let Err(error) = store.abort_stale_uploads(&place.prefix(), all).await {
        tracing::warn!(%place, %error, "cannot abort uploads; a later run sweeps them");
    }
    for object in objects {
        let name = place.target.parse_object(&object.key);
        if name.is_some_and(|(_, name)| name.is_evidence()) {
            continue;
        }
        if let Err(error) = store.delete(&object.key).await {
            tracing::warn!(key = object.key, %error, "cannot delete a leftover; a later run sweeps it");
        }
    }
}

/// `SHA256SUMS`, as `sha256sum -c` reads it.
pub fn sha256sums<'a>(files: impl IntoIterator<Item = &'a FileFacts>) -> String {
    files
        .into_iter()
        .map(|file| format!("{}  {}\n", file.sha256, file.name))
        .collect()
}
