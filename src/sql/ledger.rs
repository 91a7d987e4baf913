//! The contents of a dump as digests, with which restored data are compared.
//!
//! For the rows of a table: their number, and the sum modulo 2^128 of the XXH3-128 of each tuple ([`super::rows`]), in
//! which the order of rows does not matter but their multiplicity does. For each definition: the SHA-256 of its
//! statement and of the session variables that the server stores with it. Rows are summed per statement, on any thread;
//! no table is held in memory.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::canonical;
use super::rows::{RowsError, columns_of_insert, of_insert, values};
use super::session::Session;
use super::statement::{Kind, ObjectId, ObjectKind, Statement};
use super::trigger::trigger_table;
use crate::util::digest::{Sha256Digest, Xxh3Digest};

/// A wrapping sum of XXH3-128 over row tuples; 32 hexadecimal digits when serialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(from = "Xxh3Digest", into = "Xxh3Digest")]
pub struct RowDigest(pub u128);

impl From<Xxh3Digest> for RowDigest {
    fn from(digest: Xxh3Digest) -> Self {
        RowDigest(digest.into())
    }
}

impl From<RowDigest> for Xxh3Digest {
    fn from(digest: RowDigest) -> Self {
        digest.0.into()
    }
}

/// A multiset of rows: their number, and the sum of their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct RowSum {
    /// The number of rows.
    pub rows: u64,
    /// The sum of their digests.
    pub digest: RowDigest,
}

impl RowSum {
    /// The rows of one INSERT (its [`Statement::sql`]).
    pub fn of_insert(sql: &[u8]) -> Result<RowSum, RowsError> {
        let mut sum = RowSum::default();
        for tuple in of_insert(sql)? {
            sum.add_tuple(tuple?);
        }
        Ok(sum)
    }

    /// The rows of one INSERT without the values of some columns.
    pub fn of_insert_without(sql: &[u8], without: &Omitted) -> Result<RowSum, RowsError> {
        let (listed, _) = columns_of_insert(sql)?;
        let columns = listed.as_ref().unwrap_or(&without.columns).iter();
        let omitted: Vec<bool> = columns.map(|name| without.omitted.contains(name)).collect();
        let (mut sum, mut kept) = (RowSum::default(), Vec::new());
        for tuple in of_insert(sql)? {
            kept.clear();
            for (at, value) in values(tuple?).enumerate() {
                let value = value?;
                if omitted.get(at) != Some(&true) {
                    kept.extend_from_slice(value);
                    kept.push(b',');
                }
            }
            sum.add_tuple(&kept);
        }
        Ok(sum)
    }

    /// Adds a row, given as the bytes between its parentheses.
    pub fn add_tuple(&mut self, tuple: &[u8]) {
        self.add_digest(xxhash_rust::xxh3::xxh3_128(tuple));
    }

    /// Adds a row, given as the XXH3-128 of those bytes.
    pub fn add_digest(&mut self, digest: u128) {
        self.rows += 1;
        self.digest.0 = self.digest.0.wrapping_add(digest);
    }

    /// Adds other rows. Saturates: numbers may come from an index, which is untrusted.
    pub fn add(&mut self, other: RowSum) {
        self.rows = self.rows.saturating_add(other.rows);
        self.digest.0 = self.digest.0.wrapping_add(other.digest.0);
    }
}

/// Columns of a table whose values are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Omitted {
    /// All columns of the table, in order: those of an INSERT that lists none.
    pub columns: Vec<String>,
    /// The columns that are left out.
    pub omitted: BTreeSet<String>,
}

/// The entry of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// The digest of its definition; `None` as long as only its rows were found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddl: Option<Sha256Digest>,
    /// The rows of a table; `None` for other objects.
    #[serde(default, skip_serializing_if = "Option::is_none", flatten)]
    pub rows: Option<RowSum>,
    /// The position of a trigger among those of its table, from 1: they fire in this order. `None` for other objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
}

/// The entries, by object.
pub type Entries = BTreeMap<ObjectId, Entry>;

/// The entry of an object, as a record of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectId,
    /// Its entry.
    #[serde(flatten)]
    pub entry: Entry,
}

