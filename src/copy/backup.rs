//! One backup: its objects, then its marks, then the manifest's signature and the manifest, by which the second store
//! lists it.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::archive::BackupPlace;
use crate::archive::manifest::{FileFacts, MAX_BYTES, Manifest};
use crate::archive::write::commit::sha256sums;
use crate::catalog::lease::Lease;
use crate::copy::ends::{Ends, damaged, is_of_one_object, of_primary, of_second, trusted};
use crate::copy::listing::Listed;
use crate::copy::marks;
use crate::copy::object;
use crate::layout::BackupObject;
use crate::store::StoreError;
use crate::util::cancel::tidy;
use crate::util::digest::Sha256Digest;
use crate::{Error, Result};

/// Maximum size in bytes of `SHA256SUMS`, `RESTORE.txt` and a signature.
const MAX_DOCUMENT_BYTES: u64 = 32 << 20;

/// Copies a backup; returns the number of bytes copied, or `None` if the primary store deleted it meanwhile.
///
/// # Errors
/// `Archive`: an object is damaged or missing in the primary store, or exists with other bytes in the second. The
/// backup is then not listed in the second store.
pub async fn copy(ends: &Ends, place: &BackupPlace, listed: &Listed) -> Result<Option<u64>> {
    // Before the manifest is read: while the lease exists, retention does not delete the backup.
    let taken = async { Ok(Lease::reading(&ends.primary, place).await) };
    let lease = ends.cancel.unless(taken).await?;
    let done = copy_leased(ends, place, listed).await;
    if let Some(lease) = lease {
        tidy(lease.end()).await;
    }
    match done {
        Err(error) if is_of_one_object(&error) && is_gone(ends, place).await? => {
            tracing::info!(%place, "the primary store deleted the backup while it was copied");
            Ok(None)
        }
        done => done,
    }
}

async fn copy_leased(ends: &Ends, place: &BackupPlace, listed: &Listed) -> Result<Option<u64>> {
    let Some(commit) = commit(ends, place, listed).await? else {
        return Ok(None);
    };
    // The heartbeat keeps prune of the second store from taking the objects for leftovers.
    let begun = async {
        let begun = Lease::heartbeat(&ends.second, place).await;
        begun.map_err(of_second)
    };
    let heartbeat = ends.cancel.unless(begun).await?;
    let copied = copy_objects(ends, place, &commit, listed).await;
    tidy(heartbeat.end()).await;
    copied.map(Some)
}

async fn copy_objects(
    ends: &Ends,
    place: &BackupPlace,
    commit: &Commit,
    listed: &Listed,
) -> Result<u64> {
    let manifest = &commit.manifest;
    let documents = documents(ends, place, manifest).await?;
    let mut copied = copy_files(ends, place, manifest).await?;
    for (key, body) in documents {
        copied += size_if(&body, object::put(ends, &key, body.clone()).await?);
    }
    // Before the manifest: from its first listing on the second store selects the same backups.
    for mark in &listed.evidence {
        if !matches!(mark, BackupObject::Drill(_)) {
            marks::copy(ends, &place.key(mark)).await?;
        }
    }
    let signature = commit.signature.iter();
    let signature = signature.map(|bytes| (BackupObject::ManifestSignature, bytes));
    for (object, bytes) in signature.chain([(BackupObject::Manifest, &commit.bytes)]) {
        let put = object::put(ends, &place.key(&object), bytes.clone()).await;
        copied += size_if(bytes, put.map_err(|error| commit_error(place, error))?);
    }
    Ok(copied)
}

fn commit_error(place: &BackupPlace, error: Error) -> Error {
    error.context(format!("list the copy of {place}"))
}

fn size_if(body: &Bytes, created: bool) -> u64 {
    match created {
        true => body.len() as u64,
        false => 0,
    }
}

/// Copies segments, index and accounts, a few at once. The first failure stops the others.
async fn copy_files(ends: &Ends, place: &BackupPlace, manifest: &Manifest) -> Result<u64> {
    let together = Ends {
        cancel: ends.cancel.child(),
        ..ends.clone()
    };
    let copy = |facts: FileFacts| {
        let key = format!("{}{}", place.prefix(), facts.name);
        let ends = &together;
        async move { object::copy(ends, &key, &facts).await }
    };
    let mut copies = stream::iter(data(manifest).cloned().collect::<Vec<_>>())
        .map(copy)
        .buffer_unordered(ends.objects_at_once);
    let (mut copied, mut failed) = (0, None);
    while let Some(done) = copies.next().await {
        match done {
            Ok(bytes) => copied += bytes,
            Err(error) => {
                // The others abort their uploads, and fail for that reason.
                together.cancel.stop();
                failed.get_or_insert(error);
            }
        }
    }
    ends.cancel.check()?;
    match failed {
        None => Ok(copied),
        Some(error) => Err(error),
    }
}

