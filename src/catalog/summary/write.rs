//! Writes summaries: a backup adds one of level 0, `prune` merges them. Best effort: without them a list takes a request for
//! each backup.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::catalog::summary::reading::{MAX_LINE_BYTES, MAX_TEXT_BYTES};
use crate::layout::BackupObject;

/// So many backups are in no summary before one is written.
const BATCH: usize = 8;

/// Most manifests that a backup reads for one summary; the next one contains more.
const MOST_OF_BACKUP: usize = 1_000;

/// So many manifests are read to find out whether entity tags are MD5.
const PROBES: usize = 3;

/// Maximum number of records of a summary.
const MOST_RECORDS: usize = 16_384;

const LEVEL: i32 = 6;

/// Time limit after a backup.
const TIMEOUT: Duration = Duration::from_secs(60);

/// As [`add`], after a backup; a failure is logged, since nothing depends on it.
pub async fn after_backup(catalog: &Catalog) {
    match tokio::time::timeout(TIMEOUT, add(catalog)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot write a summary of manifests"),
        Err(_) => tracing::warn!("no summary of manifests was written within {TIMEOUT:?}"),
    }
}

/// Writes a summary of level 0 if eight backups of the catalog are in none; returns whether it did.
pub(super) async fn add(catalog: &Catalog) -> Result<bool> {
    let listed = listed(catalog).await?;
    if !has_new(catalog, &listed) {
        return Ok(false);
    }
    write(catalog, &listed, 0, MOST_OF_BACKUP).await
}

/// As [`add`], of any number of backups; replaces the summaries of a level if there are too many of it.
pub async fn merge(catalog: &Catalog) -> Result<bool> {
    let listed = listed(catalog).await?;
    let level = levels::next(&levels::live(listed.clone(), |_| true));
    if level == 0 && !has_new(catalog, &listed) {
        return Ok(false);
    }
    write(catalog, &listed, level, MOST_RECORDS).await
}

/// Whether so many backups are in no summary that one is written.
fn has_new(catalog: &Catalog, listed: &[(SummaryName, Timestamp)]) -> bool {
    let newest = listed.iter().map(|(_, modified)| *modified).max();
    // What was written in the second of the last summary may be missing in it.
    let is_new = |marks: &&Marks| marks.manifest_etag.is_some() && marks.manifest_at >= newest;
    let new = catalog.committed().map(|(_, marks)| marks);
    new.filter(is_new).count() >= BATCH
}

