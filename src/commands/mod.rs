//! One file a verb, each reads like the story of the command.

pub mod accept;
pub mod alert_test;
pub mod backup;
pub mod cat;
pub mod completions;
pub mod doctor;
pub mod ended;
pub mod fence;
pub mod list;
pub mod man;
pub mod pin;
pub mod progress;
pub mod promises;
pub mod prune;
pub mod report;
pub mod restore;
pub mod run;
pub mod show;
pub mod text;
pub mod unfinished;
pub mod verify;

use crate::agent;
use crate::cli::{Cli, Command, Watched};
use crate::error::Result;
use crate::notify::Task;
use crate::serve;
use crate::watch;

pub use run::Run;
use run::{awaited, tidy};

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
        Command::Fence => fence::fence(&global).await,
        Command::Unfence => fence::unfence(&global).await,
        Command::Verify(args) => {
            let run = Run::begin_task(&global, Task::Verify).await?;
            verify::run(&run, args).await
        }
        Command::AlertTest(args) => alert_test::run(&global, args).await,
        Command::Report(args) => report::run(&Run::begin(&global).await?, args).await,
        Command::Agent => agent::run(&Run::begin(&global).await?, &global).await,
        Command::Serve => serve::run(&Run::begin(&global).await?).await,
        Command::Watch {
            what: Watched::Pods(args),
        } => watch::run(args, global.output).await,
        Command::Accept(args) => accept::run(&Run::begin(&global).await?, args).await,
        Command::Prune(args) => prune::run(&Run::begin(&global).await?, args).await,
        Command::Pin(args) => pin::run(&Run::begin(&global).await?, args).await,
    }
}
