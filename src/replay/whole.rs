//! Events that are made or changed here, each with its CRC-32.

use bytes::Bytes;

use crate::Result;
use crate::binlog::event::{CHECKSUM_BYTES, Checksum, Event, HEADER_BYTES, Header, damaged, kind};
use crate::replay::listener::checksum;

/// Algorithm byte at the end of a FORMAT_DESCRIPTION: CRC-32.
const CRC32: u8 = 1;

/// An event that was checked, with a CRC-32: as it is, or with one appended where its file has none.
pub fn with_checksum(bytes: Bytes, of: Checksum) -> Result<Bytes> {
    if of == Checksum::Crc32 {
        return Ok(bytes);
    }
    let event = Event::parse(&bytes)?;
    // The description itself always has one.
    let mut body = event.body(match event.header.kind {
        kind::FORMAT_DESCRIPTION => Checksum::Crc32,
        _ => Checksum::Off,
    });
    let described;
    if event.header.kind == kind::FORMAT_DESCRIPTION {
        let (_, rest) = body
            .split_last()
            .ok_or_else(|| damaged("an empty description"))?;
        described = [rest, &[CRC32]].concat();
        body = &described;
    }
    Ok(made(event.header, body))
}

/// An event with this header, but for the size, and this body.
pub fn made(header: Header, body: &[u8]) -> Bytes {
    let header = Header {
        size: (HEADER_BYTES + body.len() + CHECKSUM_BYTES) as u32,
        ..header
    };
    let mut event = Vec::with_capacity(header.size as usize);
    event.extend_from_slice(&header.to_bytes());
    event.extend_from_slice(body);
    let sum = checksum(&event);
    event.extend_from_slice(&sum);
    event.into()
}

/// A QUERY event without default schema and session variables, beside `beside`.
pub fn statement(beside: Header, sql: &str) -> Bytes {
    /// Thread 4, seconds 4, length of the schema 1, error 2, length of the variables 2; the schema's final zero.
    const HEAD: [u8; 14] = [0; 14];
    let header = Header {
        kind: kind::QUERY,
        flags: 0,
        ..beside
    };
    made(header, &[&HEAD, sql.as_bytes()].concat())
}
