//! Statements of one stream to frames of about one size, [`FRAME_BYTES`] unless told otherwise.
//!
//! A frame holds whole statements, verbatim, and begins and ends at rest: where no `SET` waits to
//! be undone, so that it can be executed by itself under the session it names. What stands between
//! two places of rest is a block; a block is never divided, and settings, comments and DROPs go with
//! the block behind them.
//!
//! Small tables share a frame, with their definitions and triggers. Where a table's rows turn out
//! to be many, the frame is cut in retrospect where they begin: the rows of big tables lie in
//! frames of nothing else, so that a restore can read all definitions without them.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::sql::ledger::Ledger;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, Section, Statement};

/// A frame ends before the block that would make it longer than this, bytes of SQL; the usual size.
pub const FRAME_BYTES: usize = 8 << 20;

/// A run of one table's rows that is longer than this share of a frame has frames of its own.
const LONG_RUN_SHARE: usize = 8;

/// A frame before compression.
#[derive(Debug, Clone, PartialEq)]
pub struct RawFrame {
    /// Which stream it belongs to.
    pub stream: u32,
    /// Its SQL.
    pub sql: Vec<u8>,
    /// The sections it has statements of, in order, each once.
    pub sections: Vec<Section>,
    /// What is in force before its first byte.
    pub before: Session,
    /// What is in force after its last byte.
    pub after: Session,
    /// The tables that it creates or has rows of, each once.
    pub tables: Vec<ObjectId>,
    /// Its INSERT statements: where in `sql`, as a server is sent them, and of which table.
    pub inserts: Vec<(Range<usize>, ObjectId)>,
    /// Its longest statement, bytes.
    pub longest: usize,
}

/// What a stream amounts to beside its frames.
#[derive(Debug)]
pub struct StreamEnd {
    /// The digest of every definition.
    pub objects: Ledger,
    /// What follows the last block: settings put back, the trailer. An archive has one, that of
    /// its first stream.
    pub trailer: RawFrame,
}

/// Cuts one stream into frames.
pub struct Framer {
    stream: u32,
    /// A frame ends before the block that would make it longer, bytes of SQL.
    frame_bytes: usize,
    /// What is in force after the last statement.
    session: Session,
    /// The definitions so far.
    objects: Ledger,
    /// The SQL of `blocks` and, behind it, of `pending`.
    sql: Vec<u8>,
    /// What is in force at the first byte of `sql`.
    before: Session,
    /// The blocks of the open frame.
    blocks: Vec<Block>,
    /// The block in the making.
    pending: Block,
}

/// What stands between two places of rest.
#[derive(Default)]
struct Block {
    /// Where it lies in the open frame's SQL.
    text: Range<usize>,
    sections: Vec<Section>,
    tables: Vec<ObjectId>,
    inserts: Vec<(Range<usize>, ObjectId)>,
    longest: usize,
    /// What is in force behind it.
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
    /// A framer for a stream whose connection begins in `session`, with frames of about
    /// `frame_bytes` of SQL.
    pub fn new(stream: u32, session: Session, frame_bytes: usize) -> Self {
        Framer {
            stream,
            frame_bytes,
            before: session.clone(),
            session,
            objects: Ledger::default(),
            sql: frame_buffer(frame_bytes),
            blocks: Vec::new(),
            pending: Block::default(),
        }
    }

    /// Takes the next statement. Ask [`Framer::due`] for the frames that it completes before the
    /// next one.
    pub fn push(&mut self, statement: &Statement<'_>) -> Result<()> {
        self.note_definition(statement)?;
        self.session.apply(statement);
        self.append(statement);
        if self.session.at_rest() && !self.pending.sections.is_empty() {
            self.close_block();
        }
        Ok(())
    }

    /// The end of the stream: its last frame, and what it amounts to.
    pub fn finish(mut self) -> Result<(Option<RawFrame>, StreamEnd)> {
        if !self.session.at_rest() {
            return Err(Error::source(
                "the dump ends within a definition, its settings not undone",
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
            },
        ))
    }

    fn note_definition(&mut self, statement: &Statement<'_>) -> Result<()> {
        if statement.kind == Kind::Account {
            return Err(Error::source("the dump holds a statement about accounts"));
        }
        self.objects
            .observe(statement, &self.session)
            .map_err(|e| Error::source("the dump contradicts itself").because(e))
    }

    fn append(&mut self, statement: &Statement<'_>) {
        let section = statement.kind.section();
        let begun = !self.sql.is_empty() || self.objects.iter().next().is_some();
        let scene = section.is_none() && !matches!(statement.kind, Kind::Drop { .. });
        if self.stream > 0 && scene && !begun {
            // An archive has one header, that of its first stream; a prologue stands for the others.
            self.before = self.session.clone();
            return;
        }
        let start = self.sql.len();
        if statement.text.len() > self.long_run_bytes() {
            // Doubling would cost a long statement twice its length.
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

    /// The next frame that is complete, if one is: what stands before a long run of rows, the run
    /// before what follows it, or what fills a frame.
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

    /// Takes the first `end` bytes of SQL. The longer part stays where it is: a long statement is
    /// not copied once more.
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

/// Adds what is not in the list yet; lists are short, and runs of the same are the rule.
fn note<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) {
    if list.last() != Some(item) && !list.contains(item) {
        list.push(item.clone());
    }
}

#[cfg(test)]
#[path = "framer_tests.rs"]
mod tests;
