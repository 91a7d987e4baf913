//! A running dump program: its stdout as a stream, which only ends without error if the program succeeds.
//!
//! The output of a failed dump may look complete, so the end of the stream is an error unless the program exited with 0
//! and wrote only known harmless lines to stderr. stderr is read all the time, since a full pipe would block the program.
//!
//! Memory: [`KEPT_BYTES`](crate::util::stderr::KEPT_BYTES), and the buffer of the reader.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::BufMut;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;

use crate::mysql::client::line_ends::{Inserter, LineEnds};
use crate::mysql::connect::{is_lost_code, server_error};
use crate::mysql::{Client, Role};
use crate::util::pdeathsig;
use crate::util::stderr::Stderr;
use crate::{Error, Result};

/// Requested size of the pipe; with the default of 64 KiB both sides would wait for each other more often.
const PIPE_BYTES: usize = 1 << 20;

/// Maximum time without output. mysqldump never terminates on an event whose body contains `;;`.
const STALL: Duration = Duration::from_secs(600);

/// Time limit for a stopped program to exit, and for stderr to be closed after the exit.
const GRACE: Duration = Duration::from_secs(5);

/// Parts of stderr lines that do not affect the dump. All other lines fail it.
const HARMLESS: &[&str] = &[
    // MariaDB's program under its old name.
    "Deprecated program name. It will be removed in a future release, use",
    // MySQL's, for a view with more than 1000 columns. The stand-in is itself a view, which may have 4096.
    "-- Warning: Creating a stand-in table for view ",
];

/// A running dump program, which is killed when this is dropped or this process ends.
#[derive(Debug)]
pub struct DumpChild {
    child: Child,
    stdout: ChildStdout,
    /// Collects stderr until it is closed; `None` after the exit was checked.
    stderr: Option<JoinHandle<Stderr>>,
    /// Whether the program has ended successfully.
    succeeded: bool,
    /// Inserts line ends that the program omits.
    inserter: Inserter,
    /// File name of the program, for messages.
    name: String,
    /// Determines the exit code of failures.
    role: Role,
}

impl DumpChild {
    /// Starts the dump program with arguments that follow its login. Must be called in a tokio runtime.
    pub fn spawn<S: AsRef<std::ffi::OsStr>>(
        client: &Client,
        args: impl IntoIterator<Item = S>,
    ) -> Result<DumpChild> {
        let program = client.dump_program();
        let name = program
            .file_name()
            .map_or_else(|| "mysqldump".into(), |name| name.to_string_lossy())
            .into_owned();
        Self::start(client.dump_command(args), name, client.role())
    }

