//! A scratch server on this machine: the server program of the backup's release series, in a private
//! directory, reachable only through a socket in it.
//!
//! It runs as drctl's user and ends with drctl; its directory is removed with it.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::process::Child;

use crate::archive::manifest::Manifest;
use crate::monitor::report::model::{Profile, ScratchFacts};
use crate::mysql::url::{Endpoint, ServerUrl, Tls};
use crate::mysql::{Flavour, Role, ServerConfig, connect};
use crate::restore::report::RestoreReport;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};
use crate::util::pdeathsig;
use crate::verify::DrillConfig;
use crate::verify::scratch::data_cache;
use crate::verify::scratch::disk_space::{available_memory, need_space};
use crate::verify::scratch::options::ServerOptions;
use crate::verify::scratch::orphans::{PrivateDir, reap};
use crate::verify::scratch::process::{command, last_error};
use crate::verify::scratch::programs::{self, Program};
use crate::verify::scratch::{Scratch, version_of};

/// Pause between login attempts while the server boots.
const BOOT_PAUSE: Duration = Duration::from_millis(30);

/// Time limit for an orderly shutdown of a server whose data are kept.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// Maximum length of a socket path in bytes.
const MAX_SOCKET_PATH: usize = 107;

/// A running local scratch server.
struct Local {
    /// The process; killed when dropped.
    child: Child,
    /// Directory of its data, socket and log.
    dir: PrivateDir,
    /// Connection settings.
    server: Arc<ServerConfig>,
    /// Its description for the report.
    facts: ScratchFacts,
    /// The command that started it, shown when its data are kept.
    command: String,
}

/// Initialises a server's data directory and starts the server.
pub async fn start(
    config: &DrillConfig,
    manifest: &Manifest,
    profile: Profile,
    replays: bool,
    cancel: &Cancel,
) -> Result<Box<dyn Scratch>> {
    let parent = &config.scratch_dir;
    for stray in reap(parent) {
        tracing::warn!(dir = %stray.display(), "removed the directory of a killed drill");
    }
    let wanted = version_of(manifest)?;
    let find = async { programs::find(&config.server_dirs, &wanted).await };
    let program = cancel.unless(find).await?;
    need_space(parent, manifest)?;
    let dir = PrivateDir::new(parent)?;
    let socket = dir.path().join("sock");
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Error::usage(format!(
            "the path of a socket below {} would be too long",
            parent.display()
        ))
        .hint("set verify.scratch_dir to a shorter path"));
    }
    let options = ServerOptions {
        version: &program.version,
        fingerprint: &manifest.server.fingerprint,
        data_bytes: manifest.server.bytes.max(manifest.totals.raw_bytes),
        longest_bytes: manifest.totals.largest_statement_bytes,
        memory_bytes: available_memory(),
        profile,
        network: false,
        replays,
    };
    let files = options.initialisation();
    cancel
        .unless(data_cache::provide(
            config.cache_dir.as_deref(),
            &program,
            &dir,
            &files,
        ))
        .await?;
    let (command, child) = run(&program, &dir, &options.running())?;
    let facts = ScratchFacts {
        kind: "local".to_owned(),
        version: program.version.to_string(),
        profile,
        settings: options.settings(),
    };
    let server = Arc::new(ServerConfig {
        url: ServerUrl {
            user: "root".to_owned(),
            endpoint: Endpoint::Socket(socket),
            tls: Tls::Disabled,
            ca: None,
            identity: None,
        },
        password: None,
        client_dir: config.client_dir.clone(),
        role: Role::Into,
    });
    let mut local = Local {
        child,
        dir,
        server,
        facts,
        command,
    };
    let booted = cancel.unless(local.wait_until_up(config.boot)).await;
    if let Err(error) = booted {
        // Before its directory is removed.
        let _ = local.child.kill().await;
        return Err(error);
    }
    Ok(Box::new(local))
}

#[async_trait]
impl Scratch for Local {
    fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    fn facts(&self) -> &ScratchFacts {
        &self.facts
    }

