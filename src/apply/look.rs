//! Everything that is known before anything is touched: the archive's definitions, the server, and
//! what an unfinished restore left on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::apply::checks::Case;
use crate::apply::discard;
use crate::apply::engine::Engine;
use crate::apply::facts::TargetFacts;
use crate::apply::guard::Guard;
use crate::apply::lacks;
use crate::apply::lane::{Lane, LaneConfig, RECONNECT_WAIT};
use crate::apply::marker::{self, Marker};
use crate::apply::offered::{self, Offered};
use crate::apply::options::RestoreOptions;
use crate::apply::plan::RestorePlan;
use crate::apply::refusal::{Refusal, some_of};
use crate::apply::report::{Progress, RestoreReport};
use crate::apply::run_record::RunRecord;
use crate::apply::survey::{Survey, survey};
use crate::apply::tuning;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::server::{ServerConfig, connect};
use crate::sql::statement::ObjectId;

/// How the connection that keeps the marker is opened: it holds the lock of the restore.
pub fn control_config(server: &Arc<ServerConfig>, binlog: bool, cancel: &Cancel) -> LaneConfig {
    let settings = match binlog {
        true => Vec::new(),
        false => vec!["SET SESSION sql_log_bin = 0".to_owned()],
    };
    LaneConfig {
        server: server.clone(),
        settings: Arc::new(settings),
        lock: Some(marker::LOCK),
        reconnect: RECONNECT_WAIT,
        cancel: cancel.clone(),
    }
}

/// That a scratch server keeps tables in its own directory.
pub fn kept_here(tables: &[ObjectId]) -> String {
    format!(
        "a scratch server keeps all tables in its own directory: DATA DIRECTORY and INDEX DIRECTORY of {} were not \
         tried",
        some_of(tables.iter())
    )
}

/// Everything that is known before anything is touched.
pub struct Look {
    /// The connection that keeps the marker.
    pub control: Lane,
    /// What is asked for.
    run: RunRecord,
    /// What an unfinished restore left.
    marker: Option<Marker>,
    /// Which statements may be executed.
    guard: Arc<Guard>,
    /// What the archive's definitions say.
    survey: Survey,
    /// What the server says.
    facts: TargetFacts,
    /// What the backup needs and the server does not have.
    lacking: Vec<Refusal>,
    /// The accounts that are to be created where they are missing.
    accounts: Offered,
    /// Whether another restore into the server is running.
    running: bool,
}

