//! A stream of rows that are written as statements, without a dump to scan.
//!
//! Its frames contain the INSERTs of one large table, or of several small ones, each after the comment that dump
//! programs write before rows.

use std::ops::Range;

use crate::archive::write::framer::{FrameRows, LONG_RUN_SHARE, RawFrame, frame_capacity, note};
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
    /// Where the last table begins, and the session before it.
    last: (usize, Session),
    /// The rows of each table.
    parts: Vec<Part>,
}

/// The rows of one table in the open frame.
struct Part {
    table: ObjectId,
    /// Where they are in the SQL, up to the last complete statement.
    text: Range<usize>,
    sum: RowSum,
    /// Length of the longest statement in bytes.
    longest: usize,
}

impl Part {
    fn at(start: usize, table: ObjectId) -> Part {
        Part {
            table,
            text: start..start,
            sum: RowSum::default(),
            longest: 0,
        }
    }
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
            last: (0, session.clone()),
            plain: session,
            sql: Vec::with_capacity(frame_capacity(frame_bytes)),
            parts: Vec::new(),
        }
    }

    /// Begins a table, or a part of one. `history`: its rows name the periods for which they are valid (MariaDB). A frame
    /// with many rows is sent before, and one in another session.
    pub async fn begin_table(&mut self, table: &ObjectId, history: bool) -> Result<(), Stopped> {
        let session = self.session_of(table, history);
        if self.session == session && self.parts.last().is_some_and(|last| last.table == *table) {
            return Ok(());
        }
        // Within a frame, only the schema changes.
        let mut here = self.session.clone();
        select_schema(&mut here, &table.schema);
        let is_full = self.sql.len() > self.frame_bytes / LONG_RUN_SHARE;
        if is_full || here != session {
            self.send_all().await?;
        }
        self.last = (self.sql.len(), self.session.clone());
        if self.sql.is_empty() {
            self.before = session.clone();
            self.last.1 = session.clone();
        } else if self.session.schema() != Some(&table.schema) {
            let select = format!("USE {};\n", quote(&table.schema));
            self.sql.extend_from_slice(select.as_bytes());
        }
        self.session = session;
        let name = quote(&table.name).replace('\n', "\\n");
        let comment = format!("\n--\n-- Dumping data for table {name}\n--\n\n");
        self.sql.extend_from_slice(comment.as_bytes());
        let at = self.sql.len();
        self.parts.push(Part::at(at, table.clone()));
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

    /// Notes that statements end where the SQL ends but for `rest` bytes, the length of the longest, and the sum of the
    /// rows since the last call. A full frame is sent; the rest begins the next one.
    pub async fn end_statements(
        &mut self,
        rest: usize,
        longest: usize,
        sum: RowSum,
    ) -> Result<(), Stopped> {
        let end = self.sql.len() - rest;
        let Some(part) = self.parts.last_mut() else {
            return Ok(());
        };
        part.text.end = end;
        part.longest = part.longest.max(longest);
        part.sum.add(sum);
        let is_long = part.text.len() > self.frame_bytes / LONG_RUN_SHARE;
        if is_long && self.parts.len() > 1 {
            // The rows of a large table are in frames of their own.
            self.send_before_last().await?;
        }
        let end = self.sql.len() - rest;
        if end < self.frame_bytes {
            return Ok(());
        }
        let table = self.parts.last().map(|last| last.table.clone());
        let parts = std::mem::take(&mut self.parts);
        self.send(end, parts, self.session.clone()).await?;
        self.last = (0, self.session.clone());
        self.parts.extend(table.map(|table| Part::at(0, table)));
        Ok(())
    }

    /// Sends the last frame.
    pub async fn finish(mut self) -> Result<(), Stopped> {
        self.send_all().await
    }

    /// Sends all SQL as a frame.
    async fn send_all(&mut self) -> Result<(), Stopped> {
        let parts = std::mem::take(&mut self.parts);
        self.send(self.sql.len(), parts, self.session.clone()).await
    }

    /// Sends the tables before the last one as a frame.
    async fn send_before_last(&mut self) -> Result<(), Stopped> {
        let Some(mut last) = self.parts.pop() else {
            return Ok(());
        };
        let parts = std::mem::take(&mut self.parts);
        let (start, session) = self.last.clone();
        self.send(start, parts, session.clone()).await?;
        last.text = last.text.start - start..last.text.end - start;
        self.parts.push(last);
        self.last = (0, session);
        Ok(())
    }

    /// Sends the first `end` bytes, after which the session is `after`, as a frame, if they contain rows.
    async fn send(
        &mut self,
        end: usize,
        mut parts: Vec<Part>,
        after: Session,
    ) -> Result<(), Stopped> {
        let mut next = self.sink.buffers().take();
        next.reserve_exact(frame_capacity(self.frame_bytes));
        next.extend_from_slice(&self.sql[end..]);
        self.sql.truncate(end);
        let sql = std::mem::replace(&mut self.sql, next);
        let before = std::mem::replace(&mut self.before, after.clone());
        parts.retain(|part| part.sum.rows > 0);
        let Some(longest) = parts.iter().map(|part| part.longest).max() else {
            return Ok(());
        };
        let mut tables = Vec::new();
        parts.iter().for_each(|part| note(&mut tables, &part.table));
        let rows = parts.into_iter().map(|part| FrameRows {
            text: part.text,
            table: part.table,
            sum: Some(part.sum),
        });
        let frame = RawFrame {
            stream: self.stream,
            sql,
            sections: vec![Section::Data],
            before,
            after,
            tables,
            rows: rows.collect(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::codec::Codec;
    use crate::archive::write::encode::{EncodedFrame, Encoders};
    use crate::archive::write::stream::FrameInFlight;
    use crate::sql::scan::Scanner;
    use tokio::sync::mpsc::Receiver;

    /// The session after the header of a dump.
    fn plain() -> Session {
        let mut session = Session::default();
        assert!(session.set("sql_mode", "'NO_AUTO_VALUE_ON_ZERO'"));
        session
    }

    fn writer(frame_bytes: usize) -> (RowsWriter, Receiver<FrameInFlight>) {
        let (sink, frames) = FrameSink::new(Encoders::new(Codec::None, 0));
        (RowsWriter::begin(2, plain(), frame_bytes, sink), frames)
    }

    async fn insert(writer: &mut RowsWriter, rows: u64) {
        let values = vec!["(1)"; rows as usize].join(",");
        let sql = format!("INSERT INTO `t` VALUES {values};\n");
        writer.sql().extend_from_slice(sql.as_bytes());
        let sum = RowSum::of_insert(sql.trim_end().trim_end_matches(';').as_bytes()).unwrap();
        writer.end_statements(0, sql.len(), sum).await.unwrap();
    }

    async fn sent(writer: RowsWriter, mut frames: Receiver<FrameInFlight>) -> Vec<EncodedFrame> {
        writer.finish().await.unwrap();
        let mut all = Vec::new();
        while let Some(frame) = frames.recv().await {
            all.push(frame.encoding.await.unwrap().unwrap());
        }
        all
    }

    /// The tables of the INSERTs of a frame, executed in its own session.
    fn tables(frame: &EncodedFrame) -> Vec<ObjectId> {
        let mut scanner = Scanner::resuming(frame.before.clone());
        scanner.push(&frame.stored);
        scanner.finish();
        let mut tables = Vec::new();
        while let Some(statement) = scanner.next().unwrap() {
            if let Kind::Insert { table } = statement.kind {
                tables.push(table);
            }
        }
        assert_eq!(scanner.session(), &frame.after);
        tables
    }

    #[tokio::test]
    async fn small_tables_of_several_schemas_share_a_frame() {
        let (mut writer, frames) = writer(100_000);
        let all: Vec<ObjectId> = ["a", "b", "b"]
            .map(|schema| ObjectId::table(schema, "t"))
            .into();
        for table in &all {
            writer.begin_table(table, false).await.unwrap();
            insert(&mut writer, 2).await;
        }
        // A table without rows.
        writer
            .begin_table(&ObjectId::table("c", "t"), false)
            .await
            .unwrap();
        let frames = sent(writer, frames).await;
        assert_eq!(frames.len(), 1);
        assert_eq!(tables(&frames[0]), all);
        assert_eq!(frames[0].before.schema(), Some("a"));
        assert_eq!(frames[0].rows[&all[1]].rows, 4);
    }

    #[tokio::test]
    async fn the_rows_of_a_large_table_are_in_frames_of_their_own() {
        let (mut writer, frames) = writer(800);
        let [small, large] = ["a", "b"].map(|schema| ObjectId::table(schema, "t"));
        writer.begin_table(&small, false).await.unwrap();
        insert(&mut writer, 1).await;
        let short = "INSERT INTO `t` VALUES (1);\n".len();
        writer.begin_table(&large, false).await.unwrap();
        for _ in 0..3 {
            insert(&mut writer, 20).await;
        }
        let frames = sent(writer, frames).await;
        assert_eq!(frames.len(), 2);
        assert_eq!(
            (&frames[0].tables, tables(&frames[0])),
            (&vec![small.clone()], vec![small])
        );
        assert_eq!(frames[1].rows[&large].rows, 60);
        assert_eq!(tables(&frames[1]), vec![large; 3]);
        assert_eq!(frames[0].longest, short);
        assert_eq!(frames[1].longest, short + 19 * ",(1)".len());
    }

    #[tokio::test]
    async fn the_longest_statement_is_known_behind_a_table_without_rows() {
        let (mut writer, frames) = writer(800);
        for (schema, rows) in [("a", 0), ("b", 50)] {
            writer
                .begin_table(&ObjectId::table(schema, "t"), false)
                .await
                .unwrap();
            if rows > 0 {
                insert(&mut writer, rows).await;
            }
        }
        let frames = sent(writer, frames).await;
        let longest: Vec<usize> = frames.iter().map(|frame| frame.longest).collect();
        assert_eq!(
            longest,
            ["INSERT INTO `t` VALUES (1);\n".len() + 49 * ",(1)".len()]
        );
    }

    #[tokio::test]
    async fn a_full_frame_ends_with_its_statement_and_the_next_one_goes_on() {
        let (mut writer, frames) = writer(300);
        let table = ObjectId::table("a", "t");
        writer.begin_table(&table, false).await.unwrap();
        for _ in 0..10 {
            insert(&mut writer, 10).await;
        }
        let frames = sent(writer, frames).await;
        assert!(frames.len() > 1);
        assert!(
            frames
                .iter()
                .all(|frame| tables(frame).iter().all(|it| *it == table))
        );
        assert_eq!(
            frames
                .iter()
                .map(|frame| frame.rows[&table].rows)
                .sum::<u64>(),
            100
        );
    }

    #[tokio::test]
    async fn rows_with_a_history_have_frames_of_their_own_session() {
        let (mut writer, frames) = writer(100_000);
        let [one, other] = ["t", "u"].map(|name| ObjectId::table("a", name));
        for (table, history) in [(&one, false), (&other, true), (&one, false)] {
            writer.begin_table(table, history).await.unwrap();
            insert(&mut writer, 1).await;
        }
        let frames = sent(writer, frames).await;
        let history = |frame: &EncodedFrame| {
            let variable = frame.before.variable("system_versioning_insert_history");
            variable.map(str::to_owned)
        };
        let histories: Vec<_> = frames.iter().map(history).collect();
        assert_eq!(histories, [None, Some("1".to_owned()), None]);
    }
}
