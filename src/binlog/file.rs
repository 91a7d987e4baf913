//! The events in a piece of a file.

use super::event::{Event, HEADER_BYTES, Header, MAGIC, damaged};
use crate::Result;

/// Walks the events of raw bytes that begin at an offset of a file.
#[derive(Debug)]
pub struct Events<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Events<'a> {
    /// The events of a piece that begins at `from`; at 0 the magic number is checked and passed.
    pub fn of(raw: &'a [u8], from: u64) -> Result<Events<'a>> {
        let at = match from {
            0 if raw.starts_with(&MAGIC) => MAGIC.len(),
            0 => return Err(damaged("a file does not begin as binary logs do")),
            _ => 0,
        };
        Ok(Events { raw, at })
    }

    /// Offset of the next event within the piece.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// `Archive`: the piece ends within an event.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>> {
        let rest = &self.raw[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let header = Header::parse(&rest[..rest.len().min(HEADER_BYTES)]);
        let bytes = header.and_then(|header| rest.get(..header.size as usize));
        let bytes = bytes.ok_or_else(|| damaged("the log ends within an event"))?;
        self.at += bytes.len();
        Event::parse(bytes).map(Some)
    }
}
