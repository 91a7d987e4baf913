//! Checks the whole archived log, without a server: every byte of it is read.
//!
//! Besides what [`Reader`] checks of each timeline: that files that the server has ended are as long as it said, that
//! no transaction is there twice or missing in front of a file, and that nothing is missing at the end.

use serde::Serialize;

use crate::binlog::gtid::GtidSet;
use crate::binlog::record::{Head, Timeline};
use crate::binlog::{event::Event, gtid_event};
use crate::layout::{LogFile, TimelineId};
use crate::stream::coverage::Stretch;
use crate::stream::objects::{Objects, TimelineObjects};
use crate::stream::read::{LogEvent, Reader, records_of};
use crate::{Error, Result};

/// What was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Unbroken stretches.
    pub timelines: u64,
    /// Files, also those that the server has not ended.
    pub files: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of the binary log.
    pub bytes: u64,
    /// Transactions.
    pub transactions: u64,
}

/// Checks all timelines.
///
/// # Errors
/// `Archive`: something is damaged, missing, doubled or out of order.
pub async fn check(objects: &Objects) -> Result<Checked> {
    let head = objects.head().await?;
    let mut checked = Checked::default();
    for (&id, timeline) in &objects.timelines {
        let mut gtids = Gtids::of(&objects.timeline(id).await?, timeline)?;
        let mut reader = Reader::from(objects, id, None).await?;
        let mut end = None;
        while let Some(event) = reader.next().await? {
            gtids.take(&event)?;
            checked.bytes += event.bytes.len() as u64;
            checked.transactions += u64::from(event.ends);
            end = Some((event.file, event.log_pos));
        }
        check_end(id, head.as_ref(), end)?;
        for (file, found) in &timeline.files {
            if found.closed {
                check_length(objects, id, file).await?;
            }
        }
        checked.timelines += 1;
        checked.files += timeline.files.len() as u64;
        checked.segments += timeline.segments() as u64;
    }
    Ok(checked)
}

/// Whether the newest timeline ends where the heartbeat was last, or behind it, by its last record alone.
///
/// # Errors
/// `Archive`: it does not.
pub async fn reaches_the_heartbeat(objects: &Objects, stretches: &[Stretch]) -> Result<()> {
    let Some(newest) = stretches.last() else {
        return Ok(());
    };
    let end = (newest.last_file.clone(), newest.log_pos);
    check_end(
        newest.timeline.id,
        objects.head().await?.as_ref(),
        Some(end),
    )
}

/// Whether the timeline ends where the heartbeat was last, or behind it.
pub fn check_end(id: TimelineId, head: Option<&Head>, end: Option<(LogFile, u64)>) -> Result<()> {
    let beyond = head.filter(|head| head.timeline == id);
    match (beyond, end) {
        (Some(head), Some((file, log_pos))) if (&head.file, head.log_pos) > (&file, log_pos) => {
            Err(Error::archive(format!(
                "timeline {id} ends at {file} position {log_pos}, and was archived up to {} position {}",
                head.file, head.log_pos
            ))
            .hint("find out who deleted segments of it; make a backup now"))
        }
        _ => Ok(()),
    }
}

/// Whether a file that the server has ended has the segments and the length that were noted then.
pub async fn check_length(objects: &Objects, id: TimelineId, file: &LogFile) -> Result<()> {
    let closed = objects.closed(id, file).await?;
    let open = objects.timelines.get(&id);
    let found = open.and_then(|timeline| timeline.files.get(file));
    let there = found.into_iter().flat_map(|file| file.segments.keys());
    let noted = closed.segments.iter().map(|record| &record.from);
    let last = records_of(objects, id, file).await?.pop();
    let ends = last.as_ref().map(|last| (last.to, last.log_pos_to));
    let ended_itself = last.is_some_and(|last| last.contents.ends.is_some());
    // A crash may leave half an event at the end of a file.
    let as_the_server = closed
        .server_bytes
        .is_none_or(|bytes| bytes == closed.log_pos || !ended_itself);
    let same = there.eq(noted) && ends == Some((closed.bytes, closed.log_pos));
    match same && as_the_server {
        true => Ok(()),
        false => Err(Error::archive(format!(
            "{file} of timeline {id} does not have the segments and the length that were noted when the server ended it"
        ))
        .hint("find out who changed the archive; make a backup now")),
    }
}

/// The transactions of a timeline, as far as it was read.
struct Gtids {
    /// `None` until the log says what was executed before it.
    passed: Option<GtidSet>,
    mariadb: bool,
}

impl Gtids {
    fn of(timeline: &Timeline, listed: &TimelineObjects) -> Result<Gtids> {
        // Behind files that retention has deleted, the first that is left says it.
        let is_first = listed.files.keys().next() == Some(&timeline.file);
        let set = timeline.gtid_set.as_deref().filter(|_| is_first);
        let set = set.map(|set| GtidSet::parse(timeline.mariadb, set));
        Ok(Gtids {
            passed: set.transpose()?,
            mariadb: timeline.mariadb,
        })
    }

    fn take(&mut self, event: &LogEvent) -> Result<()> {
        if event.transaction.is_none()
            && let Some(previous) =
                gtid_event::previous(&Event::parse(&event.bytes)?, event.checksum)?
        {
            let passed = self.passed.get_or_insert_with(|| previous.clone());
            let missing = previous.minus(passed);
            if !missing.is_empty() {
                return Err(Error::archive(format!(
                    "the log lacks transactions in front of {}: {missing}",
                    event.file
                ))
                .hint("make a backup now"));
            }
        }
        let gtid = event
            .transaction
            .as_ref()
            .and_then(|begin| begin.gtid.as_ref());
        if let (Some(gtid), Some(passed), true) = (gtid, &mut self.passed, event.ends) {
            // The numbers of MariaDB need not ascend, unless gtid_strict_mode is on.
            if !self.mariadb && passed.contains(gtid) {
                return Err(Error::archive(format!(
                    "{} has transaction {gtid}, which the log has before",
                    event.file
                )));
            }
            passed.add(gtid);
        }
        Ok(())
    }
}
