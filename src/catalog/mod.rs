//! The catalog of backups: listing and selection.
//!
//! A LIST of the backups shows which ones are committed, pinned, accepted and verified, from the names of
//! objects; further details come from the manifests, read in parallel. Nothing else under the target is listed.

pub mod binding;
pub mod cleanup;
pub mod clock;
pub mod expiry;
pub mod history;
pub mod lease;
pub mod remove;
pub mod retention;
pub mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::manifest::{Coordinates, MAX_BYTES, Manifest};
use crate::archive::read::{self, Archive};
use crate::archive::stored_index;
use crate::keys::Trust;
use crate::keys::signers::Signed;
use crate::layout::{BackupId, BackupObject, DrillName, TargetName};
use crate::objectives::rpo_rto::Snapshot;
use crate::store::{ObjectMeta, Store, StoreError};
use crate::util::error::{Error, Outcome, Result};
use crate::util::panics;

/// Number of manifests read in parallel.
const READS_AT_ONCE: usize = 32;

/// What the names of a backup's objects show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Whether there is a manifest; without one the backup does not exist.
    pub committed: bool,
    /// Size of the manifest.
    pub manifest_bytes: u64,
    /// When the manifest was written, by the clock of the store.
    pub manifest_at: Option<Timestamp>,
    /// The entity tag of the manifest.
    pub manifest_etag: Option<String>,
    /// The entity tag of its signature; `Some("")` if the store has none, `None` without a signature.
    pub signature_etag: Option<String>,
    /// When a restore of it was last verified, even if an objective was missed.
    pub verified_at: Option<Timestamp>,
    /// When a drill found it damaged or wrong, unless it was verified later; it then no longer counts as
    /// verified.
    pub failed_at: Option<Timestamp>,
    /// Its drills, and verified restores.
    pub drills: Vec<DrillName>,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Whether an operator accepted it although it is suspect.
    pub accepted: bool,
    /// Time of the newest lease on it; `None` without one.
    pub read_at: Option<Timestamp>,
    /// For a backup deleted by retention: when it was committed, and whether it was usable.
    pub pruned: Option<(Timestamp, bool)>,
    /// Whether objects other than drill reports and tombstones remain.
    pub has_body: bool,
    /// Time of its last heartbeat; `None` without one.
    pub heartbeat_at: Option<Timestamp>,
    /// Modification time of its newest object.
    pub modified_at: Option<Timestamp>,
}

/// How events change the state of a backup; defined only here.
///
/// | event | verified | failed |
/// | --- | --- | --- |
/// | a restore was verified: a drill (`pass`, `missed`) or a verified restore | since then | no longer |
/// | a drill failed (`fail`) in the archive or the restore | no longer | since then |
/// | an archive-only drill passed | unchanged | unchanged |
/// | a drill of the binary log passed: the backup was restored and compared first | since then | no longer |
/// | a drill of the binary log failed behind that, or one without a server ended | unchanged | unchanged |
/// | a drill ended without a result (`broken`) | unchanged | unchanged |
/// | an operator accepted the backup | unchanged | unchanged |
///
/// Of events in the same second the failure counts as the later one. Whether a backup is usable is a
/// separate question, which depends only on its suspect reasons and the operator; as a reference for other
/// backups it must satisfy both ([`Marks::is_reference`]).
impl Marks {
    /// Whether a restore of it was ever verified.
    pub fn was_verified(&self) -> bool {
        self.drills.iter().any(DrillName::verifies_restore)
    }

    /// Whether it may serve as the baseline of other backups: it was verified or accepted, and no drill has
    /// failed since.
    pub fn is_reference(&self) -> bool {
        self.failed_at.is_none() && (self.accepted || self.verified_at.is_some())
    }

    /// Derives the state from its drills.
    fn judge_drills(&mut self) {
        let newest = |which: &dyn Fn(&&DrillName) -> bool| {
            let times = self.drills.iter().filter(which).map(|drill| drill.time);
            times.max()
        };
        self.verified_at = newest(&|drill| drill.verifies_restore());
        self.failed_at = newest(&|drill| drill.fails_backup());
        if self.failed_at >= self.verified_at {
            self.verified_at = None;
        } else {
            self.failed_at = None;
        }
    }
}

/// One committed backup.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Id of the backup.
    pub id: BackupId,
    /// Its commit record.
    pub manifest: Manifest,
    /// Who signed that.
    pub signed: Signed,
    /// What the names of its objects show.
    pub marks: Marks,
    /// Why it is suspect.
    reasons: Vec<String>,
}

