//! Ranges of an encrypted object: which stored bytes hold them, and their decryption.
//!
//! An age file is a header, a nonce, and the text in chunks of 64 KiB, each with a tag of 16 bytes that also depends on
//! its position and on whether it is the last one (age-encryption.org/v1). All of the cryptography is the crate's; this
//! module only says where the chunks are.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;

use crate::keys::identities::{Identities, damaged};
use crate::util::error::Result;

/// Bytes of text in a chunk, and of its tag.
const CHUNK: u64 = 64 << 10;
const TAG: u64 = 16;

/// Maximum length of a header in bytes: that of an object with a note of 64 KiB, or of some hundred recipients.
pub(super) const MOST_HEADER: u64 = 128 << 10;

/// Where the parts of an encrypted object are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Length of the header and the nonce.
    header: u64,
    /// Length of the object as stored.
    stored: u64,
    /// Length of its text.
    plain: u64,
}

impl Layout {
    /// The layout of an object of `stored` bytes whose text has `plain`; `None` if there is no such object.
    pub fn new(stored: u64, plain: u64) -> Option<Layout> {
        let chunks = plain.div_ceil(CHUNK).max(1);
        let payload = plain.checked_add(chunks.checked_mul(TAG)?)?;
        let header = stored.checked_sub(payload)?;
        (header > 0 && header <= MOST_HEADER).then_some(Layout {
            header,
            stored,
            plain,
        })
    }

    /// The stored bytes before the first chunk.
    pub fn header(&self) -> Range<u64> {
        0..self.header
    }

    /// The last chunk: it shows that nothing was cut off.
    pub fn last(&self) -> Range<u64> {
        self.start(self.plain.saturating_sub(1))..self.stored
    }

    /// The chunks with a range of the text.
    pub fn chunks(&self, plain: &Range<u64>) -> Range<u64> {
        if plain.is_empty() {
            let at = self.start(plain.start);
            return at..at;
        }
        let end = self.start(plain.end - 1).saturating_add(CHUNK + TAG);
        self.start(plain.start)..end.min(self.stored)
    }

    /// The stored bytes that end with the chunk before the one with this place in the text: divides the object without
    /// gap or overlap.
    pub fn cut(&self, plain: u64) -> u64 {
        match plain {
            0 => 0,
            plain if plain >= self.plain => self.stored,
            plain => self.start(plain),
        }
    }

    /// Where the chunk begins that has this place in the text.
    fn start(&self, plain: u64) -> u64 {
        let before = plain / CHUNK;
        self.header
            .saturating_add(before.saturating_mul(CHUNK + TAG))
    }
}

/// The parts of an object that each range of it needs.
#[derive(Debug, Clone)]
pub struct Encrypted {
    /// Its name, for messages.
    pub named: String,
    /// Where its parts are.
    pub layout: Layout,
    /// Its header.
    pub header: Bytes,
    /// Its last chunk.
    pub last: Bytes,
}

impl Encrypted {
    /// Decrypts a range of the text; `chunks` are the stored bytes of [`Layout::chunks`].
    ///
    /// # Errors
    /// `Archive`. The caller has decrypted another object of the backup by these identities, so that they are the right
    /// ones.
    pub fn decrypt(
        &self,
        identities: &Identities,
        plain: Range<u64>,
        chunks: Bytes,
    ) -> Result<Vec<u8>> {
        let length = plain.end.saturating_sub(plain.start);
        let parts = Parts {
            parts: [
                (0, self.header.clone()),
                (self.layout.chunks(&plain).start, chunks),
                (self.layout.last().start, self.last.clone()),
            ],
            length: self.layout.stored,
            at: 0,
        };
        let mut reader = age::Decryptor::new(parts)
            .and_then(|age| age.decrypt(identities.as_age()))
            .map_err(|e| damaged(&self.named).because(e))?;
        let mut text = vec![0; length as usize];
        reader
            .seek(SeekFrom::Start(plain.start))
            .and_then(|_| reader.read_exact(&mut text))
            .map_err(|e| damaged(&self.named).because(e))?;
        Ok(text)
    }
}

/// An object of which only some parts are there; reading another one fails.
struct Parts {
    parts: [(u64, Bytes); 3],
    length: u64,
    at: u64,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.length {
            return Ok(0);
        }
        let here = self.parts.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(self.at.checked_sub(*start)?).ok()?;
            bytes.get(offset..).filter(|rest| !rest.is_empty())
        });
        let rest = here.ok_or(io::ErrorKind::UnexpectedEof)?;
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Parts {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
#[path = "encrypted_tests.rs"]
pub(super) mod tests;
