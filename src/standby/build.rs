//! Builds a standby: the newest usable backup whose place lies in the archived log, restored, compared, and what is
//! archived behind it.

use std::sync::Arc;

use crate::catalog::{Catalog, Entry};
use crate::layout::{BackupId, TimelineId};
use crate::mysql::connect;
use crate::replay::address::own_address;
use crate::replay::place::Place;
use crate::replay::stop::Stop;
use crate::replay::{ReplayPath, STANDBY, Stretch, Then};
use crate::restore::options::{Check, Destination, Permissions, RestoreOptions, Tuning};
use crate::restore::report::{RestoreReport, Silent};
use crate::restore::standby::{Standby, claim, unfit};
use crate::restore::steps::Restore;
use crate::standby::Follower;
use crate::standby::status::Status;
use crate::util::error::{Error, Outcome, Result};

/// Why a standby is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// There is none, or it is not complete.
    Missing,
    /// What it needs is not archived: the next backup is behind the beginning of this timeline.
    Gap(Option<TimelineId>),
    /// It was requested.
    Asked,
}

/// A backup, and its place in the log.
pub(super) struct Base {
    /// Of the backups that it was found among.
    pub catalog: Catalog,
    pub entry: Entry,
    pub place: Place,
}

/// A backup that is gone, or has lost its place, cannot be gone on with.
fn is_gone(error: Error) -> Result<Option<Base>> {
    match error.outcome() {
        Outcome::NothingToDo | Outcome::Refused => {
            tracing::warn!(%error, "the backup that was restored cannot be gone on with");
            Ok(None)
        }
        _ => Err(error),
    }
}

impl Follower {
    /// Builds the standby, or goes on building the one that was found; what follows the log already is dropped first.
    pub(super) async fn build(
        &self,
        found: Option<Standby>,
        why: Why,
        status: &mut Status,
    ) -> Result<Standby> {
        let begun = found.as_ref().filter(|standby| {
            let is_whole = standby.follows() || standby.is_cleared();
            !is_whole && why != Why::Asked
        });
        let resumed = match begun.map(Standby::backup).transpose()? {
            Some(id) => self.base(Some(id), None).await.map(Some).or_else(is_gone)?,
            None => None,
        };
        let base = match (resumed, found) {
            (Some(base), found) => {
                if let Some(standby) = found {
                    standby.close().await;
                }
                base
            }
            (None, found) => self.begin(found, why).await?,
        };
        let id = base.entry.id;
        status.report.backup = Some(id);
        status.report.applied_until = None;
        status.report.ahead_seconds = None;
        tracing::info!(backup = %id, "building the standby");
        let beat = status.beat();
        self.restore(&base).await?;
        drop(beat);
        let open = Standby::open(&self.server, &self.target, &self.cancel);
        let standby = self.cancel.unless(open).await?;
        standby
            .ok_or_else(|| Error::server("the standby was built, and its restore marker is gone"))
    }

    /// Chooses a backup, and makes the server one that it can be restored into: what is on it is dropped.
    async fn begin(&self, found: Option<Standby>, why: Why) -> Result<Base> {
        let behind = match why {
            Why::Gap(timeline) => timeline,
            Why::Missing | Why::Asked => None,
        };
        // First, so that nothing is dropped while there is nothing to build from.
        let base = self.base(None, behind).await?;
        if let Some(standby) = found {
            if matches!(why, Why::Gap(_)) && base.entry.id <= standby.backup()? {
                return Err(
                    Error::refused("no backup was made behind the gap in the log yet")
                        .hint("make one with drctl backup; until then the standby stays as it is"),
                );
            }
            tracing::warn!(backup = %base.entry.id, "rebuilding the standby");
            standby.clear().await?;
        }
        let mut connection = self.cancel.unless(connect(&self.server)).await?;
        let claimed = match unfit(&mut connection).await? {
            None => claim(&mut connection).await,
            Some(error) => Err(error),
        };
        connection.close().await;
        claimed.map(|()| base)
    }

    async fn restore(&self, base: &Base) -> Result<()> {
        let Base {
            catalog,
            entry,
            place,
        } = base;
        let resolved = self.cancel.unless(place.resolve(Stop::End)).await?;
        let archive = self.cancel.unless(catalog.open(entry.id)).await?;
        let options = RestoreOptions {
            accounts: entry.manifest.accounts.is_some(),
            check: Check::Loading,
            // The log of a standby holds the transactions of the target alone.
            binlog: false,
            destination: Destination::Server(Permissions {
                // Those of exporters and health checks; that none of them writes is checked by the comparison and the GTIDs.
                connected_clients: true,
                ..Permissions::default()
            }),
            tuning: Tuning::Keep,
            resources: self.resources,
            replay: Some(Stretch {
                log: Arc::new(place.log.clone()),
                resolved,
                moment: STANDBY.to_owned(),
                path: self.path().await?,
                tables: None,
                reset: true,
                then: Then::Follow,
            }),
            ..RestoreOptions::default()
        };
        let progress = Arc::new(Silent);
        let mut restore =
            Restore::prepare(&archive, &self.server, options, progress, &self.cancel).await?;
        let done = async {
            restore.load().await?;
            restore.compare().await?;
            restore.hand_over_roles().await?;
            restore.replay().await
        }
        .await;
        match done {
            Ok(()) => {
                for warning in restore.leave() {
                    tracing::warn!("{warning}");
                }
                Ok(())
            }
            // It is a standby already, with the settings of one.
            Err(error) if restore.replays() => Err(error),
            // The marker stays, and the next session resumes.
            Err(error) => {
                restore
                    .finish(Err(error), &mut RestoreReport::default())
                    .await
            }
        }
    }

    /// The backup to build from, and its place in the log; with `from` one of this timeline or a later one.
    async fn base(&self, begun: Option<BackupId>, from: Option<TimelineId>) -> Result<Base> {
        let find = async {
            let catalog = Catalog::read(self.store.clone(), self.target.clone()).await?;
            let (objects, stretches) = self.archived().await?;
            let entries = match begun {
                Some(id) => vec![catalog.entry(id).await?],
                None => catalog.bases().await?,
            };
            let mut why = None;
            for entry in entries {
                match Place::of(&catalog, &entry, &objects, &stretches).await {
                    Ok(place) if from.is_some_and(|from| place.log.timeline < from) => {
                        let error = Error::refused("it was made in front of the gap in the log");
                        why.get_or_insert((entry.id, error));
                    }
                    Ok(place) => {
                        return Ok(Base {
                            catalog,
                            entry,
                            place,
                        });
                    }
                    Err(error) if error.outcome() == Outcome::Refused => {
                        why.get_or_insert((entry.id, error));
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(match why {
                Some((id, error)) => Error::refused(format!(
                    "no usable backup has its place in the archived log; backup {id}: {}",
                    error.what()
                ))
                .hint("archive the log with drctl stream and make a backup; see drctl log"),
                None => Error::nothing("there is no usable backup to build the standby from")
                    .hint("make one with drctl backup, and copy it; see drctl list"),
            })
        };
        self.cancel.unless(find).await
    }

    /// How the log gets into the server.
    pub(super) async fn path(&self) -> Result<ReplayPath> {
        let address = own_address(&self.server).await?;
        let port = self.config.listen;
        Ok(ReplayPath::Replica((address, port).into()))
    }
}
