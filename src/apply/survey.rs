//! What the statements of an archive say beside its index: read before anything is decided, and
//! before anything is executed.
//!
//! The frames of definitions are always read, so that a statement which must not be executed is
//! found while nothing has been; with [`Check::First`] all frames are.
//!
//! Memory: names, definers and the definitions of tables with keys that wait, which grow with the number of tables and not with
//! their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::apply::definition::{names_schema, qualifies_by, trigger_table};
use crate::apply::frame::Frame;
use crate::apply::guard::Guard;
use crate::apply::lacks::Requires;
use crate::apply::marker::PendingEvent;
use crate::apply::offered;
use crate::apply::options::{Check, RestoreOptions, Scope};
use crate::apply::read_ahead::ReadAhead;
use crate::apply::report::Progress;
use crate::apply::schema_collation::DumpedDefault;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::proof::normalise::is_of_replica;
use crate::sql::computed::{self, Computed, Needs};
use crate::sql::create_table::CreateTable;
use crate::sql::definer::{Account, definer};
use crate::sql::placement::directories;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section};

/// What an archive would do to a server.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// What is in scope, by its names on the server.
    pub creates: BTreeSet<ObjectId>,
    /// What schemas in scope have as their defaults, by their names on the server.
    pub schemas: BTreeMap<String, DumpedDefault>,
    /// Who defines which of it.
    pub definers: BTreeMap<Account, BTreeSet<ObjectId>>,
    /// Events in scope that were disabled as those of a replica, with the definers that they had.
    pub of_replica: BTreeSet<PendingEvent>,
    /// Objects in scope that name a schema which gets another name.
    pub names_renamed: Vec<ObjectId>,
    /// The keys of each table that wait for its rows, by its name on the server.
    pub waiting: BTreeMap<ObjectId, WaitingKeys>,
    /// What the expressions of tables need of a session, by their names on the server.
    pub needs: BTreeMap<ObjectId, Needs>,
    /// Those expressions.
    pub computed: BTreeMap<ObjectId, Vec<Computed>>,
    /// What the definitions need that the server may lack.
    pub requires: Requires,
    /// Whether a CHECK has to wait for the session that its rows passed it in.
    checks_wait: bool,
    /// Tables whose keys do not wait and which have foreign keys, until all tables are known.
    kept: Vec<(ObjectId, CreateTable)>,
    /// The definitions of tables that name directories, by their names on the server.
    pub placed: BTreeMap<ObjectId, Vec<u8>>,
    /// Bytes of SQL that were read.
    pub read_bytes: u64,
}

/// What of one table is made when its rows are in.
#[derive(Debug, Clone)]
pub struct WaitingKeys {
    /// What was in force where the table is defined, and what its expressions need.
    pub session: Arc<Session>,
    /// Whether what it computes is computed again, when the time zone may be the one that it needs.
    pub recomputes: bool,
    /// Its definition, taken apart.
    pub table: CreateTable,
}