impl Entry {
    /// Who signed the backup, or why that is not known.
    pub fn signature(&self) -> String {
        match (&self.signed, self.manifest.signature.as_str()) {
            (Signed::Unverified, "none") => "no".to_owned(),
            (Signed::Unverified, _) => "not verified: no allowed signers are configured".to_owned(),
            (signed, _) => signed.to_string(),
        }
    }

    /// A backup. It is suspect for the reasons in its manifest unless an operator accepted it, and if a required
    /// signature is missing, which cannot be accepted.
    pub fn new(id: BackupId, manifest: Manifest, signed: Signed, marks: Marks) -> Entry {
        let mut reasons = Vec::new();
        if let Signed::Refused(why) = &signed {
            reasons.push(format!("it {why}"));
        }
        if !marks.accepted {
            reasons.extend(manifest.suspect.iter().cloned());
        }
        Entry {
            id,
            manifest,
            signed,
            marks,
            reasons,
        }
    }

    /// The order of lists, newest first: of snapshots at one moment the greatest id, as `--latest` selects.
    pub fn newest_first(&self) -> std::cmp::Reverse<(Timestamp, BackupId)> {
        std::cmp::Reverse((self.manifest.snapshot_at, self.id))
    }

    /// Why it is suspect; empty if it is not, or once accepted.
    pub fn suspect(&self) -> &[String] {
        &self.reasons
    }

    /// Whether it may be selected automatically: not suspect, or accepted.
    pub fn is_usable(&self) -> bool {
        self.suspect().is_empty()
    }

    /// Whether a restore to a moment may begin with it by itself: usable, and no drill found it damaged or wrong.
    pub fn is_base(&self) -> bool {
        self.is_usable() && self.marks.failed_at.is_none()
    }

    /// A notice for commands that act on other backups while this one, the newest, is suspect; `None` if it
    /// is usable.
    pub fn suspect_notice(&self) -> Option<String> {
        let (id, reasons) = (self.id, self.suspect().join("; "));
        let what = match self.signed {
            Signed::Refused(_) => "find out who wrote it".to_owned(),
            _ => format!("if its data are correct, run drctl accept {id}"),
        };
        (!self.is_usable())
            .then(|| format!("the newest backup {id} is suspect and is skipped: {reasons}; {what}"))
    }
}

/// The backups of one target.
#[derive(Debug, Clone)]
pub struct Catalog {
    store: Arc<dyn Store>,
    target: TargetName,
    marks: BTreeMap<BackupId, Marks>,
}

/// Selection of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// By its id.
    Id(BackupId),
    /// The newest usable one.
    Latest,
    /// The newest verified one.
    LatestVerified,
    /// The newest with a snapshot not later than this time.
    Before(Timestamp),
}

impl Catalog {
    /// Lists the backups of a target.
    pub async fn read(store: Arc<dyn Store>, target: TargetName) -> Result<Catalog> {
        panics::inject("catalog");
        let objects = store.list_backups(&target).await?;
        Ok(Catalog::of(store, target, &objects))
    }

