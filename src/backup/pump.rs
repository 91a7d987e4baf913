//! Streams the dump into the archive.

use bytes::{Bytes, BytesMut};

use crate::archive::BackupPlace;
use crate::archive::index::{Record, SourceRecord};
use crate::archive::manifest::{Coordinates, ReaderFacts};
use crate::archive::write::ArchiveWriter;
use crate::archive::write::sequencer::Written;
use crate::archive::write::stream::{Scanned, Stopped, StreamWriter};
use crate::backup::dump::Dump;
use crate::backup::native;
use crate::backup::preflight::Preflight;
use crate::backup::source::Source;
use crate::backup::{Job, Meter};
use crate::sql::ledger::Ledger;
use crate::util::cancel::{awaited, tidy};
use crate::util::error::{Error, Result};

/// Size of the read buffer, bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Facts known at the end of the dump, beyond the preflight.
#[derive(Debug, Default)]
pub(super) struct Dumped {
    /// Binary log coordinates of the snapshot; a GTID set too long for the manifest is only in the index.
    pub coordinates: Option<Coordinates>,
    /// Warnings of preflight and dump, a line each.
    pub warnings: Vec<String>,
    /// CREATE USER and GRANT statements, where accounts are backed up.
    pub accounts: Option<Vec<u8>>,
    /// How the rows were read, if not by the dump program.
    pub reader: Option<ReaderFacts>,
    /// What the server computed of tables.
    pub source: Vec<SourceRecord>,
}

/// Dumps the server into the archive and verifies that it did not change during the dump. Afterwards, the archive is
/// complete but for its documents.
pub(super) async fn dump(
    job: &Job<'_>,
    source: &mut Source,
    place: &BackupPlace,
    preflight: &Preflight,
) -> Result<(Dumped, Written)> {
    if let Some(why) = preflight.by_program() {
        tracing::info!(why, "the dump program reads the rows");
    }
    let begin = ArchiveWriter::begin(job.store.clone(), place.clone(), job.config.write);
    let writer = job.cancel.unless(begin).await?;
    let dumping = job.cancel.unless(async {
        let stopped = || Error::unexpected("the archive ended before the dump");
        let streamed = match &preflight.rows {
            Some(tables) => native::dump(job, source, preflight, tables, &writer).await?,
            None => stream(job, source, preflight, &writer).await?,
        };
        let (Scanned { end, after_rows }, mut dumped) = streamed.ok_or_else(stopped)?;
        let followed = writer.after_rows(after_rows).await;
        followed.map_err(|Stopped| stopped())?;
        let seen = end.objects.iter().map(|(object, _)| object.clone());
        source
            .verify_unchanged(&preflight.inventory, &seen.collect())
            .await?;
        if preflight.accounts {
            let (accounts, warning) = source.accounts().await?;
            dumped.accounts = accounts;
            dumped.warnings.extend(warning);
        }
        Ok((end, dumped))
    });
    match dumping.await {
        Ok((end, mut dumped)) => {
            let more = records(preflight, &mut dumped);
            let counted = std::mem::take(&mut dumped.source);
            let stop = writer.stop();
            let finish = writer.finish(vec![end], more);
            let written = awaited(job.cancel, || stop.cancel(), finish).await?;
            check_rows(&counted, &written.ledger)?;
            Ok((dumped, written))
        }
        Err(error) => {
            let cause = tidy(writer.abort()).await.flatten();
            // A failure of the store also stops the dump; then the store's failure is the cause.
            Err(match cause {
                Some(cause) if !job.cancel.is_cancelled() => cause,
                _ => error,
            })
        }
    }
}

/// Writes the dump of the dump program as one stream of the archive. `None`: the archive has stopped.
async fn stream(
    job: &Job<'_>,
    source: &Source,
    preflight: &Preflight,
    writer: &ArchiveWriter,
) -> Result<Option<(Scanned, Dumped)>> {
    let meter = (job.progress)(preflight.expected_bytes());
    let child = source.dump(&preflight.plan, &preflight.line_ends)?;
    let ended = to_end(source, child, writer.stream(0), meter.as_ref()).await?;
    let Some((scanned, place)) = ended else {
        return Ok(None);
    };
    let mut dumped = Dumped {
        coordinates: place.coordinates,
        warnings: preflight.warnings.clone(),
        ..Dumped::default()
    };
    dumped.warnings.extend(place.warning);
    if dumped.coordinates.is_none() && source.requires_coordinates() {
        return Err(refused("the dump does not name them".to_owned()));
    }
    Ok(Some((scanned, dumped)))
}

