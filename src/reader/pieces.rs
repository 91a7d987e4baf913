//! Divides the rows into pieces, so that no reader works alone at the end: large tables into ranges of their primary key.
//!
//! The ranges of a table are its rows exactly once, whatever their bounds are: each begins where the one before ends, the
//! first and the last are open, and the server itself orders the bounds. Good bounds only make them equally long.

use std::collections::VecDeque;
use std::fmt::Write as _;

use crate::Result;
use crate::mysql::connect::literal;
use crate::mysql::wire::RowConnection;
use crate::reader::read::failed;
use crate::reader::tables::TableRows;
use crate::sql::statement::{ObjectId, quote};

/// Pieces of a large table per reader: more than one, since keys are not spread evenly.
const PIECES_PER_READER: usize = 8;

/// Rows of a table that is not worth dividing.
const FEW_ROWS: u64 = 100_000;

/// Bytes of such a table.
const FEW_BYTES: u64 = 8 << 20;

/// Tables that are enough pieces by themselves, whatever their sizes.
const MANY_TABLES: usize = 200;

/// A key that spans more than this many times the estimated rows casts doubt on the estimate.
const SPARSE: i128 = 4;

/// Rows that one reader reads at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The table.
    pub rows: TableRows,
    /// A condition on its key; `None` for all rows.
    pub range: Option<String>,
}

impl Piece {
    /// The query for the rows.
    pub fn select(&self) -> String {
        let mut select = self.rows.select();
        if let Some(range) = &self.range {
            let _ = write!(select, " WHERE {range}");
        }
        select
    }
}

/// The pieces of all tables, for `readers` connections of which this is one; the largest first.
pub async fn of(
    connection: &mut RowConnection,
    tables: &[TableRows],
    readers: usize,
) -> Result<VecDeque<Piece>> {
    let total: u64 = tables.iter().map(|rows| rows.bytes).sum();
    let share = total / readers.max(1) as u64;
    let mut pieces = VecDeque::new();
    for rows in tables {
        let mut ranges = Vec::new();
        // A server may not have counted the rows of a new table: an estimate of few is compared with the key.
        let is_doubtful = rows.bytes < FEW_BYTES && tables.len() < MANY_TABLES;
        if readers > 1 && rows.is_divisible && (rows.bytes > share / 2 || is_doubtful) {
            let divided = ranges_of(connection, rows, readers * PIECES_PER_READER).await;
            ranges = divided.map_err(|error| failed(error, &rows.table))?;
        }
        let piece = |range| Piece {
            rows: rows.clone(),
            range,
        };
        match ranges.is_empty() {
            true => pieces.push_back(piece(None)),
            false => pieces.extend(ranges.into_iter().map(|range| piece(Some(range)))),
        }
    }
    Ok(pieces)
}

/// Whether a table seems not worth dividing.
pub fn is_small(rows: &TableRows) -> bool {
    rows.bytes < FEW_BYTES && rows.rows < FEW_ROWS
}

/// The first column of a primary key.
struct Key {
    /// Quoted.
    column: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
    Binary,
}

/// About `count` ranges of a large table; none if it is not divided.
async fn ranges_of(
    connection: &mut RowConnection,
    rows: &TableRows,
    count: usize,
) -> Result<Vec<String>> {
    let Some(key) = key_of(connection, &rows.table).await? else {
        return Ok(Vec::new());
    };
    let table = rows.table.quoted();
    let bounds = match key.kind {
        Kind::Integer => integer_bounds(connection, &table, &key, rows, count).await?,
        Kind::Text | Kind::Binary if rows.bytes > FEW_BYTES => {
            string_bounds(connection, &table, &key, count).await?
        }
        Kind::Text | Kind::Binary => Vec::new(),
    };
    Ok(between(&key.column, &bounds))
}

/// The ranges of a key below, between and above ascending bounds.
fn between(column: &str, bounds: &[String]) -> Vec<String> {
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else {
        return Vec::new();
    };
    let below = format!("{column} < {first}");
    let above = format!("{column} >= {last}");
    let pairs = bounds.iter().zip(bounds.iter().skip(1));
    let between = pairs.map(|(from, to)| format!("{column} >= {from} AND {column} < {to}"));
    [below].into_iter().chain(between).chain([above]).collect()
}

async fn key_of(connection: &mut RowConnection, table: &ObjectId) -> Result<Option<Key>> {
    let (schema, name) = (literal(&table.schema), literal(&table.name));
    let sql = format!(
        "SELECT s.table_schema, s.table_name, c.column_name, c.data_type FROM information_schema.statistics s \
         JOIN information_schema.columns c ON c.table_schema = s.table_schema \
         AND c.table_name = s.table_name AND c.column_name = s.column_name \
         WHERE s.table_schema = {schema} AND s.table_name = {name} \
         AND s.index_name = 'PRIMARY' AND s.seq_in_index = 1 AND s.sub_part IS NULL"
    );
    let rows = connection.rows(&sql).await?;
    // information_schema may ignore case.
    let is_table = |row: &&Vec<Option<String>>| {
        let is = |at: usize, name: &str| row.get(at).is_some_and(|it| it.as_deref() == Some(name));
        is(0, &table.schema) && is(1, &table.name)
    };
    let found = rows.iter().find(is_table).map(Vec::as_slice);
    let Some([_, _, Some(column), Some(kind)]) = found else {
        return Ok(None);
    };
    let kind = match kind.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Kind::Integer,
        "char" | "varchar" => Kind::Text,
        "binary" | "varbinary" => Kind::Binary,
        _ => return Ok(None),
    };
    let column = quote(column);
    Ok(Some(Key { column, kind }))
}

