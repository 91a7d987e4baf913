//! The store to what is known of a target: the LIST of its backups, that of the days in which runs may have ended
//! since, and what was not read before. Objects never change, so each is read once; a scan that is cut short goes on
//! where it was.
//!
//! With 1,000 backups of 9 objects each and 10,000 runs, and 1,000 names an answer, a scan that finds nothing new is at most
//! 14 requests: 10 answers to the LIST of the backups, one that there is none of another thousand years, one HEAD of
//! `target.json`, and one LIST for each of two days of runs. The first scan of a process, and one a day, LISTs all
//! runs, 10 answers more; the first one reads each manifest, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use crate::archive::manifest::Manifest;
use crate::catalog::{Catalog, Entry};
use crate::error::{Error, Outcome, Result};
use crate::report::model::{DrillReport, Evidence, REPORT};
use crate::report::status::{Backup, Drill, Past};
use crate::runs::{self, RunRecord};
use crate::store::keys::{BackupId, BackupObject, DrillLevel, RunName, TargetName};
use crate::store::{Key, Store, StoreError};
use crate::target;
use crate::times::{after, before, hours};

/// Bytes of what was listed, by name.
type Sizes = BTreeMap<Key, u64>;

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

/// What the ids of backups begin with: the thousands of their years. A server whose clock is at its beginning is in
/// the second of them.
const MILLENNIA: [&str; 2] = ["2", "1"];

/// How far clocks may be apart, and a record behind its run, for its day to be looked at.
const LEEWAY: SignedDuration = hours(2);

