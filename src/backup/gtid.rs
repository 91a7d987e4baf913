//! The GTID set that a MySQL server had executed at the snapshot.
//!
//! mysqldump writes file and position, but the GTIDs only together with statements that would keep a restore out of
//! the binary log. They are therefore computed on a second connection, as soon as the dump has named its position: the
//! set executed by now, minus the GTIDs in the log between the position and its current end.
//!
//! The result is exact. The position was taken under the global read lock, so everything logged before it is in the
//! executed set. The end of the log is queried after the set, so everything executed later lies between the position
//! and the end.

use mysql_async::prelude::FromRow;

use crate::archive::manifest::Coordinates;
use crate::mysql::Connection;
use crate::mysql::compat::{BINARY_LOG_STATUS, LOG_REPLICA_UPDATES};
use crate::mysql::connect::{NamedRow, is_denied};
use crate::mysql::grants::Grants;
use crate::{Error, Result};

/// Maximum part of the log that is read, bytes; the dump waits during that time.
const MAX_LOG_BYTES: u64 = 256 << 20;

/// Maximum length of a set in an archive, bytes.
const MAX_SET_BYTES: usize = 1 << 20;

const NOT_LOGGED: &str =
    "the server does not log replicated transactions (log_replica_updates is off)";

/// A row of SHOW BINLOG EVENTS.
type Event = (String, u64, String, u64, u64, String);

/// The set executed at a position of the binary log, on one line; `None` if the server has no GTIDs.
///
/// # Errors
///
/// The reason why the set is unknown; no reason to fail a backup.
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
        return Err(unknown(NOT_LOGGED));
    }
    let (file, position, _) = status(connection).await?;
    let later = later(connection, at, (&file, position)).await?;
    let set = if later.is_empty() {
        executed
    } else {
        let sql = format!("SELECT GTID_SUBTRACT('{executed}', '{}')", later.join(","));
        connection.one(&sql).await?
    };
    let set: String = set.split_whitespace().collect();
    if set.len() > MAX_SET_BYTES {
        return Err(unknown(format!("the set has {} bytes", set.len())));
    }
    Ok(Some(set))
}

/// Why the set may turn out to be unknown; `None` if the server has no GTIDs.
pub(super) async fn obstacle(
    connection: &mut Connection,
    grants: &Grants,
) -> Result<Option<String>> {
    let mode = connection.variable(&["gtid_mode"]).await?;
    if mode.is_none_or(|mode| mode == "OFF") {
        return Ok(None);
    }
    let logged = connection.variable(LOG_REPLICA_UPDATES).await?;
    if logged.is_none_or(|value| value != "ON") {
        return Ok(Some(NOT_LOGGED.to_owned()));
    }
    let reads = grants.has_globally("REPLICATION SLAVE");
    Ok((!reads).then(|| {
        "the account lacks REPLICATION SLAVE, to read the GTIDs that other clients write".to_owned()
    }))
}

/// File and position of the end of the log, and the set of executed GTIDs.
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

/// The GTIDs in the log between `at` and `end`.
async fn later(
    connection: &mut Connection,
    at: &Coordinates,
    end: (&str, u64),
) -> Result<Vec<String>> {
    let mut later = Vec::new();
    if (at.file.as_str(), at.position) == end {
        return Ok(later);
    }
    for (file, from, to) in ranges(connection, at, end).await? {
        let sql = format!("SHOW BINLOG EVENTS IN '{file}' FROM {from}");
        let collect = |row| {
            let Ok((_, position, kind, _, _, info)) = Event::from_row_opt(row) else {
                return;
            };
            if position < to && kind.to_ascii_lowercase().starts_with("gtid") {
                later.extend(quoted(&info).map(str::to_owned));
            }
        };
        match connection.each_row(&sql, collect).await {
            Err(error) if is_denied(&error) => {
                let why = "other clients wrote, and the account lacks REPLICATION SLAVE to read their GTIDs";
                return Err(Error::source(why).hint("grant it REPLICATION SLAVE"));
            }
            read => read?,
        }
    }
    Ok(later)
}

/// The ranges of log files between two positions: file, start, end.
async fn ranges(
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
    let mut ranges: Vec<(String, u64, u64)> = Vec::new();
    for (name, size) in logs.skip_while(|(name, _)| *name != at.file) {
        let from = if ranges.is_empty() {
            at.position
        } else {
            FIRST_EVENT
        };
        let last = name == file;
        ranges.push((name, from, if last { position } else { size }));
        if last {
            break;
        }
    }
    let bytes: u64 = ranges
        .iter()
        .map(|(_, from, to)| to.saturating_sub(*from))
        .sum();
    match ranges.last() {
        Some((name, ..)) if name == file && bytes <= MAX_LOG_BYTES => Ok(ranges),
        Some((name, ..)) if name == file => Err(unknown(format!(
            "{bytes} bytes were logged before the query"
        ))),
        _ => Err(unknown(format!("the log {} no longer exists", at.file))),
    }
}

/// The error for an unknown set.
pub(super) fn unknown(why: impl Into<String>) -> Error {
    Error::source(why).hint("file and position are recorded")
}

/// The GTID in the text of an event: `SET @@SESSION.GTID_NEXT= 'uuid:7'`.
fn quoted(info: &str) -> Option<&str> {
    let gtid = info.split('\'').nth(1)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_".contains(&byte);
    (gtid.contains(':') && gtid.bytes().all(plain)).then_some(gtid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gtids_get_into_a_query() {
        let event = "SET @@SESSION.GTID_NEXT= 'c1768b12-e591-11f1-8cfe-02fc00000001:tag_1:7'";
        assert!(quoted(event).unwrap().ends_with("01:tag_1:7"));
        for info in ["", "SET @@SESSION.GTID_NEXT= 'ANONYMOUS'", "x 'a:1); DO'"] {
            assert_eq!(quoted(info), None, "{info}");
        }
    }

    #[test]
    fn the_status_of_the_log_is_parsed_for_all_versions() {
        // Recorded from documentation: SHOW BINARY LOG STATUS of 8.4, SHOW MASTER STATUS of 8.0 with a set on
        // several lines, and of a server without GTIDs.
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
