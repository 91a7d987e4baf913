//! Dumps with the native reader: the definitions by the dump program, the rows over several connections.
//!
//! The definitions of tables come first; triggers, routines, views and events are written after the rows, since a plain
//! client executes the archive from its beginning to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use crate::archive::index::SourceRecord;
use crate::archive::write::ArchiveWriter;
use crate::archive::write::rows::RowsWriter;
use crate::archive::write::stream::{Scanned, Stopped};
use crate::backup::dump::DumpPlan;
use crate::backup::preflight::Preflight;
use crate::backup::pump::{self, Dumped};
use crate::backup::source::{RETRY_WITHOUT_DDL, SCHEMA_CHANGED, Source};
use crate::backup::{Job, Meter};
use crate::mysql::{Flavour, Role};
use crate::reader::insert::{Ended, Inserts};
use crate::reader::read::{self, RowReader};
use crate::reader::source_columns::Wanted;
use crate::reader::tables::TableRows;
use crate::sql::source_digest::TableSums;
use crate::sql::statement::{ObjectId, ObjectKind, quote};
use crate::util::error::{Error, Result};

/// Stream of the definitions that precede the rows.
const DEFINITIONS: u32 = 0;

/// Stream of those that follow them.
const AFTER_ROWS: u32 = 1;

/// The first of the streams of rows.
const FIRST_ROWS: u32 = 2;

/// Dumps the definitions and the rows of `tables` into the archive. `None`: the archive has stopped, and returns the
/// cause.
pub(super) async fn dump(
    job: &Job<'_>,
    source: &Source,
    preflight: &Preflight,
    tables: &[TableRows],
    writer: &ArchiveWriter,
) -> Result<Option<(Scanned, Dumped)>> {
    let meter = (job.progress)(preflight.expected_bytes());
    let needs_place = preflight.plan.coordinates;
    let jobs = source.options.jobs;
    let opened = read::open(&source.config, &source.version, tables, jobs, needs_place);
    let opened = opened.await.map_err(changed)?;
    // Afterwards, since the values of sequences are among the definitions: rows must not have later ones.
    let defined = definitions(source, preflight, writer, meter.as_ref()).await?;
    let Some(scanned) = defined else {
        return Ok(None);
    };
    check_tables(tables, &scanned)?;
    let mut dumped = Dumped {
        reader: Some(opened.facts),
        warnings: preflight.warnings.clone(),
        ..Dumped::default()
    };
    if needs_place {
        let why = match &opened.coordinates {
            Some(_) => opened.warning,
            None => Some(format!(
                "binary log coordinates are not recorded: {NO_PLACE}"
            )),
        };
        if let Some(why) = why {
            if source.requires_coordinates() {
                return Err(pump::refused(why));
            }
            dumped.warnings.push(why);
        }
        dumped.coordinates = opened.coordinates;
    }
    let streams = opened.readers.len();
    let sums = Arc::new(Mutex::new(BTreeMap::new()));
    let mut readers = JoinSet::new();
    for (stream, reader) in (FIRST_ROWS..).zip(opened.readers) {
        let archiving = RowArchiver {
            reader,
            writer: writer.rows(stream, streams, scanned.end.session()),
            program: source.client.flavour,
            meter: meter.clone(),
            digests: preflight.digests.clone(),
            sums: sums.clone(),
        };
        readers.spawn(archiving.run());
    }
    let interrupted = |e| Error::unexpected("reading rows was interrupted").because(e);
    while let Some(ended) = readers.join_next().await {
        match ended.map_err(interrupted)? {
            Ok(()) => {}
            Err(Broken::Stopped) => return Ok(None),
            Err(Broken::Failed(error)) => return Err(changed(error)),
        }
    }
    let sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
    let records = sums.iter().map(|(table, sums)| {
        let wanted = preflight.digests.get(table);
        let columns = wanted.map_or(&[][..], |wanted| &wanted.columns);
        SourceRecord::new(table, columns, sums)
    });
    dumped.source = records.collect();
    Ok(Some((scanned, dumped)))
}

