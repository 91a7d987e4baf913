//! The file of the log that is being archived: what its closed.json will say.

use crate::binlog::record::Record;
use crate::stream::objects::FileObjects;

/// How many statements closed.json lists.
const MOST_STATEMENTS: usize = 20_000;

/// The segments of a file so far.
#[derive(Debug)]
pub struct OpenFile {
    /// Their records.
    records: Vec<Record>,
    /// How many statements these may still list.
    room: usize,
    /// Whether its closed.json is in the store.
    pub has_closed: bool,
    /// Whether there is a signature of a closed.json that a killed streamer did not write.
    pub has_signature: bool,
}

impl OpenFile {
    /// A file without segments. closed.json is not encrypted: with segments that are, it lists no statements.
    pub fn new(encrypted: bool) -> OpenFile {
        OpenFile {
            records: Vec::new(),
            room: if encrypted { 0 } else { MOST_STATEMENTS },
            has_closed: false,
            has_signature: false,
        }
    }

    /// Notes what the store lists of the file.
    pub fn is_listed(&mut self, listed: &FileObjects) {
        self.has_closed = listed.closed;
        self.has_signature = listed.signed;
    }

    /// Keeps what closed.json says of the next segment.
    pub fn note(&mut self, record: &Record) {
        if let Some(before) = self.records.last_mut() {
            before.gtid_set = None;
        }
        let mut record = record.clone();
        let contents = &mut record.contents;
        contents.more_tables += contents.tables.len() as u64;
        contents.tables.clear();
        let left_out = contents.statements.len().saturating_sub(self.room);
        contents.statements.truncate(self.room);
        contents.more_statements += left_out as u64;
        self.room -= contents.statements.len();
        self.records.push(record);
    }

    /// The record of its last segment.
    pub fn last(&self) -> Option<&Record> {
        self.records.last()
    }

    /// The records, and the SHA-256 of each segment: each names that of the one before, and `last` is that of the last.
    pub fn end(self, last: &Option<String>) -> (Vec<Record>, Vec<String>) {
        let prevs = self.records.iter().skip(1).map(|record| &record.prev);
        let all: Option<Vec<String>> = prevs.chain([last]).cloned().collect();
        let all = all.filter(|_| !self.records.is_empty());
        (self.records, all.unwrap_or_default())
    }
}
