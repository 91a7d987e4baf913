//! What a child process writes to stderr. It is read all the time, since a full pipe would block the process.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;

/// Maximum number of bytes that are kept; more is never a success, whatever it contains.
pub const KEPT_BYTES: usize = 32 << 10;

/// Number of lines in a message. The first ones name the cause, the others are mostly consequences.
const SHOWN_LINES: usize = 3;

/// Output of a process on stderr.
#[derive(Debug, Default)]
pub struct Stderr {
    /// The first bytes.
    kept: Vec<u8>,
    /// Whether bytes are missing: there were too many, or the end was not reached.
    pub is_incomplete: bool,
}

impl Stderr {
    /// Begins to read it. Must be called in a tokio runtime.
    pub fn collect(from: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<Stderr> {
        tokio::spawn(Stderr::read(from))
    }

    async fn read(mut from: impl AsyncRead + Unpin) -> Stderr {
        let mut all = Stderr::default();
        let mut chunk = vec![0; 4096];
        loop {
            match from.read(&mut chunk).await {
                Ok(0) => return all,
                Ok(count) => {
                    let room = KEPT_BYTES - all.kept.len();
                    all.is_incomplete |= count > room;
                    all.kept.extend_from_slice(&chunk[..count.min(room)]);
                }
                Err(_) => {
                    all.is_incomplete = true;
                    return all;
                }
            }
        }
    }

    /// What was read until the end, or within a limit: a descendant of the process could keep its stderr open forever.
    pub async fn within(reading: &mut JoinHandle<Stderr>, limit: Duration) -> Stderr {
        match tokio::time::timeout(limit, reading).await {
            Ok(Ok(stderr)) => stderr,
            Ok(Err(_)) | Err(_) => Stderr {
                is_incomplete: true,
                ..Stderr::default()
            },
        }
    }

    /// The lines that are not empty.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.kept);
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// How the process ended, with the first of these lines: `exited with 2: a | b | …`.
    pub fn ending(&self, status: ExitStatus, messages: &[String]) -> String {
        let how = match (status.code(), status.signal()) {
            (Some(0), _) => "exited with 0 but wrote to stderr".to_owned(),
            (Some(code), _) => format!("exited with {code}"),
            (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
        };
        let mut shown: Vec<&str> = messages
            .iter()
            .take(SHOWN_LINES)
            .map(String::as_str)
            .collect();
        if messages.len() > SHOWN_LINES || self.is_incomplete {
            shown.push("…");
        }
        match shown.as_slice() {
            [] => format!("{how} without a message"),
            lines => format!("{how}: {}", lines.join(" | ")),
        }
    }
}