/// An object was defined twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the dump defines {0} twice")]
pub struct Duplicate(pub ObjectId);

/// The contents of a dump, or of a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    entries: Entries,
    /// Number of triggers of each table so far.
    triggers: BTreeMap<ObjectId, u32>,
    /// The schema altered for the next definition, and its temporary collation.
    altered: Option<(String, String)>,
}

impl Ledger {
    /// Adds the definition in a statement; `session` is the session before it. Rows are added separately, by
    /// [`Ledger::add_rows`].
    pub fn observe(
        &mut self,
        statement: &Statement<'_>,
        session: &Session,
    ) -> Result<(), Duplicate> {
        match &statement.kind {
            Kind::CreateSchema { schema } => {
                let digest = Sha256Digest::of(statement.sql);
                self.define(ObjectId::schema(schema), digest, None)
            }
            Kind::Create {
                object,
                placeholder: false,
            } => {
                let order = (object.kind == ObjectKind::Trigger)
                    .then(|| self.trigger_order(statement.sql, object));
                let altered = self.altered.as_ref();
                let collation = altered
                    .filter(|(schema, _)| *schema == object.schema)
                    .map(|(_, collation)| collation.as_str());
                let digest = definition_digest(statement.sql, object.kind, session, collation);
                self.define(object.clone(), digest, order)
            }
            // Dumps contain pairs: the first changes the collation, the second restores it.
            Kind::AlterSchema { schema } => {
                let there = self.altered.take().is_none();
                self.altered = there.then(|| (schema.clone(), collation_of(statement.sql)));
                Ok(())
            }
            Kind::SetSequence { object } => {
                let entry = self.entries.entry(object.clone()).or_default();
                let before = entry.ddl.map(|digest| digest.to_string());
                let digest = Sha256::new()
                    .chain_update(before.unwrap_or_default())
                    .chain_update(statement.sql);
                entry.ddl = Some(digest.into());
                Ok(())
            }
            Kind::Insert { table } => {
                self.add_rows(table, RowSum::default());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds rows to a table.
    pub fn add_rows(&mut self, table: &ObjectId, sum: RowSum) {
        if let Some(entry) = self.entries.get_mut(table) {
            entry.rows.get_or_insert_default().add(sum);
        } else {
            let entry = self.entries.entry(table.clone()).or_default();
            entry.rows = Some(sum);
        }
    }

    /// Adds the ledger of another part of the same dump.
    pub fn merge(&mut self, other: Ledger) -> Result<(), Duplicate> {
        other.into_records().try_for_each(|record| self.add(record))
    }

    /// Adds a record.
    pub fn add(&mut self, record: Record) -> Result<(), Duplicate> {
        let Record { object, entry } = record;
        let mine = self.entries.entry(object.clone()).or_default();
        if entry.ddl.is_some() {
            if mine.ddl.is_some() {
                return Err(Duplicate(object));
            }
            mine.ddl = entry.ddl;
            mine.order = entry.order;
        }
        if let Some(sum) = entry.rows {
            mine.rows.get_or_insert_default().add(sum);
        }
        Ok(())
    }

    /// The entries, by object.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The entries, by object.
    pub fn into_entries(self) -> Entries {
        self.entries
    }

    /// The entry of an object.
    pub fn get(&self, object: &ObjectId) -> Option<&Entry> {
        self.entries.get(object)
    }

    /// All entries, in the order of their objects.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> + Clone {
        self.entries.iter()
    }

    /// All entries as records, in the order of their objects.
    pub fn into_records(self) -> impl Iterator<Item = Record> {
        self.entries
            .into_iter()
            .map(|(object, entry)| Record { object, entry })
    }

    /// Objects with rows or a position but no definition; none in a complete dump.
    pub fn undefined(&self) -> impl Iterator<Item = &ObjectId> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.ddl.is_none())
            .map(|(object, _)| object)
    }

    /// The number of rows in all tables.
    pub fn total_rows(&self) -> u64 {
        let sums = self.entries.values().filter_map(|entry| entry.rows);
        sums.map(|sum| sum.rows).fold(0, u64::saturating_add)
    }

