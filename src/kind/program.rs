//! A program as a source or destination of bytes.
//!
//! Its end is an error unless it exited with 0 and wrote only harmless lines to stderr, which is read all the time: a full
//! pipe would block it. It has a cleared environment, and is the leader of a process group that is ended as a whole.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::kind::CHUNK_BYTES;
use crate::util::error::{Error, Outcome, Result};
use crate::util::stderr::Stderr;
use crate::util::{pdeathsig, program};

/// Time limit for a stopped program to exit, and for stderr to be closed after the exit.
const GRACE: Duration = Duration::from_secs(5);

/// What is known of a program besides its arguments.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// Names of the variables that it receives from the environment of drctl.
    pub env: Vec<String>,
    /// Further variables.
    pub variables: Vec<(String, OsString)>,
    /// Section of the configuration that has these settings, for hints.
    pub section: &'static str,
    /// Lines on stderr that match one of these are harmless; any other fails the program.
    pub harmless: Vec<Regex>,
    /// Maximum time without a byte; `None`: no limit.
    pub stall: Option<Duration>,
}

/// A running program, killed with its group when dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: JoinHandle<Stderr>,
    manners: Manners,
    outcome: Outcome,
    exit: Option<i32>,
    /// Its process group, which may outlive it.
    group: Option<Pid>,
}

/// The pipes of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipes {
    /// Its stdout is read.
    Out,
    /// Its stdin is written.
    In,
    /// Neither: only its exit status counts.
    None,
}

impl Program {
    /// Starts a program; its failures have `outcome`. Must be called in a tokio runtime.
    pub fn start(
        argv: &[String],
        manners: &Manners,
        pipes: Pipes,
        outcome: Outcome,
    ) -> Result<Program> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| Error::unexpected("there is no program to start"))?;
        let mut command = program::bare(pdeathsig::command(program));
        command.args(arguments).process_group(0);
        for (name, value) in environment(&manners.env)? {
            command.env(name, value);
        }
        command.envs(manners.variables.iter().cloned());
        command
            .stdin(piped(pipes == Pipes::In))
            .stdout(piped(pipes == Pipes::Out))
            .stderr(Stdio::piped());
        Program::spawn(command, program, manners, outcome)
    }

    fn spawn(
        command: Command,
        program: &str,
        manners: &Manners,
        outcome: Outcome,
    ) -> Result<Program> {
        let name = program.rsplit('/').next().unwrap_or(program).to_owned();
        let mut child = pdeathsig::spawn(command)
            .map_err(|e| Error::new(outcome, format!("cannot start {name}")).because(e))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let stderr = child.stderr.take();
        let stderr = stderr.ok_or_else(|| Error::unexpected(format!("{name} has no stderr")))?;
        Ok(Program {
            name,
            child,
            stdin,
            stdout,
            stderr: Stderr::collect(stderr),
            manners: manners.clone(),
            outcome,
            exit: None,
            group: group.and_then(Pid::from_raw),
        })
    }

    /// Its file name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its exit code; `None` while it runs, and after a signal.
    pub fn exit(&self) -> Option<i32> {
        self.exit
    }

    /// An error of the program.
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::new(self.outcome, format!("{} {what}", self.name))
    }

    /// The next bytes of its stdout; empty at its end, which says nothing about its success. Cancel safe.
    pub async fn read(&mut self) -> Result<Bytes> {
        let Some(stdout) = &mut self.stdout else {
            return Ok(Bytes::new());
        };
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        let read = stdout.read_buf(&mut buffer);
        let read = match self.manners.stall {
            None => read.await,
            Some(limit) => match tokio::time::timeout(limit, read).await {
                Ok(read) => read,
                Err(_) => {
                    let seconds = limit.as_secs();
                    return Err(self.error(format!("wrote nothing for {seconds} s")).hint(
                        format!(
                            "find out what it waits for, or raise {}.stall_seconds",
                            self.manners.section
                        ),
                    ));
                }
            },
        };
        match read {
            Ok(_) => Ok(buffer.freeze()),
            Err(e) => Err(self.error("cannot be read").because(e)),
        }
    }

    /// Writes to its stdin.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<()> {
        let written = match &mut self.stdin {
            Some(stdin) => stdin.write_all(chunk).await,
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        let Err(error) = written else { return Ok(()) };
        // Its exit status and its stderr say why.
        self.end().await?;
        Err(self
            .error("ended before it had read the whole backup")
            .because(error))
    }

    /// Closes its stdin, and waits for its success.
    pub async fn end(&mut self) -> Result<()> {
        if let Some(mut stdin) = self.stdin.take() {
            // What is lost here, the program reports itself.
            let _ = stdin.shutdown().await;
        }
        // One that has closed its stdout has nothing more to say; one that restores may have long work left.
        let limit = self.stdout.take().and(self.manners.stall);
        let status = match limit {
            None => self.child.wait().await,
            Some(limit) => match tokio::time::timeout(limit, self.child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    let seconds = limit.as_secs();
                    return Err(self.error(format!(
                        "closed its stdout and did not exit for {seconds} s"
                    )));
                }
            },
        };
        let status = status.map_err(|e| self.error("cannot be waited for").because(e))?;
        self.exit = status.code();
        let stderr = Stderr::within(&mut self.stderr, GRACE).await;
        self.judge(status, &stderr)
    }

    fn judge(&self, status: ExitStatus, stderr: &Stderr) -> Result<()> {
        let is_harmless =
            |line: &String| self.manners.harmless.iter().any(|one| one.is_match(line));
        let lines = stderr.lines().into_iter();
        let (harmless, messages): (Vec<String>, Vec<String>) = lines.partition(is_harmless);
        for line in harmless {
            tracing::info!(program = self.name, line, "harmless line on stderr");
        }
        if status.success() && messages.is_empty() && !stderr.is_incomplete {
            return Ok(());
        }
        let what = stderr.ending(status, &messages);
        let error = self.error(what);
        Err(match status.success() {
            true => error.hint(format!(
                "if the line is harmless, let a pattern of {}.harmless match it",
                self.manners.section
            )),
            false => error.hint(
                "run the command by hand, with the same variables, and correct what it reports",
            ),
        })
    }

    /// Ends the program and its group early: SIGTERM, then SIGKILL.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait())
            .await
            .is_err()
        {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        // What it has started must not take the end of its stdin for the end of the backup.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) {
        // No id: it has ended and was waited for, so that the id may be that of another process.
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = pid.and_then(Pid::from_raw)
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!(%error, "the program has already ended");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn piped(is: bool) -> Stdio {
    if is { Stdio::piped() } else { Stdio::null() }
}

/// The variables of these names.
fn environment(names: &[String]) -> Result<Vec<(String, OsString)>> {
    let of = |name: &String| match std::env::var_os(name) {
        Some(value) => Ok((name.clone(), value)),
        None => Err(Error::usage(format!(
            "source.command.env names {name}, which is not set in the environment of drctl"
        ))
        .hint("set it, or remove it from source.command.env")),
    };
    names.iter().map(of).collect()
}
