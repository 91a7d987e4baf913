//! Checks before the dump: everything that could make a backup fail, or worse, silently incomplete.
//!
//! The privileges of the account are checked first, since all later answers are only as complete as these.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::archive::index::InventoryRecord;
use crate::archive::manifest::{ServerFacts, SnapshotMethod};
use crate::backup::accounts::{self, losses};
use crate::backup::dump::DumpPlan;
use crate::backup::options::{Ddl, NonTransactional, SourceOptions, Want};
use crate::backup::source::Source;
use crate::backup::{computed, gtid, not_restorable, replica, schema_order, spatial, undumpable};
use crate::mysql::client::line_ends::LineEnds;
use crate::mysql::grants::Grants;
use crate::mysql::inventory::Inventory;
use crate::mysql::replication::Replication;
use crate::mysql::schemas::{MARKER, Own};
use crate::mysql::scope::Scope;
use crate::mysql::{Client, Connection, ServerVersion, definers, facts, unfiltered_session};
use crate::reader::Reader;
use crate::reader::snapshot;
use crate::reader::source_columns::{self, AgainstSource, Wanted};
use crate::reader::tables::{self, TableRows};
use crate::sql::computed::Needs;
use crate::sql::spatial::SpatialReference;
use crate::sql::statement::ObjectId;
use crate::util::format::counted;
use crate::{Error, Result};

/// The result of the preflight: the facts on which the dump and the manifest are based.
#[derive(Debug)]
pub struct Preflight {
    /// The server's identity ([`facts::identity`]).
    pub identity: String,
    /// Values of the server variables that a restore depends on.
    pub fingerprint: BTreeMap<String, String>,
    /// Time of the data in the dump: that of the snapshot or slightly before.
    pub snapshot_at: Timestamp,
    /// The schemas to dump, sorted.
    pub schemas: Vec<String>,
    /// The objects in `schemas`.
    pub inventory: Inventory,
    /// Spatial reference systems that each table refers to.
    spatial: BTreeMap<ObjectId, Vec<SpatialReference>>,
    /// Session settings that the expressions of each table need.
    needs: BTreeMap<ObjectId, Needs>,
    /// Columns whose values do not survive a dump, a line each.
    pub lossy: Vec<String>,
    /// Warnings, a line each.
    pub warnings: Vec<String>,
    version: ServerVersion,
    /// Line ends that mysqldump omits.
    pub line_ends: LineEnds,
    /// What to dump, and with which options.
    pub plan: DumpPlan,
    /// The rows that the native reader reads; `None` if the dump program does.
    pub rows: Option<Vec<TableRows>>,
    /// The tables of which the server computes digests.
    pub digests: Arc<Wanted>,
    /// Why the dump program does, if not by configuration.
    by_program: Option<String>,
    /// Whether the backup contains accounts.
    pub(super) accounts: bool,
}

impl Preflight {
    /// Size of data and indexes, bytes, as estimated by the server; for progress only.
    pub fn expected_bytes(&self) -> u64 {
        self.inventory.total_bytes().0
    }

    /// Why the dump program reads the rows although the native reader is configured.
    pub(super) fn by_program(&self) -> Option<&str> {
        self.by_program.as_deref()
    }

    /// The inventory as records of the archive's index.
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

