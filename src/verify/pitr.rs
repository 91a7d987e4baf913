//! The level `pitr`: the binary log between two backups, replayed behind the earlier one and compared with the later.
//!
//! ```text
//! find-log ─→ (the earlier backup: restored, compared) ─→ replay ─→ compare-log ─→ replay-beyond
//! │                                                                 │              └ the log behind the later backup
//! └ every byte of the log from one place to the other               └ with the ledger of the later backup, row by row
//! ```
//!
//! A log that lacks a change is replayed without an error: only the comparison shows that. Events, which a replica
//! creates disabled, and AUTO_INCREMENT counters, which a log does not contain, are compared without these
//! ([`crate::comparison::normalise`]); accounts are not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::archive::read::Archive;
use crate::catalog::Entry;
use crate::comparison::compare::Comparison;
use crate::layout::DrillLevel;
use crate::monitor::report::model::{
    Beyond, DrillReport, RefusedStatement, Replay, Stage, Verified,
};
use crate::mysql::blame::is_of_the_server;
use crate::mysql::connect::server_said;
use crate::mysql::{ServerConfig, connect};
use crate::replay::destination::Begin;
use crate::replay::place::Place;
use crate::replay::stop::{Resolved, Stop};
use crate::replay::{self, ReplayPath, Then};
use crate::restore::inspect::destination;
use crate::restore::options::RestoreOptions;
use crate::restore::report::RestoreReport;
use crate::restore::state::marker::Pass;
use crate::restore::steps::Restore;
use crate::sql::definer::Account;
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};
use crate::verify::later::Later;
use crate::verify::scratch::Choice;
use crate::verify::{Drill, add_stage};

/// Most statements that a report lists as not replayed.
const MOST_REFUSED: usize = 100;

/// The later backup, and the log that leads to it.
#[derive(Debug)]
pub struct Until {
    /// The later backup.
    pub entry: Entry,
    /// The place of the backup of the drill in the log.
    pub from: Place,
    /// The place of the later backup.
    pub to: Place,
}

/// What is replayed, and what has to come out.
pub(super) struct Found<'a> {
    until: &'a Until,
    resolved: Resolved,
    /// The later backup.
    pub later: Archive,
}

/// Reads the log from one place to the other.
///
/// # Errors
/// `Archive`: it is damaged, or does not lead to the later backup.
pub(super) async fn find<'a>(
    drill: &Drill<'_>,
    until: &'a Until,
    report: &mut DrillReport,
) -> Result<Found<'a>> {
    let since = Instant::now();
    let find = async {
        let resolved = until.from.resolve(until.to.stop()).await?;
        let later = drill.catalog.open(until.entry.id).await?;
        Ok(Found {
            until,
            resolved,
            later,
        })
    };
    let found = drill.cancel.unless(find).await;
    add_stage(report, Stage::FIND_LOG, since);
    found
}

