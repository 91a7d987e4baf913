//! Splits an INSERT into its row tuples, byte for byte.
//!
//! A tuple is the text between its parentheses: `1,'a',NULL` of `(1,'a',NULL)`. White space, commas and newlines
//! between tuples belong to none. This definition is permanent: the digests of [`super::ledger`] are over these
//! bytes.
//!
//! A value is a number, a quoted string (optionally with a character set, `_binary '…'`), a hexadecimal or bit
//! literal, or NULL; anything else, such as a function call, is an error.

use super::tokens::{Token, Tokens, is_space, quoted_end};

/// Why an INSERT cannot be parsed. Shows no byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unsupported INSERT: {what} at byte {at} of the statement")]
pub struct RowsError {
    /// The offset in the statement.
    pub at: usize,
    /// What the parser found instead of a row or literal.
    pub what: &'static str,
}

/// The row tuples of one INSERT.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    sql: &'a [u8],
    /// Offset of the next tuple.
    at: usize,
    /// Whether a tuple was returned.
    started: bool,
    /// Whether the statement ended, or an error was returned.
    done: bool,
}

/// The rows of an INSERT (as [`super::statement::Statement::sql`], without its delimiter).
pub fn of_insert(sql: &[u8]) -> Result<Rows<'_>, RowsError> {
    let at = head(sql, |_| ())?;
    Ok(Rows {
        sql,
        at,
        started: false,
        done: false,
    })
}

/// The columns that an INSERT lists, and the offset of what follows VALUES; `None` if it lists none.
pub fn columns_of_insert(sql: &[u8]) -> Result<(Option<Vec<String>>, usize), RowsError> {
    let mut columns = Vec::new();
    let at = head(sql, |token| columns.extend(token.name().flatten()))?;
    Ok(((!columns.is_empty()).then_some(columns), at))
}

/// The offset of what follows VALUES. `column`: called with each listed column.
fn head<'a>(sql: &'a [u8], mut column: impl FnMut(Token<'a>)) -> Result<usize, RowsError> {
    let mut tokens = Tokens::new(sql);
    let head = RowsError {
        at: 0,
        what: "its head",
    };
    if !tokens.eat("INSERT") {
        return Err(head);
    }
    tokens.eat("IGNORE");
    let name = |tokens: &mut Tokens<'a>| match tokens.next() {
        Some(name @ (Token::Name(_) | Token::Word(_))) => Some(name),
        _ => None,
    };
    let named = tokens.eat("INTO")
        && name(&mut tokens).is_some()
        && (!tokens.eat_mark(b'.') || name(&mut tokens).is_some());
    if !named {
        return Err(head);
    }
    if tokens.eat_mark(b'(') {
        loop {
            let Some(name) = name(&mut tokens) else {
                return Err(head);
            };
            column(name);
            if tokens.eat_mark(b')') {
                break;
            }
            if !tokens.eat_mark(b',') {
                return Err(head);
            }
        }
    }
    if !tokens.eat("VALUES") {
        return Err(head);
    }
    Ok(sql.len() - tokens.rest().len())
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<&'a [u8], RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.tuple() {
            Ok(Some(tuple)) => Some(Ok(tuple)),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(what) => {
                self.done = true;
                Some(Err(RowsError { at: self.at, what }))
            }
        }
    }
}

impl<'a> Rows<'a> {
    /// Checks and counts the remaining rows.
    pub fn count_rows(self) -> Result<u64, RowsError> {
        let mut rows = 0;
        for row in self {
            row?;
            rows += 1;
        }
        Ok(rows)
    }

    fn blank(&mut self) {
        while self.sql.get(self.at).is_some_and(|byte| is_space(*byte)) {
            self.at += 1;
        }
    }

    fn tuple(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        self.blank();
        if self.started {
            match self.sql.get(self.at) {
                None => return Ok(None),
                Some(b',') => self.at += 1,
                Some(_) => return Err("something other than a comma between rows"),
            }
            self.blank();
        }
        if self.sql.get(self.at) != Some(&b'(') {
            return Err("something other than a row");
        }
        self.at += 1;
        self.started = true;
        let from = self.at;
        // `VALUES ()` is a row without columns.
        if self.sql.get(self.at) == Some(&b')') {
            self.at += 1;
            return Ok(Some(&self.sql[from..from]));
        }
        loop {
            self.at +=
                value_length(&self.sql[self.at..]).ok_or("something other than a literal")?;
            match self.sql.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b')') => {
                    self.at += 1;
                    return Ok(Some(&self.sql[from..self.at - 1]));
                }
                _ => return Err("something other than a comma between values"),
            }
        }
    }
}

