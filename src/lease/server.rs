//! Read-only or writable: the server of this side.
//!
//! One connection is kept open, so that a full or slow server still gets the statement. A statement without an answer
//! may still take effect, so its connection is killed before the next one is used.

use std::time::Duration;

use tokio::time::timeout;

use crate::binlog::gtid::GtidSet;
use crate::layout::TargetName;
use crate::mysql::compat::{kill_privileges, read_only_privilege};
use crate::mysql::connect::{is_denied, literals, server_code};
use crate::mysql::grants::Grants;
use crate::mysql::named_lock::{self, Lock};
use crate::mysql::replication::{is_on, make_writable};
use crate::mysql::schemas::{MARKER, Own};
use crate::mysql::{self, Connection, ServerConfig, ServerVersion};
use crate::{Error, Outcome, Result};

/// Time limit for a login, and for a statement that changes nothing.
const ANSWER: Duration = Duration::from_secs(2);

/// Time after which clients that hold up the statement are disconnected, and then interval of further attempts.
const HELD_UP: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(500);

/// Time limit for becoming read-only.
const MOST: Duration = Duration::from_secs(30);

/// ER_BAD_DB_ERROR.
const NO_SUCH_SCHEMA: u16 = 1049;

/// MariaDB's value of `read_only` without an exception for administrators.
const STRICTEST: &str = "NO_LOCK_NO_ADMIN";

/// Threads of `information_schema.processlist` that are no clients.
const NO_CLIENTS: &[&str] = &["Binlog Dump", "Binlog Dump GTID", "Daemon"];

/// Which writes a server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// All.
    Writable,
    /// Those of administrators, although it could refuse them.
    Partial,
    /// As few as it can.
    ReadOnly,
}

/// The server of this side.
#[derive(Debug)]
pub(super) struct Server {
    config: ServerConfig,
    target: TargetName,
    open: Option<Open>,
    /// Connections with a statement that has had no answer, and may still take effect.
    unanswered: Vec<u32>,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    version: ServerVersion,
    /// Whether `read_only` can hold administrators, too (MariaDB).
    strictest: bool,
}

/// Makes a server read-only, as a keeper does; returns what it has executed.
pub async fn shut(config: &ServerConfig, target: &TargetName) -> Result<GtidSet> {
    let mut server = Server::new(config.clone(), target.clone());
    server.make_read_only().await?;
    let is_mariadb = server.ask(async |open| Ok(open.version.is_mariadb()));
    let is_mariadb = is_mariadb.await?;
    GtidSet::parse(is_mariadb, &server.executed().await?)
}

/// Makes a server writable whose side has the lease, and earlier holders of which are fenced.
pub async fn open(config: &ServerConfig) -> Result<()> {
    let mut connection = mysql::connect(config).await?;
    make_writable(&mut connection).await?;
    connection.close().await;
    Ok(())
}

impl Server {
    pub(super) fn new(config: ServerConfig, target: TargetName) -> Server {
        Server {
            config,
            target,
            open: None,
            unanswered: Vec::new(),
        }
    }

    /// Checks that the account may do what it has to when a lease ends.
    pub(super) async fn check(&mut self) -> Result<()> {
        self.has_marker().await?;
        self.ask(async |open| {
            let statement = match open.version.is_mariadb() {
                true => "SET GLOBAL read_only = @@GLOBAL.read_only",
                false => "SET GLOBAL super_read_only = @@GLOBAL.super_read_only",
            };
            let set = open.connection.run(statement).await;
            set.map_err(|error| match is_denied(&error) {
                true => lacks(read_only_privilege(&open.version)),
                false => error,
            })?;
            let own = Own::of(&mut open.connection, &open.version).await?;
            let grants = Grants::read(&mut open.connection, &open.version, own).await?;
            let (any_of, privilege) = kill_privileges(&open.version);
            if !any_of.iter().any(|one| grants.has_globally(one)) {
                return Err(lacks(privilege));
            }
            // Without SYSTEM_USER, clients that have it cannot be disconnected.
            let system_user = open.connection.first_privilege(&["SYSTEM_USER"]).await?;
            for privilege in ["PROCESS"].into_iter().chain(system_user) {
                if !grants.has_globally(privilege) {
                    return Err(lacks(privilege));
                }
            }
            Ok(())
        })
        .await
    }

