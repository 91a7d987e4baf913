//! Of which tables the server computes digests beside their rows ([`crate::sql::source_digest`]).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::mysql::Connection;
use crate::mysql::connect::literals;
use crate::reader::tables::TableRows;
use crate::sql::source_digest::SourceColumn;
use crate::sql::statement::ObjectId;

/// Size of a small table, bytes, as the server estimates it.
const SMALL_BYTES: u64 = 64 << 20;

/// The tables that a backup compares with what the server computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgainstSource {
    /// Those of at most 64 MiB.
    #[default]
    Small,
    /// All.
    All,
    /// None.
    Off,
}

/// What the server computes of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedOfTable {
    /// Columns whose values a dump may not carry.
    pub columns: Vec<SourceColumn>,
    /// Whether the table has a primary key. A count by another index may differ from the rows if that is corrupt.
    pub has_primary_key: bool,
}

/// Tables, each with what the server computes of it.
pub type Wanted = BTreeMap<ObjectId, WantedOfTable>;

/// The tables among `tables` whose rows are counted by the server, too, each with the columns of which it computes digests.
pub async fn wanted(
    connection: &mut Connection,
    tables: &[TableRows],
    schemas: &[String],
    which: AgainstSource,
) -> Result<Wanted> {
    let is_wanted = |rows: &&TableRows| match which {
        AgainstSource::Off => false,
        // 0 is an unknown size.
        AgainstSource::Small => (1..=SMALL_BYTES).contains(&rows.bytes),
        AgainstSource::All => true,
    };
    // Of others, two queries need not see the same rows.
    let tables = tables.iter().filter(|rows| rows.is_divisible);
    let tables = tables.filter(is_wanted);
    let mut wanted: Wanted = tables
        .map(|rows| (rows.table.clone(), WantedOfTable::default()))
        .collect();
    if wanted.is_empty() {
        return Ok(wanted);
    }
    // No virtual columns: MySQL's dump does not evaluate them, and an expression can fail for a row.
    let columns: Vec<(String, String, String, String, Option<String>, bool)> = connection
        .rows(&format!(
            "SELECT table_schema, table_name, column_name, data_type, character_set_name, \
             extra LIKE '%STORED GENERATED%' OR extra LIKE '%PERSISTENT%' \
             FROM information_schema.columns WHERE table_schema IN ({}) AND extra NOT LIKE '%VIRTUAL%' \
             ORDER BY table_schema, table_name, ordinal_position",
            literals(schemas)
        ))
        .await?;
    for (schema, table, name, data_type, charset, generated) in columns {
        if let Some(of_table) = wanted.get_mut(&ObjectId::table(schema, table)) {
            let column = SourceColumn::of(&name, &data_type, charset.as_deref(), generated);
            of_table.columns.extend(column);
        }
    }
    // Not by column_key: MySQL shows a unique key as PRI, too.
    let keyed: Vec<(String, String)> = connection
        .rows(&format!(
            "SELECT table_schema, table_name FROM information_schema.statistics \
             WHERE table_schema IN ({}) AND index_name = 'PRIMARY' AND seq_in_index = 1",
            literals(schemas)
        ))
        .await?;
    for (schema, table) in keyed {
        if let Some(of_table) = wanted.get_mut(&ObjectId::table(schema, table)) {
            of_table.has_primary_key = true;
        }
    }
    Ok(wanted)
}
