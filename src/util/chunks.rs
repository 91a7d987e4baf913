//! A stream of chunks from async code to a thread that reads it.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

/// Chunks between the two.
const CHUNKS: usize = 4;

/// The side that writes.
#[derive(Debug)]
pub struct Feed(mpsc::Sender<Input>);

#[derive(Debug)]
enum Input {
    Chunk(Bytes),
    End,
}

/// The thread has ended, and has the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

impl Feed {
    /// A feed, and its reader.
    pub fn new() -> (Feed, Chunks) {
        let (sender, input) = mpsc::channel(CHUNKS);
        let chunks = Chunks {
            input,
            current: Bytes::new(),
            ended: false,
        };
        (Feed(sender), chunks)
    }

    /// Writes a chunk. Cancel safe.
    pub async fn push(&self, chunk: Bytes) -> Result<(), Ended> {
        let sent = self.0.send(Input::Chunk(chunk)).await;
        sent.map_err(|_| Ended)
    }

    /// Ends the stream. A feed that is dropped instead was abandoned, which is an error of the reader.
    pub async fn end(self) {
        // A thread that has ended has the cause.
        let _ = self.0.send(Input::End).await;
    }
}

/// The side that reads; it blocks, so never read it from async code.
#[derive(Debug)]
pub struct Chunks {
    input: mpsc::Receiver<Input>,
    current: Bytes,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.input.blocking_recv() {
                Some(Input::Chunk(chunk)) => self.current = chunk,
                Some(Input::End) => self.ended = true,
                None => return Err(io::Error::other("the stream was abandoned")),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
