//! Finds CHECK constraints whose text MySQL changes at any ALTER of their table.
//!
//! MySQL keeps the text of a CREATE TABLE. An ALTER prints each CHECK again from its resolved form: a text literal
//! that was converted to the character set of the comparison has a different introducer and different bytes, and the
//! conversion of a constant is gone (tested on 9.7 with several connection character sets). An expression
//! that is entirely in utf8mb4 is not converted. A number that was compared with a date or a time becomes one
//! (`DATE'2020-01-01'` for 20200101).
//!
//! MariaDB keeps the text, and prints no introducers.

use super::definition::column;
use super::tokens::{Token, Tokens};

/// The character set from which nothing is converted.
const PLAIN: &str = "utf8mb4";

/// Words of an expression that convert values.
const CONVERTING: [&str; 5] = ["CAST", "CONVERT", "CHARSET", "CHARACTER", "BINARY"];

/// Words in the names of text types.
const TEXTS: [&str; 4] = ["char", "text", "enum", "set("];

/// Words in the names of temporal types; of functions that return such values from others, too.
const TIMES: [&str; 2] = ["date", "time"];

/// Words in the names of binary types.
const BYTES: [&str; 2] = ["binary", "blob"];

/// Whether an ALTER changes the text of a definition line. `columns` are the lines of the columns, `tail` is the
/// text after the last definition.
pub fn is_reprinted_by_alter(line: &[u8], columns: &[&[u8]], tail: &[u8]) -> bool {
    let mut tokens = Tokens::new(line);
    if !tokens.any(|token| token.is("CHECK")) {
        return false;
    }
    let mut has_literal = false;
    let mut may_convert = false;
    let (mut has_number, mut has_time) = (false, false);
    let is_time = |text: &str| TIMES.iter().any(|time| text.contains(time));
    while let Some(token) = tokens.next() {
        let introducer = match token {
            Token::Word(word) => {
                has_number |= word.first().is_some_and(u8::is_ascii_digit);
                has_time |= is_time(&String::from_utf8_lossy(word).to_lowercase());
                word.strip_prefix(b"_")
            }
            _ => None,
        };
        if let Some(charset) = introducer
            && matches!(tokens.clone().next(), Some(Token::Text(_)))
        {
            has_literal = true;
            may_convert |= charset != PLAIN.as_bytes();
        }
        may_convert |= CONVERTING.iter().any(|word| token.is(word));
        if let Token::Name(_) = token
            && let Some(name) = token.name().flatten()
        {
            let of_it = |line: &&&[u8]| column(line).is_some_and(|column| column.name == name);
            if let Some(line) = columns.iter().find(of_it) {
                may_convert |= charset_of(line, tail).is_some_and(|charset| charset != PLAIN);
                has_time |=
                    column(line).is_some_and(|column| is_time(&column.type_text.to_lowercase()));
            }
        }
    }
    has_literal && may_convert || has_number && has_time
}

/// The character set of a column's values; `None` if its type has none.
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

/// The word after these words and an optional `=`.
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

    /// As observed on MySQL 9.7.
    #[test]
    fn a_check_entirely_in_utf8mb4_keeps_its_text_and_others_may_change() {
        let columns: Vec<&[u8]> = [
            "`l` varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL",
            "`lc` varchar(20) COLLATE latin1_bin DEFAULT NULL",
            "`u` varchar(20) DEFAULT NULL",
            "`b` varbinary(20) DEFAULT NULL",
            "`n` int DEFAULT NULL",
            "`d` date DEFAULT NULL",
            "`ts` timestamp NULL DEFAULT NULL",
            "`e` enum('a','b') CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL",
        ]
        .map(str::as_bytes)
        .into();
        let tail = b") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci";
        let reworded = |check: &str| {
            let line = format!("CONSTRAINT `c` CHECK ({check})");
            is_reprinted_by_alter(line.as_bytes(), &columns, tail)
        };
        for check in [
            "(`l` in (_utf8mb4'a',_utf8mb4'b'))",
            "(`lc` <> _utf8mb4'a')",
            "(`u` <> _latin1'a')",
            "(`b` <> _utf8mb4'a')",
            "(`e` <> _utf8mb4'a')",
            "(`u` <> convert(_utf8mb4'a' using latin1))",
            "(cast(`u` as char charset latin1) <> _utf8mb4'a')",
            "(`d` > 20200101)",
            "(`ts` between 20200101000000 and now())",
            "(cast(`u` as date) > 20200101)",
            "(str_to_date(`u`,_utf8mb4'%Y') > 20200101)",
        ] {
            assert!(reworded(check), "{check}");
        }
        for check in [
            "(`u` <> _utf8mb4'a')",
            "(concat(`n`,_utf8mb4'x') <> `u`)",
            "(`l` <> `lc`)",
            "(`n` between 1 and 5)",
            "(`d` > _utf8mb4'2020-01-01')",
            "(`d` < cast(`ts` as date))",
            // MariaDB's.
            "`l` in ('a','b')",
        ] {
            assert!(!reworded(check), "{check}");
        }
        let line = b"CONSTRAINT `c` CHECK ((`u` <> _utf8mb4'a'))";
        assert!(is_reprinted_by_alter(
            line,
            &columns,
            b") ENGINE=InnoDB DEFAULT CHARSET=latin1"
        ));
        assert!(!is_reprinted_by_alter(
            b"PERIOD FOR SYSTEM_TIME (`a`, `b`)",
            &columns,
            tail
        ));
    }
}
