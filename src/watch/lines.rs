//! Standard output, written by a thread of its own: a reader that is slow holds up the lines, and neither
//! the probes nor the end.

use std::io::{self, ErrorKind, Write as _};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// Lines that wait for a reader; behind them the cluster waits.
const WAITING: usize = 64;

/// How long a reader has at the end for what waits.
const FAREWELL: Duration = Duration::from_secs(1);

/// The way to standard output.
#[derive(Debug)]
pub struct Lines {
    to: mpsc::Sender<String>,
    writing: JoinHandle<io::Result<()>>,
}

impl Lines {
    /// Begins to write.
    pub fn begin() -> Lines {
        let (to, mut lines) = mpsc::channel::<String>(WAITING);
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(line) = lines.blocking_recv() {
                io::stdout().lock().write_all(line.as_bytes())?;
            }
            Ok(())
        });
        Lines { to, writing }
    }

    /// Writes a line, or waits for the reader. What can no longer be written is noticed by
    /// [`Lines::ended`].
    pub async fn write(&self, line: String) {
        let _ = self.to.send(line).await;
    }

    /// Waits until nothing can be written any more.
    pub async fn ended(&self) {
        self.to.closed().await;
    }

    /// The end: why nothing could be written any more. A reader that went away, like `head`, has seen enough.
    pub async fn finish(self) -> Result<()> {
        drop(self.to);
        let failed = |error| Error::unexpected("cannot write to standard output").because(error);
        match tokio::time::timeout(FAREWELL, self.writing).await {
            Ok(Ok(Err(error))) if error.kind() != ErrorKind::BrokenPipe => Err(failed(error)),
            Ok(Err(error)) => Err(failed(error.into())),
            _ => Ok(()),
        }
    }
}
