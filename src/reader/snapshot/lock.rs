//! Snapshots that begin while a lock keeps all writers from committing.
//!
//! A lock is held for at most [`MAX_HELD`], and waited for as long as the [`Patience`], since writers wait behind it.
//! MySQL's global read lock waits for running statements, and blocks others even after it timed out; so it is not tried
//! while a statement has been running for long.

use std::time::{Duration, Instant};

use crate::archive::manifest::{Coordinates, SnapshotMethod};
use crate::mysql::connect::{is_denied, server_code};
use crate::mysql::grants::Grants;
use crate::mysql::schemas::Own;
use crate::mysql::wire::RowConnection;
use crate::mysql::{Connection, ServerVersion};
use crate::reader::snapshot::{begin_all, proof};
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};

/// How long a lock may be held.
const MAX_HELD: Duration = Duration::from_secs(2);

/// Table locks are taken for at most this many tables: one statement lists them all.
const MAX_LOCKED_TABLES: usize = 10_000;

/// Snapshots that have begun.
pub(super) struct Begun {
    pub(super) method: SnapshotMethod,
    /// Their place in the binary log, where it is known.
    pub(super) place: Option<Coordinates>,
    /// How long the lock was held.
    pub(super) held: Duration,
}

impl Begun {
    pub(super) fn without_lock(method: SnapshotMethod, place: Option<Coordinates>) -> Begun {
        Begun {
            method,
            place,
            held: Duration::ZERO,
        }
    }
}

/// How long writers may be kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// For a faster backup.
    Little,
    /// For the place in the binary log, without which no restore to a later moment can begin.
    More,
}

impl Patience {
    /// How long a lock is waited for, seconds.
    fn wait_seconds(self) -> u32 {
        match self {
            Patience::Little => 1,
            Patience::More => 60,
        }
    }

    /// A statement that has been running for more seconds keeps MySQL's lock from being tried.
    fn long_statement_seconds(self) -> u32 {
        match self {
            Patience::Little => 0,
            Patience::More => 29,
        }
    }
}

/// Begins the snapshots under the global read lock; `None` if it is refused or not free.
pub(super) async fn globally(
    control: &mut Connection,
    server: &ServerVersion,
    readers: &mut [RowConnection],
    patience: Patience,
) -> Result<Option<Begun>> {
    if !server.is_mariadb() && has_long_statement(control, server, patience).await? {
        return Ok(None);
    }
    let lock = "FLUSH TABLES WITH READ LOCK";
    let begun = under(control, readers, lock, patience).await?;
    Ok(begun.map(|(place, held)| Begun {
        method: SnapshotMethod::GlobalLock,
        place,
        held,
    }))
}

/// Begins the snapshots under read locks on the tables; `None` if they are refused or not free.
pub(super) async fn tables(
    control: &mut Connection,
    readers: &mut [RowConnection],
    tables: &[ObjectId],
) -> Result<Option<Begun>> {
    if tables.is_empty() || tables.len() > MAX_LOCKED_TABLES {
        return Ok(None);
    }
    let locks = tables
        .iter()
        .map(|table| format!("{} READ", table.quoted()));
    let lock = format!("LOCK TABLES {}", locks.collect::<Vec<_>>().join(", "));
    let begun = under(control, readers, &lock, Patience::Little).await?;
    Ok(begun.map(|(_, held)| Begun {
        method: SnapshotMethod::TableLocks,
        // Other tables may be written: the end of the log is not that of the snapshot.
        place: None,
        held,
    }))
}

/// Whether a statement has been running for long, or the account would not see it.
async fn has_long_statement(
    control: &mut Connection,
    server: &ServerVersion,
    patience: Patience,
) -> Result<bool> {
    let own = Own::of(control, server).await?;
    let grants = Grants::read(control, server, own).await?;
    if !grants.has_globally("PROCESS") {
        return Ok(patience == Patience::Little);
    }
    let long = control.long_statement(patience.long_statement_seconds());
    Ok(long.await?.is_some())
}

/// Begins all snapshots under a lock; returns their place in the log, and how long it was held. `None` if the lock is
/// refused or not free.
async fn under(
    control: &mut Connection,
    readers: &mut [RowConnection],
    lock: &str,
    patience: Patience,
) -> Result<Option<(Option<Coordinates>, Duration)>> {
    let wait = patience.wait_seconds();
    control
        .run(&format!("SET SESSION lock_wait_timeout = {wait}"))
        .await?;
    match control.run(lock).await {
        Err(error) if is_denied(&error) || is_refused(&error) => {
            tracing::debug!(%error, "no lock for the snapshot");
            return Ok(None);
        }
        locked => locked?,
    }
    let held = Instant::now();
    let begun = tokio::time::timeout(MAX_HELD, async {
        begin_all(readers).await?;
        proof::end_of_log(control).await
    });
    // After an error the connection is dropped, which releases the lock.
    let Ok(begun) = begun.await else {
        let what = format!("the snapshot did not begin within {} s", MAX_HELD.as_secs());
        return Err(control
            .role()
            .error(what)
            .hint("run it again when the server is less busy, or set backup.jobs: 1"));
    };
    let place = begun?;
    control.run("UNLOCK TABLES").await?;
    Ok(Some((place, held.elapsed())))
}

/// Whether the lock was not free in time (1205), or the server does not give it to this account, as hosted servers do
/// (1045), in its state (1290), or for such a table.
fn is_refused(error: &Error) -> bool {
    matches!(server_code(error), Some(1045 | 1146 | 1205 | 1290 | 1356))
}
