//! One file a verb, each reads like the story of the command.

pub mod accept;
pub mod backup;
pub mod cat;
pub mod completions;
pub mod doctor;
pub mod list;
pub mod man;
pub mod pin;
pub mod progress;
pub mod promises;
pub mod prune;
pub mod restore;
pub mod show;
pub mod text;
pub mod unfinished;
pub mod verify;

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::catalog::Catalog;
use crate::cli::{Cli, Command, GlobalArgs, Output};
use crate::config::Config;
use crate::error::Result;
use crate::store::{self, Store};

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
        let cancel = Cancel::default();
        cancel.on_signals()?;
        let config = Config::load(global)?;
        let store = cancel.unless(store::open(&config.store)).await?;
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

/// Runs what was typed.
pub async fn run(cli: Cli) -> Result<()> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => completions::run(shell),
        Command::Man => man::run(),
        Command::Doctor => doctor::run(&Run::begin(&global).await?).await,
        Command::Backup(args) => backup::run(&Run::begin(&global).await?, args).await,
        Command::List => list::run(&Run::begin(&global).await?).await,
        Command::Show(args) => show::run(&Run::begin(&global).await?, args).await,
        Command::Cat(args) => cat::run(&Run::begin(&global).await?, args).await,
        Command::Restore(args) => restore::run(&Run::begin(&global).await?, args).await,
        Command::Verify(args) => verify::run(&Run::begin(&global).await?, args).await,
        Command::Accept(args) => accept::run(&Run::begin(&global).await?, args).await,
        Command::Prune(args) => prune::run(&Run::begin(&global).await?, args).await,
        Command::Pin(args) => pin::run(&Run::begin(&global).await?, args).await,
    }
}
