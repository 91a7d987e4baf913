//! Which CHECK constraints MySQL writes in other words after an ALTER of their table, whatever it alters.
//!
//! A CREATE TABLE is kept in the words that were read. An ALTER writes every CHECK anew from what became of it
//! when the table was opened: a text that was converted to the character set that it is compared in has
//! another introducer and other bytes, and a conversion of a constant is gone (tried on 9.7, with every
//! connection's character set alike). What is all in utf8mb4 is not converted.
//!
//! MariaDB keeps the words, and writes no introducers.

use super::definition::column;
use super::tokens::{Token, Tokens};

/// The one character set in which nothing is converted.
const PLAIN: &str = "utf8mb4";

/// Words that convert within an expression.
const CONVERTING: [&str; 5] = ["CAST", "CONVERT", "CHARSET", "CHARACTER", "BINARY"];

/// Types that hold bytes or text.
const TEXTS: [&str; 4] = ["char", "text", "enum", "set("];
const BYTES: [&str; 2] = ["binary", "blob"];

/// Whether an ALTER changes how a definition line is written, given the lines of the columns and what
/// follows the definitions.
pub fn is_reworded(line: &[u8], columns: &[&[u8]], tail: &[u8]) -> bool {
    let mut tokens = Tokens::new(line);
    if !tokens.any(|token| token.is("CHECK")) {
        return false;
    }
    let mut texts = false;
    let mut strange = false;
    while let Some(token) = tokens.next() {
        let introducer = match token {
            Token::Word(word) => word.strip_prefix(b"_"),
            _ => None,
        };
        if let Some(charset) = introducer
            && matches!(tokens.clone().next(), Some(Token::Text(_)))
        {
            texts = true;
            strange |= charset != PLAIN.as_bytes();
        }
        strange |= CONVERTING.iter().any(|word| token.is(word));
        if let Token::Name(_) = token
            && let Some(name) = token.name().flatten()
        {
            let of_it = |line: &&&[u8]| column(line).is_some_and(|column| column.name == name);
            strange |= columns
                .iter()
                .find(of_it)
                .is_some_and(|line| charset_of(line, tail).is_some_and(|charset| charset != PLAIN));
        }
    }
    texts && strange
}

/// The character set of a column's values, where they have one.
fn charset_of(line: &[u8], tail: &[u8]) -> Option<String> {
    let kind = column(line)?.type_text.to_lowercase();
    if BYTES.iter().any(|bytes| kind.contains(bytes)) {
        return Some("binary".to_owned());
    }
    if !TEXTS.iter().any(|text| kind.contains(text)) {
        return None;
    }
    named(line, &["CHARACTER", "SET"])
        .or_else(|| named(line, &["COLLATE"]).map(of_collation))
        .or_else(|| named(tail, &["CHARSET"]))
}

/// The word behind these, and a `=` that may stand between.
fn named(sql: &[u8], words: &[&str]) -> Option<String> {
    let mut tokens = Tokens::new(sql);
    while !tokens.eat_all(words) {
        tokens.next()?;
    }
    tokens.eat_mark(b'=');
    tokens.next()?.name().flatten()
}

fn of_collation(collation: String) -> String {
    collation
        .split('_')
        .next()
        .map_or_else(String::new, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server of 9.7 did to each of these.
    #[test]
    fn what_is_in_one_character_set_keeps_its_words_and_nothing_else_is_sure_to() {
        let columns: Vec<&[u8]> = [
            "`l` varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL",
            "`lc` varchar(20) COLLATE latin1_bin DEFAULT NULL",
            "`u` varchar(20) DEFAULT NULL",
            "`b` varbinary(20) DEFAULT NULL",
            "`n` int DEFAULT NULL",
            "`e` enum('a','b') CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL",
        ]
        .map(str::as_bytes)
        .into();
        let tail = b") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci";
        let reworded = |check: &str| {
            let line = format!("CONSTRAINT `c` CHECK ({check})");
            is_reworded(line.as_bytes(), &columns, tail)
        };
        for check in [
            "(`l` in (_utf8mb4'a',_utf8mb4'b'))",
            "(`lc` <> _utf8mb4'a')",
            "(`u` <> _latin1'a')",
            "(`b` <> _utf8mb4'a')",
            "(`e` <> _utf8mb4'a')",
            "(`u` <> convert(_utf8mb4'a' using latin1))",
            "(cast(`u` as char charset latin1) <> _utf8mb4'a')",
        ] {
            assert!(reworded(check), "{check}");
        }
        for check in [
            "(`u` <> _utf8mb4'a')",
            "(concat(`n`,_utf8mb4'x') <> `u`)",
            "(`l` <> `lc`)",
            "(`n` between 1 and 5)",
            // MariaDB's.
            "`l` in ('a','b')",
        ] {
            assert!(!reworded(check), "{check}");
        }
        let line = b"CONSTRAINT `c` CHECK ((`u` <> _utf8mb4'a'))";
        assert!(is_reworded(
            line,
            &columns,
            b") ENGINE=InnoDB DEFAULT CHARSET=latin1"
        ));
        assert!(!is_reworded(
            b"PERIOD FOR SYSTEM_TIME (`a`, `b`)",
            &columns,
            tail
        ));
    }
}
