//! Several connections whose transactions see the same data.
//!
//! Without a lock where the server can prove it ([`SnapshotMethod::Verified`]): MariaDB names the position of each snapshot in
//! the binary log; on MySQL no transaction that owns a GTID was in progress before the first snapshot, and none was
//! logged until the last. If writers leave no such moment, the global read lock is held while all snapshots begin, then
//! locks on the tables; else one connection is used, whose snapshot is one by itself.
//!
//! What no log shows is not noticed without a lock: a session that writes with `sql_log_bin = 0` at this moment.
//!
//! A lock is never waited for longer than [`LOCK_WAIT_SECONDS`], since writers wait behind it, and is held for at most
//! [`MAX_HELD`]. MySQL's global read lock waits for running statements, and blocks others even after it timed out; so it
//! is not tried while a statement has been running for long.

use std::time::{Duration, Instant};

use crate::archive::manifest::{Coordinates, ReaderFacts, SnapshotMethod};
use crate::mysql::compat::{BINARY_LOG_STATUS, LOG_REPLICA_UPDATES};
use crate::mysql::connect::{NamedRow, is_denied, literal, server_code};
use crate::mysql::wire::RowConnection;
use crate::mysql::{Connection, ServerConfig, ServerVersion, connect};
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};

/// Attempts without a lock: on a busy server every tenth succeeds.
const ATTEMPTS: u32 = 50;

/// Time limit of all attempts without a lock.
const ATTEMPTS_LIMIT: Duration = Duration::from_secs(5);

/// How long a lock is waited for.
const LOCK_WAIT_SECONDS: u32 = 1;

/// How long a lock may be held.
const MAX_HELD: Duration = Duration::from_secs(2);

/// Statements that have been running for longer keep MySQL's global read lock from being tried.
const LONG_STATEMENT_SECONDS: u32 = 1;

/// Table locks are taken for at most this many tables: one statement lists them all.
const MAX_LOCKED_TABLES: usize = 10_000;

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT";

/// Connections with one snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// The connections; at least one.
    pub connections: Vec<RowConnection>,
    /// The place of the snapshot in the binary log, where it is known.
    pub coordinates: Option<Coordinates>,
    /// How it is known that they see the same data.
    pub method: SnapshotMethod,
    /// How long writers were locked out.
    pub held: Duration,
    /// How often it was tried without a lock.
    pub attempts: u32,
}

