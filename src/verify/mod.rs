//! Drills: a backup restored into a scratch server and compared with its dump.
//!
//! ```text
//! locate ─→ boot ─→ load ─→ keys ─→ post-data ─→ compare ─→ checks ─→ teardown    report
//! archive   scratch  └ restore, or the plain client   └ the user's assertions, views
//! ```
//!
//! - [`archive`]: the part that needs no server: digests, decoding, ledger.
//! - [`scratch`]: the scratch server.
//! - [`plain_client`]: loading with the plain client, as in a restore without drctl.
//! - [`pitr`]: the binary log behind the backup, replayed and compared with a later backup.
//! - [`compare`]: the comparison of both with a dump; [`expired`]: events that it ignores.
//! - [`of_kind`]: the drill of a source other than MySQL.
//! - [`checks`]: checks of the restored data besides the comparison.
//! - [`figures`]: RTO and RPO, compared with the objectives.
//!
//! A drill always ends with a report, and its scratch server never outlives it.

pub mod archive;
pub mod checks;
pub mod compare;
pub mod config;
mod expired;
pub mod figures;
pub mod later;
pub mod of_kind;
pub mod pitr;
pub mod plain_client;
pub mod scratch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::archive::read::Archive;
use crate::catalog::{Catalog, Entry};
use crate::layout::{DrillLevel, DrillVerdict};
use crate::monitor::report::model::{DrillReport, LoadPath, Profile, ScratchFacts, Stage};
use crate::mysql::ServerConfig;
use crate::mysql::blame::is_of_the_server;
use crate::mysql::connect::server_said;
use crate::replay::ReplayPath;
use crate::restore;
use crate::restore::options::{Destination, Resources, RestoreOptions, Tuning};
use crate::restore::report::{Progress, RestoreReport};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Outcome, Result};
use crate::util::times::{before, signed};

use compare::Compared;
pub use config::DrillConfig;
use scratch::{Choice, Scratch};

/// Time for a lost scratch server to return; drctl's own scratch servers never do.
const RECONNECT: Duration = Duration::from_secs(10);

/// Time limit for removing the drill's data.
const TEAR_DOWN_TIMEOUT: Duration = Duration::from_secs(600);

/// One drill.
pub struct Drill<'a> {
    /// The target's backups.
    pub catalog: &'a Catalog,
    /// The backup to verify.
    pub entry: &'a Entry,
    /// Configuration of drills.
    pub config: &'a DrillConfig,
    /// What to verify.
    pub work: Work,
    /// How the backup is loaded, or the binary log is replayed.
    pub path: LoadPath,
    /// Whether the path was asked for: one that is only its turn gives way where a program is missing.
    pub path_is_requested: bool,
    /// Durability settings of a scratch server that drctl starts.
    pub profile: Profile,
    /// The kind of scratch server.
    pub scratch: Choice,
    /// Whether to keep the scratch server's data for inspection.
    pub keep: bool,
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
    /// Cancellation of the drill.
    pub cancel: &'a Cancel,
}

/// What a drill verifies.
#[derive(Debug)]
pub enum Work {
    /// The archive of the backup.
    Archive,
    /// That the backup restores.
    Restore,
    /// That it restores, and the binary log from it to a later backup.
    Pitr(Box<pitr::Until>),
}

impl Work {
    /// The level of the report.
    pub fn level(&self) -> DrillLevel {
        match self {
            Work::Archive => DrillLevel::Archive,
            Work::Restore => DrillLevel::Restore,
            Work::Pitr(_) => DrillLevel::Pitr,
        }
    }
}