    /// The facts about the server in the manifest.
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

/// Result of an inspection of the source; no basis for a dump.
#[derive(Debug)]
pub struct Examination {
    /// All reasons to refuse a backup.
    pub blockers: Vec<Error>,
    /// Warnings that a backup would have.
    pub warnings: Vec<String>,
    /// Columns whose values do not survive a dump, a line each.
    pub lossy: Vec<String>,
    /// What reads the rows, and how.
    pub reading: Reading,
    /// Definers of existing objects that do not exist as accounts, as `user@host`; empty if the account may
    /// not read accounts.
    pub definers: Vec<String>,
    /// Number of schemas in scope.
    pub schemas: usize,
    /// Number of their objects, as far as visible to the account.
    pub objects: usize,
}

/// What reads the rows of a backup.
#[derive(Debug)]
pub enum Reading {
    /// The native reader: the number of connections, and how it is known that they see the same data.
    Connections(usize, SnapshotMethod),
    /// The dump program, and why, if not by configuration.
    Program(Option<String>),
}

/// Runs all checks before a dump. If the options block DDL, DDL is blocked from here until
/// [`Source::verify_unchanged`].
///
/// # Errors
///
/// The first reason to refuse the backup.
pub async fn run(source: &mut Source) -> Result<Preflight> {
    source.block_ddl().await?;
    check(source, &mut OnBlocker::Fail).await
}

/// Runs the same checks without any lock, and collects all reasons to refuse a backup.
pub async fn examine(source: &mut Source) -> Result<Examination> {
    let mut on_blocker = OnBlocker::Collect(Vec::new());
    let preflight = check(source, &mut on_blocker).await?;
    let reading = match (&preflight.rows, &preflight.by_program) {
        (Some(_), _) => {
            let (connection, version) = (&mut source.connection, &source.version);
            let grants = Grants::read(connection, version, source.own).await?;
            let schemas = &preflight.schemas;
            Reading::Connections(
                source.options.jobs,
                snapshot::expected(connection, version, &grants, schemas).await?,
            )
        }
        (None, why) => Reading::Program(why.clone()),
    };
    let mut definers = definers::missing(&mut source.connection).await?;
    definers.retain(|_, objects| {
        let mut objects = objects.iter();
        objects.any(|object| preflight.schemas.contains(&object.schema))
    });
    Ok(Examination {
        blockers: match on_blocker {
            OnBlocker::Fail => Vec::new(),
            OnBlocker::Collect(blockers) => blockers,
        },
        warnings: preflight.warnings,
        lossy: preflight.lossy,
        reading,
        definers: definers.into_keys().collect(),
        schemas: preflight.schemas.len(),
        objects: preflight.inventory.objects.len(),
    })
}

/// What to do about a reason to refuse the backup.
enum OnBlocker {
    /// Fail with the first one.
    Fail,
    /// Collect all and continue.
    Collect(Vec<Error>),
}

impl OnBlocker {
    /// `None` for an error that was collected.
    fn apply<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match (result, self) {
            (Ok(value), _) => Ok(Some(value)),
            (Err(error), OnBlocker::Fail) => Err(error),
            (Err(error), OnBlocker::Collect(blockers)) => {
                blockers.push(error);
                Ok(None)
            }
        }
    }
}

