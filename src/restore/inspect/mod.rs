//! Inspection before anything is changed: definitions of the archive, state of the destination, and its
//! unfinished restore, if any.
//!
//! - [`survey`]: definitions of the archive. [`destination`]: state of the destination.
//! - [`checks`], [`unsupported`], [`provided`], [`spatial`], [`schema_collation`]: blockers and warnings, as [`refusal`].
//! - [`plan`]: the result, for `--plan`.

pub(crate) mod checks;
pub(crate) mod destination;
pub mod plan;
mod provided;
pub mod refusal;
pub(crate) mod schema_collation;
pub(crate) mod spatial;
pub(crate) mod survey;
pub(crate) mod unsupported;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::archive::accounts::{self, BackupAccounts};
use crate::archive::manifest::Manifest;
use crate::archive::read::Archive;
use crate::mysql::named_lock::{self, Lock};
use crate::mysql::{Connection, ServerConfig, connect};
use crate::replay::Stretch;
use crate::replay::destination::unfit::{fitness, whatever_is_replayed};
use crate::restore::frames::guard::Guard;
use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::plan::RestorePlan;
use crate::restore::inspect::refusal::{Refusal, refused};
use crate::restore::inspect::survey::{Survey, survey};
use crate::restore::options::RestoreOptions;
use crate::restore::report::Progress;
use crate::restore::session::lane::{Lane, LaneConfig, RECONNECT_WAIT};
use crate::restore::session::tuning;
use crate::restore::state::marker::{self, Marker, Pass};
use crate::restore::state::request::RestoreRequest;
use crate::sql::statement::ObjectId;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};
use crate::util::format::some_of;

/// Configuration of the connection that maintains the marker and holds the restore's lock.
pub fn control_config(server: &Arc<ServerConfig>, binlog: bool, cancel: &Cancel) -> LaneConfig {
    let settings = if binlog {
        Vec::new()
    } else {
        vec!["SET SESSION sql_log_bin = 0".to_owned()]
    };
    LaneConfig {
        server: server.clone(),
        settings: Arc::new(settings),
        lock: Some(marker::LOCK),
        reconnect: RECONNECT_WAIT,
        cancel: cancel.clone(),
    }
}

/// Warning about what a scratch server leaves out of definitions.
pub fn not_tested<'a>(objects: impl Iterator<Item = &'a ObjectId>) -> String {
    format!(
        "a scratch server stores everything in its own directory, unencrypted and writable: DATA DIRECTORY, INDEX \
         DIRECTORY, TABLESPACE, ENCRYPTION and READ ONLY were not tested: {}",
        some_of(objects)
    )
}

/// Why a server would refuse every restore: settings that no session can override, whatever the backup holds.
/// Those that depend on the target's settings are compared with the given manifest. With `replays` also what keeps a
/// binary log from being replayed.
pub async fn unfit(
    connection: &mut Connection,
    manifest: Option<&Manifest>,
    replays: bool,
) -> Result<Vec<Refusal>> {
    let facts = DestinationFacts::read(connection, &BTreeSet::new()).await?;
    let mut all = unsupported::whatever_is_restored(&facts, manifest);
    all.extend(checks::topology::read_only(&facts));
    if replays {
        all.extend(checks::replay::privileges(&facts, false, false));
        let flavour = facts.version.flavour;
        let unfit = whatever_is_replayed(connection, flavour, false).await?;
        all.extend(unfit.into_iter().map(Refusal::from));
    }
    Ok(all)
}

/// The unfinished restore that a request resumes: one that is discarded is not resumed.
fn continued<'a>(
    marker: Option<&'a Marker>,
    request: &RestoreRequest,
    options: &RestoreOptions,
) -> Option<&'a Marker> {
    marker.filter(|marker| {
        !options.destination.permissions().discard && request.resumes(&marker.request)
    })
}

