//! How long evidence stays: the reports of drills of backups that are gone, the notes that they were
//! there, and the records of runs. Each would otherwise make every LIST a little longer, for ever.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::{Catalog, Marks};
use crate::error::Result;
use crate::objectives::rpo_rto::WINDOW;
use crate::store::Store;
use crate::store::keys::BackupObject;
use crate::times::{self, hours};

/// How old what killed runs left between the records must be.
const STRAY: SignedDuration = hours(24);

/// Removes evidence from before `before` and says how many objects; that of backups that are still
/// there stays with them.
pub async fn remove_old(
    store: &Arc<dyn Store>,
    catalog: &Catalog,
    before: Timestamp,
) -> Result<usize> {
    let now = Timestamp::now();
    let mut old = Vec::new();
    for (id, marks) in catalog.past() {
        old.extend(
            of_backup(marks, now, before)
                .iter()
                .map(|object| catalog.place(id).key(object)),
        );
    }
    let target = catalog.target();
    let stray = times::before(now, STRAY);
    for object in store.list(&target.runs()).await? {
        let is_old = match target.parse_run(&object.key) {
            Some(run) => run.time < before,
            None => target.is_probe(&object.key) && object.modified < stray,
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

/// The old reports, and with the last of them the note; a note alone is needed while the RPO's window
/// may begin before it.
fn of_backup(marks: &Marks, now: Timestamp, before: Timestamp) -> Vec<BackupObject> {
    let (old, fresh): (Vec<_>, Vec<_>) = marks.drills.iter().partition(|drill| drill.time < before);
    let mut objects: Vec<BackupObject> =
        old.into_iter().cloned().map(BackupObject::Drill).collect();
    if let Some((committed_at, trusted)) = marks.pruned
        && fresh.is_empty()
        && committed_at < times::before(now, WINDOW.saturating_mul(2))
    {
        objects.push(BackupObject::Pruned {
            committed_at,
            trusted,
        });
    }
    objects
}
