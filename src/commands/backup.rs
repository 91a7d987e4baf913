//! `drctl backup`: stream one consistent dump into the store, and commit it when it is whole.
//!
//! lock → preflight → dump → what moved? → accounts → read back → manifest → suspect?

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::codec::Encoder;
use crate::archive::index::Record;
use crate::archive::manifest::{self, ClientFacts, Coordinates, FileFacts, Manifest, Totals};
use crate::archive::restore_txt::restore_txt;
use crate::archive::write::commit;
use crate::archive::write::framer::StreamEnd;
use crate::archive::write::sequencer::Written;
use crate::archive::write::{ArchiveWriter, stream::StreamWriter};
use crate::baseline;
use crate::cli::{BackupArgs, Output};
use crate::commands::ended::ended;
use crate::commands::progress::Progress;
use crate::commands::{Run, awaited, text, tidy};
use crate::error::{Error, Outcome, Result};
use crate::leftovers::{self, Heartbeat};
use crate::notify::Task;
use crate::runs::RunRecord;
use crate::server::connect::wait_for;
use crate::source::{Dump, Preflight, Source};
use crate::sql::statement::ObjectKind;
use crate::store::keys::{BackupId, BackupObject};
use crate::suspect::{self, Facts};
use crate::target;

/// Bytes asked of mysqldump at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Makes a backup.
pub async fn run(run: &Run, args: BackupArgs) -> Result<()> {
    run.cancel.on_deadline(run.config.backup.deadline);
    let started_at = Timestamp::now();
    let mut labels = run.config.backup.labels.clone();
    labels.extend(args.labels);
    let made = async {
        // Before the source is asked anything: an unmounted disk is no place for hours of a dump.
        let init = async { Ok(run.store.init(args.init_store).await?) };
        run.cancel.unless(init).await?;
        make(run, &labels, started_at).await
    };
    let (manifest, error) = match made.await {
        Ok((manifest, unprotected)) => {
            let suspicion = suspicion(&manifest);
            let error = match (suspicion, unprotected) {
                (Some(suspicion), Some(unprotected)) => Some(suspicion.most_severe(unprotected)),
                (suspicion, unprotected) => suspicion.or(unprotected),
            };
            (Some(manifest), error)
        }
        Err(error) => (None, Some(error)),
    };
    let id = manifest.as_ref().map(|manifest| manifest.id);
    let outcome = Outcome::of(error.as_ref());
    let record = RunRecord::ends("backup", started_at, id, error.as_ref());
    ended(run, Task::Backup, outcome, record).await;
    if let Some(manifest) = &manifest {
        say(run, manifest)?;
    }
    error.map_or(Ok(()), Err)
}

/// Why a backup that is committed must not be trusted by itself.
fn suspicion(manifest: &Manifest) -> Option<Error> {
    if manifest.suspect.is_empty() {
        return None;
    }
    let (id, reasons) = (manifest.id, manifest.suspect.join("; "));
    let error = Error::refused(format!("backup {id} is committed but suspect: {reasons}"));
    Some(error.hint(format!(
        "look at the server; if this is right, drctl accept {id}"
    )))
}

fn say(run: &Run, manifest: &Manifest) -> Result<()> {
    match run.output {
        Output::Json => text::json(manifest),
        Output::Text => text::print(&format!(
            "{}  {} in {}, {} of SQL, {} stored, in {}\n",
            manifest.id,
            text::counted(manifest.totals.rows, "row"),
            text::counted(manifest.tables(), "table"),
            text::bytes(manifest.totals.raw_bytes),
            text::bytes(manifest.totals.stored_bytes),
            text::span(manifest.took()),
        )),
    }
}

/// The whole of it, tried again where the server's objects moved under the dump.
async fn make(
    run: &Run,
    labels: &BTreeMap<String, String>,
    started_at: Timestamp,
) -> Result<(Manifest, Option<Error>)> {
    manifest::check_labels(labels)?;
    let config = run.config.source()?;
    let options = &run.config.backup.source;
    run.cancel
        .unless(wait_for(&config, run.config.backup.connect))
        .await?;
    let mut source = run
        .cancel
        .unless(Source::connect(&config, &run.config.target, options))
        .await?;
    // Behind the lock: no other run of this target can be at work on what looks left over.
    let catalog = run.catalog().await?;
    leftovers::sweep(&run.store, &catalog).await;
    let baseline = run.cancel.unless(baseline::facts(&catalog)).await?;
    let mut attempt = 1;
    let manifest = loop {
        match attempt_once(run, &mut source, labels, started_at, &baseline).await {
            Err(error) if error.is_passing() && attempt < run.config.backup.attempts => {
                tracing::warn!(%error, attempt, "the server's objects moved under the dump: again");
                attempt += 1;
            }
            Err(error) if source.gives_up_coordinates(&error) => {
                tracing::warn!(%error, "again, without the binary log's coordinates");
            }
            ended => break ended?,
        }
    };
    source.close().await;
    Ok(manifest)
}

