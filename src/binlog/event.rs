//! One event: its header, its checksum, and which kind it is.

use crate::{Error, Result};

/// Bytes of the header of every event.
pub const HEADER_BYTES: usize = 19;

/// Bytes of a checksum.
pub const CHECKSUM_BYTES: usize = 4;

/// The first bytes of every file.
pub const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];

/// Longest event that a server writes: `max_allowed_packet` is at most 1 GiB.
pub const MOST_EVENT_BYTES: u32 = (1 << 30) + (1 << 20);

/// Flag of a file that the server has open.
const IN_USE: u16 = 0x1;

/// Flag of an event that stands in no file.
const ARTIFICIAL: u16 = 0x20;

/// Kinds of events that drctl distinguishes.
pub mod kind {
    #![allow(missing_docs, reason = "the names are those of the servers")]
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const BEGIN_LOAD_QUERY: u8 = 17;
    pub const EXECUTE_LOAD_QUERY: u8 = 18;
    pub const TABLE_MAP: u8 = 19;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const XA_PREPARE: u8 = 38;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const TAGGED_GTID: u8 = 42;
    pub const MARIADB_ANNOTATE_ROWS: u8 = 160;
    pub const MARIADB_BINLOG_CHECKPOINT: u8 = 161;
    pub const MARIADB_GTID: u8 = 162;
    pub const MARIADB_GTID_LIST: u8 = 163;
    pub const MARIADB_START_ENCRYPTION: u8 = 164;
    pub const MARIADB_QUERY_COMPRESSED: u8 = 165;
}

/// Header of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Seconds since 1970; 0 for artificial events.
    pub timestamp: u32,
    /// Its [`kind`].
    pub kind: u8,
    /// The server that first wrote it.
    pub server_id: u32,
    /// Bytes of the event, header and checksum included.
    pub size: u32,
    /// Position of its end in the server's file, modulo 2^32; 0 for artificial events.
    pub log_pos: u32,
    /// Flags.
    pub flags: u16,
}

impl Header {
    /// Reads a header; `None` if there are too few bytes for it or its size cannot be.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let header = Header {
            timestamp: u32_at(bytes, 0)?,
            kind: bytes[4],
            server_id: u32_at(bytes, 5)?,
            size: u32_at(bytes, 9)?,
            log_pos: u32_at(bytes, 13)?,
            flags: u16::from_le_bytes([bytes[17], bytes[18]]),
        };
        let sizes = HEADER_BYTES as u32..=MOST_EVENT_BYTES;
        sizes.contains(&header.size).then_some(header)
    }

    /// The header as bytes.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.timestamp.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5..9].copy_from_slice(&self.server_id.to_le_bytes());
        bytes[9..13].copy_from_slice(&self.size.to_le_bytes());
        bytes[13..17].copy_from_slice(&self.log_pos.to_le_bytes());
        bytes[17..].copy_from_slice(&self.flags.to_le_bytes());
        bytes
    }
}

/// Whether the events of a file end with a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// Nothing.
    #[default]
    Off,
    /// CRC-32.
    Crc32,
}

/// One event, whole.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its header.
    pub header: Header,
    /// All of its bytes.
    pub bytes: &'a [u8],
}

