//! A stream that is not SQL: its frames are cut wherever one is full.

use bytes::Bytes;

use crate::archive::write::framer::RawFrame;
use crate::archive::write::stream::{FrameSink, Stopped};
use crate::sql::session::Session;

/// Writes the frames of a stream.
pub struct BytesWriter {
    frame_bytes: usize,
    sink: FrameSink,
    open: Vec<u8>,
}

impl BytesWriter {
    /// Begins the stream, with frames of `frame_bytes`.
    pub fn begin(frame_bytes: usize, sink: FrameSink) -> BytesWriter {
        BytesWriter {
            frame_bytes,
            sink,
            open: Vec::new(),
        }
    }

    /// Writes the next bytes. An error means that the archive has stopped, and has the cause.
    pub async fn write(&mut self, mut chunk: Bytes) -> Result<(), Stopped> {
        while !chunk.is_empty() {
            if self.open.capacity() == 0 {
                self.open = self.sink.buffers().take();
                self.open.reserve(self.frame_bytes);
            }
            let room = self.frame_bytes - self.open.len();
            let part = chunk.split_to(chunk.len().min(room));
            self.open.extend_from_slice(&part);
            if self.open.len() == self.frame_bytes {
                self.cut().await?;
            }
        }
        Ok(())
    }

    /// Writes the last frame.
    pub async fn finish(mut self) -> Result<(), Stopped> {
        match self.open.is_empty() {
            true => Ok(()),
            false => self.cut().await,
        }
    }

    async fn cut(&mut self) -> Result<(), Stopped> {
        let frame = RawFrame {
            stream: 0,
            sql: std::mem::take(&mut self.open),
            sections: Vec::new(),
            before: Session::default(),
            after: Session::default(),
            tables: Vec::new(),
            rows: Vec::new(),
            longest: 0,
        };
        self.sink.send(frame).await
    }
}
