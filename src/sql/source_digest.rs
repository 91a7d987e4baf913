//! Digests of columns that a server computes from its own values.
//!
//! The ledger describes the bytes of the dump. What these bytes cannot express is lost in the ledger and in the restored
//! server alike, so that the comparison of both does not show it: the digits of a FLOAT, characters that do not survive
//! the conversion to utf8mb4, the values of stored generated columns. The server computes a digest of such columns in
//! SQL, in the snapshot of the dump, and the restored server computes it again.
//!
//! The digest of a column is the number of its values and the sum of 60 bits of the SHA-256 of each: it does not depend
//! on the order of rows, and those of several ranges of a table add up.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::sql::statement::{ObjectId, quote};

/// Why a dump may not carry the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// FLOAT or DOUBLE: digits.
    Float,
    /// Text of a character set that is not a subset of utf8mb4 by definition.
    Text,
    /// A stored generated column: the restored server computes it.
    Generated,
    /// A reason of a later version.
    #[serde(other)]
    Unknown,
}

/// What of a value enters the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// All digits.
    Double,
    /// Its bytes, in its own character set.
    Bytes,
    /// Its text in utf8mb4.
    Text,
    /// Something else, of a later version.
    #[serde(other)]
    Unknown,
}

/// A column whose digest is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceColumn {
    /// Its name.
    pub name: String,
    /// Why.
    pub risk: Risk,
    /// What of its values.
    pub form: Form,
}

impl SourceColumn {
    /// A column by what information_schema says of it; `None` if a dump carries its values.
    pub fn of(name: &str, data_type: &str, charset: Option<&str>, generated: bool) -> Option<Self> {
        let is_float = ["float", "double"].contains(&data_type);
        let form = match charset {
            _ if is_float => Form::Double,
            Some(_) => Form::Bytes,
            None if is_binary(data_type) => Form::Bytes,
            None => Form::Text,
        };
        let risk = match charset {
            // Servers do not cast them to bytes or text.
            _ if NOT_CAST.contains(&data_type) => return None,
            _ if generated => Risk::Generated,
            _ if is_float => Risk::Float,
            Some(charset) if !is_unicode(charset) => Risk::Text,
            _ => return None,
        };
        let name = name.to_owned();
        Some(SourceColumn { name, risk, form })
    }

    /// Whether this version can compute the digest and name the column.
    pub fn is_known(&self) -> bool {
        self.risk != Risk::Unknown && self.form != Form::Unknown
    }

    /// The SHA-256 of a value, as an expression; NULL if this version does not know the form.
    fn sha256(&self) -> String {
        let name = quote(&self.name);
        match self.form {
            // The text of a FLOAT has six digits; MySQL before 8.0.17 casts nothing to DOUBLE.
            Form::Double => format!("SHA2(CAST({name} + 0e0 AS CHAR), 256)"),
            Form::Bytes => format!("SHA2(CAST({name} AS BINARY), 256)"),
            Form::Unknown => "NULL".to_owned(),
            Form::Text => {
                format!("SHA2(CAST(CAST({name} AS CHAR CHARACTER SET utf8mb4) AS BINARY), 256)")
            }
        }
    }
}

/// Types whose generated columns have no digest.
const NOT_CAST: &[&str] = &[
    "geomcollection",
    "geometry",
    "geometrycollection",
    "linestring",
    "multilinestring",
    "multipoint",
    "multipolygon",
    "point",
    "polygon",
    "vector",
];

/// Types without a character set whose values are bytes.
fn is_binary(data_type: &str) -> bool {
    let ends = ["binary", "blob", "bit"];
    ends.iter().any(|end| data_type.ends_with(end))
}

/// Whether each character of a character set has one of utf8mb4, and is the only one for it.
fn is_unicode(charset: &str) -> bool {
    let known = ["ascii", "latin1", "ucs2", "binary"];
    charset.starts_with("utf") || known.contains(&charset)
}

/// The digest of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ValueSum {
    /// Number of values that are not NULL.
    pub values: u64,
    /// The sum of the first 60 bits of the SHA-256 of each.
    pub sum: u128,
}

/// The rows of a table, or of a range of it, and the digests of its columns, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSums {
    /// Number of rows.
    pub rows: u64,
    /// A digest for each column.
    pub columns: Vec<ValueSum>,
}

impl TableSums {
    /// Adds those of another range.
    pub fn add(&mut self, other: &TableSums) {
        self.rows += other.rows;
        self.columns.resize(
            self.columns.len().max(other.columns.len()),
            ValueSum::default(),
        );
        for (sum, more) in self.columns.iter_mut().zip(&other.columns) {
            sum.values += more.values;
            sum.sum = sum.sum.wrapping_add(more.sum);
        }
    }

