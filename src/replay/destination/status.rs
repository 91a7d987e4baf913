//! What a replica says of itself: whether it runs, and what stopped it.

use crate::Result;
use crate::mysql::compat::{ALL_CHANNELS, REPLICA_STATUS};
use crate::mysql::connect::NamedRow;
use crate::mysql::replication::REPLAY_CHANNEL;
use crate::mysql::{Connection, Flavour};

/// The state of one thread of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// It works.
    Runs,
    /// It tries to reach its source.
    Connects,
    /// It has stopped.
    Stopped,
}

/// The state of the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The thread that reads from the source.
    pub reader: Thread,
    /// What the reader complains of, with the server's number; empty for nothing.
    pub reader_error: String,
    /// The threads that apply.
    pub applier: Thread,
    /// What the applier complains of, with the server's number; empty for nothing.
    pub applier_error: String,
    /// Whether everything received is applied.
    pub is_idle: bool,
    /// A filter of the channel, as `name = value`.
    pub filter: Option<String>,
    /// How many transactions were applied since the replica was started, where the server counts them (MariaDB).
    pub applied: Option<u64>,
}

/// Asks a server; `None` where it has no channel of a replay.
pub async fn ask(connection: &mut Connection, flavour: Flavour) -> Result<Option<Status>> {
    let statements = match flavour {
        Flavour::MySql => REPLICA_STATUS,
        Flavour::MariaDb => ALL_CHANNELS,
    };
    let rows = connection.first_understood(statements).await?;
    let ours = |row: &&NamedRow| {
        let name = row.any(&["Channel_Name", "Connection_name"]);
        name.is_some_and(|name| name.eq_ignore_ascii_case(REPLAY_CHANNEL))
    };
    let Some(row) = rows.iter().find(ours) else {
        return Ok(None);
    };
    let mut status = status(row);
    if flavour == Flavour::MySql && !status.applier_error.is_empty() {
        // The coordinator's words point to these.
        let sql = format!(
            "SELECT CONCAT(last_error_number, ': ', last_error_message)
             FROM performance_schema.replication_applier_status_by_worker
             WHERE channel_name = '{REPLAY_CHANNEL}' AND last_error_number <> 0
             ORDER BY last_error_timestamp"
        );
        let workers: Option<Vec<String>> = connection.rows_if_allowed(&sql).await?;
        if let Some(first) = workers.unwrap_or_default().into_iter().next() {
            status.applier_error = first;
        }
    }
    Ok(Some(status))
}

fn status(row: &NamedRow) -> Status {
    let text = |names: &[&str]| row.any(names).unwrap_or_default().to_owned();
    let thread = |names: &[&str]| match text(names).as_str() {
        "Yes" => Thread::Runs,
        "Connecting" | "Preparing" => Thread::Connects,
        _ => Thread::Stopped,
    };
    let error = |number: &str, message: &str| match text(&[number]).as_str() {
        "" | "0" => String::new(),
        number => format!("{number}: {}", text(&[message])),
    };
    let state = text(&[
        "Replica_SQL_Running_State",
        "Slave_SQL_Running_State",
        "Slave_SQL_State",
    ]);
    let groups = [
        "Slave_DDL_Groups",
        "Slave_Non_Transactional_Groups",
        "Slave_Transactional_Groups",
    ];
    let counts: Vec<u64> = groups
        .iter()
        .filter_map(|name| row.get(name)?.parse().ok())
        .collect();
    let filters = [
        "Replicate_Do_DB",
        "Replicate_Ignore_DB",
        "Replicate_Do_Table",
        "Replicate_Ignore_Table",
        "Replicate_Wild_Do_Table",
        "Replicate_Wild_Ignore_Table",
        "Replicate_Rewrite_DB",
    ];
    let filter = filters.iter().find_map(|name| {
        let value = row.get(name).filter(|value| !value.is_empty())?;
        Some(format!("{name} = {value}"))
    });
    // A transaction that conflicts with one beside it is applied again, and counted again.
    let retried = row
        .get("Retried_transactions")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0u64);
    Status {
        filter,
        reader: thread(&["Replica_IO_Running", "Slave_IO_Running"]),
        reader_error: error("Last_IO_Errno", "Last_IO_Error"),
        applier: thread(&["Replica_SQL_Running", "Slave_SQL_Running"]),
        applier_error: error("Last_SQL_Errno", "Last_SQL_Error"),
        is_idle: state.contains("has read all relay log"),
        applied: (counts.len() == groups.len())
            .then(|| counts.iter().sum::<u64>().saturating_sub(retried)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_read_in_either_flavours_words() {
        // Recorded from MySQL 9.7 and MariaDB 10.11.
        let mysql = NamedRow::of(&[
            ("Replica_IO_Running", Some("Connecting")),
            ("Replica_SQL_Running", Some("Yes")),
            ("Last_IO_Errno", Some("2003")),
            ("Last_IO_Error", Some("Error connecting")),
            ("Last_SQL_Errno", Some("0")),
            ("Last_SQL_Error", Some("")),
            (
                "Replica_SQL_Running_State",
                Some("Replica has read all relay log; waiting for more updates"),
            ),
        ]);
        let read = status(&mysql);
        assert_eq!(
            (read.reader, read.applier),
            (Thread::Connects, Thread::Runs)
        );
        assert_eq!(read.reader_error, "2003: Error connecting");
        assert_eq!(
            (read.applier_error.as_str(), read.is_idle, read.applied),
            ("", true, None)
        );
        let mariadb = NamedRow::of(&[
            ("Slave_IO_Running", Some("Yes")),
            ("Slave_SQL_Running", Some("No")),
            ("Last_SQL_Errno", Some("1146")),
            ("Last_SQL_Error", Some("Error 'Table 'a.b' doesn't exist'")),
            ("Slave_DDL_Groups", Some("2")),
            ("Slave_Non_Transactional_Groups", Some("0")),
            ("Slave_Transactional_Groups", Some("40")),
        ]);
        let read = status(&mariadb);
        assert_eq!((read.reader, read.applier), (Thread::Runs, Thread::Stopped));
        assert!(read.applier_error.starts_with("1146: Error"));
        assert_eq!((read.is_idle, read.applied), (false, Some(42)));
    }
}
