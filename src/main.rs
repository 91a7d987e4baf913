//! Parse, log, run, report, exit.

use std::os::unix::process::CommandExt as _;
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
    bound_the_drivers_buffers();
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

/// What the database driver may keep of the buffers that it sent statements from: how many, and bytes of each.
const DRIVER_BUFFERS: [(&str, &str); 2] = [
    ("MYSQL_ASYNC_BUFFER_POOL_CAP", "8"),
    ("MYSQL_ASYNC_BUFFER_SIZE_CAP", "262144"),
];

/// Starts this program once more, in its own place, with bounds for the driver's buffers.
///
/// The driver takes them from the environment alone. Its own are 128 buffers of 4 MiB, which it uses in turn:
/// each grows to the length of an INSERT and stays so, and a restore grew with its data by tens of MiB
/// (docs/performance.md). Where this cannot be done it goes on without.
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
    // It only comes back where it fails.
    let _ = again.args(arguments).envs(DRIVER_BUFFERS).exec();
}