/// The checks; `snapshot_at` is read last, immediately before the dump.
async fn check(source: &mut Source, on_blocker: &mut OnBlocker) -> Result<Preflight> {
    let (connection, version) = (&mut source.connection, &source.version);
    let (options, client) = (&source.options, &source.client);
    let scope = &options.scope;
    on_blocker.apply(refuse_marker(connection).await)?;
    let timeouts = unfiltered_session::check_client(&source.config, client).await;
    let mut warnings = on_blocker.apply(timeouts)?.unwrap_or_default();

    let own = source.own;
    let grants = Grants::read(connection, version, own).await?;
    // Without these privileges even the list of schemas is incomplete.
    let early = refuse_missing(&grants, version, scope, &[]);
    let complete = on_blocker.apply(early)?.is_some();
    let replication = Replication::query(connection, version).await?;
    on_blocker.apply(replica::check(&replication, options.max_lag))?;

    let inventory = inventory(connection, version, &own, scope).await?;
    on_blocker.apply(refuse_hidden(&inventory))?;
    let schemas = inventory.schema_names();
    if complete {
        on_blocker.apply(refuse_missing(&grants, version, scope, &schemas))?;
    }
    for undumpable in undumpable::check(connection, version, &inventory).await? {
        on_blocker.apply::<()>(Err(undumpable))?;
    }
    let engines = engines(connection, options, &inventory).await;
    warnings.extend(on_blocker.apply(engines)?.flatten());
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
    let (coordinates, warning) = on_blocker.apply(coordinates)?.unwrap_or_default();
    warnings.extend(warning);
    let accounts = accounts::readable(connection, version, options.accounts).await;
    let (accounts, warning) = on_blocker.apply(accounts)?.unwrap_or_default();
    warnings.extend(warning);
    if accounts {
        warnings.extend(losses::warnings(connection, version).await?);
    }
    if !source.identity.is_strong {
        let fix = "grant SELECT on mysql.proc";
        warnings.push(format!(
            "drctl could not detect if this server were re-created empty: {fix}"
        ));
    }
    let mut lossy = facts::lossy_columns(connection, &schemas).await?;
    let computed = computed::needs(&source.config, version, &schemas).await?;
    lossy.extend(computed.lossy);
    let spatial = spatial::of_tables(connection, version).await?;
    let fingerprint = facts::fingerprint(connection).await?;
    warnings.extend(clock_skew(
        replica::clock(connection).await?,
        Timestamp::now(),
    ));
    warnings
        .extend(not_restorable::warnings(connection, &own, &schemas, &inventory.left_out).await?);
    let (order, circle) = schema_order::of(connection, version, &schemas).await?;
    warnings.extend(circle);
    let line_ends = LineEnds::of(connection).await?;
    let (rows, by_program) = match options.reader {
        Reader::Native => {
            match tables::of(connection, version, client.flavour, &schemas, history).await? {
                Ok(rows) => (Some(rows), None),
                Err(why) => (None, Some(why)),
            }
        }
        Reader::Mysqldump => (None, None),
    };
    let against = options.against_source;
    let digests = match (&rows, &by_program) {
        (Some(tables), _) => source_columns::wanted(connection, tables, &schemas, against).await?,
        (None, why) if against == AgainstSource::All => {
            let why = why.as_deref().unwrap_or("source.reader is mysqldump");
            let what = format!(
                "the server cannot compute digests in the snapshot of the dump program: {why}"
            );
            let error =
                Error::refused(what).hint("omit --against-source, or backup.against_source");
            on_blocker.apply(Err(error))?.unwrap_or_default()
        }
        (None, _) => Wanted::default(),
    };
    let snapshot_at = replica::snapshot_time(connection, version, &replication).await;
    // The default is only for an examination, which does not use it.
    let snapshot_at = on_blocker.apply(snapshot_at)?.unwrap_or_default();
    Ok(Preflight {
        snapshot_at,
        identity: source.identity.id.clone(),
        fingerprint,
        plan: DumpPlan {
            schemas: order,
            coordinates,
            history,
            rows: true,
        },
        rows,
        by_program,
        digests: Arc::new(digests),
        schemas,
        inventory,
        needs: computed.needs,
        spatial,
        lossy,
        warnings,
        version: version.clone(),
        line_ends,
        accounts,
    })
}

async fn refuse_marker(connection: &mut Connection) -> Result<()> {
    let schemas: Vec<String> = connection
        .rows("SELECT schema_name FROM information_schema.schemata")
        .await?;
    // Compared here, since MariaDB's information_schema ignores case.
    if schemas.iter().any(|schema| schema == MARKER) {
        return Err(Error::refused(format!(
            "the server holds the schema {MARKER} of an unfinished restore"
        ))
        .hint("resume it with the same drctl restore, keep its data with drctl restore --keep, or drop them with drctl restore --discard --confirm <target>"));
    }
    Ok(())
}

fn refuse_missing(
    grants: &Grants,
    server: &ServerVersion,
    scope: &Scope,
    schemas: &[String],
) -> Result<()> {
    let refusal = grants.refusal(&grants.missing(server, scope, schemas));
    refusal.map_or(Ok(()), Err)
}

/// Takes the inventory; again if InnoDB has tables that the server does not show, since a table may have
/// been created in between.
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
    let Some(first) = inventory.hidden.first() else {
        return Ok(());
    };
    let count = counted(inventory.hidden.len() as u64, "table");
    Err(Error::source(format!(
        "InnoDB has {count} that the server does not show, such as {first}"
    ))
    .hint("a dump would not contain them: find the reason in the server's log, and repair them; or exclude their schema (backup.exclude_schemas)"))
}

