//! Executes one INSERT of the dump, and verifies that the server stored its rows unchanged.
//!
//! mysqldump's sql_mode is not strict, so a server truncates a value with only a warning. After each INSERT
//! there must be no warning, and the number of affected rows must equal the number of scanned rows. Warnings
//! about values that the table computes are ignored ([`WarningFilter`]): these values are compared after the
//! load.
//!
//! MySQL prints the negative zero of a FLOAT or DOUBLE as `-0`, which it parses as an integer without a sign.
//! It is sent as `-0e0`.

use std::borrow::Cow;

use crate::restore::frames::frame::FrameStatement;
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::Lane;
use crate::sql::rows::{RowsError, of_insert, values};
use crate::sql::statement::Kind;
use crate::sql::warnings::WarningFilter;
use crate::util::error::{Error, Result};
use crate::util::format::counted;

/// MariaDB's warning about a value for a generated column, which its client dumps and its server computes
/// again: one per column and row.
const GENERATED: u16 = 1906;

/// MySQL's warning about statements of InnoDB and of another engine in one transaction.
const MIXED_ENGINES: u16 = 6414;

/// Maximum number of rows per statement, so that the server can report every warning: it keeps at most 65535.
const MAX_ROWS: usize = 10_000;

/// The same for a table with computed columns, each of whose expressions may raise several warnings per row.
const MAX_COMPUTED_ROWS: usize = 500;

/// Executes an INSERT in the lane's session. A row that the server altered is a verification failure (exit 7).
/// `computing`: the expressions of the table; `None` if it has none.
pub async fn insert(
    lane: &mut Lane,
    statement: &FrameStatement,
    sql: &[u8],
    computing: Option<&WarningFilter>,
) -> Result<(), Failure> {
    let max_rows = if computing.is_some() {
        MAX_COMPUTED_ROWS
    } else {
        MAX_ROWS
    };
    let harmless = |code: u16, text: &str| {
        [GENERATED, MIXED_ENGINES].contains(&code)
            || computing.is_some_and(|computing| computing.is_about_computed(code, text))
    };
    let (mut affected, mut warnings) = (0, Vec::new());
    let sql = with_negative_zeros(sql)?;
    for slice in slices(&sql, statement.rows, max_rows)? {
        let done = lane.run(&slice).await?;
        affected += done.affected;
        if done.warnings > 0 {
            let mut shown = lane.warnings().await?;
            let is_complete = shown.len() == usize::from(done.warnings);
            shown.retain(|(code, text)| !is_complete || !harmless(*code, text));
            warnings.extend(shown);
        }
    }
    if warnings.is_empty() && affected == statement.rows {
        return Ok(());
    }
    Err(Failure::Fatal(altered_rows(statement, affected, &warnings)))
}

/// An INSERT whose negative zeros keep their sign; usually the unchanged INSERT.
fn with_negative_zeros(sql: &[u8]) -> Result<Cow<'_, [u8]>> {
    const ZERO: &[u8] = b"-0";
    let might = |needle: &[u8]| memchr::memmem::find(sql, needle).is_some();
    // Without these bytes there is no such value.
    if !might(b",-0") && !might(b"(-0") {
        return Ok(Cow::Borrowed(sql));
    }
    let mut ends = Vec::new();
    for tuple in of_insert(sql).map_err(unreadable)? {
        for value in values(tuple.map_err(unreadable)?) {
            let value = value.map_err(unreadable)?;
            if value == ZERO {
                ends.push(value.as_ptr() as usize - sql.as_ptr() as usize + ZERO.len());
            }
        }
    }
    if ends.is_empty() {
        return Ok(Cow::Borrowed(sql));
    }
    // Sized exactly: growing by doubling would take twice the length of a long statement.
    let mut new = Vec::with_capacity(sql.len() + ends.len() * b"e0".len());
    let mut copied = 0;
    for end in ends {
        new.extend_from_slice(&sql[copied..end]);
        new.extend_from_slice(b"e0");
        copied = end;
    }
    new.extend_from_slice(&sql[copied..]);
    Ok(Cow::Owned(new))
}

