//! Dumps with the native reader: the definitions by the dump program, the rows over several connections.
//!
//! The definitions of tables come first; triggers, routines, views and events are written after the rows, since a plain
//! client executes the archive from its beginning to its end.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::archive::write::ArchiveWriter;
use crate::archive::write::rows::RowsWriter;
use crate::archive::write::stream::{Scanned, Stopped};
use crate::backup::dump::DumpPlan;
use crate::backup::preflight::Preflight;
use crate::backup::pump::{self, Dumped};
use crate::backup::source::Source;
use crate::backup::{Job, Meter};
use crate::mysql::Flavour;
use crate::reader::insert::{Ended, Inserts};
use crate::reader::read::{self, RowReader};
use crate::reader::tables::TableRows;
use crate::sql::statement::quote;
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
    let jobs = source.options.jobs.min(tables.len().max(1));
    let opened = read::open(&source.config, &source.version, tables, jobs);
    let definitions = definitions(source, preflight, writer, meter.as_ref());
    let (scanned, opened) = tokio::try_join!(definitions, opened)?;
    let Some(scanned) = scanned else {
        return Ok(None);
    };
    let mut dumped = Dumped {
        reader: Some(opened.facts),
        warnings: preflight.warnings.clone(),
        ..Dumped::default()
    };
    if preflight.plan.coordinates {
        dumped.coordinates = opened.coordinates;
        if dumped.coordinates.is_none() {
            let why = "no lock showed the place of the snapshot";
            if source.requires_coordinates() {
                return Err(pump::refused(why.to_owned()));
            }
            let warning = format!("binary log coordinates are not recorded: {why}");
            dumped.warnings.push(warning);
        }
    }
    let mut readers = JoinSet::new();
    for (stream, reader) in (FIRST_ROWS..).zip(opened.readers) {
        let archiving = RowArchiver {
            reader,
            writer: writer.rows(stream, scanned.end.session()),
            program: source.client.flavour,
            meter: meter.clone(),
        };
        readers.spawn(archiving.run());
    }
    let interrupted = |e| Error::unexpected("reading rows was interrupted").because(e);
    while let Some(ended) = readers.join_next().await {
        if let Err(Stopped) = ended.map_err(interrupted)?? {
            return Ok(None);
        }
    }
    Ok(Some((scanned, dumped)))
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
}

impl RowArchiver {
    async fn run(mut self) -> Result<std::result::Result<(), Stopped>> {
        while let Some((rows, tuples)) = self.reader.next_piece().await? {
            let name = quote(&rows.table.name);
            let mut inserts = Inserts::new(tuples, &name, rows.columns.as_deref(), self.program);
            let begun = self.writer.begin_table(&rows.table, rows.history).await;
            if begun.is_err() {
                return Ok(Err(Stopped));
            }
            while let Some(row) = self.reader.next_row().await? {
                if let Some(ended) = inserts.push(row, self.writer.sql())?
                    && self.end_statement(ended).await.is_err()
                {
                    return Ok(Err(Stopped));
                }
            }
            if let Some(ended) = inserts.finish(self.writer.sql())
                && self.end_statement(ended).await.is_err()
            {
                return Ok(Err(Stopped));
            }
        }
        Ok(self.writer.finish().await)
    }

    async fn end_statement(&mut self, ended: Ended) -> std::result::Result<(), Stopped> {
        self.meter.add(ended.bytes as u64);
        self.writer.end_statement(ended.rest, ended.sum).await
    }
}
