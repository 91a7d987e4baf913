//! The archived log as one that is replayed.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::layout::{LogFile, TimelineId};
use crate::replay::feed::{Events, Log};
use crate::stream::objects::Objects;
use crate::stream::read::{Checkpoint, Reader};
use crate::{Error, Result};

/// Most events that are read ahead.
const MOST_EVENTS: usize = 1024;

/// Most bytes of events that are read ahead, in KiB; one event may be larger. Beside them the segments are held that
/// the first and the last of them stand in.
const MOST_KIB: u32 = 8 << 10;

/// An event, and its part of [`MOST_KIB`].
type Held = (Bytes, OwnedSemaphorePermit);

/// One timeline, as far as its objects were listed.
#[derive(Debug, Clone)]
pub struct ArchivedLog {
    /// The objects of the log.
    pub objects: Arc<Objects>,
    /// The timeline.
    pub timeline: TimelineId,
    /// The file that it begins with.
    pub file: LogFile,
    /// What of that file was read before; `None` where it is read from its beginning.
    pub behind: Option<Arc<Checkpoint>>,
}

/// Events that a task of its own reads; dropped, it ends that task.
struct Ahead {
    events: mpsc::Receiver<Result<Held>>,
    task: JoinHandle<()>,
    ended: bool,
}

#[async_trait]
impl Log for ArchivedLog {
    async fn open(&self) -> Result<Box<dyn Events>> {
        let (sender, events) = mpsc::channel(MOST_EVENTS);
        let log = self.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = log.read(&sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(Box::new(Ahead {
            events,
            task,
            ended: false,
        }))
    }
}

impl ArchivedLog {
    /// Reads it.
    pub async fn reader(&self) -> Result<Reader<'_>> {
        match &self.behind {
            Some(behind) => Ok(Reader::behind(&self.objects, (**behind).clone())),
            None => Reader::from(&self.objects, self.timeline, Some(&self.file)).await,
        }
    }

    /// The event that says how those of the first file are to be read, where it was read before.
    pub fn description(&self) -> Option<Bytes> {
        self.behind.as_ref()?.description()
    }

    /// Hands every event on, and an empty one at the end: a channel that closes without it is no end of a log.
    async fn read(&self, sender: &mpsc::Sender<Result<Held>>) -> Result<()> {
        let room = Arc::new(Semaphore::new(MOST_KIB as usize));
        if let Some(description) = self.description()
            && let held = hold(&room, description).await?
            && sender.send(Ok(held)).await.is_err()
        {
            return Ok(());
        }
        let mut reader = self.reader().await?;
        while let Some(event) = reader.next().await? {
            let held = hold(&room, event.bytes).await?;
            if sender.send(Ok(held)).await.is_err() {
                return Ok(());
            }
        }
        let _ = sender.send(hold(&room, Bytes::new()).await).await;
        Ok(())
    }
}

/// Waits for room.
async fn hold(room: &Arc<Semaphore>, event: Bytes) -> Result<Held> {
    let kib = u32::try_from(event.len() >> 10).unwrap_or(MOST_KIB);
    let held = room
        .clone()
        .acquire_many_owned((kib + 1).min(MOST_KIB))
        .await;
    let held = held.map_err(|e| Error::unexpected("cannot read the log ahead").because(e))?;
    Ok((event, held))
}

#[async_trait]
impl Events for Ahead {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        match self.events.recv().await {
            Some(Ok((event, _))) if event.is_empty() => {
                self.ended = true;
                Ok(None)
            }
            Some(held) => held.map(|(event, _)| Some(event)),
            None => Err(Error::unexpected("the task that reads the log has ended")),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}
