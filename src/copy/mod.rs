//! An independent second copy of a target: everything in the primary store that a restore needs, in another store.
//!
//! Objects are copied as they are stored, encrypted ones without an identity. Nothing is decoded but what has no other
//! digest (the last segment of the log, if it is not encrypted), and everything is checked on the way: what is damaged
//! in the primary store is not copied, and what exists in the second store is not overwritten. The copier reads the
//! primary store and only adds to the second, so that neither who controls the primary store nor the copier can take a
//! copy away.
//!
//! - [`ends`]: the two stores; [`rate`]: the rate limit; [`lock`]: one copier at a time.
//! - [`listing`]: the backups of a store; [`backup`]: one backup, manifest last; [`marks`]: pins, acceptance, reports.
//! - [`log`]: the archived binary log; `timeline`: one timeline of it, in order.
//! - [`promoted`]: the end of the copy, when the side that it is for is promoted.
//! - [`glance`]: what a second store has, for metrics.
//! - [`object`]: one object, byte for byte; [`inspect`]: what is computed from its bytes meanwhile.
//!
//! Memory: `copy.objects` × (`copy.parts_in_flight` + 4) × `copy.part_bytes`, and 64 MiB of the log.

pub mod backup;
pub mod ends;
pub mod glance;
pub mod inspect;
pub mod listing;
pub mod lock;
pub mod log;
pub mod marks;
pub mod object;
pub mod promoted;
pub mod rate;
mod timeline;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;
use serde::Serialize;

use crate::archive::BackupPlace;
use crate::archive::manifest::MAX_BYTES;
use crate::catalog::binding::TargetFile;
use crate::copy::ends::{Ends, damaged, differs, is_of_one_object, of_primary, of_second};
use crate::copy::listing::{Listed, Listing};
use crate::copy::log::LogCopy;
use crate::copy::rate::Rate;
use crate::layout::{BackupId, BackupObject};
use crate::lease::Side;
use crate::store::{MOST_RECORD_BYTES, StoreConfig, StoreError};
use crate::{Error, Result};

/// Manifests that are compared in parallel.
const COMPARED_AT_ONCE: usize = 16;

/// How a second copy is made, section `copy` of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyConfig {
    /// The second store; `None` if none is configured.
    pub store: Option<StoreConfig>,
    /// Settings of a second store that is named on the command line.
    pub settings: StoreConfig,
    /// Rate at which the primary store is read; `None` for no limit.
    pub max_rate: Option<Rate>,
    /// Number of objects of a backup that are copied in parallel.
    pub objects: usize,
    /// Pause between two passes of a continuous copy.
    pub interval: Duration,
    /// The side that is built from the second store, if the copy ends when that has the lease.
    pub side: Option<Side>,
    /// Maximum age of what can be restored from the second store; `None` if it is not checked.
    pub rpo: Option<SignedDuration>,
}

/// What a pass, or a run of `copy --once`, did.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Backups that are now listed in the second store, and were not before.
    pub copied: Vec<BackupId>,
    /// Backups that were there already.
    pub present: u64,
    /// Backups that retention of the second store has deleted, and that are not copied again.
    pub pruned: u64,
    /// Marks and drill reports copied.
    pub marks: u64,
    /// Segments of the log copied.
    pub segments: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// What was not copied, and why.
    pub failed: Vec<String>,
    /// Whether the primary store has an archived log.
    #[serde(skip)]
    has_log: bool,
    /// The most severe failure.
    #[serde(skip)]
    worst: Option<Error>,
}

impl Tally {
    /// Notes that something was not copied.
    fn failed(&mut self, error: Error) {
        self.failed.push(error.to_string());
        self.worst = Some(match self.worst.take() {
            Some(worst) => worst.most_severe(error),
            None => error,
        });
    }

    /// The failure that determines the exit code; `None` if everything was copied.
    pub fn into_failure(self) -> Option<Error> {
        let more = self.failed.len().saturating_sub(1);
        self.worst.map(|worst| match more {
            0 => worst,
            more => worst.context(format!("{} objects were not copied, one of them", more + 1)),
        })
    }

    /// Whether the second store was changed.
    pub fn has_changed(&self) -> bool {
        !self.copied.is_empty() || self.marks + self.segments + self.bytes > 0
    }
}

/// Copies a target, pass by pass.
#[derive(Debug)]
pub struct Copier {
    ends: Ends,
    /// Backups that were found whole in the second store.
    compared: HashSet<BackupId>,
    log: LogCopy,
}

impl Copier {
    /// A copier that knows nothing yet.
    pub fn new(ends: Ends) -> Copier {
        Copier {
            ends,
            compared: HashSet::new(),
            log: LogCopy::default(),
        }
    }

    /// Reads files of keys again that were rotated.
    pub fn refresh_keys(&self) {
        for store in [&self.ends.primary, &self.ends.second] {
            store.keys().refresh();
        }
    }

