//! The pass that creates triggers, routines and events in the order of the archive, and then views in the
//! order of their dependencies ([`crate::sql::view_order`]), on one connection, after all rows and keys.
//!
//! Events are created disabled: an event that ran during the restore would change rows before they are
//! compared, and event_scheduler is on by default since MySQL 8.0.

use std::sync::Arc;

use crate::comparison::normalise::disabled_event;
use crate::mysql::connect::literal;
use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::inspect::survey::table_of;
use crate::restore::options::Destination;
use crate::restore::passes::create::{Definition, create, create_in_rounds};
use crate::restore::passes::definition::renamed_schema;
use crate::restore::report::RestoreReport;
use crate::restore::scope::Scope;
use crate::restore::session::lane::{Lane, LaneConfig};
use crate::restore::state::marker::PendingEvent;
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::definer::{Account, definer, replace};
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectKind, Section, quote};
use crate::sql::view_order::Views;
use crate::util::error::{Error, Result};

/// ER_VIEW_NONUPD_CHECK: CHECK OPTION on a placeholder, which cannot be updated. ER_NO_SUCH_TABLE: an
/// underlying view does not exist yet.
const NO_VIEW: [u16; 2] = [1368, 1146];

/// MariaDB's warning about an event created while the event scheduler is off, as it is on a scratch server.
const SCHEDULER_IS_OFF: u16 = 1105;

/// Inputs of the pass.
pub struct PostData<'a> {
    pub scope: &'a Scope,
    pub frames: &'a FrameSource,
    pub lanes: &'a LaneConfig,
    pub substitute_definer: Option<&'a Account>,
    pub destination: Destination,
    pub resuming: bool,
    pub marker: &'a mut OpenMarker,
    pub report: &'a mut RestoreReport,
}

/// An ALTER DATABASE of the dump, with its session.
type AlterSchema = (Arc<Session>, Vec<u8>);

impl PostData<'_> {
    pub async fn run(mut self) -> Result<()> {
        let mut lane = Lane::open_patiently(self.lanes.clone()).await?;
        let (mut order, mut views) = (Views::default(), Vec::new());
        // mysqldump encloses objects created under another default collation in two ALTER DATABASE.
        let mut altered: Option<AlterSchema> = None;
        let mut frames = self.frames.read(|record| record.has(Section::PostData));
        while let Some(ready) = frames.next().await? {
            for (statement, sql) in ready.frame.of(Section::PostData) {
                let alter = || (statement.session.clone(), sql.to_vec());
                match &statement.kind {
                    Kind::AlterSchema { schema } if self.scope.is_everything() => {
                        self.alter_schema(&mut lane, schema, &alter()).await?;
                    }
                    // In a partial restore, only for the selected objects, and back to the original collation of
                    // this server's schema.
                    Kind::AlterSchema { .. } => {
                        altered = if altered.is_none() {
                            Some(alter())
                        } else {
                            None
                        };
                    }
                    Kind::Create { object, .. } => {
                        let table = match object.kind {
                            ObjectKind::Trigger => Some(table_of(object, sql)?),
                            _ => None,
                        };
                        if !self.scope.includes(object, table.as_deref()) {
                            continue;
                        }
                        let definition = Definition {
                            object: object.clone(),
                            session: statement.session.clone(),
                            sql: sql.to_vec(),
                        };
                        if object.kind == ObjectKind::View {
                            order.push(object, sql);
                            views.push(Some(definition));
                        } else if let Some(alter) = &altered {
                            self.create_with_schema_collation(&mut lane, &definition, alter)
                                .await?;
                        } else {
                            self.create(&mut lane, &definition).await?;
                        }
                    }
                    _ => {}
                }
            }
        }
        let order = order.in_order().into_iter();
        let views = order.filter_map(|n| views.get_mut(n)?.take()).collect();
        create_in_rounds(views, &NO_VIEW, async |view: &Definition| {
            self.create(&mut lane, view).await
        })
        .await?;
        lane.close().await;
        Ok(())
    }

    async fn alter_schema(
        &self,
        lane: &mut Lane,
        schema: &str,
        (session, sql): &AlterSchema,
    ) -> Result<()> {
        let mapped = self.scope.mapped_schema(schema);
        let renamed = (mapped != schema)
            .then(|| renamed_schema(sql, schema, mapped))
            .flatten();
        let session = self.scope.mapped_session(session);
        lane.run_in(&session, renamed.as_deref().unwrap_or(sql))
            .await
    }

    /// Creates an object in a partially restored schema, which temporarily gets the default collation that it
    /// had in the dump at this point.
    async fn create_with_schema_collation(
        &mut self,
        lane: &mut Lane,
        definition: &Definition,
        alter: &AlterSchema,
    ) -> Result<()> {
        let schema = &definition.object.schema;
        let mapped = self.scope.mapped_schema(schema);
        let original = format!(
            "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata \
             WHERE schema_name = {}",
            literal(mapped)
        );
        let original: Vec<(String, String)> = self.marker.control.query(&original).await?;
        let (charset, collation) = original.into_iter().next().ok_or_else(|| {
            Error::server(format!("the schema {} no longer exists", quote(mapped)))
        })?;
        let revert = format!(
            "ALTER DATABASE {} CHARACTER SET {charset} COLLATE {collation}",
            quote(mapped)
        );
        self.alter_schema(lane, schema, alter).await?;
        let created = self.create(lane, definition).await;
        // On the same connection: another one would use the default that it has cached.
        lane.persist(&revert).await?;
        created
    }

    async fn create(&mut self, lane: &mut Lane, definition: &Definition) -> Result<()> {
        let kind = definition.object.kind;
        let mapped = self.scope.mapped_name(&definition.object);
        let session = self.scope.mapped_session(&definition.session);
        let mut sql = self.with_definer(&definition.sql);
        if kind == ObjectKind::Event
            && let Some(disabled) = disabled_event(&sql)
        {
            let definer = definer(&sql).map(|(account, _)| account.to_string());
            let event = PendingEvent {
                schema: mapped.schema.clone(),
                name: mapped.name.clone(),
                definer: definer.unwrap_or_default(),
            };
            self.marker.note_event(event).await?;
            sql = disabled;
        }
        // A view always has a placeholder.
        let drop_first = self.resuming || kind == ObjectKind::View;
        let ignored: &[u16] = if kind == ObjectKind::Event && self.destination.is_scratch() {
            &[SCHEDULER_IS_OFF]
        } else {
            &[]
        };
        let report = &mut *self.report;
        create(lane, &mapped, &session, &sql, drop_first, ignored, report).await?;
        if kind == ObjectKind::Event {
            self.marker.note_if_expired(&mapped).await?;
        }
        Ok(())
    }

    /// A definition with the substitute for its definer, if that did not exist when the restore began.
    fn with_definer(&self, sql: &[u8]) -> Vec<u8> {
        match (self.substitute_definer, definer(sql)) {
            (Some(substitute), Some((account, place))) if self.marker.substitutes(&account) => {
                replace(sql, place, substitute.to_string().as_bytes())
            }
            _ => sql.to_vec(),
        }
    }
}
