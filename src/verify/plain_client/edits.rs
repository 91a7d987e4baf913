//! Changes to the dump on its way to the client: those that RESTORE.txt makes with sed, and those of every restore into
//! a scratch server ([`created`]).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::archive::read::Archive;
use crate::archive::restore_txt::{SIGNED_HEAD, check_line};
use crate::restore::frames::frame::Frame;
use crate::restore::inspect::not_tested;
use crate::restore::report::RestoreReport;
use crate::sql::create_table::without_partitions;
use crate::sql::placement::{Changed, created, without_archived_counter};
use crate::sql::statement::{Kind, ObjectId, Section};

/// The changes to make, and those made so far.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// Definitions changed as in a restore into a scratch server.
    pub(super) changed: Arc<BTreeMap<ObjectId, Changed>>,
    /// Tables of the engine ARCHIVE whose counters were removed.
    archive_tables: Vec<ObjectId>,
    /// Tables to create without partitions, which [`Edits::afterwards`] adds.
    unpartitioned: BTreeSet<ObjectId>,
    /// First lines of the CHECK constraints to create as NOT ENFORCED.
    unenforced: Vec<String>,
    /// Whether the `sql_mode` at the head of the dump must be changed, and was not yet.
    changes_sql_mode: bool,
    /// Statements to execute after the dump.
    pub(super) afterwards: String,
}

impl Edits {
    /// The changes that the tables of an archive need.
    pub(super) fn of(archive: &Archive) -> Edits {
        let mut edits = Edits::default();
        let inventory = archive.contents().inventory.iter();
        let needs = inventory.filter_map(|entry| Some((&entry.object, entry.needs.as_ref()?)));
        for (table, needs) in needs.filter(|(_, needs)| !needs.is_default()) {
            let lines = needs.checks.iter().map(|name| check_line(name));
            edits.unenforced.extend(lines);
            edits.afterwards.extend(needs.recomputation(table));
            edits.afterwards.push('\n');
            edits.changes_sql_mode |= needs.has_signed_subtraction();
            if needs.partitions.is_some() {
                edits.unpartitioned.insert(table.clone());
            }
        }
        edits
    }

    /// The SQL of a frame with the changes made.
    pub(super) fn apply<'a>(&mut self, frame: &'a Frame) -> Cow<'a, [u8]> {
        let mut sql = self.replace_definitions(frame);
        if !self.unenforced.is_empty() && frame.record.has(Section::PreData) {
            unenforce(sql.to_mut(), &self.unenforced);
        }
        sql
    }

    fn replace_definitions<'a>(&mut self, frame: &'a Frame) -> Cow<'a, [u8]> {
        let mut changes = Vec::new();
        let (from, to) = SIGNED_HEAD;
        if self.changes_sql_mode
            && let Some(at) = memchr::memmem::find(frame.raw(), from.as_bytes())
        {
            self.changes_sql_mode = false;
            changes.push((at..at + from.len(), to.as_bytes().to_vec()));
        }
        for (statement, sql) in frame.of(Section::PreData) {
            let object = match &statement.kind {
                Kind::CreateSchema { schema } => ObjectId::schema(schema.as_str()),
                Kind::Create { object, .. } => object.clone(),
                _ => continue,
            };
            let mut new = Cow::Borrowed(sql);
            if let Some(without) = without_archived_counter(&new) {
                self.archive_tables.push(object.clone());
                new = Cow::Owned(without);
            }
            if self.unpartitioned.contains(&object) {
                new = Cow::Owned(without_partitions(&new));
            }
            if let Some(created) = created(&new, true) {
                let dumped = sql.to_vec();
                new = Cow::Owned(created.clone());
                Arc::make_mut(&mut self.changed).insert(object, Changed { dumped, created });
            }
            if let Cow::Owned(new) = new {
                let begin = statement.begins_at();
                changes.push((begin..begin + sql.len(), new));
            }
        }
        if changes.is_empty() {
            return Cow::Borrowed(frame.raw());
        }
        let (mut all, mut from) = (Vec::new(), 0);
        for (range, new) in changes {
            all.extend_from_slice(&frame.raw()[from..range.start]);
            all.extend_from_slice(&new);
            from = range.end;
        }
        all.extend_from_slice(&frame.raw()[from..]);
        Cow::Owned(all)
    }

    /// Warns of changes that a real restore has to make as well, or does not make.
    pub(super) fn warn(&self, restored: &mut RestoreReport) {
        if !self.changed.is_empty() {
            restored.warn(not_tested(self.changed.keys()));
        }
        if let Some(table) = self.archive_tables.first() {
            restored.warn(format!(
                "the AUTO_INCREMENT value of {table} was removed for the plain client, since the engine ARCHIVE refuses \
                 rows below it (1022); a restore by hand has to do the same, as RESTORE.txt says"
            ));
        }
    }
}

/// Adds NOT ENFORCED to the CHECK constraints that begin with these lines.
fn unenforce(sql: &mut Vec<u8>, first_lines: &[String]) {
    for first_line in first_lines {
        let line = format!("\n{first_line}");
        let Some(at) = memchr::memmem::find(sql, line.as_bytes()) else {
            continue;
        };
        let body = at + line.len();
        let end = memchr::memchr(b'\n', &sql[body..]).map_or(sql.len(), |length| body + length);
        let end = if sql[..end].ends_with(b",") {
            end - 1
        } else {
            end
        };
        sql.splice(end..end, b" NOT ENFORCED".iter().copied());
    }
}