/// How long the list of all runs holds: retention removes old ones.
const RUNS_HOLD: SignedDuration = hours(24);

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
    /// The records of runs that were listed, with their bytes.
    runs: BTreeMap<Key, u64>,
    /// When all of them were listed last, and when any.
    runs_listed: Option<(Timestamp, Timestamp)>,
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
            runs: BTreeMap::new(),
            runs_listed: None,
            reports: BTreeMap::new(),
            records: BTreeMap::new(),
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// `Store`: it could not be read. What is damaged is no error of the scan.
    pub async fn scan(&mut self, now: Timestamp) -> Result<Past> {
        let mut objects = Vec::new();
        for millennium in MILLENNIA {
            let prefix = format!("{}{millennium}", self.target.prefix());
            objects.extend(self.store.list(&prefix).await?);
        }
        self.list_runs(now).await?;
        self.first.get_or_insert(now);
        let mut sizes = Sizes::new();
        for object in &objects {
            sizes.insert(object.key.clone(), object.size);
        }
        let catalog = Catalog::of(self.store.clone(), self.target.clone(), &objects);
        let bound = self.read_identity().await?;
        let mut damaged = self.read_manifests(&catalog).await?;
        damaged.extend(bound);
        let drills = self.read_reports(&catalog, &sizes).await?;
        let runs = runs_of(&self.target, self.runs.keys());
        let records = self.read_records(&runs).await?;
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

    /// Learns of runs that ended since the last scan; once a day, of all.
    async fn list_runs(&mut self, now: Timestamp) -> Result<()> {
        let all = self.target.runs();
        let fresh = self
            .runs_listed
            .filter(|(whole, _)| now.duration_since(*whole) < RUNS_HOLD);
        let Some((whole, last)) = fresh else {
            let listed = self.store.list(&all).await?;
            self.runs = listed.into_iter().map(|one| (one.key, one.size)).collect();
            self.runs_listed = Some((now, now));
            return Ok(());
        };
        // Their names begin with the day.
        let day = |time: Timestamp| time.strftime("%Y%m%d").to_string();
        let mut days: Vec<String> = Vec::new();
        let mut time = before(last, LEEWAY);
        let end = after(now, LEEWAY);
        while time < end {
            days.push(day(time));
            time = after(time, hours(24));
        }
        days.push(day(end));
        days.dedup();
        for day in days {
            let listed = self.store.list(&format!("{all}{day}")).await?;
            self.runs
                .extend(listed.into_iter().map(|one| (one.key, one.size)));
        }
        self.runs_listed = Some((whole, now));
        Ok(())
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
    async fn read_identity(&mut self) -> Result<Option<String>> {
        let key = self.target.identity();
        let is_there = match self.store.head(&key).await {
            Ok(_) => true,
            Err(StoreError::NotFound { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        match (self.bound_at, is_there) {
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

    async fn read_reports(&mut self, catalog: &Catalog, sizes: &Sizes) -> Result<Vec<Drill>> {
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
    async fn read_records(&mut self, runs: &[RunName]) -> Result<Vec<RunRecord>> {
        let wanted: Vec<Key> = telling(runs)
            .iter()
            .map(|run| self.target.run(run))
            .collect();
        self.records.retain(|key, _| wanted.contains(key));
        let missing = wanted
            .into_iter()
            .filter(|key| !self.records.contains_key(key));
        let missing: Vec<Key> = missing.collect();
        let (store, sizes) = (&self.store, &self.runs);
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
    sizes: &Sizes,
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
fn runs_of<'a>(target: &TargetName, keys: impl Iterator<Item = &'a Key>) -> Vec<RunName> {
    let names = keys.filter_map(|key| target.parse_run(key));
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
    use crate::store::fault::{FaultStore, Op};
    use crate::store::memory::MemoryStore;

    const ID: &str = "20261121T020000Z-000001";

    fn target() -> TargetName {
        "shop".parse().unwrap()
    }

    fn golden() -> Manifest {
        let golden = "tests/golden/one-stream/golden/20261121T020000Z-000001/manifest.json";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
        Manifest::from_bytes(&std::fs::read(path).unwrap()).unwrap()
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
        let manifest = Manifest {
            target: target(),
            ..golden()
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

    #[tokio::test]
    async fn a_scan_that_finds_nothing_new_is_as_many_requests_as_stated() {
        const PAGE: usize = 1000;
        let store = MemoryStore::new();
        let manifest = golden();
        let begun: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for n in 0..1000u32 {
            let id = BackupId::new(before(begun, hours(n)), n);
            let manifest = Manifest {
                id,
                target: target(),
                ..manifest.clone()
            };
            let mut objects = vec![(
                "manifest.json".to_owned(),
                manifest.to_bytes().unwrap().to_vec(),
            )];
            for name in [
                "dump.sql.zst",
                "accounts.sql.zst",
                "index.jsonl.zst",
                "SHA256SUMS",
                "RESTORE.txt",
                "accepted",
                "pin",
                "running.json",
            ] {
                objects.push((name.to_owned(), Vec::new()));
            }
            for (name, body) in objects {
                put(&store, &format!("{id}/{name}"), &body).await;
            }
        }
        let run = RunRecord::ends("backup", begun, None, None);
        let record = serde_json::to_vec(&run).unwrap();
        for n in 0..10_000u32 {
            let name = RunName {
                time: before(begun, crate::times::minutes(n * 10)),
                verb: "backup".into(),
                exit: 0,
            };
            put(&store, &format!("runs/{name}"), &record).await;
        }
        put(
            &store,
            "target.json",
            br#"{"target":"shop","identity":"a","created_at":"2026-01-01T00:00:00Z"}"#,
        )
        .await;
        let counted = FaultStore::new(Arc::new(store.clone()));
        let mut scanner = Scanner::new(Arc::new(counted.clone()), target(), 10);
        let past = scanner.scan(begun).await.unwrap();
        assert_eq!((past.backups.len(), past.last_runs.len()), (1000, 1));
        assert_eq!(counted.count(Op::List, "shop/runs/"), 1);
        // What each LIST is answered with, a thousand names at a time.
        let pages = async |prefix: &str| store.list(prefix).await.unwrap().len() / PAGE + 1;
        let (all, gets) = (counted.count(Op::List, ""), counted.count(Op::Get, ""));
        let heads = counted.count(Op::Head, "");
        let later = after(begun, crate::times::minutes(1));
        put(&store, "runs/20261121T120030Z-backup-4.json", &record).await;
        let past = scanner.scan(later).await.unwrap();
        assert_eq!(past.last_runs[0].exit, 4, "what is new is seen");
        assert_eq!(counted.count(Op::Get, "") - gets, 1);
        let gets = counted.count(Op::Get, "");
        scanner
            .scan(after(later, crate::times::minutes(1)))
            .await
            .unwrap();
        assert_eq!(counted.count(Op::Get, ""), gets, "nothing is read twice");
        assert_eq!(
            counted.count(Op::List, "shop/runs/"),
            1,
            "all runs are listed once a day"
        );
        let lists = counted.count(Op::List, "") - all;
        assert_eq!(lists, 2 * 3, "two of backups, one of the day's runs");
        assert_eq!(counted.count(Op::Head, "") - heads, 2);
        let requests =
            pages("shop/2").await + pages("shop/1").await + pages("shop/runs/20261121").await + 1;
        assert_eq!(requests, 10 + 1 + 1 + 1);
        // A day later, all of them.
        scanner.scan(after(later, hours(24))).await.unwrap();
        assert_eq!(counted.count(Op::List, "shop/runs/"), 2);
    }

    #[tokio::test]
    async fn a_run_is_seen_across_midnight_and_a_long_pause() {
        let store = MemoryStore::new();
        let mut scanner = scanner(&store);
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        scanner.scan(time("2026-11-21T23:59:00Z")).await.unwrap();
        for (record, at) in [
            ("20261121T235959Z-verify-7", "2026-11-22T00:00:30Z"),
            ("20261122T001000Z-prune-9", "2026-11-22T00:10:10Z"),
            // Another host's clock is ahead, and the next one behind.
            ("20261123T000100Z-backup-4", "2026-11-22T23:59:30Z"),
            ("20261122T235800Z-accept-1", "2026-11-23T00:01:00Z"),
        ] {
            put(&store, &format!("runs/{record}.json"), b"{").await;
            let past = scanner.scan(time(at)).await.unwrap();
            let verb = record.split('-').nth(1).unwrap();
            assert!(past.last_run(verb).is_some(), "{record}");
        }
        put(&store, "runs/20261125T120000Z-restore-1.json", b"{").await;
        let past = scanner.scan(time("2026-11-27T00:00:00Z")).await.unwrap();
        assert!(past.last_run("restore").is_some());
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
