//! A restore in steps, for callers that have steps of their own between them.
//!
//! ```text
//! prepare ─→ load ─→ compare ─→ complete ─→ finish
//! ```
//!
//! [`Restore::prepare`] creates the restore marker and [`Restore::finish`] drops it, so a failure in any step
//! between them, also in a caller's own, leaves an unfinished restore. Until [`Restore::complete`] all events
//! are disabled, and roles are administered by the account of the restore.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::archive::read::Archive;
use crate::comparison::compare::Comparison;
use crate::mysql::ServerConfig;
use crate::replay::destination::settings::Journal;
use crate::replay::destination::statements::not_logged;
use crate::replay::{self, Then};
use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::refusal::{all_of, refused};
use crate::restore::inspect::survey::Survey;
use crate::restore::inspect::{Inspection, not_tested};
use crate::restore::options::{Check, RestoreOptions, Tuning};
use crate::restore::passes::accounts::{Accounts, Part};
use crate::restore::passes::compare::Compare;
use crate::restore::passes::data::Data;
use crate::restore::passes::post_data::PostData;
use crate::restore::passes::pre_data::PreData;
use crate::restore::passes::row_loader::Method;
use crate::restore::passes::{events, keys, replace, routine_grants};
use crate::restore::report::{Progress, Replayed, RestoreReport};
use crate::restore::session::lane::LaneConfig;
use crate::restore::session::lane_session;
use crate::restore::session::tuning;
use crate::restore::state::discard;
use crate::restore::state::marker::{self, LOCK, Marker, Pass};
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};

/// Time limit for reverting settings at the end of a restore.
const REVERT_TIMEOUT: Duration = Duration::from_secs(20);

/// Records settings of the destination before a replay changes them, and that the replay begins.
struct NotedSettings<'a>(Mutex<&'a mut OpenMarker>);

#[async_trait]
impl Journal for NotedSettings<'_> {
    async fn changing(&self, name: &str, value: &str) -> Result<()> {
        let marker = &mut self.0.lock().await;
        tuning::note(&mut marker.control, name, value).await
    }

    async fn begins(&self) -> Result<()> {
        let marker = &mut self.0.lock().await;
        // Logged, it would use up a GTID; without a log there is none.
        marker
            .control
            .persist("SET SESSION sql_log_bin = 0")
            .await?;
        let noted = marker.note_pass(Pass::ReplayBegins).await;
        let settings = marker.control.config().settings.clone();
        if !settings.iter().any(|one| one.contains("sql_log_bin")) {
            marker
                .control
                .persist("SET SESSION sql_log_bin = 1")
                .await?;
        }
        noted
    }
}

/// A restore in progress.
pub struct Restore {
    archive: Archive,
    options: RestoreOptions,
    /// State of the destination before this run.
    facts: DestinationFacts,
    survey: Survey,
    frames: FrameSource,
    /// Configuration of all connections but the marker's.
    lanes: LaneConfig,
    marker: OpenMarker,
    /// Whether an earlier run began the restore.
    resuming: bool,
    progress: Arc<dyn Progress>,
    cancel: Cancel,
    report: RestoreReport,
}

impl Restore {
    /// Inspects the archive and the destination, and creates the restore marker, or reads it to resume. A
    /// refusal (exit 9) changes nothing.
    pub async fn prepare(
        archive: &Archive,
        server: &Arc<ServerConfig>,
        options: RestoreOptions,
        progress: Arc<dyn Progress>,
        cancel: &Cancel,
    ) -> Result<Restore> {
        let began = Instant::now();
        let inspection =
            Inspection::gather(archive, server, &options, &progress, cancel, Some(LOCK)).await?;
        if let Some(error) = refused(&inspection.plan(archive, &options).refusals) {
            inspection.control.close().await;
            return Err(error);
        }
        let checks = inspection.checks(archive, &options);
        let replaced = checks.conflicts();
        let mut warnings = checks.left_to_do();
        let mut request = inspection.request.clone();
        if options.substitute_definer.is_some() {
            let missing = checks.missing_definers().into_iter();
            request.substituted = missing.map(|(account, _)| account.to_string()).collect();
        }
        let resuming = inspection.resumed(&options).is_some();
        let Inspection {
            mut control,
            marker,
            frames,
            survey,
            mut facts,
            ..
        } = inspection;
        if options.destination.is_scratch() && !survey.changed.is_empty() {
            warnings.push(not_tested(survey.changed.keys()));
        }
        let contents = match marker {
            Some(marker) if resuming => marker,
            unfinished => {
                if let Some(unfinished) = unfinished {
                    tuning::revert(&mut control).await?;
                    let dropped = discard::discard(&mut control, &unfinished).await?;
                    facts.objects.retain(|object| !dropped.contains(object));
                }
                marker::create(&mut control, &request).await?;
                Marker::new(request)
            }
        };
        let lanes = LaneConfig {
            lock: None,
            settings: Arc::new(tuning::lane_settings(&facts, &options, archive)),
            ..control.config().clone()
        };
        let mut report = RestoreReport {
            backup: archive.manifest().id.to_string(),
            server: facts.version.to_string(),
            lanes: options.resources.lanes,
            replaced,
            warnings: warnings.into(),
            frames_before: contents.frames.len() as u64,
            ..RestoreReport::default()
        };
        report.stage("check", began);
        Ok(Restore {
            archive: archive.clone(),
            options,
            facts,
            survey,
            frames,
            lanes,
            marker: OpenMarker { control, contents },
            resuming,
            progress,
            cancel: cancel.clone(),
            report,
        })
    }

