//! The comparison of a standby with a backup that was made later than the one that it was built from: once it holds exactly
//! the transactions of the backup, its data must have the backup's ledger.
//!
//! A backup is known when it is complete, which is long after its snapshot: a standby that is seconds behind has passed the
//! place. So at `schedule.standby` it stops applying the log, and waits for the next backup. Where nothing was committed
//! since the snapshot of one, no wait is needed.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::archive::read::Archive;
use crate::catalog::lease::Lease;
use crate::catalog::{Catalog, Entry};
use crate::layout::BackupId;
use crate::monitor::standby::{Compared, State};
use crate::objectives::schedule::Schedule;
use crate::replay::place::Place;
use crate::restore::standby::Standby;
use crate::standby::Follower;
use crate::standby::build::Base;
use crate::standby::follow::Following;
use crate::standby::status::Status;
use crate::util::error::{Outcome, Result};
use crate::verify;
use crate::verify::later::Later;

/// Pause between two looks for a newer backup, and the same while it is waited for.
const LOOK: Duration = Duration::from_secs(60);
const LOOK_WAITING: Duration = Duration::from_secs(10);

/// When the standby is compared.
#[derive(Debug)]
pub(super) struct Proof {
    schedule: Option<Schedule>,
    wait: Duration,
    due: Option<Timestamp>,
    /// Since when it waits for a backup.
    waiting: Option<Instant>,
    looked: Option<Instant>,
    /// The newest backup that it was compared with, or had passed.
    newest: BackupId,
}

impl Proof {
    /// Of a standby that was found equal to this backup.
    pub fn behind(backup: BackupId, follower: &Follower) -> Proof {
        let schedule = follower.proof.clone();
        Proof {
            due: schedule.as_ref().and_then(|all| all.next(Timestamp::now())),
            schedule,
            wait: follower.config.wait_seconds.duration(),
            waiting: None,
            looked: None,
            newest: backup,
        }
    }

    /// Whether the log is applied only up to the place of the next backup.
    pub fn waits(&mut self) -> bool {
        let now = Timestamp::now();
        if self.due.is_some_and(|due| due <= now) {
            self.due = self.schedule.as_ref().and_then(|all| all.next(now));
            self.waiting = Some(Instant::now());
            self.looked = None;
            tracing::info!("waiting for the next backup, to be compared with it");
        }
        match self.waiting {
            Some(since) if since.elapsed() > self.wait => {
                tracing::warn!(
                    seconds = self.wait.as_secs(),
                    "no backup came to be compared with; the standby goes on without"
                );
                self.waiting = None;
                false
            }
            waiting => waiting.is_some(),
        }
    }

    /// Whether it is time to look for a backup.
    fn looks(&mut self) -> bool {
        let pause = match self.waiting {
            Some(_) => LOOK_WAITING,
            None => LOOK,
        };
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= pause);
        if is_due {
            self.looked = Some(Instant::now());
        }
        is_due
    }
}

impl Following<'_> {
    /// A newer backup whose place the standby has not passed.
    ///
    /// # Errors
    /// The store.
    pub async fn next_backup(&mut self) -> Result<Option<Base>> {
        if !self.proof.looks() {
            return Ok(None);
        }
        let (store, target) = (&self.follower.store, &self.follower.target);
        let mut newer = Vec::new();
        let after = target.backup(self.proof.newest);
        for prefix in target.backups() {
            if after.starts_with(&prefix) || prefix > after {
                newer.extend(store.list_after(&prefix, &after).await?);
            }
        }
        let catalog = Catalog::of(store.clone(), target.clone(), &newer);
        let entries: Vec<Entry> = catalog.bases().await?;
        let newer = entries.into_iter().filter(|one| one.id > self.proof.newest);
        let newer: Vec<Entry> = newer.collect();
        if newer.is_empty() {
            return Ok(None);
        }
        let (objects, stretches) = self.follower.archived().await?;
        let mut passed = None;
        // The oldest first: the standby may come to the others later.
        for entry in newer.into_iter().rev() {
            let place = match Place::of(&catalog, &entry, &objects, &stretches).await {
                Ok(place) => place,
                Err(error) if error.outcome() == Outcome::Refused => {
                    tracing::debug!(%error, backup = %entry.id, "has no place in the log yet");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if place.log.timeline == self.tail.timeline() && place.gtids.covers(&self.executed) {
                return Ok(Some(Base {
                    catalog,
                    entry,
                    place,
                }));
            }
            passed = Some(entry.id);
        }
        if let Some(passed) = passed {
            self.proof.newest = passed;
        }
        Ok(None)
    }

    /// Compares the standby, which has come to the place of this backup.
    pub async fn prove(&mut self, backup: &Base, status: &mut Status) -> Result<()> {
        let Base { catalog, entry, .. } = backup;
        self.proof.newest = entry.id;
        self.proof.waiting = None;
        status.set(State::Comparing, None);
        status.write(true).await;
        let open = catalog.open(entry.id);
        let archive = self.follower.cancel.unless(open).await?;
        let _beat = status.beat();
        self.standby.admit().await?;
        let compared = compare(self.follower, &mut self.standby, &archive).await;
        let done = match compared {
            Ok(differences) if differences.is_empty() => {
                self.standby.rebase(&archive).await.map(|()| differences)
            }
            compared => compared,
        };
        self.standby.protect().await?;
        let differences = done?;
        let equal = differences.is_empty();
        match equal {
            true => {
                tracing::info!(backup = %entry.id, "the standby is equal to the backup");
                status.report.backup = Some(entry.id);
                let lease = Lease::reading(catalog.store(), &catalog.place(entry.id)).await;
                if let Some(before) = std::mem::replace(&mut self.lease, lease) {
                    before.end().await;
                }
            }
            false => {
                tracing::error!(backup = %entry.id, differences, "the standby is NOT equal to the backup");
            }
        }
        status.report.compared = Some(Compared {
            backup: entry.id,
            at: Timestamp::now(),
            equal,
            differences,
        });
        status.set(State::Following, None);
        status.write(true).await;
        Ok(())
    }
}

/// How the standby differs from a backup, in words; empty if it does not.
async fn compare(follower: &Follower, standby: &mut Standby, archive: &Archive) -> Result<String> {
    let cancel = &follower.cancel;
    let later = Later::read(archive, cancel).await?;
    if archive.manifest().accounts.is_some() {
        // The log says nothing of accounts, and a view without its definer cannot be dumped.
        for warning in standby.create_accounts(archive, follower.resources).await? {
            tracing::warn!("{warning}");
        }
    }
    let server = verify::compare::Compared {
        server: &follower.server,
        reader: follower.resources.reader,
        lanes: follower.resources.lanes,
        cancel,
    };
    let schemas: BTreeSet<String> = standby.schemas().await?.into_iter().collect();
    let (comparison, _) = later.compare(archive, server, schemas).await?;
    Ok(match comparison.is_equal() {
        true => String::new(),
        false => comparison.which_differ(),
    })
}
