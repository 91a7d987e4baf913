//! How a dump program writes a value, by the type and collation of its column in the result.
//!
//! MySQL and MariaDB have the same rules. They are those of `dump_table` in `client/mysqldump.cc`, with `--hex-blob`;
//! `tests/it/fidelity.rs` compares them with the programs for each type.

use crate::mysql::wire::WireColumn;

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are; NULL where the server prints a word, such as `nan`.
    Number,
    /// A number in quotes: DECIMAL of a table from before MySQL 5.0.
    QuotedNumber,
    /// In quotes, escaped.
    Text,
    /// As hexadecimal digits.
    Hex,
}

/// The number of the collation `binary`.
const BINARY: u16 = 63;

impl Form {
    /// The form of a column's values; `None` for a type that no dump program was seen to write.
    pub fn of(column: WireColumn) -> Option<Form> {
        let is_binary = column.collation == BINARY;
        Some(match column.kind {
            // DECIMAL of old tables.
            0 => Form::QuotedNumber,
            // Integers, FLOAT, DOUBLE, NULL; YEAR; DECIMAL.
            1..=6 | 8 | 9 | 13 | 246 => Form::Number,
            // TIMESTAMP, DATE, TIME, DATETIME; JSON of MySQL.
            7 | 10..=12 | 245 => Form::Text,
            // VARCHAR, BIT, VECTOR, the BLOBs and TEXTs, CHAR and BINARY, GEOMETRY.
            15 | 16 | 242 | 249..=255 if is_binary => Form::Hex,
            15 | 249..=254 => Form::Text,
            _ => return None,
        })
    }

    /// Appends a value.
    #[inline]
    pub fn write(self, value: &[u8], sql: &mut Vec<u8>) {
        match self {
            _ if value.is_empty() => sql.extend_from_slice(b"''"),
            Form::Number if is_word(value) => sql.extend_from_slice(b"NULL"),
            Form::Number => sql.extend_from_slice(value),
            Form::QuotedNumber => {
                sql.push(b'\'');
                sql.extend_from_slice(value);
                sql.push(b'\'');
            }
            Form::Text => {
                sql.push(b'\'');
                escape(value, sql);
                sql.push(b'\'');
            }
            Form::Hex => hex(value, sql),
        }
    }
}

/// Whether a number is printed as a word: `nan`, `inf`, `-inf`.
fn is_word(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    digits.first().is_some_and(u8::is_ascii_alphabetic)
}

/// The letter after the backslash, for each byte that is escaped; 0 for the others.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    escapes[0] = b'0';
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[b'\\' as usize] = b'\\';
    escapes[b'\'' as usize] = b'\'';
    escapes[b'"' as usize] = b'"';
    escapes[0x1a] = b'Z';
    escapes
};

/// Bytes looked at together.
const RUN: usize = 32;

/// Appends a text with escapes. Runs of bytes of which none can need one are copied whole.
#[inline]
fn escape(text: &[u8], sql: &mut Vec<u8>) {
    let mut runs = text.chunks_exact(RUN);
    for run in &mut runs {
        escape_run(run, sql);
    }
    escape_run(runs.remainder(), sql);
}

#[inline]
fn escape_run(run: &[u8], sql: &mut Vec<u8>) {
    // Without a branch, so that the compiler can test the bytes of a run together.
    let suspicious = run.iter().fold(false, |any, byte| {
        any | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\'') | (*byte == b'\\')
    });
    match suspicious {
        true => escape_each(run, sql),
        false => sql.extend_from_slice(run),
    }
}

#[inline(never)]
fn escape_each(run: &[u8], sql: &mut Vec<u8>) {
    let mut copied = 0;
    for (at, byte) in run.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape != 0 {
            sql.extend_from_slice(&run[copied..at]);
            sql.extend_from_slice(&[b'\\', escape]);
            copied = at + 1;
        }
    }
    sql.extend_from_slice(&run[copied..]);
}

/// The two digits of each byte.
const DIGITS: [[u8; 2]; 256] = {
    let digits = b"0123456789ABCDEF";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

fn hex(value: &[u8], sql: &mut Vec<u8>) {
    sql.reserve(2 + 2 * value.len());
    sql.extend_from_slice(b"0x");
    sql.extend(value.iter().flat_map(|byte| DIGITS[usize::from(*byte)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form, value: &[u8]) -> Vec<u8> {
        let mut sql = Vec::new();
        form.write(value, &mut sql);
        sql
    }

    #[test]
    fn a_text_of_any_bytes_is_escaped_like_mysql_real_escape_string_does() {
        let all: Vec<u8> = (0..=255).collect();
        for from in 0..40 {
            let text = [&vec![b'x'; from][..], &all].concat();
            let mut right = vec![b'\''];
            for byte in text.iter().copied() {
                match byte {
                    0 => right.extend(b"\\0"),
                    b'\n' => right.extend(b"\\n"),
                    b'\r' => right.extend(b"\\r"),
                    0x1a => right.extend(b"\\Z"),
                    b'\\' | b'\'' | b'"' => right.extend([b'\\', byte]),
                    _ => right.push(byte),
                }
            }
            right.push(b'\'');
            assert_eq!(written(Form::Text, &text), right);
        }
    }

    #[test]
    fn numbers_are_bare_and_words_are_null() {
        for (value, sql) in [
            ("-0", "-0"),
            ("1e-300", "1e-300"),
            ("0000", "0000"),
            ("nan", "NULL"),
            ("-inf", "NULL"),
            ("", "''"),
        ] {
            assert_eq!(written(Form::Number, value.as_bytes()), sql.as_bytes());
        }
        assert_eq!(written(Form::QuotedNumber, b"1.5"), b"'1.5'");
        assert_eq!(written(Form::Hex, &[0, 0xaf, 16]), b"0x00AF10");
        assert_eq!(written(Form::Hex, b""), b"''");
    }

    #[test]
    fn only_binary_texts_are_hexadecimal_and_unknown_types_have_no_form() {
        let of = |kind, collation| Form::of(WireColumn { kind, collation });
        assert_eq!(of(253, BINARY), Some(Form::Hex));
        assert_eq!(of(253, 45), Some(Form::Text));
        assert_eq!(of(245, BINARY), Some(Form::Text));
        assert_eq!(of(12, BINARY), Some(Form::Text));
        assert_eq!(of(255, 45), None);
        assert_eq!(of(200, BINARY), None);
    }
}
