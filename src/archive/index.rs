//! `index.jsonl`: one record per line, written and read as a stream.
//!
//! A table or session is declared before the first frame that refers to its number; the ledger follows the last frame.
//! Unknown records and fields are ignored.

use serde::{Deserialize, Serialize};

use crate::entries::Entry;
use crate::entries::record::Format;
use crate::sql::computed::Needs;
use crate::sql::ledger;
use crate::sql::session::Session;
use crate::sql::source_digest::{SourceColumn, TableSums};
use crate::sql::spatial::SpatialReference;
use crate::sql::statement::{ObjectId, Section};
use crate::util::digest::{Sha256Digest, Xxh3Digest};

/// One line of the index.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Declares a session by number.
    Session(SessionRecord),
    /// Declares a table by number.
    Table(TableRecord),
    /// Location and contents of a frame.
    Frame(FrameRecord),
    /// An object's entry in the ledger.
    Ledger(ledger::Record),
    /// An object that existed on the server.
    Inventory(InventoryRecord),
    /// A warning of the run, in full; the manifest contains the first ones.
    Warning(String),
    /// A column whose values mysqldump cannot represent exactly; the manifest contains the first ones.
    Lossy(String),
    /// The GTIDs executed at the snapshot, if they are too long for the manifest.
    Gtid(String),
    /// What the server itself computed of a table.
    Source(SourceRecord),
    /// What the entries of a stream that is not SQL are.
    Format(Format),
    /// An entry in its ledger.
    Entry(Entry),
}

impl Record {
    /// Parses a line; `None` for an unknown kind of record, written by a later version.
    pub fn parse(line: &[u8]) -> serde_json::Result<Option<Record>> {
        /// A line with an unknown kind is ignored, one with a malformed known kind is an error.
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
            source: Option<SourceRecord>,
            format: Option<Format>,
            entry: Option<Entry>,
        }
        let line: Line = serde_json::from_slice(line)?;
        Ok((line.frame.map(Record::Frame))
            .or(line.session.map(Record::Session))
            .or(line.table.map(Record::Table))
            .or(line.ledger.map(Record::Ledger))
            .or(line.inventory.map(Record::Inventory))
            .or(line.warning.map(Record::Warning))
            .or(line.lossy.map(Record::Lossy))
            .or(line.gtid.map(Record::Gtid))
            .or(line.source.map(Record::Source))
            .or(line.entry.map(Record::Entry))
            .or(line.format.map(Record::Format)))
    }
}

/// The session at the beginning of some frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its number, counted from 0.
    pub n: u32,
    /// Schema and variables; frames refer to the record by `n`.
    pub session: Session,
}

/// A table to which frames refer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Its number, counted from 0.
    pub n: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// An independently compressed part of one stream: complete statements, or bytes of another kind, whose frames have no
/// sections and an empty session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRecord {
    /// Its number, counted from 0 over all segments.
    pub n: u64,
    /// Its stream, counted from 0.
    pub stream: u32,
    /// Its segment, counted from 0.
    pub segment: u32,
    /// Offset of its first byte in the segment.
    pub offset: u64,
    /// Stored bytes.
    pub stored: u64,
    /// Bytes of SQL.
    pub raw: u64,
    /// Digest of the stored bytes.
    pub sha256: Sha256Digest,
    /// Digest of the SQL.
    pub xxh3: Xxh3Digest,
    /// The sections of its statements, in order, each once. Empty for a prologue added by drctl.
    pub sections: Vec<Section>,
    /// Number of the session at its first byte.
    pub session: u32,
    /// Numbers of the tables that it creates or has rows of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<u32>,
    /// Number of rows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows: u64,
    /// Length of its longest statement in bytes.
    pub longest: u64,
}

impl FrameRecord {
    /// Whether the frame has statements of a section.
    pub fn has(&self, section: Section) -> bool {
        self.sections.contains(&section)
    }
}

/// One object of the server's inventory at the time of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRecord {
    /// The object.
    pub object: ObjectId,
    /// Storage engine of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Size in bytes of a table's data and indexes, as estimated by the server.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// The session settings that a table's expressions need; `None` if they need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// Spatial reference systems of a table's columns; earlier versions omitted those that every server has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spatial: Vec<SpatialReference>,
}

/// What the server itself computed of a table, in the snapshot of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Number of rows.
    pub rows: u64,
    /// Digests of columns whose values a dump may not carry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnDigest>,
}

/// The digest of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDigest {
    /// The column.
    pub column: SourceColumn,
    /// Number of values that are not NULL.
    pub values: u64,
    /// The sum of [`ValueSum`](crate::sql::source_digest::ValueSum).
    pub sum: Xxh3Digest,
}

impl SourceRecord {
    /// The digests of a table.
    pub fn new(table: &ObjectId, columns: &[SourceColumn], sums: &TableSums) -> SourceRecord {
        let columns = columns.iter().zip(&sums.columns);
        let columns = columns.map(|(column, digest)| ColumnDigest {
            column: column.clone(),
            values: digest.values,
            sum: digest.sum.into(),
        });
        SourceRecord {
            schema: table.schema.clone(),
            name: table.name.clone(),
            rows: sums.rows,
            columns: columns.collect(),
        }
    }

    /// The table.
    pub fn table(&self) -> ObjectId {
        ObjectId::table(&self.schema, &self.name)
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
