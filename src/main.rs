//! Entry point: parses arguments, initialises logging, runs the command, prints the failure, exits.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use clap::Parser;
use drctl::Outcome;
use drctl::cli::args::Cli;
use drctl::cli::logging;
use drctl::util::{panics, pdeathsig};

/// glibc retains memory freed by many threads, a multiple of what is in use: frames are allocated and freed
/// on all of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(error) = pdeathsig::become_child_if_asked() {
        eprintln!("drctl: {error}");
        return ExitCode::from(pdeathsig::NOT_STARTED);
    }
    bound_the_drivers_buffers();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap exits with 2 for usage errors, as drctl does, and with 0 for help and version.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            // Arguments may contain secrets, so the message does not repeat them.
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
    let ended = runtime.block_on(panics::caught(drctl::cli::run(cli)));
    // A blocked read of a store or a server must not delay the exit.
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

/// Limits of the database driver's buffer pool: number of buffers, and bytes of each.
const DRIVER_BUFFERS: [(&str, &str); 2] = [
    ("MYSQL_ASYNC_BUFFER_POOL_CAP", "8"),
    ("MYSQL_ASYNC_BUFFER_SIZE_CAP", "262144"),
];

/// Restarts this program in the same process, with limits for the driver's buffers.
///
/// The driver reads them only from the environment. Its defaults are 128 buffers of 4 MiB used in turn:
/// each grows to the length of an INSERT and keeps that size, so that a restore grew with its data by tens
/// of MiB (docs/performance.md). If the restart fails, drctl runs without the limits.
fn bound_the_drivers_buffers() {
    if std::env::var_os(DRIVER_BUFFERS[0].0).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // exec returns only on failure.
    let _ = again.args(arguments).envs(DRIVER_BUFFERS).exec();
}
