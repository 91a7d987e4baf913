//! Everything that is asked, and refused, before a dump begins.
//!
//! The order matters: what the account may see comes first, since every later answer is only as
//! complete as its grants.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::account_losses;
use super::accounts;
use super::computed;
use super::grants::Grants;
use super::inventory::Inventory;
use super::order;
use super::replica;
use super::scope::Scope;
use super::spatial;
use super::{Ddl, NonTransactional, Source, SourceOptions, Want, dump::DumpPlan, facts};
use super::{undumpable, unkept};
use crate::archive::index::InventoryRecord;
use crate::archive::manifest::{Coordinates, ServerFacts};
use crate::server::line_ends::LineEnds;
use crate::server::replication::Replication;
use crate::server::schemas::{MARKER, Own};
use crate::server::{Client, Connection, ServerVersion, whole};
use crate::sql::computed::Needs;
use crate::sql::spatial::SpatialReference;
use crate::sql::statement::ObjectId;
use crate::words::counted;
use crate::{Error, Result};

/// What is known when the dump begins.
#[derive(Debug)]
pub struct Preflight {
    /// The server's identity.
    pub identity: String,
    /// The variables that a restore depends on.
    pub fingerprint: BTreeMap<String, String>,
    /// When the data are as the dump will show them, or a little before.
    pub snapshot_at: Timestamp,
    /// The schemas that are dumped, sorted.
    pub schemas: Vec<String>,
    /// What exists in them.
    pub inventory: Inventory,
    /// The spatial reference systems that tables refer to.
    spatial: BTreeMap<ObjectId, Vec<SpatialReference>>,
    /// What tables need of the session that computes their expressions.
    needs: BTreeMap<ObjectId, Needs>,
    /// Columns whose values do not survive being dumped, a line each.
    pub lossy: Vec<String>,
    /// What a person should know, a line each.
    pub warnings: Vec<String>,
    /// The snapshot's place in the binary log; known when the dump has been read.
    pub coordinates: Option<Coordinates>,
    /// What the server is.
    version: ServerVersion,
    /// What the dump program forgets.
    pub(super) line_ends: LineEnds,
    /// What the dump is asked for.
    pub(super) plan: DumpPlan,
    /// Whether accounts are taken.
    pub(super) accounts: bool,
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
                needs: self.needs.get(object).cloned(),
                spatial: self.spatial.get(object).cloned().unwrap_or_default(),
            }
        };
        self.inventory.objects.keys().map(record).collect()
    }

    /// The server, for the manifest.
    pub fn server_facts(&self) -> ServerFacts {
        let (data, indexes) = self.inventory.total_bytes();
        ServerFacts {
            flavour: self.version.flavour.to_string().to_lowercase(),
            version: self.version.text.clone(),
            identity: self.identity.clone(),
            fingerprint: self.fingerprint.clone(),
            bytes: data + indexes,
        }
    }
}

/// What happens to each reason to refuse: a backup ends at the first one, `doctor` notes it and
/// goes on.
pub(super) type OnFault<'a> = &'a mut (dyn FnMut(Error) -> Result<()> + Send);

/// Asks the server everything, and refuses what would make a backup that lies.
///
/// `snapshot_at` is read last, just before the dump.
pub(super) async fn run(source: &mut Source, fault: OnFault<'_>) -> Result<Preflight> {
    let (connection, version) = (&mut source.connection, &source.version);
    let (options, client) = (&source.options, &source.client);
    let scope = &options.scope;
    or_note(refuse_marker(connection).await, fault)?;
    let hurried = whole::demand(&source.config, client).await;
    let mut warnings = or_note(hurried, fault)?.unwrap_or_default();

    let own = source.own;
    let grants = Grants::read(connection, version, own).await?;
    // Without these, even the list of schemas would lie.
    let early = refuse_missing(&grants, version, scope, &[]);
    let complete = or_note(early, fault)?.is_some();
    let replication = Replication::ask(connection, version).await?;
    let current = replica::check(&replication, options.max_lag);
    or_note(current, fault)?;

    let inventory = inventory(connection, version, &own, scope).await?;
    or_note(refuse_hidden(&inventory), fault)?;
    let schemas = inventory.schema_names();
    if complete {
        or_note(refuse_missing(&grants, version, scope, &schemas), fault)?;
    }
    for undumpable in undumpable::faults(connection, version, &inventory).await? {
        fault(undumpable)?;
    }
    let engines = engines(connection, options, &inventory).await;
    warnings.extend(or_note(engines, fault)?.flatten());
    if !inventory.table_ids && options.ddl == Ddl::Detect {
        let fix = "grant PROCESS on *.*, or set backup.ddl: block";
        warnings.push(format!(
            "two tables exchanged by RENAME during the dump may go unnoticed: {fix}"
        ));
    }

    let versioned = inventory.tables.values().any(|table| table.versioned);
    let history = versioned && client.knows("dump-history");
    if versioned && !history {
        let why = "this client has no --dump-history";
        warnings.push(format!(
            "the history of system-versioned tables is left out: {why}"
        ));
    }
    let refused = source.lock_refused;
    let coordinates = coordinates(connection, version, options, &grants, client, refused).await;
    let (coordinates, warning) = or_note(coordinates, fault)?.unwrap_or_default();
    warnings.extend(warning);
    let accounts = accounts::readable(connection, version, options.accounts).await;
    let (accounts, warning) = or_note(accounts, fault)?.unwrap_or_default();
    warnings.extend(warning);
    if accounts {
        warnings.extend(account_losses::warnings(connection, version).await?);
    }
    if !source.identity.1 {
        let fix = "grant SELECT on mysql.proc";
        warnings.push(format!(
            "an emptied server could not be told from this one: {fix}"
        ));
    }
    let mut lossy = facts::lossy_columns(connection, &schemas).await?;
    let computed = computed::needs(&source.config, version, &schemas).await?;
    lossy.extend(computed.lossy);
    let spatial = spatial::of_tables(connection, version).await?;
    let fingerprint = facts::fingerprint(connection).await?;
    warnings.extend(clocks(replica::clock(connection).await?, Timestamp::now()));
    warnings.extend(unkept::warnings(connection, &own, &schemas, &inventory.left_out).await?);
    let (order, circle) = order::of(connection, version, &schemas).await?;
    warnings.extend(circle);
    let line_ends = LineEnds::of(connection).await?;
    // Last, so that it is as late as it can be and still before the snapshot.
    let snapshot_at = replica::snapshot_time(connection, version, &replication).await;
    // Only `doctor` goes on without, and it has no use for it.
    let snapshot_at = or_note(snapshot_at, fault)?.unwrap_or_default();
    Ok(Preflight {
        snapshot_at,
        identity: source.identity.0.clone(),
        fingerprint,
        plan: DumpPlan {
            schemas: order,
            coordinates,
            history,
        },
        schemas,
        inventory,
        needs: computed.needs,
        spatial,
        lossy,
        warnings,
        coordinates: None,
        version: version.clone(),
        line_ends,
        accounts,
    })
}