impl Drill<'_> {
    /// Runs the drill and always returns a report. The caller checks objectives.
    pub async fn run(&self) -> (DrillReport, Result<()>) {
        let began = Instant::now();
        let manifest = &self.entry.manifest;
        let mut report = DrillReport::begin(manifest, self.work.level(), Timestamp::now());
        report.evidence.signed = Some(self.entry.signature());
        let done = match &self.work {
            Work::Archive => self.verify_archive(&mut report).await,
            Work::Restore => Box::pin(self.verify_restore(&mut report, None)).await,
            Work::Pitr(until) => match pitr::find(self, until, &mut report).await {
                Ok(found) => Box::pin(self.verify_restore(&mut report, Some(&found))).await,
                Err(error) => Err(error),
            },
        };
        report.drill_seconds = began.elapsed().as_secs_f64();
        report.ended_at = Timestamp::now();
        set_verdict(&mut report, &done);
        if report.verdict == DrillVerdict::Broken {
            report.level = self.work.level();
        }
        if !report.verdict.is_verified() {
            report.evidence.identities.clear();
        }
        (report, done)
    }

    async fn verify_archive(&self, report: &mut DrillReport) -> Result<()> {
        let archive = self.locate(report).await?;
        let since = Instant::now();
        let found = archive::verify(&archive, &self.progress, self.cancel).await;
        add_stage(report, "check", since);
        let found = found?;
        report.set_comparison(found.clone());
        archive::refuse_differences(&found)
    }

    async fn verify_restore(
        &self,
        report: &mut DrillReport,
        log: Option<&pitr::Found<'_>>,
    ) -> Result<()> {
        report.path = Some(self.path);
        // Also of a drill of the log, until the backup is found equal to its dump: a failure is the backup's.
        report.level = DrillLevel::Restore;
        let archive = self.locate(report).await?;
        let mut scratch = self.boot(&archive, log.is_some(), report).await?;
        report.scratch = Some(scratch.facts().clone());
        let log = match log {
            Some(found) => Some((found, self.replay_path(scratch.as_ref(), report).await)),
            None => None,
        };
        let server = scratch.server().clone();
        let mut restored = RestoreReport::default();
        let done = {
            let work = self.load_and_check(&archive, &server, log, &mut restored, report);
            tokio::select! {
                biased;
                done = work => done,
                why = scratch.ended() => Err(why),
            }
        };
        let done = match done {
            Err(error) if error.outcome() == Outcome::Server => {
                // If the server ended, that is the cause of the other failure.
                match tokio::time::timeout(scratch.cause_timeout(), scratch.ended()).await {
                    Ok(why) => Err(why),
                    Err(_) => Err(attributed(error)),
                }
            }
            // Without the hint about the restore marker: the scratch server is removed.
            Err(error) if error.outcome() == Outcome::Verification => {
                Err(Error::verification(error.what()).hint("see the report for all differences"))
            }
            done => done,
        };
        add_restore(report, &restored);
        report.sum_up_replay();
        let since = Instant::now();
        let removed = self.end(scratch, &restored, report).await;
        add_stage(report, "teardown", since);
        match (done, removed) {
            (Ok(()), removed) => removed,
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(also)) => {
                report.warn(also.to_string());
                Err(error)
            }
        }
    }

    /// How the binary log gets into the scratch server.
    async fn replay_path(
        &self,
        scratch: &dyn Scratch,
        report: &mut DrillReport,
    ) -> Result<ReplayPath> {
        if self.path == LoadPath::Client {
            match ReplayPath::through_client(scratch.server()).await {
                Err(error) if error.outcome() == Outcome::Usage && !self.path_is_requested => {
                    report.warn(format!("not by the client, whose turn it was: {error}"));
                    report.path = Some(LoadPath::Lanes);
                }
                found => return found,
            }
        }
        Ok(ReplayPath::Replica(
            (scratch.own_address().await?, 0).into(),
        ))
    }

    async fn locate(&self, report: &mut DrillReport) -> Result<Archive> {
        let since = Instant::now();
        let open = self.catalog.open(self.entry.id);
        let archive = self.cancel.unless(open).await;
        add_stage(report, "locate", since);
        let archive = archive?;
        let decrypting = self.cancel.unless(archive.decrypting()).await?;
        let now = Timestamp::now();
        report.evidence.identities = decrypting.into_iter().map(|key| (key, now)).collect();
        Ok(archive)
    }

    /// Starts the scratch server while the whole archive is read: nothing of the archive is executed before
    /// it is known to be intact.
    async fn boot(
        &self,
        archive: &Archive,
        replays: bool,
        report: &mut DrillReport,
    ) -> Result<Box<dyn Scratch>> {
        let since = Instant::now();
        let begin = async {
            let (choice, profile) = (&self.scratch, self.profile);
            let begin = scratch::begin(choice, self.config, archive, profile, replays, self.cancel);
            (Box::pin(begin).await, Instant::now())
        };
        let check = archive::verify(archive, &self.progress, self.cancel);
        let ((begun, up), found) = tokio::join!(begin, check);
        report.stages.push(Stage {
            name: "boot".to_owned(),
            seconds: up.saturating_duration_since(since).as_secs_f64(),
        });
        // The part that the boot did not overlap.
        add_stage(report, "check", up);
        let checked = found.and_then(|found| archive::refuse_differences(&found));
        match (begun, checked) {
            (begun, Ok(())) => begun,
            // A damaged archive is more severe than a server that did not start.
            (Err(_), Err(error)) => Err(error),
            (Ok(scratch), Err(error)) => {
                let nothing = RestoreReport::default();
                if let Err(also) = self.end(scratch, &nothing, report).await {
                    report.warn(also.to_string());
                }
                Err(error)
            }
        }
    }

    async fn load_and_check(
        &self,
        archive: &Archive,
        server: &Arc<ServerConfig>,
        log: Option<(&pitr::Found<'_>, Result<ReplayPath>)>,
        restored: &mut RestoreReport,
        report: &mut DrillReport,
    ) -> Result<()> {
        let mut holds = archive;
        let mut behind = None;
        match (log, self.path) {
            (Some((found, path)), _) => {
                let path = path?;
                let by = path.clone();
                pitr::run(self, archive, server, found, by, restored, report).await?;
                (holds, behind) = (&found.later, Some((found, path)));
            }
            (None, LoadPath::Lanes) => {
                let (options, progress) = (self.options(archive), self.progress.clone());
                restore::restore(archive, server, options, progress, self.cancel, restored).await?;
            }
            (None, LoadPath::Client) => {
                plain_client::restore(self, archive, server, restored).await?;
            }
        }
        let since = Instant::now();
        let checks = checks::run(self, holds, server).await;
        restored.stage("checks", since);
        report.checks = checks?;
        check_failure(report)?;
        if let Some((found, path)) = behind {
            pitr::replay_beyond(self, server, found, path, report).await?;
        }
        report.verdict = DrillVerdict::Pass;
        Ok(())
    }

    fn resources(&self) -> Resources {
        Resources {
            loader: self.config.loader,
            lanes: self.config.lanes.unwrap_or(Resources::default().lanes),
            reconnect: RECONNECT,
            reader: self.config.reader,
        }
    }

    /// A scratch server, as it is compared.
    fn compared<'a>(&'a self, server: &'a Arc<ServerConfig>) -> Compared<'a> {
        let resources = self.resources();
        Compared {
            server,
            reader: resources.reader,
            lanes: resources.lanes,
            cancel: self.cancel,
        }
    }

    fn options(&self, archive: &Archive) -> RestoreOptions {
        RestoreOptions {
            accounts: archive.manifest().accounts.is_some(),
            destination: Destination::Scratch {
                connected_clients: !matches!(self.scratch, Choice::External(_)),
            },
            tuning: match self.profile {
                Profile::Relaxed => Tuning::Scratch,
                Profile::Production | Profile::AsIs => Tuning::Keep,
            },
            resources: self.resources(),
            ..RestoreOptions::default()
        }
    }

    /// Removes the scratch server, or keeps its data for inspection.
    async fn end(
        &self,
        scratch: Box<dyn Scratch>,
        restored: &RestoreReport,
        report: &mut DrillReport,
    ) -> Result<()> {
        if self.keep {
            let access = scratch.keep().await?;
            report.warn(format!("the scratch server was kept: {access}"));
            return Ok(());
        }
        let ended = tokio::time::timeout(TEAR_DOWN_TIMEOUT, scratch.tear_down(restored));
        ended.await.map_err(|_| {
            Error::server(format!(
                "cannot clean up the scratch server within {} s",
                TEAR_DOWN_TIMEOUT.as_secs()
            ))
            .hint("check what the server is executing, and drop the schemas that the drill created there")
        })?
    }
}