/// The objects that hold data.
fn data(manifest: &Manifest) -> impl Iterator<Item = &FileFacts> {
    let segments = manifest.segments.iter();
    segments.chain(&manifest.accounts).chain([&manifest.index])
}

/// What a backup is committed by.
#[derive(Debug)]
pub struct Commit {
    /// The manifest as stored.
    pub bytes: Bytes,
    /// The manifest.
    pub manifest: Manifest,
    /// Its signature as stored; `None` if it is not signed.
    pub signature: Option<Bytes>,
}

impl Commit {
    /// Whether a store that lists these objects has all of the backup.
    pub fn is_whole(&self, there: &Listed) -> bool {
        let has = |object: BackupObject| there.sizes.contains_key(&object.to_string());
        let mut files = self.manifest.files();
        has(BackupObject::Sums)
            && has(BackupObject::Readme)
            && (self.signature.is_none() || has(BackupObject::ManifestSignature))
            && files.all(|file| there.sizes.get(&file.name) == Some(&file.bytes))
    }
}

/// Reads and verifies the manifest in the primary store, and its signature; `None` if there is no manifest.
pub async fn commit(ends: &Ends, place: &BackupPlace, listed: &Listed) -> Result<Option<Commit>> {
    let key = place.key(&BackupObject::Manifest);
    let read = async { Ok(ends.primary.get_at_most(&key, MAX_BYTES as u64).await) };
    let bytes = match ends.cancel.unless(read).await? {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(of_primary(error)),
    };
    let read = Manifest::from_bytes(&bytes);
    let manifest = read.map_err(|error| of_primary(error.context(&key)))?;
    if (&manifest.id, &manifest.target) != (&place.id, &place.target) {
        let whose = format!("is the manifest of {} of {}", manifest.id, manifest.target);
        return Err(damaged(&key, &whose));
    }
    let signature = BackupObject::ManifestSignature;
    let is_listed = listed.sizes.contains_key(&signature.to_string());
    // It was written before the manifest.
    let signature = match is_listed || manifest.signature != "none" {
        true => Some(document(ends, place, &signature).await?.1),
        false => None,
    };
    trusted(ends, &key, &bytes, signature.as_ref(), manifest.finished_at)?;
    Ok(Some(Commit {
        bytes,
        manifest,
        signature,
    }))
}

/// Reads `RESTORE.txt`, in the clear and perhaps encrypted, and `SHA256SUMS`, which have to agree with the manifest and with
/// each other.
async fn documents(
    ends: &Ends,
    place: &BackupPlace,
    manifest: &Manifest,
) -> Result<Vec<(String, Bytes)>> {
    let readme = BackupObject::Readme;
    let encrypted = readme.clone().encrypted();
    let recorded = &manifest.documents;
    let names = recorded.iter().map(|facts| facts.name.as_str());
    let expected = [readme.to_string(), encrypted.to_string()];
    if !names.eq(expected.iter().map(String::as_str).take(recorded.len())) {
        let key = place.key(&BackupObject::Manifest);
        return Err(damaged(&key, "names other documents than a backup has"));
    }
    let mut documents = Vec::new();
    for (facts, object) in recorded.iter().zip([&readme, &encrypted]) {
        let (key, body) = document(ends, place, object).await?;
        if (body.len() as u64, Sha256Digest::of(&body)) != (facts.bytes, facts.sha256) {
            return Err(damaged(&key, "does not match its SHA-256"));
        }
        documents.push((key, body));
    }
    // Older versions did not record it in the manifest.
    let mut unrecorded = None;
    if recorded.is_empty() {
        let (key, body) = document(ends, place, &readme).await?;
        unrecorded = Some(FileFacts::of(&readme, &body));
        documents.push((key, body));
    }
    let (key, sums) = document(ends, place, &BackupObject::Sums).await?;
    if sums != sha256sums(manifest.files().chain(&unrecorded)) {
        let readme = place.key(&readme);
        let how = format!("does not agree with the manifest and {readme}");
        return Err(damaged(&key, &how));
    }
    documents.push((key, sums));
    Ok(documents)
}

async fn document(
    ends: &Ends,
    place: &BackupPlace,
    object: &BackupObject,
) -> Result<(String, Bytes)> {
    let key = place.key(object);
    let read = async {
        let read = ends.primary.get_at_most(&key, MAX_DOCUMENT_BYTES).await;
        read.map_err(|error| match error {
            StoreError::NotFound { .. } => damaged(&key, "is missing"),
            StoreError::TooLong { .. } => damaged(&key, "is longer than it can be"),
            error => of_primary(error),
        })
    };
    let bytes = ends.cancel.unless(read).await?;
    Ok((key, bytes))
}

/// Whether the primary store has no manifest of the backup any more.
async fn is_gone(ends: &Ends, place: &BackupPlace) -> Result<bool> {
    let key = place.key(&BackupObject::Manifest);
    let head = async { Ok(ends.primary.head(&key).await) };
    let head = ends.cancel.unless(head).await?;
    Ok(matches!(head, Err(StoreError::NotFound { .. })))
}
