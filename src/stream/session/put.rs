//! What a session puts into the store: segments, the records of files and timelines, the heartbeat.

use std::time::Duration;

use serde::Serialize;

use super::Session;
use crate::binlog::record::Record;
use crate::catalog::clock::Ahead;
use crate::layout::LogObject;
use crate::store;
use crate::stream::restore_txt::restore_txt;
use crate::stream::upload::Item;
use crate::{Error, Result};

/// How long the last pieces may take when the streamer is stopped.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

impl Session<'_> {
    /// Queues a record, behind its signature where the store has a signing key. `replaces`: a signature that is left there
    /// without its record.
    pub(super) async fn put_signed(
        &mut self,
        object: &LogObject,
        value: &impl Serialize,
        replaces: bool,
    ) -> Result<()> {
        let item = self.json(object, value)?;
        if let Item::New(_, record) = &item
            && let Some(signature) = store::sign(&self.streamer.store, record.clone()).await?
        {
            let key = self.streamer.target.log_object(&object.signature());
            let signature = match replaces {
                true => Item::Replaced(key, signature.into()),
                false => Item::New(key, signature.into()),
            };
            self.send(signature).await?;
        }
        self.send(item).await
    }

    fn json(&self, object: &LogObject, value: &impl Serialize) -> Result<Item> {
        let mut body = serde_json::to_vec(value)
            .map_err(|e| Error::unexpected("cannot write JSON").because(e))?;
        body.push(b'\n');
        let key = self.streamer.target.log_object(object);
        Ok(match object {
            LogObject::Head => Item::Head(key, body.into()),
            _ => Item::New(key, body.into()),
        })
    }

    /// Cuts and queues what was taken.
    pub(super) async fn cut(&mut self) -> Result<()> {
        if let Some(buffer) = self.uploader.buffer() {
            self.cutter.reuse(buffer);
        }
        let Some(cut) = self.cutter.cut()? else {
            return Ok(());
        };
        let target = &self.streamer.target;
        if !self.has_readme {
            // It may be there already: another timeline began at the same time.
            let key = target.log_object(&LogObject::Readme);
            let text = restore_txt(target, self.survey.mariadb);
            self.send(Item::New(key, text.into())).await?;
            self.has_readme = true;
        }
        if let Some(mut timeline) = self.unwritten.take() {
            timeline.gtid_set = self.cutter.began_with().map(ToString::to_string);
            let object = LogObject::Timeline(timeline.id);
            self.put_signed(&object, &timeline, false).await?;
        }
        let record = cut.record;
        let (id, file, from) = (record.timeline, record.file.clone(), record.from);
        let object = match self.recipients {
            Some(_) => LogObject::EncryptedSegment(id, file, from),
            None => LogObject::Segment(id, file, from),
        };
        let key = target.log_object(&object);
        self.note(&record);
        let item = Item::Segment(key, cut.object, Box::new(record));
        self.send(item).await
    }

    /// Queues an object. A streamer that is stopped while it waits queues nothing more.
    pub(super) async fn send(&mut self, item: Item) -> Result<()> {
        match self.cancel.is_cancelled() {
            true => self.uploader.send(item).await,
            false => self.cancel.unless(self.uploader.send(item)).await,
        }
    }

    pub(super) fn note(&mut self, record: &Record) {
        self.heartbeat.commits(record.contents.commit_last);
        self.open.note(record);
    }

    /// Writes the heartbeat, if it is due, or `now`.
    pub(super) async fn head(&mut self, now: bool) -> Result<()> {
        let last = match self.open.last() {
            Some(last) if now || self.heartbeat.is_due() => last.clone(),
            _ => return Ok(()),
        };
        let stored = self.uploader.stored();
        self.heartbeat.covers(stored.commit_last);
        let ahead = |host: Ahead| self.survey.ahead.most.saturating_add(host.most);
        self.heartbeat.ahead = stored.ahead.map(ahead);
        if !self.heartbeat.covers_something() && !now {
            return Ok(());
        }
        let head = self.heartbeat.beat(self.timeline, last);
        let item = self.json(&LogObject::Head, &head)?;
        self.send(item).await
    }

    /// Stores what was taken, and the heartbeat. A streamer that is stopped does not wait for long.
    pub(super) async fn flush(mut self) -> Result<()> {
        let stopped = self.cancel.is_cancelled();
        let work = async {
            self.cut().await?;
            self.head(true).await?;
            self.uploader.finish().await
        };
        in_time(stopped, work).await
    }

    /// Stores what was cut before a failure, and returns the failure.
    pub(super) async fn end_after(self, error: Error) -> Error {
        let stopped = self.cancel.is_cancelled();
        match in_time(stopped, self.uploader.finish()).await {
            Err(other) if other.outcome() == crate::Outcome::Locked => other,
            Err(other) => {
                tracing::warn!(error = %other, "cannot store the last pieces of the log");
                error
            }
            Ok(()) => error,
        }
    }
}

async fn in_time(stopped: bool, work: impl Future<Output = Result<()>>) -> Result<()> {
    match stopped {
        false => work.await,
        true => match tokio::time::timeout(FLUSH_TIMEOUT, work).await {
            Ok(done) => done,
            Err(_) => Err(Error::store("the last pieces of the log were not stored in time")
                .hint("nothing is lost while the server keeps its log: the next start goes on before them")),
        },
    }
}
