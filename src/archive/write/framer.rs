//! Splits the statements of a stream into frames of about the same size, [`FRAME_BYTES`] by default.
//!
//! A frame contains complete statements, verbatim, and begins and ends where no `SET` is pending (the session is
//! *at rest*, docs/format.md); so it can be executed alone, in its recorded session. The statements between two such
//! positions form a block; blocks are not divided, and settings, comments and DROPs belong to the block after them.
//!
//! Small tables share a frame, with their definitions and triggers. If a table turns out to have many rows, the frame is
//! cut where they begin: the rows of large tables are in separate frames, so that a restore can read all definitions
//! without them.
//!
//! A dump of definitions alone becomes two streams: what has to be there before the rows, and what has to follow them.

use std::ops::Range;

use crate::sql::ledger::{Ledger, RowSum};
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, Section, Statement};
use crate::sql::view_order::Views;
use crate::util::error::{Error, Result};

/// Default size of a frame in bytes of SQL: it ends before the block that would exceed this.
pub const FRAME_BYTES: usize = 8 << 20;

/// Rows of one table that take more than this fraction of a frame get separate frames.
pub(super) const LONG_RUN_SHARE: usize = 8;

/// A frame before compression.
#[derive(Debug, Clone, PartialEq)]
pub struct RawFrame {
    /// Its stream.
    pub stream: u32,
    /// Its SQL.
    pub sql: Vec<u8>,
    /// The sections of its statements, in order, each once.
    pub sections: Vec<Section>,
    /// The session before its first byte.
    pub before: Session,
    /// The session after its last byte.
    pub after: Session,
    /// The tables that it creates or has rows of, each once.
    pub tables: Vec<ObjectId>,
    /// Its rows, in the order of the SQL.
    pub rows: Vec<FrameRows>,
    /// Length of its longest statement in bytes.
    pub longest: usize,
}

/// Consecutive rows of one table in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameRows {
    /// Their range in the SQL: one INSERT without its delimiter, or several where the sum is known.
    pub text: Range<usize>,
    /// Their table.
    pub table: ObjectId,
    /// Their sum, if they were added up as they were written.
    pub sum: Option<RowSum>,
}

/// The rest of a stream, without its frames.
#[derive(Debug)]
pub struct StreamEnd {
    /// The digests of all definitions.
    pub objects: Ledger,
    /// The text after the last block: restored settings, the trailer. An archive contains only that of its first stream.
    pub trailer: RawFrame,
    /// Its views.
    pub views: Views,
}

impl StreamEnd {
    /// The session after its last definition, in which rows can be loaded once a schema is selected.
    pub fn session(&self) -> &Session {
        &self.trailer.before
    }
}

/// Splits a stream into frames.
pub struct Framer {
    /// The session after the last statement.
    session: Session,
    /// The definitions so far.
    objects: Ledger,
    /// The views so far.
    views: Views,
    /// The open frame, whose SQL is followed by that of `pending`.
    frame: OpenFrame,
    /// Where definitions are dumped apart from the rows: the open frame of those that have to follow the rows.
    after_rows: Option<OpenFrame>,
    /// The incomplete block.
    pending: Block,
    /// The session before it.
    pending_before: Session,
}

/// A frame that takes blocks.
struct OpenFrame {
    stream: u32,
    /// Size of a frame in bytes of SQL.
    frame_bytes: usize,
    /// The SQL of `blocks`.
    sql: Vec<u8>,
    /// The session before the first byte of `sql`.
    before: Session,
    blocks: Vec<Block>,
}

/// The statements between two positions at rest.
#[derive(Default)]
struct Block {
    /// Its range in the SQL of the open frame.
    text: Range<usize>,
    sections: Vec<Section>,
    tables: Vec<ObjectId>,
    rows: Vec<FrameRows>,
    longest: usize,
    /// The session after it.
    after: Session,
}

impl Block {
    fn only_rows(&self) -> bool {
        self.sections == [Section::Data]
    }

    /// Whether it has to follow the rows: a trigger would act on them.
    fn is_post_data(&self) -> bool {
        self.sections == [Section::PostData]
    }

    /// Moves its ranges from one offset of its text to another.
    fn moved(&mut self, from: usize, to: usize) {
        let moved = |range: &Range<usize>| range.start + to - from..range.end + to - from;
        self.text = moved(&self.text);
        for rows in &mut self.rows {
            rows.text = moved(&rows.text);
        }
    }
}

impl Framer {
    /// A framer for a stream that begins in `session`, with frames of about `frame_bytes` of SQL.
    pub fn new(stream: u32, session: Session, frame_bytes: usize) -> Self {
        Framer {
            frame: OpenFrame::new(stream, session.clone(), frame_bytes),
            after_rows: None,
            pending_before: session.clone(),
            session,
            objects: Ledger::default(),
            views: Views::default(),
            pending: Block::default(),
        }
    }

