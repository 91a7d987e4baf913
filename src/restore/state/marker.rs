//! The restore marker: the schema `drctl_restore` on the destination, which marks it as half-restored and
//! contains what the next run needs to resume.
//!
//! Created before anything else and dropped at the end; `backup` and `verify` refuse a server that has it.
//! Contents: the backup being restored and the options (`run`), the objects that this restore creates
//! (`objects`, so that discarding it never drops pre-existing ones), the loaded frames of rows (`frames`,
//! each entry committed together with its rows), the completed passes (`passes`), events to enable
//! (`events`), and the old values of changed settings (`settings`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::mysql::connect::{literal, server_code};
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::Lane;
use crate::restore::state::request::RestoreRequest;
use crate::sql::definer::enable_event;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::error::{Error, Result};

/// Name of the schema.
pub use crate::mysql::schemas::MARKER as SCHEMA;

/// Named lock on the server that excludes a second restore.
pub const LOCK: &str = "drctl.restore";

/// How long dropping the marker waits for its readers, in seconds.
const DROP_SECONDS: u32 = 10;

const TABLES: [&str; 9] = [
    "run (one TINYINT PRIMARY KEY, run TEXT NOT NULL)",
    "objects (kind VARCHAR(32), `schema` VARCHAR(64), name VARCHAR(64), \
     PRIMARY KEY (kind, `schema`, name))",
    "frames (n BIGINT UNSIGNED PRIMARY KEY, state VARCHAR(16) NOT NULL)",
    "accounts (account VARCHAR(300) PRIMARY KEY)",
    "grants (n INT AUTO_INCREMENT PRIMARY KEY, statement TEXT NOT NULL)",
    "passes (pass VARCHAR(32) PRIMARY KEY)",
    "events (`schema` VARCHAR(64), name VARCHAR(64), definer TEXT, PRIMARY KEY (`schema`, name))",
    "expired (`schema` VARCHAR(64), name VARCHAR(64), PRIMARY KEY (`schema`, name))",
    "settings (name VARCHAR(64) PRIMARY KEY, value TEXT NOT NULL)",
];

/// The passes of a restore, each ending in a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// Creates accounts of the backup that the server lacks.
    Accounts,
    /// Drops conflicting objects.
    Replace,
    /// Creates schemas, tables, sequences.
    PreData,
    /// Loads rows.
    Data,
    /// Adds keys deferred until after the rows.
    Keys,
    /// Adds foreign keys.
    ForeignKeys,
    /// Creates triggers, routines, events, views.
    PostData,
    /// Compares with the dump.
    Compare,
    /// Begins to replay the binary log: the data are no longer those of the backup.
    ReplayBegins,
    /// Replays the binary log.
    Replay,
    /// Enables events.
    Events,
}

impl Pass {
    /// Name of the pass in the marker and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Accounts => "accounts",
            Pass::Replace => "replace",
            Pass::PreData => "pre-data",
            Pass::Data => "data",
            Pass::Keys => "keys",
            Pass::ForeignKeys => "foreign-keys",
            Pass::PostData => "post-data",
            Pass::Compare => "compare",
            Pass::ReplayBegins => "replay-begins",
            Pass::Replay => "replay",
            Pass::Events => "events",
        }
    }
}

/// An event to enable once the restore is verified.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingEvent {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Definer, as an account in backticks; empty if the dump names none.
    pub definer: String,
}

impl PendingEvent {
    /// The event as an object.
    pub fn object(&self) -> ObjectId {
        ObjectId::new(ObjectKind::Event, &self.schema, &self.name)
    }

    /// The statement that enables the event.
    pub fn enabling(&self) -> String {
        enable_event(&self.object(), &self.definer)
    }
}

