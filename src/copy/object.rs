//! One object from the primary to the second store, byte for byte.
//!
//! The object is read in ranges of the size of a part, which are inspected and uploaded as they come. The upload is
//! completed only if the whole object is what it has to be; else it is aborted, and the second store lists nothing.
//!
//! Memory of one transfer: [`READS_AT_ONCE`] parts read ahead, and the parts in flight of the upload.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use crate::archive::manifest::FileFacts;
use crate::archive::write::object::{WrittenObject, protected};
use crate::copy::ends::{Ends, damaged, differs, of_primary, of_second};
use crate::copy::inspect::{Inspection, Seen};
use crate::store::{MAX_PARTS, Store, StoreError, Upload};
use crate::util::cancel::{awaited, tidy};
use crate::util::digest::Sha256Digest;
use crate::{Error, Result};

/// Ranges of one object that are read in parallel.
const READS_AT_ONCE: usize = 2;

/// Copies an object whose size and digest are known, unless it is there; returns the number of bytes copied.
///
/// # Errors
/// `Archive`: the object of the primary store is damaged or missing, or the second store has other bytes.
pub async fn copy(ends: &Ends, key: &str, facts: &FileFacts) -> Result<u64> {
    if is_there(ends, key, facts).await? {
        return Ok(0);
    }
    let judge = |seen: &Seen| match seen.sha256 == facts.sha256 {
        true => Ok(()),
        false => Err(damaged(key, "does not match its SHA-256")),
    };
    transfer(ends, key, facts.bytes, Inspection::plain(), judge).await?;
    Ok(facts.bytes)
}

