//! Rows as the INSERT statements that a dump program writes, byte for byte.
//!
//! A statement ends before the row with which it would exceed [`LIMIT_BYTES`], as the programs count: two bytes more
//! than a row has, and four more than the statement's head.

use crate::mysql::Flavour;
use crate::mysql::wire::{WireColumn, next_value};
use crate::reader::value::Form;
use crate::sql::ledger::RowSum;
use crate::util::error::{Error, Result};

/// `--net-buffer-length` of our dumps, less one KiB, which is what the programs compare with.
const LIMIT_BYTES: usize = 1_046_528;

/// What ends a statement.
const END: &[u8] = b";\n";

/// How the values of a table are written.
#[derive(Debug)]
pub struct Tuples {
    forms: Vec<Form>,
}

impl Tuples {
    /// `None` if a column has an unknown type.
    pub fn of(columns: &[WireColumn]) -> Option<Tuples> {
        let forms = columns.iter().map(|column| Form::of(*column));
        Some(Tuples {
            forms: forms.collect::<Option<_>>()?,
        })
    }

    /// Appends the values of a row, without parentheses.
    ///
    /// # Errors
    ///
    /// The row has more or fewer values than the result has columns.
    #[inline]
    pub fn write(&self, mut row: &[u8], sql: &mut Vec<u8>) -> Result<()> {
        for (n, form) in self.forms.iter().enumerate() {
            if n > 0 {
                sql.push(b',');
            }
            match next_value(&mut row).ok_or_else(misfit)? {
                None => sql.extend_from_slice(b"NULL"),
                Some(value) => form.write(value, sql),
            }
        }
        match row.is_empty() {
            true => Ok(()),
            false => Err(misfit()),
        }
    }
}

/// Writes the rows of one query as statements.
#[derive(Debug)]
pub struct Inserts {
    tuples: Tuples,
    /// All up to the first parenthesis of a row.
    head: Vec<u8>,
    /// What is between two rows.
    separator: &'static [u8],
    /// Length of the statement so far, as the programs count; `None` before the first one.
    length: Option<usize>,
    /// The same in bytes, if there is one.
    bytes: usize,
    /// The rows since the last end of a statement.
    sum: RowSum,
}

/// The end of one or two statements.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Their bytes.
    pub bytes: usize,
    /// Bytes of the longer one.
    pub longest: usize,
    /// Bytes after them: the beginning of the next one.
    pub rest: usize,
    /// Their rows.
    pub sum: RowSum,
}

impl Inserts {
    /// `columns`: the list of columns, where the program writes one.
    pub fn new(tuples: Tuples, table: &str, columns: Option<&str>, program: Flavour) -> Inserts {
        let list = columns.map_or(String::new(), |columns| format!(" ({columns})"));
        // Before its first row, MariaDB's program writes a space after a list of columns.
        let (after_values, separator): (&str, &[u8]) = match (program, columns) {
            (Flavour::MySql, _) => (" ", b","),
            (Flavour::MariaDb, None) => ("\n", b",\n"),
            (Flavour::MariaDb, Some(_)) => (" ", b",\n"),
        };
        Inserts {
            tuples,
            head: format!("INSERT INTO {table}{list} VALUES{after_values}").into_bytes(),
            separator,
            length: None,
            bytes: 0,
            sum: RowSum::default(),
        }
    }

    /// Appends a row; returns the end of the statement before it, if it begins a new one. A row that no other can follow
    /// ends its own statement.
    #[inline]
    pub fn push(&mut self, row: &[u8], sql: &mut Vec<u8>) -> Result<Option<Ended>> {
        let start = sql.len();
        if row.len() > LIMIT_BYTES {
            // Doubling would take twice the length of a long statement. A byte becomes two at most.
            sql.reserve_exact(2 * row.len() + self.head.len() + 1024);
        }
        sql.extend_from_slice(self.separator);
        sql.push(b'(');
        let values = sql.len();
        self.tuples.write(row, sql)?;
        let tuple = xxhash_rust::xxh3::xxh3_128(&sql[values..]);
        sql.push(b')');
        let length = 2 + sql.len() - (values - 1);
        if let Some(total) = self.length
            && total + length < LIMIT_BYTES
        {
            self.length = Some(total + length);
            self.bytes += sql.len() - start;
            self.sum.add_digest(tuple);
            return Ok(None);
        }
        let before: &[u8] = match self.length {
            Some(_) => END,
            None => b"",
        };
        let head = before.iter().chain(&self.head).copied();
        sql.splice(start..values - 1, head);
        let begun = sql.len() - (start + before.len());
        let ended = self.length.map(|_| self.bytes + END.len());
        if length >= LIMIT_BYTES {
            sql.extend_from_slice(END);
            let alone = begun + END.len();
            self.length = None;
            self.sum.add_digest(tuple);
            return Ok(Some(Ended {
                bytes: ended.unwrap_or(0) + alone,
                longest: alone.max(ended.unwrap_or(0)),
                rest: 0,
                sum: std::mem::take(&mut self.sum),
            }));
        }
        self.length = Some(length + self.head.len() + 4);
        self.bytes = begun;
        let sum = std::mem::take(&mut self.sum);
        self.sum.add_digest(tuple);
        Ok(ended.map(|bytes| Ended {
            bytes,
            longest: bytes,
            rest: begun,
            sum,
        }))
    }

