//! Several connections whose transactions see the same data.
//!
//! Without a lock where the server can prove it ([`proof`]). If it cannot, or writers leave no moment for it, a lock is
//! held while all snapshots begin ([`lock`]); else one connection is used, whose snapshot is one by itself.

pub(crate) mod lock;
pub(crate) mod proof;

use std::time::{Duration, Instant};

use crate::archive::manifest::{Coordinates, ReaderFacts, SnapshotMethod};
use crate::mysql::connect::{literal, server_code};
use crate::mysql::grants::Grants;
use crate::mysql::wire::RowConnection;
use crate::mysql::{Connection, ServerConfig, ServerVersion, connect};
use crate::sql::statement::ObjectId;
use crate::util::error::Result;
use lock::{Begun, Patience};
use proof::Tried;

/// Attempts without a lock: on a busy server every tenth succeeds.
const ATTEMPTS: u32 = 50;

/// Time limit of all attempts without a lock.
const ATTEMPTS_LIMIT: Duration = Duration::from_secs(5);

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT";

/// Connections with one snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// The connections; at least one.
    pub connections: Vec<RowConnection>,
    /// The place of the snapshot in the binary log, where it is known.
    pub coordinates: Option<Coordinates>,
    /// Why its GTIDs are not known.
    pub warning: Option<String>,
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
/// `tables`: those that are read, for locks on them. `needs_place`: a snapshot whose place in the binary log is known is
/// worth waiting for a lock, and better on one connection than one without a place on several.
pub async fn open(
    config: &ServerConfig,
    server: &ServerVersion,
    jobs: usize,
    tables: &[ObjectId],
    needs_place: bool,
) -> Result<Snapshot> {
    let mut control = connect(config).await?;
    let mut readers = readers(config, jobs).await?;
    check_same_server(&mut control, &mut readers).await?;
    let wanted = Wanted {
        server,
        tables,
        needs_place,
    };
    let (begun, attempts) = begin(&mut control, &wanted, &mut readers).await?;
    let Begun {
        method,
        place,
        held,
    } = begun;
    if method == SnapshotMethod::OneConnection {
        readers.truncate(1);
    }
    let (coordinates, warning) = match place {
        // MySQL names them with the place.
        Some(place) if server.is_mariadb() && place.gtid.is_none() => {
            let found = proof::with_gtid(&mut control, place.clone()).await;
            let warning = found.as_ref().err().map(|error| {
                format!(
                    "the GTIDs of the snapshot are not recorded: {}",
                    error.what()
                )
            });
            (Some(found.unwrap_or(place)), warning)
        }
        place => (place, None),
    };
    control.close().await;
    tracing::debug!(?method, ?held, attempts, jobs = readers.len(), "snapshot");
    Ok(Snapshot {
        connections: readers,
        coordinates,
        warning,
        method,
        held,
        attempts,
    })
}

/// How a snapshot on several connections would be known to be one, unless the server is busy; nothing is locked.
pub async fn expected(
    control: &mut Connection,
    server: &ServerVersion,
    grants: &Grants,
    schemas: &[String],
) -> Result<SnapshotMethod> {
    let any = |names: &[&str]| names.iter().any(|name| grants.has_globally(name));
    let mut on_each = schemas.iter();
    Ok(if proof::is_possible(control, server).await? {
        SnapshotMethod::Verified
    } else if any(&["RELOAD", "FLUSH_TABLES"]) && (server.is_mariadb() || any(&["PROCESS"])) {
        SnapshotMethod::GlobalLock
    } else if on_each.all(|schema| grants.has_on_schema("LOCK TABLES", schema)) {
        SnapshotMethod::TableLocks
    } else {
        SnapshotMethod::OneConnection
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

/// Checks that all connections are to one server: an address may lead to several.
async fn check_same_server(control: &mut Connection, readers: &mut [RowConnection]) -> Result<()> {
    let id: u64 = control.one("SELECT CONNECTION_ID()").await?;
    let name = literal(&format!("drctl.reader.{id}"));
    control.run(&format!("DO GET_LOCK({name}, 0)")).await?;
    let seen_by = format!("SELECT IS_USED_LOCK({name})");
    for reader in readers {
        let seen = reader.rows(&seen_by).await?;
        let holder = seen.first().and_then(|row| row.first()).cloned().flatten();
        if holder != Some(id.to_string()) {
            let what = "connections to this address reach different servers";
            return Err(control
                .role()
                .error(what)
                .hint("use the address of one server, or set source.reader: mysqldump"));
        }
    }
    control.run(&format!("DO RELEASE_LOCK({name})")).await
}

/// What is to be read.
struct Wanted<'a> {
    server: &'a ServerVersion,
    tables: &'a [ObjectId],
    needs_place: bool,
}

/// Begins the snapshots; also returns the number of attempts without a lock.
async fn begin(
    control: &mut Connection,
    wanted: &Wanted<'_>,
    readers: &mut [RowConnection],
) -> Result<(Begun, u32)> {
    let server = wanted.server;
    let several = readers.len() > 1;
    let (proved, mut attempts) = without_lock(control, server, readers).await?;
    if let Some(place) = proved {
        let method = match several {
            true => SnapshotMethod::Verified,
            false => SnapshotMethod::OneConnection,
        };
        return Ok((Begun::without_lock(method, Some(place)), attempts));
    }
    if several || wanted.needs_place {
        let begun = lock::globally(control, server, readers, Patience::Little).await?;
        if let Some(begun) = begun {
            return Ok((begun, attempts));
        }
    }
    if wanted.needs_place {
        if several {
            // On a busy server, too, the snapshot of one connection has a place.
            let (proved, more) = without_lock(control, server, &mut readers[..1]).await?;
            attempts += more;
            if let Some(place) = proved {
                let method = SnapshotMethod::OneConnection;
                return Ok((Begun::without_lock(method, Some(place)), attempts));
            }
        }
        let begun = lock::globally(control, server, readers, Patience::More).await?;
        if let Some(begun) = begun {
            return Ok((begun, attempts));
        }
    }
    if several && let Some(begun) = lock::tables(control, readers, wanted.tables).await? {
        return Ok((begun, attempts));
    }
    begin_all(&mut readers[..1]).await?;
    let method = SnapshotMethod::OneConnection;
    Ok((Begun::without_lock(method, None), attempts))
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
        match proof::attempt(control, server, readers).await? {
            Tried::Proved(place) => return Ok((Some(place), attempt)),
            Tried::Impossible => return Ok((None, attempt)),
            Tried::Moved if started.elapsed() > ATTEMPTS_LIMIT => return Ok((None, attempt)),
            Tried::Moved => {}
        }
    }
    Ok((None, ATTEMPTS))
}
