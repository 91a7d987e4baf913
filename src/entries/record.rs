//! Records a stream as it passes: its bytes go to a blocking thread, which returns the ledger at the end.

use std::io::{self, Read};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use crate::entries::lines::{self, Sections};
use crate::entries::{Entry, Ledger, tar};
use crate::util::chunks::{Ended, Feed};
use crate::util::digest::Sha256Digest;
use crate::util::error::{Error, Outcome, Result};

/// Size of the buffer in which a stream is read, bytes.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// Name of the entry of a stream that is not divided.
pub(super) const STREAM: &str = "stream";

/// What the entries of a stream are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One entry: the whole stream.
    Bytes,
    /// One entry for each section: its lines, in any order.
    Lines(Sections),
    /// The members of a tar.
    Tar,
}

/// The ledger of a stream, while it passes.
#[derive(Debug)]
pub struct Recorder {
    feed: Feed,
    recording: JoinHandle<io::Result<Ledger>>,
}

impl Recorder {
    /// Begins to record. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// `Usage`: the pattern of the sections is invalid.
    pub fn begin(format: &Format) -> Result<Recorder> {
        let (feed, stream) = Feed::new();
        let sections = match format {
            Format::Lines(sections) => Some(sections.compiled()?),
            Format::Bytes | Format::Tar => None,
        };
        let is_tar = *format == Format::Tar;
        let recording = tokio::task::spawn_blocking(move || match sections {
            Some(sections) => lines::record(stream, &sections),
            None if is_tar => tar::record(stream),
            None => whole(stream),
        });
        Ok(Recorder { feed, recording })
    }

    /// Adds the next bytes. An error means that the stream is not of its format; [`Recorder::finish`] has the cause.
    pub async fn push(&self, chunk: Bytes) -> Result<(), Ended> {
        self.feed.push(chunk).await
    }

    /// The ledger, at the end of the stream.
    ///
    /// # Errors
    /// The stream is not of its format, or is truncated; with this outcome.
    pub async fn finish(self, outcome: Outcome) -> Result<Ledger> {
        self.feed.end().await;
        match self.recording.await {
            Ok(ledger) => ledger
                .map_err(|e| Error::new(outcome, "the stream is not of its format").because(e)),
            Err(e) => Err(Error::unexpected("recording the stream was interrupted").because(e)),
        }
    }
}

/// The ledger of a stream that is not divided.
fn whole(mut stream: impl Read) -> io::Result<Ledger> {
    let (bytes, digest) = digest(&mut stream)?;
    let mut ledger = Ledger::default();
    let entry = Entry {
        name: STREAM.to_owned(),
        of_type: STREAM.to_owned(),
        bytes,
        lines: 0,
        attributes: String::new(),
        digest,
    };
    ledger.add(entry).map_err(io::Error::other)?;
    Ok(ledger)
}

/// Number and SHA-256 of the bytes up to the end.
pub(super) fn digest(stream: &mut impl Read) -> io::Result<(u64, String)> {
    let (mut sha256, mut bytes) = (Sha256::new(), 0u64);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok((bytes, Sha256Digest::from(sha256).to_string()));
        }
        sha256.update(&buffer[..count]);
        bytes += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ledger of a stream in chunks of every size.
    async fn recorded(format: &Format, stream: &[u8]) -> Vec<Ledger> {
        let mut all = Vec::new();
        for size in [1, 7, 512, stream.len().max(1)] {
            let recorder = Recorder::begin(format).unwrap();
            for chunk in stream.chunks(size) {
                recorder.push(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            all.push(recorder.finish(Outcome::Source).await.unwrap());
        }
        all
    }

    #[tokio::test]
    async fn a_stream_has_the_same_ledger_however_it_is_divided() {
        let lines = Format::Lines(Sections::default());
        for format in [Format::Bytes, lines] {
            for text in ["", "a", "a\n", "a\nb\n\nc"] {
                let all = recorded(&format, text.as_bytes()).await;
                assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_recorder_that_is_dropped_before_the_end_yields_no_ledger() {
        let recorder = Recorder::begin(&Format::Bytes).unwrap();
        recorder.push(Bytes::from_static(b"half")).await.unwrap();
        let Recorder { feed, recording } = recorder;
        drop(feed);
        assert!(recording.await.unwrap().is_err());
    }
}