    /// Which writes the server accepts.
    pub(super) async fn access(&mut self) -> Result<Access> {
        self.ask(async |open| {
            let read_only = open.connection.variable(&["read_only"]).await?;
            let strict = match open.version.is_mariadb() {
                true => !open.strictest || read_only.as_deref() == Some(STRICTEST),
                false => {
                    let of_all = open.connection.variable(&["super_read_only"]).await?;
                    of_all.is_some_and(|value| is_on(&value))
                }
            };
            let read_only = read_only.is_some_and(|value| is_on(&value));
            Ok(match (read_only, strict) {
                (false, _) => Access::Writable,
                (true, false) => Access::Partial,
                (true, true) => Access::ReadOnly,
            })
        })
        .await
    }

    /// Whether the server has a restore marker.
    ///
    /// # Errors
    /// Also if the account may not see it.
    pub(super) async fn has_marker(&mut self) -> Result<bool> {
        self.ask(async |open| {
            let sql = format!("SHOW CREATE DATABASE `{MARKER}`");
            match open.connection.named_rows(&sql).await {
                Ok(_) => Ok(true),
                Err(error) if server_code(&error) == Some(NO_SUCH_SCHEMA) => Ok(false),
                Err(error) if is_denied(&error) => Err(Error::refused(
                    "the account may not see whether the server has an unfinished restore",
                )
                .hint(format!("GRANT SELECT ON {MARKER}.* (docs/lease.md)"))),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Makes the server writable, if `may` still says so directly before; returns whether it did.
    ///
    /// # Errors
    /// `Locked` if another keeper of the server holds its lock.
    pub(super) async fn make_writable(&mut self, may: impl Fn() -> bool) -> Result<bool> {
        let target = self.target.clone();
        self.ask(async |open| {
            named_lock::take(&mut open.connection, Lock::Lease, &target).await?;
            if !may() {
                return Ok(false);
            }
            let statement = match open.version.is_mariadb() {
                true => "SET GLOBAL read_only = OFF",
                false => "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF",
            };
            open.connection.run(statement).await.map(|()| true)
        })
        .await
    }

    /// Makes the server read-only. While the statement waits for clients, it lets no other write begin; those that hold
    /// it up are disconnected. Returns how many were.
    pub(super) async fn make_read_only(&mut self) -> Result<u64> {
        // Checks that the open connection still works.
        self.ask(async |open| open.connection.run("DO 0").await)
            .await?;
        let mut open = self.taken().await?;
        let read_only = match (open.version.is_mariadb(), open.strictest) {
            (false, _) => "SET GLOBAL super_read_only = ON",
            (true, true) => "SET GLOBAL read_only = NO_LOCK_NO_ADMIN",
            (true, false) => "SET GLOBAL read_only = ON",
        };
        let own = open.connection.id();
        open.connection = open.connection.within(MOST);
        let set = async {
            let done = open.connection.run(read_only).await;
            open.connection = open.connection.within(ANSWER);
            done.map(|()| open)
        };
        tokio::pin!(set);
        let (mut disconnected, mut pause) = (0, HELD_UP);
        let done = loop {
            tokio::select! {
                done = &mut set => break done,
                () = tokio::time::sleep(pause) => {}
            }
            pause = AGAIN;
            match timeout(ANSWER, disconnect_clients(&self.config, own)).await {
                Ok(Ok(number)) => disconnected += number,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot disconnect clients that hold up read-only");
                }
                Err(_) => {}
            }
        };
        self.give_back(done?);
        Ok(disconnected)
    }

    /// What the server has executed.
    pub(super) async fn executed(&mut self) -> Result<String> {
        self.ask(async |open| {
            open.connection
                .one(match open.version.is_mariadb() {
                    true => "SELECT @@GLOBAL.gtid_binlog_pos",
                    false => "SELECT @@GLOBAL.gtid_executed",
                })
                .await
        })
        .await
    }

    /// Runs short statements, on a new connection if the one that is open turns out to be lost.
    async fn ask<T>(&mut self, question: impl AsyncFn(&mut Open) -> Result<T>) -> Result<T> {
        let was_open = self.open.is_some();
        match self.ask_once(&question).await {
            Err(error) if was_open && self.open.is_none() => {
                tracing::debug!(%error, "connecting to the server again");
                self.ask_once(&question).await
            }
            asked => asked,
        }
    }

    async fn ask_once<T>(&mut self, question: impl AsyncFn(&mut Open) -> Result<T>) -> Result<T> {
        let mut open = self.taken().await?;
        let asked = question(&mut open).await;
        let is_usable = match &asked {
            Ok(_) => true,
            Err(error) => {
                !error.is_lost() && server_code(error).is_some()
                    || error.outcome() == Outcome::Locked
            }
        };
        if is_usable {
            self.give_back(open);
        }
        asked
    }

    /// The open connection, or a new one. If it is not given back, because a statement failed or was dropped, the next
    /// one kills it.
    async fn taken(&mut self) -> Result<Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let mut connection = connect(&self.config).await?;
                for id in &self.unanswered {
                    // Most have ended.
                    let _ = connection.run(&format!("KILL {id}")).await;
                }
                self.unanswered.clear();
                let version = connection.version().await?;
                let strictest = version.is_mariadb() && has_strictest(&mut connection).await?;
                Open {
                    connection,
                    version,
                    strictest,
                }
            }
        };
        self.unanswered.push(open.connection.id());
        Ok(open)
    }

