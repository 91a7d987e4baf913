//! A destination that follows the binary log: a restore that is not complete while the log goes on. Its marker stays, so
//! that nothing else begins with the server; a promotion completes it.
//!
//! Nothing that drctl writes to a standby is logged: its binary log holds the transactions of the target alone, as a
//! replica's does, so that its log continues the target's when it is promoted.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use crate::archive::read::Archive;
use crate::binlog::gtid::GtidSet;
use crate::comparison::normalise::{disabled_event, is_of_replica};
use crate::layout::{BackupId, TargetName};
use crate::mysql::connect::literal;
use crate::mysql::replication::{READ_ONLY, make_writable};
use crate::mysql::{Connection, Flavour, ServerConfig, connect, schemas};
use crate::replay::destination::statements;
use crate::replay::destination::unfit::logs_what_it_replicates;
use crate::replay::{CLEARED, STANDBY};
use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::inspect::control_config;
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::survey::survey;
use crate::restore::options::{Resources, RestoreOptions};
use crate::restore::passes::accounts::{Accounts, Part};
use crate::restore::passes::events;
use crate::restore::report::{Progress, RestoreReport, Silent};
use crate::restore::session::lane::{Lane, LaneConfig};
use crate::restore::session::tuning;
use crate::restore::state::marker::{self, LOCK, Marker, Pass, PendingEvent, SCHEMA};
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::definer::definer;
use crate::sql::statement::{Kind, ObjectKind, Section, quote};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};

/// A standby, held by the lock of the restore.
pub struct Standby {
    marker: OpenMarker,
    flavour: Flavour,
    server: Arc<ServerConfig>,
    cancel: Cancel,
}

impl Standby {
    /// Takes a standby of this target; `None` where the server is none.
    ///
    /// # Errors
    /// `Locked`: another run has it. `Refused`: an unfinished restore of another kind or target is there.
    pub async fn open(
        server: &Arc<ServerConfig>,
        target: &TargetName,
        cancel: &Cancel,
    ) -> Result<Option<Standby>> {
        let mut control = Lane::open(LaneConfig {
            lock: Some(LOCK),
            ..control_config(server, false, cancel)
        })
        .await?;
        let Some(contents) = marker::read(&mut control).await? else {
            control.close().await;
            return Ok(None);
        };
        let request = &contents.request;
        if !is_ours(&contents, target) {
            let what = format!(
                "the server has an unfinished restore of backup {} of {}",
                request.backup, request.target
            );
            return Err(Error::refused(what)
                .hint("complete, keep or discard it: drctl restore --keep, --discard"));
        }
        let mut connection = connect(server).await?;
        let flavour = connection.version().await?.flavour;
        connection.close().await;
        Ok(Some(Standby {
            marker: OpenMarker { control, contents },
            flavour,
            server: server.clone(),
            cancel: cancel.clone(),
        }))
    }

    /// The backup that it was built from, or was found equal to since.
    pub fn backup(&self) -> Result<BackupId> {
        let id = &self.marker.contents.request.backup;
        id.parse()
            .map_err(|_| Error::unexpected(format!("the marker of the standby names backup {id}")))
    }

    /// Whether the backup is restored and compared, so that only the log is missing.
    pub fn follows(&self) -> bool {
        follows(&self.marker.contents)
    }

    /// Whether it is being dropped: nothing on it can be used.
    pub fn is_cleared(&self) -> bool {
        self.marker.contents.request.replay.as_deref() == Some(CLEARED)
    }

    /// The transactions that it has executed.
    pub async fn executed(&mut self) -> Result<GtidSet> {
        let control = &mut self.marker.control;
        let text: Vec<Option<String>> = control.query(statements::executed(self.flavour)).await?;
        let text = text.into_iter().flatten().next().unwrap_or_default();
        GtidSet::parse(self.flavour == Flavour::MariaDb, &text)
    }

