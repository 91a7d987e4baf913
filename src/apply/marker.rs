//! The schema `drctl_restore` on the server being restored: the mark "half-restored", and what the
//! next run needs to go on.
//!
//! It is created before anything else and dropped at the end; `backup` and `verify` refuse a server
//! that carries it. What it holds: which backup is being restored and how (`run`), what this restore
//! made (`objects`, so that giving it up never drops what it met), which frames of rows are in
//! (`frames`, each row committed with the rows themselves), which passes are over (`passes`), which
//! events are still to be enabled (`events`), and the old values of settings it changed (`settings`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::apply::failure::Failure;
use crate::apply::lane::Lane;
use crate::apply::run_record::RunRecord;
use crate::error::{Error, Result};
use crate::server::connect::{literal, server_code};
use crate::sql::definer::enable_event;
use crate::sql::statement::{ObjectId, ObjectKind};

/// The schema's name.
pub use crate::server::schemas::MARKER as SCHEMA;

/// The named lock of the server that keeps a second restore away.
pub const LOCK: &str = "drctl.restore";

/// How long dropping the marker waits for who reads it, seconds.
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

/// The stretches of a restore that end in a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// Accounts that the backup has and the server lacks.
    Accounts,
    /// What is in the way was dropped.
    Replace,
    /// Schemas, tables, sequences.
    PreData,
    /// Rows.
    Data,
    /// Keys that could wait for the rows.
    Keys,
    /// Foreign keys.
    ForeignKeys,
    /// Triggers, routines, events, views.
    PostData,
    /// The comparison with the dump.
    Prove,
    /// Events are enabled.
    Events,
}

impl Pass {
    /// Its name, in the marker and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Accounts => "accounts",
            Pass::Replace => "replace",
            Pass::PreData => "pre-data",
            Pass::Data => "data",
            Pass::Keys => "keys",
            Pass::ForeignKeys => "foreign-keys",
            Pass::PostData => "post-data",
            Pass::Prove => "prove",
            Pass::Events => "events",
        }
    }
}

/// An event that is to be enabled when the restore is proven.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingEvent {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its definer, as an account in backticks; empty where the dump names none.
    pub definer: String,
}

impl PendingEvent {
    /// Which event.
    pub fn object(&self) -> ObjectId {
        ObjectId::new(ObjectKind::Event, &self.schema, &self.name)
    }

    /// The statement that enables it.
    pub fn enabling(&self) -> String {
        enable_event(&self.object(), &self.definer)
    }
}

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// What is being restored.
    pub run: RunRecord,
    /// What this restore makes: nothing of it was there when it began, or it was to be replaced.
    pub objects: BTreeSet<ObjectId>,
    /// Accounts that this restore makes.
    pub accounts: BTreeSet<String>,
    /// Passes that are over.
    pub passes: BTreeSet<String>,
    /// Frames that are in.
    pub frames: BTreeSet<u64>,
    /// Frames of tables without transactions that were begun: how far they came is unknown.
    pub begun: BTreeSet<u64>,
    /// Events to enable.
    pub events: BTreeSet<PendingEvent>,
    /// Events whose time has passed: the server did not keep them.
    pub expired: BTreeSet<ObjectId>,
}

impl Marker {
    /// A restore that has not made anything yet.
    pub fn new(run: RunRecord) -> Self {
        Marker {
            run,
            objects: BTreeSet::new(),
            accounts: BTreeSet::new(),
            passes: BTreeSet::new(),
            frames: BTreeSet::new(),
            begun: BTreeSet::new(),
            events: BTreeSet::new(),
            expired: BTreeSet::new(),
        }
    }

    /// Whether a pass is over.
    pub fn passed(&self, pass: Pass) -> bool {
        self.passes.contains(pass.name())
    }
}

