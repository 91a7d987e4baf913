//! What backups exist: list, latest, proven.
//!
//! One LIST of a target tells which backups are committed, pinned, accepted and proven, because
//! the names of objects say so; what else a list shows stands in the manifests, read side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::manifest::{MAX_BYTES, Manifest};
use crate::archive::read::{self, Archive};
use crate::error::{Error, Outcome, Result};
use crate::objectives::rpo_rto::Snapshot;
use crate::store::keys::{BackupId, BackupObject, DrillLevel, DrillName, DrillVerdict, TargetName};
use crate::store::{ObjectMeta, Store, StoreError};

/// How many manifests are read side by side.
const READS_AT_ONCE: usize = 32;

/// What the names of a backup's objects tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Whether there is a manifest: without one it is no backup.
    pub committed: bool,
    /// Bytes of the manifest.
    pub manifest_bytes: u64,
    /// When a restore of it was last verified: its data are right, whatever objective was missed.
    pub proven_at: Option<Timestamp>,
    /// When a drill found it damaged or wrong, and no later restore of it was verified: then it is
    /// not proven any more.
    pub failed_at: Option<Timestamp>,
    /// Its drills, and restores that were proven.
    pub drills: Vec<DrillName>,
    /// Whether it is kept for ever.
    pub pinned: bool,
    /// Whether a person trusts it although it was committed as suspect.
    pub accepted: bool,
    /// When somebody who reads it last said so.
    pub read_at: Option<Timestamp>,
    /// When it was committed, and whether it was trusted, where retention deleted it.
    pub pruned: Option<(Timestamp, bool)>,
    /// Whether anything of it is there but evidence.
    pub has_body: bool,
    /// When its heartbeat was last written, if there is one.
    pub heartbeat_at: Option<Timestamp>,
    /// The newest of its objects.
    pub modified_at: Option<Timestamp>,
}

/// What is believed of a backup after all that happened to it: here, and nowhere else.
///
/// | what happened | proven | failed |
/// |---|---|---|
/// | a restore was verified: a drill (`pass`, `missed`) or a restore with its proof | since then | no more |
/// | a drill of either level failed (`fail`) | no more | since then |
/// | a drill of the archive alone passed | as before | as before |
/// | a drill broke off (`broken`) | as before | as before |
/// | a person accepted it | as before | as before |
///
/// Of what happened in the same second the failure is the later. Whether it is trusted is another question, of
/// its suspect reasons and the person alone; whoever vouches for others needs both ([`Marks::is_vouched`]).
impl Marks {
    /// Whether a restore of it was ever verified.
    pub fn was_proven(&self) -> bool {
        self.drills.iter().any(proves_restore)
    }

    /// Whether others may be judged by it: a restore or a person said that it is as it should be, and no
    /// drill has found otherwise since.
    pub fn is_vouched(&self) -> bool {
        self.failed_at.is_none() && (self.accepted || self.proven_at.is_some())
    }

    /// What its drills say together.
    fn judge_drills(&mut self) {
        let newest = |which: &dyn Fn(&&DrillName) -> bool| {
            let times = self.drills.iter().filter(which).map(|drill| drill.time);
            times.max()
        };
        self.proven_at = newest(&|drill| proves_restore(drill));
        self.failed_at = newest(&|drill| drill.verdict == DrillVerdict::Fail);
        match self.failed_at >= self.proven_at {
            true => self.proven_at = None,
            false => self.failed_at = None,
        }
    }
}

fn proves_restore(drill: &DrillName) -> bool {
    drill.level == DrillLevel::Restore && drill.verdict.proves()
}

/// One committed backup.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which one.
    pub id: BackupId,
    /// Its commit record.
    pub manifest: Manifest,
    /// What the names of its objects tell.
    pub marks: Marks,
}

impl Entry {
    /// Why it must not be trusted by itself; empty once accepted.
    pub fn suspect(&self) -> &[String] {
        match self.marks.accepted {
            true => &[],
            false => &self.manifest.suspect,
        }
    }

    /// Whether it may be chosen without being named.
    pub fn is_trusted(&self) -> bool {
        self.suspect().is_empty()
    }

    /// One line for whoever acts on the others while this one, the newest, waits for a decision; nothing where
    /// it is trusted.
    pub fn waits(&self) -> Option<String> {
        let (id, reasons) = (self.id, self.suspect().join("; "));
        (!self.is_trusted()).then(|| {
            format!(
                "the newest backup {id} is suspect, and counts for nothing: {reasons}; if it is right, drctl accept {id}"
            )
        })
    }
}

/// The backups of one target.
#[derive(Debug, Clone)]
pub struct Catalog {
    store: Arc<dyn Store>,
    target: TargetName,
    marks: BTreeMap<BackupId, Marks>,
}

