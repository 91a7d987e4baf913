//! A server in a directory of its own, for a drill or a restore: it listens at a socket in that directory.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::kind::create_empty;
use crate::kind::postgres::programs::{Connection, Programs};
use crate::util::error::{Error, Outcome, Result};
use crate::util::{pdeathsig, program};

/// Time limit of the start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time limit of the end, which writes everything to disk.
const SHUTDOWN: Duration = Duration::from_secs(600);

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(100);

/// Its port, which is part of the name of the socket.
const PORT: u16 = 5432;

/// The longest directory of a socket: the kernel takes 107 bytes for the whole name.
const DIRECTORY_BYTES: usize = 107 - "/.s.PGSQL.5432".len();

/// Its data may be those of a restore, so what it has written is on disk when it ends.
const SETTINGS: [&str; 5] = [
    "listen_addresses=",
    "synchronous_commit=off",
    "autovacuum=off",
    "wal_level=logical",
    "max_wal_size=4GB",
];

/// A running server; killed when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
    bootstrap: String,
    child: Child,
}

/// Refuses a directory that has anything in it, and creates one that does not exist.
pub(super) fn check_directory(directory: &Path) -> Result<()> {
    let shown = directory.display();
    if directory.as_os_str().len() > DIRECTORY_BYTES {
        return Err(Error::usage(format!(
            "the path {shown} is too long for a socket in it: {DIRECTORY_BYTES} bytes at most"
        ))
        .hint("name a shorter one"));
    }
    create_empty(directory)
}

impl Scratch {
    /// Initialises a server by this role, and starts it.
    pub async fn start(programs: &Programs, directory: &Path, bootstrap: &str) -> Result<Scratch> {
        let failed =
            |e| Error::server(format!("cannot prepare {}", directory.display())).because(e);
        let directory = fs::canonicalize(directory).map_err(failed)?;
        let owner = owner(&directory).map_err(failed)?;
        let data = directory.join("data");
        let (initdb, postgres) = (programs.path("initdb"), programs.path("postgres"));
        let mut initialise = as_owner(&initdb, owner);
        initialise
            .arg("--pgdata")
            .arg(&data)
            .args(["--username", bootstrap, "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-instructions"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let cannot =
            |what: &str| Error::server(format!("cannot initialise a scratch server: {what}"));
        let child =
            pdeathsig::spawn(initialise).map_err(|e| cannot("initdb does not start").because(e))?;
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output
            .map_err(|_| cannot("initdb takes too long"))?
            .map_err(|e| cannot("initdb does not end").because(e))?;
        if !output.status.success() {
            return Err(cannot(last_line(&output.stderr)));
        }
        let log_path = directory.join("log");
        let log = File::create(&log_path).map_err(failed)?;
        let mut command = as_owner(&postgres, owner);
        command.arg("-D").arg(&data).arg("-k").arg(&directory);
        command.args(["-p", &PORT.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .stdout(Stdio::from(log.try_clone().map_err(failed)?))
            .stderr(Stdio::from(log));
        let child = pdeathsig::spawn(command)
            .map_err(|e| Error::server("cannot start a scratch server").because(e))?;
        let mut scratch = Scratch {
            directory,
            bootstrap: bootstrap.to_owned(),
            child,
        };
        scratch.wait(programs, &log_path).await?;
        Ok(scratch)
    }

    /// Waits until it answers.
    async fn wait(&mut self, programs: &Programs, log: &Path) -> Result<()> {
        let began = Instant::now();
        let connection = self.connection("postgres");
        loop {
            let asked = programs
                .ask::<u32>("SELECT 1", &connection, Outcome::Server)
                .await;
            let Err(error) = asked else { return Ok(()) };
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || began.elapsed() > PATIENCE {
                let log = fs::read(log).unwrap_or_default();
                return Err(Error::server(format!(
                    "the scratch server did not start: {}",
                    last_line(&log)
                ))
                .because(error));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether it is the server of this directory.
    pub fn is_in(&self, into: &str) -> bool {
        fs::canonicalize(into).is_ok_and(|path| path == self.directory)
    }

    /// How to reach it.
    pub fn connection(&self, database: &str) -> Connection {
        Connection {
            host: self.directory.display().to_string(),
            port: PORT,
            user: self.bootstrap.clone(),
            database: database.to_owned(),
            password: None,
            sslmode: None,
            sslrootcert: None,
        }
    }

    /// Ends it, with everything on disk.
    pub async fn stop(mut self) -> Result<()> {
        let directory = self.directory.display().to_string();
        let failed = |why: &str| {
            Error::server(format!(
                "the server in {directory} was not shut down: {why}"
            ))
            .hint("see its log; restore into another directory")
        };
        pdeathsig::ask_to_end(&self.child);
        match tokio::time::timeout(SHUTDOWN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(&status.to_string())),
            Ok(Err(error)) => Err(failed("it cannot be waited for").because(error)),
            Err(_) => Err(failed("it takes too long")),
        }
    }
}

/// Who runs the server: it refuses root. `None`: this process itself.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// Gives the directory to whoever runs the server.
fn owner(directory: &Path) -> std::io::Result<Option<Owner>> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let ids = |name: &str| {
        let fields = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>());
        let found = fields
            .into_iter()
            .find(|fields| fields.first() == Some(&name))?;
        Some(Owner {
            uid: found.get(2)?.parse().ok()?,
            gid: found.get(3)?.parse().ok()?,
        })
    };
    let owner = ids("postgres").or_else(|| ids("nobody"));
    let Some(owner) = owner else {
        return Err(std::io::Error::other(
            "a PostgreSQL server does not run as root, and there is neither an account postgres nor nobody",
        ));
    };
    if fs::metadata(directory)?.uid() != owner.uid {
        std::os::unix::fs::chown(directory, Some(owner.uid), Some(owner.gid))?;
    }
    // It may pass through the directory of the drill, which is private to root, and see nothing there.
    if let Some(parent) = directory.parent()
        && fs::metadata(parent)?.permissions().mode() & 0o777 == 0o700
    {
        fs::set_permissions(parent, fs::Permissions::from_mode(0o711))?;
    }
    Ok(Some(owner))
}

/// A program of the server. `setpriv` keeps the signal that ends it with drctl, which a change of the account clears.
fn as_owner(path: &Path, owner: Option<Owner>) -> Command {
    let mut command = match owner {
        None => pdeathsig::command(path),
        Some(owner) => {
            let mut command = pdeathsig::command("setpriv");
            command
                .arg(format!("--reuid={}", owner.uid))
                .arg(format!("--regid={}", owner.gid))
                .args(["--clear-groups", "--pdeathsig=KILL", "--"])
                .arg(path);
            command
        }
    };
    command = program::bare(command);
    command.current_dir("/");
    command
}

fn last_line(output: &[u8]) -> &str {
    let text = std::str::from_utf8(output).unwrap_or("no message");
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("no message").trim()
}
