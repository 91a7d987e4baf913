//! Everything that is asked, and refused, before a dump begins.
//!
//! The order matters: what the account may see comes first, since every later answer is only as
//! complete as its grants.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::grants::Grants;
use super::inventory::Inventory;
use super::replica::{self, Replication};
use super::scope::{MARKER_SCHEMA, Scope};
use super::{Coordinates, SourceConfig, dump::DumpPlan, facts};
use crate::archive::index::InventoryRecord;
use crate::archive::manifest::ServerFacts;
use crate::server::connect::is_denied;
use crate::server::{Client, Connection, ServerVersion};
use crate::sql::statement::ObjectId;
use crate::{Error, Result};

/// What is known when the dump begins.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// What the server is.
    pub server: ServerVersion,
    /// What tells this server from one that took its place; see [`facts::identity`].
    pub identity: String,
    /// The variables that a restore depends on.
    pub fingerprint: BTreeMap<String, String>,
    /// When the data are as the dump will show them, or a little before.
    pub snapshot_at: Timestamp,
    /// The schemas that are dumped, sorted.
    pub schemas: Vec<String>,
    /// What exists in them.
    pub inventory: Inventory,
    /// What the account holds.
    pub grants: Grants,
    /// What the dump is asked for.
    pub plan: DumpPlan,
    /// Columns whose values do not survive being dumped, a line each.
    pub lossy: Vec<String>,
    /// What a person should know, a line each.
    pub warnings: Vec<String>,
}

impl Preflight {
    /// Data and indexes of what is dumped, bytes, as the server estimates them: a scale for
    /// progress.
    pub fn expected_bytes(&self) -> u64 {
        self.inventory.total_bytes().0
    }

    /// The inventory for the archive's index.
    pub fn inventory_records(&self) -> Vec<InventoryRecord> {
        let record = |object: &ObjectId| {
            let table = self.inventory.tables.get(object);
            InventoryRecord {
                object: object.clone(),
                engine: table.map(|t| t.engine.clone()),
                bytes: table.map_or(0, |t| t.data_bytes + t.index_bytes),
            }
        };
        self.inventory.objects.keys().map(record).collect()
    }

    /// The server, for the manifest.
    pub fn server_facts(&self) -> ServerFacts {
        let (data, indexes) = self.inventory.total_bytes();
        ServerFacts {
            flavour: self.server.flavour.to_string().to_lowercase(),
            version: self.server.text.clone(),
            identity: self.identity.clone(),
            fingerprint: self.fingerprint.clone(),
            bytes: data + indexes,
        }
    }
}

/// Asks the server everything, and refuses what would make a backup that lies.
///
/// `snapshot_at` is read last, just before the dump.
pub async fn run(
    connection: &mut Connection,
    client: &Client,
    server: &ServerVersion,
    config: &SourceConfig,
) -> Result<Preflight> {
    config.scope.check()?;
    refuse_marker(connection).await?;
    let mut warnings = Vec::new();

    let grants = Grants::read(connection, server).await?;
    // Without these, even the list of schemas would lie.
    refuse_missing(&grants, server, &config.scope, &[])?;
    let replication = replica::replication(connection, server).await?;
    let read_only: bool = connection.one("SELECT @@global.read_only").await?;
    replication.check(config.max_lag, read_only)?;

    let inventory = inventory(connection, server, &config.scope).await?;
    let schemas = inventory.schema_names();
    refuse_missing(&grants, server, &config.scope, &schemas)?;
    refuse_invalid_views(&inventory)?;
    warnings.extend(engines(connection, config, &inventory).await?);
    if !inventory.table_ids && !config.block_ddl() {
        warnings.push(
            "two tables exchanged by RENAME during the dump may go unnoticed: \
             grant PROCESS on *.*, or set backup.ddl: block"
                .into(),
        );
    }

    let versioned = inventory.tables.values().any(|table| table.versioned);
    let history = versioned && client.knows("dump-history");
    if versioned && !history {
        warnings.push(
            "the history of system-versioned tables is left out: this client has no --dump-history"
                .into(),
        );
    }
    let (coordinates, warning) = coordinates(connection, server, config, &grants, client).await?;
    warnings.extend(warning);
    warnings.extend(patience(connection, client).await?);
    let lossy = facts::lossy_columns(connection, &schemas).await?;
    let (identity, reliable) = facts::identity(connection, server).await?;
    if !reliable {
        warnings.push(
            "an emptied server could not be told from this one: grant SELECT on mysql.proc".into(),
        );
    }
    let fingerprint = facts::fingerprint(connection).await?;
    let snapshot_at = replica::snapshot_time(connection, server, &replication).await?;
    warnings.extend(clocks(replica::clock(connection).await?, Timestamp::now()));
    Ok(Preflight {
        server: server.clone(),
        identity,
        fingerprint,
        snapshot_at,
        plan: DumpPlan {
            schemas: schemas.clone(),
            coordinates,
            history,
        },
        schemas,
        inventory,
        grants,
        lossy,
        warnings,
    })
}

