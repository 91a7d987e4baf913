//! Finds the end of a statement, by the rules of the `mysql` client in binary mode.
//!
//! The same bytes must restore through the plain client, so these are the rules of the client (`add_line` in its
//! source), not the server's grammar: the delimiter is recognised everywhere except in quotes, in ordinary comments
//! and after `-- ` and `#`. It is recognised inside `/*! … */`; an ordinary comment that begins on the same line as
//! a conditional one ends at the *second* `*/`; a backslash outside quotes is a command of the client, and so an
//! error here.
//!
//! The state is kept between chunks, so no byte is scanned twice.

use super::tokens::is_space;

/// What was opened on the current line with `/*!` or `/*+`; the client resets it at the end of each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    /// Nothing.
    No,
    /// `/*! … */`, executed by the server conditionally.
    Conditional,
    /// `/*+ … */`, an optimizer hint.
    Hint,
}

/// Why the lexer stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The delimiter begins at this offset.
    Delimiter(usize),
    /// More bytes are needed.
    More,
    /// A backslash outside quotes is at this offset.
    Backslash(usize),
}

/// The state of the client within a statement.
#[derive(Debug, Clone)]
pub struct Lexer {
    /// Offset of the next byte in the statement.
    at: usize,
    /// The open quote, or 0.
    quote: u8,
    /// Whether the open string contains a newline, which ends `special`.
    newline_in_quote: bool,
    /// Whether an ordinary `/* … */` comment is open.
    comment: bool,
    /// Whether the rest of the line is a comment.
    line_comment: bool,
    /// What was opened on this line.
    special: Special,
}

/// Bytes that are significant outside quotes.
static NOTABLE: [bool; 256] = {
    let mut table = [false; 256];
    let notable = b"'\"`\\;#-/*\n";
    let mut i = 0;
    while i < notable.len() {
        table[notable[i] as usize] = true;
        i += 1;
    }
    table
};

impl Default for Lexer {
    fn default() -> Self {
        Lexer {
            at: 0,
            quote: 0,
            newline_in_quote: false,
            comment: false,
            line_comment: false,
            special: Special::No,
        }
    }
}

impl Lexer {
    /// Continues where the last call stopped. `statement` contains the statement from its first byte as far as it
    /// was read; `last`: nothing follows.
    pub fn run(
        &mut self,
        statement: &[u8],
        delimiter: &[u8],
        backslash_escapes: bool,
        last: bool,
    ) -> Stop {
        while self.at < statement.len() {
            let step = if self.quote != 0 {
                self.in_quote(statement, backslash_escapes, last)
            } else if self.line_comment {
                self.in_line_comment(statement)
            } else if self.comment {
                self.in_comment(statement, last)
            } else {
                self.in_the_open(statement, delimiter, last)
            };
            if let Some(stop) = step {
                return stop;
            }
        }
        Stop::More
    }

    /// Inside quotes; a doubled quote closes and reopens, with the same result.
    fn in_quote(&mut self, bytes: &[u8], backslash_escapes: bool, last: bool) -> Option<Stop> {
        let rest = &bytes[self.at..];
        let found = if backslash_escapes && self.quote != b'`' {
            memchr::memchr2(self.quote, b'\\', rest)
        } else {
            memchr::memchr(self.quote, rest)
        };
        let passed = found.unwrap_or(rest.len());
        if self.special != Special::No && memchr::memchr(b'\n', &rest[..passed]).is_some() {
            self.newline_in_quote = true;
        }
        self.at += passed;
        match found {
            None => None,
            Some(end) if rest[end] == b'\\' => {
                if end + 1 == rest.len() && !last {
                    return Some(Stop::More);
                }
                self.newline_in_quote |= rest.get(end + 1) == Some(&b'\n');
                self.at = (self.at + 2).min(bytes.len());
                None
            }
            Some(_) => {
                self.at += 1;
                self.quote = 0;
                if self.newline_in_quote {
                    self.special = Special::No;
                }
                None
            }
        }
    }

    fn in_line_comment(&mut self, bytes: &[u8]) -> Option<Stop> {
        match memchr::memchr(b'\n', &bytes[self.at..]) {
            Some(end) => {
                self.at += end + 1;
                self.line_comment = false;
                self.special = Special::No;
            }
            None => self.at = bytes.len(),
        }
        None
    }

    fn in_comment(&mut self, bytes: &[u8], last: bool) -> Option<Stop> {
        let rest = &bytes[self.at..];
        let Some(found) = memchr::memchr3(b'*', b'/', b'\n', rest) else {
            self.at = bytes.len();
            return None;
        };
        self.at += found;
        let rest = &rest[found..];
        match rest {
            [b'\n', ..] => self.special = Special::No,
            [b'*', b'/', ..] if self.special == Special::No => {
                self.comment = false;
                self.at += 1;
            }
            [b'*', b'/', ..] => self.special = Special::No,
            [b'/', b'*', b'!', ..] => self.special = Special::Conditional,
            [b'/', b'*', b'+', ..] => self.special = Special::Hint,
            [b'/', b'*', _, ..] if self.special != Special::Hint => self.at += 1,
            [b'*'] | [b'/'] | [b'/', b'*'] if !last => return Some(Stop::More),
            _ => {}
        }
        self.at += 1;
        None
    }

    fn in_the_open(&mut self, bytes: &[u8], delimiter: &[u8], last: bool) -> Option<Stop> {
        let rest = &bytes[self.at..];
        let Some(found) = rest.iter().position(|byte| NOTABLE[*byte as usize]) else {
            self.at = bytes.len();
            return None;
        };
        self.at += found;
        let rest = &rest[found..];
        let hint = self.special == Special::Hint;
        match rest {
            [quote @ (b'\'' | b'"' | b'`'), ..] if !hint => {
                self.quote = *quote;
                self.newline_in_quote = false;
            }
            [b';', ..] if !hint => {
                if rest.starts_with(delimiter) {
                    return Some(Stop::Delimiter(self.at));
                }
                if delimiter.starts_with(rest) && !last {
                    return Some(Stop::More);
                }
            }
            [b'\n', ..] => self.special = Special::No,
            [b'\\', b'N', ..] => self.at += 1,
            [b'\\'] if !last => return Some(Stop::More),
            [b'\\', ..] => return Some(Stop::Backslash(self.at)),
            [b'#', ..] => self.line_comment = true,
            [b'-'] | [b'-', b'-'] if !last => return Some(Stop::More),
            [b'-', b'-'] => self.line_comment = true,
            [b'-', b'-', third, ..] if is_space(*third) || *third == 0 => {
                self.line_comment = true;
                // The third byte may be the newline that ends the comment.
                self.at += 1;
            }
            [b'/'] | [b'/', b'*'] | [b'/', b'*', b'M'] if !last => return Some(Stop::More),
            [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..] => {
                self.special = Special::Conditional;
                // A hint cannot begin with the asterisk of this mark.
                self.at += 1;
            }
            [b'/', b'*', b'+', ..] => {
                self.special = Special::Hint;
                self.at += 1;
            }
            [b'/', b'*', ..] if !hint => {
                self.comment = true;
                self.at += 1;
            }
            [b'*'] if !last => return Some(Stop::More),
            [b'*', b'/', ..] => self.special = Special::No,
            _ => {}
        }
        self.at += 1;
        None
    }
}
