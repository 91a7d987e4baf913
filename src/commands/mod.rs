//! One file a verb, each reads like the story of the command.

pub mod accept;
pub mod alert_test;
pub mod backup;
pub mod cat;
pub mod completions;
pub mod doctor;
pub mod ended;
pub mod list;
pub mod man;
pub mod pin;
pub mod progress;
pub mod promises;
pub mod prune;
pub mod report;
pub mod restore;
pub mod show;
pub mod text;
pub mod unfinished;
pub mod verify;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::agent;
use crate::cancel::Cancel;
use crate::catalog::Catalog;
use crate::cli::{Cli, Command, GlobalArgs, Output};
use crate::config::Config;
use crate::error::Result;
use crate::notify::Task;
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
    async fn begin(global: &GlobalArgs) -> Result<Run> {
        Run::begin_for(global, None).await
    }

    /// A run whose failure somebody has to hear of.
    async fn begin_task(global: &GlobalArgs, task: Task) -> Result<Run> {
        Run::begin_for(global, Some(task)).await
    }

    async fn begin_for(global: &GlobalArgs, task: Option<Task>) -> Result<Run> {
        let cancel = Cancel::default();
        cancel.on_signals()?;
        let config = Config::load(global)?;
        let opened = cancel.unless(store::open(&config.store)).await;
        let store = match (opened, task) {
            (Err(error), Some(task)) => {
                ended::without_a_store(&config, task, &error).await;
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
        self.cancel
            .unless(Catalog::read(self.store.clone(), target))
            .await
    }
}

/// Tidying up must not hold up an exit: what it does not get done is swept by a later run.
async fn tidy<T>(work: impl Future<Output = T>) -> Option<T> {
    let done = tokio::time::timeout(TIDY_TIMEOUT, work).await;
    if done.is_err() {
        tracing::warn!("the store is too slow to tidy up; a later run sweeps what remains");
    }
    done.ok()
}

/// Runs what was typed.
pub async fn run(cli: Cli) -> Result<()> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => completions::run(shell),
        Command::Man => man::run(),
        Command::Doctor => doctor::run(&Run::begin(&global).await?).await,
        Command::Backup(args) => {
            let run = Run::begin_task(&global, Task::Backup).await?;
            backup::run(&run, args).await
        }
        Command::List => list::run(&Run::begin(&global).await?).await,
        Command::Show(args) => show::run(&Run::begin(&global).await?, args).await,
        Command::Cat(args) => cat::run(&Run::begin(&global).await?, args).await,
        Command::Restore(args) => restore::run(&Run::begin(&global).await?, args).await,
        Command::Verify(args) => {
            let run = Run::begin_task(&global, Task::Verify).await?;
            verify::run(&run, args).await
        }
        Command::AlertTest(args) => alert_test::run(&global, args).await,
        Command::Report(args) => report::run(&Run::begin(&global).await?, args).await,
        Command::Agent => agent::run(&Run::begin(&global).await?, &global).await,
        Command::Accept(args) => accept::run(&Run::begin(&global).await?, args).await,
        Command::Prune(args) => prune::run(&Run::begin(&global).await?, args).await,
        Command::Pin(args) => pin::run(&Run::begin(&global).await?, args).await,
    }
}