async fn refuse_marker(connection: &mut Connection) -> Result<()> {
    let marker: Option<String> = connection
        .row(&format!(
            "SELECT schema_name FROM information_schema.schemata WHERE schema_name = '{MARKER_SCHEMA}'"
        ))
        .await?;
    match marker {
        None => Ok(()),
        Some(_) => Err(Error::refused(format!(
            "the server carries the schema {MARKER_SCHEMA}: a restore into it is not finished"
        ))
        .hint("finish it by the same drctl restore, or give it up by drctl restore --discard")),
    }
}

fn refuse_missing(
    grants: &Grants,
    server: &ServerVersion,
    scope: &Scope,
    schemas: &[String],
) -> Result<()> {
    match grants.refusal(&grants.missing(server, scope, schemas)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The inventory; taken again where InnoDB knows more, since a table may have come between.
async fn inventory(
    connection: &mut Connection,
    server: &ServerVersion,
    scope: &Scope,
) -> Result<Inventory> {
    let mut taken = Inventory::take(connection, server, scope).await?;
    if !taken.hidden.is_empty() {
        taken = Inventory::take(connection, server, scope).await?;
    }
    match taken.hidden.first() {
        None => Ok(taken),
        Some(first) => Err(connection
            .role()
            .error(format!(
                "InnoDB knows {} table(s) that the server does not show, like {first}",
                taken.hidden.len()
            ))
            .hint("look for tables without a definition in the server's log, and drop them")),
    }
}

fn refuse_invalid_views(inventory: &Inventory) -> Result<()> {
    match inventory.invalid_views.as_slice() {
        [] => Ok(()),
        views => Err(Error::source(format!(
            "{} view(s) cannot be dumped, since what they refer to is gone or denied, like {}",
            views.len(),
            views[0]
        ))
        .hint("repair or drop them")),
    }
}

/// Refuses, or warns of, tables whose rows the snapshot cannot hold still.
async fn engines(
    connection: &mut Connection,
    config: &SourceConfig,
    inventory: &Inventory,
) -> Result<Option<String>> {
    let transactional: Vec<String> = connection
        .rows("SELECT engine FROM information_schema.engines WHERE transactions = 'YES'")
        .await?;
    let loose: Vec<&ObjectId> = inventory
        .tables
        .iter()
        .filter(|(_, facts)| {
            // A black hole holds no rows that could move.
            !facts.engine.eq_ignore_ascii_case("BLACKHOLE")
                && !transactional
                    .iter()
                    .any(|e| e.eq_ignore_ascii_case(&facts.engine))
        })
        .map(|(table, _)| table)
        .collect();
    let Some(first) = loose.first() else {
        return Ok(None);
    };
    let engine = &inventory.tables[*first].engine;
    let what = format!(
        "{} table(s) are not transactional and may change under the dump, like {first} ({engine})",
        loose.len()
    );
    match config.non_transactional {
        super::NonTransactional::Allow => Ok(Some(what)),
        super::NonTransactional::Refuse => Err(Error::refused(what)
            .hint("convert them to InnoDB, leave their schema out, or set backup.non_transactional: allow")),
    }
}

/// Whether the dump takes the binary log's coordinates, and what to say where it does not.
async fn coordinates(
    connection: &mut Connection,
    server: &ServerVersion,
    config: &SourceConfig,
    grants: &Grants,
    client: &Client,
) -> Result<(bool, Option<String>)> {
    if config.coordinates == Coordinates::Off {
        return Ok((false, None));
    }
    let log_bin: bool = connection.one("SELECT @@global.log_bin").await?;
    let any = |names: &[&str]| names.iter().any(|name| grants.has_globally(name));
    let obstacle = if !log_bin {
        Some("the server writes no binary log".to_owned())
    } else if server.is_mariadb() {
        // The snapshot knows its own place there; neither a lock nor a privilege is needed.
        None
    } else if !any(&["REPLICATION CLIENT", "SUPER"]) {
        Some("the account lacks REPLICATION CLIENT".to_owned())
    } else if !any(&["RELOAD", "FLUSH_TABLES"]) {
        Some("the account lacks RELOAD (or FLUSH_TABLES), for the global read lock".to_owned())
    } else if !client.knows("init-command") && config.coordinates == Coordinates::Auto {
        Some("this client cannot bound its wait for the global read lock".to_owned())
    } else {
        long_query(connection).await?
    };
    match (obstacle, config.coordinates) {
        (None, _) => Ok((true, None)),
        (Some(why), Coordinates::Require) => Err(Error::refused(format!(
            "the binary log's coordinates cannot be taken: {why}"
        ))
        .hint("provide it, or set backup.coordinates: auto")),
        (Some(why), _) => Ok((
            false,
            Some(format!("without the binary log's coordinates: {why}")),
        )),
    }
}

/// The global read lock waits for running statements, and every writer then waits behind it.
async fn long_query(connection: &mut Connection) -> Result<Option<String>> {
    const LONG_SECONDS: u32 = 30;
    let longest: Option<(u64, i64)> = connection
        .row(&format!(
            "SELECT id, time FROM information_schema.processlist WHERE command = 'Query' \
             AND time > {LONG_SECONDS} AND id <> CONNECTION_ID() ORDER BY time DESC LIMIT 1"
        ))
        .await?;
    Ok(longest.map(|(id, seconds)| {
        format!(
            "connection {id} has been running a statement for {seconds} s, and the global read lock \
             would stall every writer behind it"
        )
    }))
}

/// A store that stalls for longer than the server waits for its reader costs the dump.
async fn patience(connection: &mut Connection, client: &Client) -> Result<Option<String>> {
    const ENOUGH_SECONDS: u64 = 600;
    if client.knows("network-timeout") || client.knows("init-command") {
        return Ok(None);
    }
    let seconds: u64 = connection.one("SELECT @@global.net_write_timeout").await?;
    Ok((seconds < ENOUGH_SECONDS).then(|| {
        format!(
            "a store that stalls for {seconds} s ends the dump: SET GLOBAL net_write_timeout = {ENOUGH_SECONDS}"
        )
    }))
}

/// Clocks that disagree make every age and every objective wrong.
fn clocks(server: Timestamp, here: Timestamp) -> Option<String> {
    const APART: Duration = Duration::from_secs(120);
    let apart = server.duration_since(here).unsigned_abs();
    (apart > APART).then(|| {
        format!(
            "the server's clock and this host's are {} s apart",
            apart.as_secs()
        )
    })
}

/// The accounts as SQL, by policy: `None` with a warning where they may not be read.
pub async fn accounts(
    connection: &mut Connection,
    server: &ServerVersion,
    policy: super::Accounts,
) -> Result<(Option<Vec<u8>>, Option<String>)> {
    use super::Accounts;
    if policy == Accounts::Off {
        return Ok((None, None));
    }
    match super::accounts::sql(connection, server).await {
        Ok(sql) => Ok((Some(sql), None)),
        Err(error) if is_denied(&error) && policy == Accounts::Auto => Ok((
            None,
            Some("without accounts: grant SELECT on mysql.*, or set backup.accounts: off".into()),
        )),
        Err(error) if is_denied(&error) => {
            Err(error.hint("grant SELECT on mysql.*, or set backup.accounts: auto"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_disagree_are_worth_a_warning() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-21T02:02:01Z".parse().unwrap();
        assert_eq!(clocks(now, now), None);
        for (server, here) in [(now, later), (later, now)] {
            let warning = clocks(server, here).unwrap();
            assert!(warning.contains("121 s"), "{warning}");
        }
    }
}