/// Names the cause of a failure to read a table that DDL changed.
fn changed(error: Error) -> Error {
    match error.is_retryable() {
        true => error.context(SCHEMA_CHANGED).hint(RETRY_WITHOUT_DDL),
        false => error,
    }
}

/// Why the coordinates of a snapshot are not known.
const NO_PLACE: &str = "the server does not show the place of a snapshot without a lock, and the global read lock was not \
     free or is not allowed (RELOAD)";

/// Checks that the tables that are read are those whose definitions were dumped later.
///
/// # Errors
///
/// Retryable: a table was created or dropped in between, and would have no rows, or no definition.
fn check_tables(tables: &[TableRows], scanned: &Scanned) -> Result<()> {
    let read: BTreeSet<&ObjectId> = tables.iter().map(|rows| &rows.table).collect();
    let defined = scanned.end.objects.iter().map(|(object, _)| object);
    let defined: BTreeSet<&ObjectId> = defined
        .filter(|object| object.kind == ObjectKind::Table)
        .collect();
    match read.symmetric_difference(&defined).next() {
        None => Ok(()),
        Some(table) => Err(Role::Source
            .error(format!("{SCHEMA_CHANGED}: {table} was created or dropped"))
            .hint("retry when no DDL runs, or set backup.ddl: block or source.reader: mysqldump")
            .retryable()),
    }
}

/// Dumps the definitions. `None`: the archive has stopped.
async fn definitions(
    source: &Source,
    preflight: &Preflight,
    writer: &ArchiveWriter,
    meter: &dyn Meter,
) -> Result<Option<Scanned>> {
    let plan = DumpPlan {
        coordinates: false,
        rows: false,
        ..preflight.plan.clone()
    };
    let child = source.dump(&plan, &preflight.line_ends)?;
    let stream = writer.definitions(DEFINITIONS, AFTER_ROWS);
    let ended = pump::to_end(source, child, stream, meter).await?;
    Ok(ended.map(|(scanned, _)| scanned))
}

/// One connection of the snapshot, whose rows become a stream of the archive.
struct RowArchiver {
    reader: RowReader,
    writer: RowsWriter,
    /// Flavour of the dump program, whose statements are written.
    program: Flavour,
    meter: Arc<dyn Meter>,
    /// The tables of which the server computes digests.
    digests: Arc<Wanted>,
    /// The digests so far.
    sums: Arc<Mutex<BTreeMap<ObjectId, TableSums>>>,
}

/// Why a connection has not read all its rows.
enum Broken {
    /// The archive has stopped.
    Stopped,
    Failed(Error),
}

impl From<Stopped> for Broken {
    fn from(_: Stopped) -> Self {
        Broken::Stopped
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Broken::Failed(error)
    }
}

impl RowArchiver {
    async fn run(mut self) -> std::result::Result<(), Broken> {
        while let Some((rows, tuples)) = self.reader.next_piece().await? {
            let name = quote(&rows.table.name);
            let mut inserts = Inserts::new(tuples, &name, rows.columns.as_deref(), self.program);
            self.writer.begin_table(&rows.table, rows.history).await?;
            while let Some(row) = self.reader.next_row().await? {
                if let Some(ended) = inserts.push(row, self.writer.sql())? {
                    self.end_statements(ended).await?;
                }
            }
            if let Some(ended) = inserts.finish(self.writer.sql()) {
                self.end_statements(ended).await?;
            }
            if let Some(wanted) = self.digests.get(&rows.table) {
                let more = self.reader.sums(wanted).await?;
                let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
                sums.entry(rows.table).or_default().add(&more);
            }
        }
        Ok(self.writer.finish().await?)
    }

    async fn end_statements(&mut self, ended: Ended) -> std::result::Result<(), Stopped> {
        self.meter.add(ended.bytes as u64);
        let Ended {
            rest, longest, sum, ..
        } = ended;
        self.writer.end_statements(rest, longest, sum).await
    }
}
