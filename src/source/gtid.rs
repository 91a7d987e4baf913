//! The GTIDs that a MySQL server had executed at the snapshot.
//!
//! mysqldump tells file and position, and the GTIDs only together with statements that keep a restore
//! out of the binary log. So they are asked for on a connection beside it, as soon as the dump says
//! where it stands: what the server has executed by now, less what its log holds from there to here.
//!
//! That is exact. The dump's position was taken under the global read lock, so all that is logged
//! before it is among the executed ones; and the end of the log is asked for after these, so all that
//! came later is behind the position, whether it is among them or not.

use mysql_async::prelude::FromRow;

use crate::archive::manifest::Coordinates;
use crate::server::Connection;
use crate::server::compat::{BINARY_LOG_STATUS, LOG_REPLICA_UPDATES};
use crate::server::connect::{NamedRow, is_denied};
use crate::{Error, Result};

/// The most of the log that is looked through, bytes: the dump waits meanwhile.
const MOST_LOG_BYTES: u64 = 256 << 20;

/// The longest set that goes into an archive, bytes.
const MOST_SET_BYTES: usize = 1 << 20;

/// A row of SHOW BINLOG EVENTS.
type Event = (String, u64, String, u64, u64, String);

/// The set at a place of the binary log, as the server writes it, on one line; `None` on a server that
/// has none. An error says why it cannot be known, and is nothing that a backup fails of.
pub(super) async fn executed(
    connection: &mut Connection,
    at: &Coordinates,
) -> Result<Option<String>> {
    let (_, _, executed) = status(connection).await?;
    if executed.is_empty() {
        return Ok(None);
    }
    let logged = connection.variable(LOG_REPLICA_UPDATES).await?;
    if logged.is_none_or(|value| value != "ON") {
        return Err(unknown(
            "the server does not log what it replicates (log_replica_updates is off)",
        ));
    }
    let (file, position, _) = status(connection).await?;
    let later = later(connection, at, (&file, position)).await?;
    let set: String = match later.is_empty() {
        true => executed,
        false => {
            let sql = format!("SELECT GTID_SUBTRACT('{executed}', '{}')", later.join(","));
            connection.one(&sql).await?
        }
    };
    let set: String = set.split_whitespace().collect();
    match set.len() <= MOST_SET_BYTES {
        true => Ok(Some(set)),
        false => Err(unknown(format!("the set has {} bytes", set.len()))),
    }
}

/// File and position of the log's end, and the set of executed GTIDs.
async fn status(connection: &mut Connection) -> Result<(String, u64, String)> {
    let rows = connection.first_understood(BINARY_LOG_STATUS).await?;
    Ok(rows.first().map(end_of_log).unwrap_or_default())
}

fn end_of_log(row: &NamedRow) -> (String, u64, String) {
    let text = |column: &str| row.get(column).unwrap_or_default();
    let position = text("Position").parse().unwrap_or_default();
    let set = text("Executed_Gtid_Set").split_whitespace().collect();
    (text("File").to_owned(), position, set)
}

/// The GTIDs of the log from `at` to `end`.
async fn later(
    connection: &mut Connection,
    at: &Coordinates,
    end: (&str, u64),
) -> Result<Vec<String>> {
    let mut later = Vec::new();
    if (at.file.as_str(), at.position) == end {
        return Ok(later);
    }
    for (file, from, to) in pieces(connection, at, end).await? {
        let sql = format!("SHOW BINLOG EVENTS IN '{file}' FROM {from}");
        let note = |row| {
            let Ok((_, position, kind, _, _, info)) = Event::from_row_opt(row) else {
                return;
            };
            if position < to && kind.to_ascii_lowercase().starts_with("gtid") {
                later.extend(quoted(&info).map(str::to_owned));
            }
        };
        match connection.each_row(&sql, note).await {
            Err(error) if is_denied(&error) => {
                let why =
                    "writes went on, and the account lacks REPLICATION SLAVE to tell them apart";
                return Err(Error::source(why).hint("grant it that"));
            }
            read => read?,
        }
    }
    Ok(later)
}

/// The files that hold what is between the two, each from where to where.
async fn pieces(
    connection: &mut Connection,
    at: &Coordinates,
    (file, position): (&str, u64),
) -> Result<Vec<(String, u64, u64)>> {
    const FIRST_EVENT: u64 = 4;
    let logs = connection.named_rows("SHOW BINARY LOGS").await?;
    let logs = logs.iter().filter_map(|log| {
        let size: u64 = log.get("File_size")?.parse().ok()?;
        Some((log.get("Log_name")?.to_owned(), size))
    });
    let mut pieces: Vec<(String, u64, u64)> = Vec::new();
    for (name, size) in logs.skip_while(|(name, _)| *name != at.file) {
        let from = match pieces.is_empty() {
            true => at.position,
            false => FIRST_EVENT,
        };
        let last = name == file;
        pieces.push((name, from, if last { position } else { size }));
        if last {
            break;
        }
    }
    let bytes: u64 = pieces
        .iter()
        .map(|(_, from, to)| to.saturating_sub(*from))
        .sum();
    match pieces.last() {
        Some((name, ..)) if name == file && bytes <= MOST_LOG_BYTES => Ok(pieces),
        Some((name, ..)) if name == file => Err(unknown(format!(
            "{bytes} bytes were logged before the server could be asked"
        ))),
        _ => Err(unknown(format!("the log {} is gone", at.file))),
    }
}

/// Why it cannot be known.
pub(super) fn unknown(why: impl Into<String>) -> Error {
    Error::source(why).hint("file and position are noted")
}

/// The GTID of an event: `SET @@SESSION.GTID_NEXT= 'uuid:7'`.
fn quoted(info: &str) -> Option<&str> {
    let gtid = info.split('\'').nth(1)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_".contains(&byte);
    (gtid.contains(':') && gtid.bytes().all(plain)).then_some(gtid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_gtid_does_not_get_into_a_query() {
        let event = "SET @@SESSION.GTID_NEXT= 'c1768b12-e591-11f1-8cfe-02fc00000001:tag_1:7'";
        assert!(quoted(event).unwrap().ends_with("01:tag_1:7"));
        for info in ["", "SET @@SESSION.GTID_NEXT= 'ANONYMOUS'", "x 'a:1); DO'"] {
            assert_eq!(quoted(info), None, "{info}");
        }
    }

    #[test]
    fn the_end_of_the_log_is_read_from_either_statement_of_any_version() {
        // Recorded from documentation: SHOW BINARY LOG STATUS of 8.4, SHOW MASTER STATUS of 8.0 with a set that
        // is wrapped, and of a server whose log is empty of GTIDs.
        let wrapped =
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:1-77";
        for (set, read) in [
            (
                Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"),
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5",
            ),
            (
                Some(wrapped),
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,4e11fa47-71ca-11e1-9e33-c80aa9429562:1-77",
            ),
            (Some(""), ""),
            (None, ""),
        ] {
            let row = NamedRow::of(&[
                ("File", Some("binlog.000002")),
                ("Position", Some("157")),
                ("Binlog_Do_DB", Some("")),
                ("Binlog_Ignore_DB", Some("")),
                ("Executed_Gtid_Set", set),
            ]);
            assert_eq!(end_of_log(&row), ("binlog.000002".into(), 157, read.into()));
        }
    }
}
