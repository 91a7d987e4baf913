//! The note of an encrypted segment: what its header says in the clear, for a streamer that cannot decrypt what it wrote.
//!
//! It has positions, times, GTIDs and sizes, and 32 bits of a digest of each of the last events. It names no object of
//! the database.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::event::{Event, kind};
use super::group::Groups;
use super::record::Record;
use crate::{Error, Result};

/// Maximum number of events that are compared when a streamer goes on.
const MOST_EVENTS: usize = 32;

/// What is said of an encrypted segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its record, without statements and tables.
    pub record: Record,
    /// Its last events.
    pub last: LastEvents,
    /// The transaction that is open at its end.
    pub open: Groups,
}

impl Note {
    /// The note of a segment with this record.
    pub fn of(record: &Record, last: LastEvents, open: Groups) -> Note {
        let mut record = record.clone();
        let contents = &mut record.contents;
        contents.more_tables += contents.tables.len() as u64;
        contents.tables.clear();
        contents.more_statements += contents.statements.len() as u64;
        contents.statements.clear();
        Note { record, last, open }
    }

    /// The note as bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::unexpected("cannot write the note of a segment").because(e))
    }
}

/// An event, by its length and 32 bits of its XXH3. (The CRC-32 of an event that ends with its CRC-32 is a constant.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(usize, u32);

impl Fingerprint {
    /// Of an event's bytes.
    pub fn of(event: &[u8]) -> Fingerprint {
        Fingerprint(event.len(), xxhash_rust::xxh3::xxh3_64(event) as u32)
    }
}

/// The last events of a segment: the server must have the same ones at the same place. One alone would not tell servers
/// apart that were copied from one another and do the same in the same second. Descriptions are left out, whose
/// flags change, unless there is nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEvents {
    /// Position of the first of them in the server's file, and of the others.
    from: VecDeque<u64>,
    events: VecDeque<Fingerprint>,
    /// Whether the only one is a description.
    #[serde(skip)]
    is_description: bool,
}

impl LastEvents {
    /// Takes the next event.
    pub fn take(&mut self, event: &Event<'_>) {
        // Positions in headers end at 4 GiB, and so does what a server can be asked for.
        let header = event.header;
        let Some(from) = u64::from(header.log_pos).checked_sub(header.size.into()) else {
            return *self = LastEvents::default();
        };
        let is_description = header.kind == kind::FORMAT_DESCRIPTION;
        if is_description || self.is_description {
            *self = LastEvents::default();
        } else if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
            self.from.pop_front();
        }
        self.is_description = is_description;
        self.from.push_back(from);
        self.events.push_back(Fingerprint::of(event.bytes));
    }

    /// The events, and the position of the first; `log_pos` is the end of the segment.
    pub fn expected(self, log_pos: u64) -> (VecDeque<Fingerprint>, u64) {
        match self.from.front() {
            Some(from) if log_pos <= u64::from(u32::MAX) => (self.events, *from),
            _ => (VecDeque::new(), log_pos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_length_differ_although_each_ends_with_its_checksum() {
        let ending = |text: &[u8]| {
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, text) as u32;
            [text, &crc.to_le_bytes()].concat()
        };
        let all = [&b"one"[..], b"two", b"six"].map(|text| Fingerprint::of(&ending(text)));
        assert!(
            all[0] != all[1] && all[1] != all[2] && all[0] != all[2],
            "{all:?}"
        );
    }
}
