//! Real servers: started from a template in about a second, private or shared, gone at the end.
//!
//! What is asked of a server goes through its own client, so the harness shares no code with the
//! product it judges.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lab::{self, ScratchDir};
use super::session::Session;
use super::wait::{PATIENCE, until};

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// The distribution's MariaDB.
    MariaDb,
    /// Oracle's MySQL, 9.7 or later.
    MySql,
}

impl Flavour {
    /// Both of them.
    pub const ALL: [Flavour; 2] = [Flavour::MariaDb, Flavour::MySql];

    /// The directory of this flavour's client programs.
    pub fn client_dir(self) -> PathBuf {
        match self {
            Flavour::MariaDb => "/usr/bin".into(),
            Flavour::MySql => lab::root().join("mysql/bin"),
        }
    }

    /// The client that runs SQL.
    pub fn client(self) -> PathBuf {
        self.client_dir().join(match self {
            Flavour::MariaDb => "mariadb",
            Flavour::MySql => "mysql",
        })
    }

    /// The client that dumps.
    pub fn dump_bin(self) -> PathBuf {
        self.client_dir().join(match self {
            Flavour::MariaDb => "mariadb-dump",
            Flavour::MySql => "mysqldump",
        })
    }

    /// Prints the time zones of a directory as SQL for the system schema.
    pub fn tzinfo_bin(self) -> PathBuf {
        self.client_dir().join(match self {
            Flavour::MariaDb => "mariadb-tzinfo-to-sql",
            Flavour::MySql => "mysql_tzinfo_to_sql",
        })
    }

    /// The server itself.
    pub fn server_bin(self) -> PathBuf {
        match self {
            Flavour::MariaDb => "/usr/sbin/mariadbd".into(),
            Flavour::MySql => lab::root().join("mysql/bin/mysqld"),
        }
    }

    fn template(self) -> PathBuf {
        lab::root().join(match self {
            Flavour::MariaDb => "templates/mariadb/data",
            Flavour::MySql => "templates/mysql/data",
        })
    }

    /// Short and durable against a killed server, not against a power cut: no fsync. Redo logs are allocated at
    /// each start: small ones. MySQL fills its caches and the memory of its performance schema at once, half a
    /// gigabyte, and dozens of servers run at a time: 280 MB of it do.
    fn lab_options(self) -> &'static [&'static str] {
        match self {
            Flavour::MariaDb => &["--innodb-flush-method=nosync", "--innodb-log-file-size=32M"],
            Flavour::MySql => &[
                "--innodb-flush-method=nosync",
                "--innodb-redo-log-capacity=32M",
                "--mysqlx=OFF",
                "--secure-file-priv=",
                "--innodb-buffer-pool-size=32M",
                "--innodb-log-buffer-size=8M",
                "--performance-schema-digests-size=100",
                "--performance-schema-error-size=1",
                "--performance-schema-events-stages-history-long-size=100",
                "--performance-schema-events-statements-history-long-size=100",
                "--performance-schema-events-transactions-history-long-size=100",
                "--performance-schema-events-waits-history-long-size=100",
            ],
        }
    }
}

/// A running server with a socket and a loopback port. `root@localhost` has no password.
#[derive(Debug)]
pub struct Server {
    /// Whose it is.
    flavour: Flavour,
    /// Its data, socket and log.
    dir: ScratchDir,
    /// The test's own server options, the last word.
    options: Vec<String>,
    /// The machine's time zone, as it takes it (`TZ`).
    zone: Option<String>,
    /// Its loopback port.
    port: u16,
    /// The process; none while stopped.
    child: Mutex<Option<Child>>,
}

impl Server {
    /// A private, empty server.
    pub fn start(flavour: Flavour) -> Server {
        Server::start_with(flavour, &[])
    }

    /// A private, empty server with options of its own, such as `--sql-mode=ANSI_QUOTES`.
    pub fn start_with(flavour: Flavour, options: &[&str]) -> Server {
        let server = Server::unstarted(flavour, options);
        server.start_again();
        server
    }

    /// A private, empty server on a machine in a time zone such as `Europe/Berlin`.
    pub fn start_in(flavour: Flavour, zone: &str) -> Server {
        let mut server = Server::unstarted(flavour, &[]);
        server.zone = Some(zone.to_owned());
        server.start_again();
        server
    }

