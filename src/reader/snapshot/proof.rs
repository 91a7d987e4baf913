//! Snapshots that a server proves to be one, without any lock.
//!
//! MariaDB names the position in the binary log of each snapshot. A transaction is logged and becomes visible at once, so
//! equal positions are equal data, unless transactions become visible that are not logged (those that a replica applies
//! without logging them, and those that a filter leaves out), or later than they are logged (XA): such a server is not
//! asked.
//!
//! On MySQL a transaction owns its GTID from before it is logged until after it is committed. So if none is owned, and
//! the end of the log does not move while the snapshots begin, no transaction became visible meanwhile; nor if the server
//! has the same exceptions but XA, which the same holds for.
//!
//! What no log shows is not noticed: a session that writes with `sql_log_bin = 0` at this moment.

use crate::archive::manifest::Coordinates;
use crate::mysql::compat::{BINARY_LOG_STATUS, LOG_REPLICA_UPDATES};
use crate::mysql::connect::{NamedRow, is_denied, literal};
use crate::mysql::wire::RowConnection;
use crate::mysql::{Connection, ServerVersion};
use crate::reader::snapshot::begin_all;
use crate::util::error::Result;

/// Result of an attempt.
pub(super) enum Tried {
    /// The snapshots are one, at this place in the binary log.
    Proved(Coordinates),
    /// Transactions were committed meanwhile.
    Moved,
    /// This server cannot prove it.
    Impossible,
}

/// Begins the snapshots, and asks whether they are one.
pub(super) async fn attempt(
    control: &mut Connection,
    server: &ServerVersion,
    readers: &mut [RowConnection],
) -> Result<Tried> {
    match server.is_mariadb() {
        true => on_mariadb(control, readers).await,
        false => on_mysql(control, readers).await,
    }
}

/// Whether the server can prove that the snapshots of several connections are one.
pub(super) async fn is_possible(control: &mut Connection, server: &ServerVersion) -> Result<bool> {
    if server.is_mariadb() {
        return Ok(control.one("SELECT @@global.log_bin").await?
            && logs_all(control).await?
            && !uses_xa(control).await?);
    }
    Ok(end_of_log(control).await?.is_some() && logs_gtids(control).await?)
}

async fn on_mariadb(control: &mut Connection, readers: &mut [RowConnection]) -> Result<Tried> {
    begin_all(readers).await?;
    let mut places = Vec::new();
    for reader in readers.iter_mut() {
        match place_of_snapshot(reader).await? {
            Some(place) => places.push(place),
            None => return Ok(Tried::Impossible),
        }
    }
    // Afterwards, so that nothing can have begun meanwhile. One snapshot needs no proof, only its place.
    if uses_xa(control).await? || (readers.len() > 1 && !logs_all(control).await?) {
        return Ok(Tried::Impossible);
    }
    let is_one = places.windows(2).all(|two| two[0] == two[1]);
    let Some(place) = places.pop().filter(|_| is_one) else {
        return Ok(Tried::Moved);
    };
    let place = with_gtid(control, place).await?;
    // In a log that was just begun the server may not find them.
    let has_any: String = control.one("SELECT @@global.gtid_binlog_pos").await?;
    Ok(match place.gtid.is_some() || has_any.is_empty() {
        true => Tried::Proved(place),
        false => Tried::Moved,
    })
}

/// Adds MariaDB's GTIDs of a place in the log, where the server finds them.
pub(super) async fn with_gtid(control: &mut Connection, place: Coordinates) -> Result<Coordinates> {
    let (file, position) = (literal(&place.file), place.position);
    let gtid: Option<String> = control
        .one(&format!("SELECT BINLOG_GTID_POS({file}, {position})"))
        .await?;
    let gtid = gtid.filter(|gtid| !gtid.is_empty());
    Ok(Coordinates { gtid, ..place })
}

