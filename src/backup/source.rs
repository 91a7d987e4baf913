//! Connection to the server that is backed up, for the duration of one run.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::archive::manifest::Coordinates;
use crate::backup::dump::{Dump, DumpPlan};
use crate::backup::lock::DdlLock;
use crate::backup::options::{Ddl, SourceOptions, Want};
use crate::backup::{accounts, gtid};
use crate::layout::TargetName;
use crate::mysql::client::dump_process::is_lock_refused;
use crate::mysql::client::line_ends::LineEnds;
use crate::mysql::connect::is_denied;
use crate::mysql::facts::{self, Identity};
use crate::mysql::inventory::Inventory;
use crate::mysql::named_lock::{self, Lock};
use crate::mysql::schemas::Own;
use crate::mysql::{Client, Connection, DumpChild, Role, ServerConfig, ServerVersion, connect};
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};
use crate::util::format::some_of;

/// The beginning of the error if DDL ran during the dump.
pub(super) const SCHEMA_CHANGED: &str = "schema changed during the dump";

/// What to do about it.
pub(super) const RETRY_WITHOUT_DDL: &str = "retry when no DDL runs, set backup.ddl: block, or list tables that are created and \
     dropped regularly in backup.ignore_ddl_on";

/// The server, with the lock that keeps other backups of the target out.
#[derive(Debug)]
pub struct Source {
    /// Address and account; other connections than `connection` are opened with it.
    pub(super) config: ServerConfig,
    /// The lock is named after the target.
    target: TargetName,
    pub(super) options: SourceOptions,
    /// Holds the lock of the target, and runs all queries but those that change the session.
    pub(super) connection: Connection,
    /// Blocks DDL, if the options ask for it.
    ddl_lock: Option<DdlLock>,
    pub(super) version: ServerVersion,
    pub(super) own: Own,
    pub(super) client: Client,
    pub(super) identity: Identity,
    /// Whether a dump failed because the server refused it the global read lock, which the
    /// coordinates need.
    pub(super) lock_refused: bool,
}

/// Connects and returns the identity of a server ([`facts::identity`]).
pub async fn identity(config: &ServerConfig) -> Result<String> {
    let mut connection = connect(config).await?;
    let version = connection.version().await?;
    let identity = facts::identity(&mut connection, &version).await?;
    connection.close().await;
    Ok(identity.id)
}

impl Source {
    /// Connects and takes the lock of the target.
    ///
    /// # Errors
    ///
    /// `Outcome::Locked` (exit 11) if another run holds the lock.
    pub async fn connect(
        config: &ServerConfig,
        target: &TargetName,
        options: &SourceOptions,
    ) -> Result<Source> {
        let mut source = Source::connect_unlocked(config, target, options).await?;
        named_lock::take(&mut source.connection, Lock::Backup, target).await?;
        Ok(source)
    }

    /// Connects without the lock of the target, so that an inspection never blocks a backup.
    pub async fn connect_unlocked(
        config: &ServerConfig,
        target: &TargetName,
        options: &SourceOptions,
    ) -> Result<Source> {
        let mut connection = connect(config).await?;
        let version = connection.version().await?;
        let own = Own::of(&mut connection, &version).await?;
        options.scope.check(&own)?;
        let client = Client::for_server(config, &connection, &version).await?;
        let identity = facts::identity(&mut connection, &version).await?;
        Ok(Source {
            config: config.clone(),
            target: target.clone(),
            options: options.clone(),
            connection,
            ddl_lock: None,
            version,
            own,
            client,
            identity,
            lock_refused: false,
        })
    }

    /// The server's identity; see [`facts::identity`].
    pub fn identity(&self) -> &str {
        &self.identity.id
    }

    /// The client programs that fit the server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Blocks DDL until [`Source::verify_unchanged`], if the options ask for it.
    pub(super) async fn block_ddl(&mut self) -> Result<()> {
        if self.options.ddl == Ddl::Block && self.ddl_lock.is_none() {
            let connection = connect(&self.config).await?;
            self.ddl_lock = Some(DdlLock::take(connection, &self.version).await?);
        }
        Ok(())
    }

