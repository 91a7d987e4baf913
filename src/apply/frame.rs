//! One frame, taken apart: the statements that a server may be sent, each with the session of the
//! dump that it was written under.
//!
//! A frame is scanned and admitted as a whole before any of it is executed, so a statement that must
//! not be executed stops those before it too. What only sets the scene (SET, USE, DELIMITER, LOCK,
//! comments) is followed, not kept: lanes bring themselves to a statement's session.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::apply::guard::Guard;
use crate::archive::index::FrameRecord;
use crate::error::{Error, Result};
use crate::sql::rows;
use crate::sql::scan::{ScanError, Scanner};
use crate::sql::session::Session;
use crate::sql::statement::{Kind, Section};
use crate::words::counted;

/// One statement that belongs to a section.
#[derive(Debug, Clone)]
pub struct FrameStatement {
    /// Where it lies in the frame's SQL.
    place: Range<usize>,
    /// What it does.
    pub kind: Kind,
    /// What was in force where it stands in the dump.
    pub session: Arc<Session>,
    /// The rows that it inserts.
    pub rows: u64,
}

impl FrameStatement {
    /// Where it begins in its frame's SQL.
    pub fn begins_at(&self) -> usize {
        self.place.start
    }
}

/// A frame that may be executed.
#[derive(Debug)]
pub struct Frame {
    /// Its entry in the index.
    pub record: FrameRecord,
    raw: Vec<u8>,
    statements: Vec<FrameStatement>,
}

impl Frame {
    /// Scans the frame `raw`, which begins under `session`. What the guard does not admit, what
    /// drctl does not know, and rows that are not those of the index are archive failures (exit 6).
    pub fn scan(
        guard: &Guard,
        record: FrameRecord,
        raw: Vec<u8>,
        session: &Session,
    ) -> Result<Frame> {
        let n = record.n;
        let unknown = |error: ScanError| {
            Error::archive(format!("frame {n} holds what drctl does not know")).because(error)
        };
        let mut scanner = Scanner::resuming(session.clone());
        scanner.push(&raw);
        scanner.finish();
        let mut session = Arc::new(session.clone());
        let mut statements = Vec::new();
        let (mut at, mut rows) = (0, 0);
        while let Some(statement) = scanner.next().map_err(unknown)? {
            guard
                .admit(&statement)
                .map_err(|error| error.context(format!("frame {n}")))?;
            let skipped = statement.sql.as_ptr() as usize - statement.text.as_ptr() as usize;
            let place = at + skipped..at + skipped + statement.sql.len();
            at += statement.text.len();
            if statement.kind.section().is_none() {
                Arc::make_mut(&mut session).apply(&statement);
                continue;
            }
            let count = match statement.kind {
                Kind::Insert { .. } => rows::of_insert(statement.sql)
                    .and_then(rows::Rows::count_rows)
                    .map_err(|error| {
                        Error::archive(format!("frame {n} has rows that cannot be read"))
                            .because(error)
                    })?,
                _ => 0,
            };
            rows += count;
            let session = session.clone();
            statements.push(FrameStatement {
                place,
                kind: statement.kind,
                session,
                rows: count,
            });
        }
        if rows != record.rows {
            return Err(Error::archive(format!(
                "frame {n} has {}, the index says {}",
                counted(rows, "row"),
                record.rows
            )));
        }
        // A pass that is told otherwise would leave statements out.
        let sections: BTreeSet<Section> = statements
            .iter()
            .filter_map(|statement| statement.kind.section())
            .collect();
        if sections != record.sections.iter().copied().collect() {
            return Err(Error::archive(format!(
                "frame {n} has statements of other sections than the index says"
            )));
        }
        Ok(Frame {
            record,
            raw,
            statements,
        })
    }

    /// Its statements of a section, in order, and what a server is sent of each.
    pub fn of(&self, section: Section) -> impl Iterator<Item = (&FrameStatement, &[u8])> {
        self.statements
            .iter()
            .filter(move |statement| statement.kind.section() == Some(section))
            .map(|statement| (statement, &self.raw[statement.place.clone()]))
    }

    /// Its SQL.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// All its statements.
    pub fn statements(&self) -> impl Iterator<Item = (&FrameStatement, &[u8])> {
        self.statements
            .iter()
            .map(|statement| (statement, &self.raw[statement.place.clone()]))
    }
}