/// A fault that `fault` lets pass has no value.
fn or_note<T>(result: Result<T>, fault: OnFault<'_>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => fault(error).map(|()| None),
    }
}

async fn refuse_marker(connection: &mut Connection) -> Result<()> {
    let schemas: Vec<String> = connection
        .rows("SELECT schema_name FROM information_schema.schemata")
        .await?;
    // Compared here: to MariaDB's information_schema DRCTL_RESTORE is the same name.
    match schemas.iter().any(|schema| schema == MARKER) {
        false => Ok(()),
        true => Err(Error::refused(format!(
            "the server carries the schema {MARKER}: a restore into it is not finished"
        ))
        .hint("finish it by the same drctl restore, or give it up: by drctl restore --keep, or, with all that it restored, by drctl restore --discard --confirm <target>")),
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
    own: &Own,
    scope: &Scope,
) -> Result<Inventory> {
    let mut taken = Inventory::take(connection, server, own, scope).await?;
    if !taken.hidden.is_empty() {
        taken = Inventory::take(connection, server, own, scope).await?;
    }
    Ok(taken)
}

fn refuse_hidden(inventory: &Inventory) -> Result<()> {
    match inventory.hidden.first() {
        None => Ok(()),
        Some(first) => Err(Error::source(format!(
            "InnoDB knows {} that the server does not show, like {first}",
            counted(inventory.hidden.len() as u64, "table")
        ))
        .hint("look for tables without a definition in the server's log, and drop them")),
    }
}

/// Refuses, or warns of, tables whose rows the snapshot cannot hold still.
async fn engines(
    connection: &mut Connection,
    options: &SourceOptions,
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
        "not transactional, so that it may change under the dump: {}, like {first} ({engine})",
        counted(loose.len() as u64, "table")
    );
    match options.non_transactional {
        NonTransactional::Allow => Ok(Some(what)),
        NonTransactional::Refuse => Err(Error::refused(what)
            .hint("convert them to InnoDB, leave their schema out, or set backup.non_transactional: allow")),
    }
}

/// Whether the dump takes the binary log's coordinates, and what to say where it does not.
async fn coordinates(
    connection: &mut Connection,
    server: &ServerVersion,
    options: &SourceOptions,
    grants: &Grants,
    client: &Client,
    lock_refused: bool,
) -> Result<(bool, Option<String>)> {
    if options.coordinates == Want::Off {
        return Ok((false, None));
    }
    let log_bin: bool = connection.one("SELECT @@global.log_bin").await?;
    let any = |names: &[&str]| names.iter().any(|name| grants.has_globally(name));
    let obstacle = if !log_bin {
        Some("the server writes no binary log".to_owned())
    } else if server.is_mariadb() {
        // The snapshot knows its own place there; neither a lock nor a privilege is needed.
        None
    } else if lock_refused {
        Some("the server refuses the global read lock, as hosted servers do".to_owned())
    } else if !any(&["REPLICATION CLIENT", "SUPER"]) {
        Some("the account lacks REPLICATION CLIENT".to_owned())
    } else if !any(&["RELOAD", "FLUSH_TABLES"]) {
        Some("the account lacks RELOAD (or FLUSH_TABLES), for the global read lock".to_owned())
    } else if !client.knows("init-command") && options.coordinates == Want::Auto {
        Some("this client cannot bound its wait for the global read lock".to_owned())
    } else {
        long_query(connection).await?
    };
    match (obstacle, options.coordinates) {
        (None, _) => Ok((true, None)),
        (Some(why), Want::Require) => Err(Error::refused(format!(
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
