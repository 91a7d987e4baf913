//! Statements to an archive that only wants its manifest.
//!
//! ```text
//! chunks ─[stream: scan, frame]─ RawFrame ─[encode, N workers]─ EncodedFrame ─[sequencer]─ segments, index
//! ```
//!
//! One [`framer`] a stream, on a blocking thread; [`encode`] on blocking threads, as many frames at
//! once as [`RAW_BUDGET`] allows; one [`sequencer`] that puts frames in order and writes them;
//! [`commit`] checks what the store holds and writes the manifest.
//!
//! Peak memory: [`RAW_BUDGET`] of raw frames, no more than that again of encoded ones, an open
//! frame a stream, and the parts in flight of one upload ([`object`]); with parts of the usual size
//! together below 128 MiB. A
//! statement longer than that budget passes alone, held three times at the most: by the scanner, as
//! a frame, and encoded. The stream's next one is read when it has been written.

pub mod commit;
pub mod encode;
pub mod framer;
pub mod object;
pub mod sequencer;
pub mod stream;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::archive::BackupPlace;
use crate::archive::codec::Codec;
use crate::archive::index::Record;
use crate::error::{Error, Result};
use crate::store::Store;
use encode::Encoders;
use framer::{FRAME_BYTES, StreamEnd};
use sequencer::{Sequencer, Written};
use stream::{FrameSink, StreamWriter};

/// Bytes of SQL that may be between framer and sequencer at any time.
pub const RAW_BUDGET: usize = 32 << 20;

/// How an archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// How frames are compressed.
    pub codec: Codec,
    /// How hard, on the codec's own scale.
    pub level: i32,
    /// Stored bytes after which a segment is rolled over, where the store's parts allow as many.
    pub segment_bytes: u64,
    /// Bytes of SQL after which a frame ends. What a restore holds in memory is reckoned for the
    /// usual size: smaller ones are for tests.
    pub frame_bytes: usize,
}

impl WriteOptions {
    /// A codec at its usual level.
    pub fn new(codec: Codec) -> Self {
        WriteOptions {
            codec,
            level: codec.default_level(),
            segment_bytes: u64::MAX,
            frame_bytes: FRAME_BYTES,
        }
    }
}

/// An archive in the making: nothing of it is listed as a backup until its manifest is there.
pub struct ArchiveWriter {
    sink: FrameSink,
    frame_bytes: usize,
    sequencing: Sequencing,
    /// Ends the writing early: open uploads are aborted.
    stop: CancellationToken,
}

/// The task that writes frames; its end is `None` where it was told to stop. Dropped it stops, too: a backup
/// that is given up uploads nothing more.
type Sequencing = AbortOnDropHandle<Result<Option<Sequencer>>>;

impl ArchiveWriter {
    /// Begins an archive in a backup's place.
    pub async fn begin(
        store: Arc<dyn Store>,
        place: BackupPlace,
        options: WriteOptions,
    ) -> Result<Self> {
        let encoders = Encoders::new(options.codec, options.level);
        let (sink, mut frames) = FrameSink::new(encoders.clone());
        let mut sequencer = Sequencer::begin(
            store.clone(),
            place.clone(),
            encoders,
            options.segment_bytes,
        )
        .await?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let sequencing = AbortOnDropHandle::new(tokio::spawn(async move {
            let write = async {
                while let Some(in_flight) = frames.recv().await {
                    let encoded = in_flight.encoding.await;
                    let encoded = encoded
                        .map_err(|e| Error::unexpected("encoding a frame broke off").because(e))?;
                    sequencer.push(encoded?).await?;
                    drop(in_flight.permit);
                }
                Ok(())
            };
            let written = tokio::select! {
                written = write => Some(written),
                () = stopped.cancelled() => None,
            };
            match written {
                Some(Ok(())) => Ok(Some(sequencer)),
                failed => {
                    sequencer.abort().await;
                    failed.transpose().map(|_| None)
                }
            }
        }));
        Ok(ArchiveWriter {
            sink,
            frame_bytes: options.frame_bytes,
            sequencing,
            stop,
        })
    }

    /// What makes [`ArchiveWriter::finish`] give up what is not yet written, as [`ArchiveWriter::abort`]
    /// does, and return.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Begins a stream, counted from 0.
    pub fn stream(&self, n: u32) -> StreamWriter {
        StreamWriter::begin(n, self.frame_bytes, self.sink.clone())
    }

    /// Completes segments and index once every stream has ended; `ends` in the order of streams,
    /// `more` the records that follow the ledger.
    pub async fn finish(self, ends: Vec<StreamEnd>, more: Vec<Record>) -> Result<Written> {
        drop(self.sink);
        let given_up = || Error::unexpected("the archive was given up");
        let mut sequencer = joined(self.sequencing).await?.ok_or_else(given_up)?;
        let mut objects = crate::sql::ledger::Ledger::default();
        let mut trailer = None;
        for end in ends {
            objects
                .merge(end.objects)
                .map_err(|e| Error::source("two streams contradict each other").because(e))?;
            trailer.get_or_insert(end.trailer);
        }
        if let Some(trailer) = trailer {
            sequencer.push_raw(trailer).await?;
        }
        sequencer.finish(objects, more).await
    }

    /// Gives up: open uploads are aborted; complete objects are left to [`commit::discard`]. Gives
    /// the error that stopped the writing, if one did.
    pub async fn abort(self) -> Option<Error> {
        drop(self.sink);
        // What is not written yet is not worth its upload.
        self.stop.cancel();
        match joined(self.sequencing).await {
            Ok(Some(sequencer)) => {
                sequencer.abort().await;
                None
            }
            Ok(None) => None,
            Err(error) => Some(error),
        }
    }
}

async fn joined(sequencing: Sequencing) -> Result<Option<Sequencer>> {
    match sequencing.await {
        Ok(sequencer) => sequencer,
        Err(e) => Err(Error::unexpected("writing the archive broke off").because(e)),
    }
}
