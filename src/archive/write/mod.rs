//! Writes archives: statements → segments and index; the manifest is written by the commit.
//!
//! ```text
//! chunks ─[stream: scan, frame]─ RawFrame ─[encode, N workers]─ EncodedFrame ─[sequencer]─ segments, index
//! ```
//!
//! Each stream has a [`framer`] on a blocking thread; frames are encoded ([`encode`]) on blocking threads, as many at
//! once as [`RAW_BUDGET`] allows; one [`sequencer`] writes them in order; [`commit`] checks the stored objects and writes
//! the manifest.
//!
//! Peak memory: [`RAW_BUDGET`] of raw frames, at most as much of encoded ones, 16 MiB of open ones, two idle buffers, and
//! the parts in flight of one upload ([`object`]); less than 128 MiB with parts of the default size. A statement longer than the
//! budget is processed alone, with up to three copies: in the scanner, as a frame, and encoded. The stream's next
//! statement is read only after it has been written.

pub mod bytes;
pub mod commit;
pub mod encode;
pub mod framer;
pub mod object;
pub mod rows;
pub mod sequencer;
pub mod spread;
pub mod stream;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::archive::BackupPlace;
use crate::archive::codec::{Codec, Form};
use crate::archive::index::Record;
use crate::sql::session::Session;
use crate::sql::view_order::Views;
use crate::store::Store;
use crate::util::error::{Error, Result};
use bytes::BytesWriter;
use encode::{EncodedFrame, Encoders};
use framer::{FRAME_BYTES, Framer, StreamEnd};
use rows::RowsWriter;
use sequencer::{Sequencer, Written};
use stream::{FrameSink, Stopped, StreamWriter};

/// Maximum number of bytes of SQL between framer and sequencer.
pub const RAW_BUDGET: usize = 24 << 20;

/// Maximum number of bytes in the open frames of all streams of rows, if each has a row of ordinary length.
const OPEN_BUDGET: usize = 16 << 20;

/// How an archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Compression of the frames.
    pub codec: Codec,
    /// Compression level, on the codec's scale.
    pub level: i32,
    /// What the frames contain.
    pub form: Form,
    /// Stored bytes after which the next segment begins; less if the store's part limit requires it.
    pub segment_bytes: u64,
    /// Bytes of SQL after which a frame ends. The memory of a restore is computed for the default; other sizes are for
    /// tests.
    pub frame_bytes: usize,
}

impl WriteOptions {
    /// Options with a codec at its default level.
    pub fn new(codec: Codec) -> Self {
        WriteOptions {
            codec,
            level: codec.default_level(),
            form: Form::default(),
            segment_bytes: u64::MAX,
            frame_bytes: FRAME_BYTES,
        }
    }
}

/// An archive that is being written. It is not listed as a backup before its manifest exists.
pub struct ArchiveWriter {
    sink: FrameSink,
    frame_bytes: usize,
    sequencing: Sequencing,
    /// Stops writing early, and aborts open uploads.
    stop: CancellationToken,
}

/// The task that writes frames; returns `None` if it was stopped. Also stopped when dropped: an aborted backup uploads
/// nothing more.
type Sequencing = AbortOnDropHandle<Result<Option<Sequencer>>>;

impl ArchiveWriter {
    /// Begins an archive at the location of a backup.
    pub async fn begin(
        store: Arc<dyn Store>,
        place: BackupPlace,
        options: WriteOptions,
    ) -> Result<Self> {
        let encoders = Encoders::new(options.codec, options.level).of(options.form);
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
                    let encoded = encoded.map_err(|e| {
                        Error::unexpected("encoding a frame was interrupted").because(e)
                    })?;
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

    /// Cancelled, it makes [`ArchiveWriter::finish`] discard what is not yet written, like [`ArchiveWriter::abort`], and
    /// return.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Begins a stream of a whole dump, counted from 0.
    pub fn stream(&self, n: u32) -> StreamWriter {
        let framer = Framer::new(n, Session::default(), self.frame_bytes);
        StreamWriter::begin(framer, self.sink.clone())
    }

    /// Begins the stream of a dump of definitions, and that of those that follow the rows.
    pub fn definitions(&self, n: u32, after_rows: u32) -> StreamWriter {
        let framer = Framer::of_definitions(n, after_rows, self.frame_bytes);
        StreamWriter::begin(framer, self.sink.clone())
    }

    /// Begins a stream of rows, one of `streams`, which can be loaded in `session` once a schema is selected. The more
    /// there are, the smaller are their frames.
    pub fn rows(&self, n: u32, streams: usize, session: &Session) -> RowsWriter {
        let frame_bytes = self.frame_bytes.min(OPEN_BUDGET / streams.max(1));
        RowsWriter::begin(n, session.clone(), frame_bytes, self.sink.clone())
    }

    /// Begins a stream that is not SQL.
    pub fn bytes(&self) -> BytesWriter {
        BytesWriter::begin(self.frame_bytes, self.sink.clone())
    }

    /// Writes the frames that follow the rows.
    pub async fn after_rows(&self, frames: Vec<EncodedFrame>) -> Result<(), Stopped> {
        self.sink.send_encoded(frames).await
    }

    /// Completes segments and index after all streams have ended. `ends` is in the order of the streams; the records
    /// `more` follow the ledger.
    pub async fn finish(self, ends: Vec<StreamEnd>, more: Vec<Record>) -> Result<Written> {
        drop(self.sink);
        let stopped = || Error::unexpected("writing the archive was stopped");
        let mut sequencer = joined(self.sequencing).await?.ok_or_else(stopped)?;
        let mut objects = crate::sql::ledger::Ledger::default();
        let (mut trailer, mut views) = (None, Views::default());
        for end in ends {
            views.append(end.views);
            objects
                .merge(end.objects)
                .map_err(|e| Error::source("two streams are inconsistent").because(e))?;
            trailer.get_or_insert(end.trailer);
        }
        if let Some(trailer) = trailer {
            sequencer.push_raw(trailer).await?;
        }
        let written = sequencer.finish(objects, more).await?;
        Ok(Written {
            view_rounds: views.rounds(),
            ..written
        })
    }

    /// Aborts open uploads; complete objects are left to [`commit::discard`]. Returns the error that stopped writing, if
    /// any.
    pub async fn abort(self) -> Option<Error> {
        drop(self.sink);
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
        Err(e) => Err(Error::unexpected("writing the archive was interrupted").because(e)),
    }
}
