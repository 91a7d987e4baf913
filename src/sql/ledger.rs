//! What a dump holds, as digests that restored data are held against.
//!
//! Per table the number of rows and the sum modulo 2^128 of XXH3-128 over each row tuple as
//! mysqldump wrote it: independent of the order of rows, additive over statements and workers.
//! Per object the SHA-256 of its definition. docs/proof.md says what that proves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_128;

use super::rows::{self, RowsError};
use super::session::Session;
use super::statement::{ObjectId, ObjectKind, Section};

/// The multiset of a table's rows, or of some of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// How many.
    pub rows: u64,
    /// The sum modulo 2^128 of their digests.
    #[serde(with = "hex_digits")]
    pub digest: u128,
}

impl TableRows {
    /// The rows of one INSERT, as a server is sent it.
    pub fn of_insert(sql: &[u8]) -> Result<TableRows, RowsError> {
        let mut all = TableRows::default();
        for row in rows::of_insert(sql)? {
            all.rows += 1;
            all.digest = all.digest.wrapping_add(xxh3_128(row?));
        }
        Ok(all)
    }

    /// Adds other rows of the same table.
    pub fn add(&mut self, other: TableRows) {
        self.rows += other.rows;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// One object was defined twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is defined twice")]
pub struct DefinedTwice(pub ObjectId);

/// The variables that a server keeps with a trigger, routine, event or view.
const REMEMBERED: [&str; 4] = [
    "sql_mode",
    "character_set_client",
    "collation_connection",
    "time_zone",
];

/// Everything that a dump holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    tables: BTreeMap<ObjectId, TableRows>,
    objects: BTreeMap<ObjectId, String>,
    /// How many triggers stand one behind the other so far: their order is part of them.
    triggers: u32,
}

impl Ledger {
    /// Notes the definition of an object under the session in force; a place-holder defines
    /// nothing. Triggers of one table must come in the order in which they fire.
    pub fn define(
        &mut self,
        object: &ObjectId,
        placeholder: bool,
        sql: &[u8],
        session: &Session,
    ) -> Result<(), DefinedTwice> {
        if placeholder {
            return Ok(());
        }
        if object.kind == ObjectKind::Table {
            self.tables.entry(object.clone()).or_default();
        }
        self.triggers = match object.kind {
            ObjectKind::Trigger => self.triggers + 1,
            _ => 0,
        };
        let mut ddl = Sha256::new_with_prefix(sql);
        if object.kind.section() == Section::PostData {
            // A body means something else under another sql_mode or character set.
            for name in REMEMBERED {
                ddl.update([0]);
                ddl.update(session.variable(name).unwrap_or_default());
            }
            ddl.update(self.triggers.to_be_bytes());
        }
        let ddl = hex::encode(ddl.finalize());
        match self.objects.insert(object.clone(), ddl) {
            None => Ok(()),
            Some(_) => Err(DefinedTwice(object.clone())),
        }
    }

    /// Adds rows of a table.
    pub fn add_rows(&mut self, table: &ObjectId, rows: TableRows) {
        self.tables.entry(table.clone()).or_default().add(rows);
    }

    /// Adds what another stream of the same dump holds.
    pub fn merge(&mut self, other: Ledger) -> Result<(), DefinedTwice> {
        for (table, rows) in other.tables {
            self.tables.entry(table).or_default().add(rows);
        }
        for (object, ddl) in other.objects {
            if self.objects.insert(object.clone(), ddl).is_some() {
                return Err(DefinedTwice(object));
            }
        }
        Ok(())
    }

    /// The tables and their rows; a table without rows is there too.
    pub fn tables(&self) -> impl Iterator<Item = (&ObjectId, TableRows)> {
        self.tables.iter().map(|(table, rows)| (table, *rows))
    }

    /// The defined objects and the SHA-256 of their definitions, hex.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectId, &str)> {
        self.objects
            .iter()
            .map(|(object, ddl)| (object, ddl.as_str()))
    }

    /// Whether nothing is defined and no row was seen.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.objects.is_empty()
    }

    /// Rows in all tables.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }
}

mod hex_digits {
    //! 128 bits as 32 hex digits: JSON numbers end at 2^53.

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(n: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{n:032x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &str) -> TableRows {
        TableRows::of_insert(format!("INSERT INTO `t` VALUES {values}").as_bytes()).unwrap()
    }

    #[test]
    fn the_order_of_rows_and_statements_does_not_matter() {
        let mut apart = rows("(2,'b')");
        apart.add(rows("(1,'a'),(3,'c')"));
        assert_eq!(apart, rows("(1,'a'),(2,'b'),(3,'c')"));
    }

    #[test]
    fn a_row_changed_lost_doubled_or_exchanged_for_another_shows() {
        let good = rows("(1,'a'),(2,'b'),(2,'b')");
        for bad in [
            "(1,'a'),(2,'b'),(2,'B')",
            "(1,'a'),(2,'b')",
            "(1,'a'),(1,'a'),(2,'b')",
        ] {
            assert_ne!(rows(bad), good, "{bad}");
        }
    }
}
