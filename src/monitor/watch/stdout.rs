//! Standard output, written by its own thread: a slow reader delays the lines, but neither the probes nor
//! the shutdown.

use std::io::{self, ErrorKind, Write as _};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::util::error::{Error, Result};

/// Lines buffered for a slow reader; when the buffer is full, reading from the cluster pauses.
const BUFFERED_LINES: usize = 64;

/// Time at shutdown for the reader to take the buffered lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Handle of the writer thread.
#[derive(Debug)]
pub struct StdoutWriter {
    to: mpsc::Sender<String>,
    writing: JoinHandle<io::Result<()>>,
}

impl StdoutWriter {
    /// Starts the writer thread.
    pub fn begin() -> StdoutWriter {
        let (to, mut lines) = mpsc::channel::<String>(BUFFERED_LINES);
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(line) = lines.blocking_recv() {
                io::stdout().lock().write_all(line.as_bytes())?;
            }
            Ok(())
        });
        StdoutWriter { to, writing }
    }

    /// Queues a line; waits while the buffer is full. Write failures are reported by [`StdoutWriter::ended`].
    pub async fn write(&self, line: String) {
        let _ = self.to.send(line).await;
    }

    /// Resolves when nothing more can be written.
    pub async fn ended(&self) {
        self.to.closed().await;
    }

    /// Stops writing. Returns the write failure, if any; a closed pipe (as with `head`) is not a failure.
    pub async fn finish(self) -> Result<()> {
        drop(self.to);
        let failed = |error| Error::unexpected("cannot write to standard output").because(error);
        match tokio::time::timeout(FLUSH_TIMEOUT, self.writing).await {
            Ok(Ok(Err(error))) if error.kind() != ErrorKind::BrokenPipe => Err(failed(error)),
            Ok(Err(error)) => Err(failed(error.into())),
            _ => Ok(()),
        }
    }
}