    /// Keeps everybody else from writing to it.
    pub async fn protect(&mut self) -> Result<()> {
        let control = &mut self.marker.control;
        match read_only(control).await?.last() {
            Some((name, value)) if value == "OFF" => {
                control.persist(&format!("SET GLOBAL {name} = ON")).await
            }
            _ => Ok(()),
        }
    }

    /// Lets drctl write to it; accounts without the right to write to a read-only server still cannot.
    pub async fn admit(&mut self) -> Result<()> {
        let control = &mut self.marker.control;
        let variables = read_only(control).await?;
        let strict = variables.iter().find(|(name, _)| name == READ_ONLY[1]);
        match strict {
            Some((name, value)) if value != "OFF" => {
                control.persist(&format!("SET GLOBAL {name} = OFF")).await
            }
            _ => Ok(()),
        }
    }

    /// The schemas of users on it.
    pub async fn schemas(&self) -> Result<Vec<String>> {
        let mut connection = connect(&self.server).await?;
        let schemas = schemas(&mut connection).await?;
        connection.close().await;
        Ok(schemas)
    }

    /// Creates the accounts of a later backup that it lacks, as restores do; returns warnings.
    pub async fn create_accounts(
        &mut self,
        archive: &Archive,
        resources: Resources,
    ) -> Result<Vec<String>> {
        let options = RestoreOptions {
            accounts: true,
            resources,
            ..RestoreOptions::default()
        };
        let frames = FrameSource::of(archive, &self.cancel)?;
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let survey = survey(archive, &frames, &options, &progress).await?;
        let mut connection = connect(&self.server).await?;
        let facts = DestinationFacts::read(&mut connection, &survey.schema_names()).await?;
        connection.close().await;
        let lanes = LaneConfig {
            lock: None,
            ..self.marker.control.config().clone()
        };
        let mut report = RestoreReport::default();
        for part in [Part::Accounts, Part::TableGrants, Part::RoutineGrants] {
            let mut accounts = Accounts {
                archive,
                scope: &options.scope,
                destination: options.destination,
                facts: &facts,
                survey: &survey,
                lanes: &lanes,
                resuming: true,
                marker: &mut self.marker,
                report: &mut report,
            };
            accounts.create(part).await?;
        }
        Ok(report.warnings.into_iter().cloned().collect())
    }

    /// Makes it a standby built from this backup, which it was found equal to.
    pub async fn rebase(&mut self, archive: &Archive) -> Result<()> {
        let events = events_of(archive, &self.cancel).await?;
        let marker = &mut self.marker;
        let there: Vec<(String, String)> = marker
            .control
            .query("SELECT event_schema, event_name FROM information_schema.events")
            .await?;
        let exists = |event: &PendingEvent| {
            there
                .iter()
                .any(|(schema, name)| (schema, name) == (&event.schema, &event.name))
        };
        let before = std::mem::take(&mut marker.contents.events);
        for (event, is_enabled) in events.into_iter().filter(|(event, _)| exists(event)) {
            // What the log alters afterwards is no longer plainly disabled.
            events::disable(&mut marker.control, &event).await?;
            if is_enabled {
                marker.note_event(event).await?;
            }
        }
        // Until here it is one of the backup before, and has its events.
        let OpenMarker { control, contents } = &mut *marker;
        contents.request.backup = archive.manifest().id.to_string();
        contents.request.started_at = jiff::Timestamp::now();
        marker::write_request(control, &contents.request).await?;
        for event in before.difference(&marker.contents.events) {
            let (schema, name) = (literal(&event.schema), literal(&event.name));
            let sql =
                format!("DELETE FROM {SCHEMA}.events WHERE `schema` = {schema} AND name = {name}");
            marker.control.persist(&sql).await?;
        }
        Ok(())
    }

