//! A scratch server on this machine: the program of the backup's version line, in a private
//! directory, reachable by a socket in it and by nothing else.
//!
//! It runs as the user of drctl, ends when drctl ends, and its directory goes with it.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::process::Child;

use crate::apply::report::RestoreReport;
use crate::archive::manifest::Manifest;
use crate::cancel::Cancel;
use crate::drill::DrillConfig;
use crate::drill::scratch::data_dir;
use crate::drill::scratch::options::Fit;
use crate::drill::scratch::process::{command, last_error};
use crate::drill::scratch::programs::{self, Program};
use crate::drill::scratch::room::{available_memory, need_space};
use crate::drill::scratch::strays::{PrivateDir, reap};
use crate::drill::scratch::{Scratch, version_of};
use crate::error::{Error, Result};
use crate::report::model::{Profile, ScratchFacts};
use crate::server::url::{Endpoint, ServerUrl, Tls};
use crate::server::{Flavour, Role, ServerConfig, connect, tie};

/// The pause between two attempts to reach a server that is booting.
const BOOT_PAUSE: Duration = Duration::from_millis(30);

/// How long a server may take to end in order, where its data are to be kept.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest path of a socket, bytes.
const MAX_SOCKET_PATH: usize = 107;

/// A server of the drill's own.
struct Local {
    /// The process; killed when dropped.
    child: Child,
    /// Its data, socket and log.
    dir: PrivateDir,
    /// How to reach it.
    server: Arc<ServerConfig>,
    /// What it is.
    facts: ScratchFacts,
    /// How it was started, for whoever wants a look.
    command: String,
}

/// Makes a server's data and starts it.
pub async fn start(
    config: &DrillConfig,
    manifest: &Manifest,
    profile: Profile,
    cancel: &Cancel,
) -> Result<Box<dyn Scratch>> {
    let parent = &config.scratch_dir;
    for stray in reap(parent) {
        tracing::warn!(dir = %stray.display(), "removed what a killed drill left");
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
        .hint("name a shorter directory in verify.scratch_dir"));
    }
    let fit = Fit {
        version: &program.version,
        fingerprint: &manifest.server.fingerprint,
        data_bytes: manifest.server.bytes,
        memory_bytes: available_memory(),
        profile,
        network: false,
    };
    let files = fit.files();
    cancel
        .unless(data_dir::make(&program, &dir, &files))
        .await?;
    let (command, child) = run(&program, &dir, &fit.running())?;
    let facts = ScratchFacts {
        kind: "local".to_owned(),
        version: program.version.to_string(),
        profile,
        settings: fit.settings(),
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
            Err(error) => Error::server("wait for the scratch server").because(error),
        }
    }

    async fn tear_down(mut self: Box<Self>, _: &RestoreReport) -> Result<()> {
        // Nothing of it is wanted any more: an orderly end would only take time.
        self.child
            .kill()
            .await
            .map_err(|e| Error::server("end the scratch server").because(e))
    }

    async fn keep(mut self: Box<Self>) -> Result<String> {
        // First of all: whatever ends this drill now, the data stay.
        let dir = self.dir.keep()?;
        tie::ask_to_end(&self.child);
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        if ended.is_err() {
            return Err(Error::server(format!(
                "the scratch server in {} did not stop in time",
                dir.display()
            )));
        }
        Ok(format!(
            "its data are in {}; to look at them, run {} and connect to {}; then remove the directory",
            dir.display(),
            self.command,
            dir.join("sock").display()
        ))
    }
}

impl Local {
    async fn wait_until_up(&mut self, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.why_ended(status).hint(
                    "look at the log above; the server's options come from the manifest's fingerprint",
                ));
            }
            let socket = self.dir.path().join("sock");
            if socket.exists()
                && let Ok(mut connection) = connect(&self.server).await
            {
                let scheduler: String = connection.one("SELECT @@GLOBAL.event_scheduler").await?;
                connection.close().await;
                return super::given::refuse_events(&scheduler);
            }
            if begun.elapsed() > patience {
                return Err(Error::server(format!(
                    "the scratch server did not answer within {} s{}",
                    patience.as_secs(),
                    self.last_words()
                ))
                .hint("raise verify.boot_seconds, or look at what the machine is busy with"));
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

/// Keeps what is in the archive from reading and writing the files of this machine: its functions run
/// with the rights of whoever they name.
fn no_files(program: &Program, dir: &PrivateDir) -> Result<String> {
    if program.version.flavour == Flavour::MySql {
        return Ok("--secure-file-priv=NULL".to_owned());
    }
    // MariaDB knows no NULL: an empty directory that goes with the server.
    let files = dir.path().join("files");
    std::fs::create_dir(&files)
        .map_err(|e| Error::server("write into the scratch directory").because(e))?;
    Ok(format!("--secure-file-priv={}", files.display()))
}

/// Starts the server; also how a person would.
fn run(program: &Program, dir: &PrivateDir, options: &[String]) -> Result<(String, Child)> {
    let at = |name: &str| dir.path().join(name).display().to_string();
    let mut arguments = vec![
        format!("--datadir={}", at("data")),
        format!("--socket={}", at("sock")),
        format!("--pid-file={}", at("pid")),
        format!("--tmpdir={}", dir.path().display()),
    ];
    arguments.extend(options.iter().cloned());
    arguments.push(no_files(program, dir)?);
    let own = program.own_options();
    let shown = own.iter().chain(&arguments);
    let shown = shown.map(|one| match one.contains(' ') {
        true => format!("'{one}'"),
        false => one.clone(),
    });
    let shown = format!(
        "{} {}",
        program.path.display(),
        shown.collect::<Vec<_>>().join(" ")
    );
    let mut command = command(program, dir, &dir.path().join("log"))?;
    command.args(arguments);
    let child = tie::spawn(command)
        .map_err(|e| Error::server(format!("start {}", program.path.display())).because(e))?;
    Ok((shown, child))
}