/// The place of MariaDB's snapshot on a connection; `None` without a binary log.
async fn place_of_snapshot(reader: &mut RowConnection) -> Result<Option<Coordinates>> {
    let rows = reader.rows("SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let value = |name: &str| {
        let row = rows.iter().find(|row| {
            let found = row.first().and_then(Option::as_deref);
            found.is_some_and(|found| found.eq_ignore_ascii_case(name))
        });
        row.and_then(|row| row.get(1).cloned().flatten())
    };
    let file = value("binlog_snapshot_file").filter(|file| !file.is_empty());
    let position = value("binlog_snapshot_position").and_then(|it| it.parse().ok());
    Ok(file.zip(position).map(|(file, position)| Coordinates {
        file,
        position,
        gtid: None,
        gtid_in_index: false,
    }))
}

/// Whether MariaDB logs all that becomes visible.
async fn logs_all(control: &mut Connection) -> Result<bool> {
    if end_of_log(control).await?.is_none() {
        return Ok(false);
    }
    if is_on(control.variable(LOG_REPLICA_UPDATES).await?) {
        return Ok(true);
    }
    let is_member = is_on(control.variable(&["wsrep_on"]).await?);
    Ok(!is_member && status(control, "Slaves_running").await? == 0)
}

/// Whether transactions of two phases were used: MariaDB logs their end before it is visible.
async fn uses_xa(control: &mut Connection) -> Result<bool> {
    let prepared = status(control, "Com_xa_prepare").await?;
    Ok(prepared + status(control, "Com_xa_commit").await? > 0)
}

/// A counter of the server; 0 if it has none of this name.
async fn status(control: &mut Connection, name: &str) -> Result<u64> {
    let sql = format!("SHOW GLOBAL STATUS WHERE variable_name = '{name}'");
    let row: Option<(String, String)> = control.row(&sql).await?;
    Ok(row.and_then(|(_, value)| value.parse().ok()).unwrap_or(0))
}

fn is_on(value: Option<String>) -> bool {
    value.is_some_and(|value| value == "ON")
}

async fn on_mysql(control: &mut Connection, readers: &mut [RowConnection]) -> Result<Tried> {
    let Some(before) = end_of_log(control).await? else {
        return Ok(Tried::Impossible);
    };
    if !logs_gtids(control).await? {
        return Ok(Tried::Impossible);
    }
    let owned: String = control.one("SELECT @@global.gtid_owned").await?;
    if !owned.is_empty() {
        return Ok(Tried::Moved);
    }
    begin_all(readers).await?;
    Ok(match end_of_log(control).await? {
        Some(after) if after == before => Tried::Proved(after),
        _ => Tried::Moved,
    })
}

/// Whether MySQL logs every transaction with a GTID. A replica may apply transactions without logging them.
async fn logs_gtids(control: &mut Connection) -> Result<bool> {
    let logs_all = is_on(control.variable(LOG_REPLICA_UPDATES).await?);
    Ok(logs_all && is_on(control.variable(&["gtid_mode"]).await?))
}

/// The end of the log, with MySQL's GTIDs; `None` if it is not readable, or if a filter leaves out transactions.
pub(super) async fn end_of_log(control: &mut Connection) -> Result<Option<Coordinates>> {
    let rows = match control.first_understood(BINARY_LOG_STATUS).await {
        Err(error) if is_denied(&error) => return Ok(None),
        rows => rows?,
    };
    Ok(rows.first().and_then(place))
}

fn place(row: &NamedRow) -> Option<Coordinates> {
    let text = |column: &str| row.get(column).unwrap_or_default();
    let filters = ["Binlog_Do_DB", "Binlog_Ignore_DB"];
    if filters.iter().any(|filter| !text(filter).is_empty()) {
        return None;
    }
    let gtid: String = text("Executed_Gtid_Set").split_whitespace().collect();
    Some(Coordinates {
        file: text("File").to_owned(),
        position: text("Position").parse().ok()?,
        gtid: (!gtid.is_empty()).then_some(gtid),
        gtid_in_index: false,
    })
}