    /// Whether a dump failed only because it was refused the global read lock, and the coordinates are
    /// optional: the next preflight then plans a dump without coordinates. Hosted servers refuse the lock
    /// even to accounts with RELOAD, so only the dump itself finds out.
    pub fn gives_up_coordinates(&mut self, failed: &Error) -> bool {
        let gives_up =
            !self.lock_refused && self.options.coordinates == Want::Auto && is_lock_refused(failed);
        self.lock_refused |= gives_up;
        gives_up
    }

    /// Whether a backup without coordinates is refused.
    pub(super) fn requires_coordinates(&self) -> bool {
        self.options.coordinates == Want::Require
    }

    /// Starts the dump program, and inserts the missing `line_ends` into its output.
    pub fn dump(&self, plan: &DumpPlan, line_ends: &LineEnds) -> Result<Dump> {
        let arguments = plan.arguments(&self.client)?;
        let child = DumpChild::spawn(&self.client, arguments)?;
        Ok(Dump::of(child.with(line_ends)))
    }

    /// The GTIDs that a MySQL server had executed at the position `at` of a snapshot; to be called as soon as
    /// the dump names the position. `None` on MariaDB, whose dumps contain the GTIDs.
    ///
    /// # Errors
    ///
    /// The reason why the set is unknown; the backup then does without it.
    pub async fn gtid(&self, at: &Coordinates) -> Result<Option<String>> {
        const TIMEOUT: Duration = Duration::from_secs(10);
        if self.version.is_mariadb() {
            return Ok(None);
        }
        let query = async {
            let mut connection = connect(&self.config).await?;
            let set = gtid::executed(&mut connection, at).await;
            connection.close().await;
            set
        };
        let in_time = tokio::time::timeout(TIMEOUT, query).await;
        in_time.unwrap_or_else(|_| Err(gtid::unknown("no answer in time")))
    }

    /// Verifies after a complete dump that no object changed since the inventory `before`, and that the dump
    /// contains (`seen`) all objects that existed throughout. Allows DDL again.
    ///
    /// # Errors
    ///
    /// Retryable if an object changed; not if an object is missing from the dump, since the cause is unknown.
    pub async fn verify_unchanged(
        &mut self,
        before: &Inventory,
        seen: &BTreeSet<ObjectId>,
    ) -> Result<()> {
        named_lock::still_held(&mut self.connection, Lock::Backup, &self.target).await?;
        let scope = &self.options.scope;
        let after = Inventory::take(&mut self.connection, &self.version, &self.own, scope).await?;
        if let Some(lock) = self.ddl_lock.take() {
            lock.release().await?;
        }
        let drift = before.drift(&after, &self.options.ignore_ddl_on);
        if !drift.is_empty() {
            return Err(error_naming(SCHEMA_CHANGED, &drift)
                .hint(RETRY_WITHOUT_DDL)
                .retryable());
        }
        let missing = before.missing_from(&after, seen);
        if !missing.is_empty() {
            return Err(error_naming("objects are missing from the dump", &missing)
                .hint("this is a bug; please report it with the log; nothing was committed"));
        }
        Ok(())
    }

    /// CREATE USER and GRANT statements of all accounts, which the preflight found readable. If the account
    /// has lost a privilege since, a warning instead, provided that accounts are optional.
    pub async fn accounts(&mut self) -> Result<(Option<Vec<u8>>, Option<String>)> {
        match accounts::sql(&mut self.connection, &self.version).await {
            Ok(sql) => Ok((Some(sql), None)),
            Err(error) if is_denied(&error) && self.options.accounts == Want::Auto => {
                Ok((None, Some(accounts::without(&error))))
            }
            Err(error) => Err(error),
        }
    }

    /// Releases the locks and closes the connection.
    pub async fn close(mut self) {
        if let Some(lock) = self.ddl_lock.take() {
            // The result no longer matters, and closing the connection releases the lock, too.
            let _ = lock.release().await;
        }
        named_lock::release(&mut self.connection, Lock::Backup, &self.target).await;
        self.connection.close().await;
    }
}

/// A source error that names the first few of a list.
fn error_naming<T: std::fmt::Display>(what: &str, list: &[T]) -> Error {
    Role::Source.error(format!("{what}: {}", some_of(list)))
}
