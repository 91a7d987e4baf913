//! The pass that creates schemas, tables, sequences and placeholders of views, in the order of the archive, on
//! one connection.
//!
//! The DROP statements of the archive are never executed. Conflicting objects were dropped before; objects that
//! an interrupted run created are dropped and created again, while they have no rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::inspect::survey::Survey;
use crate::restore::passes::create::{Definition, create, create_in_rounds, has_code};
use crate::restore::passes::definition::{renamed_schema, schema_options};
use crate::restore::report::RestoreReport;
use crate::restore::scope::Scope;
use crate::restore::session::lane::{Lane, LaneConfig};
use crate::sql::placement::without_archived_counter;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section, quote};
use crate::util::error::Result;

/// ER_NO_SUCH_TABLE and MariaDB's ER_UNKNOWN_SEQUENCES: the default of a column uses a sequence in a schema that
/// comes later.
const NO_SEQUENCE: [u16; 2] = [1146, 4091];

/// Inputs of the pass.
pub struct PreData<'a> {
    pub scope: &'a Scope,
    pub survey: &'a Survey,
    pub frames: &'a FrameSource,
    pub lanes: &'a LaneConfig,
    /// Schemas that existed before the restore, by their names on the destination.
    pub pre_existing: BTreeSet<String>,
    pub resuming: bool,
    pub report: &'a mut RestoreReport,
}

impl PreData<'_> {
    pub async fn run(mut self) -> Result<()> {
        let mut lane = Lane::open_patiently(self.lanes.clone()).await?;
        let mut pending = Vec::new();
        let mut frames = self.frames.read(|record| record.has(Section::PreData));
        while let Some(ready) = frames.next().await? {
            for (statement, sql) in ready.frame.of(Section::PreData) {
                let session = &statement.session;
                match &statement.kind {
                    Kind::CreateSchema { schema } if self.scope.includes_schema(schema) => {
                        self.create_schema(&mut lane, schema, sql).await?;
                    }
                    Kind::Create { object, .. } if self.scope.includes(object, None) => {
                        let sql = self.prepared(object, sql);
                        match self.create(&mut lane, object, session, &sql).await {
                            Err(error)
                                if object.kind == ObjectKind::Table
                                    && has_code(&error, &NO_SEQUENCE) =>
                            {
                                pending.push(Definition {
                                    object: object.clone(),
                                    session: session.clone(),
                                    sql,
                                });
                            }
                            created => created?,
                        }
                    }
                    Kind::SetSequence { object } if self.scope.includes(object, None) => {
                        lane.run_in(&self.scope.mapped_session(session), sql)
                            .await?;
                    }
                    _ => {}
                }
            }
        }
        create_in_rounds(pending, &NO_SEQUENCE, async |table: &Definition| {
            self.create(&mut lane, &table.object, &table.session, &table.sql)
                .await
        })
        .await?;
        lane.close().await;
        Ok(())
    }

    /// Creates a schema. An existing schema gets the options of the dumped one, which affect later
    /// definitions, if the whole backup is restored.
    async fn create_schema(&self, lane: &mut Lane, schema: &str, sql: &[u8]) -> Result<()> {
        let mapped = self.scope.mapped_schema(schema);
        let changed = self.survey.changed.get(&ObjectId::schema(mapped));
        let sql = changed.map_or(sql, |changed| &changed.created);
        let statement = if self.pre_existing.contains(mapped) {
            schema_options(sql, schema)
                .filter(|_| self.scope.is_everything())
                .map(|options| {
                    [b"ALTER DATABASE ", quote(mapped).as_bytes(), b" ", options].concat()
                })
        } else if mapped == schema {
            Some(sql.to_vec())
        } else {
            renamed_schema(sql, schema, mapped)
        };
        let Some(statement) = statement else {
            return Ok(());
        };
        lane.step(async |lane| lane.run(&statement).await.map(|_| ()))
            .await
    }

    async fn create(
        &mut self,
        lane: &mut Lane,
        object: &ObjectId,
        session: &Arc<Session>,
        sql: &[u8],
    ) -> Result<()> {
        let mapped = self.scope.mapped_name(object);
        // The default of a column may be an invalid date.
        let session = self.scope.mapped_session(session).with_invalid_dates();
        let session = match self.survey.needs.get(&mapped) {
            Some(needs) => needs.session_to_create(&session),
            None => session,
        };
        create(
            lane,
            &mapped,
            &session,
            sql,
            self.resuming,
            &[],
            self.report,
        )
        .await
    }

    /// A definition as it is executed, without what is added after the rows.
    fn prepared(&self, object: &ObjectId, sql: &[u8]) -> Vec<u8> {
        if object.kind != ObjectKind::Table {
            return sql.to_vec();
        }
        let mapped = self.scope.mapped_name(object);
        let changed = self.survey.changed.get(&mapped);
        let kept = match self.survey.deferred.get(&mapped) {
            Some(deferred) => deferred.table.kept(),
            None => changed.map_or(sql, |changed| &changed.created).to_vec(),
        };
        without_archived_counter(&kept).unwrap_or(kept)
    }
}
