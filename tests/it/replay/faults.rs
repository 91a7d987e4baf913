//! What goes wrong during a replay is an error, and leaves a server that is no replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drctl::binlog::event::Checksum;
use drctl::binlog::event::Event;
use drctl::binlog::gtid_event;
use drctl::replay::destination::Begin;
use drctl::replay::feed::{Events, Log};
use drctl::replay::file::Files;
use drctl::replay::stop::{Finder, Stop, resolve};
use drctl::util::cancel::Cancel;
use drctl::{Error, Outcome, Result};

use super::Case;
use crate::on_both;
use crate::support::Flavour;

/// What happens at a transaction of the log, counted from 1.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// It is left out.
    Drop,
    /// It comes twice.
    Double,
    /// The log cannot be read any more.
    Fail,
    /// Nothing more comes, ever.
    Hang,
    /// The log ends behind its first event.
    End,
    /// Nothing comes for a while, longer than between two heartbeats.
    Pause,
}

/// A log with a fault at one transaction.
pub(super) struct Faulty {
    log: Files,
    at: u64,
    fault: Fault,
    /// How often it was opened.
    opened: Arc<AtomicU64>,
}

struct FaultyEvents {
    events: Box<dyn Events>,
    at: u64,
    fault: Fault,
    number: u64,
    kept: Vec<Bytes>,
    again: std::collections::VecDeque<Bytes>,
}

#[async_trait]
impl Log for Faulty {
    async fn open(&self) -> Result<Box<dyn Events>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FaultyEvents {
            events: self.log.open().await?,
            at: self.at,
            fault: self.fault,
            number: 0,
            kept: Vec::new(),
            again: std::collections::VecDeque::new(),
        }))
    }
}

#[async_trait]
impl Events for FaultyEvents {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.again.pop_front() {
                return Ok(Some(bytes));
            }
            let Some(bytes) = self.events.next().await? else {
                return Ok(None);
            };
            let event = Event::parse(&bytes)?;
            let was = self.number == self.at;
            let begins = gtid_event::begin(&event, Checksum::Crc32)?.is_some();
            if begins {
                self.number += 1;
                if was && matches!(self.fault, Fault::Double) {
                    self.again.extend(self.kept.drain(..));
                    self.again.push_back(bytes);
                    continue;
                }
            }
            if self.number == self.at {
                match self.fault {
                    Fault::Drop => continue,
                    Fault::Double => self.kept.push(bytes.clone()),
                    Fault::Fail => return Err(Error::store("the store is away")),
                    Fault::Hang => std::future::pending().await,
                    Fault::End if !begins => return Ok(None),
                    Fault::End => {}
                    Fault::Pause if begins => tokio::time::sleep(Duration::from_secs(12)).await,
                    Fault::Pause => {}
                }
            }
            return Ok(Some(bytes));
        }
    }
}

/// A log whose transaction `behind` the backup has a fault.
pub(super) fn faulty(case: &Case, fault: Fault, behind: u64) -> Arc<Faulty> {
    let log = case.log();
    let all = super::block_on(async {
        let mut events = log.open().await.unwrap();
        let mut before = 0;
        while let Some(bytes) = events.next().await.unwrap() {
            let event = Event::parse(&bytes).unwrap();
            if let Some(begin) = gtid_event::begin(&event, Checksum::Crc32).unwrap()
                && begin.gtid.is_some_and(|gtid| case.base.contains(&gtid))
            {
                before += 1;
            }
        }
        before
    });
    Arc::new(Faulty {
        log,
        at: all + behind,
        fault,
        opened: Arc::default(),
    })
}

on_both!(
    fn a_transaction_that_is_missing_or_doubled_is_noticed(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec("CALL shop.fill(5, 60)");
        let stretch = case.stretch(Stop::End).unwrap();
        let refused = case.replay(faulty(&case, Fault::Drop, 30), &stretch, Begin::Fresh).unwrap_err();
        println!("{refused}");
        assert_eq!(refused.outcome(), Outcome::Archive);
        // The next file of MySQL says what was before it.
        let words = ["the log holds 59 transactions", "the log lacks transactions"];
        assert!(words.iter().any(|words| refused.to_string().contains(words)), "{refused}");
        case.no_trace();
        let refused = case.replay(faulty(&case, Fault::Double, 30), &stretch, Begin::Resumed).unwrap_err();
        println!("{refused}");
        assert_eq!(refused.outcome(), Outcome::Archive);
        assert!(refused.to_string().contains("twice"), "{refused}");
        case.no_trace();
    }
);