    fn define(
        &mut self,
        object: ObjectId,
        digest: Sha256Digest,
        order: Option<u32>,
    ) -> Result<(), Duplicate> {
        let entry = self.entries.entry(object.clone()).or_default();
        if entry.ddl.is_some() {
            return Err(Duplicate(object));
        }
        if object.kind == ObjectKind::Table {
            entry.rows.get_or_insert_default();
        }
        entry.ddl = Some(digest);
        entry.order = order;
        Ok(())
    }

    fn trigger_order(&mut self, sql: &[u8], trigger: &ObjectId) -> u32 {
        let table = trigger_table(sql).unwrap_or_default();
        let table = ObjectId::table(&trigger.schema, table);
        let order = self.triggers.entry(table).or_default();
        *order += 1;
        *order
    }
}

/// The collation at the end of `ALTER DATABASE name CHARACTER SET c COLLATE c_x`.
fn collation_of(sql: &[u8]) -> String {
    let last = sql.trim_ascii().rsplit(u8::is_ascii_whitespace).next();
    String::from_utf8_lossy(last.unwrap_or_default()).into_owned()
}

/// The digest of a CREATE TABLE.
pub fn table_digest(sql: &[u8]) -> Sha256Digest {
    Sha256Digest::of(canonical::of_table(sql))
}