/// What is known before anything is changed.
pub struct Inspection {
    /// The connection that reads the marker, and maintains it during the restore.
    pub control: Lane,
    pub(super) request: RestoreRequest,
    /// The marker of an unfinished restore.
    pub(super) marker: Option<Marker>,
    pub(super) frames: FrameSource,
    pub(super) survey: Survey,
    pub(super) facts: DestinationFacts,
    /// What the definitions need and the destination lacks.
    unsupported: Vec<Refusal>,
    /// What the destination has in another edition.
    warnings: Vec<String>,
    /// The accounts to create if they do not exist.
    accounts: BackupAccounts,
    /// Whether the GTIDs of the server are reset, which deletes its binary logs.
    resets_gtids: bool,
    /// Whether another restore into the server is running.
    running: bool,
}

impl Inspection {
    /// Reads the definitions of the archive and the state of the server. Without the lock of the restore,
    /// another restore may run at the same time.
    pub async fn gather(
        archive: &Archive,
        server: &Arc<ServerConfig>,
        options: &RestoreOptions,
        progress: &Arc<dyn Progress>,
        cancel: &Cancel,
        lock: Option<&'static str>,
    ) -> Result<Inspection> {
        let (manifest, contents) = (archive.manifest(), archive.contents());
        let scope = &options.scope;
        scope.check(contents.ledger.iter().map(|(object, _)| object))?;
        let frames = FrameSource::of(archive, cancel)?;
        // New names must not be reserved either.
        for (old, new) in &scope.rename {
            Guard::new([new.clone()]).map_err(|_| {
                Error::usage(format!(
                    "--rename {old}={new}: the name is reserved by the server"
                ))
                .hint(format!("choose another name: --rename {old}=<name>"))
            })?;
        }
        let mut control = Lane::open(LaneConfig {
            reconnect: options.resources.reconnect,
            lock,
            ..control_config(server, options.binlog, cancel)
        })
        .await?;
        let marker = marker::read(&mut control).await?;
        let survey = survey(archive, &frames, options, progress).await?;
        let accounts = if options.accounts {
            accounts::read(archive).await?
        } else {
            BackupAccounts::default()
        };
        let schemas = survey.schema_names();
        let request = RestoreRequest {
            backup: manifest.id.to_string(),
            target: manifest.target.to_string(),
            tables: scope.tables.clone(),
            rename: scope.rename.clone(),
            overwrite: options.destination.permissions().overwrite,
            binlog: options.binlog,
            definer: options.substitute_definer.as_ref().map(ToString::to_string),
            substituted: BTreeSet::new(),
            replay: options.replay.as_ref().map(Stretch::described),
            started_at: jiff::Timestamp::now(),
        };
        let resumed = marker
            .as_ref()
            .filter(|marker| request.resumes(&marker.request));
        let continued = continued(marker.as_ref(), &request, options);
        let passed = |pass| continued.is_some_and(|marker: &Marker| marker.passed(pass));
        let (begun, replayed) = (passed(Pass::ReplayBegins), passed(Pass::Replay));
        if begun && lock.is_some() {
            // Those of an interrupted replay: the server may still be read-only.
            tuning::revert(&mut control).await?;
        }
        let mut own = BTreeSet::new();
        let mut resets_gtids = false;
        let asked = control.step(async |control| {
            own.insert(control.id());
            let mut connection = connect(server).await?;
            own.insert(connection.id());
            // A streamer of the target writes nothing.
            let streamer =
                named_lock::holder(&mut connection, Lock::Stream, &manifest.target).await?;
            own.extend(streamer.and_then(|id| u32::try_from(id).ok()));
            let facts = DestinationFacts::read(&mut connection, &schemas).await?;
            let mut missing = survey.requires.missing(&mut connection, &facts).await?;
            let same_series = manifest
                .server
                .parsed()
                .is_some_and(|theirs| theirs.same_series(&facts.version));
            let (used, inventory) = (&survey.requires.spatial, &contents.inventory);
            let spatial = spatial::compare(&mut connection, used, inventory, same_series).await?;
            missing.extend(spatial.refusals);
            missing.extend(provided::read_only_schemas(&mut connection, &schemas).await?);
            if let Some(stretch) = options.replay.as_ref().filter(|_| !replayed) {
                let (flavour, begin) = (facts.version.flavour, stretch.begin(begun));
                let (plan, path) = (&stretch.resolved.plan, &stretch.path);
                let fitness = fitness(&mut connection, flavour, plan, begin, path).await?;
                missing.extend(fitness.unfit.into_iter().map(Refusal::from));
                resets_gtids = fitness.resets_gtids;
            }
            connection.close().await;
            Ok((facts, missing, spatial.warnings))
        });
        let (mut facts, mut unsupported, warnings) = asked.await?;
        if begun {
            facts.replication.read_only = None;
        }
        unsupported.extend(unsupported::global_settings(
            &facts,
            manifest,
            &survey.requires,
        ));
        if options.destination.is_scratch() {
            unsupported.extend(survey.requires.missing_engines(&facts));
        }
        facts.other_clients.retain(|other| !own.contains(&other.id));
        let running = lock.is_none() && marker::is_locked(&mut control).await?;
        if resumed.is_some() {
            // The server may not yet have noticed that the connections of a killed run are gone.
            let own = facts
                .own_account
                .rsplit_once('@')
                .map_or("", |(user, _)| user)
                .to_owned();
            facts.other_clients.retain(|other| other.user != own);
        }
        Ok(Inspection {
            control,
            request,
            marker,
            frames,
            survey,
            facts,
            unsupported,
            warnings,
            accounts,
            resets_gtids,
            running,
        })
    }

