//! The binary log that a replica believes to read, and the events in it that no server wrote.
//!
//! A replica adds up what it gets, and a heartbeat that names an earlier place than its own is an error to it. So the
//! names and positions that it sees are ours, whatever files the events come from.

use crc_fast::CrcAlgorithm;

use crate::binlog::event::{CHECKSUM_BYTES, HEADER_BYTES, Header, kind};
use crate::mysql::Flavour;

/// Where the first event of a file stands.
const FIRST_EVENT: u64 = 4;

/// Behind this many bytes a new file is named: a heartbeat's position has 32 bits.
const MOST_FILE_BYTES: u64 = 1 << 30;

/// Flag of an event that no file holds (LOG_EVENT_ARTIFICIAL_F).
const ARTIFICIAL: u16 = 0x20;

/// The CRC-32 of an event, as it stands at its end.
pub fn checksum(event: &[u8]) -> [u8; 4] {
    let sum = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, event);
    // 32 bits of a number that holds larger sums too.
    (sum as u32).to_le_bytes()
}

/// The place of the next event.
#[derive(Debug)]
pub struct VirtualLog {
    flavour: Flavour,
    server_id: u32,
    file: u32,
    position: u64,
}

impl VirtualLog {
    /// In front of everything.
    pub fn new(flavour: Flavour, server_id: u32) -> VirtualLog {
        VirtualLog {
            flavour,
            server_id,
            file: 0,
            position: FIRST_EVENT,
        }
    }

    /// Begins the next file: the event that says so.
    pub fn rotate(&mut self) -> Vec<u8> {
        self.file += 1;
        self.position = FIRST_EVENT;
        let mut body = FIRST_EVENT.to_le_bytes().to_vec();
        body.extend_from_slice(self.name().as_bytes());
        // With a checksum: MySQL refuses a log of CRC32 that begins without one.
        self.event(kind::ROTATE, &body, 0, ARTIFICIAL)
    }

    /// Whether the file is long enough.
    pub fn is_long(&self) -> bool {
        self.position > MOST_FILE_BYTES
    }

    /// Counts an event that was sent.
    pub fn advance(&mut self, event: &[u8]) {
        self.position += event.len() as u64;
    }

    /// Says that there is nothing new. MariaDB gives up on one that names an earlier place than its own, and takes its
    /// own partly from the positions that the events have on their server: so it is given the last place there is.
    pub fn heartbeat(&self) -> Vec<u8> {
        let position = match self.flavour {
            Flavour::MySql => u32::try_from(self.position).unwrap_or(u32::MAX),
            Flavour::MariaDb => u32::MAX,
        };
        let name = self.name();
        self.event(kind::HEARTBEAT, name.as_bytes(), position, 0)
    }

    fn name(&self) -> String {
        format!("drctl.{:06}", self.file)
    }

    fn event(&self, kind: u8, body: &[u8], position: u32, flags: u16) -> Vec<u8> {
        let header = Header {
            timestamp: 0,
            kind,
            server_id: self.server_id,
            size: (HEADER_BYTES + body.len() + CHECKSUM_BYTES) as u32,
            log_pos: position,
            flags,
        };
        let mut event = header.to_bytes().to_vec();
        event.extend_from_slice(body);
        event.extend_from_slice(&checksum(&event));
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_names_the_place_behind_the_last_event() {
        let mut log = VirtualLog::new(Flavour::MySql, 7);
        let rotate = log.rotate();
        assert_eq!(&rotate[HEADER_BYTES + 8..rotate.len() - 4], b"drctl.000001");
        log.advance(&[0; 100]);
        let beat = log.heartbeat();
        assert_eq!(beat[13..17], 104u32.to_le_bytes());
        let (head, sum) = beat.split_at(beat.len() - 4);
        assert_eq!(checksum(head), sum);
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926u32.to_le_bytes());
    }
}
