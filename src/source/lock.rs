//! Two locks on the source: one backup of a target at a time, and no DDL while it is dumped.
//!
//! Both live in connections of their own, so they are gone with this process, however it ends.

use crate::server::connect::{literal, server_code};
use crate::server::{Connection, ServerVersion};
use crate::store::keys::TargetName;
use crate::{Error, Result};

/// `GET_LOCK`'s longest name on the strictest server.
const MAX_LOCK_NAME_CHARS: usize = 64;

/// Takes the lock that makes a backup the only one of its target, without waiting.
///
/// The connection holds it until it closes. `Outcome::Held` (exit 11) where another run has it.
pub async fn take(connection: &mut Connection, target: &TargetName) -> Result<()> {
    const ATTEMPTS: u32 = 3;
    let name = literal(&lock_name(target));
    let mut by = String::new();
    for _ in 0..ATTEMPTS {
        let taken: Option<i64> = connection
            .one(&format!("SELECT GET_LOCK({name}, 0)"))
            .await?;
        if taken == Some(1) {
            return Ok(());
        }
        let holder: Option<u64> = connection
            .one(&format!("SELECT IS_USED_LOCK({name})"))
            .await?;
        if let Some(id) = holder {
            by = format!(" (connection {id} of the server)");
            break;
        }
        // It ended just now.
    }
    Err(
        Error::held(format!("another backup of {target} is running{by}"))
            .hint("wait for it, or end it"),
    )
}

/// Gives the lock back at once: a server notices that a connection has closed a little later.
pub async fn release(connection: &mut Connection, target: &TargetName) {
    let name = literal(&lock_name(target));
    // The connection's end does the same.
    let _ = connection.run(&format!("DO RELEASE_LOCK({name})")).await;
}

/// Makes sure that the connection still holds the lock: asked before a backup is committed.
pub async fn still_held(connection: &mut Connection, target: &TargetName) -> Result<()> {
    let name = literal(&lock_name(target));
    let ours: Option<bool> = connection
        .one(&format!("SELECT IS_USED_LOCK({name}) = CONNECTION_ID()"))
        .await?;
    match ours {
        Some(true) => Ok(()),
        _ => Err(Error::held(format!(
            "the lock on {target} was lost while the backup ran"
        ))
        .hint("start it again; find out who ended its connection")),
    }
}

fn lock_name(target: &TargetName) -> String {
    // Target names are short; a longer one keeps its beginning, which is what people look for.
    format!("drctl.{target}")
        .chars()
        .take(MAX_LOCK_NAME_CHARS)
        .collect()
}

/// Holds DDL back until it is dropped or [`DdlLock::release`]d. Rows go on changing, except those
/// of MariaDB's non-transactional tables, which wait as well.
#[derive(Debug)]
pub struct DdlLock(Connection);

impl DdlLock {
    /// Takes the lock on a connection of its own, waiting at most [`DDL_WAIT_SECONDS`] for DDL
    /// that is under way. A source error that names the grant where the account may not.
    pub async fn take(mut connection: Connection, server: &ServerVersion) -> Result<DdlLock> {
        let (statements, privilege): (&[&str], _) = match server.is_mariadb() {
            true => (
                &[
                    "BACKUP STAGE START",
                    "BACKUP STAGE FLUSH",
                    "BACKUP STAGE BLOCK_DDL",
                ],
                "RELOAD",
            ),
            false => (&["LOCK INSTANCE FOR BACKUP"], "BACKUP_ADMIN"),
        };
        let wait = format!("SET SESSION lock_wait_timeout = {DDL_WAIT_SECONDS}");
        connection.run(&wait).await?;
        for statement in statements {
            connection
                .run(statement)
                .await
                .map_err(|error| match server_code(&error) {
                    Some(DENIED) => error.hint(format!(
                        "grant the account {privilege} on *.*, or set backup.ddl: detect"
                    )),
                    Some(LOCK_WAIT) => error
                        .hint("DDL is under way, or another backup holds it back: try again later"),
                    _ => error,
                })?;
        }
        Ok(DdlLock(connection))
    }

    /// Lets DDL go on. An error where the lock was lost before: its connection was killed, and DDL
    /// may have come through.
    pub async fn release(mut self) -> Result<()> {
        let held = self.0.run("DO 0").await;
        self.0.close().await;
        held.map_err(|error| {
            error
                .context("the lock that holds DDL back was lost")
                .passing()
        })
    }
}

/// How long to wait for DDL that is under way when the dump is to begin, seconds.
pub const DDL_WAIT_SECONDS: u32 = 60;

/// "Access denied; you need the … privilege".
const DENIED: u16 = 1227;

/// "Lock wait timeout exceeded".
const LOCK_WAIT: u16 = 1205;
