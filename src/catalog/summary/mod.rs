//! Summaries: many manifests in one object, so that a list of 10,000 backups does not need 10,000 requests.
//!
//! A summary contains the bytes of manifests and of their signatures, and is no authority: of these bytes only those are
//! used that the LIST of the backups confirms, by size, time of the last write, and the MD5 that the store gives as
//! entity tag. They are then parsed and judged as if they had been read from the manifest itself. So what a summary says
//! of a backup that was deleted, replaced or never existed is not used, whoever wrote it, and the manifests of all
//! other backups are read one by one. Marks (accepted, pinned, drills) are not in it: the LIST has them.
//!
//! Where entity tags are no MD5 (a directory, encryption with a KMS key), no summary is written.
//!
//! - [`levels`]: which summaries count, and which one comes next.
//! - [`reading`]: reads them, within limits.
//! - [`write`]: a backup and `prune` write one when eight backups are in none.

pub mod levels;
mod reading;
pub mod write;

use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::{manifest, read};
use crate::catalog::summary::reading::Reading;
use crate::catalog::{Catalog, Entry, Marks, READS_AT_ONCE};
use crate::layout::{BackupId, SummaryName};
use crate::store::{MOST_SIGNATURE_BYTES, StoreError};
use crate::util::digest;
use crate::util::error::{Error, Result};

/// From so many manifests on, summaries are asked for.
const MIN_MANIFESTS: usize = 16;

/// Maximum size of a summary in bytes, as stored.
const MAX_BYTES: u64 = 16 << 20;

/// One line of a summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Id of the backup.
    id: BackupId,
    /// When its manifest was written, by the clock of the store.
    modified: Timestamp,
    /// The manifest.
    manifest: String,
    /// Its signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl Record {
    /// Whether these are the bytes that the list shows, within the limits of reading them singly.
    fn is_of(&self, marks: &Marks) -> bool {
        let signature_bytes = self.signature.as_ref().map_or(0, String::len);
        if self.manifest.len() > manifest::MAX_BYTES
            || signature_bytes as u64 > MOST_SIGNATURE_BYTES
        {
            return false;
        }
        let signed = match (&self.signature, &marks.signature_etag) {
            (None, None) => true,
            (Some(signature), Some(etag)) => *etag == digest::md5(signature),
            _ => false,
        };
        signed
            && marks.committed
            && marks.manifest_bytes == self.manifest.len() as u64
            && marks.manifest_at == Some(self.modified)
            && marks.manifest_etag.as_deref() == Some(&digest::md5(&self.manifest))
    }
}

/// The entries among `ids` that summaries contain, and the other ids.
pub(super) async fn entries(
    catalog: &Catalog,
    ids: Vec<BackupId>,
) -> Result<(Vec<Entry>, Vec<BackupId>)> {
    let has_etag = |id: &BackupId| {
        let marks = catalog.marks.get(id);
        marks.is_some_and(|marks| marks.manifest_etag.is_some())
    };
    if ids.len() < MIN_MANIFESTS || !ids.iter().any(has_etag) {
        return Ok((Vec::new(), ids));
    }
    let listed = match listed(catalog).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::debug!(%error, "cannot list summaries");
            return Ok((Vec::new(), ids));
        }
    };
    let wanted = ids.iter().copied().collect();
    let mut records = Reading::until_found(catalog, &listed, wanted)
        .await?
        .records;
    let judged = catalog.clone();
    tokio::task::spawn_blocking(move || {
        let (mut entries, mut others) = (Vec::new(), Vec::new());
        for id in ids {
            let record = records.remove(&id).map(|(_, record)| record);
            match record.and_then(|record| judge(&judged, &record)) {
                Some(entry) => entries.push(entry),
                None => others.push(id),
            }
        }
        (entries, others)
    })
    .await
    .map_err(|e| Error::unexpected("reading summaries was interrupted").because(e))
}

/// The entry of a record that the list confirms; `None` if it cannot be used, for a reason that the manifest itself will
/// show.
fn judge(catalog: &Catalog, record: &Record) -> Option<Entry> {
    let marks = catalog.marks.get(&record.id)?;
    let document = record.manifest.as_bytes();
    let manifest = read::parse_manifest(&catalog.place(record.id), document).ok()?;
    let signature = record.signature.as_deref().map(str::as_bytes);
    let keys = catalog.store.keys();
    let signed = keys
        .verify(document, signature, manifest.finished_at)
        .ok()?;
    Some(Entry::new(record.id, manifest, signed, marks.clone()))
}

/// The summaries in the store, with the time of their last write.
async fn listed(catalog: &Catalog) -> Result<Vec<(SummaryName, Timestamp)>> {
    let listed = catalog.store.list(&catalog.target.summaries()).await?;
    let named = listed.into_iter().filter(|object| object.size <= MAX_BYTES);
    let named = named.filter_map(|object| {
        let name = catalog.target.parse_summary(&object.key)?;
        Some((name, object.modified))
    });
    Ok(named.collect())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
