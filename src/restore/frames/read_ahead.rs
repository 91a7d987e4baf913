//! Fetches, checks and scans frames ahead of their execution, within a memory budget.
//!
//! Memory: a frame holds a share of the budget from its fetch until it is executed: first for its stored
//! bytes and its SQL, then for twice its SQL while it is scanned; from then on for its SQL and twice its
//! longest statement (the driver's copy, and the connection's). A frame larger than the budget waits until
//! it is alone. So the frames of a restore take at most
//!
//! ```text
//! max(MEMORY_BYTES, longest frame + 2 × longest statement)
//! ```
//!
//! where the longest frame is 9 MiB, or a single statement that is longer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::archive::index::FrameRecord;
use crate::archive::manifest::MYSQL;
use crate::archive::read::Archive;
use crate::archive::segment_digests::{SegmentDigests, Turn};
use crate::restore::frames::frame::Frame;
use crate::restore::frames::guard::Guard;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};

/// Memory budget for frames in bytes.
const MEMORY_BYTES: u64 = 40 << 20;

/// Unit of the budget in bytes.
const UNIT_BYTES: u64 = 1 << 10;

/// A frame that passed every check.
pub struct ReadyFrame {
    /// The frame.
    pub frame: Frame,
    /// Released when the frame has been executed.
    _share: OwnedSemaphorePermit,
}

/// The frames of an archive, admitting only statements for the schemas of its ledger.
#[derive(Clone)]
pub struct FrameSource {
    pub(super) archive: Archive,
    pub(super) guard: Arc<Guard>,
    pub(super) cancel: Cancel,
}

impl FrameSource {
    /// Rejects an archive whose ledger contains a reserved schema (exit 6).
    pub fn of(archive: &Archive, cancel: &Cancel) -> Result<FrameSource> {
        // Its frames are read as statements.
        archive.manifest().check_kind(MYSQL)?;
        let objects = archive.contents().ledger.iter();
        let guard = Guard::new(objects.map(|(object, _)| object.schema.clone()))?;
        Ok(FrameSource {
            archive: archive.clone(),
            guard: Arc::new(guard),
            cancel: cancel.clone(),
        })
    }

    /// Starts to fetch all frames, and also verifies the digests of the segments.
    pub fn read_all(&self) -> ReadAhead {
        self.walk(Some(SegmentDigests::default()), |_| true)
    }

    /// Starts to fetch the frames selected by `wanted`.
    pub fn read(&self, wanted: impl Fn(&FrameRecord) -> bool + Send + 'static) -> ReadAhead {
        self.walk(None, wanted)
    }

    fn walk(
        &self,
        turns: Option<SegmentDigests>,
        wanted: impl Fn(&FrameRecord) -> bool + Send + 'static,
    ) -> ReadAhead {
        // The budget limits the queue; this limit only matters for the smallest frames.
        let (sender, frames) = mpsc::channel(16);
        let walk = Walk {
            source: self.clone(),
            turns,
            sender,
        };
        ReadAhead {
            frames,
            walk: Some(tokio::spawn(walk.run(wanted))),
        }
    }
}

/// Frames being fetched, in the order of the archive.
pub struct ReadAhead {
    frames: mpsc::Receiver<JoinHandle<Result<ReadyFrame>>>,
    walk: Option<JoinHandle<Result<()>>>,
}

impl ReadAhead {
    /// The next frame; `None` after the last one of a complete index.
    pub async fn next(&mut self) -> Result<Option<ReadyFrame>> {
        let broken = |e| Error::unexpected("reading the archive was interrupted").because(e);
        if let Some(frame) = self.frames.recv().await {
            return frame.await.map_err(broken)?.map(Some);
        }
        match self.walk.take() {
            Some(walk) => walk.await.map_err(broken)?.map(|()| None),
            None => Ok(None),
        }
    }
}

struct Walk {
    source: FrameSource,
    /// Queue of all frames, if all are read.
    turns: Option<SegmentDigests>,
    sender: mpsc::Sender<JoinHandle<Result<ReadyFrame>>>,
}

impl Walk {
    async fn run(mut self, wanted: impl Fn(&FrameRecord) -> bool) -> Result<()> {
        let units = in_units(MEMORY_BYTES);
        let budget = Arc::new(Semaphore::new(units as usize));
        let mut records = self.source.archive.frames()?;
        while let Some(record) = records.read()? {
            if !wanted(&record) {
                continue;
            }
            let share = in_units(most_bytes(&record)).min(units);
            let cancel = &self.source.cancel;
            let share = tokio::select! {
                share = budget.clone().acquire_many_owned(share) => share,
                () = cancel.token().cancelled() => return Err(cancel.error()),
            };
            let share =
                share.map_err(|e| Error::unexpected("reading ahead was interrupted").because(e))?;
            let (archive, guard) = (self.source.archive.clone(), self.source.guard.clone());
            let turn = self.turns.as_mut().map(SegmentDigests::turn);
            let frame = tokio::spawn(async move {
                let mut share = share;
                let keep = in_units(executed_bytes(&record)) as usize;
                let frame = fetch(archive, guard, record, turn).await?;
                drop(share.split(share.num_permits().saturating_sub(keep)));
                Ok(ReadyFrame {
                    frame,
                    _share: share,
                })
            });
            if self.sender.send(frame).await.is_err() {
                // The receiver has stopped, and reports the cause.
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Fetches, checks and scans a frame.
pub(super) async fn fetch(
    archive: Archive,
    guard: Arc<Guard>,
    record: FrameRecord,
    turn: Option<Turn>,
) -> Result<Frame> {
    let raw = match turn {
        Some(turn) => archive.fetch_in_turn(&record, turn).await?,
        None => archive.fetch(&record).await?,
    };
    scan(archive, guard, record, raw).await
}

async fn scan(
    archive: Archive,
    guard: Arc<Guard>,
    record: FrameRecord,
    raw: Vec<u8>,
) -> Result<Frame> {
    tokio::task::spawn_blocking(move || {
        let sessions = &archive.contents().sessions;
        let session = sessions.get(record.session as usize).ok_or_else(|| {
            Error::archive(format!(
                "frame {} refers to a session that is not in the index",
                record.n
            ))
        })?;
        Frame::scan(&guard, record, raw, session)
    })
    .await
    .map_err(|e| Error::unexpected("scanning a frame was interrupted").because(e))?
}

/// Peak memory of a frame in bytes.
pub(super) fn most_bytes(record: &FrameRecord) -> u64 {
    let read = record.stored.max(record.raw) + record.raw;
    read.max(executed_bytes(record))
}

/// Peak memory of a frame in bytes during its execution.
pub(super) fn executed_bytes(record: &FrameRecord) -> u64 {
    record.raw + 2 * record.longest
}

fn in_units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::digest::{Sha256Digest, Xxh3Digest};

    fn frame(stored: u64, raw: u64, longest: u64) -> FrameRecord {
        FrameRecord {
            n: 0,
            stream: 0,
            segment: 0,
            offset: 0,
            stored,
            raw,
            sha256: Sha256Digest::of(""),
            xxh3: Xxh3Digest::of(b""),
            sections: Vec::new(),
            session: 0,
            tables: Vec::new(),
            rows: 0,
            longest,
        }
    }

    #[test]
    fn a_frame_of_one_long_statement_counts_three_times() {
        assert_eq!(most_bytes(&frame(10, 64 << 20, 64 << 20)), 192 << 20);
        assert_eq!(most_bytes(&frame(4 << 20, 8 << 20, 1 << 20)), 16 << 20);
        assert_eq!(most_bytes(&frame(9, 8, 0)), 17);
    }
}
