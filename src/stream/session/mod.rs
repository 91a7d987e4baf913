//! One session of a streamer: from the state of store and server to the break of the connection.

mod follow;
mod put;

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::binlog::digest::Digest;
use crate::binlog::note::Fingerprint;
use crate::binlog::record::{FORMAT, Head, Parent, Reason, Timeline};
use crate::keys::recipients::Recipients;
use crate::layout::{LogFile, TimelineId};
use crate::mysql::named_lock::{self, Lock};
use crate::mysql::{Connection, connect};
use crate::stream::Streamer;
use crate::stream::base::Base;
use crate::stream::branch;
use crate::stream::coverage;
use crate::stream::cutter::Cutter;
use crate::stream::heartbeat::Heartbeat;
use crate::stream::objects::Objects;
use crate::stream::open_file::OpenFile;
use crate::stream::read;
use crate::stream::resume::{End, New, Start, decide, is_other, may_be_another, other_server};
use crate::stream::survey::{self, PATIENCE, Survey};
use crate::stream::upload::Uploader;
use crate::util::cancel::Cancel;
use crate::util::times::after;
use crate::{Error, Result};

/// How often a put is tried by `--once`.
const ATTEMPTS_ONCE: u32 = 4;

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
    streamer.store.keys().refresh();
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
            tracing::warn!(%error, "the heartbeat of the stream is damaged and will be replaced");
            None
        }
        head => head?,
    };
    let tail = cancel.unless(read::tail(&objects)).await?;
    let end = tail.as_ref().map(|tail| &tail.end);
    if let Some(end) = end.filter(|end| may_be_another(end, &survey))
        && let Some(ours) = &end.gtids
    {
        cancel.unless(survey.ask_starts(&mut side, ours)).await?;
        let strays = branch::strays(&streamer.server, &mut side, end, &survey);
        survey.strays = cancel.unless(strays).await?;
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
        let recipients = keys.recipients()?;
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
            target: Some(self.streamer.target.clone()),
        });
    }

    /// Reads keys that were rotated: those of one file of the log are the same. A timeline whose signer is not allowed any
    /// more is not continued.
    async fn rotate_keys(&mut self) -> Result<()> {
        let Streamer { store, target, .. } = self.streamer;
        let keys = store.keys();
        if keys.refresh() && self.unwritten.is_none() {
            let objects = Objects::none(store.clone(), target.clone());
            let begun = objects.timeline_for_streamer(self.timeline);
            let (_, is_trusted) = self.cancel.unless(begun).await?;
            self.is_untrusted |= !is_trusted;
        }
        keys.signing()?;
        self.recipients = keys.recipients()?;
        self.cutter.encrypt_to(self.recipients.clone());
        self.open = OpenFile::new(self.recipients.is_some());
        Ok(())
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
}

/// An id behind those of all timelines, also if the clock was set back.
fn new_id(objects: &Objects) -> TimelineId {
    const SECOND: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);
    let newest = objects.timelines.keys().chain(&objects.empty).max();
    let now = Timestamp::now();
    let began = newest.map_or(now, |newest| now.max(after(newest.began(), SECOND)));
    TimelineId::new(began, rand::random())
}