/// The values of a tuple, as written there.
pub fn values(tuple: &[u8]) -> Values<'_> {
    Values {
        length: tuple.len(),
        rest: (!tuple.is_empty()).then_some(tuple),
    }
}

/// Iterates over the values of one tuple.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    /// The length of the tuple in bytes.
    length: usize,
    /// The tuple from the next value on; `None` at the end.
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<&'a [u8], RowsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if let Some(length) = value_length(rest) {
            let (value, after) = rest.split_at(length);
            match after {
                [] => return Some(Ok(value)),
                [b',', after @ ..] => {
                    self.rest = Some(after);
                    return Some(Ok(value));
                }
                _ => {}
            }
        }
        let at = self.length - rest.len();
        Some(Err(RowsError {
            at,
            what: "something other than a literal",
        }))
    }
}

/// Classes of bytes: those of numbers, and digits of hexadecimal literals.
static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    let numeric = b"0123456789+-.eE";
    while i < numeric.len() {
        table[numeric[i] as usize] |= NUMBER;
        i += 1;
    }
    let digits = b"0123456789abcdefABCDEF";
    i = 0;
    while i < digits.len() {
        table[digits[i] as usize] |= HEX;
        i += 1;
    }
    table
};
const NUMBER: u8 = 1;
const HEX: u8 = 2;

/// The end of the run of bytes of a class that begins at `at`.
#[inline]
fn run_of(class: u8, bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && CLASS[bytes[at] as usize] & class != 0 {
        at += 1;
    }
    at
}

/// The length of the literal at the beginning of `bytes`.
#[inline]
fn value_length(bytes: &[u8]) -> Option<usize> {
    let &first = bytes.first()?;
    if first == b'\'' {
        return quoted_end(bytes);
    }
    if CLASS[first as usize] & NUMBER != 0 && !matches!(bytes.get(1), Some(b'x' | b'X')) {
        return Some(run_of(NUMBER, bytes, 1));
    }
    other_length(bytes)
}

