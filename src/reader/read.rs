//! Reads pieces over the connections of a snapshot: each takes the next piece when it has read one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::archive::manifest::{Coordinates, ReaderFacts};
use crate::mysql::connect::server_code;
use crate::mysql::wire::RowConnection;
use crate::mysql::{ServerConfig, ServerVersion};
use crate::reader::insert::Tuples;
use crate::reader::pieces::{self, Piece};
use crate::reader::snapshot;
use crate::reader::source_columns::WantedOfTable;
use crate::reader::tables::TableRows;
use crate::sql::source_digest::{self, TableSums};
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};

/// A connection returns to this savepoint after each query on a table, which releases its metadata lock. Otherwise DDL
/// would wait for the end of the dump, and the dump program would wait forever behind that DDL.
const SAVEPOINT: &str = "SAVEPOINT drctl";
const RELEASE: &str = "ROLLBACK TO SAVEPOINT drctl";

/// Connections under one snapshot, which share the pieces of all tables.
#[derive(Debug)]
pub struct Readers {
    /// The connections.
    pub readers: Vec<RowReader>,
    /// The place of the snapshot in the binary log, where it is known.
    pub coordinates: Option<Coordinates>,
    /// Why its GTIDs are not known.
    pub warning: Option<String>,
    /// How the snapshot was taken.
    pub facts: ReaderFacts,
}

/// One connection.
#[derive(Debug)]
pub struct RowReader {
    connection: RowConnection,
    /// The pieces that no connection reads yet.
    queue: Arc<Mutex<VecDeque<Piece>>>,
    /// The table that is read, and its query.
    table: ObjectId,
    range: Option<String>,
    select: String,
}

/// Opens up to `jobs` connections under one snapshot, and divides the rows of the tables.
pub async fn open(
    config: &ServerConfig,
    version: &ServerVersion,
    tables: &[TableRows],
    jobs: usize,
    needs_place: bool,
) -> Result<Readers> {
    let jobs = match tables.iter().any(|rows| !pieces::is_small(rows)) {
        true => jobs,
        false => jobs.min(tables.len()),
    };
    let names: Vec<ObjectId> = tables.iter().map(|rows| rows.table.clone()).collect();
    let mut snapshot = snapshot::open(config, version, jobs, &names, needs_place).await?;
    let facts = snapshot.facts();
    let count = snapshot.connections.len();
    let long = Arc::new(Semaphore::new(1));
    for connection in &mut snapshot.connections {
        connection.take_turns(long.clone());
        connection.run(SAVEPOINT).await?;
    }
    let mut queue = VecDeque::new();
    if let Some(first) = snapshot.connections.first_mut() {
        queue = pieces::of(first, tables, count).await?;
        first.run(RELEASE).await?;
    }
    let queue = Arc::new(Mutex::new(queue));
    let mut readers = Vec::new();
    for connection in snapshot.connections {
        readers.push(RowReader {
            connection,
            queue: queue.clone(),
            table: ObjectId::table("", ""),
            range: None,
            select: String::new(),
        });
    }
    Ok(Readers {
        readers,
        coordinates: snapshot.coordinates,
        warning: snapshot.warning,
        facts,
    })
}

impl RowReader {
    /// Begins the next piece; its rows have to be read to their end. `None` if there is none left.
    pub async fn next_piece(&mut self) -> Result<Option<(TableRows, Tuples)>> {
        if !self.select.is_empty() {
            self.connection.run(RELEASE).await?;
        }
        let queue = self.queue.lock();
        let piece = queue.unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(piece) = piece else {
            return Ok(None);
        };
        self.select = piece.select();
        self.table = piece.rows.table.clone();
        self.range.clone_from(&piece.range);
        let columns = self.connection.query(&self.select).await;
        let columns = columns.map_err(|error| failed(error, &self.table))?;
        let unsupported =
            || Error::unexpected("a column has a type that the reader does not support");
        let tuples = Tuples::of(&columns).ok_or_else(unsupported);
        let tuples = tuples.map_err(|error| failed(error, &self.table))?;
        Ok(Some((piece.rows, tuples)))
    }

    /// The next row of the piece, as it was received.
    #[inline]
    pub async fn next_row(&mut self) -> Result<Option<&[u8]>> {
        let row = self.connection.next_row(&self.select).await;
        row.map_err(|error| failed(error, &self.table))
    }
}

impl RowReader {
    /// What the server computes of the piece, after its last row.
    pub async fn sums(&mut self, wanted: &WantedOfTable) -> Result<TableSums> {
        let (columns, by_primary_key) = (&wanted.columns, wanted.has_primary_key);
        let range = self.range.as_deref();
        let sql = source_digest::select(&self.table, columns, by_primary_key, range);
        let rows = self.connection.slow_rows(&sql).await;
        let rows = rows.map_err(|error| failed(error, &self.table))?;
        let sums = rows.first().and_then(|row| TableSums::parse(row));
        sums.ok_or_else(|| {
            let error = Error::unexpected("the server returned no digests");
            failed(error, &self.table)
        })
    }
}

/// A failure to read a table. Retryable if it was altered, dropped or renamed since the snapshot.
pub(super) fn failed(error: Error, table: &ObjectId) -> Error {
    const DDL: [u16; 4] = [1412, 1146, 1049, 1054];
    let is_ddl = server_code(&error).is_some_and(|code| DDL.contains(&code));
    let error = error.context(format!("cannot read {table}"));
    if is_ddl { error.retryable() } else { error }
}
