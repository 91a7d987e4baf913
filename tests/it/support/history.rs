//! Stores with a past: whole backups of any age, made of a golden archive, so that no test waits days.

use std::fs;
use std::path::{Path, PathBuf};

use drctl::archive::manifest::Manifest;
use drctl::layout::{BackupId, BackupObject, DrillLevel, DrillName, DrillVerdict, TargetName};
use jiff::{SignedDuration, Timestamp};

use super::Drctl;

/// How long a backup of the past took.
const TOOK: SignedDuration = SignedDuration::from_mins(2);

/// So many hours ago.
pub fn hours_ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

/// An archive that is in the repository.
fn golden() -> PathBuf {
    let golden = "tests/golden/one-stream/golden/20261121T020000Z-000001";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(golden)
}

/// The objects of a backup of that target and time, and its id; `edit` changes its manifest.
pub fn objects(
    target: &str,
    at: Timestamp,
    edit: impl Fn(&mut Manifest),
) -> (BackupId, Vec<(String, Vec<u8>)>) {
    let id = BackupId::generate(at);
    let target: TargetName = target.parse().expect("a target");
    let mut objects = Vec::new();
    for file in fs::read_dir(golden())
        .expect("the golden archive")
        .flatten()
    {
        let name = file.file_name().to_string_lossy().into_owned();
        let mut body = fs::read(file.path()).expect("a file");
        if name == "manifest.json" {
            let mut manifest = Manifest::from_bytes(&body).expect("a manifest");
            manifest.id = id;
            manifest.target = target.clone();
            manifest.snapshot_at = at;
            manifest.started_at = at;
            manifest.finished_at = at + TOOK;
            edit(&mut manifest);
            body = manifest.to_bytes().expect("a manifest");
        }
        objects.push((format!("{}{name}", target.backup(id)), body));
    }
    // As a run does: the manifest last.
    objects.sort_by_key(|(key, _)| key.ends_with("manifest.json"));
    (id, objects)
}

/// Name of the report of a drill that verified its backup at that time.
pub fn passed(time: Timestamp) -> BackupObject {
    drilled(time, DrillVerdict::Pass)
}

/// The name of a drill's report.
pub fn drilled(time: Timestamp, verdict: DrillVerdict) -> BackupObject {
    BackupObject::Drill(DrillName {
        time,
        level: DrillLevel::Restore,
        verdict,
    })
}

impl Drctl {
    /// Puts a backup of that time into the store of its own.
    pub fn had_backup(&self, target: &str, at: Timestamp) -> BackupId {
        self.had(target, at, |_| {})
    }

    /// As [`Drctl::had_backup`], with another manifest.
    pub fn had(&self, target: &str, at: Timestamp, edit: impl Fn(&mut Manifest)) -> BackupId {
        let (id, objects) = objects(target, at, edit);
        for (key, body) in objects {
            self.put(&key, &body);
        }
        id
    }

    /// Puts a mark beside a backup in the store of its own.
    pub fn mark(&self, target: &str, id: BackupId, mark: &BackupObject) -> PathBuf {
        let target: TargetName = target.parse().expect("a target");
        self.put(&target.object(id, mark), b"{}")
    }

    fn put(&self, key: &str, body: &[u8]) -> PathBuf {
        let path = self.store_dir().join(key);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, body).expect("a file");
        path
    }
}
