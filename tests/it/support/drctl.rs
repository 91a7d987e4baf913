//! The real binary in a clean environment, with a time limit, and what its runs must look like.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lab::{self, ScratchDir};
use super::server::{Server, signal};
use super::wait::PATIENCE;

/// How drctl is run: nothing of the test's own environment reaches it.
#[derive(Debug, Clone)]
pub struct Drctl {
    /// Its home directory, temporary files, and the store unless another is named.
    home: Arc<ScratchDir>,
    /// Its whole environment.
    env: BTreeMap<String, String>,
    /// What a shell does before it becomes drctl.
    before: String,
    /// Whether a run may panic.
    may_panic: bool,
}

impl Drctl {
    /// For a target of that name, with an empty `file://` store of its own.
    pub fn new(target: &str) -> Drctl {
        let home = Arc::new(ScratchDir::new());
        for dir in ["tmp", "store"] {
            std::fs::create_dir(home.path().join(dir)).expect("a scratch directory");
        }
        // As after a first backup: other verbs take an empty directory for an unmounted disk.
        std::fs::write(home.path().join("store/.drctl-store"), "").expect("a mark");
        let at = |name: &str| home.path().join(name).display().to_string();
        let env = BTreeMap::from([
            ("HOME".to_owned(), home.path().display().to_string()),
            ("TMPDIR".to_owned(), at("tmp")),
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("DRCTL_TARGET".to_owned(), target.to_owned()),
            // A server that is not there will not come.
            ("DRCTL_BACKUP_CONNECT_SECONDS".to_owned(), "0".to_owned()),
            ("DRCTL_STORE".to_owned(), format!("file://{}", at("store"))),
            // Initialised data for the drills of all tests, also of the next run.
            (
                "DRCTL_VERIFY_CACHE_DIR".to_owned(),
                lab::root().join("drills").display().to_string(),
            ),
        ]);
        Drctl {
            home,
            env,
            before: String::new(),
            may_panic: false,
        }
    }

    /// Backs up this server, as root by its socket, with the client that belongs to it.
    #[must_use]
    pub fn source(self, server: &Server) -> Drctl {
        self.clients_of(server)
            .env("DRCTL_SOURCE_URL", &server.url())
    }

    /// Restores into this server, as root by its socket, with the client that belongs to it.
    #[must_use]
    pub fn into(self, server: &Server) -> Drctl {
        self.clients_of(server).env("DRCTL_INTO_URL", &server.url())
    }

