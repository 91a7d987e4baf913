//! One session of a streamer: from the state of store and server to the break of the connection.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::binlog::digest::Digest;
use crate::binlog::event::{Description, Event};
use crate::binlog::note::Fingerprint;
use crate::binlog::record::{Closed, FORMAT, Head, Parent, Reason, Record, Timeline};
use crate::keys::recipients::Recipients;
use crate::layout::{LogFile, LogObject, TimelineId};
use crate::mysql::named_lock::{self, Lock};
use crate::mysql::{Connection, connect};
use crate::store;
use crate::stream::Streamer;
use crate::stream::base::Base;
use crate::stream::coverage;
use crate::stream::cutter::{Cutter, Discontinuity};
use crate::stream::heartbeat::{self, Heartbeat};
use crate::stream::objects::Objects;
use crate::stream::open_file::OpenFile;
use crate::stream::read;
use crate::stream::restore_txt::restore_txt;
use crate::stream::resume::{End, New, Start, decide, is_other, may_be_another, other_server};
use crate::stream::source::{self, Sent, Source};
use crate::stream::survey::{self, PATIENCE, Survey};
use crate::stream::upload::{Item, Uploader};
use crate::util::cancel::Cancel;
use crate::util::times::after;
use crate::{Error, Result};

/// How often the time of a cut is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How often a put is tried by `--once`.
const ATTEMPTS_ONCE: u32 = 4;

/// How long the last pieces may take when the streamer is stopped.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

/// How a session ended without a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It archived what there was (`--once`), or was stopped.
    Done,
    /// The server ended the stream.
    Shutdown,
    /// The log does not continue what is archived: the next session begins a new timeline.
    Broken(Broken),
}

/// Why the log does not continue what is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Why.
    pub reason: Reason,
    /// What is missing, for people.
    pub missing: String,
    /// The file to go on with; `None` for the oldest.
    pub file: Option<LogFile>,
}

/// What one session knows of those before it.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// What it has to do, found by the one before.
    pub broken: Option<Broken>,
    /// How many ended without an event, one after the other.
    pub breaks: u32,
    /// Whether any event was archived by this process.
    pub progress: bool,
    /// Connection that held the lock.
    pub lock: Option<u32>,
}

/// Runs one session.
pub async fn run(streamer: &Streamer, before: &mut Before, cancel: &Cancel) -> Result<Ended> {
    let work = async {
        let mut side = connect(&streamer.server).await?.within(PATIENCE);
        lock(&mut side, streamer, before).await?;
        before.lock = Some(side.id());
        let version = side.version().await?;
        let survey = Survey::take(&mut side, &version).await?;
        let kept = survey::kept(&mut side).await?;
        Ok((side, survey, kept))
    };
    let (mut side, mut survey, kept) = cancel.unless(work).await?;
    let objects = Objects::list(streamer.store.clone(), streamer.target.clone());
    let objects = cancel.unless(objects).await?;
    // A heartbeat that cannot be read ends no streamer: it is about to be written again.
    let head = match cancel.unless(objects.head()).await {
        Err(error) if error.outcome() == crate::Outcome::Archive => {
            tracing::warn!(%error, "writing the heartbeat of the stream anew");
            None
        }
        head => head?,
    };
    let tail = cancel.unless(read::tail(&objects)).await?;
    let end = tail.as_ref().map(|tail| &tail.end);
    if let Some(ours) = end.and_then(|end| end.gtids.as_ref())
        && end.is_some_and(|end| may_be_another(end, &survey))
    {
        cancel.unless(survey.ask_starts(&mut side, ours)).await?;
    }
    let base = match end {
        Some(_) => None,
        None => {
            cancel
                .unless(Base::newest(&streamer.store, &streamer.target))
                .await?
        }
    };
    let start = match before.broken.take() {
        // The file that should continue the archive is not the one that is archived.
        Some(found) => match end.filter(|end| found.file.is_none() && is_other(end, &survey)) {
            Some(end) => other_server(end, &survey).unwrap_or(Start::Resume),
            None => after_break(found, &survey),
        },
        None => decide(end, &survey, base.as_ref()),
    };
    let mut session = Session::begin(streamer, &objects, survey, tail, start, head, cancel).await?;
    session.heartbeat.kept = kept;
    let ended = session.follow(&mut side, before).await;
    let ended = match ended {
        Ok(ended) => {
            if let Some(id) = session.connection {
                // The server would notice only at its next heartbeat, and keep the files that it was reading.
                let _ = side.run(&format!("KILL {id}")).await;
            }
            session.flush().await?;
            ended
        }
        Err(error) => return Err(session.end_after(error).await),
    };
    named_lock::release(&mut side, Lock::Stream, &streamer.target).await;
    side.close().await;
    Ok(ended)
}