/// Refuses tables that are not transactional, or returns a warning about them.
async fn engines(
    connection: &mut Connection,
    options: &SourceOptions,
    inventory: &Inventory,
) -> Result<Option<String>> {
    let transactional: Vec<String> = connection
        .rows("SELECT engine FROM information_schema.engines WHERE transactions = 'YES'")
        .await?;
    let may_change = |engine: &str| {
        // BLACKHOLE has no rows.
        !engine.eq_ignore_ascii_case("BLACKHOLE")
            && !transactional.iter().any(|e| e.eq_ignore_ascii_case(engine))
    };
    let found: Vec<&ObjectId> = inventory
        .tables
        .iter()
        .filter(|(_, facts)| may_change(&facts.engine))
        .map(|(table, _)| table)
        .collect();
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let engine = &inventory.tables[*first].engine;
    let what = format!(
        "not transactional, so their rows may change during the dump: {}, such as {first} ({engine})",
        counted(found.len() as u64, "table")
    );
    match options.non_transactional {
        NonTransactional::Allow => Ok(Some(what)),
        NonTransactional::Refuse => Err(Error::refused(what).hint(
            "convert them to InnoDB, exclude their schema, or set backup.non_transactional: allow",
        )),
    }
}

/// Whether the dump records binary log coordinates, and a warning if it does not although the options ask
/// for them.
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
        // The snapshot has its own coordinates there; neither a lock nor a privilege is needed.
        None
    } else if lock_refused {
        Some("the server refuses the global read lock, as hosted servers do".to_owned())
    } else if !any(&["REPLICATION CLIENT", "SUPER"]) {
        Some("the account lacks REPLICATION CLIENT".to_owned())
    } else if !any(&["RELOAD", "FLUSH_TABLES"]) {
        Some("the account lacks RELOAD (or FLUSH_TABLES), for the global read lock".to_owned())
    } else if !client.knows("init-command") && options.coordinates == Want::Auto {
        Some("this client cannot limit how long it waits for the global read lock".to_owned())
    } else if options.coordinates == Want::Require
        && let Some(why) = gtid::obstacle(connection, grants).await?
    {
        Some(why)
    } else {
        long_query(connection).await?
    };
    match (obstacle, options.coordinates) {
        (None, _) => Ok((true, None)),
        (Some(why), Want::Require) => Err(Error::refused(format!(
            "cannot record binary log coordinates: {why}"
        ))
        .hint("fix this, or set backup.coordinates: auto")),
        (Some(why), _) => Ok((
            false,
            Some(format!("binary log coordinates are not recorded: {why}")),
        )),
    }
}

/// A statement that has been running for long: the global read lock would wait for it, and all writers for
/// the lock.
async fn long_query(connection: &mut Connection) -> Result<Option<String>> {
    const LONG_SECONDS: u32 = 30;
    let longest = connection.long_statement(LONG_SECONDS).await?;
    Ok(longest.map(|(id, seconds)| {
        format!(
            "connection {id} has been running a statement for {seconds} s, and the global read lock \
             would stall every writer behind it"
        )
    }))
}

/// A warning if the clocks differ, which falsifies all ages and objectives.
fn clock_skew(server: Timestamp, here: Timestamp) -> Option<String> {
    const MAX_SKEW: Duration = Duration::from_secs(120);
    let skew = server.duration_since(here).unsigned_abs();
    (skew > MAX_SKEW).then(|| {
        format!(
            "the clocks of the server and of this host differ by {} s",
            skew.as_secs()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_a_warning() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-21T02:02:01Z".parse().unwrap();
        assert_eq!(clock_skew(now, now), None);
        for (server, here) in [(now, later), (later, now)] {
            let warning = clock_skew(server, here).unwrap();
            assert!(warning.contains("121 s"), "{warning}");
        }
    }
}