/// The same for literals that are neither strings nor numbers.
fn other_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'N', b'U', b'L', b'L', ..] => Some(4),
        [b'0', b'x' | b'X', ..] => Some(run_of(HEX, bytes, 2)),
        [b'b' | b'x' | b'B' | b'X', b'\'', ..] => {
            let end = run_of(HEX, bytes, 2);
            (bytes.get(end) == Some(&b'\'')).then_some(end + 1)
        }
        [b'_', rest @ ..] => {
            let name = rest
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric())
                .count();
            let blanks = rest[name..]
                .iter()
                .take_while(|byte| **byte == b' ')
                .count();
            let at = 1 + name + blanks;
            let literal = &bytes[at..];
            let quoted = matches!(
                literal,
                [b'\'', ..] | [b'0', b'x', ..] | [b'x' | b'b', b'\'', ..]
            );
            (name > 0 && quoted)
                .then(|| value_length(literal))?
                .map(|length| at + length)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(sql: &str) -> Result<Vec<&str>, RowsError> {
        of_insert(sql.as_bytes())?
            .map(|row| row.map(|row| std::str::from_utf8(row).unwrap()))
            .collect()
    }

    #[test]
    fn anything_but_rows_of_literals_is_an_error() {
        for sql in [
            "",
            "INSERT",
            "REPLACE INTO t VALUES (1)",
            "INSERT INTO t SELECT 1",
            "INSERT INTO t (a, VALUES (1)",
            "INSERT INTO t VALUES",
            "INSERT INTO t VALUES 1",
            "INSERT INTO t VALUES (1",
            "INSERT INTO t VALUES (1,",
            "INSERT INTO t VALUES (1,)",
            "INSERT INTO t VALUES (,1)",
            "INSERT INTO t VALUES (1) (2)",
            "INSERT INTO t VALUES (1),",
            "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=1",
            "INSERT INTO t VALUES (1), -- x\n(2)",
            "INSERT INTO t VALUES ('a)",
            "INSERT INTO t VALUES ('a\\')",
            "INSERT INTO t VALUES ('a' 'b')",
            "INSERT INTO t VALUES (\"a\")",
            "INSERT INTO t VALUES (`a`)",
            "INSERT INTO t VALUES (now())",
            "INSERT INTO t VALUES (NULLIF(1,1))",
            "INSERT INTO t VALUES (1+sleep(9))",
            "INSERT INTO t VALUES ((1))",
            "INSERT INTO t VALUES (DEFAULT)",
            "INSERT INTO t VALUES (@@version)",
            "INSERT INTO t VALUES (_binary now())",
            "INSERT INTO t VALUES (-inf)",
            "INSERT INTO t VALUES (x'0g')",
            "INSERT INTO t VALUES (0xZZ)",
            "INSERT INTO t VALUES (/*! sleep(9) */ 1)",
        ] {
            assert!(rows(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn rows_are_the_bytes_between_their_parentheses() {
        let list = [
            "1,'a\\'),(\\\\','it''s',NULL",
            "-1.5e300,.5,+1,1E-7",
            "'{\\\"a\\\": [1, \\\")(\\\"]}'",
            "0x00FF,b'0101',x'0a',_binary 'x',_utf8mb4'y',_binary 0x01",
            "",
            "''",
        ];
        for (open, between) in [
            ("INSERT INTO `t` VALUES (", "),("),
            (
                "INSERT  IGNORE INTO `a``b`.t (`x,`, row_start) VALUES\n(",
                "),\n(",
            ),
        ] {
            let sql = format!("{open}{})", list.join(between));
            assert_eq!(rows(&sql).unwrap(), list);
            assert_eq!(
                of_insert(sql.as_bytes()).unwrap().count_rows(),
                Ok(list.len() as u64)
            );
        }
    }

    #[test]
    fn a_tuple_is_split_into_its_values() {
        let all = |tuple: &'static str| values(tuple.as_bytes()).collect::<Result<Vec<_>, _>>();
        let of = all("1,'a,\\'',NULL,0x0f,_binary 'x'").unwrap();
        assert_eq!(
            of,
            [&b"1"[..], b"'a,\\''", b"NULL", b"0x0f", b"_binary 'x'"]
        );
        assert_eq!(all("").unwrap().len(), 0);
        for bad in ["1,", ",", "1 ", "'a", "f(1)"] {
            assert!(all(bad).is_err(), "{bad}");
        }
    }

    /// As `mysql_real_escape_string`.
    fn escaped(bytes: &[u8]) -> Vec<u8> {
        let mut text = vec![b'\''];
        for &byte in bytes {
            let special = match byte {
                0 => b'0',
                b'\n' => b'n',
                b'\r' => b'r',
                0x1a => b'Z',
                b'\\' | b'\'' | b'"' => byte,
                _ => {
                    text.push(byte);
                    continue;
                }
            };
            text.extend([b'\\', special]);
        }
        text.push(b'\'');
        text
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| escaped(&bytes)),
            "'[\\(\\),; ]{0,5}'".prop_map(String::into_bytes),
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            any::<f64>()
                .prop_filter("servers hold no infinities", |n| n.is_finite())
                .prop_map(|n| format!("{n:e}").into_bytes()),
            prop::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| format!(
                "0x{}",
                hex::encode(bytes)
            )
            .into_bytes()),
            Just(b"NULL".to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn random_rows_survive(
            table in prop::collection::vec(prop::collection::vec(value(), 1..5), 1..8),
        ) {
            let tuples: Vec<Vec<u8>> = table.iter().map(|row| row.join(&b',')).collect();
            let mut sql = b"INSERT INTO `t` VALUES (".to_vec();
            sql.extend(tuples.join(&b"),("[..]));
            sql.push(b')');
            let found: Result<Vec<_>, _> = of_insert(&sql).unwrap().collect();
            prop_assert_eq!(found.unwrap(), tuples.iter().map(|it| &it[..]).collect::<Vec<_>>());
            for (tuple, row) in tuples.iter().zip(&table) {
                let found: Result<Vec<_>, _> = values(tuple).collect();
                prop_assert_eq!(found.unwrap(), row.iter().map(|it| &it[..]).collect::<Vec<_>>());
            }
            let mut scanner = crate::sql::scan::Scanner::new();
            scanner.push(&sql);
            scanner.push(b";\n");
            prop_assert_eq!(scanner.next().unwrap().unwrap().sql, &sql[..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = values(&bytes).count();
            let sql = [b"INSERT INTO t VALUES (", &bytes[..]].concat();
            if let Ok(rows) = of_insert(&sql) {
                let _ = rows.count_rows();
            }
        }
    }
}
