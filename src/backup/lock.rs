//! The lock on the target server that blocks DDL during the dump.
//!
//! It belongs to a connection, so it is released when this process ends, even by SIGKILL.

use crate::Result;
use crate::mysql::connect::server_code;
use crate::mysql::{Connection, ServerVersion};

/// Blocks DDL until it is dropped or [released](DdlLock::release). Writes continue, except those to MariaDB's
/// non-transactional tables, which are blocked, too.
#[derive(Debug)]
pub struct DdlLock(Connection);

impl DdlLock {
    /// Takes the lock, waiting at most [`DDL_WAIT_SECONDS`] for running DDL.
    ///
    /// # Errors
    ///
    /// If the account lacks the privilege, the error names it.
    pub async fn take(mut connection: Connection, server: &ServerVersion) -> Result<DdlLock> {
        let (statements, privilege): (&[&str], _) = if server.is_mariadb() {
            (
                &[
                    "BACKUP STAGE START",
                    "BACKUP STAGE FLUSH",
                    "BACKUP STAGE BLOCK_DDL",
                ],
                "RELOAD",
            )
        } else {
            (&["LOCK INSTANCE FOR BACKUP"], "BACKUP_ADMIN")
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
                    Some(LOCK_WAIT) => {
                        error.hint("DDL is running or blocked by another backup: retry later")
                    }
                    _ => error,
                })?;
        }
        Ok(DdlLock(connection))
    }

    /// Allows DDL again.
    ///
    /// # Errors
    ///
    /// The lock had been lost with its connection, so DDL may have been executed; retryable.
    pub async fn release(mut self) -> Result<()> {
        let held = self.0.run("DO 0").await;
        self.0.close().await;
        held.map_err(|error| error.context("the lock against DDL was lost").retryable())
    }
}

/// How long a backup waits for running DDL before the dump, seconds.
pub const DDL_WAIT_SECONDS: u32 = 60;

/// "Access denied; you need the … privilege".
const DENIED: u16 = 1227;

/// "Lock wait timeout exceeded".
const LOCK_WAIT: u16 = 1205;
