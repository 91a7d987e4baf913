//! `drctl verify`: runs a drill: restores a backup into a scratch server, compares it with the dump, and
//! reports RTO and RPO.
//!
//! select → drill → check objectives → write the report → print
//!
//! Every Nth run continues with a drill of the archived binary log, which has a report of its own.

mod log;
mod of_kind;
mod rotation;
mod stretch;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::history::RunRecord;
use crate::catalog::lease::Lease;
use crate::catalog::{Catalog, Entry};
use crate::cli::Context;
use crate::cli::args::{LevelArg, VerifyArgs};
use crate::cli::ended::ended;
use crate::cli::output::progress::Bar;
use crate::cli::output::text;
use crate::layout::{BackupId, DrillLevel, DrillName, DrillVerdict};
use crate::monitor::notify::Task;
use crate::monitor::report::model::{DrillReport, LoadPath, Profile};
use crate::monitor::report::{drill_history, text as page};
use crate::objectives::rpo_rto;
use crate::restore::report::Progress;
use crate::util::error::{Outcome, Result};
use crate::util::format::Output;
use crate::verify::scratch::Choice;
use crate::verify::{self, Drill, Work, figures};
use rotation::Rotation;

/// Runs a drill.
pub async fn run(context: &Context, args: VerifyArgs) -> Result<()> {
    context.cancel.on_deadline(context.config.verify.deadline);
    let started_at = Timestamp::now();
    let mut backup = None;
    let done = verify(context, &args, &mut backup).await;
    let mut record = RunRecord::ends("verify", started_at, backup, done.as_ref().err());
    let outcome = Outcome::of(done.as_ref().err());
    record.whole = !matches!(args.level, Some(LevelArg::Archive | LevelArg::Log));
    ended(context, Task::Verify, outcome, record).await;
    done
}

async fn verify(context: &Context, args: &VerifyArgs, backup: &mut Option<BackupId>) -> Result<()> {
    if let Some(kind) = context.config.kind()? {
        return of_kind::run(context, args, kind.as_ref(), backup).await;
    }
    if args.level == Some(LevelArg::Log) {
        return log::run(context, args, backup).await;
    }
    let scratch = context.config.scratch(args.scratch.as_deref())?;
    let (catalog, entry, work) = select(context, args).await?;
    *backup = Some(entry.id);
    let waits = context
        .cancel
        .unless(catalog.newest_suspect_notice())
        .await?;
    if let Some(waits) = &waits {
        tracing::warn!("{waits}");
    }
    let past = past(context, &catalog, DrillLevel::Restore);
    let past = context.cancel.unless(past).await?;
    let rotation = Rotation::of(&context.config.verify.drill, &catalog, &past);
    let drills = Drills {
        context,
        args,
        catalog: &catalog,
        past: &past,
        rotation,
        scratch,
        waits,
    };
    let log_is_due = args.level.is_none() && rotation.log_is_due();
    let settings = drills.settings(work.level()).await?;
    let (mut report, done) = Box::pin(drills.run(&entry, work, settings)).await;
    if done.is_err() || !log_is_due {
        return drills.end(&entry, &report, done).await;
    }
    let next = stretch::choose(context, &catalog, None);
    let next = match context.cancel.unless(next).await {
        Ok(next) => Ok(Some(next)),
        // No log is archived.
        Err(error) if error.outcome() == Outcome::NothingToDo => Ok(None),
        Err(error) => {
            report.warn(format!("the binary log was not verified: {error}"));
            match error.outcome() {
                Outcome::Refused => Ok(None),
                _ => Err(error),
            }
        }
    };
    drills.end(&entry, &report, done).await?;
    let Some((earlier, until)) = next? else {
        return Ok(());
    };
    let settings = drills.settings(DrillLevel::Pitr).await?;
    let work = Work::Pitr(Box::new(until));
    let (report, done) = Box::pin(drills.run(&earlier, work, settings)).await;
    drills.end(&earlier, &report, done).await
}

/// What the drills of one run have in common.
struct Drills<'a> {
    context: &'a Context,
    args: &'a VerifyArgs,
    catalog: &'a Catalog,
    past: &'a [DrillReport],
    rotation: Rotation,
    scratch: Choice,
    /// The notice about a suspect newest backup.
    waits: Option<String>,
}

