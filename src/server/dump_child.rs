//! One running `mysqldump`: its stdout as a stream whose end is only reached when all is well.
//!
//! A dump that ended badly looks like one that ended, so the end of the stream is an error unless
//! the program exited with 0 and said nothing on stderr that is not known to be harmless. stderr
//! is drained all along: a full pipe would stop the program.
//!
//! Memory: [`STDERR_KEPT_BYTES`] and whatever the reader offers as a buffer.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;

use super::connect::{is_lost_code, server_error};
use super::line_ends::{LineEnds, Mender};
use super::{Client, Role, tie};
use crate::{Error, Result};

/// What the pipe is asked to hold, so that neither side waits for the other at each 64 KiB.
const PIPE_BYTES: usize = 1 << 20;

/// How much of stderr is kept; more than this is a failure whatever it says.
pub const STDERR_KEPT_BYTES: usize = 32 << 10;

/// How long a dump may be silent. mysqldump loops for ever on an event whose body holds `;;`.
const STALL: Duration = Duration::from_secs(600);

/// How long a stopped program may take to end by itself, and stderr to close behind its exit.
const GRACE: Duration = Duration::from_secs(5);

/// The lines on stderr that change nothing in the dump. Anything else fails it.
const HARMLESS: &[&str] = &[
    // MariaDB's client, called by its old name.
    "Deprecated program name. It will be removed in a future release, use",
    // MySQL's, of a view of more than 1000 columns. The stand-in that it means is a view, which takes 4096.
    "-- Warning: Creating a stand-in table for view ",
];

/// One running dump program. Dropping it kills it, and so does the end of this process.
#[derive(Debug)]
pub struct DumpChild {
    /// The program; killed on drop.
    child: Child,
    /// The dump.
    stdout: ChildStdout,
    /// Collects stderr until it closes; `None` once the end was judged.
    stderr: Option<JoinHandle<Stderr>>,
    /// Whether the end was reached and judged good.
    whole: bool,
    /// Puts in the line ends that the program forgets.
    mender: Mender,
    /// The program's file name, for messages.
    name: String,
    /// Names the exit code of failures.
    role: Role,
}

impl DumpChild {
    /// Starts the dump program that fits the server, with arguments that follow its login.
    ///
    /// Must be called in a tokio runtime.
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
        let mut child = tie::spawn(command)
            .map_err(|error| role.error(format!("start {name}")).because(error))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::unexpected(format!("{name} has no output to read")));
        };
        // Best effort: an unprivileged user's pipes may be limited to less.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
        Ok(DumpChild {
            child,
            stdout,
            stderr: Some(tokio::spawn(Stderr::collect(stderr))),
            whole: false,
            mender: Mender::default(),
            name,
            role,
        })
    }

    /// Puts these line ends into the dump.
    #[must_use]
    pub fn with(self, ends: &LineEnds) -> Self {
        DumpChild {
            mender: Mender::new(ends.clone()),
            ..self
        }
    }

    /// Reads the next bytes of the dump into the spare capacity of `buffer` and says how many: 0
    /// only at the end of a dump whose program exited with 0 and kept to harmless lines on stderr.
    ///
    /// A program that failed, was killed or complained is an error here, however complete its
    /// output looks. Cancel safe: a dropped read has taken nothing.
    pub async fn read<B: BufMut>(&mut self, buffer: &mut B) -> Result<usize> {
        if !buffer.has_remaining_mut() {
            return Err(Error::unexpected("a dump is read into a full buffer"));
        }
        if self.mender.is_idle() {
            let read = tokio::time::timeout(STALL, self.stdout.read_buf(buffer)).await;
            let count = self.arrived(read)?;
            if count == 0 {
                self.settle().await?;
            }
            return Ok(count);
        }
        loop {
            let count = self.mender.take(buffer);
            if count > 0 {
                return Ok(count);
            }
            let input = self.mender.input();
            input.reserve(PIPE_BYTES);
            let read = tokio::time::timeout(STALL, self.stdout.read_buf(input)).await;
            let ended = self.arrived(read)? == 0;
            self.mender.work(ended);
            if ended {
                let count = self.mender.take(buffer);
                if count == 0 {
                    self.settle().await?;
                }
                return Ok(count);
            }
        }
    }

    /// How many bytes came.
    fn arrived(&self, read: std::result::Result<io::Result<usize>, Elapsed>) -> Result<usize> {
        match read {
            Ok(read) => read.map_err(|error| {
                self.role
                    .error(format!("read {}", self.name))
                    .because(error)
            }),
            Err(_) => Err(self.stalled()),
        }
    }

    fn stalled(&self) -> Error {
        let what = format!("{} wrote nothing for {} s", self.name, STALL.as_secs());
        self.role.error(what).hint(
            "look at the server's process list for what it waits for; an event whose body holds ;; \
             makes it loop for ever",
        )
    }

    /// Stops the program early: asks, waits a little, kills. What it wrote is worthless.
    pub async fn stop(mut self) {
        let _ = tie::end(&mut self.child, GRACE).await;
    }

    /// Waits for the exit and judges it together with stderr.
    async fn settle(&mut self) -> Result<()> {
        let status = self.child.wait().await.map_err(|error| {
            self.role
                .error(format!("wait for {}", self.name))
                .because(error)
        })?;
        let Some(task) = &mut self.stderr else {
            return match self.whole {
                true => Ok(()),
                false => Err(self.role.error(format!("{} has failed already", self.name))),
            };
        };
        // Something that outlives the program could hold its stderr open for ever.
        let stderr = match tokio::time::timeout(GRACE, task).await {
            Ok(Ok(stderr)) => stderr,
            Ok(Err(_)) | Err(_) => Stderr::unfinished(),
        };
        self.stderr = None;
        judge(self.role, &self.name, status, &stderr)?;
        self.whole = true;
        Ok(())
    }
}

