//! Deletes a backup: writes its tombstone, then deletes the manifest, then the other objects.
//!
//! Without its manifest the backup does not exist, so an interrupted deletion never leaves a partly deleted backup in a
//! list; because of the tombstone the next run deletes the rest at once. Evidence is kept: the drill reports and the
//! tombstone.
//!
//! A reader takes its lease *before* it reads the manifest, and this module checks for leases *after* it has deleted
//! the manifest. So it finds the lease of every reader that has read the manifest, and then keeps the other objects.

use std::sync::Arc;

use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::write::commit;
use crate::catalog::lease;
use crate::layout::BackupObject;
use crate::store::{Deleted, ObjectMeta, Store, StoreError};
use crate::util::error::{Error, Result};
use crate::util::times::before;

/// Result of a deletion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Bytes that are no longer listed.
    pub bytes: u64,
    /// Whether a versioned bucket only hid some of them.
    pub hidden: bool,
    /// Whether the backup is being read, so that only the manifest was deleted.
    pub in_use: bool,
}

impl Removed {
    fn add(&mut self, bytes: u64, deleted: Deleted) {
        self.bytes += bytes;
        self.hidden |= deleted == Deleted::Hidden;
    }
}

/// Deletes a committed backup, and leaves a tombstone.
pub async fn remove(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    committed_at: Timestamp,
    usable: bool,
) -> Result<Removed> {
    // An operator may have pinned it since it was listed.
    match store.head(&place.key(&BackupObject::Pin)).await {
        Err(StoreError::NotFound { .. }) => {}
        Ok(_) => {
            return Err(
                Error::refused(format!("{} was pinned during this run", place.id))
                    .hint("it was kept; run drctl prune again for the others"),
            );
        }
        Err(error) => return Err(Error::from(error).context(format!("prune {}", place.id))),
    }
    let tombstone = BackupObject::Pruned {
        committed_at,
        usable,
    };
    match store.put_new(&place.key(&tombstone), lease::stamp()).await {
        Ok(()) | Err(StoreError::AlreadyExists { .. }) => {}
        Err(error) => return Err(Error::from(error).context(format!("prune {}", place.id))),
    }
    let manifest = place.key(&BackupObject::Manifest);
    let deleted = store.delete(&manifest).await?;
    let mut removed = remove_rest(store, place).await?;
    removed.add(0, deleted);
    Ok(removed)
}

/// Deletes the remaining objects of a backup without a manifest.
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
        return Err(Error::store(format!(
            "{place} still has a manifest although it was deleted"
        ))
        .hint("check whether another run writes to this store"));
    }
    commit::check_uncommitted(store, place).await?;
    let fresh = before(Timestamp::now(), lease::VALIDITY);
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
    use crate::store::memory::MemoryStore;
    use bytes::Bytes;

    async fn store(names: &[&str]) -> (Arc<dyn Store>, BackupPlace) {
        let place = BackupPlace {
            target: "shop".parse().unwrap(),
            id: "20261121T020000Z-000001".parse().unwrap(),
        };
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
    const TOMBSTONE: &str = "pruned/20261121T020500Z-trusted.json";

    async fn remove_it(store: &Arc<dyn Store>, place: &BackupPlace) -> Removed {
        let committed_at = "2026-11-21T02:05:00Z".parse().unwrap();
        remove(store, place, committed_at, true).await.unwrap()
    }

    #[tokio::test]
    async fn only_evidence_is_kept() {
        let (store, place) =
            store(&["manifest.json", "dump.sql.zst", "accepted", "odd", DRILL]).await;
        let removed = remove_it(&store, &place).await;
        assert_eq!(removed.bytes, 15);
        assert_eq!(names(&store, &place).await, [DRILL, TOMBSTONE]);
    }

    #[tokio::test]
    async fn a_backup_pinned_after_it_was_listed_is_kept() {
        let (store, place) = store(&["manifest.json", "dump.sql.zst", "pin"]).await;
        let committed_at = "2026-11-21T02:05:00Z".parse().unwrap();
        let error = remove(&store, &place, committed_at, true)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(error.outcome().code(), 9);
        assert!(error.to_string().contains("was pinned"), "{error}");
        assert_eq!(
            names(&store, &place).await,
            ["dump.sql.zst", "manifest.json", "pin"]
        );
    }

    #[tokio::test]
    async fn a_backup_that_is_being_read_loses_only_its_manifest() {
        let (store, place) = store(&["manifest.json", "dump.sql.zst", LEASE_NAME]).await;
        assert!(remove_it(&store, &place).await.in_use);
        assert_eq!(
            names(&store, &place).await,
            ["dump.sql.zst", TOMBSTONE, LEASE_NAME]
        );
        store
            .delete(&format!("{}{LEASE_NAME}", place.prefix()))
            .await
            .unwrap();
        assert!(!remove_rest(&store, &place).await.unwrap().in_use);
        assert_eq!(names(&store, &place).await, [TOMBSTONE]);
    }

    #[tokio::test]
    async fn the_rest_is_never_deleted_while_a_manifest_exists() {
        let (store, place) = store(&["manifest.json", "dump.sql.zst"]).await;
        assert!(remove_rest(&store, &place).await.is_err());
        assert_eq!(
            names(&store, &place).await,
            ["dump.sql.zst", "manifest.json"]
        );
    }
}