    /// Restores everything but the state of events.
    pub async fn load(&mut self) -> Result<()> {
        self.report_substitutes();
        let (control, tuning) = (&mut self.marker.control, self.options.tuning);
        let loader = self.options.resources.loader;
        self.report.settings = tuning::apply(control, &self.facts, tuning, loader).await?;
        let follows = self.options.replay.as_ref();
        let follows = follows.is_some_and(|stretch| stretch.then == Then::Follow);
        // The log of a standby is deleted before the replay begins.
        if !self.options.binlog && !follows && self.facts.is_on("log_bin") {
            for sql in [
                "SET SESSION sql_log_bin = 1",
                &not_logged(),
                "SET SESSION sql_log_bin = 0",
            ] {
                control.persist(sql).await?;
            }
        }
        for pass in [
            Pass::Accounts,
            Pass::Replace,
            Pass::PreData,
            Pass::Data,
            Pass::Keys,
            Pass::ForeignKeys,
            Pass::PostData,
        ] {
            self.run(pass).await?;
        }
        Ok(())
    }

    /// Compares the restored data with the dump, if requested; differences are exit 7. Not once the replay has begun:
    /// then they are those of the log, and the run that began it tells whether they were equal.
    pub async fn compare(&mut self) -> Result<()> {
        if self.marker.contents.passed(Pass::ReplayBegins) {
            self.report.compared_before = self.marker.contents.passed(Pass::Compare);
            return Ok(());
        }
        self.run(Pass::Compare).await?;
        let equal = self
            .report
            .comparison
            .as_ref()
            .is_some_and(Comparison::is_equal);
        if equal && self.options.replay.is_some() {
            self.marker.note_pass(Pass::Compare).await?;
        }
        Ok(())
    }

    /// Replays the stretch of the binary log, if one is requested.
    pub async fn replay(&mut self) -> Result<()> {
        let Some(stretch) = self.options.replay.clone() else {
            return Ok(());
        };
        if self.marker.contents.passed(Pass::Replay) {
            return Ok(());
        }
        let began = Instant::now();
        self.progress.begin(Pass::Replay, None);
        let begun = self.marker.contents.passed(Pass::ReplayBegins);
        let options = replay::Options {
            path: stretch.path.clone(),
            tables: stretch.tables.clone(),
            session: lane_session::for_a_log(&self.facts.variables),
            workers: self.options.resources.lanes.max(1),
            begin: stretch.begin(begun),
            then: stretch.then,
        };
        if stretch.path.is_client() {
            events::mark(&mut self.marker).await?;
        }
        let server = self.lanes.server.clone();
        let journal = NotedSettings(Mutex::new(&mut self.marker));
        let plan = &stretch.resolved.plan;
        let replayed = replay::replay(
            &server,
            stretch.log.clone(),
            plan,
            &options,
            Some(&journal),
            |_| {},
            &self.cancel,
        )
        .await?;
        self.report.replayed = Some(Replayed::of(&stretch.resolved, replayed));
        if stretch.tables.is_some() {
            self.report.warn(
                "only the selected tables were replayed, though the GTIDs of the destination say that all of the log is: \
                 do not make it a replica of the target"
                    .to_owned(),
            );
        }
        self.report.stage(Pass::Replay.name(), began);
        match stretch.then {
            Then::End => self.marker.note_pass(Pass::Replay).await,
            // It never ends, and the destination is read-only.
            Then::Follow => Ok(()),
        }
    }