fn unreadable(error: RowsError) -> Error {
    Error::archive("cannot parse rows").because(error)
}

/// Splits an INSERT into INSERTs of at most `max_rows` rows.
fn slices(sql: &[u8], rows: u64, max_rows: usize) -> Result<Vec<Cow<'_, [u8]>>> {
    if rows <= max_rows as u64 {
        return Ok(vec![Cow::Borrowed(sql)]);
    }
    let tuples = of_insert(sql).map_err(unreadable)?;
    let tuples = tuples.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    // Positions of the parentheses of a tuple.
    let opens = |tuple: &[u8]| tuple.as_ptr() as usize - sql.as_ptr() as usize - 1;
    let closes = |tuple: &[u8]| opens(tuple) + 1 + tuple.len();
    let head = tuples.first().map_or(sql, |first| &sql[..opens(first)]);
    let slices = tuples.chunks(max_rows).filter_map(|slice| {
        let (first, last) = (slice.first()?, slice.last()?);
        Some(Cow::Owned(
            [head, &sql[opens(first)..=closes(last)]].concat(),
        ))
    });
    Ok(slices.collect())
}

fn altered_rows(statement: &FrameStatement, affected: u64, warnings: &[(u16, String)]) -> Error {
    let table = match &statement.kind {
        Kind::Insert { table } => table.to_string(),
        _ => "rows".to_owned(),
    };
    let rows = statement.rows;
    let what = match warnings.first() {
        Some((code, text)) => {
            format!("{table}: the server altered inserted rows: {text} ({code})")
        }
        None => format!(
            "{table}: the server inserted {affected} of {}",
            counted(rows, "row")
        ),
    };
    /// ER_INVALID_CHARACTER_STRING, independent of any setting.
    const INVALID_TEXT: u16 = 1300;
    let hint = if warnings.iter().any(|(code, _)| *code == INVALID_TEXT) {
        "a text of the backup is not valid in utf8mb4, such as half of a surrogate pair in a ucs2 or utf16 column, and no \
         server accepts it: correct it on the target and back up again; --tables restores the other tables"
    } else {
        "compare the server's version, sql_mode and character sets with those of the backup: server.fingerprint in drctl \
         show --output json"
    };
    Error::verification(what).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuples(sql: &[u8]) -> Vec<&[u8]> {
        of_insert(sql).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn slices_of_an_insert_contain_each_row_once_in_order() {
        const HEAD: &str = "INSERT INTO `t` (`a`, `b`) VALUES ";
        let rows: Vec<String> = (0..25_001).map(|n| format!("({n},'),(')")).collect();
        let sql = format!("{HEAD}{}", rows.join(","));
        let slices = slices(sql.as_bytes(), 25_001, MAX_ROWS).unwrap();
        assert_eq!(slices.len(), 3);
        let again: Vec<&[u8]> = slices.iter().flat_map(|slice| tuples(slice)).collect();
        assert_eq!(again, tuples(sql.as_bytes()));
        assert!(
            slices
                .iter()
                .all(|slice| slice.starts_with(HEAD.as_bytes()))
        );
    }

    #[test]
    fn a_negative_zero_keeps_its_sign_and_nothing_else_changes() {
        let sql = b"INSERT INTO `t` VALUES (-0,',-0,',-0.5),(-01,'(-0)',-0)";
        assert_eq!(
            *with_negative_zeros(sql).unwrap(),
            *b"INSERT INTO `t` VALUES (-0e0,',-0,',-0.5),(-01,'(-0)',-0e0)"
        );
        for same in [
            &b"INSERT INTO `t` VALUES (1,-1)"[..],
            b"INSERT INTO `t` VALUES (',-0,')",
        ] {
            assert_eq!(with_negative_zeros(same).unwrap(), Cow::Borrowed(same));
        }
    }

    #[test]
    fn an_ordinary_insert_is_sent_unchanged() {
        let sql = b"INSERT INTO `t` VALUES (1),(2)";
        assert_eq!(slices(sql, 2, MAX_ROWS).unwrap(), [Cow::Borrowed(&sql[..])]);
    }
}