/// Restores the backup, compares it, replays the log, and compares the result with the later backup. From the moment
/// at which the backup was found equal to its dump, the level of the report is `pitr`.
pub(super) async fn run(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &Arc<ServerConfig>,
    found: &Found<'_>,
    path: ReplayPath,
    restored: &mut RestoreReport,
    report: &mut DrillReport,
) -> Result<()> {
    let options = RestoreOptions {
        replay: Some(replay::Stretch {
            log: Arc::new(found.until.from.log.clone()),
            resolved: found.resolved.clone(),
            moment: format!("the place of backup {}", found.until.entry.id),
            path,
            tables: None,
            // A provided server of MySQL has the GTIDs of the log from the drill before, and would skip them.
            reset: matches!(drill.scratch, Choice::External(_))
                && archive.manifest().server.flavour == "mysql",
            then: Then::End,
        }),
        ..drill.options(archive)
    };
    let definitions = Later::read(&found.later, drill.cancel).await?;
    let mut created = Vec::new();
    let progress = drill.progress.clone();
    let mut restore = Restore::prepare(archive, server, options, progress, drill.cancel).await?;
    let mut begins = false;
    let done = async {
        restore.load().await?;
        restore.compare().await?;
        begins = true;
        create_definers(drill, server, &definitions.definers, &mut created).await?;
        let replayed = restore.replay().await;
        replayed.map_err(|error| {
            attributed(error, "the binary log cannot be replayed behind the backup")
        })
    }
    .await;
    let finished = restore.finish(done, restored).await;
    restored.created_accounts.extend(created);
    if begins {
        report.level = DrillLevel::Pitr;
        restored.replayed_schemas = schemas_of(archive);
        restored.replayed_schemas.extend(schemas_of(&found.later));
    }
    finished?;
    let mut replayed = replayed(found, restored);
    let since = Instant::now();
    let compared = compare(drill, server, &found.later, definitions, restored).await;
    restored.stage(Stage::COMPARE_LOG, since);
    let comparison = compared.map_err(|error| {
        attributed(
            error,
            "after the replay of the binary log, the server cannot be dumped",
        )
    })?;
    replayed.compared.set(&comparison);
    replayed.equal = comparison.is_equal();
    report.replay = Some(replayed);
    let done = refuse_differences(drill, found, &comparison);
    report.set_differences(comparison);
    done
}

/// Replays what is archived behind the later backup. There is nothing to compare it with; what it shows is that nothing
/// in it ends a replay. Not on a provided server, where nothing would revert its settings after a SIGKILL.
pub(super) async fn replay_beyond(
    drill: &Drill<'_>,
    server: &Arc<ServerConfig>,
    found: &Found<'_>,
    path: ReplayPath,
    report: &mut DrillReport,
) -> Result<()> {
    let since = Instant::now();
    let beyond = beyond(drill, server, found, path).await;
    add_stage(report, Stage::REPLAY_BEYOND, since);
    let beyond = beyond.map_err(|error| {
        attributed(
            error,
            "the binary log behind the later backup cannot be replayed",
        )
    })?;
    if let Some(replay) = &mut report.replay {
        replay.beyond = beyond;
    }
    Ok(())
}

async fn beyond(
    drill: &Drill<'_>,
    server: &Arc<ServerConfig>,
    found: &Found<'_>,
    path: ReplayPath,
) -> Result<Option<Beyond>> {
    if matches!(drill.scratch, Choice::External(_)) {
        return Ok(None);
    }
    let place = &found.until.to;
    let resolved = drill.cancel.unless(place.resolve(Stop::End)).await?;
    let (Some(last), 1..) = (&resolved.last, resolved.plan.transactions) else {
        return Ok(None);
    };
    let options = replay::Options {
        path,
        tables: None,
        session: Vec::new(),
        workers: drill.resources().lanes,
        begin: Begin::Fresh,
        then: Then::End,
    };
    let (log, plan) = (Arc::new(place.log.clone()), &resolved.plan);
    let work = replay::replay(server, log, plan, &options, None, |_| {}, drill.cancel);
    let replayed = work.await?;
    Ok(Some(Beyond {
        until: last.committed_at,
        transactions: replayed.transactions,
        bytes: resolved.bytes,
    }))
}

/// A statement that the server refuses is a finding about the log, unless the server lacked something.
fn attributed(error: Error, finding: &str) -> Error {
    match server_said(&error) {
        Some((code, message)) if !is_of_the_server(code, message) => {
            Error::verification(format!("{finding}: {}", error.what()))
        }
        _ => error,
    }
}

fn schemas_of(archive: &Archive) -> BTreeSet<String> {
    let objects = archive.contents().ledger.iter();
    objects.map(|(object, _)| object.schema.clone()).collect()
}

