//! Which session variables decide the result of an expression, from its text as the server prints it.

use std::collections::{BTreeMap, BTreeSet};

use crate::sql::definition::Column;
use crate::sql::layout::TEXTS;
use crate::sql::tokens::{Token, Tokens};

use super::functions;
use super::variables::{
    DEFAULT_COLLATION, DEFAULT_REGEX_FLAGS, NO_BACKSLASH_ESCAPES, NO_UNSIGNED_SUBTRACTION,
    PAD_CHAR_TO_FULL_LENGTH, TEMPORAL, TIME_ZONE, all_dependencies,
};

/// Variables, and modes of `sql_mode` by their own names.
pub(super) type Dependencies = BTreeSet<&'static str>;

/// What an expression is evaluated with: the columns of its table, and the dependencies of those that are
/// generated.
pub(super) struct Scope<'a> {
    pub columns: &'a [Column],
    pub generated: BTreeMap<String, Dependencies>,
}

impl Scope<'_> {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn of_generated(&self, name: &str) -> impl Iterator<Item = &'static str> {
        self.generated.get(name).into_iter().flatten().copied()
    }

    fn of_column(&self, column: &Column) -> Dependencies {
        let mut found: Dependencies = of_type(&column.type_text).into_iter().collect();
        if column.type_text.to_lowercase().starts_with("char(") {
            found.insert(PAD_CHAR_TO_FULL_LENGTH);
        }
        found.extend(self.of_generated(&column.name));
        found
    }
}

/// The dependencies of an expression whose value is stored as `kind` (empty if it is not stored), and whether it
/// contains a subtraction with an operand that may be unsigned.
pub(super) fn dependencies(
    expression: &[u8],
    kind: &str,
    scope: &Scope<'_>,
) -> (Dependencies, bool) {
    let mut found: Dependencies = of_type(kind).into_iter().collect();
    let (mut has_unsigned, mut has_minus) = (false, false);
    // Literals are compared by the collation of a text column, if one is there.
    let (mut has_literal, mut has_text_column, mut has_other_column) = (false, false, false);
    let mut has_offset = false;
    let mut tokens = Tokens::new(expression);
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => {
                let word = String::from_utf8_lossy(word).to_lowercase();
                let next = tokens.clone().next();
                if next == Some(Token::Mark(b'(')) {
                    found.extend(functions::dependencies_of(&word));
                    has_unsigned |= functions::is_unsigned(&word);
                }
                match word.as_str() {
                    // `cast(… as datetime)`
                    "as" => {
                        if let Some(Token::Word(kind)) = next {
                            found.extend(of_type(&String::from_utf8_lossy(kind)));
                        }
                    }
                    "like" if !is_plain_pattern(tokens.clone()) => {
                        found.insert(NO_BACKSLASH_ESCAPES);
                    }
                    "regexp" | "rlike" => {
                        found.insert(DEFAULT_REGEX_FLAGS);
                    }
                    // `date'2026-01-01'`
                    "date" | "time" | "timestamp" if matches!(next, Some(Token::Text(_))) => {
                        found.extend(TEMPORAL);
                    }
                    "interval" => found.extend(TEMPORAL),
                    "_utf8mb4" | "utf8mb4" => has_literal = true,
                    "unsigned" => has_unsigned = true,
                    _ => has_unsigned |= word.parse::<u64>().is_ok_and(|n| n > i64::MAX as u64),
                }
                // In some partitions servers print names without quotes.
                let name = token.name().flatten().unwrap_or_default();
                if let Some(column) = scope.column(&name) {
                    found.extend(scope.of_column(column));
                }
            }
            Token::Name(_) => {
                let name = token.name().flatten().unwrap_or_default();
                let Some(column) = scope.column(&name) else {
                    found.extend(scope.of_generated(&name));
                    continue;
                };
                found.extend(scope.of_column(column));
                let kind = column.type_text.to_lowercase();
                has_unsigned |= kind.contains("unsigned")
                    || ["year", "bit"].iter().any(|one| kind.starts_with(one));
                has_offset |= is_text(&kind) || kind.starts_with("json");
                if is_text(&kind) {
                    has_text_column = true;
                } else {
                    has_other_column = true;
                }
            }
            Token::Text(text) => {
                if text.contains(&b'\\') {
                    found.insert(NO_BACKSLASH_ESCAPES);
                }
                has_offset |= ends_in_offset(text);
            }
            Token::Mark(b'/') => {
                found.insert("div_precision_increment");
            }
            Token::Mark(b'-') => has_minus = true,
            // A variable.
            Token::Mark(b'@') => found.extend(all_dependencies()),
            Token::Mark(b'&' | b'|' | b'^' | b'~' | b'<' | b'>') => has_unsigned = true,
            _ => {}
        }
    }
    // MySQL reads `2026-01-01 00:00:00+05:00` as that time in the zone of the session.
    if has_offset && TEMPORAL.iter().any(|one| found.contains(one)) {
        found.insert(TIME_ZONE);
    }
    if has_minus {
        found.insert(NO_UNSIGNED_SUBTRACTION);
    }
    if has_literal && (has_other_column || !has_text_column) {
        found.insert(DEFAULT_COLLATION);
    }
    (found, has_minus && has_unsigned)
}

/// Whether LIKE is followed by a literal without an escape character.
fn is_plain_pattern(mut tokens: Tokens<'_>) -> bool {
    let mut ahead = tokens.clone();
    if matches!(ahead.next(), Some(Token::Word(introducer)) if introducer.starts_with(b"_")) {
        tokens = ahead;
    }
    matches!(tokens.next(), Some(Token::Text(text)) if !text.contains(&b'\\'))
}

/// Whether a literal ends in the offset of a time zone.
fn ends_in_offset(text: &[u8]) -> bool {
    let text = text
        .strip_suffix(b"'")
        .or(text.strip_suffix(b"\""))
        .unwrap_or(text);
    let Some((_, [sign, h, _, b':', m, _])) = text.split_last_chunk::<6>() else {
        return false;
    };
    matches!(sign, b'+' | b'-') && h.is_ascii_digit() && m.is_ascii_digit()
}

/// Dependencies of a value of a type.
fn of_type(kind: &str) -> Vec<&'static str> {
    let kind = kind.to_lowercase();
    let mut found = Vec::new();
    if kind.starts_with("date") || kind.starts_with("time") {
        found.extend(TEMPORAL);
    }
    if kind.starts_with("timestamp") {
        found.push(TIME_ZONE);
    }
    found
}

fn is_text(kind: &str) -> bool {
    TEXTS.iter().any(|one| kind.starts_with(one))
}