/// Contents of the marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The requested restore.
    pub request: RestoreRequest,
    /// Objects that this restore creates: they did not exist before, or were to be replaced.
    pub objects: BTreeSet<ObjectId>,
    /// Accounts that this restore creates.
    pub accounts: BTreeSet<String>,
    /// Names of completed passes.
    pub passes: BTreeSet<String>,
    /// Loaded frames.
    pub frames: BTreeSet<u64>,
    /// Frames of non-transactional tables that were started: it is unknown which rows were loaded.
    pub begun: BTreeSet<u64>,
    /// Events to enable.
    pub events: BTreeSet<PendingEvent>,
    /// One-time events whose execution time has passed, so that the server dropped them.
    pub expired: BTreeSet<ObjectId>,
}

impl Marker {
    /// Marker of a restore that has created nothing yet.
    pub fn new(request: RestoreRequest) -> Self {
        Marker {
            request,
            objects: BTreeSet::new(),
            accounts: BTreeSet::new(),
            passes: BTreeSet::new(),
            frames: BTreeSet::new(),
            begun: BTreeSet::new(),
            events: BTreeSet::new(),
            expired: BTreeSet::new(),
        }
    }

    /// Whether a pass is complete.
    pub fn passed(&self, pass: Pass) -> bool {
        self.passes.contains(pass.name())
    }
}

/// Reads the marker; `None` if there is none.
pub async fn read(lane: &mut Lane) -> Result<Option<Marker>> {
    let tables: BTreeSet<String> = lane
        .query(&format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{SCHEMA}'"
        ))
        .await?
        .into_iter()
        .collect();
    if !tables.contains("run") {
        return Ok(None);
    }
    let run: Vec<String> = lane.query(&format!("SELECT run FROM {SCHEMA}.run")).await?;
    let Some(run) = run.first() else {
        return Ok(None);
    };
    let run = serde_json::from_str(run).map_err(|e| {
        Error::refused(format!(
            "the schema {SCHEMA} was not written by this version of drctl"
        ))
        .because(e)
        .hint(format!(
            "inspect it, and drop it if nothing else needs it: DROP DATABASE {SCHEMA}"
        ))
    })?;
    let mut marker = Marker::new(run);
    let objects: Vec<(String, String, String)> = lane
        .query(&format!(
            "SELECT kind, `schema`, name FROM {SCHEMA}.objects"
        ))
        .await?;
    for (kind, schema, name) in objects {
        let kind = serde_json::from_value(serde_json::Value::String(kind)).map_err(|e| {
            Error::refused(format!(
                "the schema {SCHEMA} was written by another version of drctl"
            ))
            .because(e)
            .hint("resume with the version of drctl that began this restore")
        })?;
        marker.objects.insert(ObjectId { schema, kind, name });
    }
    let frames: Vec<(u64, String)> = lane
        .query(&format!("SELECT n, state FROM {SCHEMA}.frames"))
        .await?;
    for (n, state) in frames {
        if state == "done" {
            marker.frames.insert(n)
        } else {
            marker.begun.insert(n)
        };
    }
    let accounts: Vec<String> = lane
        .query(&format!("SELECT account FROM {SCHEMA}.accounts"))
        .await?;
    marker.accounts = accounts.into_iter().collect();
    let passes: Vec<String> = lane
        .query(&format!("SELECT pass FROM {SCHEMA}.passes"))
        .await?;
    marker.passes = passes.into_iter().collect();
    let events: Vec<(String, String, String)> = lane
        .query(&format!(
            "SELECT `schema`, name, definer FROM {SCHEMA}.events"
        ))
        .await?;
    marker.events = events
        .into_iter()
        .map(|(schema, name, definer)| PendingEvent {
            schema,
            name,
            definer,
        })
        .collect();
    let expired: Vec<(String, String)> = lane
        .query(&format!("SELECT `schema`, name FROM {SCHEMA}.expired"))
        .await?;
    marker.expired = expired
        .into_iter()
        .map(|(schema, name)| ObjectId::new(ObjectKind::Event, schema, name))
        .collect();
    Ok(Some(marker))
}

/// Whether a restore into the server is running.
pub async fn is_locked(lane: &mut Lane) -> Result<bool> {
    let sql = format!("SELECT IS_USED_LOCK('{LOCK}')");
    let holder: Vec<Option<u64>> = lane.query(&sql).await?;
    Ok(holder.first().is_some_and(Option::is_some))
}

