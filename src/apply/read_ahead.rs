//! Frames, fetched, checked and scanned ahead of those who execute them, within a budget of bytes.
//!
//! Memory: a frame holds its share of the budget from before it is fetched until it is executed: at
//! first for its stored bytes and its SQL, then for its SQL twice while it is scanned; from then on
//! for its SQL and twice its longest statement (the driver's copy, and the connection's). A frame
//! that is larger than the budget waits until it is alone. So the frames of a restore take at most
//!
//! ```text
//! max(memory_bytes, longest frame + 2 × longest statement)
//! ```
//!
//! where the longest frame is 9 MiB, or one statement that is longer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::apply::frame::Frame;
use crate::apply::guard::Guard;
use crate::archive::index::FrameRecord;
use crate::archive::read::Archive;
use crate::archive::whole::Turns;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// What the budget is counted in.
const UNIT_BYTES: u64 = 1 << 10;

/// A frame that passed every check.
pub struct ReadyFrame {
    /// The frame.
    pub frame: Frame,
    /// Given back when it has been executed.
    _share: OwnedSemaphorePermit,
}

/// Frames on their way, in the order of the archive.
pub struct ReadAhead {
    frames: mpsc::Receiver<JoinHandle<Result<ReadyFrame>>>,
    walk: Option<JoinHandle<Result<()>>>,
}

impl ReadAhead {
    /// Begins to fetch all frames, and holds the segments against their digests too.
    pub fn whole(
        archive: &Archive,
        guard: &Arc<Guard>,
        memory_bytes: usize,
        cancel: &Cancel,
    ) -> Self {
        let turns = Some(Turns::default());
        Self::walk(archive, guard, memory_bytes, cancel, turns, |_| true)
    }

    /// Begins to fetch the frames that `wanted` picks.
    pub fn begin(
        archive: &Archive,
        guard: &Arc<Guard>,
        memory_bytes: usize,
        cancel: &Cancel,
        wanted: impl Fn(&FrameRecord) -> bool + Send + 'static,
    ) -> Self {
        Self::walk(archive, guard, memory_bytes, cancel, None, wanted)
    }

    fn walk(
        archive: &Archive,
        guard: &Arc<Guard>,
        memory_bytes: usize,
        cancel: &Cancel,
        turns: Option<Turns>,
        wanted: impl Fn(&FrameRecord) -> bool + Send + 'static,
    ) -> Self {
        // How many frames wait is bounded by their bytes; this only bounds the smallest ones.
        let (sender, frames) = mpsc::channel(16);
        let walk = Walk {
            archive: archive.clone(),
            guard: guard.clone(),
            memory_bytes,
            cancel: cancel.clone(),
            turns,
            sender,
        };
        ReadAhead {
            frames,
            walk: Some(tokio::spawn(walk.run(wanted))),
        }
    }

    /// The next frame; `None` after the last one of an index that is whole.
    pub async fn next(&mut self) -> Result<Option<ReadyFrame>> {
        let broken = |e| Error::unexpected("reading the archive broke off").because(e);
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
    archive: Archive,
    guard: Arc<Guard>,
    memory_bytes: usize,
    cancel: Cancel,
    /// The queue of all frames, where all are read.
    turns: Option<Turns>,
    sender: mpsc::Sender<JoinHandle<Result<ReadyFrame>>>,
}

impl Walk {
    async fn run(mut self, wanted: impl Fn(&FrameRecord) -> bool) -> Result<()> {
        let units = u32::try_from(self.memory_bytes as u64 / UNIT_BYTES)
            .unwrap_or(u32::MAX)
            .max(1);
        let budget = Arc::new(Semaphore::new(units as usize));
        let mut records = self.archive.frames()?;
        while let Some(record) = records.read()? {
            if !wanted(&record) {
                continue;
            }
            let share = in_units(most_bytes(&record)).min(units);
            let share = tokio::select! {
                share = budget.clone().acquire_many_owned(share) => share,
                () = self.cancel.token().cancelled() => return Err(self.cancel.error()),
            };
            let share =
                share.map_err(|e| Error::unexpected("reading ahead broke off").because(e))?;
            let (archive, guard) = (self.archive.clone(), self.guard.clone());
            let turn = self.turns.as_mut().map(Turns::take);
            let frame = tokio::spawn(async move {
                let mut share = share;
                let keep = in_units(executed_bytes(&record)) as usize;
                let raw = match turn {
                    Some(turn) => archive.fetch_in_turn(&record, turn).await?,
                    None => archive.fetch(&record).await?,
                };
                let frame = scan(archive, guard, record, raw).await?;
                drop(share.split(share.num_permits().saturating_sub(keep)));
                Ok(ReadyFrame {
                    frame,
                    _share: share,
                })
            });
            if self.sender.send(frame).await.is_err() {
                // Whoever wanted them has stopped, and says why.
                return Ok(());
            }
        }
        Ok(())
    }
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
                "frame {} names a session that the index lacks",
                record.n
            ))
        })?;
        Frame::scan(&guard, record, raw, session)
    })
    .await
    .map_err(|e| Error::unexpected("scanning a frame broke off").because(e))?
}

/// The most bytes of memory that a frame takes at any time.
fn most_bytes(record: &FrameRecord) -> u64 {
    let read = record.stored.max(record.raw) + record.raw;
    read.max(executed_bytes(record))
}

/// The most bytes of memory that a frame takes while it is executed.
fn executed_bytes(record: &FrameRecord) -> u64 {
    record.raw + 2 * record.longest
}

fn in_units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stored: u64, raw: u64, longest: u64) -> FrameRecord {
        FrameRecord {
            n: 0,
            stream: 0,
            segment: 0,
            offset: 0,
            stored,
            raw,
            sha256: String::new(),
            xxh3: String::new(),
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
