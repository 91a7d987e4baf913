//! Loads the rows of a statement into their table: by executing the INSERT of the dump ([`insert`]). Any other
//! method of loading rows would go here; [`crate::restore::passes::data`] handles transactions, progress and
//! retries.

use std::collections::BTreeMap;

use crate::restore::frames::frame::FrameStatement;
use crate::restore::inspect::survey::Survey;
use crate::restore::passes::insert::insert;
use crate::restore::scope::Scope;
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::Lane;
use crate::sql::computed::Needs;
use crate::sql::statement::{Kind, ObjectId};
use crate::sql::warnings::WarningFilter;

/// Loads rows into tables, by their names on the destination.
pub struct RowLoader {
    scope: Scope,
    /// Session settings that the expressions of tables need.
    needs: BTreeMap<ObjectId, Needs>,
    /// Columns that tables compute, which may raise warnings.
    computing: BTreeMap<ObjectId, WarningFilter>,
}

impl RowLoader {
    pub fn new(scope: &Scope, survey: &Survey) -> Self {
        RowLoader {
            scope: scope.clone(),
            needs: survey.needs.clone(),
            computing: survey.computing.clone(),
        }
    }

    /// The table of a statement in scope, by its name on the destination; `None` for any other statement.
    pub fn table_of(&self, statement: &FrameStatement) -> Option<ObjectId> {
        match &statement.kind {
            Kind::Insert { table } if self.scope.includes_table(&table.schema, &table.name) => {
                Some(self.scope.mapped_name(table))
            }
            _ => None,
        }
    }

    /// Loads the rows of a statement within the current transaction of the lane.
    pub async fn load(
        &self,
        lane: &mut Lane,
        table: &ObjectId,
        statement: &FrameStatement,
        sql: &[u8],
    ) -> Result<(), Failure> {
        let session = self
            .scope
            .mapped_session(&statement.session)
            .with_invalid_dates();
        let session = match self.needs.get(table) {
            Some(needs) => needs.session_to_load(&session),
            None => session,
        };
        lane.enter(&session).await?;
        let loaded = insert(lane, statement, sql, self.computing.get(table)).await;
        loaded.map_err(|failure| {
            // The error about altered rows already names the table.
            if failure.is_verdict() {
                failure
            } else {
                failure.context(table)
            }
        })
    }
}
