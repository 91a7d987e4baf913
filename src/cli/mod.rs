//! The subcommands, one module each; modules below may not use them.

pub mod accept;
pub mod agent;
pub mod alert_test;
pub mod args;
pub mod backup;
pub mod cat;
pub mod completions;
pub mod context;
pub mod copy;
pub mod demote;
pub mod doctor;
pub mod ended;
mod examples;
pub mod exit_codes;
pub mod fence;
mod from_here;
pub mod lease;
pub mod list;
pub mod log;
pub mod logging;
pub mod man;
pub mod objective_status;
pub mod output;
pub mod pin;
pub mod promote;
pub mod prune;
pub mod rekey;
pub mod report;
pub mod restore;
pub mod serve;
pub mod show;
pub mod standby;
pub mod stream;
pub mod unfinished;
pub mod verify;

use crate::cli::args::{Cli, Command, Watched};
use crate::monitor::notify::Task;
use crate::monitor::watch;
use crate::util::error::Result;

pub use context::Context;
use ended::recorded;

/// Runs the given command.
///
/// The futures of long flows are boxed here and where a drill begins: without optimisation each function that awaits
/// one holds copies of it on the stack, and together they exceeded the 8 MiB of a process. Clippy limits their size.
pub async fn run(cli: Cli) -> Result<()> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => completions::run(shell),
        Command::Man => man::run(),
        Command::ExitCodes => exit_codes::run(),
        Command::Doctor => doctor::run(&Context::begin(&global).await?).await,
        Command::Backup(args) => {
            let context = Context::begin_task(&global, Task::Backup).await?;
            recorded(
                &context,
                "backup",
                Some(Task::Backup),
                Box::pin(backup::run(&context, args)),
            )
            .await
        }
        Command::List => list::run(&Context::begin(&global).await?).await,
        Command::Show(args) => show::run(&Context::begin(&global).await?, args).await,
        Command::Cat(args) => cat::run(&Context::begin(&global).await?, args).await,
        Command::Restore(args) => {
            let context = Context::begin(&global).await?;
            let restore = Box::pin(restore::run(&context, *args));
            recorded(&context, "restore", None, restore).await
        }
        Command::Fence => fence::fence(&global).await,
        Command::Unfence => fence::unfence(&global).await,
        Command::Verify(args) => {
            let context = Context::begin_task(&global, Task::Verify).await?;
            recorded(
                &context,
                "verify",
                Some(Task::Verify),
                Box::pin(verify::run(&context, args)),
            )
            .await
        }
        Command::Stream(args) => {
            stream::run(&Context::begin_mysql(&global, "stream").await?, args).await
        }
        Command::Log(args) => log::run(&Context::begin_mysql(&global, "log").await?, args).await,
        Command::Copy(args) => {
            let context = Context::begin_task(&global, Task::Copy).await?;
            copy::run(&context, args).await
        }
        Command::Standby(args) => {
            let context = Context::begin_mysql(&global, "standby").await?;
            Box::pin(standby::run(&context, args)).await
        }
        Command::Promote(args) => {
            let context = Context::begin_mysql(&global, "promote").await?;
            let promote = Box::pin(promote::run(&context, args));
            recorded(&context, "promote", None, promote).await
        }
        Command::Demote(args) => {
            let context = Context::begin_mysql(&global, "demote").await?;
            let demote = Box::pin(demote::run(&context, args));
            recorded(&context, "demote", None, demote).await
        }
        Command::Lease(args) => {
            lease::run(&Context::begin_mysql(&global, "lease").await?, args).await
        }
        Command::AlertTest(args) => alert_test::run(&global, args).await,
        Command::Report(args) => report::run(&Context::begin(&global).await?, args).await,
        Command::Agent => agent::run(&Context::begin_service(&global).await?, &global).await,
        Command::Serve => serve::run(&Context::begin_service(&global).await?).await,
        Command::Watch {
            what: Watched::Pods(args),
        } => {
            let watched = watch::Watched {
                namespaces: args.namespace,
                selector: args.selector,
                listen: args.listen,
            };
            watch::run(watched, global.output).await
        }
        Command::Accept(args) => accept::run(&Context::begin(&global).await?, args).await,
        Command::Rekey(args) => {
            let context = Context::begin(&global).await?;
            let rekey = Box::pin(rekey::run(&context, args));
            recorded(&context, "rekey", None, rekey).await
        }
        Command::Prune(args) => {
            let context = Context::begin(&global).await?;
            let prune = Box::pin(prune::run(&context, args));
            recorded(&context, "prune", None, prune).await
        }
        Command::Pin(args) => pin::run(&Context::begin(&global).await?, args).await,
    }
}