    /// Copies what the second store lacks now. What is wrong with single objects is noted in `tally`, and the others are
    /// copied.
    ///
    /// # Errors
    /// `Store`: one of the stores failed. `NothingToDo`: the primary store has neither backups nor a log.
    /// `Archive`: `target.json` is damaged, or the second store has another one; nothing was copied.
    pub async fn pass(&mut self, tally: &mut Tally) -> Result<()> {
        let ends = self.ends.clone();
        let (primary, second) = (&ends.primary, &ends.second);
        let list = async {
            let ours = Listing::read(primary, &ends.target).await;
            let ours = ours.map_err(of_primary)?;
            let theirs = Listing::read(second, &ends.target).await;
            Ok((ours, theirs.map_err(of_second)?))
        };
        let (ours, theirs) = ends.cancel.unless(list).await?;
        let has_backup = ours.iter().any(|(_, listed)| listed.committed);
        if has_backup {
            self.bind().await?;
        }
        self.backups(&ours, &theirs, tally).await?;
        self.marks(&ours, &theirs, tally).await?;
        match log::copy(&ends, &mut self.log, tally).await {
            Err(error) if is_of_one_object(&error) => tally.failed(error),
            done => done?,
        }
        match has_backup || tally.has_log {
            true => Ok(()),
            false => Err(Error::nothing(format!(
                "{} has neither a backup nor an archived log in {}",
                ends.target,
                primary.location()
            ))
            .hint("check target and store, or run drctl backup first")),
        }
    }

    /// Copies `target.json`: the backups of two servers are never mixed.
    async fn bind(&self) -> Result<()> {
        let (ends, key) = (&self.ends, self.ends.target.identity());
        let read = async { Ok(ends.primary.get_at_most(&key, MOST_RECORD_BYTES).await) };
        let bytes = match ends.cancel.unless(read).await? {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(of_primary(error)),
        };
        match serde_json::from_slice::<TargetFile>(&bytes) {
            Ok(file) if file.target == ends.target => {}
            _ => return Err(damaged(&key, "cannot be read")),
        }
        let put = object::put(ends, &key, bytes).await.map_err(|error| {
            match is_of_one_object(&error) {
                true => error.hint(
                    "the second store has backups of another server under this target; copy to another prefix",
                ),
                false => error,
            }
        });
        put.map(drop)
    }

    /// Copies the backups that the second store lacks, the newest first.
    async fn backups(&mut self, ours: &Listing, theirs: &Listing, tally: &mut Tally) -> Result<()> {
        let ends = self.ends.clone();
        let mut lacking = Vec::new();
        let mut to_compare = Vec::new();
        for (id, listed) in ours.iter().rev().filter(|(_, listed)| listed.committed) {
            match theirs.get(id) {
                Some(there) if there.committed && self.compared.contains(&id) => {
                    tally.present += 1;
                }
                Some(there) if there.committed => to_compare.push((id, listed, there)),
                Some(there) if there.pruned => tally.pruned += 1,
                _ => lacking.push((id, listed)),
            }
        }
        let compare = |(id, listed, there): (BackupId, _, _)| {
            let (ends, place) = (&ends, self.place(id));
            async move { (id, is_whole(ends, &place, listed, there).await) }
        };
        let mut compared = stream::iter(to_compare)
            .map(compare)
            .buffered(COMPARED_AT_ONCE);
        let mut whole = Vec::new();
        while let Some((id, found)) = compared.next().await {
            match found {
                Ok(true) => whole.push(id),
                Ok(false) => lacking.extend(ours.get(id).map(|listed| (id, listed))),
                Err(error) if is_of_one_object(&error) => tally.failed(error),
                Err(error) => return Err(error),
            }
        }
        drop(compared);
        tally.present += whole.len() as u64;
        self.compared.extend(whole);
        lacking.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        for (id, listed) in lacking {
            let place = self.place(id);
            match backup::copy(&ends, &place, listed).await {
                Ok(Some(bytes)) => {
                    tracing::info!(%id, bytes, "backup copied");
                    tally.bytes += bytes;
                    tally.copied.push(id);
                    self.compared.insert(id);
                }
                Ok(None) => {}
                Err(error) if is_of_one_object(&error) => tally.failed(error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Copies marks and reports of the backups that the second store lists.
    async fn marks(&self, ours: &Listing, theirs: &Listing, tally: &mut Tally) -> Result<()> {
        for (id, listed) in ours.iter() {
            let there = theirs.get(id);
            let is_listed = there.is_some_and(|there| there.committed);
            if !is_listed && !self.compared.contains(&id) {
                continue;
            }
            for mark in &listed.evidence {
                let has = there.is_some_and(|there| there.evidence.contains(mark));
                let key = self.place(id).key(mark);
                if !has && marks::copy(&self.ends, &key).await? {
                    tally.marks += 1;
                }
            }
        }
        Ok(())
    }

    fn place(&self, id: BackupId) -> BackupPlace {
        BackupPlace {
            target: self.ends.target.clone(),
            id,
        }
    }
}

/// Whether the second store has all objects of a backup that it lists.
///
/// # Errors
/// `Archive`: its manifest is another one.
async fn is_whole(
    ends: &Ends,
    place: &BackupPlace,
    listed: &Listed,
    there: &Listed,
) -> Result<bool> {
    let Some(commit) = backup::commit(ends, place, listed).await? else {
        // Deleted since it was listed: nothing to compare with.
        return Ok(true);
    };
    let key = place.key(&BackupObject::Manifest);
    let read = async { Ok(ends.second.get_at_most(&key, MAX_BYTES as u64).await) };
    match ends.cancel.unless(read).await? {
        Ok(theirs) if theirs == commit.bytes => Ok(commit.is_whole(there)),
        Ok(_) | Err(StoreError::TooLong { .. }) => Err(differs(&key)),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(of_second(error)),
    }
}