    /// The refusal of a server that lacks what the definitions need.
    pub fn unsupported(&self) -> Option<Error> {
        refused(&self.unsupported)
    }

    /// The unfinished restore that this one resumes.
    pub(super) fn resumed(&self, options: &RestoreOptions) -> Option<&Marker> {
        continued(self.marker.as_ref(), &self.request, options)
    }

    /// What the restore would do.
    pub fn plan(&self, archive: &Archive, options: &RestoreOptions) -> RestorePlan {
        let resumes = self.resumed(options).is_some();
        let discards = self.marker.as_ref().filter(|_| !resumes);
        let checks = self.checks(archive, options);
        let mut plan = RestorePlan::new(
            archive,
            options,
            &checks,
            resumes,
            discards
                .filter(|_| options.destination.permissions().discard)
                .map(|marker| marker.request.backup.clone()),
        );
        plan.running = self.running;
        plan.warnings.extend(self.warnings.iter().cloned());
        plan.warnings.extend(self.resets_gtids.then(|| {
            "deletes the binary logs of the destination and resets its GTIDs, which it shares with the log".to_owned()
        }));
        if plan.running {
            return plan;
        }
        plan.refusals.extend(self.unsupported.iter().cloned());
        // The restored data may be in use.
        if let Some(unfinished) = discards {
            let request = &unfinished.request;
            let which = if request.backup == self.request.backup {
                "this backup with other options".to_owned()
            } else {
                format!("backup {}", request.backup)
            };
            plan.refusals.extend(if options.destination.permissions().discard {
                request.of_another(&self.request.target)
            } else {
                Some(Refusal::new(
                    format!("the destination has an unfinished restore of {which}"),
                    "resume it with the same command, drop its objects with --discard --confirm <target>, or keep \
                     them with drctl restore --keep",
                ))
            });
        }
        plan
    }

    /// The checks. Objects of an unfinished restore are no conflict: it is resumed or discarded.
    pub(super) fn checks<'a>(
        &'a self,
        archive: &'a Archive,
        options: &'a RestoreOptions,
    ) -> Checks<'a> {
        const NONE: &BTreeSet<ObjectId> = &BTreeSet::new();
        Checks {
            facts: &self.facts,
            manifest: archive.manifest(),
            options,
            survey: &self.survey,
            created_before: self.marker.as_ref().map_or(NONE, |marker| &marker.objects),
            accounts: &self.accounts,
        }
    }
}