    /// Puts that server's client programs first on the PATH.
    #[must_use]
    pub fn clients_of(self, server: &Server) -> Drctl {
        let dir = server.flavour().client_dir();
        self.env("PATH", &format!("{}:/usr/bin:/bin", dir.display()))
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Drctl {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes a variable out of its environment.
    #[must_use]
    pub fn without(mut self, name: &str) -> Drctl {
        self.env.remove(name);
        self
    }

    /// Its whole environment.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Runs it behind shell commands that narrow what it may have, such as `ulimit -f 100`.
    #[must_use]
    pub fn behind(mut self, before: &str) -> Drctl {
        self.before = format!("{before}; ");
        self
    }

    /// Lets a run panic: one that was told to.
    #[must_use]
    pub fn may_panic(mut self) -> Drctl {
        self.may_panic = true;
        self
    }

    /// Its home directory, which is also where it runs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The directory behind the store of its own.
    pub fn store_dir(&self) -> PathBuf {
        self.home().join("store")
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        self.start(args).wait()
    }

    /// Starts it, for a test that does something meanwhile.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.command(&format!("{}exec \"$@\"", self.before));
        command.arg(env!("CARGO_BIN_EXE_drctl")).args(args);
        self.spawn(command)
    }

    /// Starts a streamer, and waits until it archives.
    pub fn archiving(&self) -> Running {
        let mut running = self.start(["stream"]);
        running.until_says("archiving from");
        running
    }

    /// Runs shell commands in its environment, with `drctl` on the PATH; ends at the first that fails.
    #[track_caller]
    pub fn shell(&self, script: &str) -> Run {
        let program = Path::new(env!("CARGO_BIN_EXE_drctl"));
        let mut command = self.command("PATH=\"$1:$PATH\" exec bash -ec \"$2\"");
        command
            .arg(program.parent().expect("a directory"))
            .arg(script);
        self.spawn(command).wait()
    }

    /// A shell in its environment; what is added becomes the script's arguments.
    fn command(&self, script: &str) -> Command {
        // However the tests were started, what drctl is sent reaches it: nohup would have SIGHUP ignored.
        let mut command = lab::tied("/usr/bin/env");
        command.args(["--default-signal=HUP,INT,QUIT,TERM", "/bin/sh", "-c"]);
        command.args([script, "sh"]);
        command
    }

    #[track_caller]
    fn spawn(&self, mut command: Command) -> Running {
        command
            .env_clear()
            .envs(&self.env)
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = lab::spawn(command).expect("drctl was built");
        Running {
            stdout: Pipe::collect(child.stdout.take().expect("a pipe")),
            stderr: Pipe::collect(child.stderr.take().expect("a pipe")),
            child,
            begun: Instant::now(),
            secrets: self.secrets(),
            may_panic: self.may_panic,
        }
    }

    /// What no run may ever say.
    fn secrets(&self) -> Vec<String> {
        let secret = |name: &str| name.ends_with("_PASSWORD") || name == "AWS_SECRET_ACCESS_KEY";
        let named = self.env.iter().filter(|(name, _)| secret(name));
        // A shorter one would be found in words that mean something else.
        let told_apart = named.filter(|(_, value)| value.len() >= 5);
        told_apart.map(|(_, value)| value.clone()).collect()
    }
}

/// A run under way. Dropped before its end, it is killed.
#[derive(Debug)]
pub struct Running {
    /// The process.
    child: Child,
    /// Reads its standard output.
    stdout: Pipe,
    /// Reads its standard error.
    stderr: Pipe,
    /// When it was started.
    begun: Instant,
    /// What it may not say.
    secrets: Vec<String>,
    /// Whether it may panic.
    may_panic: bool,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, which: rustix::process::Signal) {
        signal(&self.child, which);
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    /// Waits until its log says something.
    #[track_caller]
    pub fn until_says(&mut self, words: &str) {
        while !self.stderr.so_far().contains(words) {
            let ended = self.has_ended() && !self.stderr.so_far().contains(words);
            let late = self.begun.elapsed() > PATIENCE;
            assert!(
                !ended && !late,
                "it does not say {words:?}: {}",
                self.stderr.so_far()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end; a run that hangs is killed and fails the test.
    #[track_caller]
    pub fn wait(mut self) -> Run {
        use std::os::unix::process::ExitStatusExt as _;
        let mut nap = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break status;
            }
            if self.begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!(
                    "drctl hung for {:?}; it had said:\n{}",
                    PATIENCE,
                    self.stderr.whole()
                );
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(50));
        };
        let run = Run {
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            took: self.begun.elapsed(),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
        };
        assert!(
            self.may_panic || !run.stderr.contains("panicked at"),
            "drctl panicked: {run:?}"
        );
        for secret in &self.secrets {
            let said = run.stdout.contains(secret) || run.stderr.contains(secret);
            assert!(!said, "drctl said a secret: {run:?}");
        }
        run
    }
}

/// What comes out of a process, read all along.
#[derive(Debug)]
struct Pipe {
    /// What has come so far.
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Ends when the process has closed it.
    reader: JoinHandle<()>,
}

impl Pipe {
    fn collect(mut pipe: impl Read + Send + 'static) -> Pipe {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut part = [0; 16 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut part) {
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                into.extend_from_slice(&part[..read]);
            }
        });
        Pipe { bytes, reader }
    }

    fn so_far(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn whole(self) -> String {
        let Pipe { bytes, reader } = self;
        reader.join().expect("a reader does not panic");
        let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; 128 + the signal where one killed it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it logged, and its error line.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Run {
    /// It exited 0.
    #[track_caller]
    pub fn ok(self) -> Run {
        assert_eq!(self.code, 0, "drctl failed: {self:#?}");
        self
    }

    /// It was refused with `code`, in one line that holds `text`.
    #[track_caller]
    pub fn fails(self, code: i32, text: &str) -> Run {
        self.refused(code, &[text])
    }

    /// The command line was refused before anything was done.
    #[track_caller]
    pub fn refused_by_the_parser(self) -> Run {
        assert_eq!(self.code, 2, "another exit code: {self:#?}");
        assert!(self.stderr.starts_with("error: "), "{self:#?}");
        self
    }

    /// It exited with `code`, and its last line of standard error, the only one that begins with
    /// `drctl: `, holds each of `words` in that order: what happened, to what; what to do next.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) -> Run {
        assert_eq!(self.code, code, "another exit code: {self:#?}");
        let line = self.error_line();
        let mut rest = line;
        for word in words {
            assert!(!word.is_empty(), "a line that may say anything: {line:?}");
            let Some(at) = rest.find(word) else {
                panic!("{line:?} does not say {word:?}, or not in the order of {words:?}");
            };
            rest = &rest[at + word.len()..];
        }
        // A cancelled run was told what to do by somebody else.
        if code < 128 {
            let next = line.split("; ").nth(1);
            assert!(next.is_some(), "{line:?} does not say what to do next");
        }
        self
    }

    /// Its error: what happened, to what; what to do next.
    #[track_caller]
    pub fn error_line(&self) -> &str {
        let errors: Vec<&str> = self
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("drctl: "))
            .collect();
        assert_eq!(errors.len(), 1, "not one error line: {self:#?}");
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("drctl: "),
            "the error is not the last word: {self:#?}"
        );
        errors[0]
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }
}