/// Report of a verified restore of a whole backup outside a drill.
pub fn of_restore(entry: &Entry, restored: &RestoreReport) -> DrillReport {
    let ended_at = Timestamp::now();
    let mut report = DrillReport::begin(&entry.manifest, DrillLevel::Restore, ended_at);
    report.evidence.signed = Some(entry.signature());
    add_restore(&mut report, restored);
    report.path = Some(LoadPath::Lanes);
    report.scratch = Some(ScratchFacts {
        kind: ScratchFacts::RESTORED.to_owned(),
        version: restored.server.clone(),
        profile: Profile::AsIs,
        settings: BTreeMap::new(),
    });
    report.drill_seconds = restored.total().as_secs_f64();
    report.started_at = before(ended_at, signed(restored.total()));
    set_verdict(&mut report, &Ok(()));
    report
}

/// Attributes a statement refused by the server: to the backup if the server rejected its contents, which
/// shows that the backup does not restore; to the scratch server if it lacked memory or disk space or was
/// interrupted, or if the error is unknown, which says nothing about the backup.
fn attributed(error: Error) -> Error {
    match server_said(&error) {
        Some((code, message)) if !is_of_the_server(code, message) => Error::verification(format!(
            "the backup does not restore; a server of its own release series rejects it: {}",
            error.what()
        ))
        .hint("fix the named object on the target and back up again; until then, run drctl verify for an older backup"),
        _ => error,
    }
}

