//! `index.jsonl`: one record a line, written and read as a stream.
//!
//! A table or session is declared before the first frame that names it by number; the ledger
//! follows the last frame. Unknown records and fields are ignored.

use serde::{Deserialize, Serialize};

use crate::sql::computed::Needs;
use crate::sql::ledger;
use crate::sql::session::Session;
use crate::sql::spatial::SpatialReference;
use crate::sql::statement::{ObjectId, Section};

/// One line of the index.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Declares a session by number.
    Session(SessionRecord),
    /// Declares a table by number.
    Table(TableRecord),
    /// Where a frame is and what it holds.
    Frame(FrameRecord),
    /// An object's entry in the ledger.
    Ledger(ledger::Record),
    /// What the server said exists.
    Inventory(InventoryRecord),
    /// A warning of the run, in full; the manifest holds the first ones.
    Warning(String),
    /// A column whose values mysqldump cannot carry exactly; the manifest holds the first ones.
    Lossy(String),
    /// The GTIDs executed at the snapshot, where they are too long for the manifest.
    Gtid(String),
}

impl Record {
    /// Reads one line; `None` for a kind of record that only a later drctl knows.
    pub fn parse(line: &[u8]) -> serde_json::Result<Option<Record>> {
        /// A line by its kinds: an unknown kind is ignored, a malformed one of ours is an error.
        #[derive(Deserialize)]
        struct Line {
            session: Option<SessionRecord>,
            table: Option<TableRecord>,
            frame: Option<FrameRecord>,
            ledger: Option<ledger::Record>,
            inventory: Option<InventoryRecord>,
            warning: Option<String>,
            lossy: Option<String>,
            gtid: Option<String>,
        }
        let line: Line = serde_json::from_slice(line)?;
        Ok((line.frame.map(Record::Frame))
            .or(line.session.map(Record::Session))
            .or(line.table.map(Record::Table))
            .or(line.ledger.map(Record::Ledger))
            .or(line.inventory.map(Record::Inventory))
            .or(line.warning.map(Record::Warning))
            .or(line.lossy.map(Record::Lossy))
            .or(line.gtid.map(Record::Gtid)))
    }
}

/// The `USE` and `SET`s that some frames begin under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its number, counted from 0.
    pub n: u32,
    /// What is in force.
    pub session: Session,
}

/// A table, as frames refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Its number, counted from 0.
    pub n: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// An independently compressed run of whole statements of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRecord {
    /// Its number, counted from 0 over all segments.
    pub n: u64,
    /// Which stream it belongs to, counted from 0.
    pub stream: u32,
    /// Which segment it lies in, counted from 0.
    pub segment: u32,
    /// Its first byte in that segment.
    pub offset: u64,
    /// Stored bytes.
    pub stored: u64,
    /// Bytes of SQL.
    pub raw: u64,
    /// SHA-256 of the stored bytes, hex.
    pub sha256: String,
    /// XXH3-128 of the SQL, hex.
    pub xxh3: String,
    /// The sections that it has statements of, in order, each once. Empty for a prologue of ours.
    pub sections: Vec<Section>,
    /// The session in force at its first byte.
    pub session: u32,
    /// The tables that it creates or has rows of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<u32>,
    /// Rows in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows: u64,
    /// Its longest statement, bytes of SQL.
    pub longest: u64,
}

impl FrameRecord {
    /// Whether it has statements of a section.
    pub fn has(&self, section: Section) -> bool {
        self.sections.contains(&section)
    }
}

/// One object of the server's inventory at the time of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRecord {
    /// Which object.
    pub object: ObjectId,
    /// A table's storage engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// A table's data and indexes on the server, bytes, as it estimates them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// What a table's expressions need of the session that computes them anew; absent where they need nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// Spatial reference systems that a table's columns refer to and that servers do not have by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spatial: Vec<SpatialReference>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