/// Reads the frames of definitions, or all of them.
pub async fn survey(
    archive: &Archive,
    guard: &Arc<Guard>,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Survey> {
    if options.check != Check::Executed {
        archive.check_documents().await?;
        offered::read(archive).await?;
    }
    let mut frames = match options.check {
        Check::First => ReadAhead::whole(archive, guard, options.memory_bytes, cancel),
        _ => ReadAhead::begin(archive, guard, options.memory_bytes, cancel, |record| {
            record.has(Section::PreData) || record.has(Section::PostData)
        }),
    };
    let mut survey = Survey {
        needs: needs(archive, &options.scope),
        checks_wait: archive.manifest().server.flavour == "mysql",
        ..Survey::default()
    };
    while let Some(ready) = frames.next().await? {
        survey.note(&ready.frame, &options.scope)?;
        survey.read_bytes += ready.frame.record.raw;
        progress.advance(ready.frame.record.raw, 0);
    }
    survey.keep_for_children();
    Ok(survey)
}

/// What the index says of the tables in scope, by their names on the server.
fn needs(archive: &Archive, scope: &Scope) -> BTreeMap<ObjectId, Needs> {
    let inventory = archive.contents().inventory.iter();
    let needs =
        inventory.filter_map(|entry| Some((scope.placed(&entry.object), entry.needs.clone()?)));
    needs.collect()
}

impl Survey {
    /// A foreign key that does not wait finds the key that it refers to: so that does not wait either.
    fn keep_for_children(&mut self) {
        let folded = |table: &ObjectId| (table.schema.to_lowercase(), table.name.to_lowercase());
        let mut children = std::mem::take(&mut self.kept);
        while let Some((child, table)) = children.pop() {
            for (schema, name) in table.parents() {
                let schema = schema.unwrap_or_else(|| child.schema.clone());
                let parent = folded(&ObjectId::table(schema, name));
                let waits = self
                    .waiting
                    .keys()
                    .find(|table| folded(table) == parent)
                    .cloned();
                if let Some(parent) = waits
                    && let Some(waiting) = self.waiting.get_mut(&parent)
                    && waiting.table.defers_keys()
                {
                    waiting.table.keep_all();
                    children.push((parent.clone(), waiting.table.clone()));
                    if !waiting.recomputes {
                        self.waiting.remove(&parent);
                    }
                }
            }
        }
    }

    fn note(&mut self, frame: &Frame, scope: &Scope) -> Result<()> {
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
            if !scope.takes(&object, table.as_deref()) {
                continue;
            }
            if names_renamed(&object, sql, scope) && !self.names_renamed.contains(&object) {
                self.names_renamed.push(object.clone());
            }
            let placed = scope.placed(&object);
            if object.kind == ObjectKind::Schema
                && let Some(default) = DumpedDefault::of(sql)
            {
                self.schemas.insert(placed.schema.clone(), default);
            }
            if object.kind == ObjectKind::Event && is_of_replica(sql) {
                let account = definer(sql).map(|(account, _)| account.to_string());
                self.of_replica.insert(PendingEvent {
                    schema: placed.schema.clone(),
                    name: placed.name.clone(),
                    definer: account.unwrap_or_default(),
                });
            }
            self.requires.note(&placed, sql, &statement.session);
            if let Some((account, _)) = definer(sql) {
                let defined = self.definers.entry(account).or_default();
                defined.insert(placed.clone());
            }
            if let Kind::Create {
                placeholder: false, ..
            } = statement.kind
                && object.kind == ObjectKind::Table
            {
                if !directories(sql).is_empty() {
                    self.placed.insert(placed.clone(), sql.to_vec());
                }
                let mut table = CreateTable::parse(sql);
                let needs = self.needs.get(&placed);
                let recomputes = needs.is_some_and(Needs::recomputes);
                if let Some(needs) = needs {
                    self.requires.note_needs(&placed, needs);
                    let computed = computed::of_table(sql);
                    self.computed.insert(placed.clone(), computed);
                }
                // MariaDB's sessions can let rows pass a CHECK.
                if recomputes && self.checks_wait {
                    table.defer_checks();
                }
                if table.defers() || recomputes {
                    if !table.parents().is_empty() {
                        self.kept.push((placed.clone(), table.clone()));
                    }
                    let session = scope.session(&statement.session).with_any_day();
                    let session =
                        needs.map_or_else(|| session.clone(), |needs| needs.over(&session));
                    let waiting = WaitingKeys {
                        session: session.into(),
                        recomputes,
                        table,
                    };
                    self.waiting.insert(placed.clone(), waiting);
                } else if !table.parents().is_empty() {
                    self.kept.push((placed.clone(), table));
                }
            }
            self.creates.insert(placed);
        }
        Ok(())
    }
}

/// The table of a trigger; not to know it is an archive failure.
pub fn table_of(trigger: &ObjectId, sql: &[u8]) -> Result<String> {
    trigger_table(sql).ok_or_else(|| Error::archive(format!("{trigger}: its table cannot be read")))
}

/// Whether a definition names a schema that gets another name. Tables do so in foreign keys, in
/// defaults out of sequences, in UNION; what else they hold between quotes is text.
fn names_renamed(object: &ObjectId, sql: &[u8], scope: &Scope) -> bool {
    scope.rename.keys().any(|schema| match object.kind {
        ObjectKind::Schema => false,
        ObjectKind::Table => qualifies_by(sql, schema),
        _ => names_schema(sql, schema),
    })
}
