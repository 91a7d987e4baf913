//! Which transactions of a log are served: those behind the restored backup, up to the stop, that the replica lacks.
//!
//! Decided by the event that begins a transaction alone. At the end, what was passed is compared with what the plan
//! says, so that a log that lacks or doubles a transaction is never served to its end.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;

use crate::binlog::event::{Checksum, Description, Event, kind};
use crate::binlog::group::{Groups, Step};
use crate::binlog::gtid::{Gtid, GtidSet};
use crate::binlog::gtid_event;
use crate::replay::feed::Events;
use crate::replay::plan::Plan;
use crate::replay::whole::with_checksum;
use crate::{Error, Result};

/// Flag of an event that a server may skip (LOG_EVENT_IGNORABLE_F).
const IGNORABLE: u16 = 0x80;

/// What is known of a stretch once it was served to its end.
#[derive(Debug)]
pub struct Tally {
    /// What the destination had executed before it became a replica.
    pub before: GtidSet,
    /// How many transactions of the stretch were among them; `None` until the stretch was served.
    pub already: OnceLock<u64>,
}

/// Serves part of a log.
pub struct Selection {
    log: Box<dyn Events>,
    plan: Arc<Plan>,
    /// What the replica has.
    executed: GtidSet,
    /// What the replica has or does not need, and the transactions that have passed.
    passed: GtidSet,
    /// How many have passed, of those behind the backup.
    transactions: u64,
    /// How many of them the destination had before it became a replica.
    already: u64,
    tally: Arc<Tally>,
    groups: Groups,
    checksum: Checksum,
    /// Whether the open transaction is served.
    serves: bool,
    done: bool,
}

impl Selection {
    /// For a replica that has executed these transactions.
    pub fn new(
        log: Box<dyn Events>,
        plan: Arc<Plan>,
        tally: Arc<Tally>,
        executed: GtidSet,
    ) -> Selection {
        Selection {
            log,
            executed,
            passed: plan.base.clone(),
            transactions: 0,
            already: 0,
            tally,
            plan,
            groups: Groups::default(),
            checksum: Checksum::Off,
            serves: false,
            done: false,
        }
    }

    /// Takes an event: what of it is served.
    fn take(&mut self, bytes: Bytes) -> Result<Option<Bytes>> {
        let event = Event::parse(&bytes)?;
        match event.header.kind {
            kind::FORMAT_DESCRIPTION => {
                if let Some(open) = self.groups.open() {
                    let gtid = open.gtid.as_ref().map(ToString::to_string);
                    return Err(Error::archive(format!(
                        "the log ends within transaction {}",
                        gtid.unwrap_or_default()
                    )));
                }
                event.check(self.checksum)?;
                self.checksum = Description::parse(&event)?.checksum;
                return with_checksum(bytes, self.checksum).map(Some);
            }
            // The server's own ends of files: those that the replica sees are the listener's.
            kind::ROTATE
            | kind::STOP
            | kind::HEARTBEAT
            | kind::HEARTBEAT_V2
            | kind::MARIADB_START_ENCRYPTION
            | kind::MARIADB_BINLOG_CHECKPOINT
                if self.groups.at_rest() =>
            {
                return Ok(None);
            }
            kind::INCIDENT => {
                return Err(Error::archive("the server lost events here (INCIDENT)")
                    .hint("restore to a moment before it, or a backup made after it"));
            }
            _ => {}
        }
        event.check(self.checksum)?;
        if let Some(previous) = gtid_event::previous(&event, self.checksum)? {
            let missing = previous.minus(&self.passed);
            return match missing.is_empty() {
                true => with_checksum(bytes, self.checksum).map(Some),
                false => Err(Error::archive(format!(
                    "the log lacks transactions in front of a file: {missing}"
                ))),
            };
        }
        if let Some(begin) = gtid_event::begin(&event, self.checksum)? {
            let gtid = begin.gtid.ok_or_else(|| {
                Error::refused("the log has transactions without GTIDs, which cannot be served")
                    .hint("set gtid_mode = ON on the target, and make a backup")
            })?;
            if self.plan.stop.as_ref() == Some(&gtid) && self.groups.at_rest() {
                self.done = true;
                return Ok(None);
            }
            self.admit(&gtid)?;
        } else if self.groups.at_rest() {
            return match event.header.flags & IGNORABLE {
                0 => Err(Error::archive(format!(
                    "the log has an event of type {} between transactions",
                    event.header.kind
                ))),
                _ => Ok(None),
            };
        }
        let serves = self.serves;
        let step = self.groups.take(&event, self.checksum)?;
        match step {
            Step::Inside => {}
            Step::Ends(_) => self.serves = false,
            Step::Between => return Err(Error::archive("the log ends within a transaction")),
        }
        match serves {
            true => with_checksum(bytes, self.checksum).map(Some),
            false => Ok(None),
        }
    }

    /// Decides about a transaction.
    fn admit(&mut self, gtid: &Gtid) -> Result<()> {
        self.serves = false;
        if self.plan.base.contains(gtid) {
            return Ok(());
        }
        if self.passed.contains(gtid) {
            return Err(Error::archive(format!(
                "the log has transaction {gtid} twice, or behind a later one of its domain"
            )));
        }
        self.passed.add(gtid);
        self.transactions += 1;
        self.already += u64::from(self.tally.before.contains(gtid));
        self.serves = !self.executed.contains(gtid);
        Ok(())
    }

    /// Compares what has passed with the plan.
    fn finish(&self, reached: bool) -> Result<()> {
        if let Some(open) = self.groups.open() {
            let gtid = open
                .gtid
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            return Err(Error::archive(format!(
                "the log ends within transaction {gtid}"
            )));
        }
        if let (Some(stop), false) = (&self.plan.stop, reached) {
            return Err(Error::archive(format!(
                "the log ends before transaction {stop}, at which the replay stops"
            )));
        }
        let plan = &self.plan;
        let missing = plan.expected.minus(&self.passed);
        let extra = self.passed.minus(&plan.expected);
        if !missing.is_empty() || !extra.is_empty() || self.transactions != plan.transactions {
            let named = |what: &str, set: &GtidSet| match set.is_empty() {
                true => String::new(),
                false => format!(", {what} {set}"),
            };
            return Err(Error::archive(format!(
                "the log holds {} transactions from the backup to the stop, the plan says {}{}{}",
                self.transactions,
                plan.transactions,
                named("missing", &missing),
                named("unplanned", &extra),
            )));
        }
        let _ = self.tally.already.set(self.already);
        Ok(())
    }
}

#[async_trait]
impl Events for Selection {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.done {
            match self.log.next().await? {
                Some(bytes) => {
                    if let Some(served) = self.take(bytes)? {
                        return Ok(Some(served));
                    }
                    if self.done {
                        self.finish(true)?;
                    }
                }
                None => {
                    self.finish(false)?;
                    self.done = true;
                }
            }
        }
        Ok(None)
    }
}