/// One dump from its beginning to its manifest. On any failure before the manifest was sent nothing
/// of it remains. Beside the manifest: why the committed backup is not protected as configured.
async fn attempt_once(
    run: &Run,
    source: &mut Source,
    labels: &BTreeMap<String, String>,
    started_at: Timestamp,
    baseline: &Option<Facts>,
) -> Result<(Manifest, Option<Error>)> {
    let preflight = run.cancel.unless(source.preflight()).await?;
    let place = BackupPlace {
        target: run.config.target.clone(),
        id: BackupId::generate(preflight.snapshot_at),
    };
    let heartbeat = run
        .cancel
        .unless(Heartbeat::begin(&run.store, &place))
        .await?;
    let prepared = match write(run, source, &place, preflight).await {
        Ok((preflight, written, accounts)) => {
            let prepare = async {
                // Not before: a run that was refused must not decide which server this is.
                let identity = source.identity();
                let target = &run.config.target;
                let bound = target::bind(&run.store, target, identity, started_at).await?;
                let facts = facts(&preflight, &written);
                let limit = run.config.backup.shrink_limit;
                let now = Timestamp::now();
                let suspect =
                    suspect::reasons(&facts, &bound.identity, baseline.as_ref(), limit, now);
                prepare(
                    run, source, &place, &preflight, written, accounts, labels, started_at, suspect,
                )
                .await
            };
            awaited(&run.cancel, || (), prepare).await
        }
        Err(error) => Err(error),
    };
    let ended = match prepared {
        // From here on nothing is deleted, and nothing cancels.
        Ok(manifest) => commit::put_manifest(&run.store, &place, &manifest)
            .await
            .map(|unprotected| (manifest, unprotected)),
        Err(error) => {
            tidy(commit::discard(&run.store, &place)).await;
            Err(error)
        }
    };
    tidy(heartbeat.end()).await;
    ended
}

/// The dump, judged and written: everything that is in the store before the documents beside it.
async fn write(
    run: &Run,
    source: &mut Source,
    place: &BackupPlace,
    mut preflight: Preflight,
) -> Result<(Preflight, Written, Option<Vec<u8>>)> {
    let begin = ArchiveWriter::begin(run.store.clone(), place.clone(), run.config.backup.write);
    let writer = run.cancel.unless(begin).await?;
    let dumped = run.cancel.unless(async {
        let end = dump(source, &mut preflight, &writer).await?;
        let seen = end.objects.iter().map(|(object, _)| object.clone());
        source.settle(&preflight, &seen.collect()).await?;
        Ok((end, source.accounts(&mut preflight).await?))
    });
    match dumped.await {
        Ok((end, accounts)) => {
            let more = records(&mut preflight);
            let stop = writer.stop();
            let finish = writer.finish(vec![end], more);
            let written = awaited(&run.cancel, || stop.cancel(), finish).await?;
            Ok((preflight, written, accounts))
        }
        Err(error) => {
            let cause = tidy(writer.abort()).await.flatten();
            // A store that fails stops the dump too; of the two, its failure is the cause.
            Err(match cause {
                Some(cause) if !run.cancel.is_cancelled() => cause,
                _ => error,
            })
        }
    }
}

/// Pumps one mysqldump into the archive. The end of its stream is reached only by a process that
/// ended well. The preflight learns where in the binary log it stands.
async fn dump(
    source: &Source,
    preflight: &mut Preflight,
    writer: &ArchiveWriter,
) -> Result<StreamEnd> {
    let progress = Progress::begin("backup", preflight.expected_bytes());
    let mut child = source.dump(preflight)?;
    let stream = writer.stream(0);
    let pumped = pump(source, &mut child, &stream, &progress).await;
    progress.end();
    preflight.coordinates = child.coordinates();
    preflight.warnings.extend(child.warning());
    match pumped {
        Ok(true) => {}
        Ok(false) => child.stop().await,
        Err(error) => {
            child.stop().await;
            return Err(error);
        }
    }
    let stopped = || Error::unexpected("the archive stopped before the dump did");
    stream.finish().await?.ok_or_else(stopped)
}

