//! Values that each session computes for itself when it reads a row: `days_left INT AS (DATEDIFF(due, CURDATE()))`.
//!
//! mariadb-dump writes the values of virtual columns, and every server ignores them when the dump is loaded. If they depend on
//! the session or the moment, no two dumps have the same. The ledger contains them, so a table whose rows differ, but not in
//! number, is compared again without these columns: the rows in the archive with those that a dump program writes. Nothing else
//! is left out; such a table is read twice on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::archive::index::FrameRecord;
use crate::archive::read::Archive;
use crate::comparison::archived::each_statement;
use crate::comparison::compare::{Class, Comparison};
use crate::comparison::dump_commands::DumpScope;
use crate::comparison::redump::{Redump, redump};
use crate::mysql::ServerConfig;
use crate::reader::Reader;
use crate::sql::computed::computed_by_readers;
use crate::sql::create_table::CreateTable;
use crate::sql::ledger::{Entries, Omitted, RowSum};
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};

/// The two sides, as they were compared.
pub struct Sides<'a> {
    /// The backup.
    pub archive: &'a Archive,
    /// The name on the server of an object of the backup.
    pub mapped: &'a dyn Fn(&ObjectId) -> ObjectId,
    /// The server.
    pub server: &'a ServerConfig,
    /// What was dumped of it.
    pub redump: &'a Redump,
    /// Its ledger.
    pub found: &'a Entries,
}

impl Sides<'_> {
    /// Removes the differences of rows that are only in such values.
    pub async fn settle(&self, comparison: &mut Comparison, cancel: &Cancel) -> Result<()> {
        let is_as_many = |table: &ObjectId| {
            let rows = |entries: &Entries| Some(entries.get(table)?.rows?.rows);
            rows(&self.redump.expected) == rows(self.found)
        };
        let differing = comparison.objects_of(&[Class::Data]).into_iter();
        let differing: BTreeSet<ObjectId> = differing
            .filter(|object| object.kind == ObjectKind::Table && is_as_many(object))
            .collect();
        if differing.is_empty() {
            return Ok(());
        }
        let omitted = self.omitted(&differing).await?;
        if omitted.is_empty() {
            return Ok(());
        }
        let expected = cancel.unless(self.rows_of_archive(&omitted)).await?;
        let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for table in omitted.keys() {
            let of_schema = tables.entry(table.schema.clone()).or_default();
            of_schema.insert(table.name.clone());
        }
        let again = Redump {
            what: DumpScope::Tables(tables),
            without: Arc::new(omitted),
            reader: Reader::Mysqldump,
            jobs: 1,
            ..self.redump.clone()
        };
        let client = &self.archive.manifest().client;
        let found = redump(self.server, client, &again, cancel).await?;
        comparison.differences.retain(|one| {
            let ours = found.ledger.get(&one.object).and_then(|entry| entry.rows);
            let is_equal = ours.is_some() && expected.get(&one.object) == ours.as_ref();
            one.class != Class::Data || !is_equal
        });
        Ok(())
    }

    /// The columns to leave out, of those of these tables that have any.
    async fn omitted(&self, tables: &BTreeSet<ObjectId>) -> Result<BTreeMap<ObjectId, Omitted>> {
        let mut all = BTreeMap::new();
        let defines = |frame: &FrameRecord| frame.has(Section::PreData);
        each_statement(self.archive, defines, |statement| {
            if let Kind::Create {
                object,
                placeholder: false,
            } = &statement.kind
                && let table = (self.mapped)(object)
                && tables.contains(&table)
            {
                let omitted = computed_by_readers(statement.sql);
                if !omitted.is_empty() {
                    let definition = CreateTable::parse(statement.sql);
                    let columns = definition.columns().iter();
                    let columns = columns.map(|column| column.name.clone()).collect();
                    all.insert(table, Omitted { columns, omitted });
                }
            }
            Ok(())
        })
        .await?;
        Ok(all)
    }

    /// The sums of the rows in the archive.
    async fn rows_of_archive(
        &self,
        omitted: &BTreeMap<ObjectId, Omitted>,
    ) -> Result<BTreeMap<ObjectId, RowSum>> {
        let mut sums: BTreeMap<ObjectId, RowSum> = BTreeMap::new();
        let tables = &self.archive.contents().tables;
        let wanted = |frame: &FrameRecord| {
            let mut numbers = frame.tables.iter();
            frame.has(Section::Data)
                && numbers.any(|n| {
                    let table = tables.get(*n as usize);
                    table.is_some_and(|table| {
                        let table = ObjectId::table(&table.schema, &table.name);
                        omitted.contains_key(&(self.mapped)(&table))
                    })
                })
        };
        each_statement(self.archive, wanted, |statement| {
            if let Kind::Insert { table } = &statement.kind
                && let table = (self.mapped)(table)
                && let Some(omitted) = omitted.get(&table)
            {
                let sum = RowSum::of_insert_without(statement.sql, omitted).map_err(|e| {
                    Error::archive(format!("cannot read the rows of {table}")).because(e)
                })?;
                sums.entry(table).or_default().add(sum);
            }
            Ok(())
        })
        .await?;
        Ok(sums)
    }
}