/// Takes the lock. A connection of this process that the server does not yet know to be gone gives way.
async fn lock(side: &mut Connection, streamer: &Streamer, before: &Before) -> Result<()> {
    const ATTEMPTS: u32 = 10;
    const PAUSE: Duration = Duration::from_millis(500);
    for _ in 1..ATTEMPTS {
        match named_lock::take(side, Lock::Stream, &streamer.target).await {
            Ok(()) => return Ok(()),
            // A streamer that was killed is noticed a moment later.
            Err(error) if error.outcome() == crate::Outcome::Locked => {}
            Err(error) => return Err(error),
        }
        let holder = named_lock::holder(side, Lock::Stream, &streamer.target).await?;
        if let Some(id) = holder.filter(|id| before.lock.map(u64::from) == Some(*id)) {
            // An account may end its own connections.
            side.run(&format!("KILL {id}")).await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    named_lock::take(side, Lock::Stream, &streamer.target).await
}

/// A new timeline at the file that does not continue the archive, or the oldest.
fn after_break(found: Broken, survey: &Survey) -> Start {
    let named = found.file.filter(|file| survey.file(file).is_some());
    let oldest = survey.files.first().map(|file| file.name.clone());
    match named.or(oldest) {
        None => Start::Resume,
        Some(file) => Start::New(New {
            reason: found.reason,
            continues: false,
            missing: Some(found.missing),
            why: format!("the file {file} of the server"),
            file,
        }),
    }
}

/// A session under way.
struct Session<'a> {
    streamer: &'a Streamer,
    cancel: Cancel,
    survey: Survey,
    /// The timeline that is not yet in the store.
    unwritten: Option<Timeline>,
    timeline: TimelineId,
    cutter: Cutter,
    uploader: Uploader,
    /// Whether RESTORE.txt is in the store.
    has_readme: bool,
    /// The file that is open.
    open: OpenFile,
    /// Whether the file was begun by the server's word.
    file_begun: bool,
    /// To whom segments are encrypted; `None` if they are not.
    recipients: Option<Recipients>,
    /// Whether a signed timeline begins with the next file, since this one is not.
    is_untrusted: bool,
    /// The last events of the archive, which the server must have.
    expected: VecDeque<Fingerprint>,
    /// Where the stream begins.
    position: u64,
    /// Where `--once` ends.
    goal: Option<(LogFile, u64)>,
    heartbeat: Heartbeat,
    /// The connection that the stream came over.
    connection: Option<u32>,
}

impl<'a> Session<'a> {
    async fn begin(
        streamer: &'a Streamer,
        objects: &Objects,
        survey: Survey,
        tail: Option<read::Tail>,
        start: Start,
        head: Option<Head>,
        cancel: &Cancel,
    ) -> Result<Session<'a>> {
        let attempts = streamer.once.then_some(ATTEMPTS_ONCE);
        let uploader = Uploader::begin(streamer.store.clone(), cancel.clone(), attempts);
        let goal = survey.end().map(|end| (end.name.clone(), end.end));
        let id = new_id(objects);
        let keys = streamer.store.keys();
        let recipients = keys.recipients()?.cloned();
        // Before anything is archived: a malformed key must not end a streamer at the first closed file.
        keys.signing()?;
        // What is archived stays covered, whatever becomes of this session.
        let covered = tail
            .as_ref()
            .and_then(|tail| coverage::covered_until(head.as_ref(), &tail.end.last));
        let mut session = Session {
            streamer,
            cancel: cancel.clone(),
            timeline: id,
            unwritten: None,
            cutter: Cutter::begin(
                id,
                survey.mariadb,
                survey.files[0].name.clone(),
                recipients.clone(),
            ),
            open: OpenFile::new(recipients.is_some()),
            recipients,
            uploader,
            has_readme: objects.has_readme,
            file_begun: false,
            is_untrusted: tail.as_ref().is_some_and(|tail| !tail.is_trusted),
            expected: VecDeque::new(),
            position: 4,
            goal: goal.filter(|_| streamer.once),
            heartbeat: Heartbeat::after(head, streamer.config.cut()),
            connection: None,
            survey,
        };
        match (start, tail) {
            (Start::Resume, Some(tail)) => {
                let last = &tail.end.last;
                let (file, position) = (&last.file, last.log_pos_to);
                tracing::info!(timeline = %last.timeline, %file, position, "going on where the archive ends");
                for record in cancel
                    .unless(read::records_of(objects, last.timeline, file))
                    .await?
                {
                    session.note(&record);
                }
                let timeline = objects.timelines.get(&last.timeline);
                let listed = timeline.and_then(|timeline| timeline.files.get(file));
                if let Some(listed) = listed {
                    session.open.is_listed(listed);
                }
                session.position = tail.events_from;
                session.expected = tail.events;
                session.continue_from(tail.end, tail.digest);
                session.heartbeat.covers(covered);
                session.file_begun = true;
            }
            (Start::Next(file), Some(tail)) => {
                tracing::info!(timeline = %tail.end.last.timeline, %file, "going on at the file that follows the archive");
                session.continue_from(tail.end, tail.digest);
                session.heartbeat.covers(covered);
                session.cutter.begin_file(file)?;
            }
            (Start::New(new), tail) => {
                let parent = tail.map(|tail| Parent {
                    covered_until: covered,
                    ..tail.end.as_parent()
                });
                session.begin_timeline(new, parent);
            }
            (Start::Resume | Start::Next(_), None) => {
                return Err(Error::unexpected("there is nothing to resume"));
            }
        }
        Ok(session)
    }

    fn continue_from(&mut self, end: End, digest: Digest) {
        self.timeline = end.last.timeline;
        let recipients = self.recipients.clone();
        let purged = self.survey.purged.as_ref();
        self.cutter =
            Cutter::resume(&end.last, end.sha256, end.gtids, digest, recipients).told(purged);
    }

    fn begin_timeline(&mut self, new: New, parent: Option<Parent>) {
        let id = self.timeline;
        let (reason, missing) = (new.reason, new.missing.clone().unwrap_or_default());
        match reason {
            Reason::First => tracing::info!(timeline = %id, "archiving from {}", new.why),
            Reason::Failover | Reason::Signed => {
                tracing::warn!(timeline = %id, "going on at {}", new.why)
            }
            Reason::Gap | Reason::Rewound => {
                tracing::error!(timeline = %id, %reason, missing, "the log has a gap: make a backup now; going on at {}", new.why);
            }
        }
        self.is_untrusted = false;
        let recipients = self.recipients.clone();
        let purged = self.survey.purged.as_ref();
        self.cutter =
            Cutter::begin(id, self.survey.mariadb, new.file.clone(), recipients).told(purged);
        self.unwritten = Some(Timeline {
            format: FORMAT,
            id,
            reason,
            server: self.survey.identity.clone(),
            version: self.survey.version.clone(),
            mariadb: self.survey.mariadb,
            file: new.file,
            gtid_set: None,
            parent,
            continues: new.continues,
            missing: new.missing,
        });
    }

    /// Follows the log until something ends it.
    async fn follow(&mut self, side: &mut Connection, before: &mut Before) -> Result<Ended> {
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
        if self.is_untrusted {
            self.begin_signed(&ended, log_pos, file.clone());
        }
        self.cutter.begin_file(file)?;
        Ok(None)
    }

    /// Goes on in a timeline that is signed from its beginning. Nothing that is in the store is signed afterwards:
    /// whoever can write to it could have written it.
    fn begin_signed(&mut self, ended: &LogFile, log_pos: u64, file: LogFile) {
        let parent = Parent {
            id: self.timeline,
            file: ended.clone(),
            log_pos,
            gtid_set: self.cutter.gtids().map(ToString::to_string),
            covered_until: None,
        };
        let second = jiff::SignedDuration::from_secs(1);
        let began = Timestamp::now().max(after(self.timeline.began(), second));
        self.timeline = TimelineId::new(began, rand::random());
        let new = New {
            reason: Reason::Signed,
            why: format!("the file {file}, in a signed timeline"),
            file,
            continues: true,
            missing: None,
        };
        self.begin_timeline(new, Some(parent));
    }

    /// Queues a record, behind its signature where the store has a signing key. `replaces`: a signature that is left there
    /// without its record.
    async fn put_signed(
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
    async fn cut(&mut self) -> Result<()> {
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
    async fn send(&mut self, item: Item) -> Result<()> {
        match self.cancel.is_cancelled() {
            true => self.uploader.send(item).await,
            false => self.cancel.unless(self.uploader.send(item)).await,
        }
    }

    fn note(&mut self, record: &Record) {
        self.heartbeat.commits(record.contents.commit_last);
        self.open.note(record);
    }

    /// Asks whether the lock still holds, and how far the server is.
    async fn look(&mut self, side: &mut Connection) -> Result<()> {
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

    /// Writes the heartbeat, if it is due, or `now`.
    async fn head(&mut self, now: bool) -> Result<()> {
        let last = match self.open.last() {
            Some(last) if now || self.heartbeat.is_due() => last.clone(),
            _ => return Ok(()),
        };
        self.heartbeat.covers(self.uploader.stored().commit_last);
        if !self.heartbeat.covers_something() && !now {
            return Ok(());
        }
        let head = self.heartbeat.beat(self.timeline, last);
        let item = self.json(&LogObject::Head, &head)?;
        self.send(item).await
    }

    /// Stores what was taken, and the heartbeat. A streamer that is stopped does not wait for long.
    async fn flush(mut self) -> Result<()> {
        let stopped = self.cancel.is_cancelled();
        let work = async {
            self.cut().await?;
            self.head(true).await?;
            self.uploader.finish().await
        };
        in_time(stopped, work).await
    }

    /// Stores what was cut before a failure, and returns the failure.
    async fn end_after(self, error: Error) -> Error {
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

/// An id behind those of all timelines, also if the clock was set back.
fn new_id(objects: &Objects) -> TimelineId {
    const SECOND: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);
    let newest = objects.timelines.keys().chain(&objects.empty).max();
    let now = Timestamp::now();
    let began = newest.map_or(now, |newest| now.max(after(newest.began(), SECOND)));
    TimelineId::new(began, rand::random())
}