/// What was replayed, for the report.
fn replayed(found: &Found<'_>, restored: &RestoreReport) -> Replay {
    let manifest = &found.until.entry.manifest;
    let refused = restored.replayed.iter().flat_map(|one| &one.refused);
    let stages = restored.stages.iter();
    let seconds: f64 = stages
        .filter(|stage| stage.name == Pass::Replay.name())
        .map(|stage| stage.seconds)
        .sum();
    let (transactions, bytes) = (found.resolved.plan.transactions, found.resolved.bytes);
    let rate = |count: u64| count as f64 / seconds.max(0.001);
    Replay {
        until_backup: manifest.id,
        until: manifest.snapshot_at,
        timeline: found.until.from.log.timeline.to_string(),
        transactions,
        bytes,
        seconds,
        transactions_per_second: rate(transactions),
        bytes_per_second: rate(bytes),
        rto_seconds: 0.0,
        refused_total: refused.clone().count() as u64,
        refused: refused
            .take(MOST_REFUSED)
            .map(|one| RefusedStatement {
                gtid: one.gtid.clone(),
                what: one.what.clone(),
            })
            .collect(),
        compared: Verified {
            raw_bytes: manifest.totals.raw_bytes,
            ..Verified::default()
        },
        equal: false,
        beyond: None,
    }
}

/// Compares the server with the later backup: its schemas, and those of the earlier one that still exist.
async fn compare(
    drill: &Drill<'_>,
    server: &Arc<ServerConfig>,
    later: &Archive,
    definitions: Later,
    restored: &mut RestoreReport,
) -> Result<Comparison> {
    let mut connection = drill.cancel.unless(connect(server)).await?;
    let schemas: Vec<String> = connection
        .rows("SELECT schema_name FROM information_schema.schemata")
        .await?;
    connection.close().await;
    let mut schemas: BTreeSet<String> = schemas.into_iter().collect();
    schemas.retain(|schema| restored.replayed_schemas.contains(schema));
    if schemas.is_empty() {
        return Err(Error::verification(
            "no schema of the later backup exists after the replay of the binary log",
        ));
    }
    let compared = definitions
        .compare(later, drill.compared(server), schemas)
        .await;
    let (comparison, expired) = compared?;
    for event in &expired {
        if !restored.expired_events.contains(event) {
            restored.expired_events.push(event.clone());
        }
    }
    Ok(comparison)
}

/// Creates the definers of the later backup that do not exist, and lets those of a scratch server of drctl's own do
/// everything: statements about accounts are not replayed, and a view whose definer may not use its tables cannot be
/// dumped. Before the replay, since MySQL notes of a view whether it can be used when it creates it.
async fn create_definers(
    drill: &Drill<'_>,
    server: &Arc<ServerConfig>,
    definers: &BTreeMap<Account, ObjectId>,
    created: &mut Vec<String>,
) -> Result<()> {
    let is_own = !matches!(drill.scratch, Choice::External(_));
    let mut connection = drill.cancel.unless(connect(server)).await?;
    let version = connection.version().await?;
    let existing = destination::accounts(&mut connection, &version).await?;
    let existing = existing.unwrap_or_default();
    for account in definers.keys() {
        let name = account.to_string();
        let is_new = !existing.contains(account);
        if is_new {
            let create = match account.host.as_str() {
                "" => format!("CREATE ROLE IF NOT EXISTS {name}"),
                _ => format!("CREATE USER IF NOT EXISTS {name} ACCOUNT LOCK"),
            };
            connection.run(&create).await?;
            created.push(name.clone());
        }
        if is_new || is_own {
            let grant = format!("GRANT ALL PRIVILEGES ON *.* TO {name}");
            connection.run(&grant).await?;
        }
    }
    connection.close().await;
    Ok(())
}

fn refuse_differences(drill: &Drill<'_>, found: &Found<'_>, comparison: &Comparison) -> Result<()> {
    if comparison.is_equal() {
        return Ok(());
    }
    Err(Error::verification(format!(
        "backup {} with the binary log behind it is not equal to backup {}: {}",
        drill.entry.id,
        found.until.entry.id,
        comparison.which_differ(),
    )))
}
