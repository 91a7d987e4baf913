//! Loads rows of one table with LOAD DATA LOCAL INFILE, which streams them from a frame to the server.
//!
//! About a third faster than INSERT: the server parses no statements. The file of LOCAL INFILE does not exist: the
//! connection answers one request, of whatever name, with the rows of the frame ([`Lane::load`]).
//!
//! LOCAL implies IGNORE, so a server stores what it can and counts the rest. LOAD DATA is believed only if it counted
//! every row and no warning; anything else is [`Loaded::Refused`], and the caller rolls back and executes the INSERTs,
//! whose own check reports an altered row.

use bytes::Bytes;

use crate::mysql::connect::server_code;
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::Lane;
use crate::sql::layout::{Field, Form, Layout};
use crate::sql::load_rows::{self, Separator};
use crate::sql::rows::columns_of_insert;
use crate::sql::statement::{ObjectId, quote};

/// Length of a packet of rows in bytes: the driver copies each.
const PACKET_BYTES: usize = 128 << 10;

/// The rows of consecutive INSERTs of one table, as one LOAD DATA.
#[derive(Debug)]
pub struct LoadData {
    /// The statement.
    sql: String,
    /// The rows, in packets.
    rows: Rows,
    /// Number of rows.
    count: u64,
}

/// Result of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// The server stored all rows unchanged.
    Loaded,
    /// It did not, or it is unknown; the reason.
    Refused(String),
}

/// What is sent to the server.
#[derive(Debug)]
enum Rows {
    /// Parts of the frame, as they are.
    AsWritten(Vec<Bytes>),
    /// INSERTs, each with the offset of its rows, which are rewritten with these forms.
    Rewritten(Vec<(Bytes, usize)>, Vec<Form>),
}

impl LoadData {
    /// `None` if LOAD DATA would not read the rows as the INSERTs do. `inserts`: statements with their numbers of rows.
    /// `charset`: the one in which their bytes are read.
    pub fn of(
        table: &ObjectId,
        layout: &Layout,
        inserts: &[(Bytes, u64)],
        charset: &str,
    ) -> Option<LoadData> {
        let (first, _) = inserts.first()?;
        let (columns, at) = columns_of_insert(first).ok()?;
        let fields = layout.listed(columns.as_deref())?;
        let forms: Vec<Form> = fields.iter().filter_map(|field| field.form).collect();
        let head = &first[..at];
        let mut separator = None;
        let mut places = Vec::with_capacity(inserts.len());
        for (sql, _) in inserts {
            if !sql.starts_with(b"INSERT INTO ") || sql.get(..at) != Some(head) {
                return None;
            }
            let rows = load_rows::check(sql, at, &forms)?;
            match (separator, rows.separator) {
                (Some(one), Some(other)) if one != other => return None,
                (None, other) => separator = other,
                _ => {}
            }
            places.push(rows.place);
        }
        let separator = separator.unwrap_or(Separator::Comma);
        let as_written = forms.iter().all(|form| *form == Form::Literal);
        let rows = if as_written {
            let mut parts = Vec::new();
            for ((sql, _), place) in inserts.iter().zip(places) {
                if !parts.is_empty() {
                    parts.push(Bytes::from_static(separator.bytes()));
                }
                parts.push(sql.slice(place));
            }
            Rows::AsWritten(parts)
        } else {
            let inserts = inserts.iter().map(|(sql, _)| (sql.clone(), at));
            Rows::Rewritten(inserts.collect(), forms)
        };
        let terminator = match (&rows, separator) {
            (Rows::Rewritten(..), _) => "\\n",
            (_, Separator::Comma) => "),(",
            (_, Separator::CommaLine) => "),\\n(",
        };
        Some(LoadData {
            sql: statement(table, &fields, charset, terminator),
            rows,
            count: inserts.iter().map(|(_, rows)| rows).sum(),
        })
    }

    /// Loads the rows within the current transaction of the lane.
    pub async fn run(self, lane: &mut Lane) -> Result<Loaded, Failure> {
        let done = match lane.load(&self.sql, self.rows.packets()).await {
            Ok(done) => done,
            // An INSERT fails as well, or loads what LOAD DATA does not accept.
            Err(Failure::Fatal(error)) if server_code(&error).is_some() => {
                return Ok(Loaded::Refused(error.to_string()));
            }
            Err(failure) => return Err(failure),
        };
        let rows = self.count;
        let counted = format!("Records: {rows}  Deleted: 0  Skipped: 0  Warnings: 0");
        if done.affected == rows && done.warnings == 0 && done.info == counted {
            return Ok(Loaded::Loaded);
        }
        Ok(Loaded::Refused(format!(
            "{} of {rows} rows ({})",
            done.affected, done.info
        )))
    }
}

