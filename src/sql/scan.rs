//! Splits a dump, in chunks of any size, into statements of known kinds.
//!
//! Every byte of the input belongs to exactly one statement; the concatenated texts are the input. [`super::lex`]
//! finds the end of a statement, [`super::kind`] its kind; this file buffers the bytes, and handles everything
//! between statements: DELIMITER, comment lines, comments.
//!
//! Memory: the longest statement plus the last chunk. A statement that spans many chunks is scanned once, and its
//! bytes are moved only after at least as many before them were consumed.

use std::collections::BTreeSet;

use super::head::head;
use super::kind::{self, Context, Language, Unknown};
use super::lex::{Lexer, Stop};
use super::lines::{Opening, delimiter_of, is_delimiter, is_trailer, line_tail};
pub use super::problem::{Problem, ScanError};
use super::session::Session;
use super::statement::{Kind, ObjectId, ObjectKind, Statement};
use super::tokens::is_space;

/// The longest statement that any server accepts: the maximum of `max_allowed_packet`.
const MAX_STATEMENT_BYTES: usize = 1 << 30;

/// Bytes of a statement in which its object is searched for.
const HEAD_BYTES: usize = 4 << 10;

/// Bytes kept allocated for the next statement.
const KEEP_BYTES: usize = 8 << 20;

/// Takes chunks of a dump, and returns statements.
#[derive(Debug)]
pub struct Scanner {
    /// Consumed bytes, the current statement, and the bytes after it.
    buffer: Vec<u8>,
    /// Offset in `buffer` of the current statement.
    start: usize,
    /// Total number of bytes consumed.
    offset: u64,
    progress: Progress,
    /// The current delimiter: one or more semicolons.
    delimiter: Vec<u8>,
    /// Whether the next statement begins at the start of a line, from the client's view.
    at_line_start: bool,
    /// Maximum length of a statement in bytes.
    limit: usize,
    language: Language,
    session: Session,
    /// Views whose placeholder was returned, but not yet the final definition.
    placeholders: BTreeSet<ObjectId>,
    /// Whether the last chunk was pushed.
    ended: bool,
    /// Whether the last text that is not blank was the trailer.
    trailer: bool,
}

/// The part of the current statement scanned so far.
#[derive(Debug, Clone)]
enum Progress {
    /// This many bytes of white space.
    Blank(usize),
    /// A statement that begins after this many bytes of white space, and its lexer.
    Statement(usize, Lexer),
    /// A comment line or client command: the length of the white space before it, and the offset up to which its
    /// end was searched for.
    Line(usize, usize),
    /// A separate `/* … */`, with the same numbers.
    Block(usize, usize),
}

/// A statement as offsets from the beginning of its text in the buffer.
struct Extent {
    /// Beginning of the SQL.
    from: usize,
    /// End of the SQL.
    to: usize,
    /// End of the text.
    end: usize,
    kind: Kind,
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner::new()
    }
}

impl Scanner {
    /// A scanner at the first byte of a dump.
    pub fn new() -> Self {
        Scanner::resuming(Session::default())
    }

    /// A scanner that begins within a dump, at a position with this session, which is [`Session::at_rest`].
    /// [`Scanner::pending_views`] then only covers the rest of the dump.
    pub fn resuming(session: Session) -> Self {
        Scanner {
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            progress: Progress::Blank(0),
            delimiter: b";".to_vec(),
            at_line_start: true,
            limit: MAX_STATEMENT_BYTES,
            language: Language::Dump,
            session,
            placeholders: BTreeSet::new(),
            ended: false,
            trailer: false,
        }
    }

    /// A scanner of accounts.sql, which accepts only statements about accounts and grants.
    pub fn accounts() -> Self {
        Scanner {
            language: Language::Accounts,
            ..Scanner::new()
        }
    }

