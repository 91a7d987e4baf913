//! Objects to the store, one after the other: a segment is there only if all before it are.
//!
//! A put is tried again until it succeeds or the streamer is stopped: a store may be away for hours, and the server
//! keeps its log meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::binlog::record::Record;
use crate::catalog::clock::Ahead;
use crate::layout::Key;
use crate::store::{Store, StoreError};
use crate::util::cancel::Cancel;
use crate::{Error, Result};

/// Pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Pause between two comparisons of the clocks.
const COMPARED: Duration = Duration::from_secs(60);

/// How long the answer to one may take.
const COMPARISON: Duration = Duration::from_secs(5);

/// What is to be stored.
#[derive(Debug)]
pub enum Item {
    /// An object that exists once.
    New(Key, Bytes),
    /// An object that may be there already and is replaced.
    Replaced(Key, Bytes),
    /// A segment.
    Segment(Key, Bytes, Box<Record>),
    /// The heartbeat.
    Head(Key, Bytes),
}

impl Item {
    fn key(&self) -> &Key {
        match self {
            Item::New(key, _)
            | Item::Replaced(key, _)
            | Item::Segment(key, _, _)
            | Item::Head(key, _) => key,
        }
    }
}

/// What is in the store.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Number of segments since the session began.
    pub segments: u64,
    /// The latest commit of them, if the last one ends between transactions.
    pub commit_last: Option<Timestamp>,
    /// By how much the clock of this host is ahead of the store's, by the newest object that was compared.
    pub ahead: Option<Ahead>,
}

/// Stores objects in the background.
#[derive(Debug)]
pub struct Uploader {
    items: mpsc::Sender<Item>,
    stored: watch::Receiver<Stored>,
    /// Number of segments queued since the session began.
    queued: u64,
    /// Buffers of segments that are stored.
    buffers: mpsc::Receiver<Vec<u8>>,
    /// `None` when its failure was taken.
    task: Option<JoinHandle<Result<()>>>,
}

impl Uploader {
    /// Begins. `attempts` bounds how often a put is tried; `None` for as long as the streamer runs.
    pub fn begin(store: Arc<dyn Store>, cancel: Cancel, attempts: Option<u32>) -> Uploader {
        let (items, mut queue) = mpsc::channel::<Item>(1);
        let (sender, stored) = watch::channel(Stored::default());
        let (used, buffers) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut commit_last: Option<Timestamp> = None;
            let mut compared: Option<Instant> = None;
            while let Some(item) = queue.recv().await {
                let (key, before) = (item.key().clone(), Timestamp::now());
                match item {
                    Item::New(key, body) => {
                        put(&store, &key, body, false, &cancel, attempts).await?
                    }
                    Item::Replaced(key, body) => {
                        put(&store, &key, body, true, &cancel, attempts).await?
                    }
                    Item::Segment(key, body, record) => {
                        put(&store, &key, body.clone(), false, &cancel, attempts).await?;
                        // Unless the store still holds on to it.
                        if let Ok(buffer) = body.try_into_mut() {
                            let _ = used.try_send(buffer.into());
                        }
                        let contents = &record.contents;
                        commit_last = commit_last.max(record.covered_by_commits());
                        tracing::debug!(
                            key,
                            transactions = contents.transactions,
                            "segment stored"
                        );
                        sender.send_modify(|stored| {
                            stored.segments += 1;
                            if contents.complete {
                                stored.commit_last = commit_last;
                            }
                        });
                    }
                    Item::Head(key, body) => {
                        // The next one comes soon.
                        if let Err(error) = store.put(&key, body).await {
                            tracing::warn!(%error, "cannot write the heartbeat of the stream");
                            continue;
                        }
                    }
                }
                if compared.is_none_or(|at| at.elapsed() >= COMPARED)
                    && let Some(ahead) = compare(&store, &key, before).await
                {
                    compared = Some(Instant::now());
                    sender.send_modify(|stored| stored.ahead = Some(ahead));
                }
            }
            Ok(())
        });
        Uploader {
            items,
            stored,
            queued: 0,
            buffers,
            task: Some(task),
        }
    }

    /// The buffer of a segment that is stored.
    pub fn buffer(&mut self) -> Option<Vec<u8>> {
        self.buffers.try_recv().ok()
    }

    /// Queues an object. A segment waits until the one before it is stored, so that memory holds two of them.
    ///
    /// # Errors
    /// Those of an object before it.
    pub async fn send(&mut self, item: Item) -> Result<()> {
        if let Item::Segment(..) = item {
            let queued = self.queued;
            let all = self.stored.wait_for(|stored| stored.segments >= queued);
            if all.await.is_err() {
                return Err(self.failure().await);
            }
            self.queued += 1;
        }
        match self.items.send(item).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    async fn failure(&mut self) -> Error {
        let ended = || Error::unexpected("uploads ended early");
        match self.task.take() {
            None => ended(),
            Some(task) => match task.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) => ended(),
                Err(error) => ended().because(error),
            },
        }
    }

    /// Fails if an upload has failed.
    pub async fn check(&mut self) -> Result<()> {
        match self.task.as_ref().is_none_or(JoinHandle::is_finished) {
            true => Err(self.failure().await),
            false => Ok(()),
        }
    }

    /// What is stored so far.
    pub fn stored(&self) -> Stored {
        self.stored.borrow().clone()
    }

    /// Waits until everything is stored.
    pub async fn finish(self) -> Result<()> {
        let Uploader { items, task, .. } = self;
        drop(items);
        match task {
            None => Ok(()),
            Some(task) => match task.await {
                Ok(done) => done,
                Err(error) => Err(Error::unexpected("uploads ended early").because(error)),
            },
        }
    }
}

/// Puts an object that exists once, unless it replaces one. One of the same bytes is success: an answer was lost.
async fn put(
    store: &Arc<dyn Store>,
    key: &str,
    body: Bytes,
    replaces: bool,
    cancel: &Cancel,
    attempts: Option<u32>,
) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    let mut tried = 0;
    loop {
        let put = match replaces {
            true => store.put(key, body.clone()).await,
            false => store.put_new(key, body.clone()).await,
        };
        let error = match put {
            Ok(()) => return Ok(()),
            Err(StoreError::AlreadyExists { .. }) => match theirs(store, key, &body).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => error.into(),
        };
        tried += 1;
        let is_last = attempts.is_some_and(|attempts| tried >= attempts);
        if error.outcome() != crate::Outcome::Store || is_last || cancel.is_cancelled() {
            return Err(error);
        }
        tracing::warn!(%error, "cannot store a piece of the log; trying on");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // One last attempt.
            () = cancel.token().cancelled() => {}
        }
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Compares the clocks by an object that was just written, since `before`.
async fn compare(store: &Arc<dyn Store>, key: &str, before: Timestamp) -> Option<Ahead> {
    let after = Timestamp::now();
    let meta = tokio::time::timeout(COMPARISON, store.head(key)).await;
    Some(Ahead::of(before, meta.ok()?.ok()?.modified, after))
}

/// Whether the object that is there already is this one.
async fn theirs(store: &Arc<dyn Store>, key: &str, body: &Bytes) -> Result<()> {
    let others = || {
        Error::locked(format!("{key} was written by another streamer"))
            .hint("let one streamer run for each target")
    };
    match store.get_at_most(key, body.len() as u64).await {
        Ok(there) if there == *body => Ok(()),
        Ok(_) | Err(StoreError::TooLong { .. }) => Err(others()),
        Err(error) => Err(error.into()),
    }
}