/// The loaded frames, as recorded on the server.
pub async fn frames_done(lane: &mut Lane) -> Result<BTreeSet<u64>> {
    let sql = format!("SELECT n FROM {SCHEMA}.frames WHERE state = 'done'");
    Ok(lane.query(&sql).await?.into_iter().collect())
}

/// Creates the marker: from here on the server counts as half-restored.
pub async fn create(lane: &mut Lane, run: &RestoreRequest) -> Result<()> {
    let sql =
        format!("CREATE DATABASE IF NOT EXISTS {SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    lane.persist(&sql).await?;
    // Frame entries left by a run that was killed at its very end would be wrong here.
    drop_tables(lane).await?;
    for table in TABLES {
        let sql = format!("CREATE TABLE IF NOT EXISTS {SCHEMA}.{table} ENGINE=InnoDB");
        lane.persist(&sql).await?;
    }
    // Last: without this record the marker does not count.
    write_request(lane, run).await
}

/// Writes what was requested.
pub async fn write_request(lane: &mut Lane, run: &RestoreRequest) -> Result<()> {
    let run = serde_json::to_string(run)
        .map_err(|e| Error::unexpected("cannot serialise the restore request").because(e))?;
    let sql = format!("REPLACE INTO {SCHEMA}.run VALUES (1, {})", literal(&run));
    lane.persist(&sql).await
}

/// Drops the marker, once the restore is complete or nothing of it remains.
///
/// Waits a limited time for open transactions that read the marker.
pub async fn drop_marker(lane: &mut Lane) -> Result<()> {
    let dropped = lane.step(drop_once).await;
    dropped.map_err(|error| {
        let why = format!("the work is complete, but schema {SCHEMA} could not be dropped");
        error.context(why).hint(format!(
            "end the transactions that read it, then run drctl restore --keep, or DROP DATABASE {SCHEMA}"
        ))
    })
}

async fn drop_once(lane: &mut Lane) -> Result<(), Failure> {
    /// No such schema, no such table: an earlier attempt took effect.
    const GONE: [u16; 2] = [1049, 1146];
    let wait = format!("SET SESSION lock_wait_timeout = {DROP_SECONDS}");
    lane.run(wait.as_bytes()).await?;
    // The record first: what remains after a crash in between does not count as a marker.
    let forget = format!("DELETE FROM {SCHEMA}.run");
    match lane.run(forget.as_bytes()).await {
        Err(Failure::Fatal(error))
            if server_code(&error).is_some_and(|code| GONE.contains(&code)) => {}
        forgotten => {
            forgotten?;
        }
    }
    let drop = format!("DROP DATABASE IF EXISTS {SCHEMA}");
    match lane.run(drop.as_bytes()).await {
        // The readers were already waited for.
        Err(Failure::Conflict(error)) => Err(Failure::Fatal(error)),
        dropped => dropped.map(|_| ()),
    }
}

/// Drops the marker's tables, but nothing else in its schema.
pub async fn drop_tables(lane: &mut Lane) -> Result<()> {
    for table in TABLES {
        let name = table.split(' ').next().unwrap_or_default();
        lane.persist(&format!("DROP TABLE IF EXISTS {SCHEMA}.{name}"))
            .await?;
    }
    Ok(())
}

/// Statement that records a loaded frame, as part of the frame's own transaction. It fails if the frame is
/// already loaded.
pub fn frame_done(n: u64) -> String {
    format!("INSERT INTO {SCHEMA}.frames VALUES ({n}, 'done')")
}

/// Statement that records the start of a frame of a non-transactional table.
pub fn frame_begun(n: u64) -> String {
    format!("INSERT INTO {SCHEMA}.frames VALUES ({n}, 'begun')")
}

/// Statement that records a loaded frame of a non-transactional table.
pub fn non_transactional_frame_done(n: u64) -> String {
    format!("UPDATE {SCHEMA}.frames SET state = 'done' WHERE n = {n}")
}

pub(super) fn kind_word(kind: ObjectKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(word)) => word,
        _ => kind.noun().to_owned(),
    }
}