impl Snapshot {
    /// The facts in the manifest.
    pub fn facts(&self) -> ReaderFacts {
        ReaderFacts {
            jobs: u32::try_from(self.connections.len()).unwrap_or(u32::MAX),
            snapshot: self.method,
            attempts: self.attempts,
            held_us: u64::try_from(self.held.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Opens up to `jobs` connections under one snapshot; fewer if the server does not accept as many.
///
/// `tables`: those that are read, for locks on them.
pub async fn open(
    config: &ServerConfig,
    server: &ServerVersion,
    jobs: usize,
    tables: &[ObjectId],
) -> Result<Snapshot> {
    let mut control = connect(config).await?;
    let mut readers = readers(config, jobs).await?;
    let (method, place, held, attempts) = begin(&mut control, server, &mut readers, tables).await?;
    if method == SnapshotMethod::OneConnection {
        readers.truncate(1);
    }
    let coordinates = match place {
        Some(place) => Some(with_gtid(&mut control, server, place).await?),
        None => None,
    };
    control.close().await;
    tracing::debug!(?method, ?held, attempts, jobs = readers.len(), "snapshot");
    Ok(Snapshot {
        connections: readers,
        coordinates,
        method,
        held,
        attempts,
    })
}

/// Opens the connections, whose sessions are ready for their snapshots.
async fn readers(config: &ServerConfig, jobs: usize) -> Result<Vec<RowConnection>> {
    const TOO_MANY: [u16; 3] = [1040, 1203, 1226];
    let mut readers = Vec::new();
    while readers.len() < jobs.max(1) {
        match RowConnection::open(config).await {
            Ok(mut reader) => {
                reader
                    .run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    .await?;
                readers.push(reader);
            }
            Err(error)
                if !readers.is_empty()
                    && server_code(&error).is_some_and(|code| TOO_MANY.contains(&code)) =>
            {
                tracing::warn!(%error, jobs = readers.len(), "reading over fewer connections");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(readers)
}

type Opened = (SnapshotMethod, Option<Coordinates>, Duration, u32);

async fn begin(
    control: &mut Connection,
    server: &ServerVersion,
    readers: &mut [RowConnection],
    tables: &[ObjectId],
) -> Result<Opened> {
    let (proved, attempts) = without_lock(control, server, readers).await?;
    if let Some(place) = proved {
        return Ok((
            SnapshotMethod::Verified,
            Some(place),
            Duration::ZERO,
            attempts,
        ));
    }
    if readers.len() > 1 {
        if may_lock_globally(control, server).await?
            && let Some((place, held)) =
                under(control, readers, "FLUSH TABLES WITH READ LOCK").await?
        {
            return Ok((SnapshotMethod::GlobalLock, place, held, attempts));
        }
        if let Some(locks) = lock_tables(tables)
            && let Some((_, held)) = under(control, readers, &locks).await?
        {
            // Other tables may be written: the end of the log is not that of the snapshot.
            return Ok((SnapshotMethod::TableLocks, None, held, attempts));
        }
    }
    begin_all(&mut readers[..1]).await?;
    Ok((
        SnapshotMethod::OneConnection,
        None,
        Duration::ZERO,
        attempts,
    ))
}

/// Begins all transactions at once.
async fn begin_all(readers: &mut [RowConnection]) -> Result<()> {
    for reader in readers.iter_mut() {
        reader.begin(BEGIN).await?;
    }
    for reader in readers.iter_mut() {
        reader.end(BEGIN).await?;
    }
    Ok(())
}

/// Tries to begin snapshots that the server proves to be one; returns its place, and the number of attempts.
async fn without_lock(
    control: &mut Connection,
    server: &ServerVersion,
    readers: &mut [RowConnection],
) -> Result<(Option<Coordinates>, u32)> {
    let started = Instant::now();
    for attempt in 1..=ATTEMPTS {
        let tried = match server.is_mariadb() {
            true => try_on_mariadb(readers).await?,
            false => try_on_mysql(control, readers).await?,
        };
        match tried {
            Tried::Proved(place) => return Ok((Some(place), attempt)),
            Tried::Impossible => return Ok((None, attempt)),
            Tried::Moved if started.elapsed() > ATTEMPTS_LIMIT => return Ok((None, attempt)),
            Tried::Moved => {}
        }
    }
    Ok((None, ATTEMPTS))
}

enum Tried {
    Proved(Coordinates),
    /// Transactions were committed meanwhile.
    Moved,
    /// This server cannot prove it.
    Impossible,
}

/// MariaDB notes the position in the binary log of each snapshot, in the order in which transactions become visible.
async fn try_on_mariadb(readers: &mut [RowConnection]) -> Result<Tried> {
    const SHOW: &str = "SHOW STATUS LIKE 'binlog_snapshot_%'";
    begin_all(readers).await?;
    let mut places = Vec::new();
    for reader in readers.iter_mut() {
        let rows = reader.rows(SHOW).await?;
        let value = |name: &str| {
            let row = rows.iter().find(|row| {
                let found = row.first().and_then(Option::as_deref);
                found.is_some_and(|found| found.eq_ignore_ascii_case(name))
            });
            row.and_then(|row| row.get(1).cloned().flatten())
        };
        let file = value("binlog_snapshot_file").unwrap_or_default();
        let position = value("binlog_snapshot_position").and_then(|it| it.parse().ok());
        match position {
            Some(position) if !file.is_empty() => places.push(Coordinates {
                file,
                position,
                gtid: None,
                gtid_in_index: false,
            }),
            _ => return Ok(Tried::Impossible),
        }
    }
    let is_one = places.windows(2).all(|two| two[0] == two[1]);
    Ok(match places.pop() {
        Some(place) if is_one => Tried::Proved(place),
        _ => Tried::Moved,
    })
}

/// A transaction owns its GTID from before it is logged until after it is committed. So if none is owned, and the end of
/// the log does not move while the snapshots begin, no transaction became visible meanwhile.
async fn try_on_mysql(control: &mut Connection, readers: &mut [RowConnection]) -> Result<Tried> {
    let Some(before) = end_of_log(control).await? else {
        return Ok(Tried::Impossible);
    };
    // A replica may apply transactions without logging them.
    let logs_all = control.variable(LOG_REPLICA_UPDATES).await?;
    let (mode, owned): (String, String) = control
        .one("SELECT @@global.gtid_mode, @@global.gtid_owned")
        .await?;
    if mode != "ON" || logs_all.is_none_or(|value| value != "ON") {
        return Ok(Tried::Impossible);
    }
    if !owned.is_empty() {
        return Ok(Tried::Moved);
    }
    begin_all(readers).await?;
    Ok(match end_of_log(control).await? {
        Some(after) if after == before => Tried::Proved(after),
        _ => Tried::Moved,
    })
}

/// The end of MySQL's log; `None` if it is not readable, or if not all transactions are logged.
async fn end_of_log(control: &mut Connection) -> Result<Option<Coordinates>> {
    let rows = match control.first_understood(BINARY_LOG_STATUS).await {
        Err(error) if is_denied(&error) => return Ok(None),
        rows => rows?,
    };
    Ok(rows.first().and_then(logged_place))
}

fn logged_place(row: &NamedRow) -> Option<Coordinates> {
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

/// Whether the global read lock would be had at once: on MySQL it waits for the statements that are running, which the
/// account has to see.
async fn may_lock_globally(control: &mut Connection, server: &ServerVersion) -> Result<bool> {
    if server.is_mariadb() {
        return Ok(true);
    }
    let grants: Vec<String> = control.rows("SHOW GRANTS").await?;
    if !grants.iter().any(|grant| sees_all_statements(grant)) {
        return Ok(false);
    }
    let long: u64 = control
        .one(&format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE command IN ('Query', 'Execute') \
             AND time >= {LONG_STATEMENT_SECONDS} AND id <> CONNECTION_ID()"
        ))
        .await?;
    Ok(long == 0)
}

fn sees_all_statements(grant: &str) -> bool {
    let Some((privileges, on)) = grant.split_once(" ON ") else {
        return false;
    };
    on.starts_with("*.*")
        && (privileges.contains("PROCESS") || privileges.contains("ALL PRIVILEGES"))
}

/// Begins all snapshots under a lock; returns their place in the log, and how long it was held. `None` if the lock is
/// refused or not free.
async fn under(
    control: &mut Connection,
    readers: &mut [RowConnection],
    lock: &str,
) -> Result<Option<(Option<Coordinates>, Duration)>> {
    control
        .run(&format!(
            "SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}"
        ))
        .await?;
    match control.run(lock).await {
        Err(error) if is_denied(&error) || is_timeout(&error) || is_refused(&error) => {
            tracing::debug!(%error, "no lock for the snapshot");
            return Ok(None);
        }
        locked => locked?,
    }
    let held = Instant::now();
    let begun = tokio::time::timeout(MAX_HELD, async {
        begin_all(readers).await?;
        end_of_log(control).await
    });
    // After an error the connection is dropped, which releases the lock.
    let Ok(begun) = begun.await else {
        let what = format!("the snapshot did not begin within {} s", MAX_HELD.as_secs());
        return Err(control.role().error(what));
    };
    let place = begun?;
    control.run("UNLOCK TABLES").await?;
    Ok(Some((place, held.elapsed())))
}

fn is_timeout(error: &Error) -> bool {
    server_code(error) == Some(1205)
}

/// Whether the server does not lock for this account, as hosted servers do (1045), or for such a table.
fn is_refused(error: &Error) -> bool {
    matches!(server_code(error), Some(1045 | 1146 | 1205 | 1290 | 1356))
}

fn lock_tables(tables: &[ObjectId]) -> Option<String> {
    if tables.is_empty() || tables.len() > MAX_LOCKED_TABLES {
        return None;
    }
    let locks: Vec<String> = tables
        .iter()
        .map(|table| format!("{} READ", table.quoted()))
        .collect();
    Some(format!("LOCK TABLES {}", locks.join(", ")))
}

/// Adds MariaDB's GTIDs of a place in the log; MySQL named them with the place.
async fn with_gtid(
    control: &mut Connection,
    server: &ServerVersion,
    place: Coordinates,
) -> Result<Coordinates> {
    if !server.is_mariadb() {
        return Ok(place);
    }
    let gtid: Option<String> = control
        .one(&format!(
            "SELECT BINLOG_GTID_POS({}, {})",
            literal(&place.file),
            place.position
        ))
        .await?;
    Ok(Coordinates {
        gtid: gtid.filter(|gtid| !gtid.is_empty()),
        ..place
    })
}
