//! A backup of a source other than MySQL: stream → archive and ledger → commit.
//!
//! There is no server to hold a lock: the heartbeats of two runs find each other ([`lease::check_alone`]).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::codec::Form;
use crate::archive::index::Record;
use crate::archive::manifest::{self, ClientFacts, Manifest, ServerFacts};
use crate::archive::restore_txt;
use crate::archive::write::bytes::BytesWriter;
use crate::archive::write::commit::{self, Provenance};
use crate::archive::write::sequencer::Written;
use crate::archive::write::{ArchiveWriter, WriteOptions};
use crate::backup::anomaly::{self, Facts};
use crate::backup::{Committed, Job, Meter, commit_attempt, earlier};
use crate::catalog::{binding, lease};
use crate::entries::Ledger;
use crate::entries::record::Recorder;
use crate::kind::{About, Kind, Stream};
use crate::util::cancel::{awaited, tidy};
use crate::util::error::{Error, Outcome, Result};

/// Creates a backup; streams again if the source changed meanwhile.
///
/// # Errors
///
/// Nothing is committed, and the objects written are discarded, by a later run if need be.
pub async fn create(job: &Job<'_>, kind: &dyn Kind) -> Result<Committed> {
    manifest::check_labels(job.labels)?;
    let (catalog, baseline) = earlier(job).await?;
    let mut attempt = 1;
    loop {
        let about = job.cancel.unless(kind.about()).await?;
        let snapshot_at = Timestamp::now();
        let ended = commit_attempt(job, &catalog, snapshot_at, async |place| {
            let alone = lease::check_alone(&job.store, place);
            job.cancel.unless(alone).await?;
            let (ledger, warnings, written) = dump(job, kind, &about, place).await?;
            let taken = Taken {
                about: &about,
                snapshot_at,
                entries: ledger.counts().entries(),
                warnings,
                written,
            };
            let sealing = seal(job, kind, place, taken, baseline.as_ref());
            awaited(job.cancel, || (), sealing).await
        });
        match ended.await {
            Err(error) if error.is_retryable() && attempt < job.config.attempts => {
                tracing::warn!(%error, attempt, "the source changed while it was read; retrying");
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

/// What a stream left behind.
struct Taken<'a> {
    about: &'a About,
    snapshot_at: Timestamp,
    entries: u64,
    warnings: Vec<String>,
    written: Written,
}

/// Streams the source into the archive, which is complete afterwards but for its documents.
async fn dump(
    job: &Job<'_>,
    kind: &dyn Kind,
    about: &About,
    place: &BackupPlace,
) -> Result<(Ledger, Vec<String>, Written)> {
    let options = WriteOptions {
        form: Form::Bytes,
        ..job.config.write
    };
    let begin = ArchiveWriter::begin(job.store.clone(), place.clone(), options);
    let writer = job.cancel.unless(begin).await?;
    let format = kind.format();
    let streamed = job.cancel.unless(async {
        let recorder = Recorder::begin(&format)?;
        let meter = (job.progress)(about.bytes);
        let mut stream = kind.stream().await?;
        let pumped = pump(stream.as_mut(), writer.bytes(), &recorder, meter.as_ref()).await;
        let mut warnings = stream.warnings();
        if !matches!(pumped, Ok(Pumped::ToTheEnd)) {
            stream.stop().await;
        }
        if pumped? == Pumped::ArchiveStopped {
            return Err(Error::unexpected("the archive ended before the stream"));
        }
        // Also where the recorder has stopped: it has the cause.
        let ledger = recorder.finish(Outcome::Source).await?;
        if ledger.counts().entries() == 0 {
            tracing::warn!("the source is empty");
            warnings.push("the source is empty".to_owned());
        }
        Ok((ledger, warnings))
    });
    match streamed.await {
        Ok((ledger, warnings)) => {
            let mut more = vec![Record::Format(format)];
            more.extend(ledger.iter().cloned().map(Record::Entry));
            more.extend(warnings.iter().cloned().map(Record::Warning));
            let stop = writer.stop();
            let finish = writer.finish(Vec::new(), more);
            let written = awaited(job.cancel, || stop.cancel(), finish).await?;
            Ok((ledger, warnings, written))
        }
        Err(error) => {
            let cause = tidy(writer.abort()).await.flatten();
            // A failure of the store also stops the stream; then the store's failure is the cause.
            Err(match cause {
                Some(cause) if !job.cancel.is_cancelled() => cause,
                _ => error,
            })
        }
    }
}

/// How far a stream got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    ToTheEnd,
    RecorderStopped,
    ArchiveStopped,
}

/// Pumps a stream to its end, which only a complete one has.
async fn pump(
    stream: &mut dyn Stream,
    mut archive: BytesWriter,
    recorder: &Recorder,
    meter: &dyn Meter,
) -> Result<Pumped> {
    while let Some(chunk) = stream.next().await? {
        meter.add(chunk.len() as u64);
        if recorder.push(chunk.clone()).await.is_err() {
            return Ok(Pumped::RecorderStopped);
        }
        if archive.write(chunk).await.is_err() {
            return Ok(Pumped::ArchiveStopped);
        }
    }
    Ok(match archive.finish().await {
        Ok(()) => Pumped::ToTheEnd,
        Err(_) => Pumped::ArchiveStopped,
    })
}

/// Checks the written objects, writes the documents, and returns the manifest, which is not yet in the store.
async fn seal(
    job: &Job<'_>,
    kind: &dyn Kind,
    place: &BackupPlace,
    taken: Taken<'_>,
    baseline: Option<&Facts>,
) -> Result<Manifest> {
    let Taken { about, written, .. } = &taken;
    // Not earlier, so that a refused run never binds the target to a source.
    let identity = &about.identity;
    let bound = binding::bind(&job.store, job.target, identity, job.started_at).await?;
    let keys = job.store.keys();
    let facts = Facts {
        identity: identity.clone(),
        encrypted: keys.encrypts(),
        signed: keys.signing()?.is_some(),
        entries: taken.entries,
        rows: written.entries.lines,
        raw_bytes: written.raw_bytes,
        snapshot_at: taken.snapshot_at,
        ..Facts::default()
    };
    let (limit, now) = (job.config.shrink_limit, Timestamp::now());
    let none = BTreeSet::new();
    let suspect = anomaly::reasons(&facts, &bound.identity, &none, baseline, limit, now);
    let (codec, how_much) = (job.config.write.codec, job.config.read_back);
    let mut warnings = taken.warnings.clone();
    for setting in commit::read_back(&job.store, written, codec, how_much).await? {
        tracing::warn!(setting, "the store did not apply a setting");
        warnings.push(format!("the store did not apply a setting: {setting}"));
    }
    let (name, version, options) = about.program.clone();
    let provenance = Provenance {
        kind: Some(kind.name().to_owned()),
        snapshot_at: taken.snapshot_at,
        started_at: job.started_at,
        server: ServerFacts {
            flavour: kind.name().to_owned(),
            version: about.place.clone(),
            identity: identity.clone(),
            fingerprint: BTreeMap::new(),
            bytes: about.bytes,
        },
        coordinates: None,
        client: ClientFacts {
            name,
            version,
            options,
        },
        reader: None,
        lossy: Vec::new(),
        warnings,
        labels: job.labels.clone(),
        suspect,
    };
    let mut manifest = commit::manifest(keys, place, codec, written, None, provenance)?;
    let text = restore_txt::of_bytes(&manifest, &kind.instructions());
    commit::put_instructions(&job.store, place, &mut manifest, &text, false).await?;
    // Check the size of the manifest while everything can still be discarded.
    manifest.to_bytes()?;
    commit::put_signature(&job.store, place, &manifest).await?;
    Ok(manifest)
}
