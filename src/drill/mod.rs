//! One restore verification: a backup, restored into a throw-away server and held against its dump.
//!
//! ```text
//! locate ─→ boot ─→ load ─→ keys ─→ post-data ─→ prove ─→ checks ─→ teardown      report
//! archive   scratch  └ apply, or the plain client     └ the user's assertions, views
//! ```
//!
//! - [`archive`]: the half that needs no server: digests, decoding, ledger.
//! - [`scratch`]: the throw-away server.
//! - [`client`]: the plain path, as somebody without drctl would restore.
//! - [`checks`]: what the restored data are asked beside the proof.
//! - [`figures`]: RTO and RPO, held against the objectives.
//!
//! A drill always ends with a report, and its scratch server never outlives it.

pub mod archive;
pub mod checks;
pub mod client;
pub mod config;
pub mod figures;
pub mod scratch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::apply;
use crate::apply::options::{RestoreOptions, Tuning};
use crate::apply::report::{Progress, RestoreReport};
use crate::archive::manifest::Manifest;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::catalog::{Catalog, Entry};
use crate::error::{Error, Outcome, Result};
use crate::report::model::{DrillReport, LoadPath, Profile, ScratchFacts, Stage};
use crate::server::ServerConfig;
use crate::server::blame::is_of_the_server;
use crate::server::connect::server_said;
use crate::store::keys::{DrillLevel, DrillVerdict};
use crate::times::{before, signed};

pub use config::DrillConfig;
use scratch::{Choice, Scratch};

/// How long a scratch server that has gone away may take to come back: one of our own never does.
const RECONNECT: Duration = Duration::from_secs(10);

/// How long removing what the drill brought may take.
const TEAR_DOWN: Duration = Duration::from_secs(600);

/// One drill.
pub struct Drill<'a> {
    /// The target's backups.
    pub catalog: &'a Catalog,
    /// The one that is verified.
    pub entry: &'a Entry,
    /// How drills run.
    pub config: &'a DrillConfig,
    /// How much is proven.
    pub level: DrillLevel,
    /// How rows get into the server.
    pub path: LoadPath,
    /// How a local scratch server is set up.
    pub profile: Profile,
    /// Which server.
    pub scratch: Choice,
    /// Whether the scratch server's data stay for a look.
    pub keep: bool,
    /// Who hears of it.
    pub progress: Arc<dyn Progress>,
    /// Ends it early.
    pub cancel: &'a Cancel,
}

