//! What the archived log holds beyond what a standby has: one stretch after another, each read once for its plan and once
//! to be served, and nothing that is in front of it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::binlog::event::Event;
use crate::binlog::gtid::GtidSet;
use crate::binlog::record::{Head, Timeline};
use crate::layout::{LogFile, TargetName, TimelineId};
use crate::replay::archive::ArchivedLog;
use crate::replay::stop::{Finder, Resolved, Stop};
use crate::store::Store;
use crate::stream::objects::Objects;
use crate::stream::read::Checkpoint;
use crate::{Error, Outcome, Result};

/// The end of a timeline, as a standby reads it.
#[derive(Debug, Clone)]
pub struct Tail {
    store: Arc<dyn Store>,
    target: TargetName,
    timeline: TimelineId,
    /// The file that is read from its beginning where nothing was read before.
    file: LogFile,
    /// The last place between transactions of what was replayed.
    behind: Option<Arc<Checkpoint>>,
    /// The last segment of what was replayed; a transaction may be open behind it.
    seen: Option<(LogFile, u64)>,
}

/// A stretch beyond what a standby has.
#[derive(Debug)]
pub struct Beyond {
    /// The log that holds it.
    pub log: ArchivedLog,
    /// What of it is replayed.
    pub resolved: Resolved,
    /// The last place in it between transactions, where that is behind all of it but an open one.
    end: Option<Checkpoint>,
    /// The last segment; `None` where the stretch ends in front of the end of the log.
    seen: Option<(LogFile, u64)>,
}

impl Beyond {
    /// Whether there is nothing behind it but, perhaps, an open transaction.
    pub fn ends_with_log(&self) -> bool {
        self.seen.is_some()
    }
}

impl Tail {
    /// Of a timeline, from the beginning of a file.
    pub fn of(objects: &Objects, timeline: TimelineId, file: LogFile) -> Tail {
        Tail {
            store: objects.store.clone(),
            target: objects.target.clone(),
            timeline,
            file,
            behind: None,
            seen: None,
        }
    }

    /// The timeline that is read.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// What follows these transactions, up to the stop; `None` if nothing was archived since the last stretch.
    pub async fn beyond(&self, executed: &GtidSet, stop: Stop) -> Result<Option<Beyond>> {
        let objects = self.list().await?;
        let last = objects.last_segment(self.timeline);
        if last.is_none() || last == self.seen {
            return Ok(None);
        }
        let read = self.behind.as_ref().map(|behind| behind.last());
        let log = ArchivedLog {
            objects: Arc::new(objects),
            timeline: self.timeline,
            file: read.map_or(&self.file, |read| &read.file).clone(),
            behind: self.behind.clone(),
        };
        let mut finder = Finder::new(executed.clone(), stop, log.file.as_str());
        if let Some(description) = log.description() {
            finder.take(&Event::parse(&description)?)?;
        }
        let mut reader = log.reader().await?;
        let mut is_whole = true;
        while is_whole && let Some(event) = reader.next().await? {
            is_whole = finder.take(&Event::parse(&event.bytes)?)?;
        }
        let end = reader.checkpoint().filter(|_| is_whole);
        Ok(Some(Beyond {
            resolved: finder.finish(None)?,
            end,
            seen: last.filter(|_| is_whole),
            log,
        }))
    }

    /// Goes on behind a stretch that was replayed.
    pub fn advance(&mut self, beyond: Beyond) {
        if let Some(end) = beyond.end {
            self.behind = Some(Arc::new(end));
        }
        self.seen = beyond.seen.or(self.seen.take());
    }

    async fn list(&self) -> Result<Objects> {
        let (store, target, id) = (self.store.clone(), self.target.clone(), self.timeline);
        let (file, from) = match self.behind.as_ref().map(|behind| behind.last()) {
            Some(last) => (&last.file, last.from),
            None => (&self.file, 0),
        };
        let list = || Objects::behind(store.clone(), target.clone(), id, file, from);
        list().await
    }

    /// Up to when every commit is in what was read, by the clock of the target's server. `head` was read before it.
    pub fn covered_until(&self, head: Option<&Head>) -> Option<Timestamp> {
        let last = self.behind.as_ref()?.last();
        let is_read = |head: &&Head| {
            head.timeline == self.timeline
                && (&head.file, head.log_pos) <= (&last.file, last.log_pos_to)
        };
        let by_head = head.filter(is_read).and_then(|head| head.covered_until);
        by_head.max(last.covered_by_commits())
    }

    /// The next timeline, if there is one.
    pub async fn next_timeline(&self) -> Result<Option<Timeline>> {
        let folders = self.store.folders(&self.target.log()).await?;
        let ids = folders.iter().filter_map(|id| id.parse().ok());
        let later = ids.filter(|id: &TimelineId| *id > self.timeline).min();
        let Some(id) = later else { return Ok(None) };
        let objects = Objects::none(self.store.clone(), self.target.clone());
        match objects.timeline(id).await {
            Ok(timeline) => Ok(Some(timeline)),
            // Its segments are copied before it is complete, or it is being deleted.
            Err(error) if error.outcome() == Outcome::Archive => {
                tracing::debug!(%error, "the next timeline is not there yet");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Why a standby cannot go on: the timeline behind its own does not continue it.
pub fn gap(next: &Timeline) -> Error {
    let missing = next.missing.as_deref().unwrap_or("part of the log");
    Error::refused(format!(
        "the log goes on in timeline {} ({}), and {missing} is not archived",
        next.id, next.reason
    ))
    .hint("the standby is rebuilt from the next backup")
}
