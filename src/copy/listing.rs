//! The objects of all backups in one store, by their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::layout::{BackupId, BackupObject, TargetName};
use crate::store::{Store, StoreError};

/// The objects of one backup.
#[derive(Debug, Default)]
pub struct Listed {
    /// Size of each object, by its name below the prefix of the backup.
    pub sizes: BTreeMap<String, u64>,
    /// Whether there is a manifest.
    pub committed: bool,
    /// Whether retention deleted it in this store.
    pub pruned: bool,
    /// Marks and drill reports.
    pub evidence: Vec<BackupObject>,
}

/// The backups of a target in one store.
#[derive(Debug, Default)]
pub struct Listing(BTreeMap<BackupId, Listed>);

impl Listing {
    /// Lists a store.
    pub async fn read(store: &Arc<dyn Store>, target: &TargetName) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        for object in store.list_backups(target).await? {
            let Some((id, name)) = target.parse_object(&object.key) else {
                continue;
            };
            let listed = listing.0.entry(id).or_default();
            listed.sizes.insert(name.to_string(), object.size);
            match name {
                BackupObject::Manifest => listed.committed = true,
                BackupObject::Pruned { .. } => listed.pruned = true,
                BackupObject::Accepted | BackupObject::Pin | BackupObject::Drill(_) => {
                    listed.evidence.push(name);
                }
                _ => {}
            }
        }
        Ok(listing)
    }

    /// The backups, oldest first; also those of which only reports are left.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (BackupId, &Listed)> {
        self.0.iter().map(|(id, listed)| (*id, listed))
    }

    /// One backup; `None` if nothing of it is listed.
    pub fn get(&self, id: BackupId) -> Option<&Listed> {
        self.0.get(&id)
    }
}
