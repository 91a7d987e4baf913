//! Reads the state of a target from the store: LISTs its backups and the days in which runs may have ended
//! since, then reads new objects. Objects never change, so each is read once; an interrupted scan resumes
//! where it stopped.
//!
//! With 1,000 backups of 9 objects each, 10,000 runs, and 1,000 names per response, a scan that finds
//! nothing new makes at most 17 requests, and up to 15 more where the LIST is read in several places: 10 for the
//! LIST of the backups, one for the empty LIST of the other millennium, one HEAD of `target.json`, one LIST for each of two days of runs, two for the
//! archived log, however long it is ([`crate::stream::glance`]; one if there is none), and one GET of `standby.json`. The first scan
//! of a process, and one a day, LISTs all runs, 10 requests more; the first one also reads each manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use crate::archive::manifest::Manifest;
use crate::catalog::binding;
use crate::catalog::history::{self, RunRecord};
use crate::catalog::{Catalog, Entry};
use crate::copy::glance::CopyWatcher;
use crate::keys::signers::Signed;
use crate::layout::{BackupId, BackupObject, DrillLevel, RunName, TargetName};
use crate::monitor::report::model::{DrillReport, Evidence, REPORT};
use crate::monitor::standby::{StandbyGlance, StandbyWatcher};
use crate::monitor::status::{Backup, Drill, Scan};
use crate::store::{Key, Store, StoreError};
use crate::stream::glance::{Glance, Glancer};
use crate::util::error::{Error, Outcome, Result};
use crate::util::times::{after, before, hours};

/// Sizes in bytes of listed objects, by key.
type Sizes = BTreeMap<Key, u64>;

/// Number of objects read in parallel.
const READS_AT_ONCE: usize = 32;

/// Maximum size in bytes of a report or record; a larger object is not one of drctl's.
const MAX_BYTES: u64 = 4 << 20;

/// How many reports of each level other than `restore` are read.
const OTHER_REPORTS: usize = 5;

/// How many records of each verb are read, of those that contain more than their names.
const RECORDS: usize = 20;

/// The newest records of each verb are read in any case: each contains a heartbeat result.
const NEWEST_RECORDS: usize = 3;

/// Allowance for clock differences, and for the delay between a run and its record, when choosing days to
/// LIST.
const CLOCK_SKEW: SignedDuration = hours(2);

/// Interval between LISTs of all runs: retention removes old ones.
const RUNS_MAX_AGE: SignedDuration = hours(24);

/// A target in a store, with everything read so far.
#[derive(Debug)]
pub struct Scanner {
    store: Arc<dyn Store>,
    target: TargetName,
    /// How many reports of restoring drills are read.
    reports_wanted: usize,
    /// When the first scan began.
    first: Option<Timestamp>,
    /// When the target was bound to its server.
    bound_at: Option<Timestamp>,
    manifests: BTreeMap<BackupId, (Manifest, Signed)>,
    /// Listed run records, with their sizes in bytes.
    runs: BTreeMap<Key, u64>,
    /// When all runs were last listed, and when any were.
    runs_listed: Option<(Timestamp, Timestamp)>,
    /// Drill reports; `None`: not understood by this version.
    reports: BTreeMap<Key, Option<DrillReport>>,
    records: BTreeMap<Key, Option<RunRecord>>,
    /// Looks at the archived log.
    glancer: Glancer,
    /// Looks at the second store.
    second: Option<CopyWatcher>,
    /// Look for the report of a standby, in the store and the second one.
    standby: StandbyWatcher,
    second_standby: Option<StandbyWatcher>,
}

impl Scanner {
    /// A scanner that has read nothing.
    pub fn new(store: Arc<dyn Store>, target: TargetName, reports_wanted: usize) -> Scanner {
        let glancer = Glancer::new(store.clone(), target.clone());
        let standby = StandbyWatcher::new(store.clone(), target.clone());
        Scanner {
            store,
            target,
            glancer,
            reports_wanted,
            first: None,
            bound_at: None,
            manifests: BTreeMap::new(),
            runs: BTreeMap::new(),
            runs_listed: None,
            reports: BTreeMap::new(),
            records: BTreeMap::new(),
            second: None,
            standby,
            second_standby: None,
        }
    }

