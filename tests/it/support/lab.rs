//! What `tests/lab/setup.sh` put on this machine, and processes and directories that cannot
//! outlive the test run.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};

/// A part of the lab that a test may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// MariaDB of the distribution, with an initialised data directory to copy.
    MariaDb,
    /// MySQL ≥ 9.7 in a root filesystem of its own, with an initialised data directory to copy.
    MySql,
    /// The S3 server.
    Gateway,
    /// Kubernetes' own parser of schedules.
    Cron,
    /// Prometheus, promtool and Alertmanager.
    Prometheus,
    /// PostgreSQL of the distribution.
    Postgres,
}

/// Where `setup.sh` keeps everything: `DRCTL_LAB`, else `~/.cache/drctl`.
pub fn root() -> PathBuf {
    match std::env::var_os("DRCTL_LAB") {
        Some(dir) => dir.into(),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/drctl"),
    }
}

/// Whether the piece is there. Where it is not: a failure with `CI=true`, else a skip that is
/// shown past the test runner's capture and counted by `make test`.
#[must_use]
pub fn have(piece: Piece) -> bool {
    let wanted = match piece {
        Piece::MariaDb => root().join("templates/mariadb/version"),
        Piece::MySql => root().join("templates/mysql/version"),
        Piece::Gateway => root().join("bin/versitygw"),
        Piece::Cron => root().join("bin/kubernetes-cron"),
        Piece::Prometheus => "/usr/share/prometheus/alertmanager/email.tmpl".into(),
        Piece::Postgres => "/usr/lib/postgresql/15/bin/postgres".into(),
    };
    if wanted.exists() {
        return true;
    }
    skip(&format!(
        "{piece:?} is not in the lab ({} is missing): run tests/lab/setup.sh",
        wanted.display()
    ));
    false
}

/// Says that this test is skipped, past the test runner's capture, and has it counted by `make test`;
/// a failure with `CI=true`.
pub fn skip(reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "CI skips nothing: {reason}"
    );
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {reason}\n", thread.name().unwrap_or("a test"));
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("stderr takes a line");
    if let Some(file) = std::env::var_os("DRCTL_SKIPS") {
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file of skips can be written");
    }
}

/// Ends the test as skipped unless the lab holds the piece.
#[macro_export]
macro_rules! need {
    ($piece:ident) => {
        if !$crate::support::lab::have($crate::support::lab::Piece::$piece) {
            return;
        }
    };
}

/// One test for each flavour: `name::mariadb` and `name::mysql`.
#[macro_export]
macro_rules! on_both {
    ($(#[$meta:meta])* fn $name:ident($flavour:ident) $body:block) => {
        mod $name {
            #[allow(unused_imports, reason = "a body may need nothing from outside")]
            use super::*;

            $(#[$meta])*
            fn on($flavour: $crate::support::Flavour) $body

            #[test]
            fn mariadb() {
                $crate::need!(MariaDb);
                on($crate::support::Flavour::MariaDb);
            }

            #[test]
            fn mysql() {
                $crate::need!(MySql);
                on($crate::support::Flavour::MySql);
            }
        }
    };
}

/// A directory with a short name (a Unix socket's path has 108 bytes at most), removed when
/// dropped, and at the latest when the test process is gone.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// A new, empty directory, in memory where this machine has the room.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        static MEMORY: LazyLock<Base> = LazyLock::new(|| Base::new(fastest()));
        ScratchDir::below(&MEMORY)
    }

    /// A new, empty directory on a disk, whose files can have extended attributes.
    pub fn on_disk() -> Self {
        static DISK: LazyLock<Base> = LazyLock::new(|| Base::new("/tmp"));
        ScratchDir::below(&DISK)
    }

    fn below(base: &Base) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let dir = base
            .dir
            .join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&dir).expect("a scratch directory");
        ScratchDir(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What cannot be removed now, the janitor removes.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `drctl-it-<pid>`, where all scratch directories are, and the janitor that waits for our end of its pipe to
/// close: that happens however this process ends.
struct Base {
    dir: PathBuf,
    _janitor: Child,
}

impl Base {
    fn new(parent: &str) -> Base {
        use std::os::unix::process::CommandExt as _;
        let dir = Path::new(parent).join(format!("drctl-it-{}", std::process::id()));
        // A killed run of the same process id, some boots ago.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("the directory can be written");
        let janitor = Command::new("/bin/sh")
            .args(["-c", r#"read -r _; sleep 0.3; rm -rf "$0""#])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("/bin/sh runs");
        Base {
            dir,
            _janitor: janitor,
        }
    }
}

/// Where data directories cost least: the file system in memory, if it has room for the servers of all tests
/// that run at a time.
fn fastest() -> &'static str {
    const NEEDED_BYTES: u64 = 8 << 30;
    const MEMORY: &str = "/dev/shm";
    let free = rustix::fs::statvfs(MEMORY).map(|space| space.f_bavail * space.f_frsize);
    match free.is_ok_and(|bytes| bytes >= NEEDED_BYTES) {
        true => MEMORY,
        false => "/tmp",
    }
}

/// A command to give to [`spawn`]: the kernel kills its process when this one ends, however it
/// ends. It goes through setpriv, which asks for that and becomes the program, process id and all.
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

type Request = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a [`tied`] command. The kernel's signal comes when the *thread* that started the process
/// ends, and tests are threads: so one that never ends starts them all.
pub fn spawn(command: Command) -> std::io::Result<Child> {
    static KEEPER: LazyLock<Mutex<mpsc::Sender<Request>>> = LazyLock::new(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || {
                while let Ok((mut command, reply)) = requests.recv() {
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("a thread");
        Mutex::new(sender)
    });
    let (reply, answer) = mpsc::channel();
    KEEPER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .expect("the keeper lives as long as the process");
    answer
        .recv()
        .expect("the keeper lives as long as the process")
}
