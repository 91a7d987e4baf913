//! `runs/<time>-<verb>-<exit>.json`: records of all runs, including failed ones.
//!
//! Best effort: records are information for operators and `serve`, never part of a backup.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::layout::{BackupId, RunName, TargetName};
use crate::store::{MOST_RECORD_BYTES, Store, StoreError};
use crate::util::error::{Error, Outcome, Result};
use crate::util::times::after;

/// Record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The command.
    pub verb: String,
    /// Version of drctl.
    pub drctl: String,
    /// When the run began.
    pub started_at: Timestamp,
    /// When the run ended.
    pub ended_at: Timestamp,
    /// Exit code of the run.
    pub exit: u8,
    /// Whether a success counts for the whole task; an archive-only drill raises alerts, but resolves none.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub whole: bool,
    /// The backup that the run created or used; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// Error line of the run, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Results of its notifications.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Delivery>,
}

impl RunRecord {
    /// A record of a run that ends now.
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

/// Result of notifying one notifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The notifier: `webhook`, `alertmanager`, `slack`, `heartbeat`.
    pub notifier: String,
    /// Why the notification failed, without secrets; `None` if it was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether an exit code says something about the task: a run that was cancelled or locked out neither
/// failed nor succeeded.
pub fn counts(exit: u8) -> bool {
    let not = |outcome: Outcome| outcome == Outcome::Locked || outcome.is_cancelled();
    !Outcome::of_code(exit.into()).is_some_and(not)
}

/// When the last run of a verb ended, with any result; needs one LIST.
pub async fn last(
    store: &Arc<dyn Store>,
    target: &TargetName,
    verb: &str,
) -> Result<Option<Timestamp>> {
    let runs = of_verb(store, target, verb).await?;
    Ok(runs.iter().map(|run| run.time).max())
}

/// Exit code of the last run of a verb that says something about the whole task: not of one that was locked
/// out, nor of a partial success. If several ended in the same second, a failed one is preferred, since a
/// duplicate notification is better than a missing one. Needs one LIST, and one GET per success, newest first,
/// until one counts for the whole task.
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

/// The newest backup that a run committed, by the records of `backup`; `None` without one that can be read. Needs one LIST
/// and one GET.
pub async fn last_committed(
    store: &Arc<dyn Store>,
    target: &TargetName,
) -> Result<Option<BackupId>> {
    let mut runs = of_verb(store, target, "backup").await?;
    runs.retain(|run| run.exit == Outcome::Done.code());
    let Some(newest) = runs.iter().max_by_key(|run| run.time) else {
        return Ok(None);
    };
    match store
        .get_at_most(&target.run(newest), MOST_RECORD_BYTES)
        .await
    {
        Ok(body) => {
            let record = serde_json::from_slice::<RunRecord>(&body).ok();
            Ok(record.and_then(|record| record.backup))
        }
        Err(StoreError::NotFound { .. } | StoreError::TooLong { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a success counts for the whole task, by its record; an unreadable record counts.
async fn is_whole(store: &Arc<dyn Store>, key: &str) -> Result<bool> {
    match store.get_at_most(key, MOST_RECORD_BYTES).await {
        Ok(body) => match serde_json::from_slice::<RunRecord>(&body) {
            Ok(record) => Ok(record.whole),
            Err(_) => Ok(true),
        },
        Err(StoreError::NotFound { .. } | StoreError::TooLong { .. }) => Ok(true),
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

/// Time limit for writing the record: it must not delay the exit.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the record to the store; a failure is logged and changes nothing.
pub async fn record(store: &Arc<dyn Store>, target: &TargetName, record: &RunRecord) {
    if tokio::time::timeout(TIMEOUT, put(store, target, record))
        .await
        .is_err()
    {
        tracing::warn!("cannot write the record of this run: the store timed out");
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
    // Names have whole seconds: if two runs ended in the same second, the later one tries the next second.
    const ATTEMPTS: i64 = 5;
    for later in 0..ATTEMPTS {
        let name = RunName {
            time: after(record.ended_at, SignedDuration::from_secs(later)),
            verb: record.verb.clone(),
            exit: record.exit,
        };
        match store.put_new(&target.run(&name), body.clone()).await {
            Ok(()) => return,
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot write the record of this run");
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
        let locked_out_and_cancelled = [
            "010000Z-backup-4",
            "020000Z-backup-11",
            "030000Z-backup-143",
        ];
        assert_eq!(last(&locked_out_and_cancelled).await, Some(4));
    }

    #[tokio::test]
    async fn a_partial_success_does_not_count() {
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
        // Records written before this field existed.
        let old = br#"{"verb":"verify","drctl":"0.1.0","started_at":"2026-11-21T03:00:00Z","ended_at":"2026-11-21T03:00:00Z","exit":0}"#;
        let key = "shop/runs/20261121T030000Z-verify-0.json";
        store.put_new(key, Bytes::from_static(old)).await.unwrap();
        assert_eq!(last().await, Some(0));
    }

    #[tokio::test]
    async fn of_two_runs_in_the_same_second_the_failed_one_counts_as_the_last() {
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
