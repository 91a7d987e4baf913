//! A run has ended: who has to hear of it, and what is kept of it.
//!
//! The one place where backups and drills are recorded, so that nobody records one and forgets to
//! tell. It changes no outcome.

use std::future::Future;

use jiff::Timestamp;

use crate::commands::run::{Run, tidy};
use crate::error::{Outcome, Result};
use crate::notify::{self, Event, Kind, Task};
use crate::panics;
use crate::runs::{self, RunRecord};

/// Runs a verb that leaves a record when it ends, so that there is one, and an alert, also where a bug ends it
/// in a place that nobody foresaw.
pub async fn recorded(
    run: &Run,
    verb: &str,
    task: Option<Task>,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let started_at = Timestamp::now();
    let ended_itself = panics::caught(async { Ok(work.await) }).await;
    let error = match ended_itself {
        Ok(done) => return done,
        Err(error) => error,
    };
    let record = RunRecord::ends(verb, started_at, None, Some(&error));
    match task {
        Some(task) => ended(run, task, error.outcome(), record).await,
        None => drop(tidy(runs::record(&run.store, &run.config.target, &record)).await),
    }
    Err(error)
}

/// Tells the notifiers, then puts the record into the store, with what became of telling them.
///
/// A success that is not a whole one can raise an alert, and ends none.
pub async fn ended(run: &Run, task: Task, outcome: Outcome, mut record: RunRecord) {
    if let Some(kind) = kind(run, task, outcome, record.whole).await {
        let event = Event {
            kind,
            test: false,
            target: run.config.target.clone(),
            task,
            outcome,
            backup: record.backup,
            message: record.error.clone().unwrap_or_else(|| done(task, &record)),
            at: record.ended_at,
        };
        let telling = notify::tell(&run.config.notify, &event);
        // Who is stopped now has its grace period for the record.
        let stopped = async {
            match run.cancel.is_cancelled() {
                true => std::future::pending().await,
                false => run.cancel.stopped().await,
            }
        };
        tokio::select! {
            told = telling => record.notify = told,
            () = stopped => tracing::warn!("stopped before every notifier was told"),
        }
    }
    tidy(runs::record(&run.store, &run.config.target, &record)).await;
}

/// Which news it is, if any.
async fn kind(run: &Run, task: Task, outcome: Outcome, whole: bool) -> Option<Kind> {
    let nobody = run.config.notify.addresses().is_empty();
    if nobody || !runs::counts(outcome.code()) {
        return None;
    }
    if outcome != Outcome::Done {
        return Some(Kind::Failed);
    }
    if !whole {
        return None;
    }
    let last = runs::last_exit(&run.store, &run.config.target, task.as_str());
    match tidy(last).await? {
        Ok(Some(exit)) if exit != Outcome::Done.code() => Some(Kind::Recovered),
        Ok(_) => Some(Kind::Succeeded),
        Err(error) => {
            tracing::warn!(%error, "cannot tell whether the run before had failed");
            Some(Kind::Succeeded)
        }
    }
}

fn done(task: Task, record: &RunRecord) -> String {
    let id = record.backup.map(|id| id.to_string()).unwrap_or_default();
    match task {
        Task::Backup => format!("backup {id} is committed"),
        Task::Verify => format!("backup {id} is proven"),
        Task::Store => "the store can be read".to_owned(),
    }
}