impl Drill<'_> {
    /// Runs it to its end, whatever that is. Objectives are the caller's to judge.
    pub async fn run(&self) -> (DrillReport, Result<()>) {
        let began = Instant::now();
        let manifest = &self.entry.manifest;
        let mut report = DrillReport::begin(manifest, self.level, Timestamp::now());
        let done = match self.level {
            DrillLevel::Archive => self.verify_archive(&mut report).await,
            DrillLevel::Restore => self.verify_restore(&mut report).await,
        };
        report.drill_seconds = began.elapsed().as_secs_f64();
        report.ended_at = Timestamp::now();
        settle(&mut report, &done);
        (report, done)
    }

    async fn verify_archive(&self, report: &mut DrillReport) -> Result<()> {
        let archive = self.locate(report).await?;
        let since = Instant::now();
        let found = archive::verify(&archive, &self.progress, self.cancel).await;
        stage(report, "check", since);
        let found = found?;
        report.take_comparison(found.clone());
        archive::refuse_differences(&found)
    }

    async fn verify_restore(&self, report: &mut DrillReport) -> Result<()> {
        report.path = Some(self.path);
        let archive = self.locate(report).await?;
        let mut scratch = self.boot(&archive, report).await?;
        report.scratch = Some(scratch.facts().clone());
        let server = scratch.server().clone();
        let mut restored = RestoreReport::default();
        let done = {
            let work = self.load_and_check(&archive, &server, &mut restored, report);
            tokio::select! {
                biased;
                done = work => done,
                why = scratch.ended() => Err(why),
            }
        };
        let done = match done {
            Err(error) if error.outcome() == Outcome::Server => {
                // Of what went wrong on the way, the end of the server is the reason.
                match tokio::time::timeout(scratch.last_words(), scratch.ended()).await {
                    Ok(why) => Err(why),
                    Err(_) => Err(judged(error)),
                }
            }
            // What an unfinished restore leaves for the next one is of no use here.
            Err(error) if error.outcome() == Outcome::Verification => {
                Err(Error::verification(error.what()).hint("see the report for all that differs"))
            }
            done => done,
        };
        take_restored(report, &restored);
        let since = Instant::now();
        let removed = self.end(scratch, &restored, report).await;
        stage(report, "teardown", since);
        match (done, removed) {
            (Ok(()), removed) => removed,
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(also)) => {
                report.warn(also.to_string());
                Err(error)
            }
        }
    }

    async fn locate(&self, report: &mut DrillReport) -> Result<Archive> {
        let since = Instant::now();
        let open = self.catalog.open(self.entry.id);
        let archive = self.cancel.unless(open).await;
        stage(report, "locate", since);
        archive
    }

    /// Starts the scratch server while the archive is read from its first byte to its last: whether it
    /// is whole is known before anything of it is executed.
    async fn boot(&self, archive: &Archive, report: &mut DrillReport) -> Result<Box<dyn Scratch>> {
        let since = Instant::now();
        let begin = async {
            let (choice, profile) = (&self.scratch, self.profile);
            let begun = scratch::begin(choice, self.config, archive, profile, self.cancel).await;
            (begun, Instant::now())
        };
        let check = archive::verify(archive, &self.progress, self.cancel);
        let ((begun, up), found) = tokio::join!(begin, check);
        report.stages.push(Stage {
            name: "boot".to_owned(),
            seconds: up.saturating_duration_since(since).as_secs_f64(),
        });
        // What of it the boot did not hide.
        stage(report, "check", up);
        let checked = found.and_then(|found| archive::refuse_differences(&found));
        match (begun, checked) {
            (begun, Ok(())) => begun,
            // A damaged archive matters more than a server that did not start.
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
        restored: &mut RestoreReport,
        report: &mut DrillReport,
    ) -> Result<()> {
        match self.path {
            LoadPath::Lanes => {
                let (options, progress) = (self.options(archive), self.progress.clone());
                apply::restore(archive, server, options, progress, self.cancel, restored).await?;
            }
            LoadPath::Client => client::restore(self, archive, server, restored).await?,
        }
        let since = Instant::now();
        let asked = checks::run(self, archive, server).await;
        restored.stage("checks", since);
        report.checks = asked?;
        judge(report)?;
        report.verdict = DrillVerdict::Pass;
        Ok(())
    }

    fn options(&self, archive: &Archive) -> RestoreOptions {
        let usual = RestoreOptions::default();
        RestoreOptions {
            lanes: self.config.lanes.unwrap_or(usual.lanes),
            accounts: archive.manifest().accounts.is_some(),
            scratch: true,
            // Nobody else knows the way into a server of our own: what is there is a login of ours that broke.
            allow_connections: !matches!(self.scratch, Choice::Given(_)),
            tuning: match self.profile {
                Profile::Relaxed => Tuning::Scratch,
                Profile::Production | Profile::AsIs => Tuning::Keep,
            },
            reconnect: RECONNECT,
            ..usual
        }
    }

    /// Removes the scratch server, or leaves its data for a look.
    async fn end(
        &self,
        scratch: Box<dyn Scratch>,
        restored: &RestoreReport,
        report: &mut DrillReport,
    ) -> Result<()> {
        if self.keep {
            let said = scratch.keep().await?;
            report.warn(format!("the scratch server was kept: {said}"));
            return Ok(());
        }
        let ended = tokio::time::timeout(TEAR_DOWN, scratch.tear_down(restored));
        ended.await.map_err(|_| {
            Error::server(format!(
                "the scratch server could not be cleaned within {} s",
                TEAR_DOWN.as_secs()
            ))
            .hint("look at what it is busy with, and drop what the drill made there")
        })?
    }
}