    /// Ends the last statement; `None` if none is open.
    pub fn finish(&mut self, sql: &mut Vec<u8>) -> Option<Ended> {
        self.length.take()?;
        sql.extend_from_slice(END);
        let bytes = self.bytes + END.len();
        Some(Ended {
            bytes,
            longest: bytes,
            rest: 0,
            sum: std::mem::take(&mut self.sum),
        })
    }
}

#[cold]
fn misfit() -> Error {
    Error::unexpected("a row does not fit its columns")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of texts as a server sends it.
    fn row(values: &[&str]) -> Vec<u8> {
        let mut row = Vec::new();
        for value in values {
            let length = u16::try_from(value.len()).unwrap().to_le_bytes();
            row.push(0xfc);
            row.extend(length);
            row.extend(value.as_bytes());
        }
        row
    }

    fn inserts(program: Flavour, columns: Option<&str>) -> Inserts {
        let text = WireColumn {
            kind: 253,
            collation: 45,
        };
        let tuples = Tuples::of(&[text, text]).unwrap();
        Inserts::new(tuples, "`t`", columns, program)
    }

    #[test]
    fn statements_are_written_as_the_programs_write_them() {
        for (program, columns, expected) in [
            (
                Flavour::MySql,
                None,
                "INSERT INTO `t` VALUES ('a','b'),('c','d');\n",
            ),
            (
                Flavour::MySql,
                Some("`x`, `y`"),
                "INSERT INTO `t` (`x`, `y`) VALUES ('a','b'),('c','d');\n",
            ),
            (
                Flavour::MariaDb,
                None,
                "INSERT INTO `t` VALUES\n('a','b'),\n('c','d');\n",
            ),
            (
                Flavour::MariaDb,
                Some("`x`, `y`"),
                "INSERT INTO `t` (`x`, `y`) VALUES ('a','b'),\n('c','d');\n",
            ),
        ] {
            let mut inserts = inserts(program, columns);
            let mut sql = Vec::new();
            assert_eq!(inserts.push(&row(&["a", "b"]), &mut sql).unwrap(), None);
            assert_eq!(inserts.push(&row(&["c", "d"]), &mut sql).unwrap(), None);
            let ended = inserts.finish(&mut sql).unwrap();
            assert_eq!(String::from_utf8_lossy(&sql), expected);
            let insert = expected.trim_end().trim_end_matches(';');
            assert_eq!(ended.sum, RowSum::of_insert(insert.as_bytes()).unwrap());
            assert_eq!(ended.bytes, expected.len());
            assert_eq!(inserts.finish(&mut sql), None);
        }
    }

    #[test]
    fn a_statement_ends_before_the_row_that_would_exceed_the_limit() {
        let long = "x".repeat(50_000);
        let mut inserts = inserts(Flavour::MySql, None);
        let (mut sql, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            if let Some(ended) = inserts.push(&row(&[&long, ""]), &mut sql).unwrap() {
                ends.push(sql.len() - ended.rest);
            }
        }
        inserts.finish(&mut sql);
        let statements: Vec<&[u8]> = sql.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(statements.len(), 3);
        assert_eq!(ends[0], statements[0].len());
        assert_eq!(ends[1], statements[0].len() + statements[1].len());
        assert!(
            statements
                .iter()
                .all(|it| it.len() < LIMIT_BYTES && it.starts_with(b"INSERT"))
        );
        assert!(statements[0].len() + 50_000 > LIMIT_BYTES);
    }

    #[test]
    fn a_row_that_fills_a_statement_ends_it_at_once() {
        let long = "x".repeat(60_000);
        let many = long.repeat(18);
        let mut inserts = inserts(Flavour::MySql, None);
        let mut sql = Vec::new();
        assert_eq!(inserts.push(&row(&["a", "b"]), &mut sql).unwrap(), None);
        let mut wide = vec![0xfd];
        wide.extend(&(many.len() as u32).to_le_bytes()[..3]);
        wide.extend(many.as_bytes());
        wide.push(0);
        let ended = inserts.push(&wide, &mut sql).unwrap().unwrap();
        assert_eq!((ended.rest, ended.sum.rows, ended.bytes), (0, 2, sql.len()));
        assert_eq!(
            ended.longest,
            many.len() + "INSERT INTO `t` VALUES ('','');\n".len()
        );
        assert_eq!(inserts.finish(&mut sql), None);
        assert_eq!(sql.split_inclusive(|byte| *byte == b'\n').count(), 2);
    }

    #[test]
    fn a_row_that_does_not_fit_its_columns_is_an_error() {
        for values in [&["a"][..], &["a", "b", "c"]] {
            inserts(Flavour::MySql, None)
                .push(&row(values), &mut Vec::new())
                .unwrap_err();
        }
    }
}