    /// Enables events, and hands over the administration of roles.
    pub async fn complete(&mut self) -> Result<()> {
        if let Some(stretch) = &self.options.replay {
            let by_client = stretch.path.is_client();
            let of_replicas = &self.survey.replica_events;
            let (marker, report) = (&mut self.marker, &mut self.report);
            events::forget_replayed(marker, by_client, of_replicas, report).await?;
        }
        self.run(Pass::Events).await?;
        self.hand_over_roles().await
    }

    /// Hands over the administration of roles.
    pub async fn hand_over_roles(&mut self) -> Result<()> {
        match self.options.accounts && !self.options.destination.is_scratch() {
            true => self.accounts().hand_over_roles().await,
            false => Ok(()),
        }
    }

    /// Whether the destination holds what the backup holds, and the replay has begun.
    pub fn replays(&self) -> bool {
        self.marker.contents.passed(Pass::ReplayBegins)
    }

    /// Leaves the destination as a standby, whose restore is not complete while the log goes on; returns warnings.
    pub fn leave(self) -> Vec<String> {
        self.report.warnings.into_iter().cloned().collect()
    }

    /// Ends the restore with the result of its steps: reverts server settings, and drops the restore marker
    /// if all steps succeeded. `report` contains what was done, also after a failure.
    pub async fn finish(mut self, done: Result<()>, report: &mut RestoreReport) -> Result<()> {
        let changed = self.resuming || self.options.tuning != Tuning::Keep;
        let reverted = if changed {
            self.revert_settings(done.is_err()).await
        } else {
            Ok(())
        };
        let contents = self.marker.contents;
        self.report.expired_events = contents.expired.into_iter().collect();
        self.report.made = contents.objects.into_iter().collect();
        *report = self.report;
        report.marked = true;
        match (done, reverted) {
            (Ok(()), reverted) => reverted?,
            (Err(error), Ok(())) => return Err(error),
            (Err(error), Err(also)) => return Err(error.also(&also)),
        }
        let mut control = self.marker.control;
        marker::drop_marker(&mut control).await?;
        report.marked = false;
        control.close().await;
        Ok(())
    }

    /// Reverts the server's settings. After a failure the connection may still be executing a statement, so a
    /// new one is used.
    async fn revert_settings(&mut self, failed: bool) -> Result<()> {
        let control = &mut self.marker.control;
        control.ignore_cancel();
        let revert = async {
            if failed {
                control.replace().await?;
            }
            tuning::revert(control).await.map(|_| ())
        };
        let reverted = match tokio::time::timeout(REVERT_TIMEOUT, revert).await {
            Ok(reverted) => reverted,
            Err(_) => Err(Error::server(format!(
                "no answer within {} s",
                REVERT_TIMEOUT.as_secs()
            ))),
        };
        reverted.map_err(|error| {
            error
                .context("the server's settings are not reverted")
                .hint("revert them with drctl restore --undo-settings")
        })
    }

