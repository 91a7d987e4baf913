//! The server that is backed up: what it is, what it holds, and how it is dumped.
//!
//! [`Source`] is one run's hold on it: lock → preflight → dump → settle. Its parts:
//!
//! - [`scope`]: which schemas a backup covers.
//! - [`grants`]: what the account may see, and what it is missing.
//! - [`inventory`]: what exists; [`moved`]: what moved while it was dumped.
//! - [`replica`]: how current the server is.
//! - [`facts`]: its identity, the variables that a restore depends on, lossy columns; `computed`: under which
//!   settings tables hold what they compute.
//! - [`preflight`]: all that is asked and refused before a dump.
//! - [`lock`]: one backup at a time, and no DDL under it.
//! - [`dump`]: the dump programs' arguments, and the running dump.
//! - [`coordinates`]: the snapshot's place in the binary log.
//! - `gtid`: the GTIDs of that place, which MySQL's program does not tell.
//! - [`accounts`]: CREATE USER and GRANT beside the dump; `account_text`: what is changed in the server's
//!   words; `account_losses`: what they do not say.
//! - `definitions`: a hash of each table's definition.
//! - `definers`: accounts that objects name and the server lacks.
//! - `order`: in which order the schemas are dumped.
//! - `undumpable`: what the dump program cannot dump, or nobody read back.
//! - `unkept`: what is not there after a restore unless somebody does something.

mod account_losses;
mod account_text;
pub mod accounts;
pub mod computed;
mod coordinates;
mod definers;
mod definitions;
pub mod dump;
pub mod facts;
mod filename_codes;
pub mod grants;
mod gtid;
mod innodb_name;
pub mod inventory;
pub mod lock;
pub mod moved;
mod order;
pub mod preflight;
#[cfg(test)]
mod recorded;
pub mod replica;
pub mod scope;
mod spatial;
mod undumpable;
mod unkept;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

pub use dump::Dump;
pub use preflight::Preflight;

use crate::archive::manifest::Coordinates;
use crate::error::{Error, Result};
use crate::server::connect::is_denied;
use crate::server::dump_child::is_lock_refused;
use crate::server::schemas::Own;
use crate::server::{Client, Connection, DumpChild, Role, ServerConfig, ServerVersion, connect};
use crate::source::inventory::Inventory;
use crate::source::lock::DdlLock;
use crate::source::scope::Scope;
use crate::sql::statement::ObjectId;
use crate::store::keys::TargetName;

/// How the source is backed up.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Which schemas.
    pub scope: Scope,
    /// Tables, as `schema.table` with `%` for any run of characters, whose coming and going does
    /// not fail a backup.
    pub churn: Vec<String>,
    /// Whether the snapshot's place in the binary log is taken.
    pub coordinates: Want,
    /// Whether accounts are taken.
    pub accounts: Want,
    /// What is done about DDL under the dump.
    pub ddl: Ddl,
    /// What is done about tables whose rows a snapshot cannot hold still.
    pub non_transactional: NonTransactional,
    /// How far behind a replica may be.
    pub max_lag: Duration,
}

impl Default for SourceOptions {
    fn default() -> Self {
        SourceOptions {
            scope: Scope::default(),
            churn: Vec::new(),
            coordinates: Want::default(),
            accounts: Want::default(),
            ddl: Ddl::default(),
            non_transactional: NonTransactional::default(),
            max_lag: Duration::from_secs(300),
        }
    }
}

/// Whether something that needs more privileges is taken along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// Where that is possible; else the backup has a warning.
    #[default]
    Auto,
    /// A backup without it is refused.
    Require,
    /// Never.
    Off,
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

/// The server, held for the length of one backup.
#[derive(Debug)]
pub struct Source {
    /// How it is reached; the lock on DDL has a connection of its own.
    config: ServerConfig,
    /// The target's name, which names the lock.
    target: TargetName,
    /// How it is backed up.
    options: SourceOptions,
    /// Holds the target's lock and answers everything.
    connection: Connection,
    /// Holds DDL back, where that is the policy.
    ddl: Option<DdlLock>,
    /// What the server is.
    version: ServerVersion,
    /// Which schemas are its own.
    own: Own,
    /// The client that fits it.
    client: Client,
    /// Who the server is, and whether an emptied one would be another.
    identity: (String, bool),
    /// Whether a dump was refused the global read lock, by which it takes coordinates.
    lock_refused: bool,
}

/// Who a server is, for those who need nothing else of it: see [`facts::identity`].
pub async fn identity(config: &ServerConfig) -> Result<String> {
    let mut connection = connect(config).await?;
    let version = connection.version().await?;
    let (identity, _) = facts::identity(&mut connection, &version).await?;
    connection.close().await;
    Ok(identity)
}

impl Source {
    /// Connects, and holds the target's lock from here to the end: `Outcome::Held` (exit 11) where
    /// another run has it.
    pub async fn connect(
        config: &ServerConfig,
        target: &TargetName,
        options: &SourceOptions,
    ) -> Result<Source> {
        let mut source = Source::look(config, target, options).await?;
        lock::take(&mut source.connection, target).await?;
        Ok(source)
    }