    /// Sets the maximum length of a statement, in bytes and without its delimiter.
    #[cfg(test)]
    fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Appends a chunk of any size. Take the statements that it completes from [`Scanner::next`] before pushing
    /// another chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        let pending = self.buffer.len() - self.start;
        if self.start >= pending {
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(pending);
            self.start = 0;
            if self.buffer.capacity() > KEEP_BYTES && pending + chunk.len() <= KEEP_BYTES {
                self.buffer.shrink_to(KEEP_BYTES);
            }
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// Ends the input. [`Scanner::next`] then returns the remaining statements, and fails if the dump ends within
    /// one.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// The next complete statement; `None` if more bytes are needed, or, after [`Scanner::finish`], at the end.
    ///
    /// Do not use the scanner after an error.
    #[expect(clippy::should_implement_trait, reason = "it lends from the buffer")]
    pub fn next(&mut self) -> Result<Option<Statement<'_>>, ScanError> {
        let offset = self.offset;
        let extent = match self.advance() {
            Ok(extent) => extent,
            Err(problem) => {
                return Err(ScanError {
                    offset,
                    object: self.object(),
                    problem,
                });
            }
        };
        let Some(Extent {
            from,
            to,
            end,
            kind,
        }) = extent
        else {
            return Ok(None);
        };
        let text_at = self.start;
        self.start += end;
        self.offset += end as u64;
        self.progress = Progress::Blank(0);
        let text = &self.buffer[text_at..text_at + end];
        self.at_line_start = text.ends_with(b"\n");
        let statement = Statement {
            text,
            sql: &text[from..to],
            kind,
        };
        if text.iter().any(|byte| !is_space(*byte)) {
            self.trailer = is_trailer(&statement);
        }
        if !matches!(statement.kind, Kind::Insert { .. } | Kind::Comment) {
            self.session.apply(&statement);
        }
        note_placeholder(&mut self.placeholders, &statement.kind);
        Ok(Some(statement))
    }

    /// Whether the dump so far ends with its trailer: the last text that is not blank is a comment line outside any
    /// statement that begins with `-- Dump completed`.
    pub fn saw_trailer(&self) -> bool {
        self.trailer && self.buffer[self.start..].iter().all(|byte| is_space(*byte))
    }

    /// The session after the last returned statement.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Total length in bytes of the returned statements.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The views whose placeholder was returned, but not yet the final definition; none at the end of a complete
    /// dump.
    pub fn pending_views(&self) -> impl Iterator<Item = &ObjectId> {
        self.placeholders.iter()
    }

    /// The object of the current statement, if its head names one.
    fn object(&self) -> Option<ObjectId> {
        let Progress::Statement(from, _) = self.progress else {
            return None;
        };
        let context = Context {
            language: self.language,
            delimited: self.delimiter != b";",
            session: &self.session,
        };
        let sql = &self.buffer[self.start + from..];
        kind::object(&sql[..sql.len().min(HEAD_BYTES)], &context)
    }

