//! The store to what is known of a target: one LIST, and what was not read before. Objects never change, so
//! each is read once; a scan that is cut short goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::archive::manifest::Manifest;
use crate::catalog::{Catalog, Entry};
use crate::error::{Error, Outcome, Result};
use crate::report::model::{DrillReport, Evidence, REPORT};
use crate::report::status::{Backup, Drill, Past};
use crate::runs::{self, RunRecord};
use crate::store::keys::{BackupId, BackupObject, DrillLevel, RunName, TargetName};
use crate::store::{Key, ObjectMeta, Store, StoreError};
use crate::target;

/// How many objects are read side by side.
const READS_AT_ONCE: usize = 32;

/// A larger report or record is none of ours, bytes.
const MAX_BYTES: u64 = 4 << 20;

/// How many reports of drills of the archive alone are read.
const ARCHIVE_REPORTS: usize = 5;

/// How many records of each verb are read, of those that tell something that their names do not.
const RECORDS: usize = 20;

/// The newest records of each verb are read in any case: heartbeats are told each time.
const NEWEST_RECORDS: usize = 3;

/// A target in a store, and everything of it that was read.
#[derive(Debug)]
pub struct Scanner {
    store: Arc<dyn Store>,
    target: TargetName,
    /// How many reports of drills that restored something are read.
    reports_wanted: usize,
    /// When the first scan began.
    first: Option<Timestamp>,
    /// When the target was bound to its server.
    bound_at: Option<Timestamp>,
    manifests: BTreeMap<BackupId, Manifest>,
    /// `None`: not one that this drctl understands.
    reports: BTreeMap<Key, Option<DrillReport>>,
    records: BTreeMap<Key, Option<RunRecord>>,
}

impl Scanner {
    /// One that has read nothing.
    pub fn new(store: Arc<dyn Store>, target: TargetName, reports_wanted: usize) -> Scanner {
        Scanner {
            store,
            target,
            reports_wanted,
            first: None,
            bound_at: None,
            manifests: BTreeMap::new(),
            reports: BTreeMap::new(),
            records: BTreeMap::new(),
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// `Store`: it could not be read. What is damaged is no error of the scan.
    pub async fn scan(&mut self, now: Timestamp) -> Result<Past> {
        let objects = self.store.list(&self.target.prefix()).await?;
        self.first.get_or_insert(now);
        let sizes: BTreeMap<&str, u64> = objects
            .iter()
            .map(|one| (one.key.as_str(), one.size))
            .collect();
        let catalog = Catalog::of(self.store.clone(), self.target.clone(), &objects);
        let bound = self.read_identity(&sizes).await?;
        let mut damaged = self.read_manifests(&catalog).await?;
        damaged.extend(bound);
        let drills = self.read_reports(&catalog, &sizes).await?;
        let runs = runs_of(&self.target, &objects);
        let records = self.read_records(&runs, &sizes).await?;
        let mut entries: Vec<Entry> = catalog
            .committed()
            .filter_map(|(id, marks)| {
                Some(Entry {
                    id,
                    manifest: self.manifests.get(&id)?.clone(),
                    marks: marks.clone(),
                })
            })
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.manifest.snapshot_at));
        Ok(Past {
            bound_at: self.bound_at,
            known_since: self
                .bound_at
                .or(runs.first().map(|run| run.time))
                .or(self.first),
            backups: entries.iter().map(backup).collect(),
            damaged,
            snapshots: catalog.snapshots(&entries),
            drills,
            last_runs: last_runs(&runs),
            records,
        })
    }