    /// Also looks at a second store.
    #[must_use]
    pub fn with_second(mut self, second: Option<CopyWatcher>) -> Scanner {
        let watcher =
            |second: &CopyWatcher| StandbyWatcher::new(second.store().clone(), self.target.clone());
        self.second_standby = second.as_ref().map(watcher);
        self.second = second;
        self
    }

    /// Reads new objects.
    ///
    /// # Errors
    /// `Store` if the store could not be read. A damaged object is not an error of the scan.
    pub async fn scan(&mut self, now: Timestamp) -> Result<Scan> {
        if self.store.keys().refresh() {
            self.manifests.clear();
            self.glancer = Glancer::new(self.store.clone(), self.target.clone());
        }
        let objects = self.store.list_backups(&self.target).await?;
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
                let (manifest, signed) = self.manifests.get(&id)?.clone();
                Some(Entry::new(id, manifest, signed, marks.clone()))
            })
            .collect();
        entries.sort_by_key(Entry::newest_first);
        let (log, log_damaged) = self.read_log(&entries, now).await?;
        let mut standbys: Vec<StandbyGlance> = self.standby.look(now).await?.into_iter().collect();
        if let Some(second) = &mut self.second_standby {
            standbys.extend(second.look_at_second(now).await);
        }
        Ok(Scan {
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
            log,
            log_damaged,
            copy: match &mut self.second {
                Some(second) => Some(second.look(now).await),
                None => None,
            },
            standbys,
        })
    }

    /// The archived log; else the reason if it cannot be read.
    async fn read_log(
        &mut self,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<(Option<Glance>, Option<String>)> {
        let bases = entries.iter().filter(|entry| entry.is_base());
        let bases: Vec<&Manifest> = bases.map(|entry| &entry.manifest).collect();
        match self.glancer.look(&bases, now).await {
            Ok(log) => Ok((log, None)),
            Err(error) if error.outcome() == Outcome::Archive => {
                Ok((None, Some(error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// Lists runs that ended since the last scan; once a day, all runs.
    async fn list_runs(&mut self, now: Timestamp) -> Result<()> {
        let all = self.target.runs();
        let fresh = self
            .runs_listed
            .filter(|(all_listed_at, _)| now.duration_since(*all_listed_at) < RUNS_MAX_AGE);
        let Some((all_listed_at, last)) = fresh else {
            let listed = self.store.list(&all).await?;
            self.runs = listed.into_iter().map(|one| (one.key, one.size)).collect();
            self.runs_listed = Some((now, now));
            return Ok(());
        };
        // Their names begin with the day.
        let day = |time: Timestamp| time.strftime("%Y%m%d").to_string();
        let mut days: Vec<String> = Vec::new();
        let mut time = before(last, CLOCK_SKEW);
        let end = after(now, CLOCK_SKEW);
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
        self.runs_listed = Some((all_listed_at, now));
        Ok(())
    }

    /// Reads new manifests. Returns a line for each damaged one; those are read again at each scan.
    async fn read_manifests(&mut self, catalog: &Catalog) -> Result<Vec<String>> {
        let committed: BTreeSet<BackupId> = catalog.committed().map(|(id, _)| id).collect();
        self.manifests.retain(|id, _| committed.contains(id));
        let is_new = |id: &BackupId| !self.manifests.contains_key(id);
        let missing: Vec<BackupId> = committed.into_iter().filter(is_new).collect();
        let (entries, damaged) = catalog.entries_of(missing).await?;
        for entry in entries {
            self.manifests
                .insert(entry.id, (entry.manifest, entry.signed));
        }
        Ok(damaged.iter().map(Error::to_string).collect())
    }

    /// Reads the target's binding. Returns the reason if it cannot be read.
    async fn read_identity(&mut self) -> Result<Option<String>> {
        let key = self.target.identity();
        let is_there = match self.store.head(&key).await {
            Ok(_) => true,
            Err(StoreError::NotFound { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        match (self.bound_at, is_there) {
            (None, true) => {}
            // drctl never deletes it: the store's directory is probably not mounted, or was emptied.
            (Some(_), false) => {
                return Err(Error::store(format!("{key} is gone"))
                    .hint("check that the store is mounted and was not emptied"));
            }
            _ => return Ok(None),
        }
        match binding::read(&self.store, &self.target).await {
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
        let (mut good, mut any) = (0, 0);
        let mut others = BTreeMap::new();
        let mut wanted = Vec::new();
        for (id, name) in &all {
            let is_good = name.verdict.is_verified();
            let takes = match name.level {
                DrillLevel::Archive | DrillLevel::Pitr | DrillLevel::Log => {
                    let count = others.entry(name.level.as_str()).or_insert(0);
                    increment_within(count, OTHER_REPORTS)
                }
                DrillLevel::Restore => {
                    let any = increment_within(&mut any, self.reports_wanted);
                    (is_good && increment_within(&mut good, self.reports_wanted)) || any
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
            let report = report?.filter(fits).map(without_details);
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

    /// Records that contain more than their names, newest first.
    async fn read_records(&mut self, runs: &[RunName]) -> Result<Vec<RunRecord>> {
        let wanted: Vec<Key> = informative_runs(runs)
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

/// Increments a counter; returns whether it is still within the limit.
fn increment_within(count: &mut usize, most: usize) -> bool {
    *count += 1;
    *count <= most
}

/// Reads one JSON object; `None` if it is invalid or gone.
async fn read<T: DeserializeOwned>(
    store: &Arc<dyn Store>,
    key: &str,
    sizes: &Sizes,
) -> Result<Option<T>> {
    if sizes.get(key).is_none_or(|bytes| *bytes > MAX_BYTES) {
        return Ok(None);
    }
    match store.get_at_most(key, MAX_BYTES).await {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::debug!(key, %error, "not in a known format"))
            .ok()),
        Err(StoreError::NotFound { .. } | StoreError::TooLong { .. }) => Ok(None),
        Err(error) => Err(Error::from(error)),
    }
}

/// A report without its unbounded fields, which are not shown.
fn without_details(report: DrillReport) -> DrillReport {
    DrillReport {
        differences: Vec::new(),
        checks: Vec::new(),
        warnings: Default::default(),
        evidence: Evidence {
            identities: report.evidence.identities,
            ..Evidence::default()
        },
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
        verified_at: entry.marks.verified_at,
        signed: entry.signature(),
        recipients: manifest.recipients.clone(),
    }
}

/// Names of all runs, oldest first; among several in one second, failed ones last.
fn runs_of<'a>(target: &TargetName, keys: impl Iterator<Item = &'a Key>) -> Vec<RunName> {
    let names = keys.filter_map(|key| target.parse_run(key));
    let mut runs: Vec<RunName> = names.collect();
    runs.sort_by_key(|run| (run.time, run.exit));
    runs
}

/// The last run of each verb whose exit code says something about its task.
fn last_runs(oldest_first: &[RunName]) -> Vec<RunName> {
    let mut last: Vec<RunName> = Vec::new();
    for run in oldest_first
        .iter()
        .rev()
        .filter(|run| history::counts(run.exit))
    {
        if last.iter().all(|one| one.verb != run.verb) {
            last.push(run.clone());
        }
    }
    last
}

/// Runs whose records contain more than their names: causes of failures, and results of notifications.
/// Ordinary successes notify only heartbeats and Alertmanager, each time, so their newest records suffice.
fn informative_runs(oldest_first: &[RunName]) -> Vec<&RunName> {
    let mut by_verb: BTreeMap<&str, Vec<&RunName>> = BTreeMap::new();
    for run in oldest_first.iter().filter(|run| history::counts(run.exit)) {
        by_verb.entry(&run.verb).or_default().push(run);
    }
    let mut wanted = Vec::new();
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
        wanted.extend(of_verb);
    }
    wanted
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
    async fn damaged_objects_are_reported_and_hide_no_others() {
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
        let scan = scanner.scan(Timestamp::now()).await.unwrap();
        assert_eq!(scan.backups.len(), 1);
        assert_eq!(scan.damaged.len(), 3, "{:#?}", scan.damaged);
        assert!(scan.drills[0].report.is_none());
        assert_eq!(scan.last_runs[0].exit, 7);
        assert!(scan.records.is_empty());
        // After the repair it is seen; after deletion by retention it is not.
        put(&store, "20261122T020000Z-000002/manifest.json", &good).await;
        store
            .delete(&format!("shop/{ID}/manifest.json"))
            .await
            .unwrap();
        let scan = scanner.scan(Timestamp::now()).await.unwrap();
        assert!(scan.backups.is_empty(), "its id is another one");
        assert_eq!(scan.damaged.len(), 3);
    }

    #[tokio::test]
    async fn an_emptied_store_is_not_taken_for_a_new_one() {
        let store = MemoryStore::new();
        let mut scanner = scanner(&store);
        let now = Timestamp::now();
        assert_eq!(scanner.scan(now).await.unwrap().known_since, Some(now));
        let bound = br#"{"target":"shop","identity":"a","created_at":"2026-01-01T00:00:00Z"}"#;
        put(&store, "target.json", bound).await;
        let scan = scanner.scan(now).await.unwrap();
        assert_eq!(scan.known_since, scan.bound_at);
        store.delete("shop/target.json").await.unwrap();
        let error = scanner.scan(now).await.unwrap_err().to_string();
        assert!(error.starts_with("shop/target.json is gone; "), "{error}");
    }

    #[tokio::test]
    async fn a_scan_that_finds_nothing_new_makes_the_stated_number_of_requests() {
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
                time: before(begun, crate::util::times::minutes(n * 10)),
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
        let scan = scanner.scan(begun).await.unwrap();
        assert_eq!((scan.backups.len(), scan.last_runs.len()), (1000, 1));
        assert_eq!(counted.count(Op::List, "shop/runs/"), 1);
        // The response to each LIST, at most a thousand names.
        let pages = async |prefix: &str| store.list(prefix).await.unwrap().len() / PAGE + 1;
        let (all, gets) = (counted.count(Op::List, ""), counted.count(Op::Get, ""));
        let heads = counted.count(Op::Head, "");
        let later = after(begun, crate::util::times::minutes(1));
        put(&store, "runs/20261121T120030Z-backup-4.json", &record).await;
        let scan = scanner.scan(later).await.unwrap();
        assert_eq!(scan.last_runs[0].exit, 4, "a new run is seen");
        assert_eq!(
            counted.count(Op::Get, "") - gets,
            1 + 2,
            "and the log's and the standby's"
        );
        let gets = counted.count(Op::Get, "");
        scanner
            .scan(after(later, crate::util::times::minutes(1)))
            .await
            .unwrap();
        assert_eq!(
            counted.count(Op::Get, ""),
            gets + 2,
            "nothing is read twice but the log's heartbeat and the standby's report"
        );
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
            let scan = scanner.scan(time(at)).await.unwrap();
            let verb = record.split('-').nth(1).unwrap();
            assert!(scan.last_run(verb).is_some(), "{record}");
        }
        put(&store, "runs/20261125T120000Z-restore-1.json", b"{").await;
        let scan = scanner.scan(time("2026-11-27T00:00:00Z")).await.unwrap();
        assert!(scan.last_run("restore").is_some());
    }

    #[test]
    fn records_of_failures_of_their_successors_and_of_the_newest_runs_are_read() {
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
        let names: Vec<String> = informative_runs(&runs)
            .iter()
            .map(ToString::to_string)
            .collect();
        let expected = ["01", "03", "05", "06", "07", "08"];
        let hours: Vec<&str> = names.iter().map(|name| &name[9..11]).collect();
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
        let names = informative_runs(&failed);
        assert_eq!(names.len(), RECORDS);
        assert_eq!(names.last(), failed.last().as_ref());
    }
}