impl Look {
    /// Reads the archive's definitions and asks the server. With the lock of the restore it goes on with
    /// [`Look::engage`]; without it, nothing keeps another restore away, nor does this one.
    pub async fn take(
        archive: &Archive,
        server: &Arc<ServerConfig>,
        options: &RestoreOptions,
        progress: &Arc<dyn Progress>,
        cancel: &Cancel,
        lock: Option<&'static str>,
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
        let mut control = Lane::open(LaneConfig {
            reconnect: options.reconnect,
            lock,
            ..control_config(server, options.binlog, cancel)
        })
        .await?;
        let marker = marker::read(&mut control).await?;
        let survey = survey(archive, &guard, options, progress, cancel).await?;
        let accounts = match options.accounts {
            true => offered::read(archive).await?,
            false => Offered::default(),
        };
        let touched = survey
            .creates
            .iter()
            .map(|object| object.schema.clone())
            .collect();
        let mut own = BTreeSet::new();
        let asked = control.step(async |control| {
            own.insert(control.id());
            let mut connection = connect(server).await?;
            own.insert(connection.id());
            let facts = TargetFacts::read(&mut connection, &touched).await?;
            let missing = survey
                .requires
                .missing(&mut connection, &contents.inventory)
                .await?;
            connection.close().await;
            Ok((facts, missing))
        });
        let (mut facts, mut lacking) = asked.await?;
        lacking.extend(lacks::of_the_server(&facts, archive));
        facts.others.retain(|other| !own.contains(&other.id));
        let running = match lock {
            Some(_) => false,
            None => marker::is_locked(&mut control).await?,
        };
        let run = RunRecord {
            backup: manifest.id.to_string(),
            target: manifest.target.to_string(),
            tables: scope.tables.clone(),
            rename: scope.rename.clone(),
            overwrite: options.overwrite,
            binlog: options.binlog,
            definer: options.substitute_definer.as_ref().map(ToString::to_string),
            substituted: BTreeSet::new(),
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
            lacking,
            accounts,
            running,
        })
    }

    /// The unfinished restore that this one goes on with.
    fn resumed(&self, options: &RestoreOptions) -> Option<&Marker> {
        self.marker
            .as_ref()
            .filter(|marker| !options.discard && self.run.resumes(&marker.run))
    }

    /// What the restore would do.
    pub fn plan(&self, archive: &Archive, options: &RestoreOptions) -> RestorePlan {
        let resumes = self.resumed(options).is_some();
        let discards = self.marker.as_ref().filter(|_| !resumes);
        let case = self.case(archive, options);
        let mut plan = RestorePlan::new(
            archive,
            options,
            &case,
            resumes,
            discards
                .filter(|_| options.discard)
                .map(|marker| marker.run.backup.clone()),
        );
        plan.running = self.running;
        if plan.running {
            return plan;
        }
        plan.refusals.extend(self.lacking.iter().cloned());
        // It may be a slip, and what was restored may be in use.
        if let Some(unfinished) = discards {
            let run = &unfinished.run;
            let which = match run.backup == self.run.backup {
                true => "this backup with other options".to_owned(),
                false => format!("backup {}", run.backup),
            };
            plan.refusals.extend(match options.discard {
                true => run.of_another(&self.run.target),
                false => Some(Refusal {
                    what: format!("an unfinished restore of {which} is on the server"),
                    hint: "go on with it by the same command, drop what it made by --discard --confirm \
                           <target>, or keep that by drctl restore --keep"
                        .to_owned(),
                }),
            });
        }
        plan
    }

    /// What an unfinished restore made is not in the way: it is gone on with, or dropped.
    fn case<'a>(&'a self, archive: &'a Archive, options: &'a RestoreOptions) -> Case<'a> {
        const NONE: &BTreeSet<ObjectId> = &BTreeSet::new();
        Case {
            facts: &self.facts,
            manifest: archive.manifest(),
            options,
            creates: &self.survey.creates,
            schemas: &self.survey.schemas,
            made: self.marker.as_ref().map_or(NONE, |marker| &marker.objects),
            definers: &self.survey.definers,
            accounts: &self.accounts,
            of_replica: &self.survey.of_replica,
            placed: &self.survey.placed,
            names_renamed: &self.survey.names_renamed,
        }
    }

    /// Leaves the mark on the server, and everything in place for the passes.
    pub async fn engage(
        mut self,
        archive: &Archive,
        options: RestoreOptions,
        progress: Arc<dyn Progress>,
        cancel: &Cancel,
    ) -> Result<Engine> {
        let case = self.case(archive, &options);
        let replaced = case.in_the_way();
        let mut warnings = case.left_disabled();
        if options.scratch && !self.survey.placed.is_empty() {
            let tables: Vec<ObjectId> = self.survey.placed.keys().cloned().collect();
            warnings.push(kept_here(&tables));
        }
        if options.substitute_definer.is_some() {
            let missing = case.missing_definers().into_iter();
            self.run.substituted = missing.map(|(account, _)| account.to_string()).collect();
        }
        let resuming = self.resumed(&options).is_some();
        let marker = match self.marker.take() {
            Some(marker) if resuming => marker,
            met => {
                if let Some(unfinished) = met {
                    tuning::undo(&mut self.control).await?;
                    let dropped = discard::discard(&mut self.control, &unfinished).await?;
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
            server: self.facts.version.to_string(),
            lanes: options.lanes,
            replaced,
            warnings,
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
