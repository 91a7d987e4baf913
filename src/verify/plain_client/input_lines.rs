//! Maps line numbers of the client's input to the objects of the dump.

use crate::archive::index::FrameRecord;
use crate::archive::read::Archive;
use crate::restore::frames::read_ahead::FrameSource;
use crate::sql::statement::{Kind, ObjectId};
use crate::util::cancel::Cancel;
use crate::util::error::Result;

/// The input of the client so far.
#[derive(Debug, Default)]
pub(super) struct InputLines {
    /// Each frame with its first line, counted from 1.
    frames: Vec<(u64, FrameRecord)>,
    /// Number of lines so far.
    lines: u64,
}

impl InputLines {
    /// Adds a frame whose SQL, as the client reads it, is `sql`.
    pub(super) fn note(&mut self, frame: &FrameRecord, sql: &[u8]) {
        self.frames.push((self.lines + 1, frame.clone()));
        self.lines += count_lines(sql);
    }

    /// The object of the first statement that ends at a line or later; of the last one in its frame if there
    /// is none; `None` if the frame has no object.
    pub(super) async fn object_at(&self, archive: &Archive, line: u64) -> Result<Option<ObjectId>> {
        let at = self.frames.partition_point(|(first, _)| *first <= line);
        let Some((first, frame)) = at.checked_sub(1).and_then(|at| self.frames.get(at)) else {
            return Ok(None);
        };
        let n = frame.n;
        let source = FrameSource::of(archive, &Cancel::default())?;
        let mut frames = source.read(move |record| record.n == n);
        let Some(ready) = frames.next().await? else {
            return Ok(None);
        };
        let mut last = None;
        for (statement, sql) in ready.frame.statements() {
            let object = match &statement.kind {
                Kind::Create { object, .. } | Kind::SetSequence { object } => object.clone(),
                Kind::Insert { table } => table.clone(),
                Kind::CreateSchema { schema } | Kind::AlterSchema { schema } => {
                    ObjectId::schema(schema.clone())
                }
                _ => continue,
            };
            let begins = first + count_lines(&ready.frame.raw()[..statement.begins_at()]);
            last = Some(object);
            if begins + count_lines(sql) >= line {
                break;
            }
        }
        Ok(last)
    }
}

fn count_lines(sql: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', sql).count() as u64
}