/// Equally spaced numbers between the least and the greatest key.
async fn integer_bounds(
    connection: &mut RowConnection,
    table: &str,
    Key { column, .. }: &Key,
    rows: &TableRows,
    count: usize,
) -> Result<Vec<String>> {
    let sql = format!("SELECT MIN({column}), MAX({column}) FROM {table}");
    let found = connection.rows(&sql).await?;
    let number = |at: usize| found.first()?.get(at)?.as_ref()?.parse::<i128>().ok();
    let (Some(least), Some(greatest)) = (number(0), number(1)) else {
        return Ok(Vec::new());
    };
    let span = greatest - least;
    if span < i128::from(FEW_ROWS)
        || (rows.bytes < FEW_BYTES && i128::from(rows.rows) * SPARSE > span)
    {
        return Ok(Vec::new());
    }
    let count = count as i128;
    let bounds = (1..count).map(|n| (least + span * n / count).to_string());
    Ok(bounds.collect())
}

/// Keys that are near texts equally spaced between the least and the greatest key.
async fn string_bounds(
    connection: &mut RowConnection,
    table: &str,
    Key { column, kind }: &Key,
    count: usize,
) -> Result<Vec<String>> {
    let hex = |value: &str| match kind {
        // In the character set of the column, other texts may look like ASCII.
        Kind::Text => format!("HEX(CONVERT({value} USING utf8mb4))"),
        _ => format!("HEX({value})"),
    };
    let (shown, least, greatest) = (
        hex(column),
        hex(&format!("MIN({column})")),
        hex(&format!("MAX({column})")),
    );
    let sql = format!("SELECT {least}, {greatest} FROM {table}");
    let found = connection.rows(&sql).await?;
    let bytes = |at: usize| hex::decode(found.first()?.get(at)?.as_ref()?).ok();
    let (Some(least), Some(greatest)) = (bytes(0), bytes(1)) else {
        return Ok(Vec::new());
    };
    if *kind == Kind::Text && !(least.is_ascii() && greatest.is_ascii()) {
        return Ok(Vec::new());
    }
    let mut bounds: Vec<String> = Vec::new();
    for candidate in spaced(&least, &greatest, count, *kind) {
        let candidate = as_literal(&candidate, *kind);
        // The server orders the bounds: each is above the one before.
        let above = match bounds.last() {
            Some(last) => format!("AND {column} > {last}"),
            None => String::new(),
        };
        let sql = format!(
            "SELECT {shown} FROM {table} WHERE {column} >= {candidate} {above} \
             ORDER BY {column} LIMIT 1"
        );
        let found = connection.rows(&sql).await?;
        let key = found.first().and_then(|row| row.first()).cloned().flatten();
        let Some(key) = key.and_then(|key| hex::decode(key).ok()) else {
            break;
        };
        if *kind == Kind::Text && !key.is_ascii() {
            return Ok(Vec::new());
        }
        bounds.push(as_literal(&key, *kind));
    }
    Ok(bounds)
}

fn as_literal(key: &[u8], kind: Kind) -> String {
    match kind {
        Kind::Binary => format!("0x{}", hex::encode_upper(key)),
        _ => literal(&String::from_utf8_lossy(key)),
    }
}

/// `count` - 1 strings between two, by the four bytes after their common prefix. Those of a text are printable.
fn spaced(least: &[u8], greatest: &[u8], count: usize, kind: Kind) -> Vec<Vec<u8>> {
    const DIGITS: usize = 4;
    let (lowest, base) = match kind {
        Kind::Binary => (0, 256),
        _ => (u64::from(b' '), u64::from(b'~' - b' ') + 1),
    };
    let common = least
        .iter()
        .zip(greatest)
        .take_while(|(a, b)| a == b)
        .count();
    let number = |key: &[u8]| {
        (0..DIGITS).fold(0, |number, n| {
            let byte = key.get(common + n).copied().map_or(lowest, u64::from);
            number * base + byte.clamp(lowest, lowest + base - 1) - lowest
        })
    };
    let (from, to) = (number(least), number(greatest));
    let count = count as u64;
    let texts = (1..count).map(|n| {
        let mut number = from + to.saturating_sub(from) * n / count;
        let mut key = least[..common].to_vec();
        key.resize(common + DIGITS, 0);
        for byte in key[common..].iter_mut().rev() {
            *byte = (number % base + lowest) as u8;
            number /= base;
        }
        key
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_leave_nothing_out_and_do_not_overlap() {
        let bounds = ["5", "9"].map(String::from);
        assert_eq!(
            between("`a`", &bounds),
            ["`a` < 5", "`a` >= 5 AND `a` < 9", "`a` >= 9"]
        );
        assert_eq!(between("`a`", &[]), [""; 0]);
    }

    #[test]
    fn strings_are_spaced_between_the_least_and_the_greatest() {
        let texts = spaced(b"order-0000", b"order-9999", 4, Kind::Text);
        let texts: Vec<_> = texts.iter().map(|it| String::from_utf8_lossy(it)).collect();
        assert!(texts.is_sorted() && texts.iter().all(|it| it.starts_with("order-")));
        assert_eq!(texts.len(), 3);
        let halves = spaced(&[0; 16], &[255; 16], 2, Kind::Binary);
        assert_eq!(halves, [[127, 255, 255, 255]]);
        assert_eq!(spaced(b"", b"", 3, Kind::Text).len(), 2);
    }
}