/// Whether the second store has the object, by its bytes. That the checksums of both stores agree would not be enough: a
/// provider's replication also moves what is damaged.
///
/// # Errors
/// `Archive`: it has other bytes.
pub async fn is_there(ends: &Ends, key: &str, facts: &FileFacts) -> Result<bool> {
    let head = async {
        match ends.second.head(key).await {
            Ok(meta) => Ok(Some(meta)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(of_second(error)),
        }
    };
    let Some(there) = ends.cancel.unless(head).await? else {
        return Ok(false);
    };
    if there.size != facts.bytes {
        return Err(differs(key));
    }
    match digest(ends, &ends.second, key, facts.bytes).await? == facts.sha256 {
        true => Ok(true),
        false => Err(differs(key)),
    }
}

/// The SHA-256 of an object of the second store.
pub async fn digest(
    ends: &Ends,
    store: &Arc<dyn Store>,
    key: &str,
    bytes: u64,
) -> Result<Sha256Digest> {
    let part = ends.second.part_bytes() as u64;
    let mut inspection = Inspection::plain();
    let mut reads = stream::iter(ranges(bytes, part))
        .map(|range| async move { store.get(key, Some(range)).await.map_err(of_second) })
        .buffered(READS_AT_ONCE);
    while let Some(read) = ends.cancel.unless(async { Ok(reads.next().await) }).await? {
        inspection = inspected(inspection, read?).await?;
    }
    Ok(inspection.end().sha256)
}

/// Reads an object of the primary store of `bytes` bytes, and creates it in the second store if `judge` accepts it.
///
/// # Errors
/// `Archive`: the object is missing or has another size, or that of `judge`.
pub async fn transfer<T>(
    ends: &Ends,
    key: &str,
    bytes: u64,
    inspection: Inspection,
    judge: impl FnOnce(&Seen) -> Result<T>,
) -> Result<T> {
    check_size(ends, key, bytes).await?;
    let begun = Timestamp::now();
    let opened = async { ends.second.upload(key).await.map_err(of_second) };
    let mut upload = ends.cancel.unless(opened).await?;
    let sent = send(ends, key, bytes, inspection, upload.as_mut()).await;
    let judged = sent.and_then(|seen| {
        let judged = judge(&seen)?;
        Ok((judged, seen.sha256))
    });
    let (judged, sha256) = match judged {
        Ok(judged) => judged,
        Err(error) => {
            if let Some(Err(error)) = tidy(upload.abort()).await {
                tracing::warn!(key, %error, "cannot abort the upload; prune of the second store removes it");
            }
            return Err(error);
        }
    };
    let facts = FileFacts {
        name: key.to_owned(),
        bytes,
        sha256,
        plain_bytes: None,
    };
    let written = WrittenObject {
        facts,
        key: key.to_owned(),
        crc64nvme: upload.crc64nvme(),
        samples: Vec::new(),
        begun,
    };
    let completed = complete(ends, upload, &written);
    awaited(&ends.cancel, || {}, completed).await?;
    Ok(judged)
}

/// Checks an object's size before any of it is transferred: a truncated one is not read.
async fn check_size(ends: &Ends, key: &str, bytes: u64) -> Result<()> {
    let head = async {
        match ends.primary.head(key).await {
            Ok(meta) if meta.size == bytes => Ok(()),
            Ok(meta) => Err(damaged(
                key,
                &format!("has {} bytes instead of {bytes}", meta.size),
            )),
            Err(StoreError::NotFound { .. }) => Err(damaged(key, "is missing")),
            Err(error) => Err(of_primary(error)),
        }
    };
    ends.cancel.unless(head).await
}

async fn send(
    ends: &Ends,
    key: &str,
    bytes: u64,
    mut inspection: Inspection,
    upload: &mut dyn Upload,
) -> Result<Seen> {
    // An object of the primary store may have larger parts than the second store is configured for.
    let least = bytes.div_ceil(MAX_PARTS as u64);
    let part = (ends.second.part_bytes() as u64).max(least);
    let mut reads = stream::iter(ranges(bytes, part))
        .map(|range| ends.read(key, range))
        .buffered(READS_AT_ONCE);
    while let Some(read) = ends.cancel.unless(async { Ok(reads.next().await) }).await? {
        let read = match read {
            Ok(read) => read,
            Err(StoreError::NotFound { .. }) => return Err(damaged(key, "is missing")),
            Err(error) => {
                // It may have been replaced by a shorter one.
                check_size(ends, key, bytes).await?;
                return Err(of_primary(error));
            }
        };
        let sent = async { Ok(upload.part(read.clone()).await) };
        let (inspected, sent) = tokio::join!(
            inspected(inspection, read.clone()),
            ends.cancel.unless(sent)
        );
        inspection = inspected?;
        sent?.map_err(of_second)?;
    }
    Ok(inspection.end())
}

/// Inspects a part on a thread of its own: a large one would hold up the other tasks of this one.
async fn inspected(mut inspection: Inspection, bytes: Bytes) -> Result<Inspection> {
    let work = move || {
        inspection.update(&bytes);
        inspection
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::unexpected("digesting a part was interrupted").because(e))
}

/// Completes the object; a lost response is settled by the object in the store.
async fn complete(ends: &Ends, upload: Box<dyn Upload>, written: &WrittenObject) -> Result<()> {
    match upload.complete().await {
        Ok(_) => {}
        Err(StoreError::AlreadyExists { .. }) => {
            if !is_there(ends, &written.key, &written.facts).await? {
                return Err(of_second(Error::store(format!(
                    "{} exists and does not exist",
                    written.key
                ))));
            }
        }
        Err(error @ StoreError::Failed { .. }) => {
            let checked = written.check(&ends.second).await;
            checked.map_err(|_| of_second(error))?;
        }
        Err(error) => return Err(of_second(error)),
    }
    let lacks = written.check(&ends.second).await.map_err(of_second)?;
    for lack in lacks {
        tracing::warn!("second store: {lack}");
    }
    Ok(())
}

/// Creates a small object in the second store, and checks its protection; returns whether it was created, or was there
/// with the same bytes.
///
/// # Errors
/// `Archive`: it is there with other bytes.
pub async fn put(ends: &Ends, key: &str, body: Bytes) -> Result<bool> {
    let begun = Timestamp::now();
    let put = async {
        let refusal = match ends.second.put_new(key, body.clone()).await {
            Ok(()) => return Ok(true),
            Err(error @ (StoreError::AlreadyExists { .. } | StoreError::Failed { .. })) => error,
            Err(error) => return Err(of_second(error)),
        };
        match ends.second.get_at_most(key, body.len() as u64).await {
            Ok(there) if there == body => Ok(!matches!(refusal, StoreError::AlreadyExists { .. })),
            Ok(_) | Err(StoreError::TooLong { .. }) => Err(differs(key)),
            Err(_) => Err(of_second(refusal)),
        }
    };
    let created = awaited(&ends.cancel, || {}, put).await?;
    if created {
        let checked = async { protected(&ends.second, key, begun).await.map_err(of_second) };
        for lack in ends.cancel.unless(checked).await? {
            tracing::warn!("second store: {lack}");
        }
    }
    Ok(created)
}

/// The ranges of parts of an object.
fn ranges(bytes: u64, part: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..bytes.div_ceil(part.max(1)))
        .map(move |number| number * part..bytes.min((number + 1) * part))
}