impl Rows {
    /// The bytes in packets. Rewrites one statement at a time.
    fn packets(self) -> Box<dyn Iterator<Item = Bytes> + Send + Sync> {
        match self {
            Rows::AsWritten(parts) => Box::new(parts.into_iter().flat_map(packets)),
            Rows::Rewritten(inserts, forms) => {
                Box::new(inserts.into_iter().flat_map(move |(sql, at)| {
                    // It was checked, so it is never `None`; a missing row would be refused by its number.
                    let lines = load_rows::rewritten(&sql, at, &forms).unwrap_or_default();
                    packets(Bytes::from(lines))
                }))
            }
        }
    }
}

fn packets(bytes: Bytes) -> impl Iterator<Item = Bytes> {
    (0..bytes.len())
        .step_by(PACKET_BYTES)
        .map(move |from| bytes.slice(from..bytes.len().min(from + PACKET_BYTES)))
}

fn statement(table: &ObjectId, fields: &[&Field], charset: &str, terminator: &str) -> String {
    let mut columns = Vec::new();
    let mut decoded = Vec::new();
    for (n, field) in fields.iter().enumerate() {
        let name = quote(&field.name);
        let value = match field.form {
            Some(Form::Bytes) => format!("UNHEX(@v{n})"),
            Some(Form::Bits) => format!("CAST(CONV(@v{n}, 16, 10) AS UNSIGNED)"),
            _ => {
                columns.push(name);
                continue;
            }
        };
        columns.push(format!("@v{n}"));
        decoded.push(format!("{name} = {value}"));
    }
    let set = if decoded.is_empty() {
        String::new()
    } else {
        format!(" SET {}", decoded.join(", "))
    };
    format!(
        "LOAD DATA LOCAL INFILE 'rows' INTO TABLE {} CHARACTER SET {charset} FIELDS TERMINATED BY ',' \
         OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\' LINES TERMINATED BY '{terminator}' ({}){set}",
        table.quoted(),
        columns.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::create_table::CreateTable;

    const TABLE: &str =
        "CREATE TABLE `t` (\n  `a` int,\n  `b``c` blob,\n  `d` bit(9)\n) ENGINE=InnoDB";

    fn load(sql: &[&str]) -> Option<(String, Vec<u8>)> {
        let layout = Layout::of(&CreateTable::parse(TABLE.as_bytes()))?;
        let table = ObjectId::table("s", "t");
        let inserts: Vec<(Bytes, u64)> = sql
            .iter()
            .map(|sql| (Bytes::copy_from_slice(sql.as_bytes()), 1))
            .collect();
        let load = LoadData::of(&table, &layout, &inserts, "utf8mb4")?;
        Some((load.sql, load.rows.packets().collect::<Vec<_>>().concat()))
    }

    #[test]
    fn rows_of_several_statements_are_sent_as_they_are_written() {
        for (between, terminator) in [("),(", "),("), ("),\n(", "),\\n(")] {
            let sql = format!("INSERT INTO `t` (`a`) VALUES (1{between}2)");
            let one = "INSERT INTO `t` (`a`) VALUES (3)";
            let (statement, rows) = load(&[one, &sql, one]).unwrap();
            assert_eq!(rows, format!("3{between}1{between}2{between}3").as_bytes());
            assert_eq!(
                statement,
                format!(
                    "LOAD DATA LOCAL INFILE 'rows' INTO TABLE `s`.`t` CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' \
                     OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\' LINES TERMINATED BY '{terminator}' (`a`)"
                )
            );
        }
    }

    #[test]
    fn bytes_are_decoded_by_the_server() {
        let (statement, rows) =
            load(&["INSERT INTO `t` VALUES (1,0xAB,0x01),(2,'',NULL)"]).unwrap();
        assert_eq!(rows, b"1,AB,01\n2,'',NULL\n");
        assert!(
            statement.ends_with(
                "LINES TERMINATED BY '\\n' (`a`, @v1, @v2) \
                 SET `b``c` = UNHEX(@v1), `d` = CAST(CONV(@v2, 16, 10) AS UNSIGNED)"
            ),
            "{statement}"
        );
    }

    #[test]
    fn statements_that_differ_are_not_joined() {
        let one = "INSERT INTO `t` (`a`) VALUES (1),(2)";
        for other in [
            "INSERT INTO `t` (`d`) VALUES (0x01)",
            "INSERT INTO `t` (`a`) VALUES (1),\n(2)",
            "INSERT IGNORE INTO `t` (`a`) VALUES (1),(2)",
        ] {
            assert_eq!(load(&[one, other]), None, "{other}");
        }
        assert_eq!(load(&["INSERT IGNORE INTO `t` (`a`) VALUES (1)"]), None);
    }

    #[test]
    fn long_rows_are_sent_in_packets() {
        let long = Bytes::from(vec![b'a'; 2 * PACKET_BYTES + 1]);
        let lengths: Vec<usize> = packets(long).map(|packet| packet.len()).collect();
        assert_eq!(lengths, [PACKET_BYTES, PACKET_BYTES, 1]);
        assert_eq!(packets(Bytes::new()).count(), 0);
    }
}