/// The evidence of a restore of a whole backup that ended with its proof.
pub fn of_restore(manifest: &Manifest, restored: &RestoreReport) -> DrillReport {
    let ended_at = Timestamp::now();
    let mut report = DrillReport::begin(manifest, DrillLevel::Restore, ended_at);
    take_restored(&mut report, restored);
    report.path = Some(LoadPath::Lanes);
    report.scratch = Some(ScratchFacts {
        kind: ScratchFacts::RESTORED.to_owned(),
        version: restored.server.clone(),
        profile: Profile::AsIs,
        settings: BTreeMap::new(),
    });
    report.drill_seconds = restored.total().as_secs_f64();
    report.started_at = before(ended_at, signed(restored.total()));
    settle(&mut report, &Ok(()));
    report
}

/// Whose failure it is that a server did not do what it was told: of the dump where the server refused what that
/// says, which shows that the backup does not restore; of the scratch server, which shows nothing, where it had
/// no memory, room or peace for it, and where it says nothing that is known.
fn judged(error: Error) -> Error {
    match server_said(&error) {
        Some((code, said)) if !is_of_the_server(code, said) => Error::verification(format!(
            "the backup does not restore, as a server of its own version line refuses: {}",
            error.what()
        ))
        .hint("mend what is named here on the source and back up again; drctl verify an older backup meanwhile"),
        _ => error,
    }
}

/// A check that failed is the drill's failure.
fn judge(report: &DrillReport) -> Result<()> {
    let mut failed = report.checks.iter().filter(|check| !check.passed);
    let Some(first) = failed.next() else {
        return Ok(());
    };
    let more = match failed.count() {
        0 => String::new(),
        count => format!("; and {count} more checks failed"),
    };
    Err(Error::verification(format!(
        "the check {:?} failed: expected {}, found {}{more}",
        first.name, first.expected, first.found
    ))
    .hint("see the report for all checks; the backup may be older or other than it should be"))
}

/// What the restore did becomes part of the drill.
fn take_restored(report: &mut DrillReport, restored: &RestoreReport) {
    let stages = restored.stages.iter().map(|stage| Stage {
        name: stage.name.to_owned(),
        seconds: stage.seconds,
    });
    report.stages.extend(stages);
    for warning in &restored.warnings {
        report.warn(warning.clone());
    }
    for event in &restored.expired_events {
        report.warn(format!("expired: the time of {event} has passed"));
    }
    if let Some(proof) = &restored.proof {
        report.take_comparison(proof.clone());
    }
}

fn stage(report: &mut DrillReport, name: &str, since: Instant) {
    report.stages.push(Stage {
        name: name.to_owned(),
        seconds: since.elapsed().as_secs_f64(),
    });
}

/// The verdict, by how the drill ended: only what was found in the backup or in what came of it speaks
/// against it. A drill that broke off says nothing.
pub fn settle(report: &mut DrillReport, done: &Result<()>) {
    let outcome = Outcome::of(done.as_ref().err());
    report.exit = outcome.code();
    report.error = done.as_ref().err().map(Error::to_string);
    report.verdict = match outcome {
        Outcome::Done => DrillVerdict::Pass,
        Outcome::Objective => DrillVerdict::Missed,
        Outcome::Archive | Outcome::Verification => DrillVerdict::Fail,
        // What was proven stays so, whatever went wrong afterwards.
        _ if report.verdict.proves() => report.verdict,
        _ => DrillVerdict::Broken,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connect::server_error;

    #[test]
    fn a_refusal_of_the_dump_fails_and_a_server_in_trouble_breaks_off() {
        let failed = |code| {
            let cause = server_error(code, "no");
            judged(Error::server("table `a`.`t`: no").caused_by(cause))
        };
        let refused = failed(1064);
        assert_eq!(refused.outcome(), Outcome::Verification);
        assert!(refused.to_string().contains("`a`.`t`"), "{refused}");
        for trouble in [1021, 2013, 1205, 1317] {
            assert_eq!(failed(trouble).outcome(), Outcome::Server, "{trouble}");
        }
        assert_eq!(judged(Error::server("ended")).outcome(), Outcome::Server);
    }
}