    fn give_back(&mut self, open: Open) {
        self.unanswered.clear();
        self.open = Some(open);
    }
}

fn lacks(privilege: &str) -> Error {
    Error::refused(format!("the account lacks {privilege}"))
        .hint(format!("GRANT {privilege} ON *.* (docs/lease.md)"))
}

async fn connect(config: &ServerConfig) -> Result<Connection> {
    let connecting = timeout(ANSWER, mysql::connect(config)).await;
    let connection = connecting.map_err(|_| {
        let (endpoint, seconds) = (&config.url.endpoint, ANSWER.as_secs());
        Error::server(format!("{endpoint}: no answer within {seconds} s"))
            .hint("check the server")
            .lost()
    })??;
    Ok(connection.within(ANSWER))
}

/// Whether a server has MariaDB's value of `read_only` without an exception for administrators.
async fn has_strictest(connection: &mut Connection) -> Result<bool> {
    let values: Option<Option<String>> = connection
        .row(
            "SELECT enum_value_list FROM information_schema.system_variables \
             WHERE variable_name = 'READ_ONLY'",
        )
        .await?;
    let values = values.flatten().unwrap_or_default();
    Ok(values.split(',').any(|value| value == STRICTEST))
}

/// Disconnects all clients but the connection with this ID. A client that holds a lock may be idle, and MariaDB does not
/// say which do. Returns their number.
async fn disconnect_clients(config: &ServerConfig, own: u32) -> Result<u64> {
    let mut connection = connect(config).await?;
    let clients: Vec<u64> = connection
        .rows(&format!(
            "SELECT id FROM information_schema.processlist \
             WHERE id NOT IN ({own}, CONNECTION_ID()) AND command NOT IN ({}) \
             AND user NOT IN ('system user', 'event_scheduler')",
            literals(NO_CLIENTS)
        ))
        .await?;
    let mut killed = 0;
    for id in clients {
        // It may have ended, or have a privilege that protects it.
        killed += u64::from(connection.run(&format!("KILL {id}")).await.is_ok());
    }
    connection.close().await;
    Ok(killed)
}