/// Which backup is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Id(BackupId),
    /// The newest that is not suspect.
    Latest,
    /// The newest that a restore has verified.
    LatestVerified,
    /// The newest whose snapshot is not later than this.
    At(Timestamp),
}

impl Catalog {
    /// Lists a target once.
    pub async fn read(store: Arc<dyn Store>, target: TargetName) -> Result<Catalog> {
        let objects = store.list(&target.prefix()).await?;
        Ok(Catalog::of(store, target, &objects))
    }

    /// From a list of all objects of a target.
    pub fn of(store: Arc<dyn Store>, target: TargetName, objects: &[ObjectMeta]) -> Catalog {
        let mut marks: BTreeMap<BackupId, Marks> = BTreeMap::new();
        for object in objects {
            let Some((id, name)) = target.parse_object(&object.key) else {
                continue;
            };
            let marks = marks.entry(id).or_default();
            marks.modified_at = marks.modified_at.max(Some(object.modified));
            marks.has_body |= !name.is_evidence();
            match name {
                BackupObject::Manifest => {
                    marks.committed = true;
                    marks.manifest_bytes = object.size;
                }
                BackupObject::Pin => marks.pinned = true,
                BackupObject::Accepted => marks.accepted = true,
                BackupObject::Running => marks.heartbeat_at = Some(object.modified),
                BackupObject::Drill(drill) => marks.drills.push(drill),
                BackupObject::Reading { .. } => {
                    marks.read_at = marks.read_at.max(Some(object.modified));
                }
                BackupObject::Pruned {
                    committed_at,
                    trusted,
                } => marks.pruned = Some((committed_at, trusted)),
                _ => {}
            }
        }
        marks.values_mut().for_each(Marks::judge_drills);
        Catalog {
            store,
            target,
            marks,
        }
    }

    /// The committed ones, newest first.
    pub fn committed(&self) -> impl Iterator<Item = (BackupId, &Marks)> {
        self.marks
            .iter()
            .rev()
            .filter(|(_, marks)| marks.committed)
            .map(|(id, marks)| (*id, marks))
    }

    /// What was begun and not committed, or deleted and not yet gone, oldest first.
    pub fn uncommitted(&self) -> impl Iterator<Item = (BackupId, &Marks)> {
        self.marks
            .iter()
            .filter(|(_, marks)| !marks.committed && marks.has_body)
            .map(|(id, marks)| (*id, marks))
    }

    /// Of which nothing is left but evidence, oldest first.
    pub fn past(&self) -> impl Iterator<Item = (BackupId, &Marks)> {
        self.marks
            .iter()
            .filter(|(_, marks)| !marks.has_body)
            .map(|(id, marks)| (*id, marks))
    }

    /// Whose backups they are.
    pub fn target(&self) -> &TargetName {
        &self.target
    }

    /// The oldest that may be chosen without being named and that no restore has verified.
    pub async fn oldest_unproven(&self) -> Result<Entry> {
        let unproven = self
            .marks
            .iter()
            .filter(|(_, marks)| marks.committed && marks.proven_at.is_none());
        for (id, _) in unproven {
            let entry = self.entry(*id).await?;
            if entry.is_trusted() {
                return Ok(entry);
            }
        }
        Err(self.none(format!(
            "{} has no backup that is trusted and not yet proven",
            self.target
        )))
    }

    /// The names of all drills, newest first, each with its backup.
    pub fn drills(&self) -> Vec<(BackupId, &DrillName)> {
        let mut all: Vec<(BackupId, &DrillName)> = self
            .marks
            .iter()
            .flat_map(|(id, marks)| marks.drills.iter().map(|drill| (*id, drill)))
            .collect();
        all.sort_by_key(|(_, drill)| std::cmp::Reverse(drill.time));
        all
    }

