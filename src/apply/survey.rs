//! What the statements of an archive say beside its index: read before anything is decided, and
//! before anything is executed.
//!
//! The frames of definitions are always read, so that a statement which must not be executed is
//! found while nothing has been; with `check_first` all frames are, and every other object too.
//!
//! Memory: names, definers and the definitions of tables with keys that wait, which grow with the number of tables and not with
//! their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::apply::definition::{names_schema, qualifies_by, trigger_table};
use crate::apply::frame::Frame;
use crate::apply::guard::Guard;
use crate::apply::marker::PendingEvent;
use crate::apply::offered;
use crate::apply::options::{RestoreOptions, Scope};
use crate::apply::read_ahead::ReadAhead;
use crate::apply::report::Progress;
use crate::apply::schema_collation::DumpedDefault;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::proof::normalise::is_of_replica;
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
    /// The definitions of tables that name directories, by their names on the server.
    pub placed: BTreeMap<ObjectId, Vec<u8>>,
    /// Bytes of SQL that were read.
    pub read_bytes: u64,
}

/// The keys of one table that are built when its rows are in.
#[derive(Debug, Clone)]
pub struct WaitingKeys {
    /// What was in force where the table is defined.
    pub session: Arc<Session>,
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
    let mut frames = match options.check_first {
        true => {
            archive.check_documents().await?;
            offered::read(archive).await?;
            ReadAhead::whole(archive, guard, options.memory_bytes, cancel)
        }
        false => ReadAhead::begin(archive, guard, options.memory_bytes, cancel, |record| {
            record.has(Section::PreData) || record.has(Section::PostData)
        }),
    };
    let mut survey = Survey::default();
    while let Some(ready) = frames.next().await? {
        survey.note(&ready.frame, &options.scope)?;
        survey.read_bytes += ready.frame.record.raw;
        progress.advance(ready.frame.record.raw, 0);
    }
    Ok(survey)
}

impl Survey {
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
                let table = CreateTable::parse(sql);
                if table.defers() {
                    let session = scope.session(&statement.session).with_any_day().into();
                    self.waiting
                        .insert(placed.clone(), WaitingKeys { session, table });
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
