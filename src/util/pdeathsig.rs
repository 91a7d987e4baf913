//! Child processes that the kernel kills when drctl ends, however it ends; orderly termination of a single
//! child.
//!
//! After a SIGKILL of drctl, a dump would otherwise hold its snapshot until the server times out, and
//! mysqldump can loop without writing. PR_SET_PDEATHSIG must be set by the child itself: drctl starts a
//! copy of itself, which sets it and then replaces itself with the program under the same process id.

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

/// First argument of a drctl process that is to become another program.
const WORD: &str = "--become-tied-child-of";

/// Exit code of a shell for a program that cannot be started.
pub const NOT_STARTED: u8 = 126;

/// Whether this program is drctl, which understands [`WORD`]. Tests of the library run in other programs.
static IS_DRCTL: AtomicBool = AtomicBool::new(false);

/// Replaces this process with another program if the arguments request it. Call it first in `main`. Returns
/// only if not requested, or with the error.
pub fn become_child_if_asked() -> Option<io::Error> {
    IS_DRCTL.store(true, Ordering::Relaxed);
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(WORD)) {
        return None;
    }
    Some(become_child(arguments).unwrap_or_else(|error| error))
}

fn become_child(mut arguments: impl Iterator<Item = OsString>) -> io::Result<io::Error> {
    let missing = || io::Error::new(io::ErrorKind::InvalidInput, "no program given");
    let parent = arguments.next().ok_or_else(missing)?;
    let program = arguments.next().ok_or_else(missing)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // If the parent ended before prctl, the kernel sends no signal.
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

/// Sends SIGTERM to a child. A child that has already ended is not an error.
pub fn ask_to_end(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw)
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::debug!(%error, "the process has already ended");
    }
}

/// Ends a child: SIGTERM first, SIGKILL if it still runs after `grace`.
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

/// A command for `program`, to start with [`spawn`]. Killed with its parent if this program is drctl.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    if !IS_DRCTL.load(Ordering::Relaxed) {
        return Command::new(program);
    }
    // Stays valid if the file is replaced or removed.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(WORD)
        .arg(process::id().to_string())
        .arg(program);
    command
}

type Request = (Command, Handle, mpsc::Sender<io::Result<Child>>);

/// Starts a command. The kernel sends the signal when the *thread* that started the process ends, and
/// threads of the runtime come and go: one permanent thread starts all commands.
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