    fn start(mut command: tokio::process::Command, name: String, role: Role) -> Result<DumpChild> {
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = pdeathsig::spawn(command)
            .map_err(|error| role.error(format!("cannot start {name}")).because(error))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::unexpected(format!("{name} has no output to read")));
        };
        // Best effort: the pipes of an unprivileged user may have a lower limit.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
        Ok(DumpChild {
            child,
            stdout,
            stderr: Some(Stderr::collect(stderr)),
            succeeded: false,
            inserter: Inserter::default(),
            name,
            role,
        })
    }

    /// Inserts these line ends into the dump.
    #[must_use]
    pub fn with(self, ends: &LineEnds) -> Self {
        DumpChild {
            inserter: Inserter::new(ends.clone()),
            ..self
        }
    }

    /// Reads the next bytes of the dump into the spare capacity of `buffer`, and returns their number; 0 only at the end
    /// of a successful dump. Cancel safe: no bytes are lost.
    ///
    /// # Errors
    ///
    /// The program failed, was killed, or wrote to stderr, however complete its output looks.
    pub async fn read<B: BufMut>(&mut self, buffer: &mut B) -> Result<usize> {
        if !buffer.has_remaining_mut() {
            return Err(Error::unexpected("the buffer for the dump is full"));
        }
        if self.inserter.is_idle() {
            let read = tokio::time::timeout(STALL, self.stdout.read_buf(buffer)).await;
            let count = self.received(read)?;
            if count == 0 {
                self.finish().await?;
            }
            return Ok(count);
        }
        loop {
            let count = self.inserter.take(buffer);
            if count > 0 {
                return Ok(count);
            }
            let input = self.inserter.input();
            input.reserve(PIPE_BYTES);
            let read = tokio::time::timeout(STALL, self.stdout.read_buf(input)).await;
            let ended = self.received(read)? == 0;
            self.inserter.process(ended);
            if ended {
                let count = self.inserter.take(buffer);
                if count == 0 {
                    self.finish().await?;
                }
                return Ok(count);
            }
        }
    }

    /// The number of bytes read.
    fn received(&self, read: std::result::Result<io::Result<usize>, Elapsed>) -> Result<usize> {
        match read {
            Ok(read) => read.map_err(|error| {
                self.role
                    .error(format!("cannot read from {}", self.name))
                    .because(error)
            }),
            Err(_) => Err(self.stalled()),
        }
    }

    fn stalled(&self) -> Error {
        let what = format!("{} wrote nothing for {} s", self.name, STALL.as_secs());
        self.role.error(what).hint(
            "find what it waits for in the server's process list; it never terminates on an event whose body \
             contains ;;",
        )
    }

    /// Stops the program early: SIGTERM, then SIGKILL. Its output must be discarded.
    pub async fn stop(mut self) {
        let _ = pdeathsig::end(&mut self.child, GRACE).await;
    }

    /// Waits for the exit, and checks the exit status and stderr.
    async fn finish(&mut self) -> Result<()> {
        let status = self.child.wait().await.map_err(|error| {
            self.role
                .error(format!("cannot wait for {}", self.name))
                .because(error)
        })?;
        let Some(task) = &mut self.stderr else {
            if self.succeeded {
                return Ok(());
            }
            return Err(self.role.error(format!("{} has already failed", self.name)));
        };
        let stderr = Stderr::within(task, GRACE).await;
        self.stderr = None;
        check_exit(self.role, &self.name, status, &stderr)?;
        self.succeeded = true;
        Ok(())
    }
}

/// Fails unless the exit status and stderr are those of a complete dump.
fn check_exit(role: Role, name: &str, status: ExitStatus, stderr: &Stderr) -> Result<()> {
    let mut messages = stderr.lines();
    messages.retain(|line| !HARMLESS.iter().any(|harmless| line.contains(harmless)));
    if status.success() && messages.is_empty() && !stderr.is_incomplete {
        return Ok(());
    }
    let what = format!("{name} {}", stderr.ending(status, &messages));
    let failed = match hint_for(&messages) {
        Some(hint) => role.error(what).hint(hint),
        None => role.error(what),
    };
    let named = messages.iter().find_map(|line| Some((number(line)?, line)));
    let failed = match named {
        Some((code, line)) => failed.caused_by(server_error(code, line)),
        None => failed,
    };
    Err(match (is_ddl(&messages), is_connection_loss(&messages)) {
        (true, _) => failed.retryable(),
        (_, true) => failed.lost(),
        _ => failed,
    })
}

/// Whether DDL caused the failure: an object was altered (1412, or columns differ from those queried before), dropped
/// (1146, 1049, 1305) or renamed (1146).
fn is_ddl(messages: &[String]) -> bool {
    let other_columns = |line: &String| line.contains("Error in field count for table");
    let numbers = ["1412", "1146", "1049", "1305"];
    numbers
        .iter()
        .any(|number| contain_number(messages, number))
        || messages.iter().any(other_columns)
}

/// Whether the program lost its connection or could not connect: errors of the client library, and errors of a server
/// that shuts down.
fn is_connection_loss(messages: &[String]) -> bool {
    let of_client = [2002, 2003, 2006, 2012, 2013, 2055].into_iter();
    let of_server = (1000..5000).filter(|code| is_lost_code(*code));
    of_client
        .chain(of_server)
        .any(|number| contain_number(messages, &number.to_string()))
}

