//! One INSERT of a dump, and whether the server took its rows as they are.
//!
//! mysqldump's sql_mode is not strict, so a server clips a value that does not fit with a warning
//! only: after each INSERT it must have no warning, and as many rows as were scanned.
//!
//! MySQL prints the negative zero of a FLOAT or DOUBLE as `-0`, and reads that as the integer, which
//! has no sign: so it is sent as `-0e0`.

use std::borrow::Cow;

use crate::apply::failure::Failure;
use crate::apply::frame::FrameStatement;
use crate::apply::lane::Lane;
use crate::error::{Error, Result};
use crate::sql::rows::{RowsError, of_insert, values};
use crate::sql::statement::Kind;
use crate::words::counted;

/// MariaDB's word for a value of a generated column, which its client dumps and its server computes
/// anew: one for each such column of each row.
const GENERATED: u16 = 1906;

/// Rows of InnoDB and of another engine in one transaction, which a dump is not: MySQL says so of the
/// statement behind one of the other engine.
const MIXED_ENGINES: u16 = 6414;

/// Rows that are sent at once: so many that the server can show every warning about them.
const MOST_ROWS: usize = 10_000;

/// Executes an INSERT in the lane's session. A row that the server took otherwise than it was dumped
/// is a verification failure (exit 7).
pub async fn insert(
    lane: &mut Lane,
    statement: &FrameStatement,
    sql: &[u8],
) -> Result<(), Failure> {
    let (mut affected, mut warnings) = (0, Vec::new());
    let sql = with_negative_zeros(sql)?;
    for slice in slices(&sql, statement.rows)? {
        let done = lane.run(&slice).await?;
        affected += done.affected;
        if done.warnings > 0 {
            let mut met = lane.warnings().await?;
            let shown = met.len() == usize::from(done.warnings);
            met.retain(|(code, _)| ![GENERATED, MIXED_ENGINES].contains(code) || !shown);
            warnings.extend(met);
        }
    }
    match warnings.is_empty() && affected == statement.rows {
        true => Ok(()),
        false => Err(Failure::Fatal(not_as_dumped(
            statement, affected, &warnings,
        ))),
    }
}

/// An INSERT whose negative zeros keep their sign; nearly always the INSERT itself.
fn with_negative_zeros(sql: &[u8]) -> Result<Cow<'_, [u8]>> {
    const ZERO: &[u8] = b"-0";
    let might = |needle: &[u8]| memchr::memmem::find(sql, needle).is_some();
    // Nothing but such a value begins so, unless it stands in a text.
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
    // Doubling would cost a long statement twice its length.
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
    Error::archive("rows that cannot be read").because(error)
}

/// An INSERT as INSERTs of at most [`MOST_ROWS`] rows.
fn slices(sql: &[u8], rows: u64) -> Result<Vec<Cow<'_, [u8]>>> {
    if rows <= MOST_ROWS as u64 {
        return Ok(vec![Cow::Borrowed(sql)]);
    }
    let tuples = of_insert(sql).map_err(unreadable)?;
    let tuples = tuples.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    // Where a tuple's opening and closing parentheses stand.
    let opens = |tuple: &[u8]| tuple.as_ptr() as usize - sql.as_ptr() as usize - 1;
    let closes = |tuple: &[u8]| opens(tuple) + 1 + tuple.len();
    let head = tuples.first().map_or(sql, |first| &sql[..opens(first)]);
    let slices = tuples.chunks(MOST_ROWS).filter_map(|slice| {
        let (first, last) = (slice.first()?, slice.last()?);
        Some(Cow::Owned(
            [head, &sql[opens(first)..=closes(last)]].concat(),
        ))
    });
    Ok(slices.collect())
}

fn not_as_dumped(statement: &FrameStatement, affected: u64, warnings: &[(u16, String)]) -> Error {
    let table = match &statement.kind {
        Kind::Insert { table } => table.to_string(),
        _ => "rows".to_owned(),
    };
    let rows = statement.rows;
    let what = match warnings.first() {
        Some((code, text)) => {
            format!("{table}: the server did not take the rows as they are: {text} ({code})")
        }
        None => format!(
            "{table}: the server took {affected} of {}",
            counted(rows, "row")
        ),
    };
    Error::verification(what).hint(
        "compare the server's version, sql_mode and character sets with those of the backup: \
         server.fingerprint in drctl show --output json",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuples(sql: &[u8]) -> Vec<&[u8]> {
        of_insert(sql).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn slices_of_an_insert_hold_each_of_its_rows_once_in_order() {
        const HEAD: &str = "INSERT INTO `t` (`a`, `b`) VALUES ";
        let rows: Vec<String> = (0..25_001).map(|n| format!("({n},'),(')")).collect();
        let sql = format!("{HEAD}{}", rows.join(","));
        let slices = slices(sql.as_bytes(), 25_001).unwrap();
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
    fn an_ordinary_insert_is_sent_as_it_is() {
        let sql = b"INSERT INTO `t` VALUES (1),(2)";
        assert_eq!(slices(sql, 2).unwrap(), [Cow::Borrowed(&sql[..])]);
    }
}
