//! The server that is backed up: what it is, what it holds, and how it is dumped.
//!
//! - [`scope`]: which schemas a backup covers.
//! - [`grants`]: what the account may see, and what it is missing.
//! - [`inventory`]: what exists, and what moved while it was dumped.

pub mod dump;
pub mod grants;
pub mod inventory;
pub mod scope;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::archive::index::InventoryRecord;
use crate::archive::manifest::{Coordinates, ServerFacts};
use crate::error::{Error, Result};
use crate::server::{Client, Connection, DumpChild, Role, ServerConfig, ServerVersion, connect};
use crate::source::dump::DumpPlan;
use crate::source::grants::Grants;
use crate::source::inventory::Inventory;
use crate::source::scope::Scope;
use crate::sql::statement::ObjectId;
use crate::store::keys::TargetName;

/// How the source is backed up.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// Which schemas.
    pub scope: Scope,
    /// Tables whose coming and going does not fail a backup.
    pub churn: Vec<String>,
}

/// The server, held for the length of one backup.
#[derive(Debug)]
pub struct Source {
    connection: Connection,
    version: ServerVersion,
    client: Client,
    identity: String,
    options: SourceOptions,
}

/// What is known before the dump begins.
#[derive(Debug)]
pub struct Preflight {
    /// The server's clock before the snapshot.
    pub snapshot_at: Timestamp,
    /// The server's identity.
    pub identity: String,
    /// The schemas that are dumped.
    pub schemas: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Columns that mysqldump cannot carry exactly.
    pub lossy: Vec<String>,
    /// The place in the binary log.
    pub coordinates: Option<Coordinates>,
    version: ServerVersion,
    inventory: Inventory,
    plan: DumpPlan,
}

impl Source {
    /// Connects, and holds the target's lock from here to the end.
    pub async fn connect(
        config: &ServerConfig,
        target: &TargetName,
        options: &SourceOptions,
    ) -> Result<Source> {
        let mut connection = connect(config).await?;
        let (version, comment): (String, String) = connection
            .one("SELECT @@version, @@version_comment")
            .await?;
        let version = ServerVersion::parse(&version, &comment).ok_or_else(|| {
            Error::source(format!(
                "the server's version {version:?} is not understood"
            ))
        })?;
        let held: Option<i64> = connection
            .one(&format!("SELECT GET_LOCK('drctl.{target}', 0)"))
            .await?;
        if held != Some(1) {
            return Err(Error::held(format!(
                "another backup of {target} is running"
            )));
        }
        let client = Client::for_server(config, &connection, &version).await?;
        Ok(Source {
            connection,
            version,
            client,
            identity: "later".into(),
            options: options.clone(),
        })
    }

    /// Who the server is.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The client that dumps.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Everything that must hold before a dump is worth beginning.
    pub async fn preflight(&mut self) -> Result<Preflight> {
        let seconds: f64 = self
            .connection
            .one("SELECT UNIX_TIMESTAMP(NOW(6)) + 0e0")
            .await?;
        let inventory =
            Inventory::take(&mut self.connection, &self.version, &self.options.scope).await?;
        let grants = Grants::read(&mut self.connection, &self.version).await?;
        let schemas = inventory.schema_names();
        let missing = grants.missing(&self.version, &self.options.scope, &schemas);
        if let Some(refusal) = grants.refusal(&missing) {
            return Err(refusal);
        }
        Ok(Preflight {
            snapshot_at: Timestamp::from_microsecond((seconds * 1e6) as i64)
                .map_err(|e| Error::source("the server's clock is out of range").because(e))?,
            identity: self.identity.clone(),
            plan: DumpPlan {
                schemas: schemas.clone(),
                coordinates: false,
                history: false,
            },
            schemas,
            warnings: Vec::new(),
            lossy: Vec::new(),
            coordinates: None,
            version: self.version.clone(),
            inventory,
        })
    }

    /// Starts the dump.
    pub fn dump(&self, preflight: &Preflight) -> Result<DumpChild> {
        let mut children = preflight.plan.spawn(&self.client)?;
        children
            .pop()
            .ok_or_else(|| Error::unexpected("no dump was started"))
    }

    /// The options of the dump, for the manifest.
    pub fn dump_options(&self, preflight: &Preflight) -> Result<Vec<String>> {
        let mut streams = preflight.plan.streams(&self.client)?;
        Ok(streams.pop().unwrap_or_default())
    }

    /// After the dump: what moved under it, and whether it holds all that was there throughout.
    pub async fn settle(&mut self, before: &Preflight, seen: &BTreeSet<ObjectId>) -> Result<()> {
        let after =
            Inventory::take(&mut self.connection, &self.version, &self.options.scope).await?;
        let moved = before.inventory.diff(&after, &self.options.churn);
        if !moved.is_empty() {
            let list: Vec<String> = moved.iter().map(ToString::to_string).collect();
            return Err(
                inventory::incomplete(Role::Source, "DDL during the dump", &list).passing(),
            );
        }
        let missing = before.inventory.missing_from(&after, seen);
        if !missing.is_empty() {
            let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
            return Err(inventory::incomplete(Role::Source, "the dump lacks", &list));
        }
        Ok(())
    }

    /// CREATE USER and GRANT of all accounts.
    pub async fn accounts(&mut self, _: &Preflight) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Lets go of the server.
    pub async fn close(self) {
        self.connection.close().await;
    }
}

impl Preflight {
    /// About how many bytes of SQL the dump will have.
    pub fn expected_bytes(&self) -> u64 {
        self.inventory.total_bytes().0
    }

    /// The inventory as the index keeps it.
    pub fn inventory_records(&self) -> Vec<InventoryRecord> {
        let record = |object: &ObjectId| {
            let facts = self.inventory.tables.get(object);
            InventoryRecord {
                object: object.clone(),
                engine: facts.map(|facts| facts.engine.clone()),
                bytes: facts.map_or(0, |facts| facts.data_bytes + facts.index_bytes),
            }
        };
        self.inventory.objects.keys().map(record).collect()
    }

    /// What the manifest says of the server.
    pub fn server_facts(&self) -> ServerFacts {
        let (data, index) = self.inventory.total_bytes();
        ServerFacts {
            flavour: self.version.flavour.to_string().to_lowercase(),
            version: self.version.to_string(),
            identity: self.identity.clone(),
            fingerprint: Default::default(),
            bytes: data + index,
        }
    }
}