    /// Executes a pass, unless an earlier run completed it.
    async fn run(&mut self, pass: Pass) -> Result<()> {
        if self.marker.contents.passed(pass) {
            // A resumed run may request accounts although the first one did not.
            if pass == Pass::PostData && self.options.accounts {
                self.accounts().create(Part::TableGrants).await?;
                self.accounts().create(Part::RoutineGrants).await?;
            }
            return Ok(());
        }
        let began = Instant::now();
        let bytes = (pass == Pass::Data).then(|| self.archive.manifest().totals.raw_bytes);
        self.progress.begin(pass, bytes);
        let (lanes, lane_count) = (&self.lanes, self.options.resources.lanes.max(1));
        match pass {
            Pass::Accounts => {
                if self.options.accounts {
                    self.accounts().create(Part::Accounts).await?;
                }
                if self.options.destination.is_scratch() {
                    self.accounts().create_missing_definers().await?;
                }
            }
            Pass::Replace => {
                let existing = self.pre_existing_schemas();
                let (survey, report) = (&self.survey, &mut self.report);
                replace::run(&mut self.marker, survey, &existing, report).await?;
            }
            Pass::PreData => {
                PreData {
                    pre_existing: self.pre_existing_schemas(),
                    scope: &self.options.scope,
                    survey: &self.survey,
                    frames: &self.frames,
                    lanes,
                    resuming: self.resuming,
                    report: &mut self.report,
                }
                .run()
                .await?;
            }
            Pass::Data => {
                let everything = self.options.scope.is_everything();
                let loaded = Data {
                    archive: &self.archive,
                    scope: &self.options.scope,
                    survey: &self.survey,
                    frames: &self.frames,
                    lanes,
                    lane_count,
                    // All frames are read, so the digests of the segments can be verified as well.
                    // Also when resuming: the interrupted run did not read the whole archive.
                    read_all: self.options.check == Check::Loading && everything,
                    method: self.method(),
                    marker: &mut self.marker,
                    progress: &self.progress,
                }
                .run()
                .await?;
                (self.report.rows, self.report.raw_bytes) = (loaded.rows, loaded.bytes);
            }
            Pass::Keys => {
                let rows = self.rows_by_table();
                keys::run(&self.survey.deferred, &rows, lanes, lane_count).await?;
            }
            Pass::ForeignKeys => keys::run_foreign(&self.survey.deferred, lanes).await?,
            Pass::PostData => self.post_data().await?,
            Pass::Compare => {
                if self.options.compare {
                    Compare {
                        archive: &self.archive,
                        options: &self.options,
                        facts: &self.facts,
                        survey: &self.survey,
                        lanes,
                        cancel: &self.cancel,
                        marker: &mut self.marker,
                        report: &mut self.report,
                    }
                    .run()
                    .await?;
                }
            }
            // Not among those that are repeated until they are complete.
            Pass::ReplayBegins | Pass::Replay => {}
            Pass::Events => events::enable(&mut self.marker, &mut self.report).await?,
        }
        self.report.stage(pass.name(), began);
        // A resumed run repeats these two, possibly with other options.
        if pass != Pass::Compare && pass != Pass::Accounts {
            self.marker.note_pass(pass).await?;
        }
        Ok(())
    }

    async fn post_data(&mut self) -> Result<()> {
        if self.options.accounts {
            self.accounts().create(Part::TableGrants).await?;
        }
        PostData {
            scope: &self.options.scope,
            frames: &self.frames,
            lanes: &self.lanes,
            substitute_definer: self.options.substitute_definer.as_ref(),
            destination: self.options.destination,
            resuming: self.resuming,
            marker: &mut self.marker,
            report: &mut self.report,
        }
        .run()
        .await?;
        if self.options.accounts {
            self.accounts().create(Part::RoutineGrants).await?;
        }
        routine_grants::grant_again(&mut self.marker.control).await
    }

    fn accounts(&mut self) -> Accounts<'_> {
        Accounts {
            archive: &self.archive,
            scope: &self.options.scope,
            destination: self.options.destination,
            facts: &self.facts,
            survey: &self.survey,
            lanes: &self.lanes,
            resuming: self.resuming,
            marker: &mut self.marker,
            report: &mut self.report,
        }
    }

    /// How rows may be loaded.
    fn method(&self) -> Method {
        let was_set = tuning::set_local_infile(&self.report.settings);
        let local_infile = was_set || self.facts.is_on(tuning::LOCAL_INFILE);
        let loader = self.options.resources.loader;
        Method::of(&self.facts, loader, local_infile, self.options.binlog)
    }

    fn report_substitutes(&mut self) {
        let substituted = self.marker.substituted(&self.survey.definers);
        let substituted: Vec<ObjectId> = substituted.into_keys().collect();
        if let Some(definer) = &self.options.substitute_definer
            && !substituted.is_empty()
        {
            let all = all_of(&substituted);
            self.report.warn(format!(
                "missing definers were substituted with {definer}: {all}"
            ));
        }
        self.report.substituted = substituted;
    }

    /// Schemas in scope that existed before the restore, by their names on the destination.
    fn pre_existing_schemas(&self) -> BTreeSet<String> {
        let facts = &self.facts;
        let pre_exists = |schema: &String| {
            let id = ObjectId::schema(schema.clone());
            let folded = facts.folded(&id);
            let mut existing = facts.objects.iter();
            existing
                .any(|object| object.kind == ObjectKind::Schema && facts.folded(object) == folded)
                && !self.marker.contents.objects.contains(&id)
        };
        let schemas = self.survey.schema_names().into_iter();
        schemas.filter(pre_exists).collect()
    }

    /// Number of rows of each table, by its name on the destination.
    fn rows_by_table(&self) -> BTreeMap<ObjectId, u64> {
        let scope = &self.options.scope;
        let ledger = self.archive.contents().ledger.iter();
        ledger
            .filter_map(|(object, entry)| Some((scope.mapped_name(object), entry.rows?.rows)))
            .collect()
    }
}