/// Whether messages of a client contain an error number.
fn contain_number(messages: &[String], number: &str) -> bool {
    let forms = [
        format!("({number})"),
        format!("Error {number}:"),
        format!("error: {number}:"),
    ];
    messages
        .iter()
        .any(|line| forms.iter().any(|form| line.contains(form)))
}

/// Whether the dump program was refused the global read lock, or the FLUSH before it. Hosted servers refuse it whatever
/// the privileges of the account, with the error for a wrong password (1045).
fn is_refused_lock(messages: &[String]) -> bool {
    let of_lock = |line: &&String| line.contains("Couldn't execute 'FLUSH ");
    let lines: Vec<String> = messages.iter().filter(of_lock).cloned().collect();
    ["1045", "1227"]
        .iter()
        .any(|number| contain_number(&lines, number))
}

/// Whether a dump failed because it was refused the global read lock.
pub fn is_lock_refused(failed: &Error) -> bool {
    is_refused_lock(&[failed.what().to_owned()])
}

/// The error number in a message of a dump program: `(1356)`, `Error 2013:`, `Got error: 1356:`.
fn number(line: &str) -> Option<u16> {
    let behind = ["Error ", "Got error: "];
    let named = behind.iter().filter_map(|word| line.split_once(word));
    let mut named = named.filter_map(|(_, rest)| rest.split_once(':'));
    let named = named.find_map(|(number, _)| number.parse().ok());
    named.or_else(|| {
        let (_, rest) = line.rsplit_once('(')?;
        rest.split_once(')')?.0.parse().ok()
    })
}

