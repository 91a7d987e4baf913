//! Where a statement ends, by the rules of the `mysql` client in binary mode.
//!
//! The same bytes must restore through the plain client, so this is the client's own rule
//! (`add_line` in its source), with its oddities, and not the server's grammar: the delimiter
//! counts everywhere but in quotes, in ordinary comments and to the right of `-- ` and `#`. It
//! does count inside `/*! … */`; an ordinary comment that opens on the same line as a conditional
//! one ends at the *second* `*/`; a backslash outside of quotes is a command to the client, which
//! is why it is an error here.
//!
//! The state survives from one chunk to the next, so no byte is looked at twice.

use super::tokens::is_space;

/// What the line so far has opened with `/*!` or `/*+`; the client forgets it at each line's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    /// Nothing.
    No,
    /// `/*! … */`, executed by the server on a condition.
    Conditional,
    /// `/*+ … */`, an optimizer hint.
    Hint,
}

/// Why the lexer stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The delimiter begins at this offset.
    Delimiter(usize),
    /// The bytes end first.
    More,
    /// A backslash stands at this offset, outside of quotes.
    Backslash(usize),
}

/// The client's state in the midst of a statement.
#[derive(Debug, Clone)]
pub struct Lexer {
    /// The next byte to look at, as an offset from the statement's first byte.
    at: usize,
    /// The quote that is open, or 0.
    quote: u8,
    /// Whether the string that is open holds a newline, which ends `special`.
    newline_in_quote: bool,
    /// Whether an ordinary `/* … */` comment is open.
    comment: bool,
    /// Whether the rest of the line is a comment.
    line_comment: bool,
    /// What is open on this line.
    special: Special,
}

/// Bytes that mean something outside of quotes.
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
    /// Goes on from where it stopped. `statement` holds the statement from its first byte to as
    /// far as it is known; `last` says that nothing will follow.
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

    /// Inside quotes; a doubled quote closes and opens again, which comes to the same.
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
                // A hint may not begin with the star of this mark.
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
