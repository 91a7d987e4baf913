//! Where a backup stands in the archived log.

use std::sync::Arc;

use jiff::Timestamp;

use crate::binlog::gtid::GtidSet;
use crate::catalog::{Catalog, Entry};
use crate::layout::LogFile;
use crate::replay::archive::ArchivedLog;
use crate::replay::stop::{Finder, Resolved, Stop, resolve};
use crate::stream::coverage::Stretch;
use crate::stream::from_here::FromHere;
use crate::stream::objects::Objects;
use crate::{Error, Outcome, Result};

/// The place of a backup.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its timeline, from the beginning of the file that the backup stands in.
    pub log: ArchivedLog,
    /// The transactions that the backup holds.
    pub gtids: GtidSet,
    /// Position in that file, bytes.
    pub position: u64,
    /// Up to when every commit of the timeline is archived.
    pub covered_until: Timestamp,
}

impl Place {
    /// The place of this backup, of its target's log.
    ///
    /// # Errors
    /// `Refused`: the backup names no place, or it is not archived.
    pub async fn of(
        catalog: &Catalog,
        entry: &Entry,
        objects: &Arc<Objects>,
        stretches: &[Stretch],
    ) -> Result<Place> {
        let here = FromHere::of(&entry.manifest, stretches);
        let not_archived = || Error::refused(here.why().unwrap_or_default());
        let found = here.place().ok_or_else(not_archived)?;
        let mut all = stretches.iter();
        let stretch = all.find(|stretch| stretch.timeline.id == found.timeline);
        let stretch = stretch.ok_or_else(not_archived)?;
        let coordinates = catalog.coordinates(entry).await;
        let coordinates = coordinates.map_err(|error| match error.outcome() {
            Outcome::Archive => {
                Error::refused(format!("its GTIDs cannot be read: {}", error.what()))
            }
            _ => error,
        })?;
        let gtids = coordinates.and_then(|at| at.gtid).unwrap_or_default();
        Ok(Place {
            log: ArchivedLog {
                objects: objects.clone(),
                timeline: found.timeline,
                file: found.file.clone(),
                behind: None,
            },
            gtids: GtidSet::parse(stretch.timeline.mariadb, &gtids)?,
            position: found.position,
            covered_until: stretch.to,
        })
    }

    /// The server's file.
    pub fn file(&self) -> &LogFile {
        &self.log.file
    }

    /// The stretch of the log from here to a stop.
    pub async fn resolve(&self, stop: Stop) -> Result<Resolved> {
        let file = self.file().as_str();
        let finder = Finder::new(self.gtids.clone(), stop, file).with_base_at(file, self.position);
        resolve(&self.log, finder, Some(self.covered_until)).await
    }

    /// Where the log stands when it holds exactly what the backup holds.
    pub fn stop(&self) -> Stop {
        Stop::Holding {
            gtids: self.gtids.clone(),
            file: self.file().to_string(),
            position: self.position,
        }
    }

    /// Checks that the archived log reaches from here to the place of a later backup, by its records alone.
    ///
    /// # Errors
    /// `Refused`: it does not.
    pub fn reaches(&self, later: &Place) -> Result<()> {
        let (here, there) = (self.log.timeline, later.log.timeline);
        if here != there {
            return Err(Error::refused(format!(
                "its place is in timeline {here} of the log, and that of the newest backup in {there}"
            )));
        }
        let is_earlier = (self.file(), self.position) <= (later.file(), later.position);
        if !is_earlier || !later.gtids.covers(&self.gtids) {
            return Err(Error::refused(
                "its place in the log is not in front of that of the newest backup",
            ));
        }
        match later.gtids == self.gtids {
            true => Err(Error::refused(
                "nothing was committed between it and the newest backup",
            )),
            false => Ok(()),
        }
    }
}