/// Turns a failed check into the failure of the drill.
fn check_failure(report: &DrillReport) -> Result<()> {
    let mut failed = report.checks.iter().filter(|check| !check.passed);
    let Some(first) = failed.next() else {
        return Ok(());
    };
    let more = match failed.count() {
        0 => String::new(),
        count => format!("; and {count} more checks failed"),
    };
    Err(Error::verification(format!(
        "check {:?} failed: expected {}, found {}{more}",
        first.name, first.expected, first.found
    ))
    .hint("see the report for all checks; the backup may be outdated, or of the wrong database"))
}

/// Copies the restore's results into the drill's report.
fn add_restore(report: &mut DrillReport, restored: &RestoreReport) {
    let stages = restored.stages.iter().map(|stage| Stage {
        name: stage.name.to_owned(),
        seconds: stage.seconds,
    });
    report.stages.extend(stages);
    for warning in &restored.warnings {
        report.warn(warning.clone());
    }
    for event in &restored.expired_events {
        report.warn(format!("expired: the execution time of {event} has passed"));
    }
    match (&restored.comparison, &report.replay) {
        (Some(comparison), None) => report.set_comparison(comparison.clone()),
        // The differences are those from the later backup.
        (Some(comparison), Some(_)) => report.verified.set(comparison),
        (None, _) => {}
    }
}

fn add_stage(report: &mut DrillReport, name: &str, since: Instant) {
    report.stages.push(Stage {
        name: name.to_owned(),
        seconds: since.elapsed().as_secs_f64(),
    });
}

/// Sets the verdict. Only findings in the backup or in its restored data fail it; an aborted drill has no
/// result.
pub fn set_verdict(report: &mut DrillReport, done: &Result<()>) {
    let outcome = Outcome::of(done.as_ref().err());
    report.exit = outcome.code();
    report.error = done.as_ref().err().map(Error::to_string);
    report.verdict = match outcome {
        Outcome::Done => DrillVerdict::Pass,
        Outcome::Objective => DrillVerdict::Missed,
        Outcome::Archive | Outcome::Verification => DrillVerdict::Fail,
        // A completed verification stays valid despite a later failure.
        _ if report.verdict.is_verified() => report.verdict,
        _ => DrillVerdict::Broken,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::connect::server_error;

    #[test]
    fn a_refused_statement_fails_the_drill_and_a_server_error_breaks_it_off() {
        let failed = |code| {
            let cause = server_error(code, "no");
            attributed(Error::server("table `a`.`t`: no").caused_by(cause))
        };
        let refused = failed(1064);
        assert_eq!(refused.outcome(), Outcome::Verification);
        assert!(refused.to_string().contains("`a`.`t`"), "{refused}");
        for code in [1021, 2013, 1205, 1317] {
            assert_eq!(failed(code).outcome(), Outcome::Server, "{code}");
        }
        assert_eq!(
            attributed(Error::server("ended")).outcome(),
            Outcome::Server
        );
    }
}