    /// Builds the catalog from a list of all objects of all backups.
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
                    marks.manifest_at = Some(object.modified);
                    marks.manifest_etag.clone_from(&object.etag);
                }
                BackupObject::ManifestSignature => {
                    marks.signature_etag = Some(object.etag.clone().unwrap_or_default());
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
                    usable,
                } => marks.pruned = Some((committed_at, usable)),
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

    /// The committed backups, newest first.
    pub fn committed(&self) -> impl Iterator<Item = (BackupId, &Marks)> {
        self.marks
            .iter()
            .rev()
            .filter(|(_, marks)| marks.committed)
            .map(|(id, marks)| (*id, marks))
    }

    /// Incomplete backups, in progress, failed or partly deleted, oldest first.
    pub fn uncommitted(&self) -> impl Iterator<Item = (BackupId, &Marks)> {
        self.marks
            .iter()
            .filter(|(_, marks)| !marks.committed && marks.has_body)
            .map(|(id, marks)| (*id, marks))
    }

    /// Backups of which only drill reports and tombstones remain, oldest first.
    pub fn past(&self) -> impl Iterator<Item = (BackupId, &Marks)> {
        self.marks
            .iter()
            .filter(|(_, marks)| !marks.has_body)
            .map(|(id, marks)| (*id, marks))
    }

    /// The store of the backups.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The target of the backups.
    pub fn target(&self) -> &TargetName {
        &self.target
    }

    /// The oldest backup that may be selected automatically and was never verified.
    pub async fn oldest_unverified(&self) -> Result<Entry> {
        let unverified = self
            .marks
            .iter()
            .filter(|(_, marks)| marks.committed && marks.verified_at.is_none());
        for (id, _) in unverified {
            let entry = self.entry(*id).await?;
            if entry.is_usable() {
                return Ok(entry);
            }
        }
        Err(self.none(format!(
            "{} has no backup left to verify: each is verified or suspect",
            self.target
        )))
    }

    /// Names of all drills with their backups, newest first.
    pub fn drills(&self) -> Vec<(BackupId, &DrillName)> {
        let mut all: Vec<(BackupId, &DrillName)> = self
            .marks
            .iter()
            .flat_map(|(id, marks)| marks.drills.iter().map(|drill| (*id, drill)))
            .collect();
        all.sort_by_key(|(_, drill)| std::cmp::Reverse(drill.time));
        all
    }

    /// The notice about the newest backup if it is suspect ([`Entry::suspect_notice`]); an unreadable manifest is
    /// reported elsewhere.
    pub async fn newest_suspect_notice(&self) -> Result<Option<String>> {
        let Some((newest, _)) = self.committed().next() else {
            return Ok(None);
        };
        match self.entry_if_there(newest).await {
            Ok(entry) => Ok(entry.and_then(|entry| entry.suspect_notice())),
            Err(error) if error.outcome() == Outcome::Archive => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a backup for reading.
    pub async fn open(&self, id: BackupId) -> Result<Archive> {
        Archive::open(self.store.clone(), self.place(id)).await
    }

    /// The coordinates of a backup with its whole GTID set; `None` if it has none.
    pub async fn coordinates(&self, entry: &Entry) -> Result<Option<Coordinates>> {
        stored_index::coordinates(&self.store, &self.place(entry.id), &entry.manifest).await
    }

    /// Location of a backup.
    pub fn place(&self, id: BackupId) -> BackupPlace {
        BackupPlace {
            target: self.target.clone(),
            id,
        }
    }

    /// Reads the manifest of every committed backup, newest first; failures of damaged manifests are
    /// returned separately, so that they do not hide the others.
    pub async fn entries(&self) -> Result<(Vec<Entry>, Vec<Error>)> {
        let ids = self.committed().map(|(id, _)| id).collect();
        let (mut entries, damaged) = self.entries_of(ids).await?;
        entries.sort_by_key(Entry::newest_first);
        Ok((entries, damaged))
    }

    /// As [`Catalog::entries`], of some of the committed backups: from summaries as far as these agree with the list,
    /// otherwise one by one.
    pub async fn entries_of(&self, ids: Vec<BackupId>) -> Result<(Vec<Entry>, Vec<Error>)> {
        let (mut entries, others) = summary::entries(self, ids).await?;
        let mut reads =
            futures_util::stream::iter(others.into_iter().map(|id| self.entry_if_there(id)))
                .buffered(READS_AT_ONCE);
        let mut damaged = Vec::new();
        while let Some(read) = reads.next().await {
            match read {
                Ok(entry) => entries.extend(entry),
                Err(error) if error.outcome() == Outcome::Archive => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok((entries, damaged))
    }

    /// Reads the manifest of a listed backup; `None` if retention has deleted it since.
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

    /// Backups with which a restore to a moment may begin by itself, newest first.
    pub async fn bases(&self) -> Result<Vec<Entry>> {
        let (mut entries, damaged) = self.entries().await?;
        if let Some(error) = damaged.into_iter().next() {
            return Err(error);
        }
        entries.retain(Entry::is_base);
        Ok(entries)
    }

    /// Backups that count in the RPO: the usable ones of `entries`, and those that retention deleted since.
    pub fn snapshots(&self, entries: &[Entry]) -> Vec<Snapshot> {
        let usable = entries.iter().filter(|entry| entry.is_usable());
        let existing = usable.map(|entry| Snapshot {
            snapshot_at: entry.manifest.snapshot_at,
            committed_at: entry.manifest.finished_at,
            verified: entry.marks.verified_at.is_some(),
        });
        let deleted = self.marks.iter().filter(|(_, marks)| !marks.committed);
        let deleted = deleted.filter_map(|(id, marks)| match marks.pruned {
            Some((committed_at, true)) => Some(Snapshot {
                snapshot_at: id.snapshot_at(),
                committed_at,
                verified: false,
            }),
            _ => None,
        });
        existing.chain(deleted).collect()
    }

    /// Reads the manifest of one committed backup.
    pub async fn entry(&self, id: BackupId) -> Result<Entry> {
        let marks = match self.marks.get(&id) {
            Some(marks) if marks.committed => marks.clone(),
            _ => return Err(self.none(format!("backup {id} of {} does not exist", self.target))),
        };
        if marks.manifest_bytes > MAX_BYTES as u64 {
            return Err(Error::archive(format!(
                "the manifest of {} has {} bytes, more than the maximum",
                self.place(id),
                marks.manifest_bytes
            ))
            .hint("restore another backup, and find out what changed the store"));
        }
        let (manifest, signed) = read::manifest(&self.store, &self.place(id)).await?;
        Ok(Entry::new(id, manifest, signed, marks))
    }

    /// Selects a backup; exit 3 if there is none.
    pub async fn find(&self, which: Which) -> Result<Entry> {
        if let Which::Id(id) = which {
            return self.entry(id).await;
        }
        let (mut newest, mut suspects): (Option<Entry>, u64) = (None, 0);
        let mut refused: Option<Error> = None;
        for (id, marks) in self.committed() {
            // Ids have whole seconds: among several in one second the manifests show the newest.
            if newest
                .as_ref()
                .is_some_and(|entry| entry.id.snapshot_at() != id.snapshot_at())
            {
                break;
            }
            let fits = match which {
                Which::Id(_) | Which::Latest => true,
                Which::LatestVerified => marks.verified_at.is_some(),
                Which::Before(time) => id.snapshot_at() <= time,
            };
            if fits {
                let entry = self.entry(id).await?;
                let newer = newest
                    .as_ref()
                    .is_none_or(|other| other.manifest.snapshot_at < entry.manifest.snapshot_at);
                if !entry.is_usable() {
                    suspects += 1;
                    let manifest = self.place(id).key(&BackupObject::Manifest);
                    refused = refused.or(entry.signed.check(&manifest).err());
                } else if newer {
                    newest = Some(entry);
                }
            }
        }
        if let Some(entry) = newest {
            if which == Which::Latest {
                self.check_history().await?;
            }
            return Ok(entry);
        }
        if let Some(refused) = refused {
            return Err(refused.context(format!("no backup of {} can be trusted", self.target)));
        }
        let committed = self.committed().count();
        let that = match which {
            Which::LatestVerified => "that is verified".to_owned(),
            Which::Before(time) => format!("taken at or before {time}"),
            Which::Id(_) | Which::Latest => String::new(),
        };
        let of = format!("backup of {} {that}", self.target)
            .trim_end()
            .to_owned();
        Err(match (committed, suspects) {
            (0, _) => self.none(format!("{} has no backup", self.target)),
            (_, 0) => self.none(format!("no {of}")),
            (_, _) => self.none(format!("every {of} is suspect")).hint(
                "see drctl list and drctl show ID for the reasons; select one by its ID, or run drctl accept ID if its data are correct",
            ),
        })
    }

    /// Where signatures count, the newest backup of the run history must exist, or have existed: an older one is validly
    /// signed, too, and would be the latest if the newer ones were deleted.
    async fn check_history(&self) -> Result<()> {
        let trust = self.store.keys().trust();
        if trust == Trust::Off {
            return Ok(());
        }
        let Some(id) = history::last_committed(&self.store, &self.target).await? else {
            return Ok(());
        };
        let known = self.marks.get(&id);
        if known.is_some_and(|marks| marks.committed || marks.pruned.is_some()) {
            return Ok(());
        }
        let what = format!(
            "by the run history {id} is the newest backup of {}, and it is gone: it was deleted, or an older state was put back",
            self.target
        );
        if trust == Trust::Warn {
            tracing::warn!("{what}");
            return Ok(());
        }
        Err(Error::archive(what)
            .hint("find out who changed the store; select a backup by its ID, or make a new one"))
    }

    fn none(&self, what: String) -> Error {
        Error::nothing(format!("{what} in {}", self.store.location())).hint("see drctl list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{DrillLevel, DrillVerdict};
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
    async fn without_a_manifest_a_backup_does_not_exist() {
        let one = "20261121T020000Z-3f9a1c";
        let catalog = catalog(&[(one, BackupObject::Index), (one, BackupObject::Running)]).await;
        assert_eq!(catalog.committed().count(), 0);
        assert_eq!(catalog.uncommitted().count(), 1);
        let error = catalog.find(Which::Latest).await.unwrap_err();
        assert_eq!(error.outcome(), crate::Outcome::NothingToDo);
    }

    #[tokio::test]
    async fn a_later_failed_drill_revokes_the_verification() {
        let drill = |hour, level, verdict| {
            let time = format!("2026-11-21T0{hour}:00:00Z").parse().unwrap();
            BackupObject::Drill(DrillName {
                time,
                level,
                verdict,
            })
        };
        use DrillLevel::{Archive, Log, Pitr, Restore};
        use DrillVerdict::{Broken, Fail, Pass};
        let one = "20261121T020000Z-3f9a1c";
        for (then, verified, failed) in [
            ((6, Archive, Fail), false, true),
            ((6, Restore, Fail), false, true),
            ((5, Archive, Fail), false, true),
            ((6, Restore, Broken), true, false),
            ((6, Archive, Pass), true, false),
            ((4, Restore, Fail), true, false),
            ((6, Pitr, Fail), true, false),
            ((6, Pitr, Broken), true, false),
            ((6, Log, Fail), true, false),
        ] {
            let (hour, level, verdict) = then;
            let objects = [
                (one, BackupObject::Manifest),
                (one, drill(5, Restore, Pass)),
                (one, drill(hour, level, verdict)),
            ];
            let catalog = catalog(&objects).await;
            let (_, marks) = catalog.committed().next().unwrap();
            assert_eq!(marks.verified_at.is_some(), verified, "{then:?}");
            assert_eq!(marks.failed_at.is_some(), failed, "{then:?}");
        }
    }

    /// Applies the table above step by step.
    fn believed(drills: &[DrillName]) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut sorted = drills.to_vec();
        sorted.sort_by_key(|drill| (drill.time, drill.fails_backup()));
        let mut belief = (None, None);
        for drill in sorted {
            belief = match (drill.level, drill.verdict) {
                (DrillLevel::Archive | DrillLevel::Restore, DrillVerdict::Fail) => {
                    (None, Some(drill.time))
                }
                (
                    DrillLevel::Restore | DrillLevel::Pitr,
                    DrillVerdict::Pass | DrillVerdict::Missed,
                ) => (Some(drill.time), None),
                _ => belief,
            };
        }
        belief
    }

    proptest::proptest! {
        #[test]
        fn any_sequence_of_events_has_the_state_of_the_table(
            happened in proptest::collection::vec((0i64..6, 0usize..4, 0usize..4), 0..8),
            accepted in proptest::bool::ANY,
        ) {
            let level = [DrillLevel::Archive, DrillLevel::Restore, DrillLevel::Pitr, DrillLevel::Log];
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
            let (verified_at, failed_at) = believed(&drills);
            let mut marks = Marks { drills, accepted, ..Marks::default() };
            marks.judge_drills();
            proptest::prop_assert_eq!((marks.verified_at, marks.failed_at), (verified_at, failed_at));
            proptest::prop_assert!(verified_at.is_none() || failed_at.is_none());
            let is_reference = failed_at.is_none() && (accepted || verified_at.is_some());
            proptest::prop_assert_eq!(marks.is_reference(), is_reference);
        }
    }

    #[tokio::test]
    async fn only_a_passed_restore_drill_verifies_a_backup() {
        let drill = |level, verdict| {
            let time = "2026-11-21T05:00:00Z".parse().unwrap();
            BackupObject::Drill(DrillName {
                time,
                level,
                verdict,
            })
        };
        for (level, verdict, verified) in [
            (DrillLevel::Restore, DrillVerdict::Pass, true),
            (DrillLevel::Restore, DrillVerdict::Missed, true),
            (DrillLevel::Restore, DrillVerdict::Fail, false),
            (DrillLevel::Archive, DrillVerdict::Pass, false),
            (DrillLevel::Pitr, DrillVerdict::Pass, true),
            (DrillLevel::Pitr, DrillVerdict::Fail, false),
            (DrillLevel::Log, DrillVerdict::Pass, false),
        ] {
            let one = "20261121T020000Z-3f9a1c";
            let catalog =
                catalog(&[(one, BackupObject::Manifest), (one, drill(level, verdict))]).await;
            let (_, marks) = catalog.committed().next().unwrap();
            assert_eq!(marks.verified_at.is_some(), verified);
        }
    }
}