    /// The line of the newest backup that waits for a decision ([`Entry::waits`]); one that cannot be read
    /// is for others to find.
    pub async fn newest_waits(&self) -> Result<Option<String>> {
        let Some((newest, _)) = self.committed().next() else {
            return Ok(None);
        };
        match self.entry_if_there(newest).await {
            Ok(entry) => Ok(entry.and_then(|entry| entry.waits())),
            Err(error) if error.outcome() == Outcome::Archive => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a backup for reading.
    pub async fn open(&self, id: BackupId) -> Result<Archive> {
        Archive::open(self.store.clone(), self.place(id)).await
    }

    /// Where a backup is.
    pub fn place(&self, id: BackupId) -> BackupPlace {
        BackupPlace {
            target: self.target.clone(),
            id,
        }
    }

    /// Every committed backup with its manifest, newest first, one small read each; and the failures
    /// of those whose manifest is damaged, which must not hide the others.
    pub async fn entries(&self) -> Result<(Vec<Entry>, Vec<Error>)> {
        let ids: Vec<BackupId> = self.committed().map(|(id, _)| id).collect();
        let mut reads =
            futures_util::stream::iter(ids.into_iter().map(|id| self.entry_if_there(id)))
                .buffered(READS_AT_ONCE);
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        while let Some(read) = reads.next().await {
            match read {
                Ok(entry) => entries.extend(entry),
                Err(error) if error.outcome() == Outcome::Archive => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.manifest.snapshot_at));
        Ok((entries, damaged))
    }

    /// One of those that were listed, read now; `None` where retention has deleted it since.
    pub async fn entry_if_there(&self, id: BackupId) -> Result<Option<Entry>> {
        let error = match self.entry(id).await {
            Ok(entry) => return Ok(Some(entry)),
            Err(error) => error,
        };
        let manifest = self.place(id).key(&BackupObject::Manifest);
        match self.store.head(&manifest).await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            _ => Err(error),
        }
    }

    /// What protects, and protected, against the loss of data: the trusted ones of `entries`, and
    /// those that retention deleted since.
    pub fn snapshots(&self, entries: &[Entry]) -> Vec<Snapshot> {
        let trusted = entries.iter().filter(|entry| entry.is_trusted());
        let there = trusted.map(|entry| Snapshot {
            snapshot_at: entry.manifest.snapshot_at,
            committed_at: entry.manifest.finished_at,
            proven: entry.marks.proven_at.is_some(),
        });
        let gone = self.marks.iter().filter(|(_, marks)| !marks.committed);
        let gone = gone.filter_map(|(id, marks)| match marks.pruned {
            Some((committed_at, true)) => Some(Snapshot {
                snapshot_at: id.snapshot_at(),
                committed_at,
                proven: false,
            }),
            _ => None,
        });
        there.chain(gone).collect()
    }

    /// One committed backup.
    pub async fn entry(&self, id: BackupId) -> Result<Entry> {
        let marks = match self.marks.get(&id) {
            Some(marks) if marks.committed => marks.clone(),
            _ => return Err(self.none(format!("there is no backup {id} of {}", self.target))),
        };
        if marks.manifest_bytes > MAX_BYTES as u64 {
            return Err(Error::archive(format!(
                "the manifest of {} has {} bytes, more than any has",
                self.place(id),
                marks.manifest_bytes
            ))
            .hint("restore another backup, and find out what changed the store"));
        }
        let manifest = read::manifest(&self.store, &self.place(id)).await?;
        Ok(Entry {
            id,
            manifest,
            marks,
        })
    }

    /// The backup that is meant; exit 3 where there is none.
    pub async fn find(&self, which: Which) -> Result<Entry> {
        if let Which::Id(id) = which {
            return self.entry(id).await;
        }
        let (mut newest, mut suspects): (Option<Entry>, u64) = (None, 0);
        for (id, marks) in self.committed() {
            // Ids have whole seconds: of several in one second the manifests tell the newest.
            if newest
                .as_ref()
                .is_some_and(|entry| entry.id.snapshot_at() != id.snapshot_at())
            {
                break;
            }
            let fits = match which {
                Which::Id(_) | Which::Latest => true,
                Which::LatestVerified => marks.proven_at.is_some(),
                Which::At(time) => id.snapshot_at() <= time,
            };
            if fits {
                let entry = self.entry(id).await?;
                let newer = newest
                    .as_ref()
                    .is_none_or(|other| other.manifest.snapshot_at < entry.manifest.snapshot_at);
                match entry.is_trusted() {
                    true if newer => newest = Some(entry),
                    true => {}
                    false => suspects += 1,
                }
            }
        }
        if let Some(entry) = newest {
            return Ok(entry);
        }
        let committed = self.committed().count();
        let that = match which {
            Which::LatestVerified => "that has been verified".to_owned(),
            Which::At(time) => format!("as old as {time}"),
            Which::Id(_) | Which::Latest => String::new(),
        };
        let of = format!("backup of {} {that}", self.target)
            .trim_end()
            .to_owned();
        Err(match (committed, suspects) {
            (0, _) => self.none(format!("{} has no backup", self.target)),
            (_, 0) => self.none(format!("no {of}")),
            (_, _) => self.none(format!("every {of} is suspect")).hint(
                "see drctl list and drctl show ID for why; name one by its ID, or drctl accept ID if it is right",
            ),
        })
    }

    fn none(&self, what: String) -> Error {
        Error::nothing(format!("{what} in {}", self.store.location())).hint("see drctl list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use bytes::Bytes;

    async fn catalog(objects: &[(&str, BackupObject)]) -> Catalog {
        let target: TargetName = "shop".parse().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        for (id, object) in objects {
            let key = target.object(id.parse().unwrap(), object);
            store
                .put_new(&key, Bytes::from_static(b"{}"))
                .await
                .unwrap();
        }
        Catalog::read(store, target).await.unwrap()
    }

    #[tokio::test]
    async fn without_a_manifest_it_is_no_backup() {
        let one = "20261121T020000Z-3f9a1c";
        let catalog = catalog(&[(one, BackupObject::Index), (one, BackupObject::Running)]).await;
        assert_eq!(catalog.committed().count(), 0);
        assert_eq!(catalog.uncommitted().count(), 1);
        let error = catalog.find(Which::Latest).await.unwrap_err();
        assert_eq!(error.outcome(), crate::Outcome::NothingToDo);
    }

    #[tokio::test]
    async fn what_a_later_drill_found_damaged_is_proven_no_more() {
        let drill = |hour, level, verdict| {
            let time = format!("2026-11-21T0{hour}:00:00Z").parse().unwrap();
            BackupObject::Drill(DrillName {
                time,
                level,
                verdict,
            })
        };
        use DrillLevel::{Archive, Restore};
        use DrillVerdict::{Broken, Fail, Pass};
        let one = "20261121T020000Z-3f9a1c";
        for (then, proven, failed) in [
            ((6, Archive, Fail), false, true),
            ((6, Restore, Fail), false, true),
            ((5, Archive, Fail), false, true),
            ((6, Restore, Broken), true, false),
            ((6, Archive, Pass), true, false),
            ((4, Restore, Fail), true, false),
        ] {
            let (hour, level, verdict) = then;
            let objects = [
                (one, BackupObject::Manifest),
                (one, drill(5, Restore, Pass)),
                (one, drill(hour, level, verdict)),
            ];
            let catalog = catalog(&objects).await;
            let (_, marks) = catalog.committed().next().unwrap();
            assert_eq!(marks.proven_at.is_some(), proven, "{then:?}");
            assert_eq!(marks.failed_at.is_some(), failed, "{then:?}");
        }
    }

    /// What the table above says, step by step.
    fn believed(drills: &[DrillName]) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut sorted = drills.to_vec();
        sorted.sort_by_key(|drill| (drill.time, drill.verdict == DrillVerdict::Fail));
        let mut belief = (None, None);
        for drill in sorted {
            belief = match (drill.level, drill.verdict) {
                (_, DrillVerdict::Fail) => (None, Some(drill.time)),
                (DrillLevel::Restore, DrillVerdict::Pass | DrillVerdict::Missed) => {
                    (Some(drill.time), None)
                }
                _ => belief,
            };
        }
        belief
    }

    proptest::proptest! {
        #[test]
        fn whatever_happened_to_a_backup_is_believed_as_the_table_says(
            happened in proptest::collection::vec((0i64..6, 0usize..2, 0usize..4), 0..8),
            accepted in proptest::bool::ANY,
        ) {
            let level = [DrillLevel::Archive, DrillLevel::Restore];
            let verdict = [
                DrillVerdict::Pass,
                DrillVerdict::Fail,
                DrillVerdict::Broken,
                DrillVerdict::Missed,
            ];
            let drills: Vec<DrillName> = happened
                .into_iter()
                .map(|(second, a, b)| DrillName {
                    time: Timestamp::from_second(second).unwrap(),
                    level: level[a],
                    verdict: verdict[b],
                })
                .collect();
            let (proven_at, failed_at) = believed(&drills);
            let mut marks = Marks { drills, accepted, ..Marks::default() };
            marks.judge_drills();
            proptest::prop_assert_eq!((marks.proven_at, marks.failed_at), (proven_at, failed_at));
            proptest::prop_assert!(proven_at.is_none() || failed_at.is_none());
            let vouched = failed_at.is_none() && (accepted || proven_at.is_some());
            proptest::prop_assert_eq!(marks.is_vouched(), vouched);
        }
    }

    #[tokio::test]
    async fn only_a_passed_restore_drill_proves_a_backup() {
        let drill = |level, verdict| {
            let time = "2026-11-21T05:00:00Z".parse().unwrap();
            BackupObject::Drill(DrillName {
                time,
                level,
                verdict,
            })
        };
        for (level, verdict, proven) in [
            (DrillLevel::Restore, DrillVerdict::Pass, true),
            (DrillLevel::Restore, DrillVerdict::Missed, true),
            (DrillLevel::Restore, DrillVerdict::Fail, false),
            (DrillLevel::Archive, DrillVerdict::Pass, false),
        ] {
            let one = "20261121T020000Z-3f9a1c";
            let catalog =
                catalog(&[(one, BackupObject::Manifest), (one, drill(level, verdict))]).await;
            let (_, marks) = catalog.committed().next().unwrap();
            assert_eq!(marks.proven_at.is_some(), proven);
        }
    }
}