/// The digest of a definition with the session variables and the altered schema collation that the server stores with
/// it: a routine restored under another sql_mode has the same text but may behave differently.
fn definition_digest(
    sql: &[u8],
    kind: ObjectKind,
    session: &Session,
    schema_collation: Option<&str>,
) -> Sha256Digest {
    const CHARSETS: [&str; 3] = [
        "character_set_client",
        "character_set_connection",
        "collation_connection",
    ];
    let more: &[&str] = match kind {
        ObjectKind::Event => &["sql_mode", "time_zone"],
        ObjectKind::Table => return table_digest(sql),
        ObjectKind::View => &[],
        kind if kind.is_stored_program() => &["sql_mode"],
        _ => return Sha256Digest::of(sql),
    };
    let mut digest = Sha256::new_with_prefix(sql);
    for name in CHARSETS.iter().chain(more) {
        if let Some(literal) = session.variable(name) {
            digest.update(format!("\0{name}={literal}"));
        }
    }
    if let Some(collation) = schema_collation.filter(|_| kind.is_stored_program()) {
        digest.update(format!("\0database={collation}"));
    }
    digest.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &str) -> RowSum {
        RowSum::of_insert(format!("INSERT INTO `t` VALUES {values}").as_bytes()).unwrap()
    }

    fn defined(ledger: &mut Ledger, sql: &str, object: ObjectId) -> Result<(), Duplicate> {
        let kind = Kind::Create {
            object,
            placeholder: false,
        };
        let statement = Statement {
            text: sql.as_bytes(),
            sql: sql.as_bytes(),
            kind,
        };
        ledger.observe(&statement, &Session::default())
    }

    #[test]
    fn values_of_omitted_columns_do_not_matter_and_all_others_do() {
        let without = Omitted {
            columns: ["a", "v", "b"].map(str::to_owned).into(),
            omitted: ["v".to_owned()].into(),
        };
        let sum = |values: &str| {
            let sql = format!("INSERT INTO `t` {values}");
            RowSum::of_insert_without(sql.as_bytes(), &without).unwrap()
        };
        let good = sum("VALUES (1,'x',NULL),(2,NULL,'it''s')");
        assert_eq!(sum("VALUES (2,7,'it''s'),(1,'a,b',NULL)"), good);
        assert_eq!(
            sum("(`a`, `b`, `v`) VALUES (1,NULL,'x'),(2,'it''s',NULL)"),
            good
        );
        for bad in [
            "VALUES (1,'x',NULL),(2,NULL,'its')",
            "VALUES (1,'x',NULL)",
            "VALUES (1,'x',NULL),(1,'x',NULL),(2,NULL,'it''s')",
            "VALUES (2,'x',NULL),(1,NULL,'it''s')",
        ] {
            assert_ne!(sum(bad), good, "{bad}");
        }
    }

    #[test]
    fn a_changed_lost_doubled_or_swapped_row_changes_the_sum() {
        let good = rows("(1,'a'),(2,'b'),(2,'b')");
        for bad in [
            "(1,'a'),(2,'b'),(2,'B')",
            "(1,'a'),(2,'b')",
            "(1,'a'),(1,'a'),(2,'b')",
        ] {
            assert_ne!(rows(bad), good, "{bad}");
        }
    }

    #[test]
    fn the_order_of_rows_and_statements_does_not_matter() {
        let mut apart = rows("(2,'b')");
        apart.add(rows("(1,'a'),(3,'c')"));
        assert_eq!(apart, rows("(1,'a'),(2,'b'),(3,'c')"));
    }

    #[test]
    fn the_collation_of_an_altered_schema_is_part_of_the_digest_between_the_two_alters() {
        let alter = |ledger: &mut Ledger, collation: &str| {
            let sql = format!("ALTER DATABASE `d` CHARACTER SET x COLLATE {collation} ");
            let kind = Kind::AlterSchema { schema: "d".into() };
            let (text, sql) = (sql.as_bytes(), sql.as_bytes());
            let statement = Statement { text, sql, kind };
            ledger.observe(&statement, &Session::default()).unwrap();
        };
        let routine = |ledger: &mut Ledger, name: &str| {
            let object = ObjectId::new(ObjectKind::Procedure, "d", name);
            defined(ledger, "CREATE PROCEDURE p() DO 1", object.clone()).unwrap();
            ledger.get(&object).unwrap().ddl
        };
        let mut ledger = Ledger::default();
        let plain = routine(&mut ledger, "a");
        alter(&mut ledger, "latin1_bin");
        let altered = routine(&mut ledger, "b");
        alter(&mut ledger, "utf8mb4_bin");
        let back = routine(&mut ledger, "c");
        alter(&mut ledger, "latin2_bin");
        let other = routine(&mut ledger, "d");
        assert_eq!(plain, back);
        assert!(altered != plain && other != plain && other != altered);
    }

    #[test]
    fn an_object_cannot_be_defined_twice_in_one_part_or_in_two() {
        let table = ObjectId::table("d", "t");
        let mut ledger = Ledger::default();
        defined(&mut ledger, "CREATE TABLE `t` (a int)", table.clone()).unwrap();
        let again = defined(&mut ledger, "CREATE TABLE `t` (a int)", table.clone());
        assert_eq!(again, Err(Duplicate(table.clone())));
        assert_eq!(ledger.clone().merge(ledger), Err(Duplicate(table)));
    }

    #[test]
    fn parts_of_a_dump_add_up_and_rows_without_a_definition_are_found() {
        let table = ObjectId::table("d", "t");
        let mut first = Ledger::default();
        first.add_rows(&table, rows("(1,'a')"));
        assert_eq!(first.undefined().collect::<Vec<_>>(), [&table]);
        let mut second = Ledger::default();
        defined(&mut second, "CREATE TABLE `t` (a int)", table.clone()).unwrap();
        second.add_rows(&table, rows("(2,'b')"));
        first.merge(second).unwrap();
        assert_eq!(first.undefined().count(), 0);
        assert_eq!(
            first.get(&table).unwrap().rows,
            Some(rows("(1,'a'),(2,'b')"))
        );
    }

    #[test]
    fn records_are_read_back_from_json() {
        let mut ledger = Ledger::default();
        let table = ObjectId::table("d", "t");
        defined(&mut ledger, "CREATE TABLE `t` (a int)", table.clone()).unwrap();
        ledger.add_rows(&table, rows("(1,'a')"));
        let trigger = ObjectId::new(ObjectKind::Trigger, "d", "x");
        defined(
            &mut ledger,
            "CREATE TRIGGER x BEFORE INSERT ON t SET @a=1",
            trigger,
        )
        .unwrap();
        let mut back = Ledger::default();
        for record in ledger.clone().into_records() {
            let json = serde_json::to_string(&record).unwrap();
            back.add(serde_json::from_str(&json).unwrap()).unwrap();
        }
        assert!(ledger.iter().eq(back.iter()));
    }
}
