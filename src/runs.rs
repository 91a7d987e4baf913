//! `runs/<time>-<verb>-<exit>.json`: what every run did, also the failed ones.
//!
//! Best effort: it is evidence for people and for `serve`, never part of a backup.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Outcome, Result};
use crate::store::keys::{BackupId, RunName, TargetName};
use crate::store::{Store, StoreError};
use crate::times::after;

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The command.
    pub verb: String,
    /// The version of drctl.
    pub drctl: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its exit code.
    pub exit: u8,
    /// Whether its success is one of the task; a drill of the archive alone raises alerts, and ends none.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub whole: bool,
    /// The backup that it made or used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// Its one line where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who was told of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Told>,
}

impl RunRecord {
    /// Of a run that ends now.
    pub fn ends(
        verb: &str,
        started_at: Timestamp,
        backup: Option<BackupId>,
        error: Option<&Error>,
    ) -> RunRecord {
        RunRecord {
            verb: verb.to_owned(),
            drctl: env!("CARGO_PKG_VERSION").into(),
            started_at,
            ended_at: Timestamp::now(),
            exit: Outcome::of(error).code(),
            whole: true,
            backup,
            error: error.map(Error::to_string),
            notify: Vec::new(),
        }
    }
}

fn yes() -> bool {
    true
}

fn is_true(is: &bool) -> bool {
    *is
}

/// What became of telling one notifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which: `webhook`, `alertmanager`, `slack`, `heartbeat`.
    pub notifier: String,
    /// Why it does not know; never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether a run that ended so says something about its task: one that was cancelled, or gave way
/// to another, neither failed nor succeeded.
pub fn counts(exit: u8) -> bool {
    let all = Outcome::TABLE.iter().map(|row| row.0);
    let mut not = all.filter(|outcome| *outcome == Outcome::Held || outcome.is_cancelled());
    !not.any(|outcome| outcome.code() == exit)
}

/// When the last run of a verb ended, however; by one LIST.
pub async fn last(
    store: &Arc<dyn Store>,
    target: &TargetName,
    verb: &str,
) -> Result<Option<Timestamp>> {
    let runs = of_verb(store, target, verb).await?;
    Ok(runs.iter().map(|run| run.time).max())
}

/// The exit code of the last run of a verb that is news of its task: not one that gave way, nor the success of
/// a part of it. Of several that ended in one second it is one that failed: news too much is better than news
/// that is missing. One LIST, and a GET for each success from the newest on until one is whole.
pub async fn last_exit(
    store: &Arc<dyn Store>,
    target: &TargetName,
    verb: &str,
) -> Result<Option<u8>> {
    let mut runs = of_verb(store, target, verb).await?;
    runs.retain(|run| counts(run.exit));
    runs.sort_by_key(|run| std::cmp::Reverse((run.time, run.exit)));
    for run in runs {
        if run.exit != Outcome::Done.code() || is_whole(store, &target.run(&run)).await? {
            return Ok(Some(run.exit));
        }
    }
    Ok(None)
}

/// Whether a success is one of the task, by its record; one that cannot be read is.
async fn is_whole(store: &Arc<dyn Store>, key: &str) -> Result<bool> {
    match store.get(key, None).await {
        Ok(body) => match serde_json::from_slice::<RunRecord>(&body) {
            Ok(record) => Ok(record.whole),
            Err(_) => Ok(true),
        },
        Err(StoreError::NotFound { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

async fn of_verb(store: &Arc<dyn Store>, target: &TargetName, verb: &str) -> Result<Vec<RunName>> {
    let listed = store.list(&target.runs()).await?;
    let names = listed
        .iter()
        .filter_map(|object| target.parse_run(&object.key));
    Ok(names.filter(|name| name.verb == verb).collect())
}

/// How long the store may take: a record must not hold up an exit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts the record into the store; a failure is logged and changes nothing.
pub async fn record(store: &Arc<dyn Store>, target: &TargetName, record: &RunRecord) {
    if tokio::time::timeout(PATIENCE, put(store, target, record))
        .await
        .is_err()
    {
        tracing::warn!("cannot store the record of this run: the store is slow");
    }
}

async fn put(store: &Arc<dyn Store>, target: &TargetName, record: &RunRecord) {
    let body = match serde_json::to_vec_pretty(record) {
        Ok(body) => Bytes::from(body),
        Err(error) => {
            tracing::warn!(%error, "cannot write the record of this run");
            return;
        }
    };
    // Names have whole seconds: of two runs that ended in the same one, the later gives way.
    const TRIES: i64 = 5;
    for later in 0..TRIES {
        let name = RunName {
            time: after(record.ended_at, SignedDuration::from_secs(later)),
            verb: record.verb.clone(),
            exit: record.exit,
        };
        match store.put_new(&target.run(&name), body.clone()).await {
            Ok(()) => return,
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot store the record of this run");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    async fn last(names: &[&str]) -> Option<u8> {
        let target: TargetName = "shop".parse().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        for name in names {
            let key = format!("shop/runs/20261121T{name}.json");
            store.put_new(&key, Bytes::new()).await.unwrap();
        }
        last_exit(&store, &target, "backup").await.unwrap()
    }

    #[tokio::test]
    async fn the_last_run_is_the_newest_of_its_verb_that_counts() {
        assert_eq!(last(&[]).await, None);
        assert_eq!(last(&["010000Z-verify-7"]).await, None);
        assert_eq!(
            last(&["010000Z-backup-4", "020000Z-backup-0"]).await,
            Some(0)
        );
        assert_eq!(
            last(&["010000Z-backup-12", "020000Z-verify-0"]).await,
            Some(12)
        );
        let gave_way = [
            "010000Z-backup-4",
            "020000Z-backup-11",
            "030000Z-backup-143",
        ];
        assert_eq!(last(&gave_way).await, Some(4));
    }

    #[tokio::test]
    async fn the_success_of_a_part_is_no_news() {
        let target: TargetName = "shop".parse().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let mut run = RunRecord::ends("verify", Timestamp::now(), None, None);
        run.whole = false;
        for (name, body) in [
            ("010000Z-verify-7", Vec::new()),
            ("020000Z-verify-0", serde_json::to_vec(&run).unwrap()),
        ] {
            let key = format!("shop/runs/20261121T{name}.json");
            store.put_new(&key, body.into()).await.unwrap();
        }
        let last = async || last_exit(&store, &target, "verify").await.unwrap();
        assert_eq!(last().await, Some(7));
        // As records were before there were such.
        let old = br#"{"verb":"verify","drctl":"0.1.0","started_at":"2026-11-21T03:00:00Z","ended_at":"2026-11-21T03:00:00Z","exit":0}"#;
        let key = "shop/runs/20261121T030000Z-verify-0.json";
        store.put_new(key, Bytes::from_static(old)).await.unwrap();
        assert_eq!(last().await, Some(0));
    }

    #[tokio::test]
    async fn of_two_in_one_second_the_failure_is_taken_for_the_last() {
        assert_eq!(
            last(&["010000Z-backup-4", "010000Z-backup-0"]).await,
            Some(4)
        );
        assert_eq!(
            last(&["010000Z-backup-0", "010000Z-backup-10"]).await,
            Some(10)
        );
    }
}
