//! Loads the rows of a frame, a run of INSERTs of one table at a time: by LOAD DATA ([`load_data`]) where the server and
//! the table allow it, else by executing the INSERTs of the dump ([`insert`]). Any other method of loading rows would go
//! here; [`crate::restore::passes::data`] handles transactions, progress and retries.
//!
//! The server converts the text of a dump from utf8mb4 to the character set of each column, which takes a fifth of its
//! CPU time. Where all text columns of a table have one character set in which ASCII text has the same bytes, ASCII rows
//! are sent in that one.
//!
//! [`load_data`]: crate::restore::passes::load_data

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mysql::Flavour;
use crate::restore::frames::frame::{Frame, FrameStatement};
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::survey::Survey;
use crate::restore::options::Loader;
use crate::restore::passes::insert::insert;
use crate::restore::passes::load_data::{LoadData, Loaded};
use crate::restore::scope::Scope;
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::Lane;
use crate::sql::computed::Needs;
use crate::sql::layout::Layout;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId};
use crate::sql::warnings::WarningFilter;

/// The character set of a dump.
const UTF8: &str = "utf8mb4";

/// A frame with a longer statement, in bytes, is loaded by INSERT: the server decodes a value in a variable, whose length
/// is limited.
const MAX_LOAD_BYTES: u64 = 16 << 20;

/// Loads rows into tables, by their names on the destination.
pub struct RowLoader {
    scope: Scope,
    method: Method,
    /// Session settings that the expressions of tables need.
    needs: BTreeMap<ObjectId, Needs>,
    /// Columns that tables compute, which may raise warnings.
    computing: BTreeMap<ObjectId, WarningFilter>,
    /// How the values of tables are written.
    layouts: BTreeMap<ObjectId, Layout>,
    /// Tables of which LOAD DATA did not load a frame.
    by_insert: Mutex<BTreeSet<ObjectId>>,
}

/// What a server allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Whether rows may be loaded by LOAD DATA.
    load_data: bool,
    /// Whether two LOAD DATA into a table with AUTO_INCREMENT wait for each other.
    takes_turns: bool,
    /// Whether the server warns about the character set utf8mb3.
    warns_of_utf8mb3: bool,
}

impl Method {
    /// `local_infile`: whether the server accepts LOCAL INFILE. `logged`: whether the restore is written to its binary
    /// log.
    pub fn of(facts: &DestinationFacts, loader: Loader, local_infile: bool, logged: bool) -> Self {
        // With wsrep_load_data_splitting, a member of a Galera cluster commits in between. A log of statements would
        // contain the rows as files.
        let splits = facts.is_on("wsrep_on");
        let logs_files = logged
            && facts.is_on("log_bin")
            && facts
                .variable("binlog_format")
                .eq_ignore_ascii_case("STATEMENT");
        Method {
            load_data: loader == Loader::Auto && local_infile && !splits && !logs_files,
            takes_turns: facts.number("innodb_autoinc_lock_mode") != Some(2),
            warns_of_utf8mb3: facts.version.flavour == Flavour::MySql,
        }
    }
}

/// Consecutive INSERTs of one table in one session.
pub struct Run<'a> {
    /// The table, by its name on the destination.
    table: ObjectId,
    frame: &'a Frame,
    /// The session of the dump.
    session: &'a Arc<Session>,
    statements: Vec<&'a FrameStatement>,
}

impl Run<'_> {
    /// The table, by its name on the destination.
    pub fn table(&self) -> &ObjectId {
        &self.table
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.statements.iter().map(|statement| statement.rows).sum()
    }
}

impl RowLoader {
    pub fn new(scope: &Scope, survey: &Survey, method: Method) -> Self {
        RowLoader {
            scope: scope.clone(),
            method,
            needs: survey.needs.clone(),
            computing: survey.computing.clone(),
            layouts: survey.layouts.clone(),
            by_insert: Mutex::default(),
        }
    }

    /// Whether two LOAD DATA into this table would wait for each other.
    pub fn takes_turns(&self, table: &ObjectId) -> bool {
        let layout = self.layouts.get(table);
        self.method.load_data
            && self.method.takes_turns
            && layout.is_some_and(|layout| layout.auto_increment)
    }