    /// The same for a dump of definitions, whose triggers, routines and views become the stream `after_rows`.
    pub fn of_definitions(stream: u32, after_rows: u32, frame_bytes: usize) -> Self {
        let session = Session::default();
        let after_rows = OpenFrame::new(after_rows, session.clone(), frame_bytes);
        Framer {
            after_rows: Some(after_rows),
            ..Framer::new(stream, session, frame_bytes)
        }
    }

    /// Adds a statement. Take the frames that it completes from [`Framer::due`] before adding another one.
    pub fn push(&mut self, statement: &Statement<'_>) -> Result<()> {
        self.note_definition(statement)?;
        self.session.apply(statement);
        self.append(statement);
        if self.session.at_rest() && !self.pending.sections.is_empty() {
            self.close_block();
        }
        Ok(())
    }

    /// Ends the stream; returns its last frames, and the rest.
    pub fn finish(mut self) -> Result<(Last, StreamEnd)> {
        if !self.session.at_rest() {
            return Err(Error::source(
                "the dump ends within a definition, without restoring its settings",
            ));
        }
        let last = Last {
            frame: self.frame.cut_all(),
            after_rows: self.after_rows.as_mut().and_then(OpenFrame::cut_all),
        };
        let trailer = RawFrame {
            stream: self.frame.stream,
            sql: self.frame.sql,
            sections: Vec::new(),
            before: self.frame.before,
            after: self.session,
            tables: Vec::new(),
            rows: Vec::new(),
            longest: self.pending.longest,
        };
        let end = StreamEnd {
            objects: self.objects,
            trailer,
            views: self.views,
        };
        Ok((last, end))
    }

    fn note_definition(&mut self, statement: &Statement<'_>) -> Result<()> {
        if statement.kind == Kind::Account {
            return Err(Error::source(
                "the dump contains a statement about accounts",
            ));
        }
        self.views.note(&statement.kind, statement.sql);
        self.objects
            .observe(statement, &self.session)
            .map_err(|e| Error::source("inconsistent dump").because(e))
    }

    fn append(&mut self, statement: &Statement<'_>) {
        let section = statement.kind.section();
        let sql = &mut self.frame.sql;
        let is_empty = sql.is_empty() && self.objects.iter().next().is_none();
        let is_setting = section.is_none() && !matches!(statement.kind, Kind::Drop { .. });
        if self.frame.stream > 0 && is_setting && is_empty {
            // An archive contains only the header of its first stream; the others have a prologue.
            self.frame.before = self.session.clone();
            self.pending_before = self.session.clone();
            return;
        }
        let start = sql.len();
        if statement.text.len() > self.frame.frame_bytes / LONG_RUN_SHARE {
            // Doubling would allocate up to twice the length of a long statement.
            sql.reserve_exact(statement.text.len());
        }
        sql.extend_from_slice(statement.text);
        let block = &mut self.pending;
        block.text.end = sql.len();
        block.longest = block.longest.max(statement.text.len());
        if let Some(section) = section
            && block.sections.last() != Some(&section)
            && !block.sections.contains(&section)
        {
            block.sections.push(section);
        }
        match &statement.kind {
            Kind::Insert { table } => {
                let skipped = statement.sql.as_ptr() as usize - statement.text.as_ptr() as usize;
                let text = start + skipped..start + skipped + statement.sql.len();
                block.rows.push(FrameRows {
                    text,
                    table: table.clone(),
                    sum: None,
                });
                note(&mut block.tables, table);
            }
            Kind::Create {
                object,
                placeholder: false,
            } if object.kind.section() == Section::PreData => {
                note(&mut block.tables, object);
            }
            _ => {}
        }
    }

    /// Adds the pending block to its open frame.
    fn close_block(&mut self) {
        let mut block = std::mem::take(&mut self.pending);
        block.after = self.session.clone();
        let before = std::mem::replace(&mut self.pending_before, self.session.clone());
        let after_rows = self.after_rows.as_mut();
        match after_rows.filter(|_| block.is_post_data()) {
            None if self.frame.ends_in(&before) => self.frame.blocks.push(block),
            None => {
                let text = self.frame.sql.split_off(block.text.start);
                self.frame.append(before, block, &text);
            }
            Some(after_rows) => {
                let text = self.frame.sql.split_off(block.text.start);
                after_rows.append(before, block, &text);
            }
        }
        let end = self.frame.sql.len();
        self.pending.text = end..end;
    }

    /// The next complete frame: the blocks before a long run of rows, a long run that has ended, or a full frame. `None`
    /// if there is none yet.
    pub fn due(&mut self) -> Option<RawFrame> {
        let before = self.frame.sql.len();
        let frame = self.frame.due()?;
        self.pending.moved(before - self.frame.sql.len(), 0);
        Some(frame)
    }

