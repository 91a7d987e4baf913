//! Constants of temporal comparisons, which MySQL prints in two ways.
//!
//! Where an expression of a table compares a DATETIME with a number (`d >= 20200101000000`), MySQL converts the number, and
//! prints `'2020-01-01 00:00:00'` without a character set. Once that text was executed it prints `_utf8mb4'…'` or `_latin1'…'`
//! (tested on 9.7), as it prints every literal of an expression. So only a literal that is a date or a time, and only if the
//! dump has the very same definition without this character set, is taken for the one in the dump.

use std::borrow::Cow;
use std::ops::Range;

use crate::sql::ledger::table_digest;
use crate::sql::tokens::{Token, Tokens};
use crate::util::digest::Sha256Digest;

/// Maximum number of literals of which every subset is tried: the dump may have some with a character set.
const SUBSETS_OF: usize = 10;

/// The CREATE TABLE of a server as the dump has it, given the digest of the latter; as it is if it is another definition.
pub(super) fn as_dumped(sql: Cow<'_, [u8]>, dumped: Sha256Digest) -> Cow<'_, [u8]> {
    let introducers = introducers(&sql);
    if introducers.is_empty() || table_digest(&sql) == dumped {
        return sql;
    }
    let all = (1_u64 << introducers.len().min(SUBSETS_OF)) - 1;
    let subsets = (1..=all).rev().map(|subset| {
        // The literals beyond the limit are alike.
        let is_in = |at: usize| subset >> at.min(SUBSETS_OF - 1) & 1 == 1;
        let chosen = introducers.iter().enumerate();
        without(
            &sql,
            chosen.filter(|(at, _)| is_in(*at)).map(|(_, place)| place),
        )
    });
    let found = subsets.into_iter().find(|sql| table_digest(sql) == dumped);
    found.map_or(sql, Cow::Owned)
}

/// The places of the character sets before literals that are dates or times.
fn introducers(sql: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut tokens = Tokens::new(sql);
    while let Some(token) = tokens.next() {
        let Token::Word(word @ (b"_utf8mb4" | b"_latin1")) = token else {
            continue;
        };
        let end = sql.len() - tokens.rest().len();
        if let Some(Token::Text(text)) = tokens.clone().next()
            && is_temporal(&text[1..text.len() - 1])
        {
            found.push(end - word.len()..end);
        }
    }
    found
}

/// `2020-01-01`, `2020-01-01 00:00:00.000000`, `-12:00:00`
fn is_temporal(text: &[u8]) -> bool {
    let shape: Vec<u8> = text
        .iter()
        .map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte })
        .collect();
    let shape = match shape.iter().rposition(|byte| *byte == b'.') {
        Some(at) if (2..=7).contains(&(shape.len() - at)) && is_digits(&shape[at + 1..]) => {
            &shape[..at]
        }
        _ => &shape[..],
    };
    let time = shape.strip_prefix(b"-").unwrap_or(shape);
    matches!(shape, b"0000-00-00" | b"0000-00-00 00:00:00")
        || matches!(time, b"00:00:00" | b"000:00:00")
}

fn is_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

fn without<'a>(sql: &[u8], places: impl Iterator<Item = &'a Range<usize>>) -> Vec<u8> {
    let mut kept = Vec::with_capacity(sql.len());
    let mut from = 0;
    for place in places {
        kept.extend_from_slice(&sql[from..place.start]);
        from = place.end;
    }
    kept.extend_from_slice(&sql[from..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(found: &str, dumped: &str) -> bool {
        let digest = table_digest(dumped.as_bytes());
        *as_dumped(Cow::Borrowed(found.as_bytes()), digest) == *dumped.as_bytes()
    }

    #[test]
    fn only_the_character_set_before_a_temporal_literal_may_be_missing_in_the_dump() {
        let dumped = "CREATE TABLE `t` (\n  `r` int GENERATED ALWAYS AS (((`d` >= '2020-01-01 00:00:00') and (`t` < '-12:00:00.5') \
                      and (`e` > _utf8mb4'2020-01-01') and (`s` <> _utf8mb4'x'))) VIRTUAL\n)";
        let found = dumped.replace(" '", " _utf8mb4'");
        assert!(taken(&found, dumped));
        assert!(taken(&found.replacen("_utf8mb4", "_latin1", 1), dumped));
        assert!(taken(dumped, dumped));
        for (had, has) in [
            (
                "_utf8mb4'2020-01-01 00:00:00'",
                "_utf8mb4'2020-01-01 00:00:01'",
            ),
            (
                "_utf8mb4'2020-01-01 00:00:00'",
                "_utf16'2020-01-01 00:00:00'",
            ),
            ("_utf8mb4'x'", "'x'"),
            ("`d` >=", "`d` >"),
        ] {
            assert!(!taken(&found.replace(had, has), dumped), "{has}");
        }
        assert!(!taken(dumped, &found));
        for other in [
            "",
            "x",
            "2020-01-01 ",
            "2020-1-1",
            "00:00",
            "00:00:00.",
            "2020-01-01' or '1",
            "00:00:00.0000000",
        ] {
            assert!(!is_temporal(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_definition_with_many_temporal_literals_is_recognised_too() {
        let dumped = format!("CREATE TABLE `t` ({})", "'2020-01-01' ".repeat(40));
        assert!(taken(&dumped.replace("'2020", "_utf8mb4'2020"), &dumped));
    }
}
