//! Archive to server.
//!
//! ```text
//! look ─→ plan ─→ pre-data ─→ data ─→ keys ─→ foreign keys ─→ post-data ─→ prove ─→ events
//!   │               one          lanes    lanes                   one
//!   └ refusals: nothing was touched                  marker `drctl_restore` stands from plan to end
//! ```
//!
//! - [`survey`], [`facts`], [`checks`], [`plan`]: what the archive would do, what the server is, what
//!   speaks against it.
//! - [`marker`]: what an interrupted restore leaves for the next one.
//! - [`read_ahead`], [`frame`], [`guard`]: frames, checked and taken apart, within a budget.
//! - [`lane`]: one connection in a session of the dump.
//! - [`pre_data`], [`data`], [`insert`], [`keys`], [`post_data`]: the passes; [`accounts`] before them.
//! - [`tuning`]: settings that are changed meanwhile.
//!
//! Each pass can be repeated, and ends in a barrier that the marker remembers.

pub mod accounts;
pub mod checks;
pub mod data;
pub mod definition;
pub mod engine;
pub mod facts;
pub mod frame;
pub mod guard;
pub mod insert;
pub mod keys;
pub mod lane;
pub mod marker;
pub mod options;
pub mod plan;
pub mod post_data;
pub mod pre_data;
pub mod prove;
pub mod read_ahead;
pub mod report;
pub mod survey;
pub mod tuning;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::server::{ServerConfig, connect};
use crate::sql::statement::{ObjectId, ObjectKind};

use checks::{Case, refused};
use definition::Account;
use engine::Engine;
use facts::TargetFacts;
use guard::Guard;
use lane::{Lane, LaneConfig};
use marker::{Marker, Pass, RunRecord};
use options::RestoreOptions;
use plan::RestorePlan;
use report::{Progress, RestoreReport};
use survey::{Survey, survey};

/// How long putting the settings back may take at the end of a restore.
const UNDO_TIMEOUT: Duration = Duration::from_secs(20);