    fn advance(&mut self) -> Result<Option<Extent>, Problem> {
        loop {
            let bytes = &self.buffer[self.start..];
            match &mut self.progress {
                Progress::Blank(seen) => {
                    let blank = bytes[*seen..]
                        .iter()
                        .take_while(|byte| is_space(**byte))
                        .count();
                    *seen += blank;
                    let from = *seen;
                    let rest = &bytes[from..];
                    if rest.is_empty() {
                        return Ok((self.ended && from > 0).then_some(Extent {
                            from,
                            to: from,
                            end: from,
                            kind: Kind::Comment,
                        }));
                    }
                    let line_start = match memchr::memrchr(b'\n', &bytes[..from]) {
                        Some(_) => true,
                        None => self.at_line_start,
                    };
                    match Opening::of(rest, line_start, self.ended) {
                        None => return Ok(None),
                        Some(Opening::Line) => self.progress = Progress::Line(from, from),
                        Some(Opening::Block) => self.progress = Progress::Block(from, from + 2),
                        Some(Opening::Statement) => {
                            self.progress = Progress::Statement(from, Lexer::default());
                        }
                    }
                }
                Progress::Line(from, seen) => {
                    let end = match memchr::memchr(b'\n', &bytes[*seen..]) {
                        Some(newline) => *seen + newline + 1,
                        None if self.ended => bytes.len(),
                        None => {
                            *seen = bytes.len();
                            return check_length(bytes.len() - *from, self.limit);
                        }
                    };
                    let from = *from;
                    let line = &bytes[from..end];
                    let kind = if is_delimiter(line) {
                        self.delimiter = delimiter_of(line)?;
                        Kind::Delimiter
                    } else {
                        Kind::Comment
                    };
                    return Ok(Some(Extent {
                        from,
                        to: from,
                        end,
                        kind,
                    }));
                }
                Progress::Block(from, seen) => {
                    let Some(close) = memchr::memmem::find(&bytes[*seen..], b"*/") else {
                        if self.ended {
                            return Err(Problem::Unterminated(head(&bytes[*from..])));
                        }
                        *seen = (*seen).max(bytes.len() - 1);
                        return check_length(bytes.len() - *from, self.limit);
                    };
                    let (from, end) = (*from, *seen + close + 2);
                    // For the client a nested opening ends at another place.
                    if memchr::memmem::find(&bytes[from + 2..end], b"/*").is_some() {
                        return Err(Problem::Unknown(head(&bytes[from..])));
                    }
                    let Some(tail) = line_tail(&bytes[end..], self.ended) else {
                        return Ok(None);
                    };
                    return Ok(Some(Extent {
                        from,
                        to: from,
                        end: end + tail,
                        kind: Kind::Comment,
                    }));
                }
                Progress::Statement(from, lexer) => {
                    let from = *from;
                    let sql = &bytes[from..];
                    let escapes = !self.session.no_backslash_escapes();
                    match lexer.run(sql, &self.delimiter, escapes, self.ended) {
                        // Up to there, so that the words do not depend on how much was read.
                        Stop::Backslash(at) => {
                            return Err(Problem::Backslash(head(&sql[..at.min(sql.len())])));
                        }
                        Stop::More if self.ended => {
                            return Err(Problem::Unterminated(head(sql)));
                        }
                        Stop::More => return check_length(sql.len(), self.limit),
                        Stop::Delimiter(to) => {
                            check_length(to, self.limit)?;
                            let after = to + self.delimiter.len();
                            let Some(tail) = line_tail(&sql[after..], self.ended) else {
                                return Ok(None);
                            };
                            let sql = trim_end(&sql[..to]);
                            let context = Context {
                                language: self.language,
                                delimited: self.delimiter != b";",
                                session: &self.session,
                            };
                            let kind =
                                kind::of(sql, &context).map_err(|unknown| match unknown {
                                    Unknown::Kind => Problem::Unknown(head(sql)),
                                    Unknown::Name => Problem::Name(head(sql)),
                                })?;
                            return Ok(Some(Extent {
                                from,
                                to: from + sql.len(),
                                end: from + after + tail,
                                kind,
                            }));
                        }
                    }
                }
            }
        }
    }
}

fn check_length(bytes: usize, limit: usize) -> Result<Option<Extent>, Problem> {
    if bytes > limit {
        return Err(Problem::TooLong(limit));
    }
    Ok(None)
}

fn trim_end(sql: &[u8]) -> &[u8] {
    let blanks = sql.iter().rev().take_while(|byte| is_space(**byte)).count();
    &sql[..sql.len() - blanks]
}

/// Updates the set of views of which only a placeholder exists.
fn note_placeholder(placeholders: &mut BTreeSet<ObjectId>, kind: &Kind) {
    if let Kind::Create {
        object,
        placeholder,
    } = kind
        && object.kind == ObjectKind::View
    {
        if *placeholder {
            placeholders.insert(object.clone());
        } else {
            placeholders.remove(object);
        }
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