/// Pumps a dump to its end. Succeeds only if the dump program does; `None` if the archive stopped.
pub(super) async fn to_end(
    source: &Source,
    mut child: Dump,
    stream: StreamWriter,
    meter: &dyn Meter,
) -> Result<Option<(Scanned, NamedPlace)>> {
    let pumped = pump(source, &mut child, &stream, meter).await;
    let place = NamedPlace {
        coordinates: child.coordinates(),
        warning: child.warning(),
    };
    match pumped {
        Ok(true) => {}
        Ok(false) => child.stop().await,
        Err(error) => {
            child.stop().await;
            return Err(error);
        }
    }
    let scanned = stream.finish().await?;
    Ok(scanned.map(|scanned| (scanned, place)))
}

/// The place in the binary log that a dump named.
pub(super) struct NamedPlace {
    coordinates: Option<Coordinates>,
    /// Why its GTIDs are not known.
    warning: Option<String>,
}

/// Whether the dump reached its end; `false` if the archive stopped accepting it.
async fn pump(
    source: &Source,
    child: &mut Dump,
    stream: &StreamWriter,
    meter: &dyn Meter,
) -> Result<bool> {
    let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
    loop {
        buffer.reserve(CHUNK_BYTES / 4);
        let count = child.read(&mut buffer).await?;
        if let Some(position) = child.new_position() {
            let gtid = source.gtid(&position).await;
            if let Some(why) = gtid.as_ref().err()
                && source.requires_coordinates()
            {
                return Err(refused(format!(
                    "the GTIDs of the snapshot are unknown: {why}"
                )));
            }
            child.set_gtid(gtid);
        }
        meter.add(count as u64);
        if count == 0 || buffer.len() >= CHUNK_BYTES / 4 {
            let chunk: Bytes = buffer.split().freeze();
            if stream.write(chunk).await.is_err() {
                return Ok(false);
            }
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// The refusal of a backup whose coordinates are required.
pub(super) fn refused(why: String) -> Error {
    Error::refused(format!("cannot record binary log coordinates: {why}"))
        .hint("run it again when less is written; or set backup.coordinates: auto, for a backup from which no restore to a later moment can begin")
}

/// Compares the numbers of rows in the dump with those that the server counted in the same snapshot.
fn check_rows(counted: &[SourceRecord], ledger: &Ledger) -> Result<()> {
    for record in counted {
        let table = record.table();
        let rows = ledger.get(&table).and_then(|entry| entry.rows);
        let rows = rows.unwrap_or_default().rows;
        if rows != record.rows {
            return Err(Error::source(format!(
                "the dump has {rows} rows of {table}, but the server counts {} in the same snapshot",
                record.rows
            ))
            .hint("set source.reader: mysqldump, and report this; if it remains, run CHECK TABLE"));
        }
    }
    Ok(())
}

/// The records that follow the ledger in the index: complete lists, of which the manifest has only the start. A GTID
/// set too long for the manifest is moved there.
fn records(preflight: &Preflight, dumped: &mut Dumped) -> Vec<Record> {
    let coordinates = dumped.coordinates.as_mut();
    let gtid = coordinates.and_then(Coordinates::take_long_gtid);
    let inventory = preflight.inventory_records().into_iter();
    inventory
        .map(Record::Inventory)
        .chain(dumped.warnings.iter().cloned().map(Record::Warning))
        .chain(preflight.lossy.iter().cloned().map(Record::Lossy))
        .chain(gtid.map(Record::Gtid))
        .chain(dumped.source.iter().cloned().map(Record::Source))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::ledger::RowSum;
    use crate::sql::source_digest::TableSums;
    use crate::sql::statement::ObjectId;

    #[test]
    fn a_dump_with_another_number_of_rows_than_the_server_counts_is_refused() {
        let table = ObjectId::table("shop", "t");
        let mut ledger = Ledger::default();
        let rows = RowSum {
            rows: 2,
            ..RowSum::default()
        };
        ledger.add_rows(&table, rows);
        let counted = |rows| {
            let sums = TableSums {
                rows,
                columns: Vec::new(),
            };
            [SourceRecord::new(&table, &[], &sums)]
        };
        assert!(check_rows(&counted(2), &ledger).is_ok());
        assert!(check_rows(&counted(3), &ledger).is_err());
        assert!(check_rows(&counted(1), &Ledger::default()).is_err());
    }
}
