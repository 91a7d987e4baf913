//! The events of a compressed transaction of MySQL.

use std::io::{self, Read};

use mysql_common::io::ParseBuf;

use crate::binlog::event::{Checksum, Event, HEADER_BYTES, Header, damaged, kind};
use crate::{Error, Result};

/// Reads a compressed transaction, whose events have no checksums.
pub struct Payload<'a> {
    reader: Box<dyn Read + 'a>,
}

impl<'a> Payload<'a> {
    /// Opens a TRANSACTION_PAYLOAD, which has a checksum.
    pub fn open(event: &Event<'a>) -> Result<Payload<'a>> {
        let (algorithm, compressed) = fields(event.body(Checksum::Crc32)).ok_or_else(unreadable)?;
        let reader: Box<dyn Read + 'a> = match algorithm {
            Algorithm::None => Box::new(compressed),
            Algorithm::Zstd => {
                let decoder = zstd::stream::read::Decoder::new(compressed);
                Box::new(decoder.map_err(|e| unreadable().because(e))?)
            }
        };
        Ok(Payload { reader })
    }

    /// The next event: a statement or a table up to `most` bytes, of any other the header alone.
    pub fn next(&mut self, most: u64) -> Result<Option<(Header, Vec<u8>)>> {
        next_inside(&mut self.reader, most).map_err(|e| unreadable().because(e))
    }
}

fn unreadable() -> Error {
    damaged("a compressed transaction cannot be read")
}

enum Algorithm {
    Zstd,
    None,
}

/// Compression and contents of a TRANSACTION_PAYLOAD.
fn fields(body: &[u8]) -> Option<(Algorithm, &[u8])> {
    /// Types of fields.
    const END: u64 = 0;
    const COMPRESSION: u64 = 2;
    let mut rest = ParseBuf(body);
    let mut algorithm = None;
    loop {
        let field = rest.checked_eat_lenenc_int()?;
        if field == END {
            return Some((algorithm?, rest.0));
        }
        let length = usize::try_from(rest.checked_eat_lenenc_int()?).ok()?;
        let mut value = ParseBuf(rest.checked_eat(length)?);
        if field == COMPRESSION {
            algorithm = Some(match value.checked_eat_lenenc_int()? {
                0 => Algorithm::Zstd,
                255 => Algorithm::None,
                _ => return None,
            });
        }
    }
}

/// The next event, up to `most` bytes of it where they matter.
fn next_inside(reader: &mut dyn Read, most: u64) -> io::Result<Option<(Header, Vec<u8>)>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    reader.take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let header = Header::parse(&bytes).ok_or(io::ErrorKind::InvalidData)?;
    let body = u64::from(header.size) - HEADER_BYTES as u64;
    let kept = match header.kind {
        kind::QUERY | kind::TABLE_MAP => body.min(most),
        _ => 0,
    };
    let read = reader.take(kept).read_to_end(&mut bytes)? as u64;
    let skipped = io::copy(&mut reader.take(body - kept), &mut io::sink())?;
    match read + skipped == body {
        true => Ok(Some((header, bytes))),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
