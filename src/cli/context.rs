//! Context of commands that access the store: configuration, store, output, cancellation.

use std::sync::Arc;

use jiff::Timestamp;

use crate::catalog::{Catalog, Entry, Which, history};
use crate::cli::args::GlobalArgs;
use crate::config::{COPY, Config};
use crate::keys::Keys;
use crate::monitor::notify::{self, Event, Kind, Task};
use crate::store::{self, Store};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::Output;
use crate::util::panics;

/// Context of a command that accesses the store.
#[derive(Debug)]
pub struct Context {
    /// The checked configuration.
    pub config: Config,
    /// The object store.
    pub store: Arc<dyn Store>,
    /// Output format.
    pub output: Output,
    /// Cancellation of the run.
    pub cancel: Cancel,
}

impl Context {
    /// Loads the configuration and opens the store.
    pub async fn begin(global: &GlobalArgs) -> Result<Context> {
        Context::begin_for(global, None, true).await
    }

    /// Context of a verb that only a MySQL or MariaDB server has.
    pub async fn begin_mysql(global: &GlobalArgs, verb: &str) -> Result<Context> {
        let context = Context::begin(global).await?;
        context.config.require_mysql(verb)?;
        Ok(context)
    }

    /// Context of a long-running service, in which a panic of one task does not end the others.
    pub async fn begin_service(global: &GlobalArgs) -> Result<Context> {
        Context::begin_for(global, None, false).await
    }

    /// Context of a task whose failure is notified, even before the store is open.
    pub async fn begin_task(global: &GlobalArgs, task: Task) -> Result<Context> {
        Context::begin_for(global, Some(task), true).await
    }

    async fn begin_for(
        global: &GlobalArgs,
        task: Option<Task>,
        ends_on_panic: bool,
    ) -> Result<Context> {
        let cancel = Cancel::default();
        cancel.on_signals()?;
        if ends_on_panic {
            cancel.on_panics();
        }
        let config = Config::load(&global.overrides())?;
        let opened = cancel.unless(Box::pin(async {
            panics::inject("open");
            store::open(&config.store, Keys::new(config.keys.clone())?).await
        }));
        let opened = opened.await;
        let store = match (opened, task) {
            (Err(error), Some(task)) => {
                without_a_store(&config, task, &error).await;
                return Err(error);
            }
            (opened, _) => opened?,
        };
        Ok(Context {
            config,
            store,
            output: global.output,
            cancel,
        })
    }

    /// Lists the target's backups in the store.
    pub async fn catalog(&self) -> Result<Catalog> {
        let target = self.config.target.clone();
        panics::inject("verb");
        self.cancel
            .unless(Catalog::read(self.store.clone(), target))
            .await
            .map_err(|error| self.offer_copy(error))
    }

    /// The keys to what another store of the same target holds; each is read when it is first needed.
    pub fn keys(&self) -> Result<Keys> {
        Keys::new(self.config.keys.clone())
    }

    /// Adds to the failure of the primary store that there is a second one. It is never used by itself: its backups may
    /// be older.
    fn offer_copy(&self, error: Error) -> Error {
        let copy = self.config.copy.store.as_ref();
        let other = copy.filter(|copy| copy.url != self.config.store.url);
        match (other, error.next_step().map(str::to_owned)) {
            (Some(copy), Some(step)) if error.outcome() == Outcome::Store => error.hint(format!(
                "{step}; the second store {} may have a copy: add --store {COPY}",
                copy.url
            )),
            _ => error,
        }
    }

    /// Lists the target's backups, and reads the selected one.
    pub async fn select(&self, which: Which) -> Result<(Catalog, Entry)> {
        let catalog = self.catalog().await?;
        let found = self.cancel.unless(catalog.find(which)).await;
        let entry = found.map_err(|error| self.offer_copy(error))?;
        Ok((catalog, entry))
    }
}

/// Notifies about a run that failed before the store for its record was open.
pub(super) async fn without_a_store(config: &Config, task: Task, error: &Error) {
    if !history::counts(error.outcome().code()) {
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
    notify::deliver(&config.notify, &event).await;
}