/// What a program said on stderr.
#[derive(Debug, Default)]
struct Stderr {
    /// Its first bytes.
    kept: Vec<u8>,
    /// Whether there was more, or it never ended: not all of it can be judged.
    incomplete: bool,
}

impl Stderr {
    fn unfinished() -> Self {
        Stderr {
            kept: Vec::new(),
            incomplete: true,
        }
    }

    async fn collect(mut from: impl AsyncRead + Unpin) -> Stderr {
        let mut all = Stderr::default();
        let mut chunk = vec![0; 4096];
        loop {
            match from.read(&mut chunk).await {
                Ok(0) => return all,
                Ok(count) => {
                    let room = STDERR_KEPT_BYTES - all.kept.len();
                    all.incomplete |= count > room;
                    all.kept.extend_from_slice(&chunk[..count.min(room)]);
                }
                Err(_) => {
                    all.incomplete = true;
                    return all;
                }
            }
        }
    }

    /// The lines that are not known to be harmless.
    fn complaints(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.kept)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !HARMLESS.iter().any(|h| line.contains(h)))
            .map(str::to_owned)
            .collect()
    }
}

/// Whether a program that ended with `status` and said `stderr` wrote a whole dump.
fn judge(role: Role, name: &str, status: ExitStatus, stderr: &Stderr) -> Result<()> {
    let complaints = stderr.complaints();
    if status.success() && complaints.is_empty() && !stderr.incomplete {
        return Ok(());
    }
    let how = match status.code() {
        Some(0) => "exited with 0 but complained".to_owned(),
        Some(code) => format!("exited with {code}"),
        None => {
            use std::os::unix::process::ExitStatusExt;
            format!("was killed by signal {}", status.signal().unwrap_or(0))
        }
    };
    // The first lines name the cause; what follows is mostly its echo.
    const LINES: usize = 3;
    let mut said = complaints.iter().take(LINES).cloned().collect::<Vec<_>>();
    if complaints.len() > LINES || stderr.incomplete {
        said.push("…".into());
    }
    let what = if said.is_empty() {
        format!("{name} {how} and said nothing")
    } else {
        format!("{name} {how}: {}", said.join(" | "))
    };
    let failed = match hint_for(&complaints) {
        Some(hint) => role.error(what).hint(hint),
        None => role.error(what),
    };
    let named = complaints
        .iter()
        .find_map(|line| Some((number(line)?, line)));
    let failed = match named {
        Some((code, line)) => failed.caused_by(server_error(code, line)),
        None => failed,
    };
    Err(match (is_of_ddl(&complaints), is_of_loss(&complaints)) {
        (true, _) => failed.passing(),
        (_, true) => failed.lost(),
        _ => failed,
    })
}