    /// The next complete frame of those that follow the rows.
    pub fn due_after_rows(&mut self) -> Option<RawFrame> {
        self.after_rows.as_mut()?.due()
    }
}

/// The last frames of a stream.
pub struct Last {
    /// The frame of the stream.
    pub frame: Option<RawFrame>,
    /// That of the definitions that follow the rows.
    pub after_rows: Option<RawFrame>,
}

impl OpenFrame {
    fn new(stream: u32, before: Session, frame_bytes: usize) -> Self {
        OpenFrame {
            stream,
            frame_bytes,
            sql: frame_buffer(frame_bytes),
            before,
            blocks: Vec::new(),
        }
    }

    /// Whether a block can follow that begins in `session`.
    fn ends_in(&self, session: &Session) -> bool {
        self.blocks.last().map_or(&self.before, |last| &last.after) == session
    }

    /// Appends a block that begins in the session `before`, and its text.
    fn append(&mut self, before: Session, mut block: Block, text: &[u8]) {
        let start = self.sql.len();
        match self.blocks.last() {
            None => self.before = before,
            Some(last) => {
                for statement in before.statements_from(Some(&last.after)) {
                    self.sql.extend_from_slice(statement.as_bytes());
                    self.sql.extend_from_slice(b";\n");
                }
            }
        }
        block.moved(block.text.start, self.sql.len());
        block.text.start = start;
        self.sql.extend_from_slice(text);
        self.blocks.push(block);
    }

    fn due(&mut self) -> Option<RawFrame> {
        let last = self.blocks.len().checked_sub(1)?;
        let rows = self.blocks[last].only_rows();
        let end = self.blocks[last].text.end;
        let first_of_run = self
            .blocks
            .iter()
            .rposition(|block| block.only_rows() != rows);
        let run = first_of_run.map_or(0, |before| before + 1);
        let run_bytes = end - self.blocks[run].text.start;
        let before_run_bytes = self.blocks[run].text.start;
        let long_run_began = run > 0 && rows && run_bytes > self.long_run_bytes();
        let long_run_ended = run == last
            && !rows
            && before_run_bytes > self.long_run_bytes()
            && self.only_rows_before(run);
        if long_run_began || long_run_ended {
            self.cut(run)
        } else if end > self.frame_bytes {
            self.cut(last.max(1))
        } else {
            None
        }
    }

    fn long_run_bytes(&self) -> usize {
        self.frame_bytes / LONG_RUN_SHARE
    }

    fn only_rows_before(&self, end: usize) -> bool {
        self.blocks[..end].iter().all(Block::only_rows)
    }

    fn cut_all(&mut self) -> Option<RawFrame> {
        self.cut(self.blocks.len())
    }

    /// Takes the first `count` blocks out of the open frame, as a frame.
    fn cut(&mut self, count: usize) -> Option<RawFrame> {
        let rest = self.blocks.split_off(count);
        let blocks = std::mem::replace(&mut self.blocks, rest);
        let last = blocks.last()?;
        let (end, after) = (last.text.end, last.after.clone());
        let sql = self.take_text(end);
        for block in &mut self.blocks {
            block.moved(end, 0);
        }
        let mut frame = RawFrame {
            stream: self.stream,
            sql,
            sections: Vec::new(),
            before: std::mem::replace(&mut self.before, after.clone()),
            after,
            tables: Vec::new(),
            rows: Vec::new(),
            longest: 0,
        };
        for block in blocks {
            block
                .sections
                .iter()
                .for_each(|section| note(&mut frame.sections, section));
            block
                .tables
                .iter()
                .for_each(|table| note(&mut frame.tables, table));
            frame.rows.extend(block.rows);
            frame.longest = frame.longest.max(block.longest);
        }
        Some(frame)
    }

    /// Takes the first `end` bytes of SQL. The longer part is not moved, so that a long statement is not copied again.
    fn take_text(&mut self, end: usize) -> Vec<u8> {
        if end < self.sql.len() - end {
            return self.sql.drain(..end).collect();
        }
        let mut tail = frame_buffer(self.frame_bytes);
        tail.extend_from_slice(&self.sql[end..]);
        let mut sql = std::mem::replace(&mut self.sql, tail);
        sql.truncate(end);
        sql
    }
}

fn frame_buffer(frame_bytes: usize) -> Vec<u8> {
    Vec::with_capacity(frame_capacity(frame_bytes))
}

/// Capacity for the SQL of a frame, also compressed.
pub(super) const fn frame_capacity(frame_bytes: usize) -> usize {
    frame_bytes + frame_bytes / LONG_RUN_SHARE + (64 << 10)
}

/// Adds an item unless the list contains it. Lists are short, and items are mostly repeated in sequence.
pub(super) fn note<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) {
    if list.last() != Some(item) && !list.contains(item) {
        list.push(item.clone());
    }
}

#[cfg(test)]
#[path = "framer_tests.rs"]
mod tests;