    /// Gives what is damaged, a line each; that is looked at again each time.
    async fn read_manifests(&mut self, catalog: &Catalog) -> Result<Vec<String>> {
        let there: BTreeSet<BackupId> = catalog.committed().map(|(id, _)| id).collect();
        self.manifests.retain(|id, _| there.contains(id));
        let is_new = |id: &BackupId| !self.manifests.contains_key(id);
        let missing: Vec<BackupId> = there.into_iter().filter(is_new).collect();
        let reads = missing.into_iter().map(|id| catalog.entry_if_there(id));
        let mut reads = futures_util::stream::iter(reads).buffered(READS_AT_ONCE);
        let mut damaged = Vec::new();
        while let Some(read) = reads.next().await {
            match read {
                Ok(Some(entry)) => drop(self.manifests.insert(entry.id, entry.manifest)),
                // Retention has deleted it since.
                Ok(None) => {}
                Err(error) if error.outcome() == Outcome::Archive => {
                    damaged.push(error.to_string())
                }
                Err(error) => return Err(error),
            }
        }
        Ok(damaged)
    }

    /// Gives why the target's binding cannot be read, where that is so.
    async fn read_identity(&mut self, sizes: &BTreeMap<&str, u64>) -> Result<Option<String>> {
        let key = self.target.identity();
        match (self.bound_at, sizes.contains_key(key.as_str())) {
            (None, true) => {}
            // Nobody removes it: this is an empty directory in the place of the store, or worse.
            (Some(_), false) => {
                return Err(Error::store(format!("{key} is gone"))
                    .hint("see whether the store is mounted, and what became of it"));
            }
            _ => return Ok(None),
        }
        match target::read(&self.store, &self.target).await {
            Ok(bound) => self.bound_at = bound.map(|bound| bound.created_at),
            Err(error) if error.outcome() == Outcome::Archive => {
                return Ok(Some(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    async fn read_reports(
        &mut self,
        catalog: &Catalog,
        sizes: &BTreeMap<&str, u64>,
    ) -> Result<Vec<Drill>> {
        let all = catalog.drills();
        let (mut good, mut any, mut archive) = (0, 0, 0);
        let mut wanted = Vec::new();
        for (id, name) in &all {
            let is_good = name.verdict.proves();
            let takes = match name.level {
                DrillLevel::Archive => is_less(&mut archive, ARCHIVE_REPORTS),
                DrillLevel::Restore => {
                    let any = is_less(&mut any, self.reports_wanted);
                    (is_good && is_less(&mut good, self.reports_wanted)) || any
                }
            };
            if takes {
                let key = catalog
                    .place(*id)
                    .key(&BackupObject::Drill((*name).clone()));
                wanted.push((key, *id));
            }
        }
        self.reports
            .retain(|key, _| wanted.iter().any(|(one, _)| one == key));
        let missing = wanted
            .iter()
            .filter(|(key, _)| !self.reports.contains_key(key));
        let missing: Vec<(Key, BackupId)> = missing.cloned().collect();
        let store = &self.store;
        let reads = missing.into_iter().map(|(key, id)| async move {
            let report = read::<DrillReport>(store, &key, sizes).await;
            (key, id, report)
        });
        let mut reads = futures_util::stream::iter(reads).buffered(READS_AT_ONCE);
        while let Some((key, id, report)) = reads.next().await {
            let fits = |report: &DrillReport| report.report == REPORT && report.backup == id;
            let report = report?.filter(fits).map(shortened);
            self.reports.insert(key, report);
        }
        let drills = all.into_iter().map(|(id, name)| {
            let key = catalog.place(id).key(&BackupObject::Drill(name.clone()));
            Drill {
                name: name.clone(),
                report: self.reports.get(&key).cloned().flatten(),
            }
        });
        Ok(drills.collect())
    }

    /// The records that tell something, newest first.
    async fn read_records(
        &mut self,
        runs: &[RunName],
        sizes: &BTreeMap<&str, u64>,
    ) -> Result<Vec<RunRecord>> {
        let wanted: Vec<Key> = telling(runs)
            .iter()
            .map(|run| self.target.run(run))
            .collect();
        self.records.retain(|key, _| wanted.contains(key));
        let missing = wanted
            .into_iter()
            .filter(|key| !self.records.contains_key(key));
        let missing: Vec<Key> = missing.collect();
        let store = &self.store;
        let reads = missing.into_iter().map(|key| async move {
            let record = read::<RunRecord>(store, &key, sizes).await;
            (key, record)
        });
        let mut reads = futures_util::stream::iter(reads).buffered(READS_AT_ONCE);
        while let Some((key, record)) = reads.next().await {
            self.records.insert(key, record?);
        }
        let mut records: Vec<RunRecord> = self.records.values().flatten().cloned().collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.ended_at));
        Ok(records)
    }
}

/// Counts up to a limit, and says whether it was reached before.
fn is_less(count: &mut usize, most: usize) -> bool {
    *count += 1;
    *count <= most
}

/// One object of JSON; `None` where it is none, or gone.
async fn read<T: DeserializeOwned>(
    store: &Arc<dyn Store>,
    key: &str,
    sizes: &BTreeMap<&str, u64>,
) -> Result<Option<T>> {
    if sizes.get(key).is_none_or(|bytes| *bytes > MAX_BYTES) {
        return Ok(None);
    }
    match store.get(key, None).await {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::debug!(key, %error, "not understood"))
            .ok()),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(Error::from(error)),
    }
}

/// A report without what grows, which is not shown.
fn shortened(report: DrillReport) -> DrillReport {
    DrillReport {
        differences: Vec::new(),
        checks: Vec::new(),
        warnings: Vec::new(),
        evidence: Evidence::default(),
        ..report
    }
}

fn backup(entry: &Entry) -> Backup {
    let manifest = &entry.manifest;
    Backup {
        id: entry.id,
        snapshot_at: manifest.snapshot_at,
        started_at: manifest.started_at,
        committed_at: manifest.finished_at,
        raw_bytes: manifest.totals.raw_bytes,
        stored_bytes: manifest.totals.stored_bytes,
        suspect: entry.suspect().to_vec(),
        proven_at: entry.marks.proven_at,
    }
}

/// The names of all runs, oldest first; of several in one second the one that failed is the last.
fn runs_of(target: &TargetName, objects: &[ObjectMeta]) -> Vec<RunName> {
    let names = objects
        .iter()
        .filter_map(|object| target.parse_run(&object.key));
    let mut runs: Vec<RunName> = names.collect();
    runs.sort_by_key(|run| (run.time, run.exit));
    runs
}

/// The last run of each verb that says something of its task.
fn last_runs(oldest_first: &[RunName]) -> Vec<RunName> {
    let mut last: Vec<RunName> = Vec::new();
    for run in oldest_first
        .iter()
        .rev()
        .filter(|run| runs::counts(run.exit))
    {
        if last.iter().all(|one| one.verb != run.verb) {
            last.push(run.clone());
        }
    }
    last
}

/// The runs whose records hold what their names do not: why they failed, and who was told. Of the others
/// only heartbeats and Alertmanager hear, each time, so the newest suffice.
fn telling(oldest_first: &[RunName]) -> Vec<&RunName> {
    let mut by_verb: BTreeMap<&str, Vec<&RunName>> = BTreeMap::new();
    for run in oldest_first.iter().filter(|run| runs::counts(run.exit)) {
        by_verb.entry(&run.verb).or_default().push(run);
    }
    let mut telling = Vec::new();
    for runs in by_verb.values() {
        let (mut before, mut news) = (0, Vec::new());
        for run in runs {
            if run.exit != 0 || before != 0 {
                news.push(*run);
            }
            before = run.exit;
        }
        let newest = runs.iter().rev().take(NEWEST_RECORDS).copied();
        let news = news.into_iter().rev().take(RECORDS);
        let mut of_verb: Vec<&RunName> = newest.chain(news).collect();
        of_verb.sort_by_key(|run| (run.time, run.exit));
        of_verb.dedup();
        telling.extend(of_verb);
    }
    telling
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    const ID: &str = "20261121T020000Z-000001";

    fn target() -> TargetName {
        "shop".parse().unwrap()
    }

    fn name(text: &str) -> RunName {
        let key = format!("shop/runs/20261121T{text}.json");
        target().parse_run(&key).unwrap()
    }

    async fn put(store: &MemoryStore, name: &str, body: &[u8]) {
        let key = format!("shop/{name}");
        store.put(&key, body.to_vec().into()).await.unwrap();
    }

    fn scanner(store: &MemoryStore) -> Scanner {
        Scanner::new(Arc::new(store.clone()), target(), 10)
    }

    #[tokio::test]
    async fn what_is_damaged_is_named_and_hides_nothing_else() {
        let store = MemoryStore::new();
        let golden = "tests/golden/one-stream/golden/20261121T020000Z-000001/manifest.json";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
        let manifest = Manifest::from_bytes(&std::fs::read(path).unwrap()).unwrap();
        let manifest = Manifest {
            target: target(),
            ..manifest
        };
        let good = manifest.to_bytes().unwrap();
        put(&store, &format!("{ID}/manifest.json"), &good).await;
        put(&store, "20261122T020000Z-000002/manifest.json", b"{").await;
        put(&store, "20261123T020000Z-000003/manifest.json", &good).await;
        put(&store, "target.json", b"{").await;
        put(
            &store,
            &format!("{ID}/drills/20261122T030000Z-restore-fail.json"),
            b"{",
        )
        .await;
        let large = vec![b' '; MAX_BYTES as usize + 1];
        put(&store, "runs/20261122T030000Z-verify-7.json", &large).await;
        let mut scanner = scanner(&store);
        let past = scanner.scan(Timestamp::now()).await.unwrap();
        assert_eq!(past.backups.len(), 1);
        assert_eq!(past.damaged.len(), 3, "{:#?}", past.damaged);
        assert!(past.drills[0].report.is_none());
        assert_eq!(past.last_runs[0].exit, 7);
        assert!(past.records.is_empty());
        // Mended, it is seen; and what retention deleted is not.
        put(&store, "20261122T020000Z-000002/manifest.json", &good).await;
        store
            .delete(&format!("shop/{ID}/manifest.json"))
            .await
            .unwrap();
        let past = scanner.scan(Timestamp::now()).await.unwrap();
        assert!(past.backups.is_empty(), "its id is another one");
        assert_eq!(past.damaged.len(), 3);
    }

    #[tokio::test]
    async fn an_empty_place_is_not_taken_for_the_store_that_was_there() {
        let store = MemoryStore::new();
        let mut scanner = scanner(&store);
        let now = Timestamp::now();
        assert_eq!(scanner.scan(now).await.unwrap().known_since, Some(now));
        let bound = br#"{"target":"shop","identity":"a","created_at":"2026-01-01T00:00:00Z"}"#;
        put(&store, "target.json", bound).await;
        let past = scanner.scan(now).await.unwrap();
        assert_eq!(past.known_since, past.bound_at);
        store.delete("shop/target.json").await.unwrap();
        let error = scanner.scan(now).await.unwrap_err().to_string();
        assert!(
            error.starts_with("shop/target.json is gone; see"),
            "{error}"
        );
    }

    #[test]
    fn records_are_read_of_failures_of_what_followed_them_and_of_the_newest() {
        let runs: Vec<RunName> = [
            "000000Z-backup-0",
            "010000Z-backup-4",
            "020000Z-backup-143",
            "030000Z-backup-0",
            "040000Z-backup-0",
            "050000Z-backup-0",
            "060000Z-backup-0",
            "070000Z-backup-0",
            "080000Z-prune-0",
        ]
        .map(name)
        .to_vec();
        let told: Vec<String> = telling(&runs).iter().map(ToString::to_string).collect();
        let expected = ["01", "03", "05", "06", "07", "08"];
        let hours: Vec<&str> = told.iter().map(|name| &name[9..11]).collect();
        assert_eq!(hours, expected);
        let last: Vec<(String, u8)> = last_runs(&runs)
            .into_iter()
            .map(|run| (run.verb, run.exit))
            .collect();
        assert_eq!(last, [("prune".to_owned(), 0), ("backup".to_owned(), 0)]);
    }

    #[test]
    fn of_many_failures_the_newest_are_read() {
        let failed: Vec<RunName> = (0..50)
            .map(|at| name(&format!("00{at:02}00Z-backup-4")))
            .collect();
        let told = telling(&failed);
        assert_eq!(told.len(), RECORDS);
        assert_eq!(told.last(), failed.last().as_ref());
    }
}
