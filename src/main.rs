//! Parse, log, run, report, exit.

use std::process::ExitCode;

use clap::Parser;
use drctl::cli::Cli;
use drctl::server::tie;
use drctl::{Outcome, commands, logging, panics};

/// glibc keeps what many threads have freed, a multiple of what is in use: frames come and go on
/// all of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(error) = tie::become_child_if_asked() {
        eprintln!("drctl: {error}");
        return ExitCode::from(tie::NOT_STARTED);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own exit code for what it refuses is 2, as ours; help and version are 0.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            // What was typed may hold what nobody else should read.
            logging::terminated("the command line is wrong; see the log");
            return ExitCode::from(Outcome::Usage.code());
        }
    };
    logging::init(cli.global.verbose);
    panics::install();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("drctl: cannot start: {error}");
            return ExitCode::from(Outcome::Unexpected.code());
        }
    };
    let ended = runtime.block_on(panics::caught(commands::run(cli)));
    // A blocked read of a store or a server must not hold up an exit that was asked for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    let (outcome, line) = match ended {
        Ok(()) => (Outcome::Done, "done".to_owned()),
        Err(error) => {
            logging::causes(&error);
            eprintln!("drctl: {error}");
            (error.outcome(), error.to_string())
        }
    };
    logging::terminated(&line);
    ExitCode::from(outcome.code())
}