    async fn ended(&mut self) -> Error {
        match self.child.wait().await {
            Ok(status) => self.why_ended(status),
            Err(error) => Error::server("cannot wait for the scratch server").because(error),
        }
    }

    async fn tear_down(mut self: Box<Self>, _: &RestoreReport) -> Result<()> {
        // The data are discarded, so an orderly shutdown would only take time.
        self.child
            .kill()
            .await
            .map_err(|e| Error::server("cannot end the scratch server").because(e))
    }

    async fn keep(mut self: Box<Self>) -> Result<String> {
        // First of all: from now on the data are kept even if the drill is interrupted.
        let dir = self.dir.keep()?;
        pdeathsig::ask_to_end(&self.child);
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        if ended.is_err() {
            return Err(Error::server(format!(
                "the scratch server in {} did not stop in time",
                dir.display()
            )));
        }
        Ok(format!(
            "its data are in {}; to inspect them, run {} and connect to {}; then remove the directory",
            dir.display(),
            self.command,
            dir.join("sock").display()
        ))
    }
}

impl Local {
    async fn wait_until_up(&mut self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.why_ended(status).hint(
                    "check the log above; the server options come from the variables recorded in the manifest",
                ));
            }
            let socket = self.dir.path().join("sock");
            if socket.exists()
                && let Ok(mut connection) = connect(&self.server).await
            {
                let scheduler: String = connection.one("SELECT @@GLOBAL.event_scheduler").await?;
                connection.close().await;
                return crate::verify::scratch::external::refuse_event_scheduler(&scheduler);
            }
            if begun.elapsed() > limit {
                return Err(Error::server(format!(
                    "the scratch server did not answer within {} s{}",
                    limit.as_secs(),
                    self.last_words()
                ))
                .hint("raise verify.boot_seconds, or check the load of this machine"));
            }
            tokio::time::sleep(BOOT_PAUSE).await;
        }
    }

    fn why_ended(&self, status: ExitStatus) -> Error {
        Error::server(format!(
            "the scratch server ended ({status}){}",
            self.last_words()
        ))
        .hint("check the memory and the disk of this machine, and run the drill again")
    }

    /// The last error in its log.
    fn last_words(&self) -> String {
        last_error(&self.dir.path().join("log"))
            .map(|line| format!(": {line}"))
            .unwrap_or_default()
    }
}

/// Options that prevent the archive's routines from accessing the files of this machine: they run with the
/// privileges of their definers.
fn file_access(program: &Program, dir: &PrivateDir) -> Result<String> {
    if program.version.flavour == Flavour::MySql {
        return Ok("--secure-file-priv=NULL".to_owned());
    }
    // MariaDB does not accept NULL: use an empty directory that is removed with the server.
    let files = dir.path().join("files");
    std::fs::create_dir(&files)
        .map_err(|e| Error::server("cannot write into the scratch directory").because(e))?;
    Ok(format!("--secure-file-priv={}", files.display()))
}

/// Starts the server process.
fn run(program: &Program, dir: &PrivateDir, options: &[String]) -> Result<(String, Child)> {
    let at = |name: &str| dir.path().join(name).display().to_string();
    let mut arguments = vec![
        format!("--datadir={}", at("data")),
        format!("--socket={}", at("sock")),
        format!("--pid-file={}", at("pid")),
        format!("--tmpdir={}", dir.path().display()),
    ];
    arguments.extend(options.iter().cloned());
    arguments.push(file_access(program, dir)?);
    let own = program.own_options();
    let shown = own.iter().chain(&arguments);
    let shown = shown.map(|one| {
        if one.contains(' ') {
            format!("'{one}'")
        } else {
            one.clone()
        }
    });
    let shown = format!(
        "{} {}",
        program.path.display(),
        shown.collect::<Vec<_>>().join(" ")
    );
    let mut command = command(program, dir, &dir.path().join("log"))?;
    command.args(arguments);
    let child = pdeathsig::spawn(command).map_err(|e| {
        Error::server(format!("cannot start {}", program.path.display())).because(e)
    })?;
    Ok((shown, child))
}
