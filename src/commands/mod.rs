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

use ended::recorded;
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
            recorded(&run, "backup", Some(Task::Backup), backup::run(&run, args)).await
        }
        Command::List => list::run(&Run::begin(&global).await?).await,
        Command::Show(args) => show::run(&Run::begin(&global).await?, args).await,
        Command::Cat(args) => cat::run(&Run::begin(&global).await?, args).await,
        Command::Restore(args) => {
            let run = Run::begin(&global).await?;
            recorded(&run, "restore", None, restore::run(&run, args)).await
        }
        Command::Fence => fence::fence(&global).await,
        Command::Unfence => fence::unfence(&global).await,
        Command::Verify(args) => {
            let run = Run::begin_task(&global, Task::Verify).await?;
            recorded(&run, "verify", Some(Task::Verify), verify::run(&run, args)).await
        }
        Command::AlertTest(args) => alert_test::run(&global, args).await,
        Command::Report(args) => report::run(&Run::begin(&global).await?, args).await,
        Command::Agent => agent::run(&Run::begin_service(&global).await?, &global).await,
        Command::Serve => serve::run(&Run::begin_service(&global).await?).await,
        Command::Watch {
            what: Watched::Pods(args),
        } => watch::run(args, global.output).await,
        Command::Accept(args) => accept::run(&Run::begin(&global).await?, args).await,
        Command::Prune(args) => {
            let run = Run::begin(&global).await?;
            recorded(&run, "prune", None, prune::run(&run, args)).await
        }
        Command::Pin(args) => pin::run(&Run::begin(&global).await?, args).await,
    }
}
