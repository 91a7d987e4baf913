//! Removing a backup: what says that it was there, then the manifest, then the rest.
//!
//! Without its manifest it is no backup, so one that is interrupted here leaves nothing half-deleted
//! in any list; the note of its past tells the next run that the rest may go at once. Evidence stays:
//! the reports of its drills, and that note.
//!
//! Who reads a backup puts its lease beside it *before* it reads the manifest. Here the manifest goes
//! before leases are looked for. So whoever still got the manifest is seen, and keeps the rest.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::archive::BackupPlace;
use crate::error::{Error, Result};
use crate::store::keys::BackupObject;
use crate::store::{Deleted, ObjectMeta, Store, StoreError};
use crate::times::{before, hours};

/// A lease older than this is of a reader that was killed.
pub const LEASE: SignedDuration = hours(24);

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Bytes that are no longer listed.
    pub bytes: u64,
    /// Whether a bucket with versions only hid some of them.
    pub hidden: bool,
    /// Whether somebody still reads it, so that only the manifest went.
    pub in_use: bool,
}

impl Removed {
    fn add(&mut self, bytes: u64, deleted: Deleted) {
        self.bytes += bytes;
        self.hidden |= deleted == Deleted::Hidden;
    }
}

/// Removes a committed backup, and leaves a note that it was there.
pub async fn remove(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    committed_at: Timestamp,
    trusted: bool,
) -> Result<Removed> {
    // Somebody may have pinned it since it was listed.
    match store.head(&place.key(&BackupObject::Pin)).await {
        Err(StoreError::NotFound { .. }) => {}
        Ok(_) => {
            return Err(Error::refused(format!("{} was pinned meanwhile", place.id))
                .hint("it was left alone; prune again for the others"));
        }
        Err(error) => return Err(Error::from(error).context(format!("prune {}", place.id))),
    }
    let note = BackupObject::Pruned {
        committed_at,
        trusted,
    };
    let body = Bytes::from(format!("{{\"at\":\"{}\"}}\n", Timestamp::now()));
    match store.put_new(&place.key(&note), body).await {
        Ok(()) | Err(StoreError::AlreadyExists { .. }) => {}
        Err(error) => return Err(Error::from(error).context(format!("prune {}", place.id))),
    }
    let manifest = place.key(&BackupObject::Manifest);
    let deleted = store.delete(&manifest).await?;
    let mut removed = remove_rest(store, place).await?;
    removed.add(0, deleted);
    Ok(removed)
}

/// Removes what is left of a backup whose manifest is gone.
pub async fn remove_rest(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<Removed> {
    let objects: Vec<(ObjectMeta, Option<BackupObject>)> = store
        .list(&place.prefix())
        .await?
        .into_iter()
        .map(|object| {
            let name = place.target.parse_object(&object.key);
            (object, name.map(|(_, name)| name))
        })
        .collect();
    if objects
        .iter()
        .any(|(_, name)| *name == Some(BackupObject::Manifest))
    {
        return Err(
            Error::store(format!("{place} has its manifest although it was deleted"))
                .hint("see whether another run writes to this store"),
        );
    }
    let fresh = before(Timestamp::now(), LEASE);
    let is_lease = |name: &Option<BackupObject>| matches!(name, Some(BackupObject::Reading { .. }));
    let mut removed = Removed {
        in_use: objects
            .iter()
            .any(|(object, name)| is_lease(name) && object.modified > fresh),
        ..Removed::default()
    };
    if removed.in_use {
        return Ok(removed);
    }
    let mut failed = None;
    for (object, name) in objects {
        if name.is_some_and(|name| name.is_evidence()) {
            continue;
        }
        match store.delete(&object.key).await {
            Ok(deleted) => removed.add(object.size, deleted),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        None => Ok(removed),
        Some(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::fixture;
    use crate::store::memory::MemoryStore;

    async fn store(names: &[&str]) -> (Arc<dyn Store>, BackupPlace) {
        let (_, place) = fixture::place();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        for name in names {
            let key = format!("{}{name}", place.prefix());
            store
                .put_new(&key, Bytes::from_static(b"12345"))
                .await
                .unwrap();
        }
        (store, place)
    }

    async fn names(store: &Arc<dyn Store>, place: &BackupPlace) -> Vec<String> {
        let objects = store.list(&place.prefix()).await.unwrap();
        let name = |object: ObjectMeta| object.key[place.prefix().len()..].to_owned();
        objects.into_iter().map(name).collect()
    }

    const DRILL: &str = "drills/20261121T030000Z-restore-pass.json";
    const LEASE_NAME: &str = "reading/20261121T030000Z-0000ab.json";
    const NOTE: &str = "pruned/20261121T020500Z-trusted.json";

    async fn remove_it(store: &Arc<dyn Store>, place: &BackupPlace) -> Removed {
        let committed_at = "2026-11-21T02:05:00Z".parse().unwrap();
        remove(store, place, committed_at, true).await.unwrap()
    }

    #[tokio::test]
    async fn only_evidence_stays() {
        let (store, place) =
            store(&["manifest.json", "dump.sql.zst", "accepted", "odd", DRILL]).await;
        let removed = remove_it(&store, &place).await;
        assert_eq!(removed.bytes, 15);
        assert_eq!(names(&store, &place).await, [DRILL, NOTE]);
    }

    #[tokio::test]
    async fn what_somebody_reads_loses_its_manifest_alone_until_the_reader_is_gone() {
        let (store, place) = store(&["manifest.json", "dump.sql.zst", LEASE_NAME]).await;
        assert!(remove_it(&store, &place).await.in_use);
        assert_eq!(
            names(&store, &place).await,
            ["dump.sql.zst", NOTE, LEASE_NAME]
        );
        store
            .delete(&format!("{}{LEASE_NAME}", place.prefix()))
            .await
            .unwrap();
        assert!(!remove_rest(&store, &place).await.unwrap().in_use);
        assert_eq!(names(&store, &place).await, [NOTE]);
    }

    #[tokio::test]
    async fn the_rest_never_goes_while_there_is_a_manifest() {
        let (store, place) = store(&["manifest.json", "dump.sql.zst"]).await;
        assert!(remove_rest(&store, &place).await.is_err());
        assert_eq!(
            names(&store, &place).await,
            ["dump.sql.zst", "manifest.json"]
        );
    }
}