    /// Connects without the target's lock, so that a look never keeps a backup from running.
    pub async fn look(
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
            ddl: None,
            version,
            own,
            client,
            identity,
            lock_refused: false,
        })
    }

    /// Who the server is; see [`facts::identity`].
    pub fn identity(&self) -> &str {
        &self.identity.0
    }

    /// The client that dumps.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Everything that must hold before a dump is worth beginning. Where DDL is to be held back,
    /// it is from here until [`Source::settle`].
    pub async fn preflight(&mut self) -> Result<Preflight> {
        if self.options.ddl == Ddl::Block && self.ddl.is_none() {
            let connection = connect(&self.config).await?;
            self.ddl = Some(DdlLock::take(connection, &self.version).await?);
        }
        preflight::run(self, &mut Err).await
    }

    /// All that [`Source::preflight`] asks, past every reason to refuse, and without any lock.
    pub async fn examine(&mut self) -> Result<Examination> {
        let mut faults = Vec::new();
        let looked = preflight::run(self, &mut |fault| {
            faults.push(fault);
            Ok(())
        })
        .await?;
        let definers = definers::missing(&mut self.connection, &looked.schemas).await?;
        Ok(Examination {
            faults,
            warnings: looked.warnings,
            lossy: looked.lossy,
            definers,
            schemas: looked.schemas.len(),
            objects: looked.inventory.objects.len(),
        })
    }

    /// Whether a dump failed of the global read lock alone, and coordinates are not required: the next
    /// preflight plans without them. Hosted servers refuse the lock to accounts that hold RELOAD, so it is
    /// found out no earlier.
    pub fn gives_up_coordinates(&mut self, failed: &Error) -> bool {
        let news = !self.lock_refused && self.options.coordinates == Want::Auto;
        let gives_up = news && is_lock_refused(failed);
        self.lock_refused |= gives_up;
        gives_up
    }

    /// Starts the dump; one stream for now.
    pub fn dump(&self, preflight: &Preflight) -> Result<Dump> {
        let arguments = preflight.plan.arguments(&self.client)?;
        let child = DumpChild::spawn(&self.client, arguments)?;
        Ok(Dump::of(child.with(&preflight.line_ends)))
    }

    /// The GTIDs that a MySQL server had executed at the place that its dump names; to be asked as soon
    /// as it does. MariaDB's dumps name them themselves. What cannot be known in a moment, the error
    /// says, and a backup does without.
    pub async fn gtid(&self, at: &Coordinates) -> Result<Option<String>> {
        const MOMENT: Duration = Duration::from_secs(10);
        if self.version.is_mariadb() {
            return Ok(None);
        }
        let asked = async {
            let mut connection = connect(&self.config).await?;
            let set = gtid::executed(&mut connection, at).await;
            connection.close().await;
            set
        };
        let in_time = tokio::time::timeout(MOMENT, asked).await;
        in_time.unwrap_or_else(|_| Err(gtid::unknown("no answer in time")))
    }

    /// The options of the dump, for the manifest: no secret, no schemas.
    pub fn dump_options(&self, preflight: &Preflight) -> Result<Vec<String>> {
        preflight.plan.options(&self.client)
    }

    /// Judges a dump that ended well: whether anything moved under it (a passing failure: the same
    /// again may succeed), and whether all that existed throughout was `seen` in it (which is not:
    /// nobody would know why). Lets DDL go on.
    pub async fn settle(&mut self, before: &Preflight, seen: &BTreeSet<ObjectId>) -> Result<()> {
        lock::still_held(&mut self.connection, &self.target).await?;
        let scope = &self.options.scope;
        let after = Inventory::take(&mut self.connection, &self.version, &self.own, scope).await?;
        if let Some(ddl) = self.ddl.take() {
            ddl.release().await?;
        }
        let moved = before.inventory.diff(&after, &self.options.churn);
        if !moved.is_empty() {
            return Err(too_many("objects moved under the dump", &moved)
                .hint("try again when no DDL runs, set backup.ddl: block, or name tables that come and go in backup.churn")
                .passing());
        }
        let missing = before.inventory.missing_from(&after, seen);
        match missing.is_empty() {
            true => Ok(()),
            false => Err(too_many("the dump lacks what exists", &missing)
                .hint("report it with the log; nothing was committed")),
        }
    }

    /// CREATE USER and GRANT of all accounts, where the preflight found that they can be read; where
    /// that changed meanwhile, the preflight gets a warning.
    pub async fn accounts(&mut self, preflight: &mut Preflight) -> Result<Option<Vec<u8>>> {
        if !preflight.accounts {
            return Ok(None);
        }
        match accounts::sql(&mut self.connection, &self.version).await {
            Ok(sql) => Ok(Some(sql)),
            Err(error) if is_denied(&error) && self.options.accounts == Want::Auto => {
                preflight.warnings.push(accounts::without(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets go of the server.
    pub async fn close(mut self) {
        if let Some(ddl) = self.ddl.take() {
            // Nothing hangs on it any more: the connection's end releases it too.
            let _ = ddl.release().await;
        }
        lock::release(&mut self.connection, &self.target).await;
        self.connection.close().await;
    }
}

/// What a look at the source found; nothing to dump by.
#[derive(Debug)]
pub struct Examination {
    /// Every reason for which a backup would be refused.
    pub faults: Vec<Error>,
    /// What a backup would warn of.
    pub warnings: Vec<String>,
    /// Columns whose values do not survive being dumped, a line each.
    pub lossy: Vec<String>,
    /// Definers that the server lacks, as `user@host`; empty where accounts cannot be read.
    pub definers: Vec<String>,
    /// How many schemas are in scope.
    pub schemas: usize,
    /// How many objects they have, as far as the account may see.
    pub objects: usize,
}

/// A source error that names the first few of a list.
fn too_many<T: std::fmt::Display>(what: &str, list: &[T]) -> Error {
    const SHOWN: usize = 5;
    let shown: Vec<String> = list.iter().take(SHOWN).map(T::to_string).collect();
    let more = match list.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Role::Source.error(format!("{what}: {}{more}", shown.join(", ")))
}
