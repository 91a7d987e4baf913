//! A stream of rows that are written as statements, without a dump to scan.
//!
//! Its frames contain the INSERTs of one large table, or of several small ones, each after the comment that dump
//! programs write before rows.

use crate::archive::write::framer::{LONG_RUN_SHARE, RawFrame, Rows, frame_capacity};
use crate::archive::write::stream::{FrameSink, Stopped};
use crate::sql::ledger::RowSum;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, Section, Statement, quote};

/// The input of a stream of rows.
pub struct RowsWriter {
    stream: u32,
    frame_bytes: usize,
    sink: FrameSink,
    /// The session of rows without a history, before a schema is selected.
    plain: Session,
    /// The session at the end of `sql`.
    session: Session,
    /// The session at its beginning.
    before: Session,
    sql: Vec<u8>,
    /// Where the rows of each table are, and their sum.
    rows: Vec<(std::ops::Range<usize>, ObjectId, RowSum)>,
    longest: usize,
}

impl RowsWriter {
    pub(super) fn begin(
        stream: u32,
        session: Session,
        frame_bytes: usize,
        sink: FrameSink,
    ) -> Self {
        RowsWriter {
            stream,
            frame_bytes,
            sink,
            before: session.clone(),
            session: session.clone(),
            plain: session,
            sql: Vec::with_capacity(frame_capacity(frame_bytes)),
            rows: Vec::new(),
            longest: 0,
        }
    }

    /// Begins a table, or a part of one. `history`: its rows name the periods for which they are valid (MariaDB). A frame
    /// with many rows is sent before, and one in another session.
    pub async fn begin_table(&mut self, table: &ObjectId, history: bool) -> Result<(), Stopped> {
        let session = self.session_of(table, history);
        // Within a frame, only the schema changes.
        let mut here = self.session.clone();
        select_schema(&mut here, &table.schema);
        if here == self.session && self.rows.last().is_some_and(|(_, last, _)| last == table) {
            return Ok(());
        }
        let is_full = self.sql.len() > self.frame_bytes / LONG_RUN_SHARE;
        if is_full || here != session {
            self.send(self.sql.len()).await?;
        }
        if self.sql.is_empty() {
            self.before = session.clone();
        } else if self.session.schema() != Some(&table.schema) {
            let select = format!("USE {};\n", quote(&table.schema));
            self.sql.extend_from_slice(select.as_bytes());
        }
        self.session = session;
        let name = quote(&table.name).replace('\n', "\\n");
        let comment = format!("\n--\n-- Dumping data for table {name}\n--\n\n");
        self.sql.extend_from_slice(comment.as_bytes());
        let at = self.sql.len();
        self.rows.push((at..at, table.clone(), RowSum::default()));
        Ok(())
    }

    /// The session in which the rows of a table can be loaded.
    fn session_of(&self, table: &ObjectId, history: bool) -> Session {
        /// As MariaDB's dump program sets it.
        const INSERT_HISTORY: &[u8] =
            b"/*M!101100 SET @@session.system_versioning_insert_history=1 */";
        let mut session = self.plain.clone();
        if history {
            session.apply(&Statement {
                text: INSERT_HISTORY,
                sql: INSERT_HISTORY,
                kind: Kind::Set,
            });
        }
        select_schema(&mut session, &table.schema);
        session
    }

    /// The SQL of the open frame, to append to.
    pub fn sql(&mut self) -> &mut Vec<u8> {
        &mut self.sql
    }

    /// Notes that a statement ends where the SQL ends but for `rest` bytes, and the sum of the rows since the last call.
    /// A full frame is sent; the rest begins the next one.
    pub async fn end_statement(&mut self, rest: usize, sum: RowSum) -> Result<(), Stopped> {
        let end = self.sql.len() - rest;
        let Some((range, table, total)) = self.rows.last_mut() else {
            return Ok(());
        };
        self.longest = self.longest.max(end - range.end);
        range.end = end;
        total.add(sum);
        if end < self.frame_bytes {
            return Ok(());
        }
        let table = table.clone();
        self.send(end).await?;
        self.rows.push((0..0, table, RowSum::default()));
        Ok(())
    }

    /// Sends the last frame.
    pub async fn finish(mut self) -> Result<(), Stopped> {
        self.send(self.sql.len()).await
    }

    /// Sends the first `end` bytes as a frame, if they contain rows.
    async fn send(&mut self, end: usize) -> Result<(), Stopped> {
        let mut next = self.sink.buffers().take();
        let wanted = frame_capacity(self.frame_bytes);
        next.reserve_exact(wanted);
        next.extend_from_slice(&self.sql[end..]);
        self.sql.truncate(end);
        let sql = std::mem::replace(&mut self.sql, next);
        let mut rows = std::mem::take(&mut self.rows);
        rows.retain(|(_, _, sum)| sum.rows > 0);
        let before = std::mem::replace(&mut self.before, self.session.clone());
        let longest = std::mem::take(&mut self.longest);
        if rows.is_empty() {
            return Ok(());
        }
        let mut tables: Vec<ObjectId> = rows.iter().map(|(_, table, _)| table.clone()).collect();
        tables.dedup();
        let frame = RawFrame {
            stream: self.stream,
            sql,
            sections: vec![Section::Data],
            before,
            after: self.session.clone(),
            tables,
            rows: Rows::Summed(rows),
            longest,
        };
        self.sink.send(frame).await
    }
}

fn select_schema(session: &mut Session, schema: &str) {
    let schema = schema.to_owned();
    session.apply(&Statement {
        text: b"",
        sql: b"",
        kind: Kind::Use { schema },
    });
}