/// Writes a summary of what is in none, and in those of lower levels; of the former, reads at most so many manifests. Returns
/// whether it did.
async fn write(
    catalog: &Catalog,
    listed: &[(SummaryName, Timestamp)],
    level: u8,
    most: usize,
) -> Result<bool> {
    let committed = catalog.committed().map(|(id, _)| id).collect();
    let known = Reading::until_found(catalog, listed, committed)
        .await?
        .records;
    let committed = catalog.committed().map(|(id, _)| id);
    let missing: Vec<BackupId> = committed.filter(|id| !known.contains_key(id)).collect();
    let mut all: Vec<Record> = known
        .into_values()
        .filter(|(name, _)| name.level < level)
        .map(|(_, record)| record)
        .collect();
    all.extend(fetch(catalog, &missing[..missing.len().min(most)]).await?);
    if all.is_empty() {
        return Ok(false);
    }
    all.sort_by_key(|record| std::cmp::Reverse(record.id));
    all.truncate(MOST_RECORDS);
    let body = tokio::task::spawn_blocking(move || fitting(&all, MAX_BYTES))
        .await
        .map_err(|e| Error::unexpected("writing a summary was interrupted").because(e))??;
    let name = SummaryName {
        written: BackupId::generate(Timestamp::now()),
        level,
    };
    match catalog
        .store
        .put_new(&catalog.target.summary(name), body)
        .await
    {
        Ok(()) => Ok(true),
        // Another run was faster.
        Err(StoreError::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the summaries that one with confirmed records replaced, and those of which the list confirms nothing; returns
/// their number. One that cannot be read is kept.
pub async fn sweep(catalog: &Catalog) -> Result<usize> {
    let listed = listed(catalog).await?;
    let reading = Reading::of_all(catalog, &listed).await?;
    let live = levels::live(listed.clone(), |name| reading.is_useful(name));
    let live: BTreeSet<SummaryName> = live.into_iter().collect();
    let mut deleted = 0;
    for (name, _) in listed {
        if !live.contains(&name) || reading.is_useless(&name) {
            catalog.store.delete(&catalog.target.summary(name)).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Reads the newest of the manifests, with their signatures, that are those of the list. None where entity tags are no
/// MD5: then none of the first ones is, and no other is read.
async fn fetch(catalog: &Catalog, ids: &[BackupId]) -> Result<Vec<Record>> {
    let (first, others) = ids.split_at(ids.len().min(PROBES));
    let mut records = Vec::new();
    for ids in [first, others] {
        let reads = ids.iter().map(|id| fetch_one(catalog, *id));
        let mut reads = futures_util::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        while let Some(read) = reads.next().await {
            records.extend(read?);
        }
        if records.is_empty() {
            break;
        }
    }
    Ok(records)
}

/// A manifest with its signature; `None` if they are not those of the list.
async fn fetch_one(catalog: &Catalog, id: BackupId) -> Result<Option<Record>> {
    let Some(marks) = catalog.marks.get(&id) else {
        return Ok(None);
    };
    let Some(modified) = marks.manifest_at else {
        return Ok(None);
    };
    let place = catalog.place(id);
    let text = async |object: BackupObject, most: u64| {
        let read = catalog.store.get_at_most(&place.key(&object), most).await;
        match read {
            Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).ok()),
            Err(StoreError::NotFound { .. } | StoreError::TooLong { .. }) => Ok(None),
            Err(error) => Err(Error::from(error)),
        }
    };
    let most = manifest::MAX_BYTES as u64;
    let Some(manifest) = text(BackupObject::Manifest, most).await? else {
        return Ok(None);
    };
    let signature = match marks.signature_etag {
        Some(_) => text(BackupObject::ManifestSignature, MOST_SIGNATURE_BYTES).await?,
        None => None,
    };
    let record = Record {
        id,
        modified,
        manifest,
        signature,
    };
    Ok(record.is_of(marks).then_some(record))
}

/// A summary of at most `most` bytes: of as many of the records, from the first one, as fit.
fn fitting(mut records: &[Record], most: u64) -> Result<Bytes> {
    let wanted = records.len();
    loop {
        let body = encoded(records)?;
        if body.len() as u64 <= most || records.is_empty() {
            let omitted = wanted - records.len();
            if omitted > 0 {
                tracing::warn!(
                    omitted,
                    "a summary of manifests is too large; the oldest are omitted"
                );
            }
            return Ok(body);
        }
        records = &records[..records.len() * 3 / 4];
    }
}

fn encoded(records: &[Record]) -> Result<Bytes> {
    let failed = |e: std::io::Error| Error::unexpected("cannot write a summary").because(e);
    let mut text = zstd::Encoder::new(Vec::new(), LEVEL).map_err(failed)?;
    text.include_checksum(true).map_err(failed)?;
    // Readers decompress no more of all summaries together.
    let mut room = MAX_TEXT_BYTES / 2;
    for record in records {
        let line = serde_json::to_string(record)
            .map_err(|e| Error::unexpected("cannot write a summary").because(e))?;
        // A reader would stop there.
        if line.len() as u64 >= MAX_LINE_BYTES {
            continue;
        }
        room = room.saturating_sub(line.len() as u64);
        if room == 0 {
            break;
        }
        writeln!(text, "{line}").map_err(failed)?;
    }
    text.finish().map(Bytes::from).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_that_is_too_large_contains_the_newest() {
        let record = |number: i64| Record {
            id: BackupId::new(Timestamp::from_second(number).unwrap(), 7),
            modified: Timestamp::UNIX_EPOCH,
            manifest: digest::md5(number.to_string()).repeat(10),
            signature: None,
        };
        let records: Vec<Record> = (0..100).rev().map(record).collect();
        let most = encoded(&records).unwrap().len() as u64 / 2;
        let body = fitting(&records, most).unwrap();
        assert!(body.len() as u64 <= most);
        let text = String::from_utf8(zstd::decode_all(&body[..]).unwrap()).unwrap();
        let first: Record = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first, records[0]);
        assert!((20..60).contains(&text.lines().count()));
    }

    #[test]
    fn a_record_that_no_reader_accepts_is_omitted() {
        let record = Record {
            id: BackupId::new(Timestamp::UNIX_EPOCH, 7),
            modified: Timestamp::UNIX_EPOCH,
            manifest: "\u{1}".repeat(MAX_LINE_BYTES as usize / 6),
            signature: None,
        };
        let body = encoded(&[record]).unwrap();
        assert_eq!(zstd::decode_all(&body[..]).unwrap(), b"");
    }
}
