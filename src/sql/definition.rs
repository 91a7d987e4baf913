//! Parses a definition line of a CREATE TABLE: a column or a key.

use super::tokens::{Token, Tokens};

/// A secondary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name, unquoted.
    pub name: String,
    /// UNIQUE.
    pub unique: bool,
    /// FULLTEXT.
    pub fulltext: bool,
    /// Whether building the key later is known to have the same result.
    pub movable: bool,
    /// USING HASH, which MariaDB drops at any ALTER, and which may imply a hidden column.
    pub hashed: bool,
    /// Its columns; `None` for an expression.
    pub parts: Vec<Option<String>>,
}

/// A column, as defined by its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type with length and values, without character set and the rest: `varchar(50)`,
    /// `bigint(20) unsigned`, `enum('a','b')`.
    pub type_text: String,
    /// NOT NULL.
    pub not_null: bool,
    /// AUTO_INCREMENT.
    pub auto_increment: bool,
    /// Generated, stored or not: never inserted.
    pub generated: bool,
    /// Hidden from `SELECT *`.
    pub invisible: bool,
    /// The character set, in lower case, where it is not the table's.
    pub charset: Option<String>,
    /// COMPRESSED, of MariaDB.
    pub compressed: bool,
}

/// The secondary key defined by a line; `None` for any other line.
pub fn key(mut tokens: Tokens<'_>) -> Option<Key> {
    let unique = tokens.eat("UNIQUE");
    let fulltext = !unique && tokens.eat("FULLTEXT");
    let special = !unique && !fulltext && !tokens.eat("SPATIAL") && tokens.eat("VECTOR");
    if !tokens.eat("KEY") {
        return None;
    }
    let name = tokens.next()?.name()??;
    // MySQL may write USING before the columns.
    if tokens.eat("USING") {
        tokens.next();
    }
    if !tokens.eat_mark(b'(') {
        return None;
    }
    let mut parts = Vec::new();
    let mut depth = 1;
    let mut at_part = true;
    while depth > 0 {
        let token = tokens.next()?;
        match token {
            Token::Mark(b'(') => depth += 1,
            Token::Mark(b')') => depth -= 1,
            Token::Mark(b',') if depth == 1 => {
                at_part = true;
                continue;
            }
            _ => {}
        }
        if at_part {
            let column = match token {
                Token::Name(_) => token.name()?,
                _ => None,
            };
            parts.push(column);
        }
        at_part = false;
    }
    let movable = !special && !name.eq_ignore_ascii_case("FTS_DOC_ID_INDEX");
    Some(Key {
        name,
        unique,
        fulltext,
        movable,
        hashed: tokens.eat_all(&["USING", "HASH"]),
        parts,
    })
}

/// The column defined by a line; `None` for any other line.
pub fn column(text: &[u8]) -> Option<Column> {
    let mut tokens = Tokens::new(text);
    let name = tokens.next()?.name()??;
    let start = tokens.clone();
    tokens.next()?;
    if tokens.eat_mark(b'(') {
        // The values of ENUM and SET are quoted; no type has nested parentheses.
        tokens.find(|token| *token == Token::Mark(b')'))?;
    }
    for word in ["unsigned", "zerofill"] {
        tokens.eat(word);
    }
    let type_text = &start.rest()[..start.rest().len() - tokens.rest().len()];
    let mut column = Column {
        name,
        type_text: String::from_utf8_lossy(type_text.trim_ascii()).into_owned(),
        not_null: false,
        auto_increment: false,
        generated: false,
        invisible: false,
        charset: None,
        compressed: false,
    };
    let mut depth = 0;
    while let Some(token) = tokens.next() {
        match token {
            Token::Mark(b'(') => depth += 1,
            Token::Mark(b')') => depth -= 1,
            Token::Word(_) if depth == 0 => {
                column.not_null |= token.is("NOT") && tokens.eat("NULL");
                column.auto_increment |= token.is("AUTO_INCREMENT");
                column.generated |= token.is("AS");
                column.invisible |= token.is("INVISIBLE");
                column.compressed |= token.is("COMPRESSED");
                if token.is("CHARACTER") && tokens.eat("SET") {
                    column.charset = word(&mut tokens);
                } else if token.is("COLLATE") && column.charset.is_none() {
                    column.charset = word(&mut tokens).map(|name| charset_of(&name).to_owned());
                }
            }
            _ => {}
        }
    }
    tokens.is_sound().then_some(column)
}

/// The next token in lower case, if it is a word.
fn word(tokens: &mut Tokens<'_>) -> Option<String> {
    match tokens.next()? {
        Token::Word(word) => Some(String::from_utf8_lossy(word).to_ascii_lowercase()),
        _ => None,
    }
}

/// The character set of a collation, which begins with its name.
fn charset_of(collation: &str) -> &str {
    collation
        .split_once('_')
        .map_or(collation, |(name, _)| name)
}
