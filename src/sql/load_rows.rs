//! The rows of an INSERT as LOAD DATA reads them.
//!
//! What a dump writes between the first and the last parenthesis is what LOAD DATA reads with
//!
//! ```sql
//! FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\'' ESCAPED BY '\\' LINES TERMINATED BY '),('
//! ```
//!
//! so these bytes are sent as they are. Rows with hexadecimal literals are rewritten, one a line. A statement with
//! anything that the two read differently is not loaded by LOAD DATA: doubled quotes, escapes other than those of
//! `mysql_real_escape_string`, literals with a character set, a number where bytes are expected.

use std::ops::Range;

use super::layout::Form;

/// What is between two rows of a statement, without parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `,`: MySQL.
    Comma,
    /// `,` and a newline: MariaDB.
    CommaLine,
}

impl Separator {
    /// With both parentheses.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Separator::Comma => b"),(",
            Separator::CommaLine => b"),\n(",
        }
    }
}

/// The rows of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadRows {
    /// Their place in the statement, without the first and the last parenthesis.
    pub place: Range<usize>,
    /// Between them; `None` for a single row.
    pub separator: Option<Separator>,
}

/// Checks the rows of an INSERT whose VALUES ends at `at`. `forms`: those of its columns. `None` if LOAD DATA would not
/// read them as the INSERT does.
pub fn check(sql: &[u8], at: usize, forms: &[Form]) -> Option<LoadRows> {
    let mut walk = Walk::new(sql, at, forms)?;
    let first = walk.at;
    let mut separator = None;
    loop {
        walk.row(|_, _| ())?;
        match walk.separator()? {
            None => break,
            Some(found) if separator.is_none_or(|other| other == found) => separator = Some(found),
            Some(_) => return None,
        }
    }
    Some(LoadRows {
        place: first..sql.len() - 1,
        separator,
    })
}

/// The rows of an INSERT that passed [`check`], one a line, with bare digits in place of hexadecimal literals.
pub fn rewritten(sql: &[u8], at: usize, forms: &[Form]) -> Option<Vec<u8>> {
    let mut walk = Walk::new(sql, at, forms)?;
    let mut lines = Vec::with_capacity(sql.len() - at);
    loop {
        walk.row(|form, value| {
            lines.extend_from_slice(match (form, value) {
                (Form::Bytes | Form::Bits, [b'0', b'x', digits @ ..]) => digits,
                (_, value) => value,
            });
            lines.push(b',');
        })?;
        lines.pop();
        lines.push(b'\n');
        if walk.separator()?.is_none() {
            return Some(lines);
        }
    }
}

/// Reads rows, one after another.
struct Walk<'a> {
    sql: &'a [u8],
    /// Behind the opening parenthesis of the next row.
    at: usize,
    forms: &'a [Form],
}

impl<'a> Walk<'a> {
    fn new(sql: &'a [u8], at: usize, forms: &'a [Form]) -> Option<Self> {
        let blanks = sql
            .get(at..)?
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace());
        let at = at + blanks.count();
        (sql.get(at) == Some(&b'(')).then_some(Walk {
            sql,
            at: at + 1,
            forms,
        })
    }

    /// Reads a row up to its closing parenthesis.
    fn row(&mut self, mut value: impl FnMut(Form, &'a [u8])) -> Option<()> {
        let last = self.forms.len().checked_sub(1)?;
        for (n, form) in self.forms.iter().enumerate() {
            let length = value_length(*form, &self.sql[self.at..])?;
            value(*form, &self.sql[self.at..self.at + length]);
            self.at += length;
            let ends = if n == last { b')' } else { b',' };
            if self.sql.get(self.at) != Some(&ends) {
                return None;
            }
            self.at += 1;
        }
        Some(())
    }

    /// Reads what follows a row: an inner `None` at the end of the statement.
    fn separator(&mut self) -> Option<Option<Separator>> {
        let (length, separator) = match &self.sql[self.at..] {
            [] => return Some(None),
            [b',', b'(', ..] => (2, Separator::Comma),
            [b',', b'\n', b'(', ..] => (3, Separator::CommaLine),
            _ => return None,
        };
        self.at += length;
        Some(Some(separator))
    }
}

