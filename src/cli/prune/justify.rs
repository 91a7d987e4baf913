//! The backups because of which others are deleted are read from the store itself, before the first deletion.
//!
//! What is decided on may come from summaries, which the LIST confirms; the LIST does not show whether the store can still
//! return a manifest.

use crate::catalog::retention::Decision;
use crate::catalog::{Catalog, Entry};
use crate::util::error::{Error, Result};

/// Reads the manifests of the newest backups that are kept.
///
/// # Errors
///
/// One cannot be read, or is not what the decisions were made on: then nothing may be deleted.
pub(super) async fn check(
    catalog: &Catalog,
    entries: &[Entry],
    decisions: &[Decision],
) -> Result<()> {
    const HINT: &str =
        "it is among the backups because of which others would be deleted: run drctl show for it";
    for kept in justifying(entries, decisions) {
        let id = kept.id;
        let read = catalog.entry(id).await.map_err(|error| {
            let error = error.context(format!("no backup was deleted: cannot read backup {id}"));
            error.hint(HINT)
        })?;
        if read.manifest != kept.manifest || read.signed != kept.signed {
            let what = format!("no backup was deleted: backup {id} changed during this run");
            return Err(Error::refused(what).hint(HINT));
        }
    }
    Ok(())
}

/// The newest backup that is kept, the newest usable one, and the newest usable one that was verified.
fn justifying<'a>(entries: &'a [Entry], decisions: &[Decision]) -> Vec<&'a Entry> {
    let kept = entries.iter().zip(decisions);
    let kept = kept.filter(|(_, decision)| matches!(decision, Decision::Keep(_)));
    let kept: Vec<&Entry> = kept.map(|(entry, _)| entry).collect();
    let usable = || kept.iter().copied().filter(|entry| entry.is_usable());
    let verified = usable().find(|entry| entry.marks.was_verified());
    let newest = [kept.first().copied(), usable().next(), verified];
    let mut justifying: Vec<&Entry> = newest.into_iter().flatten().collect();
    justifying.sort_by_key(|entry| entry.id);
    justifying.dedup_by_key(|entry| entry.id);
    justifying
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::archive::fixture;
    use crate::archive::manifest::FileFacts;
    use crate::layout::{BackupId, BackupObject, DrillLevel, DrillName, DrillVerdict};
    use crate::store::Store;
    use crate::store::fault::{Fault, FaultStore, Op};
    use crate::store::memory::MemoryStore;

    fn id(number: i64) -> BackupId {
        BackupId::new(Timestamp::from_second(number * 3_600).unwrap(), 7)
    }

    /// Five backups, of which the second one was verified.
    async fn stored() -> MemoryStore {
        let (store, mut place) = fixture::place();
        for number in 1..=5 {
            place.id = id(number);
            let index = FileFacts::of(&BackupObject::Index, b"index");
            let mut manifest = fixture::manifest(&place, Vec::new(), index);
            manifest.suspect.clear();
            let bytes = manifest.to_bytes().unwrap();
            let key = place.key(&BackupObject::Manifest);
            store.put(&key, bytes.into()).await.unwrap();
        }
        place.id = id(2);
        let passed = BackupObject::Drill(DrillName {
            time: Timestamp::from_second(100_000).unwrap(),
            level: DrillLevel::Restore,
            verdict: DrillVerdict::Pass,
        });
        store.put(&place.key(&passed), Bytes::new()).await.unwrap();
        store
    }

    async fn catalog(store: impl Store + 'static) -> Catalog {
        let target = fixture::place().1.target;
        Catalog::read(Arc::new(store), target).await.unwrap()
    }

    #[tokio::test]
    async fn nothing_is_deleted_if_a_backup_that_justifies_it_cannot_be_read() {
        let store = stored().await;
        let (entries, _) = catalog(store.clone()).await.entries().await.unwrap();
        let decisions: Vec<Decision> = entries
            .iter()
            .map(|entry| match entry.id == id(1) {
                true => Decision::Delete,
                false => Decision::Keep(vec!["last".into()]),
            })
            .collect();
        for (number, is_needed) in [(1, false), (2, true), (3, false), (4, false), (5, true)] {
            let faulty = FaultStore::new(Arc::new(store.clone()));
            let unreadable = format!("{}/manifest.json", id(number));
            let faulty = faulty.always(Op::Get, &unreadable, Fault::Fail);
            let checked = check(&catalog(faulty).await, &entries, &decisions).await;
            assert_eq!(checked.is_err(), is_needed, "{number}");
        }
        let mut entries = entries;
        entries[0].manifest.labels = [("another".into(), "one".into())].into();
        let checked = check(&catalog(store).await, &entries, &decisions).await;
        let error = checked.unwrap_err().to_string();
        assert!(error.starts_with("no backup was deleted: "), "{error}");
    }
}
