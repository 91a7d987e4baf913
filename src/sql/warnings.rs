//! Distinguishes warnings of an INSERT about computed values from those about dumped values.
//!
//! A row that was written with `sql_mode = ''` or by INSERT IGNORE may cause a warning whenever its generated columns,
//! CHECKs and keys over expressions are computed (`CAST('12abc' AS SIGNED)`), also in a restore, where it is harmless.
//! The same warning about a value of the row itself means that the server altered a dumped value. So a warning is
//! ignored if it names a generated column, or if only functions cause it and it names no dumped column. All others are
//! about dumped values.
//!
//! Texts are in English: sessions of a restore set `lc_messages`.

use std::collections::BTreeSet;

use super::computed;
use super::create_table::CreateTable;
use super::definition::Column;

/// Warnings of functions and casts that no server gives about a literal stored in a column without naming the column.
/// (Each tested on MySQL 9.7 and MariaDB 10.11.)
const OF_FUNCTIONS: &[u16] = &[
    // Compressed data: UNCOMPRESS.
    1256, 1257, 1258, 1259,      // Truncated incorrect … value
    INCORRECT, // Invalid … character string: CONVERT
    1300,      // Result of …() was larger than max_allowed_packet
    1301,      // Got error … from regexp (MariaDB)
    1139,      // Division by 0
    1365,      // Incorrect … value: … for function …
    1411,      // Datetime function: … field overflow
    1441,      // <IV> option ignored
    1618,      // Got overflow when casting, encountered illegal value (MariaDB)
    1916, 1918, // Invalid JSON value for CAST, out of range for CAST
    3156, 3903, 3904, // Data truncated, out of range, too long for functional index
    3751, 3752, 3907, // JSON functions (MariaDB)
    4036, 4037, 4038, 4039, 4040, 4041, 4042, 4043, 4044,
    // Deprecated delimiters in temporal values
    4095, 4096,
];

/// Truncated incorrect … value, Incorrect … value: … for column …
const INCORRECT: u16 = 1292;

/// Distinguishes the warnings about a table that computes values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WarningFilter {
    /// The dumped columns.
    dumped: Vec<Column>,
    /// The generated columns.
    generated: BTreeSet<String>,
}

impl WarningFilter {
    /// The filter of a table; `None` if it computes nothing.
    pub fn of(table: &CreateTable) -> Option<WarningFilter> {
        let columns = table.columns().iter().cloned();
        let (generated, dumped): (Vec<Column>, Vec<Column>) =
            columns.partition(|column| column.generated);
        computed::computes(table).then(|| WarningFilter {
            dumped,
            generated: generated.into_iter().map(|column| column.name).collect(),
        })
    }

    /// Whether a warning of an INSERT is about a computed value, so that every dumped value was stored unchanged.
    pub fn is_about_computed(&self, code: u16, text: &str) -> bool {
        // `… for column 'c' at row 1`; the value before it may contain any text.
        let row = text.rsplit_once(" at row ");
        let row = row.filter(|(_, n)| n.bytes().all(|byte| byte.is_ascii_digit()));
        let about = row.map_or(text, |(about, _)| about);
        let named = |name: &str| {
            // MariaDB also writes `schema`.`table`.`column`.
            let quoted = [format!(" for column '{name}'"), format!(".`{name}`")];
            row.is_some() && quoted.iter().any(|quoted| about.ends_with(quoted))
        };
        let mut dumped = self.dumped.iter().filter(|column| named(&column.name));
        if let Some(column) = dumped.next() {
            // MariaDB names the column that is the argument of a function. The warnings of a text or number column
            // about a stored value have other codes.
            return code == INCORRECT && !is_time(column) && dumped.all(|other| !is_time(other));
        }
        OF_FUNCTIONS.contains(&code) || self.generated.iter().any(|name| named(name))
    }
}

fn is_time(column: &Column) -> bool {
    let kind = column.type_text.to_lowercase();
    ["date", "time", "year"]
        .iter()
        .any(|word| kind.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `s` varchar(20) DEFAULT NULL,\n  \
        `d` date DEFAULT NULL,\n  `it's` int GENERATED ALWAYS AS (cast(`s` as signed)) STORED\n) ENGINE=InnoDB";

    #[test]
    fn a_warning_about_a_dumped_value_is_never_ignored() {
        let of = |sql: &str| WarningFilter::of(&CreateTable::parse(sql.as_bytes()));
        let table = of(TABLE).unwrap();
        for (code, text) in [
            (1292, "Truncated incorrect INTEGER value: '12abc'"),
            (
                1292,
                "Truncated incorrect DOUBLE value: 'x' for column 'd' at row 1 and more'",
            ),
            (1265, "Data truncated for column 'it's' at row 7"),
            (1264, "Out of range value for column 'it's' at row 12"),
            (
                1292,
                "Incorrect datetime value: '2026-02-31' for column `b`.`t`.`s` at row 1",
            ),
            (
                3751,
                "Data truncated for functional index 'functional_index' at row 1",
            ),
            (1411, "Incorrect string value: '`a`' for function unhex"),
        ] {
            assert!(table.is_about_computed(code, text), "{text}");
        }
        for (code, text) in [
            (1265, "Data truncated for column 's' at row 7"),
            (1264, "Out of range value for column 'id' at row 12"),
            (
                1292,
                "Incorrect date value: '2026-02-31' for column 'd' at row 1",
            ),
            (
                1292,
                "Incorrect date value: '2026-02-31' for column `b`.`t`.`d` at row 1",
            ),
            (
                1366,
                "Incorrect integer value: ' for column 'it's' at row 1' for column 'id' at row 1",
            ),
            (1366, "Incorrect integer value: 'x'"),
            (1265, "Data truncated for column 'gone' at row 1"),
            (9999, "Something new"),
        ] {
            assert!(!table.is_about_computed(code, text), "{text}");
        }
        assert_eq!(
            of(&TABLE.replace("GENERATED ALWAYS AS (cast(`s` as signed)) STORED", "NULL")),
            None
        );
    }
}
