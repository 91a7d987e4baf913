//! The events of a session as they come, until the stream ends or no longer continues what is archived.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Before, Broken, Ended, Session};
use crate::binlog::event::{Description, Event};
use crate::binlog::note::Fingerprint;
use crate::binlog::record::{Closed, FORMAT, Reason};
use crate::layout::{LogFile, LogObject};
use crate::mysql::Connection;
use crate::mysql::named_lock::{self, Lock};
use crate::stream::cutter::Discontinuity;
use crate::stream::heartbeat;
use crate::stream::open_file::OpenFile;
use crate::stream::source::{self, Sent, Source};
use crate::stream::survey;
use crate::{Error, Result};

/// How often the age of what waits for a cut is checked.
const TICK: Duration = Duration::from_millis(100);

impl Session<'_> {
    /// Follows the log until something ends it.
    pub(super) async fn follow(
        &mut self,
        side: &mut Connection,
        before: &mut Before,
    ) -> Result<Ended> {
        let cancel = self.cancel.clone();
        let opened = Source::open(
            &self.streamer.server,
            self.survey.mariadb,
            self.cutter.file(),
            self.position,
            before.breaks,
        );
        let mut source = cancel.unless(opened).await?;
        self.connection = Some(source.id);
        if self.unwritten.is_some() {
            // Otherwise the position is within the file, or behind its magic number already.
            self.cutter.begin_file(self.cutter.file().clone())?;
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = cancel.token().cancelled() => return Ok(Ended::Done),
                sent = source.next() => {
                    let sent = match sent {
                        Err(error) if !self.expected.is_empty() && source::says_no_such_place(&error) => {
                            return Ok(self.rewound());
                        }
                        sent => sent?,
                    };
                    if let Some(ended) = self.take(sent, side, before).await? {
                        return Ok(ended);
                    }
                }
                _ = tick.tick() => {
                    self.uploader.check().await?;
                    if looked.elapsed() >= heartbeat::PAUSE {
                        looked = Instant::now();
                        self.look(side).await?;
                    }
                }
            }
            let due = self
                .cutter
                .waiting_since()
                .is_some_and(|since| since.elapsed() >= self.streamer.config.cut());
            if self.cutter.is_full() || (due && self.cutter.at_rest()) {
                self.cut().await?;
            }
            if self.reached() {
                // The log ended there when the session began.
                self.heartbeat.covers(Some(self.survey.server_time()));
                return Ok(Ended::Done);
            }
            self.head(false).await?;
        }
    }

    /// Whether `--once` has all that the log held when it began.
    fn reached(&self) -> bool {
        let Some((file, end)) = &self.goal else {
            return false;
        };
        let at = (self.cutter.file(), self.cutter.log_pos());
        self.expected.is_empty() && self.cutter.at_rest() && at >= (file, *end)
    }

    async fn take(
        &mut self,
        sent: Sent,
        side: &mut Connection,
        before: &mut Before,
    ) -> Result<Option<Ended>> {
        match sent {
            Sent::Event(bytes) => {
                before.breaks = 0;
                if !self.expected.is_empty() {
                    // The end of the archive, read again: is it the same log?
                    let same = self
                        .expected
                        .pop_front()
                        .is_some_and(|event| event == Fingerprint::of(&bytes));
                    return Ok((!same).then(|| self.rewound()));
                }
                before.progress = true;
                match self.cutter.take(&bytes)? {
                    None => Ok(None),
                    Some(Discontinuity::Missing(missing)) => {
                        let text = format!(
                            "executed before {} and not archived: {missing}",
                            self.cutter.file()
                        );
                        Ok(Some(self.discontinued(Reason::Gap, text)))
                    }
                    Some(Discontinuity::Lost(lost)) => {
                        let text = format!(
                            "archived, and not executed before {}: {lost}",
                            self.cutter.file()
                        );
                        Ok(Some(self.discontinued(Reason::Rewound, text)))
                    }
                }
            }
            Sent::Description(bytes) => {
                Description::parse(&Event::parse(&bytes)?)?;
                Ok(None)
            }
            Sent::File(file) => {
                if file == *self.cutter.file() {
                    self.file_begun = true;
                    return Ok(None);
                }
                if !self.file_begun {
                    return Err(Error::source(format!(
                        "the server sends {file} in the place of {}",
                        self.cutter.file()
                    ))
                    .lost());
                }
                if !self.expected.is_empty() {
                    return Ok(Some(self.rewound()));
                }
                self.next_file(file, side).await
            }
            Sent::Heartbeat => {
                before.breaks = 0;
                Ok(None)
            }
            Sent::Ended => Ok(Some(Ended::Shutdown)),
        }
    }

    fn rewound(&self) -> Ended {
        Ended::Broken(Broken {
            reason: Reason::Rewound,
            missing: format!(
                "{} of the server is not the file of this name that is archived",
                self.cutter.file()
            ),
            file: None,
        })
    }

    /// What was taken of the file that does not continue the archive is not kept in its timeline.
    fn discontinued(&mut self, reason: Reason, missing: String) -> Ended {
        self.cutter.discard();
        Ended::Broken(Broken {
            reason,
            missing,
            file: Some(self.cutter.file().clone()),
        })
    }

    /// Ends a file and begins the next.
    async fn next_file(&mut self, file: LogFile, side: &mut Connection) -> Result<Option<Ended>> {
        let by_event = self.cutter.has_ended();
        self.cut().await?;
        let ended = self.cutter.file().clone();
        if file <= ended {
            return Ok(Some(self.rewound()));
        }
        let files = survey::files(side).await?;
        let server_bytes = files
            .iter()
            .find(|one| one.name == ended)
            .map(|one| one.end);
        let log_pos = self.cutter.log_pos();
        // A crash may leave half an event at the end of a file.
        if let Some(bytes) = server_bytes.filter(|bytes| *bytes != log_pos && by_event) {
            return Err(Error::archive(format!(
                "{ended} has {bytes} bytes on the server, and {log_pos} came"
            ))
            .hint("report this with the server's version; make a backup now"));
        }
        let opened = OpenFile::new(self.recipients.is_some());
        let open = std::mem::replace(&mut self.open, opened);
        let (has_closed, has_signature) = (open.has_closed, open.has_signature);
        let (segments, sha256) = open.end(self.cutter.prev());
        let closed = Closed {
            format: FORMAT,
            file: ended.clone(),
            bytes: self.cutter.offset(),
            log_pos,
            server_bytes,
            sha256,
            segments,
            target: Some(self.streamer.target.clone()),
            timeline: Some(self.timeline),
            closed_at: Some(Timestamp::now()),
        };
        if !has_closed {
            let object = LogObject::Closed(self.timeline, ended.clone());
            self.put_signed(&object, &closed, has_signature).await?;
        }
        self.rotate_keys().await?;
        if self.is_untrusted {
            self.begin_signed(&ended, log_pos, file.clone());
        }
        self.cutter.begin_file(file)?;
        Ok(None)
    }

    /// Asks whether the lock still holds, and how far the server is.
    pub(super) async fn look(&mut self, side: &mut Connection) -> Result<()> {
        let held = named_lock::still_held(side, Lock::Stream, &self.streamer.target);
        // The next session asks for it again.
        held.await.map_err(Error::lost)?;
        self.survey.ahead = survey::clock(side).await?;
        // Before the question: commits that come while it is answered may be missing.
        self.survey.at = Timestamp::now();
        self.survey.files = survey::files(side).await?;
        self.heartbeat.kept = survey::kept(side).await?;
        let stored = self.open.last().map_or(0, |record| record.log_pos_to);
        self.heartbeat.lag_bytes = self.survey.behind(self.cutter.file(), stored);
        let at = (self.cutter.file(), self.cutter.log_pos());
        let there = self.survey.end().map(|end| (&end.name, end.end));
        let idle = self.cutter.waiting_since().is_none() && self.expected.is_empty();
        if idle && there == Some(at) {
            self.heartbeat.covers(Some(self.survey.server_time()));
        }
        Ok(())
    }
}