    /// Drops everything on it, so that it can be rebuilt. It had no schema when it was first built.
    pub async fn clear(mut self) -> Result<()> {
        self.admit().await?;
        // First: what is half dropped must not be taken for a standby.
        let OpenMarker { control, contents } = &mut self.marker;
        contents.request.replay = Some(CLEARED.to_owned());
        marker::write_request(control, &contents.request).await?;
        tuning::revert(&mut self.marker.control).await?;
        let mut connection = connect(&self.server).await?;
        let schemas = schemas(&mut connection).await?;
        connection.close().await;
        let control = &mut self.marker.control;
        control
            .persist("SET SESSION foreign_key_checks = 0")
            .await?;
        for schema in schemas {
            let drop = format!("DROP DATABASE IF EXISTS {}", quote(&schema));
            control.persist(&drop).await?;
        }
        marker::drop_marker(control).await?;
        self.marker.control.close().await;
        Ok(())
    }

    /// Completes the restore: the server is one like any other, with its events, and takes writes. `may_open` is asked
    /// directly before that, and returns until when it may begin to; `None` for no limit.
    ///
    /// # Errors
    /// That of `may_open`: the server is no standby any more, and stays read-only.
    pub async fn complete(
        mut self,
        may_open: impl Future<Output = Result<Option<Instant>>>,
    ) -> Result<RestoreReport> {
        let mut report = RestoreReport::default();
        self.admit().await?;
        let marker = &mut self.marker;
        // It takes writes last, whatever it was configured with.
        let names = READ_ONLY.map(literal).join(", ");
        let forget = format!("DELETE FROM {SCHEMA}.settings WHERE name IN ({names})");
        marker.control.persist(&forget).await?;
        report.settings = tuning::revert(&mut marker.control).await?;
        events::forget_replayed(marker, false, &BTreeSet::new(), &mut report).await?;
        events::enable(marker, &mut report).await?;
        marker::drop_marker(&mut marker.control).await?;
        let control = &mut marker.control;
        let variables = read_only(control).await?;
        let until = may_open.await?;
        if let Some((name, _)) = variables.first() {
            let sql = format!("SET GLOBAL {name} = OFF");
            open_before(until, control.persist(&sql)).await?;
        }
        self.marker.control.close().await;
        Ok(report)
    }

    /// Gives it back.
    pub async fn close(self) {
        self.marker.control.close().await;
    }
}

/// Makes a server writable before a moment, or not at all.
///
/// # Errors
/// `Locked`: the moment has passed.
pub async fn open_before(
    until: Option<Instant>,
    open: impl Future<Output = Result<()>>,
) -> Result<()> {
    let Some(until) = until else {
        return open.await;
    };
    match tokio::time::timeout_at(until, open).await {
        Ok(opened) => opened,
        Err(_) => Err(
            Error::locked("the lease would end before the server is writable")
                .hint("the server stays read-only; run the same command again"),
        ),
    }
}

/// Whether a marker is that of a standby of this target.
fn is_ours(marker: &Marker, target: &TargetName) -> bool {
    let request = &marker.request;
    let replay = request.replay.as_deref();
    request.target == target.as_str() && (replay == Some(STANDBY) || replay == Some(CLEARED))
}

fn follows(marker: &Marker) -> bool {
    marker.passed(Pass::ReplayBegins) && marker.request.replay.as_deref() == Some(STANDBY)
}

/// The marker of a server, whoever has the server.
async fn marker_of(server: &Arc<ServerConfig>, cancel: &Cancel) -> Result<Option<Marker>> {
    let config = LaneConfig {
        lock: None,
        ..control_config(server, false, cancel)
    };
    let mut control = Lane::open(config).await?;
    let found = marker::read(&mut control).await?;
    control.close().await;
    Ok(found)
}

/// Whether a standby of this target is built; `None` where the server is no standby of it.
pub async fn is_built(
    server: &Arc<ServerConfig>,
    target: &TargetName,
    cancel: &Cancel,
) -> Result<Option<bool>> {
    let found = marker_of(server, cancel).await?;
    let ours = found.filter(|marker| is_ours(marker, target));
    Ok(ours.map(|marker| follows(&marker)))
}