/// Whether the dump reached its end; not where the archive stopped taking it.
async fn pump(
    source: &Source,
    child: &mut Dump,
    stream: &StreamWriter,
    progress: &Progress,
) -> Result<bool> {
    let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
    loop {
        buffer.reserve(CHUNK_BYTES / 4);
        let count = child.read(&mut buffer).await?;
        if let Some(place) = child.place() {
            child.note_gtid(source.gtid(&place).await);
        }
        progress.add(count as u64);
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

/// What follows the ledger in the index: all that the manifest has the beginning of. A set of GTIDs that
/// is too long for it moves.
fn records(preflight: &mut Preflight) -> Vec<Record> {
    let gtid = preflight
        .coordinates
        .as_mut()
        .and_then(Coordinates::take_long_gtid);
    let inventory = preflight
        .inventory_records()
        .into_iter()
        .map(Record::Inventory);
    inventory
        .chain(preflight.warnings.iter().cloned().map(Record::Warning))
        .chain(preflight.lossy.iter().cloned().map(Record::Lossy))
        .chain(gtid.map(Record::Gtid))
        .collect()
}

fn facts(preflight: &Preflight, written: &Written) -> Facts {
    let objects = written.ledger.iter().map(|(object, _)| object);
    let tables = objects.filter(|object| object.kind == ObjectKind::Table);
    Facts {
        identity: preflight.identity.clone(),
        schemas: preflight.schemas.iter().cloned().collect(),
        tables: tables
            .map(|table| (table.schema.clone(), table.name.clone()))
            .collect(),
        rows: written.ledger.total_rows(),
        raw_bytes: written.raw_bytes,
        snapshot_at: preflight.snapshot_at,
    }
}

/// Reads back what was written and puts everything but the manifest beside it.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one manifest, named once"
)]
async fn prepare(
    run: &Run,
    source: &Source,
    place: &BackupPlace,
    preflight: &Preflight,
    written: Written,
    accounts: Option<Vec<u8>>,
    labels: &BTreeMap<String, String>,
    started_at: Timestamp,
    suspect: Vec<String>,
) -> Result<Manifest> {
    let config = &run.config.backup;
    let lacks = commit::read_back(
        &run.store,
        place,
        &written,
        config.write.codec,
        config.read_back,
    )
    .await?;
    let mut warnings = preflight.warnings.clone();
    for lack in lacks {
        tracing::warn!(lack, "the store did not give what was asked for");
        warnings.push(format!("the store did not give what was asked for: {lack}"));
    }
    let accounts = match accounts {
        Some(sql) => Some(put_accounts(run, place, &sql).await?),
        None => None,
    };
    let manifest = Manifest {
        format: manifest::FORMAT,
        drctl: env!("CARGO_PKG_VERSION").into(),
        id: place.id,
        target: place.target.clone(),
        snapshot_at: preflight.snapshot_at,
        started_at,
        finished_at: Timestamp::now(),
        server: preflight.server_facts(),
        coordinates: preflight.coordinates.clone(),
        client: ClientFacts {
            name: source.client().name(),
            version: source.client().banner.clone(),
            options: source.dump_options(preflight)?,
        },
        codec: config.write.codec,
        encryption: "none".into(),
        signature: "none".into(),
        segments: written
            .segments
            .iter()
            .map(|segment| segment.facts.clone())
            .collect(),
        index: written.index.facts.clone(),
        accounts,
        totals: Totals {
            raw_bytes: written.raw_bytes,
            stored_bytes: written.stored_bytes,
            frames: written.frames,
            streams: 1,
            rows: written.ledger.total_rows(),
            largest_statement_bytes: written.longest,
            objects: Totals::objects_of(&written.ledger),
        },
        lossy: preflight.lossy.clone(),
        warnings,
        labels: labels.clone(),
        suspect,
    };
    let readme = restore_txt(&manifest, &preflight.inventory_records());
    let readme =
        commit::put_file(&run.store, place, &BackupObject::Readme, readme.as_bytes()).await?;
    let files = manifest
        .segments
        .iter()
        .chain(&manifest.accounts)
        .chain([&manifest.index, &readme]);
    let sums = commit::sha256sums(files);
    commit::put_file(&run.store, place, &BackupObject::Sums, sums.as_bytes()).await?;
    // A manifest that does not fit is refused now, while everything can still be discarded.
    manifest.to_bytes()?;
    Ok(manifest)
}

async fn put_accounts(run: &Run, place: &BackupPlace, sql: &[u8]) -> Result<FileFacts> {
    let write = run.config.backup.write;
    let stored = Encoder::new(write.codec, write.level)
        .and_then(|mut encoder| encoder.encode(sql))
        .map_err(|e| Error::unexpected("cannot compress the accounts").because(e))?;
    let object = BackupObject::Accounts(write.codec.suffix());
    commit::put_file(&run.store, place, &object, &stored).await
}