/// Reads the marker; `None` where there is none.
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
            "the schema {SCHEMA} is not one that this drctl wrote"
        ))
        .because(e)
        .hint(format!(
            "look at it, and drop it when nothing else needs it: DROP DATABASE {SCHEMA}"
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
            Error::refused(format!("the schema {SCHEMA} is of another drctl"))
                .because(e)
                .hint("go on with the drctl that began this restore")
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

/// The frames that are in, as the server has it.
pub async fn frames_done(lane: &mut Lane) -> Result<BTreeSet<u64>> {
    let sql = format!("SELECT n FROM {SCHEMA}.frames WHERE state = 'done'");
    Ok(lane.query(&sql).await?.into_iter().collect())
}

/// Creates the marker: from here on the server is half-restored.
pub async fn create(lane: &mut Lane, run: &RunRecord) -> Result<()> {
    let sql =
        format!("CREATE DATABASE IF NOT EXISTS {SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    lane.persist(&sql).await?;
    // What a run that was killed in its last moment left would say that frames are in.
    drop_tables(lane).await?;
    for table in TABLES {
        let sql = format!("CREATE TABLE IF NOT EXISTS {SCHEMA}.{table} ENGINE=InnoDB");
        lane.persist(&sql).await?;
    }
    let run = serde_json::to_string(run)
        .map_err(|e| Error::unexpected("cannot write down the restore").because(e))?;
    // Last: a marker without it is none.
    let sql = format!("REPLACE INTO {SCHEMA}.run VALUES (1, {})", literal(&run));
    lane.persist(&sql).await?;
    Ok(())
}

/// Drops the marker: the restore is whole, or nothing is left of it.
///
/// Whoever reads it in an open transaction is waited for, but not for long.
pub async fn drop_marker(lane: &mut Lane) -> Result<()> {
    let dropped = lane.step(drop_once).await;
    dropped.map_err(|error| {
        let why = format!("all is done but for the schema {SCHEMA}, which cannot be dropped");
        error.context(why).hint(format!(
            "end whatever reads it, and run drctl restore --keep, or DROP DATABASE {SCHEMA}"
        ))
    })
}

async fn drop_once(lane: &mut Lane) -> Result<(), Failure> {
    /// No such schema, no such table: an earlier try took effect.
    const GONE: [u16; 2] = [1049, 1146];
    let wait = format!("SET SESSION lock_wait_timeout = {DROP_SECONDS}");
    lane.run(wait.as_bytes()).await?;
    // The record first: what is left after a crash in between is no marker.
    let forget = format!("DELETE FROM {SCHEMA}.run");
    match lane.run(forget.as_bytes()).await {
        Err(Failure::Fatal(error))
            if server_code(&error).is_some_and(|code| GONE.contains(&code)) => {}
        forgotten => drop(forgotten?),
    }
    let drop = format!("DROP DATABASE IF EXISTS {SCHEMA}");
    match lane.run(drop.as_bytes()).await {
        // Who reads it was waited for already.
        Err(Failure::Conflict(error)) => Err(Failure::Fatal(error)),
        dropped => dropped.map(|_| ()),
    }
}

/// Drops the marker's tables, and nothing else that may stand in its schema.
pub async fn drop_tables(lane: &mut Lane) -> Result<()> {
    for table in TABLES {
        let name = table.split(' ').next().unwrap_or_default();
        lane.persist(&format!("DROP TABLE IF EXISTS {SCHEMA}.{name}"))
            .await?;
    }
    Ok(())
}

/// Notes what the restore makes, before it makes any of it.
pub async fn note_objects<'a>(
    lane: &mut Lane,
    objects: impl Iterator<Item = &'a ObjectId>,
) -> Result<()> {
    /// Rows of one INSERT.
    const AT_ONCE: usize = 500;
    let rows: Vec<String> = objects
        .map(|object| {
            format!(
                "({}, {}, {})",
                literal(&kind_word(object.kind)),
                literal(&object.schema),
                literal(&object.name)
            )
        })
        .collect();
    for rows in rows.chunks(AT_ONCE) {
        let sql = format!("REPLACE INTO {SCHEMA}.objects VALUES {}", rows.join(", "));
        lane.persist(&sql).await?;
    }
    Ok(())
}

/// Notes an account before it is created. It stays when the restore is given up: others may have
/// begun to use it.
pub async fn note_account(lane: &mut Lane, account: &str) -> Result<()> {
    let sql = format!(
        "REPLACE INTO {SCHEMA}.accounts VALUES ({})",
        literal(account)
    );
    lane.persist(&sql).await?;
    Ok(())
}

/// Notes that a pass is over.
pub async fn note_pass(lane: &mut Lane, pass: Pass) -> Result<()> {
    let sql = format!("REPLACE INTO {SCHEMA}.passes VALUES ('{}')", pass.name());
    lane.persist(&sql).await?;
    Ok(())
}

/// Notes an event that is to be enabled later.
pub async fn note_event(lane: &mut Lane, event: &PendingEvent) -> Result<()> {
    let sql = format!(
        "REPLACE INTO {SCHEMA}.events VALUES ({}, {}, {})",
        literal(&event.schema),
        literal(&event.name),
        literal(&event.definer)
    );
    lane.persist(&sql).await?;
    Ok(())
}

/// Whether the server has an event.
pub async fn exists_event(lane: &mut Lane, event: &ObjectId) -> Result<bool> {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.events WHERE event_schema = {} AND event_name = {}",
        literal(&event.schema),
        literal(&event.name)
    );
    let count: Vec<u64> = lane.query(&sql).await?;
    Ok(count.first().is_some_and(|count| *count > 0))
}

/// Notes an event that the server did not keep.
pub async fn note_expired(lane: &mut Lane, event: &ObjectId) -> Result<()> {
    let (schema, name) = (literal(&event.schema), literal(&event.name));
    let sql = format!("REPLACE INTO {SCHEMA}.expired VALUES ({schema}, {name})");
    lane.persist(&sql).await?;
    let sql = format!("DELETE FROM {SCHEMA}.events WHERE `schema` = {schema} AND name = {name}");
    lane.persist(&sql).await?;
    Ok(())
}

/// The statement that notes that a frame is in: part of the frame's own transaction. It fails where
/// the frame is in already.
pub fn frame_done(n: u64) -> String {
    format!("INSERT INTO {SCHEMA}.frames VALUES ({n}, 'done')")
}

/// The statement that notes that a frame of a table without transactions is begun.
pub fn frame_begun(n: u64) -> String {
    format!("INSERT INTO {SCHEMA}.frames VALUES ({n}, 'begun')")
}

/// The statement that notes that a frame of a table without transactions is in.
pub fn fragile_frame_done(n: u64) -> String {
    format!("UPDATE {SCHEMA}.frames SET state = 'done' WHERE n = {n}")
}

fn kind_word(kind: ObjectKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(word)) => word,
        _ => kind.noun().to_owned(),
    }
}