    fn unstarted(flavour: Flavour, options: &[&str]) -> Server {
        let dir = ScratchDir::new();
        let copied = Command::new("cp")
            .args(["-r", "--reflink=auto"])
            .arg(flavour.template())
            .arg(dir.path().join("data"))
            .status()
            .expect("cp runs");
        assert!(
            copied.success(),
            "{flavour:?}: no template; run tests/lab/setup.sh"
        );
        Server {
            flavour,
            dir,
            options: options.iter().map(ToString::to_string).collect(),
            zone: None,
            port: free_port(),
            child: Mutex::new(None),
        }
    }

    /// A private, empty server with options that MySQL takes only when it makes its data.
    pub fn initialised(flavour: Flavour, options: &[&str]) -> Server {
        match flavour {
            Flavour::MariaDb => Server::start_with(flavour, options),
            Flavour::MySql => {
                let server = Server::unstarted(flavour, options);
                fs::remove_dir_all(server.datadir()).expect("a copy of the template");
                let mut making = lab::tied(flavour.server_bin());
                making
                    .args(["--no-defaults", "--initialize-insecure"])
                    .arg("--innodb-redo-log-capacity=8M")
                    .arg(format!("--datadir={}", server.datadir().display()))
                    .args(flavour.lab_options())
                    .args(options)
                    .args(as_root())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                let made = lab::spawn(making).and_then(|mut child| child.wait());
                assert!(made.expect("the server's binary runs").success());
                server.start_again();
                server
            }
        }
    }

    /// A private, empty server of MySQL with a keyring in its data directory, for what is encrypted.
    pub fn with_keyring(options: &[&str]) -> Server {
        let server = Server::unstarted(Flavour::MySql, options);
        let keys = serde_json::json!({"path": server.dir.path().join("keys"), "read_only": false});
        let component = r#"{"components": "file://component_keyring_file"}"#;
        for (name, text) in [
            ("mysqld.my", component),
            ("component_keyring_file.cnf", &keys.to_string()),
        ] {
            fs::write(server.datadir().join(name), text).expect("a copy of the template");
        }
        server.start_again();
        server
    }

