//! Bytes of a dump to statements of known kinds, whatever the chunks they arrive in.
//!
//! Every byte of the input belongs to exactly one statement; the texts, concatenated, are the
//! input. Where a statement ends is [`super::lex`]'s matter, what it is [`super::kind`]'s; this
//! file holds the bytes, and what stands between statements: DELIMITER, comment lines, comments.
//!
//! Memory: the longest statement plus the last chunk. A statement that spans many chunks is
//! looked at once, and its bytes move only when at least as many before them were consumed.

use std::collections::BTreeSet;

use super::head::head;
use super::kind::{self, Context, Language, Unknown};
use super::lex::{Lexer, Stop};
use super::lines::{Opening, delimiter_of, is_delimiter, is_trailer, line_tail};
pub use super::problem::{Problem, ScanError};
use super::session::Session;
use super::statement::{Kind, ObjectId, ObjectKind, Statement};
use super::tokens::is_space;

/// The longest statement that any server takes: `max_allowed_packet` ends at 1 GiB.
pub const LONGEST_STATEMENT: usize = 1 << 30;

/// Bytes of a statement that are looked at for what it is about.
const HEAD_BYTES: usize = 4 << 10;

/// Bytes kept allocated for the next statement.
const KEEP_BYTES: usize = 8 << 20;

/// Takes chunks of a dump, gives statements.
#[derive(Debug)]
pub struct Scanner {
    /// Consumed bytes, then the statement being read, then what follows.
    buffer: Vec<u8>,
    /// Where in `buffer` the unconsumed bytes begin.
    start: usize,
    /// How many bytes were consumed in all.
    offset: u64,
    /// The state in the midst of the statement at `start`.
    progress: Progress,
    /// The delimiter in force: one or more semicolons.
    delimiter: Vec<u8>,
    /// Whether the next statement starts a line, as far as the client is concerned.
    at_line_start: bool,
    /// The longest statement, in bytes, that is taken.
    limit: usize,
    /// What is known: a dump or accounts.sql.
    language: Language,
    /// The schema and the sql_mode in force.
    session: Session,
    /// Views whose place-holder was seen and whose final definition was not.
    placeholders: BTreeSet<ObjectId>,
    /// No more chunks will come.
    ended: bool,
    /// The last thing that is not blank was the trailer.
    trailer: bool,
}

/// How far the statement at the buffer's start has been looked at.
#[derive(Debug, Clone)]
enum Progress {
    /// White space only, this many bytes.
    Blank(usize),
    /// A statement that begins after this many bytes of white space, and the lexer in it.
    Statement(usize, Lexer),
    /// A line for the client, whose white space ends at the first number and which has been
    /// searched for its end up to the second.
    Line(usize, usize),
    /// A `/* … */` with no statement before it, with the same numbers.
    Block(usize, usize),
}

/// Where a statement lies in the buffer, relative to its start.
struct Extent {
    /// Where its SQL begins.
    from: usize,
    /// Where its SQL ends.
    to: usize,
    /// Where its text ends.
    end: usize,
    /// What it is.
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

    /// A scanner in the midst of a dump, at a place where `session` was in force and
    /// [`Session::at_rest`]. [`Scanner::pending_views`] are then those of the rest alone.
    pub fn resuming(session: Session) -> Self {
        Scanner {
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            progress: Progress::Blank(0),
            delimiter: b";".to_vec(),
            at_line_start: true,
            limit: LONGEST_STATEMENT,
            language: Language::Dump,
            session,
            placeholders: BTreeSet::new(),
            ended: false,
            trailer: false,
        }
    }

    /// A scanner of accounts.sql, which knows accounts and grants and nothing else.
    pub fn accounts() -> Self {
        Scanner {
            language: Language::Accounts,
            ..Scanner::new()
        }
    }

    /// Sets the longest statement, in bytes and without its delimiter, that is taken.
    #[must_use]
    pub fn longest(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Takes the next bytes of the dump, of any number. Ask [`Scanner::next`] for what they
    /// complete before pushing more.
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

    /// Says that all bytes were pushed; the statements that are left come from
    /// [`Scanner::next`], which then fails if the dump ends in the middle of one.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// The next whole statement, or `None` when more bytes are needed (after
    /// [`Scanner::finish`]: at the end).
    ///
    /// After an error the scanner must not be used further.
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

    /// Whether the dump so far ends in its trailer: the last text that is not blank is a comment
    /// line of its own, outside of any statement, that begins with `-- Dump completed`.
    pub fn saw_trailer(&self) -> bool {
        self.trailer && self.buffer[self.start..].iter().all(|byte| is_space(*byte))
    }

    /// What is in force after the last statement.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// How many bytes the statements given so far have.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The views whose place-holder was seen, but not yet their final definition. A whole dump
    /// leaves none.
    pub fn pending_views(&self) -> impl Iterator<Item = &ObjectId> {
        self.placeholders.iter()
    }

    /// What the statement at the buffer's start is about, as far as its head says so.
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
                    // Another opening inside ends elsewhere for the client.
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
                        Stop::Backslash(_) => return Err(Problem::Backslash(head(sql))),
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

/// Keeps the set of views that stand as place-holders.
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
