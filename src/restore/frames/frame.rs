//! One frame, split into the statements to send to a server, each with the session of the dump that it was
//! written under.
//!
//! A whole frame is scanned and checked before any of it is executed, so a rejected statement also stops
//! those before it. Statements without an effect of their own (SET, USE, DELIMITER, LOCK, comments) are
//! tracked, not kept: lanes set the session of each statement.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::archive::index::FrameRecord;
use crate::restore::frames::guard::Guard;
use crate::sql::rows;
use crate::sql::scan::{ScanError, Scanner};
use crate::sql::session::Session;
use crate::sql::statement::{Kind, Section};
use crate::util::error::{Error, Result};
use crate::util::format::counted;

/// One statement of a section.
#[derive(Debug, Clone)]
pub struct FrameStatement {
    /// Its range in the frame's SQL.
    place: Range<usize>,
    /// Kind of the statement.
    pub kind: Kind,
    /// Session state at its position in the dump.
    pub session: Arc<Session>,
    /// Number of rows that it inserts.
    pub rows: u64,
}

impl FrameStatement {
    /// Start of the statement in the frame's SQL.
    pub fn begins_at(&self) -> usize {
        self.place.start
    }
}

/// A frame whose statements may all be executed.
#[derive(Debug)]
pub struct Frame {
    /// Its entry in the index.
    pub record: FrameRecord,
    raw: Bytes,
    statements: Vec<FrameStatement>,
}

impl Frame {
    /// Scans the frame `raw`, which begins under `session`. Statements that the guard rejects, unsupported
    /// statements, and rows that do not match the index are archive failures (exit 6).
    pub fn scan(
        guard: &Guard,
        record: FrameRecord,
        raw: Vec<u8>,
        session: &Session,
    ) -> Result<Frame> {
        let n = record.n;
        let unknown = |error: ScanError| {
            Error::archive(format!("frame {n} contains an unsupported statement")).because(error)
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
                        Error::archive(format!("cannot read rows of frame {n}")).because(error)
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
                "frame {n} has {}, but {} in the index",
                counted(rows, "row"),
                record.rows
            )));
        }
        // With wrong sections a pass would skip statements.
        let sections: BTreeSet<Section> = statements
            .iter()
            .filter_map(|statement| statement.kind.section())
            .collect();
        if sections != record.sections.iter().copied().collect() {
            return Err(Error::archive(format!(
                "the sections of frame {n} differ from those in the index"
            )));
        }
        Ok(Frame {
            record,
            raw: raw.into(),
            statements,
        })
    }

    /// Statements of a section in order, each with the SQL to send.
    pub fn of(&self, section: Section) -> impl Iterator<Item = (&FrameStatement, &[u8])> {
        self.statements
            .iter()
            .filter(move |statement| statement.kind.section() == Some(section))
            .map(|statement| (statement, &self.raw[statement.place.clone()]))
    }

    /// SQL to send for a statement of this frame.
    pub fn sql(&self, statement: &FrameStatement) -> &[u8] {
        &self.raw[statement.place.clone()]
    }

    /// The same, shared.
    pub fn bytes(&self, statement: &FrameStatement) -> Bytes {
        self.raw.slice(statement.place.clone())
    }

    /// SQL of the frame.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// All statements of the frame, each with the SQL to send.
    pub fn statements(&self) -> impl Iterator<Item = (&FrameStatement, &[u8])> {
        self.statements
            .iter()
            .map(|statement| (statement, &self.raw[statement.place.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::fixture::{archive, dump, small};
    use crate::archive::read::Archive;

    #[tokio::test]
    async fn a_frame_of_which_the_index_leaves_out_a_section_is_damage() {
        let (store, place, _) = archive(&[&dump("d", 3)], small(1 << 20, 1 << 20)).await;
        let archive = Archive::open(store, place).await.unwrap();
        let record = archive.frames().unwrap().read().unwrap().unwrap();
        let raw = archive.fetch(&record).await.unwrap();
        let guard = Guard::new(["d".to_owned()]).unwrap();
        let scan = |record| Frame::scan(&guard, record, raw.clone(), &Session::default());
        scan(record.clone()).unwrap();
        assert!(record.sections.len() > 1);
        for n in 0..record.sections.len() {
            let mut edited = record.clone();
            edited.sections.remove(n);
            let error = scan(edited).map(drop).unwrap_err();
            assert_eq!(error.outcome().code(), 6);
            assert!(error.to_string().contains("sections of frame"), "{error}");
        }
    }
}
