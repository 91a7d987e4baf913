//! Reads the definitions of an archive before anything is decided or executed.
//!
//! The frames of definitions are always read, so that a statement that the guard rejects is found before
//! anything is executed; with [`Check::First`] all frames are read.
//!
//! Memory: names, definers and the definitions of tables with deferred keys. It grows with the number of
//! tables, not of rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::archive::accounts;
use crate::archive::read::Archive;
use crate::comparison::normalise::is_of_replica;
use crate::restore::frames::frame::Frame;
use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::inspect::schema_collation::DumpedDefault;
use crate::restore::inspect::unsupported::Requires;
use crate::restore::options::{Check, RestoreOptions};
use crate::restore::passes::definition::{names_schema, qualifies_by};
use crate::restore::report::Progress;
use crate::restore::scope::Scope;
use crate::restore::state::marker::PendingEvent;
use crate::sql::computed::{self, Computed, Needs};
use crate::sql::create_table::CreateTable;
use crate::sql::definer::{Account, definer};
use crate::sql::layout::Layout;
use crate::sql::placement::{self, Changed, directories};
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section};
use crate::sql::trigger::trigger_table;
use crate::sql::warnings::WarningFilter;
use crate::util::error::{Error, Result};

/// Definitions of an archive. Unless stated otherwise, names are those on the destination.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Objects in scope.
    pub creates: BTreeSet<ObjectId>,
    /// Default collations of the schemas in scope.
    pub schemas: BTreeMap<String, DumpedDefault>,
    /// Definers, and the objects of each.
    pub definers: BTreeMap<Account, BTreeSet<ObjectId>>,
    /// Events in scope that were disabled because the target was a replica.
    pub replica_events: BTreeSet<PendingEvent>,
    /// Objects in scope that reference a renamed schema, by their names in the backup.
    pub references_renamed: Vec<ObjectId>,
    /// Parts of tables that are added after the rows.
    pub deferred: BTreeMap<ObjectId, DeferredKeys>,
    /// Session settings that the expressions of tables need.
    pub needs: BTreeMap<ObjectId, Needs>,
    /// The computed columns of these tables.
    pub computed: BTreeMap<ObjectId, Vec<Computed>>,
    /// Expressions of tables, to recognise warnings about computed values.
    pub computing: BTreeMap<ObjectId, WarningFilter>,
    /// How the values of tables are written in the dump.
    pub layouts: BTreeMap<ObjectId, Layout>,
    /// Time zones and spatial reference systems that the definitions need.
    pub requires: Requires,
    /// Whether CHECKs are deferred, because the server has no session variable that disables them.
    pub(super) defers_checks: bool,
    /// Tables that are created with foreign keys, until all tables are known.
    pub(super) children: Vec<(ObjectId, CreateTable)>,
    /// Tables that are changed with others outside of the scope, by foreign keys: table and other.
    pub cascades: BTreeSet<(ObjectId, ObjectId)>,
    /// Definitions that the restore changes before it executes them. Everything else is of the changed ones.
    pub changed: Arc<BTreeMap<ObjectId, Changed>>,
    /// Tables with DATA DIRECTORY or INDEX DIRECTORY, and their definitions.
    pub with_directories: BTreeMap<ObjectId, Vec<u8>>,
}

/// Parts of a table that are added after its rows.
#[derive(Debug, Clone)]
pub struct DeferredKeys {
    /// The session of the dump, with the settings that the expressions need.
    pub session: Arc<Session>,
    /// Whether stored columns are computed again after the rows were loaded under UTC.
    pub recomputes: bool,
    pub table: CreateTable,
}

/// Reads the frames of definitions, or all of them.
pub async fn survey(
    archive: &Archive,
    frames: &FrameSource,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
) -> Result<Survey> {
    if options.check != Check::Executed {
        archive.check_documents().await?;
        accounts::read(archive).await?;
    }
    let mut frames = match options.check {
        Check::First => frames.read_all(),
        _ => frames.read(|record| record.has(Section::PreData) || record.has(Section::PostData)),
    };
    let mut survey = Survey {
        needs: needs(archive, &options.scope),
        requires: Requires::of(archive.manifest()),
        defers_checks: archive.manifest().server.flavour == "mysql",
        ..Survey::default()
    };
    while let Some(ready) = frames.next().await? {
        survey.note(&ready.frame, options)?;
        progress.advance(ready.frame.record.raw, 0);
    }
    survey.keep_referenced_keys();
    Ok(survey)
}

/// The needs recorded in the index, by table.
fn needs(archive: &Archive, scope: &Scope) -> BTreeMap<ObjectId, Needs> {
    let inventory = archive.contents().inventory.iter();
    inventory
        .filter_map(|entry| Some((scope.mapped_name(&entry.object), entry.needs.clone()?)))
        .collect()
}

impl Survey {
    /// Schemas in scope, by their names on the destination.
    pub fn schema_names(&self) -> BTreeSet<String> {
        let objects = self.creates.iter();
        objects.map(|object| object.schema.clone()).collect()
    }

