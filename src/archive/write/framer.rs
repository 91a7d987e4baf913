//! Splits the statements of a stream into frames of about the same size, [`FRAME_BYTES`] by default.
//!
//! A frame contains complete statements, verbatim, and begins and ends where no `SET` is pending (the session is
//! *at rest*, docs/format.md); so it can be executed alone, in its recorded session. The statements between two such
//! positions form a block; blocks are not divided, and settings, comments and DROPs belong to the block after them.
//!
//! Small tables share a frame, with their definitions and triggers. If a table turns out to have many rows, the frame is
//! cut where they begin: the rows of large tables are in separate frames, so that a restore can read all definitions
//! without them.

use std::ops::Range;

use crate::sql::ledger::Ledger;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, Section, Statement};
use crate::sql::view_order::Views;
use crate::util::error::{Error, Result};

/// Default size of a frame in bytes of SQL: it ends before the block that would exceed this.
pub const FRAME_BYTES: usize = 8 << 20;

/// Rows of one table that take more than this fraction of a frame get separate frames.
const LONG_RUN_SHARE: usize = 8;

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
    /// Its INSERT statements: their ranges in `sql`, without delimiters, and their tables.
    pub inserts: Vec<(Range<usize>, ObjectId)>,
    /// Length of its longest statement in bytes.
    pub longest: usize,
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

/// Splits a stream into frames.
pub struct Framer {
    stream: u32,
    /// Size of a frame in bytes of SQL.
    frame_bytes: usize,
    /// The session after the last statement.
    session: Session,
    /// The definitions so far.
    objects: Ledger,
    /// The views so far.
    views: Views,
    /// The SQL of `blocks`, followed by that of `pending`.
    sql: Vec<u8>,
    /// The session before the first byte of `sql`.
    before: Session,
    /// The blocks of the open frame.
    blocks: Vec<Block>,
    /// The incomplete block.
    pending: Block,
}

/// The statements between two positions at rest.
#[derive(Default)]
struct Block {
    /// Its range in the SQL of the open frame.
    text: Range<usize>,
    sections: Vec<Section>,
    tables: Vec<ObjectId>,
    inserts: Vec<(Range<usize>, ObjectId)>,
    longest: usize,
    /// The session after it.
    after: Session,
}

impl Block {
    fn only_rows(&self) -> bool {
        self.sections == [Section::Data]
    }

    fn shift_left(&mut self, by: usize) {
        let shifted = |range: &Range<usize>| range.start - by..range.end - by;
        self.text = shifted(&self.text);
        for (range, _) in &mut self.inserts {
            *range = shifted(range);
        }
    }
}

impl Framer {
    /// A framer for a stream that begins in `session`, with frames of about `frame_bytes` of SQL.
    pub fn new(stream: u32, session: Session, frame_bytes: usize) -> Self {
        Framer {
            stream,
            frame_bytes,
            before: session.clone(),
            session,
            objects: Ledger::default(),
            views: Views::default(),
            sql: frame_buffer(frame_bytes),
            blocks: Vec::new(),
            pending: Block::default(),
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

    /// Ends the stream; returns its last frame, and the rest.
    pub fn finish(mut self) -> Result<(Option<RawFrame>, StreamEnd)> {
        if !self.session.at_rest() {
            return Err(Error::source(
                "the dump ends within a definition, without restoring its settings",
            ));
        }
        let last = self.cut(self.blocks.len());
        let trailer = RawFrame {
            stream: self.stream,
            sql: self.sql,
            sections: Vec::new(),
            before: self.before,
            after: self.session,
            tables: Vec::new(),
            inserts: Vec::new(),
            longest: self.pending.longest,
        };
        Ok((
            last,
            StreamEnd {
                objects: self.objects,
                trailer,
                views: self.views,
            },
        ))
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
        let is_empty = self.sql.is_empty() && self.objects.iter().next().is_none();
        let is_setting = section.is_none() && !matches!(statement.kind, Kind::Drop { .. });
        if self.stream > 0 && is_setting && is_empty {
            // An archive contains only the header of its first stream; the others have a prologue.
            self.before = self.session.clone();
            return;
        }
        let start = self.sql.len();
        if statement.text.len() > self.long_run_bytes() {
            // Doubling would allocate up to twice the length of a long statement.
            self.sql.reserve_exact(statement.text.len());
        }
        self.sql.extend_from_slice(statement.text);
        let block = &mut self.pending;
        block.text.end = self.sql.len();
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
                let sql = start + skipped..start + skipped + statement.sql.len();
                block.inserts.push((sql, table.clone()));
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

    /// Adds the pending block to the open frame.
    fn close_block(&mut self) {
        let end = self.pending.text.end;
        let mut block = std::mem::take(&mut self.pending);
        self.pending.text = end..end;
        block.after = self.session.clone();
        self.blocks.push(block);
    }

    /// The next complete frame: the blocks before a long run of rows, a long run that has ended, or a full frame. `None`
    /// if there is none yet.
    pub fn due(&mut self) -> Option<RawFrame> {
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

    /// Takes the first `count` blocks out of the open frame, as a frame.
    fn cut(&mut self, count: usize) -> Option<RawFrame> {
        let rest = self.blocks.split_off(count);
        let blocks = std::mem::replace(&mut self.blocks, rest);
        let last = blocks.last()?;
        let (end, after) = (last.text.end, last.after.clone());
        let sql = self.take_text(end);
        for block in self.blocks.iter_mut().chain([&mut self.pending]) {
            block.shift_left(end);
        }
        let mut frame = RawFrame {
            stream: self.stream,
            sql,
            sections: Vec::new(),
            before: std::mem::replace(&mut self.before, after.clone()),
            after,
            tables: Vec::new(),
            inserts: Vec::new(),
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
            frame.inserts.extend(block.inserts);
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
    Vec::with_capacity(frame_bytes + frame_bytes / LONG_RUN_SHARE)
}

/// Adds an item unless the list contains it. Lists are short, and items are mostly repeated in sequence.
fn note<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) {
    if list.last() != Some(item) && !list.contains(item) {
        list.push(item.clone());
    }
}

#[cfg(test)]
#[path = "framer_tests.rs"]
mod tests;