impl Drills<'_> {
    /// The settings of a drill.
    async fn settings(&self, level: DrillLevel) -> Result<(LoadPath, Profile)> {
        if level != DrillLevel::Pitr {
            return Ok(self.rotation.choose(self.args, &self.scratch));
        }
        let past = past(self.context, self.catalog, level);
        let past = self.context.cancel.unless(past).await?;
        let config = &self.context.config.verify.drill;
        Ok(Rotation::of_log(config, &past, self.args, &self.scratch))
    }

    /// Runs one drill, and checks the objectives.
    async fn run(
        &self,
        entry: &Entry,
        work: Work,
        (path, profile): (LoadPath, Profile),
    ) -> (DrillReport, Result<()>) {
        let (context, catalog) = (self.context, self.catalog);
        let level = work.level();
        // Retention spares backups with a lease.
        let mut leases = vec![Lease::reading(&context.store, &catalog.place(entry.id)).await];
        if let Work::Pitr(until) = &work {
            let later = catalog.place(until.entry.id);
            leases.push(Lease::reading(&context.store, &later).await);
        }
        let progress: Arc<dyn Progress> = Arc::new(Bar::new(entry.manifest.totals.raw_bytes));
        let drill = Drill {
            catalog,
            entry,
            config: &context.config.verify.drill,
            work,
            path,
            path_is_requested: self.args.path.is_some(),
            profile,
            scratch: self.scratch.clone(),
            keep: self.args.keep,
            progress,
            cancel: &context.cancel,
        };
        tracing::info!(
            backup = %entry.id,
            taken = text::ago(entry.manifest.snapshot_at, Timestamp::now()),
            level = level.as_str(),
            "drill"
        );
        let (mut report, mut done) = drill.run().await;
        for lease in leases.into_iter().flatten() {
            lease.end().await;
        }
        // A replay depends on how much was written between two backups, so its duration is reported, not judged.
        if done.is_ok() && level == DrillLevel::Restore {
            done = judge(context, catalog, self.past, &mut report).await;
        }
        warn_of_schedule(context, entry, &mut report);
        if let Some(waits) = &self.waits {
            report.warn(waits.clone());
        }
        drill_history::remember(&context.store, catalog, &mut report).await;
        (report, done)
    }

    /// Writes and prints the report.
    async fn end(&self, entry: &Entry, report: &DrillReport, done: Result<()>) -> Result<()> {
        let place = self.catalog.place(entry.id);
        let written = drill_history::write(&self.context.store, &place, report).await;
        let printed = print_report(self.context, report);
        // A missing report is a failure of its own, but never hides the drill's result; neither does a failure
        // to print.
        done.and(written).and(printed)
    }
}

/// Compares RTO and RPO with the objectives after a drill that passed, and sets its verdict.
async fn judge(
    context: &Context,
    catalog: &Catalog,
    past: &[DrillReport],
    report: &mut DrillReport,
) -> Result<()> {
    let took = SignedDuration::from_secs(report.drill_seconds.ceil() as i64);
    let pace = context.config.schedule.pace(Timestamp::now(), took);
    let declared = context.config.objectives;
    let judged = figures::add(report, past, catalog, declared, pace);
    let done = context.cancel.unless(judged).await;
    verify::set_verdict(report, &done);
    done
}

/// Warns that the schedule cannot meet the RPO, before it is missed; this is not a finding about the backup.
fn warn_of_schedule(context: &Context, entry: &Entry, report: &mut DrillReport) {
    let (schedule, rpo) = (
        &context.config.schedule.backup,
        context.config.objectives.rpo,
    );
    let (Some(schedule), Some(rpo)) = (schedule, rpo) else {
        return;
    };
    let took = entry.manifest.took();
    if let Some((false, what)) = rpo_rto::of_schedule(schedule, rpo, Some(took), Timestamp::now()) {
        report.warn(what);
    }
}

/// The backup, and what of it is verified.
async fn select(context: &Context, args: &VerifyArgs) -> Result<(Catalog, Entry, Work)> {
    let catalog = context.catalog().await?;
    let is_of_log = args.level == Some(LevelArg::Pitr);
    let named = if args.oldest_unverified {
        Some(context.cancel.unless(catalog.oldest_unverified()).await?)
    } else if is_of_log && args.choose.is_none() {
        None
    } else {
        let which = args.choose.which()?;
        Some(context.cancel.unless(catalog.find(which)).await?)
    };
    if let Some(entry) = &named {
        entry.manifest.check_kind(context.config.kind_name())?;
    }
    match (named, args.level) {
        (Some(entry), Some(LevelArg::Archive)) => Ok((catalog, entry, Work::Archive)),
        (Some(entry), _) if !is_of_log => Ok((catalog, entry, Work::Restore)),
        (named, _) => {
            let chosen = stretch::choose(context, &catalog, named);
            let (entry, until) = context.cancel.unless(chosen).await?;
            Ok((catalog, entry, Work::Pitr(Box::new(until))))
        }
    }
}

/// Reports of the last drills of a level that restores, whatever their result.
async fn past(context: &Context, catalog: &Catalog, level: DrillLevel) -> Result<Vec<DrillReport>> {
    let config = &context.config.verify.drill;
    // A drill of the log that the client broke off was its turn, too: what it cannot replay stays in the log.
    let counts = |verdict| level == DrillLevel::Pitr || verdict != DrillVerdict::Broken;
    let ended = |name: &DrillName| name.level == level && counts(name.verdict);
    let drilled = |report: &DrillReport| report.scratch.is_some() && !report.is_of_restore();
    drill_history::newest(
        &context.store,
        catalog,
        config.reports_consulted(),
        ended,
        drilled,
    )
    .await
}

fn print_report(context: &Context, report: &DrillReport) -> Result<()> {
    match context.output {
        Output::Json => text::json(report),
        Output::Text => text::print(&page::page(report)),
    }
}
