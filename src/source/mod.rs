//! The server that is backed up: what it is, what it holds, and how it is dumped.
//!
//! [`Source`] is one run's hold on it: lock → preflight → dump → settle. Its parts:
//!
//! - [`scope`]: which schemas a backup covers.
//! - [`grants`]: what the account may see, and what it is missing.
//! - [`inventory`]: what exists, and what moved while it was dumped.
//! - [`replica`]: how current the server is.
//! - [`facts`]: its identity, the variables that a restore depends on, lossy columns.
//! - [`preflight`]: all that is asked and refused before a dump.
//! - [`lock`]: one backup at a time, and no DDL under it.
//! - [`dump`]: the dump programs' arguments.
//! - [`accounts`]: CREATE USER and GRANT beside the dump.

pub mod accounts;
pub mod dump;
pub mod facts;
pub mod grants;
pub mod inventory;
pub mod lock;
pub mod preflight;
pub mod replica;
pub mod scope;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

pub use accounts::Accounts;
pub use dump::{Coordinates, DumpPlan};
pub use inventory::{Inventory, Moved};
pub use preflight::Preflight;
pub use scope::Scope;

use crate::server::{Client, Connection, DumpChild, ServerConfig, ServerVersion, connect};
use crate::sql::statement::ObjectId;
use crate::{Error, Result};

/// How a source is backed up.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// The server.
    pub server: ServerConfig,
    /// Which schemas.
    pub scope: Scope,
    /// Whether the binary log's coordinates are taken.
    pub coordinates: Coordinates,
    /// Whether accounts are taken.
    pub accounts: Accounts,
    /// What is done about DDL under the dump.
    pub ddl: Ddl,
    /// `schema.table` patterns (`%` is any run of characters) whose DDL fails no backup.
    pub churn: Vec<String>,
    /// What is done about tables whose rows a snapshot cannot hold still.
    pub non_transactional: NonTransactional,
    /// How far behind a replica may be.
    pub max_lag: Duration,
}

/// What is done about DDL under the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ddl {
    /// It is noticed, and the dump begun again.
    #[default]
    Detect,
    /// It waits until the dump is done.
    Block,
}

/// What is done about tables whose rows a snapshot cannot hold still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonTransactional {
    /// The backup is refused (exit 9).
    #[default]
    Refuse,
    /// The backup has a warning.
    Allow,
}

impl SourceConfig {
    fn block_ddl(&self) -> bool {
        self.ddl == Ddl::Block
    }
}

/// A source that one backup run holds.
#[derive(Debug)]
pub struct Source {
    /// How it is backed up.
    config: SourceConfig,
    /// The target's name, which names the lock.
    target: String,
    /// Holds the target's lock and answers everything.
    connection: Connection,
    /// Holds DDL back, where that was asked for.
    ddl: Option<lock::DdlLock>,
    /// What the server is.
    pub server: ServerVersion,
    /// The client that fits it.
    pub client: Client,
}

/// What became of a dump's claim to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// All that existed throughout was seen, and nothing moved.
    Whole,
    /// These moved under the dump: it must be begun again.
    Moved(Vec<Moved>),
}

impl Source {
    /// Connects, finds the client, and takes the target's lock: `Outcome::Held` (exit 11) where
    /// another run has it.
    pub async fn open(config: SourceConfig, target: &str) -> Result<Source> {
        config.scope.check()?;
        let mut connection = connect(&config.server).await?;
        let server = version(&mut connection).await?;
        lock::take(&mut connection, target).await?;
        let client = Client::for_server(&config.server, &connection, &server).await?;
        Ok(Source {
            config,
            target: target.to_owned(),
            connection,
            ddl: None,
            server,
            client,
        })
    }

    /// Asks and refuses everything that there is to ask and refuse before a dump; holds DDL back
    /// first, where that is the policy.
    pub async fn preflight(&mut self) -> Result<Preflight> {
        if self.config.block_ddl() && self.ddl.is_none() {
            let connection = connect(&self.config.server).await?;
            self.ddl = Some(lock::DdlLock::take(connection, &self.server).await?);
        }
        preflight::run(
            &mut self.connection,
            &self.client,
            &self.server,
            &self.config,
        )
        .await
    }

    /// Starts the dump; one stream for now.
    pub fn dump(&self, preflight: &Preflight) -> Result<DumpChild> {
        DumpChild::spawn(&self.client, preflight.plan.arguments(&self.client)?)
    }

    /// The dump's options, for the manifest: no secret, no schemas.
    pub fn dump_options(&self, preflight: &Preflight) -> Result<Vec<String>> {
        preflight.plan.options(&self.client)
    }

    /// Judges a dump that ended well: what moved under it, and whether all that existed throughout
    /// was `seen` in it. An object that was not is an error (exit 4): nobody knows why, so nothing
    /// is tried again.
    pub async fn settle(
        &mut self,
        preflight: &Preflight,
        seen: &BTreeSet<ObjectId>,
    ) -> Result<Settled> {
        lock::still_held(&mut self.connection, &self.target).await?;
        if let Some(ddl) = &mut self.ddl {
            ddl.still_held().await?;
        }
        let scope = &self.config.scope;
        let after = Inventory::take(&mut self.connection, &self.server, scope).await?;
        let moved = preflight.inventory.diff(&after, &self.config.churn);
        if !moved.is_empty() {
            return Ok(Settled::Moved(moved));
        }
        let missing = preflight.inventory.missing_from(&after, seen);
        match missing.first() {
            None => Ok(Settled::Whole),
            Some(first) => Err(Error::source(format!(
                "{} object(s) of the server are not in its dump, like {first}",
                missing.len()
            ))
            .hint("report it with the log; nothing was committed")),
        }
    }

    /// The accounts as SQL, or why there are none, by policy.
    pub async fn accounts(&mut self) -> Result<(Option<Vec<u8>>, Option<String>)> {
        preflight::accounts(&mut self.connection, &self.server, self.config.accounts).await
    }

    /// Lets DDL go on: when the dump's bytes have all been read.
    pub async fn release_ddl(&mut self) {
        if let Some(ddl) = self.ddl.take() {
            ddl.release().await;
        }
    }

    /// Lets everything go, the target's lock last.
    pub async fn close(mut self) {
        self.release_ddl().await;
        self.connection.close().await;
    }
}

/// What the server at the other end is.
pub async fn version(connection: &mut Connection) -> Result<ServerVersion> {
    let (version, comment): (String, String) = connection
        .one("SELECT @@version, @@version_comment")
        .await?;
    ServerVersion::parse(&version, &comment).ok_or_else(|| {
        connection
            .role()
            .error(format!(
                "the server's version {version:?} is not understood"
            ))
            .hint("drctl knows MySQL and MariaDB")
    })
}
