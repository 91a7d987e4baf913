//! The tokens of a statement.
//!
//! The content of conditional comments is included: the tokens of `/*!50003 CREATE*/ /*!50017 DEFINER=…*/` are CREATE,
//! DEFINER, … whichever version the server has. Ordinary comments are skipped. For heads of statements, SETs and
//! definitions; rows are parsed by [`super::rows`], and bodies are not parsed.

/// One word, name, literal or punctuation mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword, a bare name or a number: letters, digits, `_`, `$` and all bytes above ASCII.
    Word(&'a [u8]),
    /// A name in backticks, with its backticks.
    Name(&'a [u8]),
    /// A literal in single or double quotes, with its quotes.
    Text(&'a [u8]),
    /// Anything else, one byte at a time.
    Mark(u8),
}

impl<'a> Token<'a> {
    /// Whether this is the given keyword, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// The token as a name, unquoted: a bare word, `` `…` ``, or, under ANSI_QUOTES, `"…"`. `None` if it is not a
    /// name; an inner `None` if the name is not UTF-8.
    pub fn name(&self) -> Option<Option<String>> {
        let bytes = match *self {
            Token::Word(word) => word.to_vec(),
            Token::Name(quoted) => undouble(quoted, b'`'),
            Token::Text(quoted) if quoted[0] == b'"' => undouble(quoted, b'"'),
            _ => return None,
        };
        Some(String::from_utf8(bytes).ok())
    }

    /// The bytes of the token; `None` for a mark.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Token::Word(bytes) | Token::Name(bytes) | Token::Text(bytes) => Some(bytes),
            Token::Mark(_) => None,
        }
    }
}

fn undouble(quoted: &[u8], quote: u8) -> Vec<u8> {
    let inner = &quoted[1..quoted.len() - 1];
    let mut name = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        name.push(byte);
        if byte == quote {
            bytes.next();
        }
    }
    name
}

/// Iterates over the tokens of a statement.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    sql: &'a [u8],
    /// Offset at which the next token is searched for.
    at: usize,
    /// Number of open conditional comments.
    open: usize,
    /// The opening of the innermost conditional comment, such as `/*!50003`.
    guard: Option<&'a [u8]>,
    /// Whether an unterminated literal or comment was found: there are no more tokens.
    broken: bool,
}

impl<'a> Tokens<'a> {
    /// The tokens of a statement without its delimiter.
    pub fn new(sql: &'a [u8]) -> Self {
        Tokens {
            sql,
            at: 0,
            open: 0,
            guard: None,
            broken: false,
        }
    }

    /// The opening of the conditional comment around the last token, such as `/*!50003`.
    pub fn guard(&self) -> Option<&'a [u8]> {
        self.guard
    }

    /// Whether the statement was well formed so far.
    pub fn is_sound(&self) -> bool {
        !self.broken
    }

    /// The text after the last token.
    pub fn rest(&self) -> &'a [u8] {
        &self.sql[self.at..]
    }

    /// Takes the next token if it is this keyword.
    pub fn eat(&mut self, keyword: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next().is_some_and(|token| token.is(keyword));
        if found {
            *self = ahead;
        }
        found
    }

    /// Takes the next tokens if they are these keywords, all of them.
    pub fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let mut ahead = self.clone();
        let found = keywords.iter().all(|keyword| ahead.eat(keyword));
        if found {
            *self = ahead;
        }
        found
    }

    /// Takes the next token if it is this punctuation mark.
    pub fn eat_mark(&mut self, mark: u8) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next() == Some(Token::Mark(mark));
        if found {
            *self = ahead;
        }
        found
    }

    /// Whether no token remains.
    pub fn is_done(&self) -> bool {
        let mut ahead = self.clone();
        ahead.next().is_none() && !ahead.broken
    }

    fn break_off(&mut self) -> Option<Token<'a>> {
        self.broken = true;
        self.at = self.sql.len();
        None
    }

    /// Skips white space, comments and the marks of conditional comments.
    fn skip(&mut self) -> Option<()> {
        loop {
            let rest = &self.sql[self.at..];
            match rest {
                [byte, ..] if is_space(*byte) => self.at += 1,
                [b'#', ..] => self.at += line(rest),
                [b'-', b'-'] => self.at += 2,
                [b'-', b'-', third, ..] if is_space(*third) => self.at += line(rest),
                [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..] => {
                    let bang = memchr::memchr(b'!', rest)? + 1;
                    let digits = rest[bang..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_digit())
                        .count();
                    self.guard = Some(&rest[..bang + digits]);
                    self.open += 1;
                    self.at += bang + digits;
                }
                [b'/', b'*', ..] => {
                    self.at += 2 + memchr::memmem::find(&rest[2..], b"*/")? + 2;
                }
                [b'*', b'/', ..] if self.open > 0 => {
                    self.open -= 1;
                    if self.open == 0 {
                        self.guard = None;
                    }
                    self.at += 2;
                }
                _ => return Some(()),
            }
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if self.skip().is_none() {
            return self.break_off();
        }
        let rest = &self.sql[self.at..];
        let &first = rest.first()?;
        let token = match first {
            b'`' | b'\'' | b'"' => {
                let Some(end) = quoted_end(rest) else {
                    return self.break_off();
                };
                if first == b'`' {
                    Token::Name(&rest[..end])
                } else {
                    Token::Text(&rest[..end])
                }
            }
            _ if is_word(first) => {
                let end = rest.iter().take_while(|byte| is_word(**byte)).count();
                Token::Word(&rest[..end])
            }
            mark => Token::Mark(mark),
        };
        self.at += token.bytes().map_or(1, <[u8]>::len);
        Some(token)
    }
}

/// The length of the quoted text at the beginning of `bytes`, including its closing quote.
///
/// A doubled quote is an escaped quote; in `'` and `"` a backslash escapes the next byte.
pub fn quoted_end(bytes: &[u8]) -> Option<usize> {
    let quote = bytes[0];
    let mut at = 1;
    loop {
        let found = if quote == b'`' {
            memchr::memchr(quote, bytes.get(at..)?)
        } else {
            memchr::memchr2(quote, b'\\', bytes.get(at..)?)
        };
        at += found?;
        if bytes[at] == b'\\' || bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

/// Whether the client treats a byte as white space.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The length up to and including the end of the line.
fn line(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1)
}

/// Truncated statements, for tests of everything that reads tokens.
#[cfg(test)]
pub const DAMAGED: [&str; 8] = [
    "`",
    "'\\",
    "/*!",
    "/*",
    "CREATE DEFINER",
    "CREATE DEFINER=`a`@",
    "-- ",
    "\"",
];