impl<'a> Event<'a> {
    /// The event that is exactly these bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Event<'a>> {
        match Header::parse(bytes) {
            Some(header) if header.size as usize == bytes.len() => Ok(Event { header, bytes }),
            _ => Err(damaged("an event's length is not the one in its header")),
        }
    }

    /// What stands between the header and the checksum.
    pub fn body(&self, checksum: Checksum) -> &'a [u8] {
        let end = match checksum {
            Checksum::Crc32 => self.bytes.len().saturating_sub(CHECKSUM_BYTES),
            Checksum::Off => self.bytes.len(),
        };
        self.bytes.get(HEADER_BYTES..end).unwrap_or_default()
    }

    /// Whether the server sent it only to a replica: it stands in no file.
    pub fn is_artificial(&self) -> bool {
        let Header {
            kind,
            flags,
            log_pos,
            ..
        } = self.header;
        match kind {
            kind::HEARTBEAT | kind::HEARTBEAT_V2 => true,
            // Sent in front of what begins in the middle of a file.
            kind::FORMAT_DESCRIPTION => log_pos == 0,
            kind::ROTATE | kind::MARIADB_GTID_LIST => flags & ARTIFICIAL != 0 || log_pos == 0,
            _ => false,
        }
    }

    /// Refuses an event whose bytes do not fit its checksum.
    pub fn check(&self, checksum: Checksum) -> Result<()> {
        if checksum == Checksum::Off && self.header.kind != kind::FORMAT_DESCRIPTION {
            return Ok(());
        }
        let Some(end) = self.bytes.len().checked_sub(CHECKSUM_BYTES) else {
            return Err(damaged("an event is too short for its checksum"));
        };
        let stored = u32_at(self.bytes, end).unwrap_or_default();
        // The server computes it before it opens the file, and clears the flag when it closes it.
        let mut head = self.header;
        if head.kind == kind::FORMAT_DESCRIPTION {
            head.flags &= !IN_USE;
        }
        let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc);
        crc.update(&head.to_bytes());
        crc.update(&self.bytes[HEADER_BYTES.min(end)..end]);
        match crc.finalize() == u64::from(stored) {
            true => Ok(()),
            false => Err(damaged("an event does not fit its checksum")),
        }
    }
}

/// An event or a file that is not what a server writes.
pub fn damaged(what: impl Into<String>) -> Error {
    Error::archive(what)
}

/// What the description at the beginning of a file says of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Version of the server that wrote the file.
    pub server: String,
    /// Whether events have checksums.
    pub checksum: Checksum,
}

impl Description {
    /// Reads a FORMAT_DESCRIPTION event.
    pub fn parse(event: &Event<'_>) -> Result<Description> {
        const VERSION: std::ops::Range<usize> = 2..52;
        let body = event.body(Checksum::Crc32);
        let (Some(version), Some((&algorithm, _))) = (body.get(VERSION), body.split_last()) else {
            return Err(damaged("the description of a file is too short"));
        };
        let end = version.iter().position(|byte| *byte == 0);
        let version = &version[..end.unwrap_or(version.len())];
        let checksum = match algorithm {
            0 => Checksum::Off,
            1 => Checksum::Crc32,
            other => {
                return Err(damaged(format!(
                    "events have checksums of the kind {other}"
                )));
            }
        };
        Ok(Description {
            server: String::from_utf8_lossy(version).into_owned(),
            checksum,
        })
    }
}

/// The file and position that a ROTATE names.
pub fn rotated_to(body: &[u8]) -> Option<(u64, String)> {
    let (position, name) = body.split_at_checked(8)?;
    let position = u64::from_le_bytes(position.try_into().ok()?);
    Some((position, String::from_utf8(name.to_vec()).ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(eight.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An event with a checksum that ends at `log_pos`.
    pub fn event(kind: u8, log_pos: u32, body: &[u8]) -> Vec<u8> {
        let header = Header {
            timestamp: 1_790_000_000,
            kind,
            server_id: 1,
            size: (HEADER_BYTES + body.len() + CHECKSUM_BYTES) as u32,
            log_pos,
            flags: 0,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(body);
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &bytes) as u32;
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let whole = event(kind::XID, 131, &7u64.to_le_bytes());
        Event::parse(&whole)
            .unwrap()
            .check(Checksum::Crc32)
            .unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = Event::parse(&flipped).and_then(|event| event.check(Checksum::Crc32));
            assert!(read.is_err(), "bit {bit}");
        }
        for end in 0..whole.len() {
            assert!(Event::parse(&whole[..end]).is_err());
        }
    }

    #[test]
    fn headers_are_read_as_they_are_written() {
        let bytes = event(kind::QUERY, 500, b"body");
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.to_bytes(), bytes[..HEADER_BYTES]);
        assert_eq!((header.kind, header.log_pos), (kind::QUERY, 500));
        assert_eq!(Header::parse(&[0xff; 19]), None, "a size that cannot be");
        assert_eq!(Header::parse(&[0; 19]), None);
    }
}
