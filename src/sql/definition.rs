//! One definition line of a CREATE TABLE: a column or a key, as far as it tells at a glance.

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
    /// Whether building it later is known to come to the same.
    pub movable: bool,
    /// USING HASH, which MariaDB forgets at any ALTER, and which may be a hidden column.
    pub hashed: bool,
    /// Its columns; `None` for an expression.
    pub parts: Vec<Option<String>>,
}

/// A column, as far as its line tells at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type with length and values, without character set and the rest: `varchar(50)`,
    /// `bigint(20) unsigned`, `enum('a','b')`.
    pub type_text: String,
    /// Whether NULL is not among its values.
    pub not_null: bool,
    /// AUTO_INCREMENT.
    pub auto_increment: bool,
    /// Computed from others, stored or not: never inserted.
    pub generated: bool,
    /// Hidden from `SELECT *`.
    pub invisible: bool,
}

/// The key that a line defines, if it defines one.
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

/// The column that a line defines.
pub fn column(text: &[u8]) -> Option<Column> {
    let mut tokens = Tokens::new(text);
    let name = tokens.next()?.name()??;
    let start = tokens.clone();
    tokens.next()?;
    if tokens.eat_mark(b'(') {
        // ENUM and SET have texts in there, nothing has parentheses.
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
            }
            _ => {}
        }
    }
    tokens.is_sound().then_some(column)
}