    /// The one server of that flavour that all tests share: nothing global may be changed there.
    pub fn shared(flavour: Flavour) -> &'static Server {
        static MARIADB: LazyLock<Server> = LazyLock::new(|| Server::start(Flavour::MariaDb));
        static MYSQL: LazyLock<Server> = LazyLock::new(|| Server::start(Flavour::MySql));
        match flavour {
            Flavour::MariaDb => &MARIADB,
            Flavour::MySql => &MYSQL,
        }
    }

    /// Whose it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The Unix socket, on which root needs no password.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The data directory.
    pub fn datadir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The process id; none while stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// drctl's URL for root by the socket.
    pub fn url(&self) -> String {
        self.url_as("root")
    }

    /// drctl's URL for an account by the socket.
    pub fn url_as(&self, user: &str) -> String {
        format!(
            "mysql://{user}@localhost/?socket={}",
            self.socket().display()
        )
    }

    /// drctl's URL for an account by TCP.
    pub fn tcp_url(&self, user: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}", self.port)
    }

    /// Creates `user` for every host and gives it what each of `grants` names, such as
    /// `SELECT, SHOW VIEW ON shop.*`.
    pub fn account(&self, user: &str, password: &str, grants: &[&str]) {
        let mut sql = format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}';\n");
        for grant in grants {
            sql.push_str(&format!("GRANT {grant} TO '{user}'@'%';\n"));
        }
        self.exec(&sql);
    }

    /// Creates a schema that no other test has, and names it.
    pub fn fresh_schema(&self, hint: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{hint}_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.exec(&format!("CREATE DATABASE `{name}`"));
        name
    }

    /// The client, as root, with options that a test may add to. Reads SQL from standard input,
    /// prints rows bare, and stops at the first error.
    pub fn client_command(&self) -> Command {
        let mut command = Command::new(self.flavour.client());
        command
            .args(["--no-defaults", "--user=root", "--batch", "--raw"])
            .args(["--skip-column-names", "--binary-mode", "--comments"])
            .args(["--default-character-set=utf8mb4", "--max-allowed-packet=1G"])
            .arg(format!("--socket={}", self.socket().display()));
        if self.flavour == Flavour::MariaDb {
            // From 11.4 on this client wants TLS, which a test's server may not offer.
            command.arg("--skip-ssl");
        }
        command
    }

    /// Runs SQL and says what it printed, or what the client complained of.
    pub fn try_exec(&self, sql: &str) -> Result<String, String> {
        let file = self.dir.path().join(format!("sql-{}", unique()));
        fs::write(&file, sql).expect("a scratch file");
        let outcome = self.try_exec_file(&file);
        let _ = fs::remove_file(&file);
        outcome
    }

    /// Runs SQL that has to succeed, and says what it printed.
    #[track_caller]
    pub fn exec(&self, sql: &str) -> String {
        self.try_exec(sql)
            .unwrap_or_else(|why| panic!("{:?}: {why}\nin: {}", self.flavour, excerpt(sql)))
    }

    /// Runs a file of SQL that has to succeed.
    #[track_caller]
    pub fn exec_file(&self, file: &Path) -> String {
        self.try_exec_file(file)
            .unwrap_or_else(|why| panic!("{:?}: {why}\nin: {}", self.flavour, file.display()))
    }

    fn try_exec_file(&self, file: &Path) -> Result<String, String> {
        let output = self
            .client_command()
            .stdin(fs::File::open(file).expect("the file opens"))
            .output()
            .expect("the client runs");
        printed(&output)
    }

    /// The rows of a query. NULL is the text `NULL`; ask for HEX() of what is not text.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        self.exec(sql)
            .lines()
            .map(|row| row.split('\t').map(str::to_owned).collect())
            .collect()
    }

    /// The only field of a query's only row.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        let rows = self.query(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone(),
            _ => panic!("{sql}: not one field but {rows:?}"),
        }
    }

    /// A connection that stays: for locks, open transactions and writers beside a run.
    pub fn session(&self) -> Session {
        Session::open(self)
    }

    /// Kills the server as a crash would, and waits until it is gone.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Shuts the server down in order.
    pub fn stop(&self) {
        let Some(mut child) = self.child().take() else {
            return;
        };
        signal(&child, rustix::process::Signal::TERM);
        until("the server stops", || {
            child.try_wait().expect("our own child").is_some()
        });
    }

    /// Starts a stopped or killed server on the data it left, and waits until it answers.
    pub fn start_again(&self) {
        let mut child = self.child();
        assert!(child.is_none(), "the server runs already");
        let mut started = self.launch();
        let (begun, mut again) = (Instant::now(), 3);
        loop {
            if let Some(status) = started.try_wait().expect("our own child") {
                // A connection to elsewhere may have been given the port meanwhile.
                if again > 0 && tail(&self.log()).contains("Address already in use") {
                    again -= 1;
                    std::thread::sleep(Duration::from_secs(1));
                    started = self.launch();
                    continue;
                }
                panic!(
                    "{:?} ended with {status}:\n{}",
                    self.flavour,
                    tail(&self.log())
                );
            }
            if UnixStream::connect(self.socket()).is_ok() && self.try_exec("DO 0").is_ok() {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{:?} does not answer:\n{}",
                self.flavour,
                tail(&self.log())
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        *child = Some(started);
    }

    /// Stops the server in order and starts it again.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    fn launch(&self) -> Child {
        let dir = self.dir.path();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .expect("a log file");
        let mut command = lab::tied(self.flavour.server_bin());
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.datadir().display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", dir.join("pid").display()))
            // MariaDB clears its temporary directory of other servers' files when it starts.
            .arg(format!("--tmpdir={}", dir.display()))
            .arg(format!("--port={}", self.port))
            .arg("--bind-address=127.0.0.1")
            .args(self.flavour.lab_options())
            .args(&self.options)
            .args(as_root())
            .envs(self.zone.iter().map(|zone| ("TZ", zone)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        lab::spawn(command).expect("the server's binary runs")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What makes a server run as root.
fn as_root() -> Option<&'static str> {
    rustix::process::geteuid()
        .is_root()
        .then_some("--user=root")
}

/// What a client printed, or what it complained of.
fn printed(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// Sends a signal to a process of ours.
pub fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal)
        .expect("our own child takes signals");
}

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

fn unique() -> usize {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

fn excerpt(sql: &str) -> String {
    sql.chars().take(500).collect()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