    /// Stops deferring keys that are referenced by a foreign key created with its table.
    fn keep_referenced_keys(&mut self) {
        let folded = |table: &ObjectId| (table.schema.to_lowercase(), table.name.to_lowercase());
        let mut children = std::mem::take(&mut self.children);
        while let Some((child, table)) = children.pop() {
            for (schema, name) in table.parents() {
                let schema = schema.unwrap_or_else(|| child.schema.clone());
                let parent = folded(&ObjectId::table(schema, name));
                let deferred = self
                    .deferred
                    .keys()
                    .find(|table| folded(table) == parent)
                    .cloned();
                if let Some(parent) = deferred
                    && let Some(deferred) = self.deferred.get_mut(&parent)
                    && deferred.table.defers_keys()
                {
                    deferred.table.keep_keys();
                    children.push((parent.clone(), deferred.table.clone()));
                    if !deferred.recomputes {
                        self.deferred.remove(&parent);
                    }
                }
            }
        }
    }

    fn note(&mut self, frame: &Frame, options: &RestoreOptions) -> Result<()> {
        let scope = &options.scope;
        for (statement, sql) in frame.statements() {
            let object = match &statement.kind {
                Kind::CreateSchema { schema } => ObjectId::schema(schema.clone()),
                Kind::Create { object, .. } | Kind::SetSequence { object } => object.clone(),
                _ => continue,
            };
            let table = match object.kind {
                ObjectKind::Trigger => Some(table_of(&object, sql)?),
                _ => None,
            };
            if !scope.includes(&object, table.as_deref()) {
                continue;
            }
            if references_renamed(&object, sql, scope) && !self.references_renamed.contains(&object)
            {
                self.references_renamed.push(object.clone());
            }
            let mapped = scope.mapped_name(&object);
            let mut sql = Cow::Borrowed(sql);
            if matches!(object.kind, ObjectKind::Table | ObjectKind::Schema)
                && let Some(created) = placement::created(&sql, options.destination.is_scratch())
            {
                let dumped = std::mem::replace(&mut sql, Cow::Owned(created.clone())).into_owned();
                Arc::make_mut(&mut self.changed)
                    .insert(mapped.clone(), Changed { dumped, created });
            }
            let sql = &*sql;
            if object.kind == ObjectKind::Schema
                && let Some(default) = DumpedDefault::of(sql)
            {
                self.schemas.insert(mapped.schema.clone(), default);
            }
            if object.kind == ObjectKind::Event && is_of_replica(sql) {
                let account = definer(sql).map(|(account, _)| account.to_string());
                self.replica_events.insert(PendingEvent {
                    schema: mapped.schema.clone(),
                    name: mapped.name.clone(),
                    definer: account.unwrap_or_default(),
                });
            }
            self.requires.note(&mapped, sql, &statement.session);
            if let Some((account, _)) = definer(sql) {
                let defined = self.definers.entry(account).or_default();
                defined.insert(mapped.clone());
            }
            if let Kind::Create {
                placeholder: false, ..
            } = statement.kind
                && object.kind == ObjectKind::Table
            {
                if !directories(sql).is_empty() {
                    self.with_directories.insert(mapped.clone(), sql.to_vec());
                }
                let mut table = CreateTable::parse(sql);
                for (schema, name) in table.cascading_parents() {
                    let schema = schema.unwrap_or_else(|| object.schema.clone());
                    if !scope.includes_table(&schema, &name) {
                        let other = ObjectId::table(schema, name);
                        self.cascades.insert((mapped.clone(), other));
                    }
                }
                if let Some(computing) = WarningFilter::of(&table) {
                    self.computing.insert(mapped.clone(), computing);
                }
                if let Some(layout) = Layout::of(&table) {
                    self.layouts.insert(mapped.clone(), layout);
                }
                let needs = self.needs.get(&mapped);
                let recomputes = needs.is_some_and(Needs::recomputes);
                if let Some(needs) = needs {
                    self.requires.note_needs(&mapped, needs);
                    let computed = computed::of_table(sql);
                    self.computed.insert(mapped.clone(), computed);
                }
                // MariaDB has a session variable that disables CHECKs.
                if recomputes && self.defers_checks {
                    table.defer_checks();
                }
                if recomputes && computed::is_partitioned_by_computed(&table) {
                    table.defer_partitions();
                }
                if table.defers() || recomputes {
                    if !table.parents().is_empty() {
                        self.children.push((mapped.clone(), table.clone()));
                    }
                    let session = scope
                        .mapped_session(&statement.session)
                        .with_invalid_dates();
                    let session = needs.map_or_else(
                        || session.clone(),
                        |needs| needs.session_to_compute(&session),
                    );
                    let deferred = DeferredKeys {
                        session: session.into(),
                        recomputes,
                        table,
                    };
                    self.deferred.insert(mapped.clone(), deferred);
                } else if !table.parents().is_empty() {
                    self.children.push((mapped.clone(), table));
                }
            }
            self.creates.insert(mapped);
        }
        Ok(())
    }
}

/// The table of a trigger; an archive failure if it cannot be parsed.
pub fn table_of(trigger: &ObjectId, sql: &[u8]) -> Result<String> {
    trigger_table(sql)
        .ok_or_else(|| Error::archive(format!("{trigger}: cannot determine its table")))
}

/// Whether a definition references a renamed schema. A table does so in foreign keys, defaults from sequences
/// and UNION; other quoted text in its definition does not count.
fn references_renamed(object: &ObjectId, sql: &[u8], scope: &Scope) -> bool {
    scope.rename.keys().any(|schema| match object.kind {
        ObjectKind::Schema => false,
        ObjectKind::Table => qualifies_by(sql, schema),
        _ => names_schema(sql, schema),
    })
}