    /// The rows of a frame that are in scope.
    pub fn runs<'a>(&self, frame: &'a Frame) -> Vec<Run<'a>> {
        let mut runs: Vec<Run<'a>> = Vec::new();
        for (statement, _) in frame.statements() {
            let Kind::Insert { table } = &statement.kind else {
                continue;
            };
            if !self.scope.includes_table(&table.schema, &table.name) {
                continue;
            }
            let table = self.scope.mapped_name(table);
            match runs.last_mut() {
                Some(run) if run.table == table && *run.session == statement.session => {
                    run.statements.push(statement);
                }
                _ => runs.push(Run {
                    table,
                    frame,
                    session: &statement.session,
                    statements: vec![statement],
                }),
            }
        }
        runs
    }

    /// Loads rows within the current transaction of the lane. `exclusive`: whether no other lane loads rows of this table
    /// meanwhile. If not all were loaded unchanged by LOAD DATA, the caller has to roll back; the next attempt uses INSERT.
    pub async fn load(
        &self,
        lane: &mut Lane,
        run: &Run<'_>,
        exclusive: bool,
    ) -> Result<Loaded, Failure> {
        let session = self.session(run);
        let Some(load) = self.load_data(run, &session, exclusive) else {
            return self.insert(lane, run).await.map(|()| Loaded::Loaded);
        };
        lane.enter(&session).await?;
        let done = load.run(lane).await;
        let done = done.map_err(|failure| failure.context(&run.table))?;
        if let Loaded::Refused(why) = &done {
            tracing::info!(table = %run.table, why, "LOAD DATA did not load all rows unchanged; using INSERT");
            let by_insert = self.by_insert.lock();
            by_insert
                .unwrap_or_else(PoisonError::into_inner)
                .insert(run.table.clone());
        }
        Ok(done)
    }

    /// Executes the INSERTs.
    pub async fn insert(&self, lane: &mut Lane, run: &Run<'_>) -> Result<(), Failure> {
        let inserted = self.try_insert(lane, run).await;
        inserted.map_err(|failure| {
            // The error about altered rows already names the table.
            if failure.is_verdict() {
                failure
            } else {
                failure.context(&run.table)
            }
        })
    }

    async fn try_insert(&self, lane: &mut Lane, run: &Run<'_>) -> Result<(), Failure> {
        let session = self.session(run);
        let computing = self.computing.get(&run.table);
        // Literals have the character set of the session in expressions.
        let charset = match computing {
            None => self.ascii_charset(run, &session),
            Some(_) => None,
        };
        match charset {
            Some(charset) => lane.enter(&session.with_charset(charset)).await?,
            None => lane.enter(&session).await?,
        }
        for statement in &run.statements {
            insert(lane, statement, run.frame.sql(statement), computing).await?;
        }
        Ok(())
    }

    /// The session in which the rows are loaded.
    fn session(&self, run: &Run<'_>) -> Session {
        let session = self.scope.mapped_session(run.session).with_invalid_dates();
        match self.needs.get(&run.table) {
            Some(needs) => needs.session_to_load(&session),
            None => session,
        }
    }

    /// The rows as a LOAD DATA, if that is possible and allowed.
    fn load_data(&self, run: &Run<'_>, session: &Session, exclusive: bool) -> Option<LoadData> {
        let layout = self.layouts.get(&run.table)?;
        let waits = self.takes_turns(&run.table) && !exclusive;
        let allowed = self.method.load_data
            && !waits
            && run.frame.record.longest <= MAX_LOAD_BYTES
            && !session.no_backslash_escapes()
            && session.charset() == Some(UTF8);
        if !allowed || self.is_by_insert(&run.table) {
            return None;
        }
        let inserts: Vec<_> = run
            .statements
            .iter()
            .map(|statement| (run.frame.bytes(statement), statement.rows))
            .collect();
        let charset = self.ascii_charset(run, session).unwrap_or(UTF8);
        LoadData::of(&run.table, layout, &inserts, charset)
    }

    /// The character set of the table, if the rows have the same bytes in it.
    fn ascii_charset(&self, run: &Run<'_>, session: &Session) -> Option<&str> {
        let charset = self.layouts.get(&run.table)?.charset.as_deref()?;
        let warns = self.method.warns_of_utf8mb3 && charset == "utf8mb3";
        let mut statements = run.statements.iter();
        (!warns
            && session.charset() == Some(UTF8)
            && statements.all(|statement| run.frame.sql(statement).is_ascii()))
        .then_some(charset)
    }

    fn is_by_insert(&self, table: &ObjectId) -> bool {
        let by_insert = self.by_insert.lock();
        by_insert
            .unwrap_or_else(PoisonError::into_inner)
            .contains(table)
    }
}