    /// Parses the row that [`select`] returns.
    pub fn parse(row: &[Option<String>]) -> Option<TableSums> {
        let (rows, columns) = row.split_first()?;
        let columns = columns.chunks(2).map(|pair| {
            let [values, sum] = pair else { return None };
            Some(ValueSum {
                values: values.as_deref()?.parse().ok()?,
                sum: sum.as_deref()?.parse().ok()?,
            })
        });
        Some(TableSums {
            rows: rows.as_deref()?.parse().ok()?,
            columns: columns.collect::<Option<_>>()?,
        })
    }
}

/// The query for the digests of a table, or of the rows that satisfy a condition. All values are texts. `by_primary_key`: by
/// the index that the rows are read from, where a server might count the entries of a smaller one.
pub fn select(
    table: &ObjectId,
    columns: &[SourceColumn],
    by_primary_key: bool,
    condition: Option<&str>,
) -> String {
    let mut sql = "SELECT CAST(COUNT(*) AS CHAR)".to_owned();
    for column in columns {
        let (name, sha256) = (quote(&column.name), column.sha256());
        let _ = write!(
            sql,
            ", CAST(COUNT({name}) AS CHAR), \
             CAST(COALESCE(SUM(CAST(CONV(LEFT({sha256}, 15), 16, 10) AS UNSIGNED)), 0) AS CHAR)"
        );
    }
    let _ = write!(sql, " FROM {}", table.quoted());
    if by_primary_key {
        sql.push_str(" FORCE INDEX (PRIMARY)");
    }
    if let Some(condition) = condition {
        let _ = write!(sql, " WHERE {condition}");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_a_dump_carries_have_no_digest() {
        let risk = |data_type, charset, generated| {
            SourceColumn::of("c", data_type, charset, generated).map(|one| (one.risk, one.form))
        };
        assert_eq!(risk("int", None, false), None);
        assert_eq!(risk("varchar", Some("utf8mb4"), false), None);
        assert_eq!(risk("blob", None, false), None);
        assert_eq!(risk("point", None, true), None);
        let float = Some((Risk::Float, Form::Double));
        assert_eq!(risk("float", None, false), float);
        let text = Some((Risk::Text, Form::Bytes));
        assert_eq!(risk("char", Some("cp932"), false), text);
        let generated = |form| Some((Risk::Generated, form));
        assert_eq!(risk("int", None, true), generated(Form::Text));
        assert_eq!(risk("json", None, true), generated(Form::Text));
        assert_eq!(risk("varbinary", None, true), generated(Form::Bytes));
        assert_eq!(risk("text", Some("utf8mb4"), true), generated(Form::Bytes));
        assert_eq!(risk("float", None, true), generated(Form::Double));
    }

    #[test]
    fn a_column_of_a_later_version_is_read_and_not_known() {
        let read = |json| {
            serde_json::from_str::<SourceColumn>(json)
                .unwrap()
                .is_known()
        };
        assert!(read(r#"{"name":"c","risk":"float","form":"double"}"#));
        assert!(!read(r#"{"name":"c","risk":"collation","form":"bytes"}"#));
        assert!(!read(r#"{"name":"c","risk":"float","form":"sha3"}"#));
    }

    #[test]
    fn rows_are_counted_by_the_primary_key() {
        let table = ObjectId::table("d", "t");
        assert_eq!(
            select(&table, &[], true, Some("id < 5")),
            "SELECT CAST(COUNT(*) AS CHAR) FROM `d`.`t` FORCE INDEX (PRIMARY) WHERE id < 5"
        );
        let counted = "SELECT CAST(COUNT(*) AS CHAR) FROM `d`.`t`";
        assert_eq!(select(&table, &[], false, None), counted);
    }

    #[test]
    fn the_digests_of_ranges_add_up() {
        let row = |texts: [&str; 3]| texts.map(|text| Some(text.to_owned()));
        let mut all = TableSums::default();
        all.add(&TableSums::parse(&row(["2", "1", "10"])).unwrap());
        all.add(&TableSums::parse(&row(["3", "3", "5"])).unwrap());
        assert_eq!(all, TableSums::parse(&row(["5", "4", "15"])).unwrap());
        assert_eq!(TableSums::parse(&row(["2", "x", "1"])), None);
        assert_eq!(TableSums::parse(&[]), None);
    }
}
