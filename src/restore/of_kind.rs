//! A restore of a source other than MySQL: check → restore → compare.
//!
//! The whole archive is read and compared with its own ledger before the first byte is restored: a program that reads
//! from a pipe cannot tell a damaged backup from a complete one.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use crate::archive::read::Archive;
use crate::archive::segment_digests::SegmentDigests;
use crate::entries::record::Recorder;
use crate::entries::{Counts, Difference, Ledger};
use crate::kind::{Kind, Proof, Sink};
use crate::restore::report::{Progress, Stage};
use crate::restore::state::marker::Pass;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::counted;

/// Frames that are read ahead.
const READ_AHEAD: usize = 2;

/// What was restored, and what of it was compared.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// The stages so far.
    pub stages: Vec<Stage>,
    /// What the ledger of the backup adds up to.
    pub counts: Counts,
    /// Whether the restored data were compared, and how.
    pub compared: Compared,
}

impl Restored {
    fn stage(&mut self, name: &'static str, since: Instant) {
        self.stages.push(Stage {
            name,
            seconds: since.elapsed().as_secs_f64(),
        });
    }
}

/// Whether and how restored data were compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Compared {
    /// They were not.
    #[default]
    Not,
    /// Streamed again, their ledger is that of the backup; or these entries differ.
    Ledger(Vec<Difference>),
    /// A program of this name found them right.
    Program(String),
}

/// Reads the whole archive, and compares its stream with its ledger.
pub async fn check(
    archive: &Archive,
    progress: &dyn Progress,
    cancel: &Cancel,
    restored: &mut Restored,
) -> Result<()> {
    let since = Instant::now();
    let recorder = recorder(archive)?;
    archive.check_documents().await?;
    let stopped = each_chunk(archive, progress, cancel, async |chunk| {
        // A recorder that has stopped has the cause.
        Ok(recorder.push(chunk).await.is_ok())
    });
    stopped.await?;
    let found = cancel.unless(recorder.finish(Outcome::Archive)).await?;
    restored.stage("check", since);
    let expected = &archive.contents().entries;
    restored.counts = expected.counts().clone();
    match expected.differences(&found).first() {
        None => Ok(()),
        Some(first) => Err(Error::archive(format!(
            "the stream of the archive differs from its ledger: {} (ledger: {}, stream: {})",
            first.name, first.expected, first.found
        ))),
    }
}

/// Checks the archive, restores it into `into`, and compares the result.
///
/// # Errors
/// `Verification`: the restored data differ; they are left where they are.
pub async fn restore(
    archive: &Archive,
    kind: &dyn Kind,
    into: &str,
    progress: &dyn Progress,
    cancel: &Cancel,
    restored: &mut Restored,
) -> Result<()> {
    archive.manifest().check_kind(kind.name())?;
    check(archive, progress, cancel, restored).await?;
    let since = Instant::now();
    let mut sink = kind.restore(into).await?;
    match cancel
        .unless(load(archive, sink.as_mut(), progress, cancel))
        .await
    {
        Ok(()) => cancel.unless(sink.finish()).await?,
        Err(error) => {
            sink.stop().await;
            return Err(error);
        }
    }
    restored.stage("load", since);
    let since = Instant::now();
    restored.compared = cancel.unless(compare(archive, kind, into)).await?;
    restored.stage("compare", since);
    refuse_differences(restored)?;
    cancel.unless(kind.complete(into)).await
}

async fn load(
    archive: &Archive,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<()> {
    each_chunk(archive, progress, cancel, async |chunk| {
        sink.write(chunk).await?;
        Ok(true)
    })
    .await
}

async fn compare(archive: &Archive, kind: &dyn Kind, into: &str) -> Result<Compared> {
    let mut stream = match kind.prove(into).await? {
        Proof::None => return Ok(Compared::Not),
        Proof::Program(name) => return Ok(Compared::Program(name)),
        Proof::Stream(stream) => stream,
    };
    let recorder = recorder(archive)?;
    let streamed: Result<()> = async {
        while let Some(chunk) = stream.next().await? {
            if recorder.push(chunk).await.is_err() {
                break;
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = streamed {
        stream.stop().await;
        return Err(error);
    }
    let found: Ledger = recorder.finish(Outcome::Verification).await?;
    Ok(Compared::Ledger(
        archive.contents().entries.differences(&found),
    ))
}

fn refuse_differences(restored: &Restored) -> Result<()> {
    let Compared::Ledger(differences) = &restored.compared else {
        return Ok(());
    };
    let Some(first) = differences.first() else {
        return Ok(());
    };
    Err(Error::verification(format!(
        "{} of the restored data differ from the backup; first: {} (backup: {}, restored: {})",
        counted(differences.len() as u64, "object"),
        first.name,
        first.expected,
        first.found
    ))
    .hint("find out what changed the data after they were restored, or which property the destination cannot keep"))
}

/// A recorder for the ledger of an archive.
fn recorder(archive: &Archive) -> Result<Recorder> {
    let format = archive.contents().format.as_ref();
    let format = format.ok_or_else(|| {
        Error::archive("the index of the backup does not say what its entries are")
    })?;
    Recorder::begin(format)
}

/// Hands the stream of an archive on, in order, each frame once it is verified; until `take` returns false.
async fn each_chunk(
    archive: &Archive,
    progress: &dyn Progress,
    cancel: &Cancel,
    mut take: impl AsyncFnMut(Bytes) -> Result<bool>,
) -> Result<()> {
    progress.begin(Pass::Data, Some(archive.manifest().totals.raw_bytes));
    let (mut frames, mut digests) = (archive.frames()?, SegmentDigests::default());
    let mut in_flight = VecDeque::new();
    loop {
        while in_flight.len() < READ_AHEAD
            && let Some(frame) = frames.read()?
        {
            let (archive, turn) = (archive.clone(), digests.turn());
            let fetch = async move { archive.fetch_in_turn(&frame, turn).await };
            in_flight.push_back(AbortOnDropHandle::new(tokio::spawn(fetch)));
        }
        let Some(next) = in_flight.pop_front() else {
            return Ok(());
        };
        let fetched = async {
            next.await
                .map_err(|e| Error::unexpected("reading a frame was interrupted").because(e))?
        };
        let chunk = Bytes::from(cancel.unless(fetched).await?);
        progress.advance(chunk.len() as u64, 0);
        if !take(chunk).await? {
            return Ok(());
        }
    }
}
