//! Builds a standby: the newest usable backup whose place lies in the archived log, restored, compared, and what is
//! archived behind it.

use std::sync::Arc;

use crate::catalog::{Catalog, Entry};
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
use crate::stream::coverage;
use crate::stream::objects::Objects;
use crate::util::error::{Error, Outcome, Result};

impl Follower {
    /// Builds the standby, or goes on building the one that was found; what follows the log already is dropped first.
    pub(super) async fn build(
        &self,
        found: Option<Standby>,
        status: &mut Status,
    ) -> Result<Standby> {
        let mut begun = None;
        let (entry, place) = match found {
            Some(standby) if !standby.follows() => {
                let id = standby.backup()?;
                standby.close().await;
                begun = Some(id);
                self.base(begun).await?
            }
            found => {
                // First, so that nothing is dropped while there is nothing to build from.
                let base = self.base(None).await?;
                if let Some(standby) = found {
                    tracing::warn!(backup = %base.0.id, "the standby is built anew");
                    standby.clear().await?;
                }
                base
            }
        };
        if begun.is_none() {
            let mut connection = self.cancel.unless(connect(&self.server)).await?;
            let unfit = unfit(&mut connection).await?;
            let claimed = match unfit {
                None => claim(&mut connection).await,
                Some(error) => Err(error),
            };
            connection.close().await;
            claimed?;
        }
        status.report.backup = Some(entry.id);
        tracing::info!(backup = %entry.id, "building the standby");
        self.restore(&entry, &place).await?;
        let open = Standby::open(&self.server, &self.target, &self.cancel);
        let standby = self.cancel.unless(open).await?;
        standby
            .ok_or_else(|| Error::server("the standby was built, and its restore marker is gone"))
    }

    async fn restore(&self, entry: &Entry, place: &Place) -> Result<()> {
        let resolved = self.cancel.unless(place.resolve(Stop::End)).await?;
        let catalog = Catalog::read(self.store.clone(), self.target.clone()).await?;
        let archive = self.cancel.unless(catalog.open(entry.id)).await?;
        let options = RestoreOptions {
            accounts: entry.manifest.accounts.is_some(),
            check: Check::Loading,
            // The log of a standby holds the transactions of the target alone.
            binlog: false,
            destination: Destination::Server(Permissions {
                // Those of exporters and health checks; that nobody writes is checked by the comparison and the GTIDs.
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
            // The marker stays, and the next session resumes.
            Err(error) => {
                restore
                    .finish(Err(error), &mut RestoreReport::default())
                    .await
            }
        }
    }

    /// The backup to build from, and its place in the log.
    async fn base(&self, begun: Option<crate::layout::BackupId>) -> Result<(Entry, Place)> {
        let find = async {
            let catalog = Catalog::read(self.store.clone(), self.target.clone()).await?;
            let objects = Objects::list(self.store.clone(), self.target.clone()).await?;
            let stretches = coverage::stretches(&objects).await?;
            let objects = Arc::new(objects);
            let entries = match begun {
                Some(id) => vec![catalog.entry(id).await?],
                None => catalog.bases().await?,
            };
            let mut why = None;
            for entry in entries {
                match Place::of(&catalog, &entry, &objects, &stretches).await {
                    Ok(place) => return Ok((entry, place)),
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