/// A hint for failures that an operator can fix.
fn hint_for(messages: &[String]) -> Option<&'static str> {
    let said = |number: &str| contain_number(messages, number);
    if is_ddl(messages) {
        return Some(
            "an object was altered, truncated, renamed or dropped during the dump: retry when no DDL runs, or set backup.ddl: block",
        );
    }
    if said("2013") || said("2006") {
        return Some(
            "the server closed the connection of the dump: check its log, KILL statements and net_write_timeout",
        );
    }
    if is_refused_lock(messages) {
        return Some(
            "set backup.coordinates to auto or off: the server refuses the global read lock, as hosted servers do, or the account lacks RELOAD",
        );
    }
    if said("1045") || said("1044") || said("1142") || said("1227") {
        return Some("drctl doctor lists the missing grants");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn sh(script: &str) -> DumpChild {
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", script]).kill_on_drop(true);
        DumpChild::start(command, "mysqldump".into(), Role::Source).unwrap()
    }

    async fn whole(child: &mut DumpChild) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while child.read(&mut all).await? > 0 {}
        Ok(all)
    }

    #[tokio::test]
    async fn a_failure_a_signal_or_a_message_is_an_error_at_the_end() {
        for (script, says) in [
            ("exit 2", "exited with 2 without a message"),
            ("echo '-- Dump completed'; exit 3", "exited with 3"),
            ("echo x; kill -KILL $$", "killed by signal 9"),
            (
                "echo '-- Dump completed'; echo 'odd thing' >&2",
                "exited with 0 but wrote to stderr: odd thing",
            ),
            (
                "echo 'mysqldump: Error 2013: Lost' >&2; exit 3",
                "Error 2013: Lost; the server closed",
            ),
            (
                "i=0; while [ $i -lt 3000 ]; do echo 'Deprecated program name. It will be removed in a future release, use' >&2; i=$((i+1)); done",
                "…",
            ),
        ] {
            let mut child = sh(script);
            let error = whole(&mut child).await.unwrap_err();
            assert_eq!(error.outcome(), Outcome::Source, "{script}");
            assert!(error.to_string().contains(says), "{script}: {error}");
            let again = child.read(&mut Vec::with_capacity(16)).await;
            assert!(
                again.is_err(),
                "{script}: a failed dump succeeded at the second read"
            );
        }
    }

    #[test]
    fn a_refused_lock_is_distinguished_from_other_refusals() {
        // Recorded from documentation: hosted MySQL of two kinds, and MySQL 8.0 without the privilege.
        for line in [
            "mysqldump: Couldn't execute 'FLUSH TABLES WITH READ LOCK': Access denied for user 'admin'@'%' (using password: YES) (1045)",
            "mysqldump: Couldn't execute 'FLUSH TABLES WITH READ LOCK': Access denied; you need (at least one of) the SUPER privilege(s) for this operation (1227)",
            "mysqldump: Couldn't execute 'FLUSH /*!40101 LOCAL */ TABLES': Access denied; you need (at least one of) the RELOAD or FLUSH_TABLES privilege(s) for this operation (1227)",
        ] {
            let hint = hint_for(&[line.to_owned()]).unwrap();
            assert!(hint.contains("backup.coordinates"), "{line}");
            let failed = Role::Source.error(format!("mysqldump exited with 2: {line}"));
            assert!(is_lock_refused(&failed), "{line}");
        }
        for line in [
            "mysqldump: Got error: 1045: Access denied for user 'admin'@'10.0.0.7' (using password: YES) when trying to connect",
            "mysqldump: Error: 'Access denied; you need (at least one of) the PROCESS privilege(s) for this operation' when trying to dump tablespaces",
            "mysqldump: Couldn't execute 'show events': Access denied for user 'u'@'%' to database 'd' (1044)",
            "mysqldump: Couldn't execute 'FLUSH TABLES WITH READ LOCK': Lock wait timeout exceeded; try restarting transaction (1205)",
        ] {
            let failed = Role::Source.error(format!("mysqldump exited with 2: {line}"));
            assert!(!is_lock_refused(&failed), "{line}");
        }
    }

    #[test]
    fn the_error_number_is_found_in_messages() {
        for (line, code) in [
            (
                "mysqldump: Couldn't execute 'SHOW FIELDS FROM `v`': View 'd.v' references … (1356)",
                Some(1356),
            ),
            (
                "mysqldump: Error 2013: Lost connection to MySQL server",
                Some(2013),
            ),
            (
                "mariadb-dump: Got error: 1449: \"The user (x) does not exist\" when using LOCK TABLES",
                Some(1449),
            ),
            ("mysqldump: odd thing (really)", None),
        ] {
            assert_eq!(number(line), code, "{line}");
        }
    }

    #[tokio::test]
    async fn harmless_lines_do_not_fail_a_dump() {
        let mut child = sh(
            "echo \"mysqldump: Deprecated program name. It will be removed in a future release, use '/usr/bin/mariadb-dump' instead\" >&2; echo dump",
        );
        assert_eq!(whole(&mut child).await.unwrap(), b"dump\n");
        assert_eq!(child.read(&mut Vec::with_capacity(16)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_flood_on_stderr_does_not_stop_the_dump() {
        let mut child = sh("head -c 1000000 /dev/zero >&2; head -c 100000 /dev/zero");
        let mut read = Vec::new();
        let error = loop {
            match child.read(&mut read).await {
                Ok(0) => panic!("a flood of messages was accepted"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(read.len(), 100_000);
        assert!(error.to_string().contains("wrote to stderr"), "{error}");
    }

    #[tokio::test]
    async fn stopping_or_dropping_a_dump_ends_the_program() {
        for drop_it in [false, true] {
            let mut child = sh("echo $$; exec sleep 600");
            let mut line = Vec::with_capacity(64);
            child.read(&mut line).await.unwrap();
            let pid = String::from_utf8(line).unwrap().trim().to_owned();
            if drop_it {
                drop(child);
            } else {
                child.stop().await;
            }
            let gone = async {
                // A zombie has no command line.
                while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| !c.is_empty()) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), gone)
                .await
                .unwrap();
        }
    }
}
