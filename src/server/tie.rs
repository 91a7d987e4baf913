//! Ties a child process to this one: the kernel kills it when this one ends, however it ends. And ends
//! one before, in order.
//!
//! A dump whose drctl got SIGKILL would otherwise hold its snapshot for as long as the server lets
//! it, and mysqldump can loop without writing. The kernel offers PR_SET_PDEATHSIG, which a process
//! asks for itself: so drctl starts itself, asks, and becomes the program, process id and all.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;
use std::{io, process};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

/// The first argument of a drctl that is to become another program.
const WORD: &str = "--become-tied-child-of";

/// What a shell answers for a program that it could not start.
pub const NOT_STARTED: u8 = 126;

/// Whether this program is drctl, which knows [`WORD`]; tests of the library are other programs.
static IS_DRCTL: AtomicBool = AtomicBool::new(false);

/// To be called first of all: becomes another program where the arguments say so, and returns only
/// where that failed or was not asked for.
pub fn become_child_if_asked() -> Option<io::Error> {
    IS_DRCTL.store(true, Ordering::Relaxed);
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(WORD)) {
        return None;
    }
    Some(become_child(arguments).unwrap_or_else(|error| error))
}

fn become_child(mut arguments: impl Iterator<Item = OsString>) -> io::Result<io::Error> {
    let missing = || io::Error::new(io::ErrorKind::InvalidInput, "nothing to become");
    let parent = arguments.next().ok_or_else(missing)?;
    let program = arguments.next().ok_or_else(missing)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that ended before the question was asked sends no signal any more.
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if parent != OsString::from(now.to_string()) {
        return Err(io::Error::other("the parent has ended"));
    }
    let failed = process::Command::new(&program).args(arguments).exec();
    Ok(io::Error::new(
        failed.kind(),
        format!("{}: {failed}", program.display()),
    ))
}

/// Asks a child to end in order; one that has ended already is fine.
pub fn ask_to_end(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw)
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::debug!(%error, "it has ended already");
    }
}

/// Ends a child: asks it to, and kills it where it does not within `grace`.
pub async fn end(child: &mut Child, grace: Duration) -> io::Result<ExitStatus> {
    ask_to_end(child);
    match tokio::time::timeout(grace, child.wait()).await {
        Ok(ended) => ended,
        Err(_) => {
            child.kill().await?;
            child.wait().await
        }
    }
}

/// A command for `program`, tied where this program is drctl, to be started by [`spawn`].
pub fn command(program: impl AsRef<OsStr>) -> Command {
    if !IS_DRCTL.load(Ordering::Relaxed) {
        return Command::new(program);
    }
    // Stays the same program when the file is replaced or removed.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(WORD)
        .arg(process::id().to_string())
        .arg(program);
    command
}

type Request = (Command, Handle, mpsc::Sender<io::Result<Child>>);

/// Starts a command. The kernel's signal comes when the *thread* that started the process ends, and
/// the runtime's threads come and go: so one that never ends starts them all.
///
/// Must be called in a tokio runtime.
pub fn spawn(command: Command) -> io::Result<Child> {
    static KEEPER: LazyLock<io::Result<mpsc::Sender<Request>>> = LazyLock::new(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || {
                while let Ok((mut command, runtime, reply)) = requests.recv() {
                    let _entered = runtime.enter();
                    let _ = reply.send(command.spawn());
                }
            })?;
        Ok(sender)
    });
    let keeper = KEEPER
        .as_ref()
        .map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let gone = || io::Error::other("the thread that starts programs has ended");
    let (reply, answer) = mpsc::channel();
    keeper
        .send((command, Handle::current(), reply))
        .map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}
