//! The pipeline of a stream: chunks of a dump → encoded frames for the sequencer.
//!
//! Scanning and framing are one sequential pass on a blocking thread; frames are encoded on other threads, and reach the
//! sequencer in the order in which they were cut.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::archive::write::RAW_BUDGET;
use crate::archive::write::encode::{EncodedFrame, Encoders};
use crate::archive::write::framer::{Framer, RawFrame, StreamEnd};
use crate::sql::scan::Scanner;
use crate::sql::session::Session;
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

    /// Sends a frame once the budget allows it; blocks, so never call it from async code. A frame that takes the whole
    /// budget has been written when this returns.
    fn send(&self, frame: RawFrame) -> Result<(), Closed> {
        let share = frame.sql.len().clamp(1, RAW_BUDGET);
        let permit = self.share(share)?;
        let encoders = self.encoders.clone();
        let encoding = self.handle.spawn_blocking(move || encoders.encode(frame));
        self.frames
            .blocking_send(FrameInFlight { encoding, permit })
            .map_err(|_| Closed)?;
        if share == RAW_BUDGET {
            drop(self.share(RAW_BUDGET)?);
        }
        Ok(())
    }

    fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Closed> {
        let share = self.budget.clone().acquire_many_owned(bytes as u32);
        self.handle.block_on(share).map_err(|_| Closed)
    }
}

/// The sequencer has stopped; it returns the cause.
struct Closed;

/// The input of a stream.
pub struct StreamWriter {
    input: mpsc::Sender<Input>,
    scan: JoinHandle<Result<Option<StreamEnd>>>,
}

enum Input {
    Chunk(Bytes),
    End,
}

impl StreamWriter {
    /// Begins a stream in the client's default session, with frames of `frame_bytes`.
    pub fn begin(stream: u32, frame_bytes: usize, sink: FrameSink) -> Self {
        let (input, chunks) = mpsc::channel(4);
        let scan = tokio::task::spawn_blocking(move || {
            let framer = Framer::new(stream, Session::default(), frame_bytes);
            scan(framer, chunks, &sink)
        });
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
    pub async fn finish(self) -> Result<Option<StreamEnd>> {
        let _ = self.input.send(Input::End).await;
        drop(self.input);
        match self.scan.await {
            Ok(end) => end,
            Err(e) => Err(Error::unexpected("scanning the dump was interrupted").because(e)),
        }
    }
}

/// The stream has stopped.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped;

fn scan(
    mut framer: Framer,
    mut chunks: mpsc::Receiver<Input>,
    sink: &FrameSink,
) -> Result<Option<StreamEnd>> {
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
                if sink.send(frame).is_err() {
                    return Ok(None);
                }
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
    match last.map(|frame| sink.send(frame)) {
        Some(Err(Closed)) => Ok(None),
        Some(Ok(())) | None => Ok(Some(end)),
    }
}
