//! The pipeline of a stream: chunks of a dump → encoded frames for the sequencer.
//!
//! Scanning and framing are one sequential pass on a blocking thread; frames are encoded on other threads, and reach the
//! sequencer in the order in which they were cut.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::archive::write::RAW_BUDGET;
use crate::archive::write::encode::{Buffers, EncodedFrame, Encoders};
use crate::archive::write::framer::{Framer, RawFrame, StreamEnd};
use crate::sql::scan::Scanner;
use crate::util::error::{Error, Result};

/// A frame between framer and sequencer.
pub struct FrameInFlight {
    /// The encoding task.
    pub encoding: JoinHandle<Result<EncodedFrame>>,
    /// Its share of the budget, released when the frame has been written.
    pub permit: OwnedSemaphorePermit,
}

/// Sends the frames of all streams of an archive to the sequencer, within one memory budget.
#[derive(Clone)]
pub struct FrameSink {
    frames: mpsc::Sender<FrameInFlight>,
    budget: Arc<Semaphore>,
    encoders: Encoders,
    handle: tokio::runtime::Handle,
}

impl FrameSink {
    /// The sink, and the receiver for the sequencer.
    pub fn new(encoders: Encoders) -> (Self, mpsc::Receiver<FrameInFlight>) {
        let (frames, receiver) = mpsc::channel(64);
        let budget = Arc::new(Semaphore::new(RAW_BUDGET));
        let handle = tokio::runtime::Handle::current();
        (
            FrameSink {
                frames,
                budget,
                encoders,
                handle,
            },
            receiver,
        )
    }

    /// Buffers for the SQL of frames.
    pub(super) fn buffers(&self) -> &Buffers {
        self.encoders.buffers()
    }

    /// Sends a frame once the budget allows it. A frame that takes the whole budget has been written when this returns.
    pub async fn send(&self, frame: RawFrame) -> Result<(), Stopped> {
        let encoders = self.encoders.clone();
        let bytes = frame.sql.len();
        let encode = move || encoders.encode(frame);
        self.in_flight(bytes, || self.handle.spawn_blocking(encode))
            .await
    }

    /// Sends frames that are encoded already.
    pub async fn send_encoded(&self, frames: Vec<EncodedFrame>) -> Result<(), Stopped> {
        for frame in frames {
            let bytes = frame.raw;
            let encoded = async move { Ok(frame) };
            self.in_flight(bytes, || self.handle.spawn(encoded)).await?;
        }
        Ok(())
    }

    async fn in_flight(
        &self,
        bytes: usize,
        encoding: impl FnOnce() -> JoinHandle<Result<EncodedFrame>>,
    ) -> Result<(), Stopped> {
        let share = bytes.clamp(1, RAW_BUDGET);
        let permit = self.share(share).await?;
        let encoding = encoding();
        let frame = FrameInFlight { encoding, permit };
        self.frames.send(frame).await.map_err(|_| Stopped)?;
        if share == RAW_BUDGET {
            self.buffers().clear();
            drop(self.share(RAW_BUDGET).await?);
        }
        Ok(())
    }

    /// The same as [`FrameSink::send`]; blocks, so never call it from async code.
    fn blocking_send(&self, frame: RawFrame) -> Result<(), Stopped> {
        self.handle.block_on(self.send(frame))
    }

    async fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Stopped> {
        let share = self.budget.clone().acquire_many_owned(bytes as u32);
        share.await.map_err(|_| Stopped)
    }
}

/// The input of a stream.
pub struct StreamWriter {
    input: mpsc::Sender<Input>,
    scan: JoinHandle<Result<Option<Scanned>>>,
}

enum Input {
    Chunk(Bytes),
    End,
}

/// A stream that has been scanned to its end.
pub struct Scanned {
    /// The rest of the stream.
    pub end: StreamEnd,
    /// Of a dump of definitions: the frames that follow the rows.
    pub after_rows: Vec<EncodedFrame>,
}

impl StreamWriter {
    /// Begins a stream in the client's default session.
    pub fn begin(framer: Framer, sink: FrameSink) -> Self {
        let (input, chunks) = mpsc::channel(4);
        let scan = tokio::task::spawn_blocking(move || scan(framer, chunks, &sink));
        StreamWriter { input, scan }
    }

    /// Writes a chunk of the dump. An error means that the stream has stopped; [`StreamWriter::finish`] returns the
    /// cause.
    pub async fn write(&self, chunk: Bytes) -> Result<(), Stopped> {
        self.input
            .send(Input::Chunk(chunk))
            .await
            .map_err(|_| Stopped)
    }

    /// Ends the stream after the dump process succeeded. `None`: the sequencer has stopped, and returns the cause.
    pub async fn finish(self) -> Result<Option<Scanned>> {
        let _ = self.input.send(Input::End).await;
        drop(self.input);
        match self.scan.await {
            Ok(end) => end,
            Err(e) => Err(Error::unexpected("scanning the dump was interrupted").because(e)),
        }
    }
}

/// The stream or the sequencer has stopped, and returns the cause at its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped;

fn scan(
    mut framer: Framer,
    mut chunks: mpsc::Receiver<Input>,
    sink: &FrameSink,
) -> Result<Option<Scanned>> {
    let mut after_rows = Vec::new();
    let mut scanner = Scanner::new();
    let broken = |e: crate::sql::scan::ScanError| Error::source("cannot scan the dump").because(e);
    let mut ended = false;
    while !ended {
        // A stream without its End was aborted, and is discarded.
        match chunks.blocking_recv() {
            Some(Input::Chunk(chunk)) => scanner.push(&chunk),
            Some(Input::End) => {
                scanner.finish();
                ended = true;
            }
            None => return Ok(None),
        }
        while let Some(statement) = scanner.next().map_err(broken)? {
            framer.push(&statement)?;
            while let Some(frame) = framer.due() {
                if sink.blocking_send(frame).is_err() {
                    return Ok(None);
                }
            }
            while let Some(frame) = framer.due_after_rows() {
                after_rows.push(sink.encoders.encode(frame)?);
            }
        }
    }
    if !scanner.saw_trailer() {
        return Err(Error::source("the dump is incomplete: it has no trailer")
            .hint("check the server's error log and run the backup again"));
    }
    if let Some(view) = scanner.pending_views().next() {
        return Err(Error::source(format!(
            "the dump ends before {view} is defined"
        )));
    }
    let (last, end) = framer.finish()?;
    if let Some(frame) = last.after_rows {
        after_rows.push(sink.encoders.encode(frame)?);
    }
    match last.frame.map(|frame| sink.blocking_send(frame)) {
        Some(Err(Stopped)) => Ok(None),
        Some(Ok(())) | None => Ok(Some(Scanned { end, after_rows })),
    }
}