/// Says what [`restore`] would do, and touches nothing.
pub async fn plan(
    archive: &Archive,
    server: &Arc<ServerConfig>,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<RestorePlan> {
    let look = Look::take(archive, server, options, progress, cancel).await?;
    let plan = look.plan(archive, options);
    look.control.close().await;
    Ok(plan)
}

/// Restores a backup into a server.
///
/// A failure leaves the marker, and the same call again goes on where it ended. The proof failing is
/// exit 7, and leaves the marker too: what is there is not what was dumped.
pub async fn restore(
    archive: &Archive,
    server: &Arc<ServerConfig>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<RestoreReport> {
    let began = Instant::now();
    let look = Look::take(archive, server, &options, &progress, cancel).await?;
    let refusals = look.plan(archive, &options).refusals;
    if let Some(error) = refused(&refusals) {
        look.control.close().await;
        return Err(error);
    }
    let mut engine = look.engage(archive, options, progress, cancel).await?;
    engine.report.stage("check", began);
    let done = run(&mut engine).await;
    // Settings are put back whatever happened; where that fails too, the marker knows them.
    engine.control.ignore_cancel();
    let undone = tokio::time::timeout(UNDO_TIMEOUT, tuning::undo(&mut engine.control)).await;
    done?;
    undone.map_err(|_| Error::server("the server's settings could not be put back in time"))??;
    engine.report.expired_events = engine.marker.expired.iter().cloned().collect();
    marker::drop_marker(&mut engine.control).await?;
    engine.control.close().await;
    Ok(engine.report)
}

/// Puts back the settings that an unfinished restore changed, and leaves its marker; says which.
pub async fn undo_settings(server: &Arc<ServerConfig>, cancel: &Cancel) -> Result<Vec<String>> {
    let mut control = Lane::open(control_config(server, true, cancel)).await?;
    let done = match marker::read(&mut control).await? {
        Some(_) => tuning::undo(&mut control).await?,
        None => Vec::new(),
    };
    control.close().await;
    Ok(done)
}

/// Drops what an unfinished restore made, and its marker; says what was dropped.
pub async fn discard(server: &Arc<ServerConfig>, cancel: &Cancel) -> Result<Vec<ObjectId>> {
    let mut control = Lane::open(control_config(server, true, cancel)).await?;
    let dropped = match marker::read(&mut control).await? {
        Some(marker) => {
            tuning::undo(&mut control).await?;
            marker::discard(&mut control, &marker).await?
        }
        None => return Err(Error::nothing("the server has no unfinished restore")),
    };
    control.close().await;
    Ok(dropped)
}

/// The passes, in order; those that an earlier run ended are over.
async fn run(engine: &mut Engine) -> Result<()> {
    engine.report.settings =
        tuning::apply(&mut engine.control, &engine.facts, engine.options.tuning).await?;
    for pass in [
        Pass::Accounts,
        Pass::Replace,
        Pass::PreData,
        Pass::Data,
        Pass::Keys,
        Pass::ForeignKeys,
        Pass::PostData,
        Pass::Prove,
        Pass::Events,
    ] {
        if engine.marker.passed(pass) {
            continue;
        }
        let began = Instant::now();
        match pass {
            Pass::Accounts if engine.options.accounts => accounts::run(engine).await?,
            Pass::Accounts => {}
            Pass::Replace => replace(engine).await?,
            Pass::PreData => pre_data::run(engine).await?,
            Pass::Data => {
                let loaded = data::run(engine).await?;
                (engine.report.rows, engine.report.raw_bytes) = (loaded.rows, loaded.bytes);
            }
            Pass::Keys => keys::run(engine).await?,
            Pass::ForeignKeys => keys::run_foreign(engine).await?,
            Pass::PostData => post_data::run(engine).await?,
            Pass::Prove if engine.options.prove => prove::run(engine).await?,
            Pass::Prove => {}
            Pass::Events => post_data::enable_events(engine).await?,
        }
        engine.report.stage(pass.name(), began);
        // These two are asked anew of a run that resumes.
        if pass != Pass::Prove && pass != Pass::Accounts {
            marker::note_pass(&mut engine.control, pass).await?;
        }
    }
    Ok(())
}

/// Drops what is in the way, as the user of the restore confirmed.
async fn replace(engine: &mut Engine) -> Result<()> {
    let in_the_way = engine.report.replaced.clone();
    for object in &in_the_way {
        marker::drop_object(&mut engine.control, object).await?;
    }
    let fresh: Vec<&ObjectId> = engine
        .survey
        .creates
        .iter()
        .filter(|object| object.kind != ObjectKind::Schema || !engine.met_schema(&object.schema))
        .collect();
    let fresh: BTreeSet<ObjectId> = fresh.into_iter().cloned().collect();
    marker::note_objects(&mut engine.control, fresh.iter()).await?;
    engine.marker.objects.extend(fresh);
    Ok(())
}

fn control_config(server: &Arc<ServerConfig>, binlog: bool, cancel: &Cancel) -> LaneConfig {
    let mut settings = vec!["SET SESSION foreign_key_checks = 0".to_owned()];
    if !binlog {
        settings.push("SET SESSION sql_log_bin = 0".to_owned());
    }
    LaneConfig {
        server: server.clone(),
        settings: Arc::new(settings),
        lock: Some(marker::LOCK),
        cancel: cancel.clone(),
    }
}

/// Everything that is known before anything is touched.
struct Look {
    control: Lane,
    run: RunRecord,
    marker: Option<Marker>,
    guard: Arc<Guard>,
    survey: Survey,
    facts: TargetFacts,
    /// The accounts that are to be created where they are missing.
    accounts: BTreeSet<Account>,
}

impl Look {
    async fn take(
        archive: &Archive,
        server: &Arc<ServerConfig>,
        options: &RestoreOptions,
        progress: &Arc<dyn Progress>,
        cancel: &Cancel,
    ) -> Result<Look> {
        let (manifest, contents) = (archive.manifest(), archive.contents());
        let scope = &options.scope;
        scope.check(contents.ledger.iter().map(|(object, _)| object))?;
        let schemas = contents
            .ledger
            .iter()
            .map(|(object, _)| object.schema.clone());
        let guard = Arc::new(Guard::new(schemas)?);
        // The names that a restore gives are as forbidden as those that a dump has.
        Guard::new(scope.rename.values().cloned())
            .map_err(|_| Error::usage("a schema cannot get the name of one of the server's own"))?;
        let mut control = Lane::open(control_config(server, options.binlog, cancel)).await?;
        let marker = marker::read(&mut control).await?;
        let survey = survey(archive, &guard, options, progress, cancel).await?;
        let accounts = match options.accounts {
            true => accounts::offered(archive).await?,
            false => BTreeSet::new(),
        };
        let touched = survey
            .creates
            .iter()
            .map(|object| object.schema.clone())
            .collect();
        let mut connection = connect(server).await?;
        let mut facts = TargetFacts::read(&mut connection, &touched).await?;
        connection.close().await;
        facts.others.retain(|other| other.id != control.id());
        let run = RunRecord {
            backup: manifest.id.to_string(),
            target: manifest.target.to_string(),
            tables: scope.tables.clone(),
            rename: scope.rename.clone(),
            overwrite: options.overwrite,
            started_at: jiff::Timestamp::now(),
        };
        if marker
            .as_ref()
            .is_some_and(|marker| run.resumes(&marker.run))
        {
            // A run that was killed may have left connections that the server is not yet rid of.
            let own = facts
                .own_account
                .rsplit_once('@')
                .map_or("", |(user, _)| user)
                .to_owned();
            facts.others.retain(|other| other.user != own);
        }
        Ok(Look {
            control,
            run,
            marker,
            guard,
            survey,
            facts,
            accounts,
        })
    }

    /// The unfinished restore that this one goes on with.
    fn resumed(&self, options: &RestoreOptions) -> Option<&Marker> {
        self.marker
            .as_ref()
            .filter(|marker| !options.discard && self.run.resumes(&marker.run))
    }

    fn plan(&self, archive: &Archive, options: &RestoreOptions) -> RestorePlan {
        let resumes = self.resumed(options).is_some();
        let discards = self.marker.as_ref().filter(|_| !resumes);
        let case = self.case(archive, options);
        RestorePlan::new(
            archive,
            options,
            &case,
            resumes,
            discards.map(|marker| marker.run.backup.clone()),
        )
    }

    /// What an unfinished restore made is not in the way: it is gone on with, or dropped.
    fn case<'a>(&'a self, archive: &'a Archive, options: &'a RestoreOptions) -> Case<'a> {
        const NONE: &BTreeSet<ObjectId> = &BTreeSet::new();
        Case {
            facts: &self.facts,
            manifest: archive.manifest(),
            options,
            creates: &self.survey.creates,
            made: self.marker.as_ref().map_or(NONE, |marker| &marker.objects),
            definers: &self.survey.definers,
            accounts: &self.accounts,
            names_renamed: &self.survey.names_renamed,
        }
    }

    /// Leaves the mark on the server, and everything in place for the passes.
    async fn engage(
        mut self,
        archive: &Archive,
        options: RestoreOptions,
        progress: Arc<dyn Progress>,
        cancel: &Cancel,
    ) -> Result<Engine> {
        let replaced = self.case(archive, &options).in_the_way();
        let resuming = self.resumed(&options).is_some();
        let marker = match self.marker.take() {
            Some(marker) if resuming => marker,
            met => {
                if let Some(unfinished) = met {
                    tuning::undo(&mut self.control).await?;
                    let dropped = marker::discard(&mut self.control, &unfinished).await?;
                    self.facts
                        .objects
                        .retain(|object| !dropped.contains(object));
                }
                marker::create(&mut self.control, &self.run).await?;
                Marker::new(self.run)
            }
        };
        let settings = Arc::new(tuning::lane_settings(&self.facts, &options));
        let lane_config = LaneConfig {
            lock: None,
            settings,
            ..self.control.config().clone()
        };
        let report = RestoreReport {
            backup: archive.manifest().id.to_string(),
            lanes: options.lanes,
            replaced,
            frames_before: marker.frames.len() as u64,
            ..RestoreReport::default()
        };
        Ok(Engine {
            archive: archive.clone(),
            options,
            facts: self.facts,
            guard: self.guard,
            survey: self.survey,
            control: self.control,
            lane_config,
            marker,
            resuming,
            progress,
            cancel: cancel.clone(),
            report,
        })
    }
}
