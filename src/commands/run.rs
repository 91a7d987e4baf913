//! What every command that touches something works with, and how it is got ready.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::cancel::Cancel;
use crate::catalog::Catalog;
use crate::cli::{GlobalArgs, Output};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::notify::{self, Event, Kind, Task};
use crate::panics;
use crate::runs;
use crate::store::{self, Store};

/// How long each step of tidying up may take. There are four, abort, discard, heartbeat and record,
/// and together they have to fit into the 30 s of grace that a pod has.
const TIDY_TIMEOUT: Duration = Duration::from_secs(6);

/// What every command that touches something works with.
#[derive(Debug)]
pub struct Run {
    /// The checked configuration.
    pub config: Config,
    /// Where archives live.
    pub store: Arc<dyn Store>,
    /// The form of the result.
    pub output: Output,
    /// When to end early.
    pub cancel: Cancel,
}

impl Run {
    /// Reads the configuration and opens the store.
    pub async fn begin(global: &GlobalArgs) -> Result<Run> {
        Run::begin_for(global, None, true).await
    }

    /// A run that lives long and does many things: a bug in one of them does not end the others.
    pub async fn begin_service(global: &GlobalArgs) -> Result<Run> {
        Run::begin_for(global, None, false).await
    }

    /// A run whose failure somebody has to hear of.
    pub async fn begin_task(global: &GlobalArgs, task: Task) -> Result<Run> {
        Run::begin_for(global, Some(task), true).await
    }

    async fn begin_for(
        global: &GlobalArgs,
        task: Option<Task>,
        ends_on_panic: bool,
    ) -> Result<Run> {
        let cancel = Cancel::default();
        cancel.on_signals()?;
        if ends_on_panic {
            cancel.on_panics();
        }
        let config = Config::load(global)?;
        let opened = cancel.unless(async {
            panics::inject("open");
            store::open(&config.store).await
        });
        let opened = opened.await;
        let store = match (opened, task) {
            (Err(error), Some(task)) => {
                without_a_store(&config, task, &error).await;
                return Err(error);
            }
            (opened, _) => opened?,
        };
        Ok(Run {
            config,
            store,
            output: global.output,
            cancel,
        })
    }

    /// The target's backups as the store lists them now.
    pub async fn catalog(&self) -> Result<Catalog> {
        let target = self.config.target.clone();
        panics::inject("verb");
        self.cancel
            .unless(async {
                panics::inject("catalog");
                Catalog::read(self.store.clone(), target).await
            })
            .await
    }
}

/// Tidying up must not hold up an exit: what it does not get done is swept by a later run.
pub async fn tidy<T>(work: impl Future<Output = T>) -> Option<T> {
    let done = tokio::time::timeout(TIDY_TIMEOUT, work).await;
    if done.is_err() {
        tracing::warn!("the store is too slow to tidy up; a later run sweeps what remains");
    }
    done.ok()
}

/// Runs what must not be dropped half-way, since the store may still carry out what it was sent: where the
/// run must end, the work is told to stop and waited for, but not for long.
pub async fn awaited<T>(
    cancel: &Cancel,
    stop: impl FnOnce(),
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = cancel.token().cancelled() => {
            stop();
            tidy(work).await;
            Err(cancel.error())
        }
    }
}

/// Tells of a run that failed before there was a store to keep its record in.
async fn without_a_store(config: &Config, task: Task, error: &Error) {
    if !runs::counts(error.outcome().code()) {
        return;
    }
    let event = Event {
        kind: Kind::Failed,
        test: false,
        target: config.target.clone(),
        task,
        outcome: error.outcome(),
        backup: None,
        message: error.to_string(),
        at: Timestamp::now(),
    };
    notify::tell(&config.notify, &event).await;
}