/// Whether DDL got in between: altered (1412, or other columns than the program had asked for),
/// dropped (1146, 1049, 1305), renamed away (1146).
fn is_of_ddl(complaints: &[String]) -> bool {
    let other_columns = |line: &String| line.contains("Error in field count for table");
    let numbers = ["1412", "1146", "1049", "1305"];
    numbers.iter().any(|number| names(complaints, number)) || complaints.iter().any(other_columns)
}

/// Whether the program lost its connection, or found no server: numbers of the client library, and those
/// that a server says as it goes.
fn is_of_loss(complaints: &[String]) -> bool {
    let of_client = [2002, 2003, 2006, 2012, 2013, 2055].into_iter();
    let of_server = (1000..5000).filter(|code| is_lost_code(*code));
    of_client
        .chain(of_server)
        .any(|number| names(complaints, &number.to_string()))
}

/// Whether a client's complaints name a server's error number.
fn names(complaints: &[String], number: &str) -> bool {
    let forms = [
        format!("({number})"),
        format!("Error {number}:"),
        format!("error: {number}:"),
    ];
    complaints
        .iter()
        .any(|line| forms.iter().any(|form| line.contains(form)))
}

/// What a dump program says that was refused the global read lock, or the FLUSH before it. Hosted servers
/// refuse it whatever the account holds, as if the password were wrong (1045).
fn is_of_lock(complaints: &[String]) -> bool {
    let of_lock = |line: &&String| line.contains("Couldn't execute 'FLUSH ");
    let lines: Vec<String> = complaints.iter().filter(of_lock).cloned().collect();
    ["1045", "1227"].iter().any(|number| names(&lines, number))
}

/// Whether a dump failed since it was refused the global read lock.
pub fn is_lock_refused(failed: &Error) -> bool {
    is_of_lock(&[failed.what().to_owned()])
}

/// The server's error number that a line of a dump program names: `(1356)`, `Error 2013:`, `Got error: 1356:`.
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

/// What to do about the failures that an operator can do something about.
fn hint_for(complaints: &[String]) -> Option<&'static str> {
    let said = |number: &str| names(complaints, number);
    if is_of_ddl(complaints) {
        return Some(
            "something was altered, truncated, renamed or dropped under the dump: try again when no DDL runs, or set backup.ddl: block",
        );
    }
    if said("2013") || said("2006") {
        return Some(
            "the server dropped the dump's connection: look at its log, at who was killed, and at net_write_timeout",
        );
    }
    if is_of_lock(complaints) {
        return Some(
            "set backup.coordinates: auto or off: the server refuses the account the global read lock, as hosted servers do, or the account lacks RELOAD",
        );
    }
    if said("1045") || said("1044") || said("1142") || said("1227") {
        return Some("drctl doctor names the missing grants");
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
    async fn no_end_is_reached_behind_a_failure_a_signal_or_a_complaint() {
        for (script, says) in [
            ("exit 2", "exited with 2 and said nothing"),
            ("echo '-- Dump completed'; exit 3", "exited with 3"),
            ("echo x; kill -KILL $$", "killed by signal 9"),
            (
                "echo '-- Dump completed'; echo 'odd thing' >&2",
                "exited with 0 but complained: odd thing",
            ),
            (
                "echo 'mysqldump: Error 2013: Lost' >&2; exit 3",
                "Error 2013: Lost; the server dropped",
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
                "{script}: a failed dump ended well the second time"
            );
        }
    }

    #[test]
    fn a_refused_lock_is_told_from_other_refusals() {
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
    fn the_servers_number_is_found_in_what_a_program_says() {
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
                Ok(0) => panic!("a flood of complaints ended well"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(read.len(), 100_000);
        assert!(error.to_string().contains("complained"), "{error}");
    }

    #[tokio::test]
    async fn a_stopped_or_dropped_dump_is_gone() {
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
                // A zombie has no command line any more.
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
