//! End of a run: notifications and the run record.
//!
//! The only place that records backups and drills, so that no run is recorded without its notification.
//! Changes no outcome.

use std::future::Future;

use jiff::Timestamp;

use crate::catalog::history::{self, RunRecord};
use crate::cli::context::Context;
use crate::monitor::notify::{self, Event, Kind, Task};
use crate::util::cancel::tidy;
use crate::util::error::{Outcome, Result};
use crate::util::panics;

/// Runs a verb that leaves a run record, so that even a panic ends with a record and an alert.
pub async fn recorded(
    context: &Context,
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
        Some(task) => ended(context, task, error.outcome(), record).await,
        None => {
            let written = history::record(&context.store, &context.config.target, &record);
            tidy(written).await;
        }
    }
    Err(error)
}

/// Notifies, then writes the run record with the results of the notifications.
///
/// A partial success can raise an alert, but resolves none.
pub async fn ended(context: &Context, task: Task, outcome: Outcome, mut record: RunRecord) {
    if let Some(kind) = kind(context, task, outcome, record.whole).await {
        let event = Event {
            kind,
            test: false,
            target: context.config.target.clone(),
            task,
            outcome,
            backup: record.backup,
            message: record.error.clone().unwrap_or_else(|| done(task, &record)),
            at: record.ended_at,
        };
        let notifications = notify::deliver(&context.config.notify, &event);
        // A run that is being stopped spends its grace period on the record.
        let stopped = async {
            if context.cancel.is_cancelled() {
                std::future::pending().await
            } else {
                context.cancel.stopped().await
            }
        };
        tokio::select! {
            deliveries = notifications => record.notify = deliveries,
            () = stopped => tracing::warn!("stopped before every notification was sent"),
        }
    }
    tidy(history::record(
        &context.store,
        &context.config.target,
        &record,
    ))
    .await;
}

/// Kind of the notification, if any.
async fn kind(context: &Context, task: Task, outcome: Outcome, whole: bool) -> Option<Kind> {
    let has_notifier = !context.config.notify.addresses().is_empty();
    if !has_notifier || !history::counts(outcome.code()) {
        return None;
    }
    if outcome != Outcome::Done {
        return Some(Kind::Failed);
    }
    if !whole {
        return None;
    }
    let last = history::last_exit(&context.store, &context.config.target, task.as_str());
    match tidy(last).await? {
        Ok(Some(exit)) if exit != Outcome::Done.code() => Some(Kind::Recovered),
        Ok(_) => Some(Kind::Succeeded),
        Err(error) => {
            tracing::warn!(%error, "cannot determine whether the previous run failed");
            Some(Kind::Succeeded)
        }
    }
}

fn done(task: Task, record: &RunRecord) -> String {
    let id = record.backup.map(|id| id.to_string()).unwrap_or_default();
    match task {
        Task::Backup => format!("backup {id} is committed"),
        Task::Verify => format!("backup {id} is verified"),
        Task::Store => "the store is readable".to_owned(),
        Task::Stream => "the binary log is archived".to_owned(),
        Task::Copy => "the second store has what the primary one has".to_owned(),
    }
}