/// Whether a server has schemas of users, and no unfinished restore.
pub async fn has_data(server: &Arc<ServerConfig>, cancel: &Cancel) -> Result<bool> {
    if marker_of(server, cancel).await?.is_some() {
        return Ok(false);
    }
    let mut connection = cancel.unless(connect(server)).await?;
    let schemas = schemas(&mut connection).await?;
    connection.close().await;
    Ok(!schemas.is_empty())
}

/// Makes an empty server writable that its configuration or a keeper of the lease made read-only. With the schema of the
/// marker the keeper leaves it as it is; it may be faster once.
pub async fn claim(connection: &mut Connection) -> Result<()> {
    const ATTEMPTS: u32 = 5;
    for attempt in 1.. {
        if !make_writable(connection).await? {
            break;
        }
        connection.run("SET SESSION sql_log_bin = 0").await?;
        let claimed = connection
            .run(&format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}"))
            .await;
        if claimed.is_ok() || attempt == ATTEMPTS {
            return claimed;
        }
    }
    Ok(())
}

/// Why a server cannot be made a standby; it must be empty, since its binary logs are deleted, and what a gap leaves behind
/// is dropped.
pub async fn unfit(connection: &mut Connection) -> Result<Option<Error>> {
    let schemas = schemas(connection).await?;
    if let Some(first) = schemas.first() {
        return Ok(Some(
            Error::refused(format!(
                "the server of the standby is not empty: it has the schema {first}"
            ))
            .hint("give it an empty server with --into or DRCTL_INTO_URL, or drop what is there"),
        ));
    }
    let logs = logs_what_it_replicates(connection).await?;
    Ok((!logs).then(|| {
        Error::refused("the server of the standby does not log what it replicates, so that its log could not go on after a promotion")
            .hint("restart it with log_replica_updates = ON (MariaDB: log_slave_updates = ON)")
    }))
}

/// The schemas of users.
async fn schemas(connection: &mut Connection) -> Result<Vec<String>> {
    let version = connection.version().await?;
    let own = schemas::Own::of(connection, &version).await?;
    let all: Vec<String> = connection
        .rows("SELECT schema_name FROM information_schema.schemata ORDER BY schema_name")
        .await?;
    let is_of_user = |name: &String| name != SCHEMA && own.owner(name) == schemas::Owner::User;
    Ok(all.into_iter().filter(is_of_user).collect())
}

/// The variables of [`READ_ONLY`] that the server has, and their values.
async fn read_only(control: &mut Lane) -> Result<Vec<(String, String)>> {
    let names = READ_ONLY.map(literal).join(", ");
    let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})");
    let mut found: Vec<(String, String)> = control.query(&sql).await?;
    found.sort();
    Ok(found)
}

/// The events of a backup, and whether they were enabled on the target; not those that were disabled as on a replica.
async fn events_of(archive: &Archive, cancel: &Cancel) -> Result<Vec<(PendingEvent, bool)>> {
    let source = FrameSource::of(archive, cancel)?;
    let mut frames = source.read(|record| record.has(Section::PostData));
    let mut events = Vec::new();
    while let Some(ready) = cancel.unless(frames.next()).await? {
        for (statement, sql) in ready.frame.of(Section::PostData) {
            let Kind::Create { object, .. } = &statement.kind else {
                continue;
            };
            if object.kind == ObjectKind::Event && !is_of_replica(sql) {
                let definer = definer(sql).map(|(account, _)| account.to_string());
                let event = PendingEvent {
                    schema: object.schema.clone(),
                    name: object.name.clone(),
                    definer: definer.unwrap_or_default(),
                };
                events.push((event, disabled_event(sql).is_some()));
            }
        }
    }
    Ok(events)
}
