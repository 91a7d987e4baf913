//! Expiry of evidence: drill reports and tombstones of deleted backups, and run records, which would
//! otherwise lengthen every LIST without bound.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::archive::write::commit;
use crate::catalog::{Catalog, Marks};
use crate::layout::BackupObject;
use crate::objectives::rpo_rto::WINDOW;
use crate::store::Store;
use crate::util::error::Result;
use crate::util::times::{self, hours};

/// Minimum age of a probe that counts as the leftover of an interrupted run.
const MIN_PROBE_AGE: SignedDuration = hours(24);

/// Removes evidence older than `before`, except that of existing backups; returns the number of objects.
pub async fn remove_expired(
    store: &Arc<dyn Store>,
    catalog: &Catalog,
    before: Timestamp,
) -> Result<usize> {
    let now = Timestamp::now();
    let mut old = Vec::new();
    for (id, marks) in catalog.past() {
        let (objects, place) = (of_backup(marks, now, before), catalog.place(id));
        if !objects.is_empty() {
            commit::check_uncommitted(store, &place).await?;
        }
        old.extend(objects.iter().map(|object| place.key(object)));
    }
    let target = catalog.target();
    let old_probe = times::before(now, MIN_PROBE_AGE);
    for object in store.list(&target.runs()).await? {
        let is_old = match target.parse_run(&object.key) {
            Some(run) => run.time < before,
            None => target.is_probe(&object.key) && object.modified < old_probe,
        };
        if is_old {
            old.push(object.key);
        }
    }
    for key in &old {
        store.delete(key).await?;
    }
    Ok(old.len())
}

/// Old reports of a deleted backup, and its tombstone together with the last report; a tombstone without
/// reports is kept while the RPO's window may begin before it.
fn of_backup(marks: &Marks, now: Timestamp, before: Timestamp) -> Vec<BackupObject> {
    let (old, fresh): (Vec<_>, Vec<_>) = marks.drills.iter().partition(|drill| drill.time < before);
    let mut objects: Vec<BackupObject> =
        old.into_iter().cloned().map(BackupObject::Drill).collect();
    if let Some((committed_at, usable)) = marks.pruned
        && fresh.is_empty()
        && committed_at < times::before(now, WINDOW.saturating_mul(2))
    {
        objects.push(BackupObject::Pruned {
            committed_at,
            usable,
        });
    }
    objects
}