/// The length of the value at the beginning of `bytes`; `None` if it has another form.
#[inline]
fn value_length(form: Form, bytes: &[u8]) -> Option<usize> {
    match (form, bytes) {
        (_, [b'N', b'U', b'L', b'L', ..]) => Some(4),
        (Form::Literal, [b'\'', ..]) => text_length(bytes),
        (Form::Literal, [b'0'..=b'9' | b'-' | b'.', ..]) => {
            let number = |byte: &&u8| {
                byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')
            };
            Some(bytes.iter().take_while(number).count())
        }
        (Form::Bytes | Form::Bits, [b'0', b'x', digits @ ..]) => {
            let digits = digits.iter().take_while(|byte| byte.is_ascii_hexdigit());
            let count = digits.count();
            (count > 0 && count % 2 == 0).then_some(2 + count)
        }
        (Form::Bytes, [b'\'', b'\'', ..]) => Some(2),
        _ => None,
    }
}

/// The length of quoted text; `None` for an escape that LOAD DATA reads differently.
#[inline]
fn text_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'\'', b'\\', &bytes[at..])?;
        match bytes.get(at..at + 2)? {
            [b'\\', b'0' | b'n' | b'r' | b'\\' | b'\'' | b'"' | b'Z'] => at += 2,
            [b'\'', b',' | b')'] => return Some(at + 1),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::rows::columns_of_insert;

    use Form::{Bits, Bytes, Literal};

    fn checked(sql: &str, forms: &[Form]) -> Option<(String, Option<Separator>)> {
        let (_, at) = columns_of_insert(sql.as_bytes()).unwrap();
        let rows = check(sql.as_bytes(), at, forms)?;
        Some((sql[rows.place].to_owned(), rows.separator))
    }

    #[test]
    fn rows_are_the_bytes_between_the_first_and_the_last_parenthesis() {
        let rows = "1,'a\\'),(\\\\',NULL),(-0,'\\0\\n\\r\\Z\\\"\n),\n(',1.5e-300";
        let sql = format!("INSERT INTO `t` VALUES ({rows})");
        let forms = [Literal; 3];
        assert_eq!(
            checked(&sql, &forms),
            Some((rows.to_owned(), Some(Separator::Comma)))
        );
        let sql = "INSERT INTO `t` (`a`) VALUES\n(1),\n('2')";
        assert_eq!(
            checked(sql, &[Literal]),
            Some(("1),\n('2'".to_owned(), Some(Separator::CommaLine)))
        );
        assert_eq!(
            checked("INSERT INTO `t` VALUES (1)", &[Literal]),
            Some(("1".to_owned(), None))
        );
    }

    #[test]
    fn what_load_data_would_read_differently_is_rejected() {
        for (rows, forms) in [
            ("('it''s')", &[Literal][..]),
            ("('\\%')", &[Literal]),
            ("('\\N')", &[Literal]),
            ("('\\t')", &[Literal]),
            ("(0x41)", &[Literal]),
            ("(b'1')", &[Literal]),
            ("(_binary 'x')", &[Literal]),
            ("(nan)", &[Literal]),
            ("(+1)", &[Literal]),
            ("(1,2)", &[Literal]),
            ("(1)", &[Literal, Literal]),
            ("(1),(2),\n(3)", &[Literal]),
            ("(1), (2)", &[Literal]),
            ("(1) ", &[Literal]),
            ("('a' )", &[Literal]),
            ("()", &[Literal]),
            ("('a')", &[Bytes]),
            ("(1)", &[Bytes]),
            ("(0x4)", &[Bytes]),
            ("(0x)", &[Bytes]),
            ("('')", &[Bits]),
            ("(1)", &[Bits]),
        ] {
            let sql = format!("INSERT INTO `t` VALUES {rows}");
            assert_eq!(checked(&sql, forms), None, "{rows}");
        }
    }

    #[test]
    fn rows_with_bytes_are_rewritten_with_bare_digits() {
        let sql = b"INSERT INTO `t` VALUES (1,0x00ff,'0x41,'),(2,'',NULL),(NULL,NULL,'a\n')";
        let (_, at) = columns_of_insert(sql).unwrap();
        let forms = [Literal, Bytes, Literal];
        assert!(check(sql, at, &forms).is_some());
        assert_eq!(
            rewritten(sql, at, &forms).unwrap(),
            b"1,00ff,'0x41,'\n2,'',NULL\nNULL,NULL,'a\n'\n"
        );
    }
}