on_both!(
    fn a_log_that_ends_within_a_transaction_is_replayed_up_to_it(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec("CALL shop.fill(5, 60)");
        let whole = case.stretch(Stop::End).unwrap();
        let log = faulty(&case, Fault::End, 30);
        let finder = Finder::new(case.base.clone(), Stop::End, "binlog.000001");
        let stretch = super::super::block_on({
            let log = log.clone();
            async move { resolve(&*log, finder, None).await }
        });
        let stretch = stretch.unwrap();
        assert_eq!((whole.plan.transactions, stretch.plan.transactions), (60, 29));
        assert!(stretch.left_out.is_some());
        case.replay(log, &stretch, Begin::Fresh).unwrap();
        case.no_trace();
        // And on from there, once the rest is archived.
        case.replay(Arc::new(case.log()), &whole, Begin::Resumed).unwrap();
        case.equal();
    }
);

on_both!(
    fn a_replay_that_breaks_off_leaves_no_trace_and_is_resumed(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec("CALL shop.fill(5, 200)");
        let stretch = case.stretch(Stop::End).unwrap();
        // A plan of less, to have some of it applied for sure.
        let first = case.source.exec("SELECT 1");
        assert_eq!(first.trim(), "1");
        let broken = case.replay(faulty(&case, Fault::Fail, 150), &stretch, Begin::Fresh).unwrap_err();
        println!("{broken}");
        assert_eq!(broken.outcome(), Outcome::Store);
        assert!(broken.to_string().contains("the store is away"), "{broken}");
        case.no_trace();
        let cancel = Cancel::default();
        let later = cancel.clone();
        let waiter = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_secs(4));
            later.cancel(Outcome::Terminated);
        });
        let log = faulty(&case, Fault::Hang, 180);
        let stopped = case.replay_until(log, &stretch, Begin::Resumed, &cancel).unwrap_err();
        waiter.join().unwrap();
        assert_eq!(stopped.outcome(), Outcome::Terminated, "{stopped}");
        case.no_trace();
        let rows = "SELECT COUNT(*) FROM shop.orders";
        let done: u64 = case.into.value(rows).parse().unwrap();
        println!("{done} of {}", case.source.value(rows));
        case.replay(Arc::new(case.log()), &stretch, Begin::Resumed).unwrap();
        case.equal();
        // Nothing is left to do, and nothing is done twice.
        case.replay(Arc::new(case.log()), &stretch, Begin::Resumed).unwrap();
        case.equal();
    }
);

on_both!(
    fn the_appliers_error_is_told_with_its_transaction(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec("CALL shop.fill(5, 20)");
        case.into.exec("ALTER TABLE shop.lines_of RENAME TO shop.elsewhere");
        let stretch = case.stretch(Stop::End).unwrap();
        let failed = case.replay(Arc::new(case.log()), &stretch, Begin::Fresh).unwrap_err();
        println!("{failed}");
        assert_eq!(failed.outcome(), Outcome::Server);
        assert!(failed.to_string().contains("lines_of"), "{failed}");
        let gtid = match flavour {
            Flavour::MySql => case.source.value("SELECT @@server_uuid"),
            Flavour::MariaDb => format!("applied is {}", case.base),
        };
        assert!(failed.to_string().contains(&gtid), "{failed}");
        case.no_trace();
        case.into.exec("ALTER TABLE shop.elsewhere RENAME TO shop.lines_of");
        case.replay(Arc::new(case.log()), &stretch, Begin::Resumed).unwrap();
        case.equal();
    }
);

on_both!(
    fn a_server_that_would_skip_transactions_is_refused(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec("CALL shop.fill(5, 3)");
        let stretch = case.stretch(Stop::End).unwrap();
        match flavour {
            // Its GTIDs say that it has the log's transactions, and its rows that it has not.
            Flavour::MySql => {
                let set = stretch.plan.expected.to_string();
                case.into.exec(&format!("SET GLOBAL gtid_purged = '+{set}'"));
            }
            Flavour::MariaDb => {
                case.into.exec("SET GLOBAL replicate_ignore_table = 'shop.lines_of'");
            }
        }
        let refused = case.replay(Arc::new(case.log()), &stretch, Begin::Fresh).unwrap_err();
        println!("{refused}");
        assert_eq!(refused.outcome(), Outcome::Refused);
        assert!(refused.to_string().contains("skip"), "{refused}");
        case.no_trace();
        match flavour {
            Flavour::MySql => {
                case.replay(Arc::new(case.log()), &stretch, Begin::FreshWithReset).unwrap();
            }
            Flavour::MariaDb => {
                case.into.exec("SET GLOBAL replicate_ignore_table = ''");
                case.replay(Arc::new(case.log()), &stretch, Begin::Fresh).unwrap();
            }
        }
        case.equal();
    }
);

on_both!(
    fn a_replica_that_waits_for_the_log_is_kept_by_heartbeats(flavour) {
        let case = Case::new(flavour, "");
        // In a file that the backup stands far behind the beginning of: the events name places that no replica is told.
        case.source.exec("CALL shop.fill(5, 60)");
        let stretch = case.stretch(Stop::End).unwrap();
        case.replay(faulty(&case, Fault::Pause, 30), &stretch, Begin::Fresh).unwrap();
        case.no_trace();
        case.equal();
    }
);
