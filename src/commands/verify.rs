//! `drctl verify`: a drill: a backup into a throw-away server, the proof, the figures, the evidence.
//!
//! choose → drill → hold against the objectives → keep the report → say what was found

mod turn;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::apply::report::Progress;
use crate::catalog::{Catalog, Entry};
use crate::cli::{LevelArg, Output, VerifyArgs};
use crate::commands::ended::ended;
use crate::commands::progress::Bar;
use crate::commands::{Run, text};
use crate::drill::{self, Drill, figures};
use crate::error::{Outcome, Result};
use crate::notify::Task;
use crate::objectives::rpo_rto;
use crate::reading::Reading;
use crate::report::model::DrillReport;
use crate::report::{history, text as page};
use crate::runs::RunRecord;
use crate::store::keys::{BackupId, DrillLevel, DrillName, DrillVerdict};
use turn::Turn;

/// Runs a drill.
pub async fn run(run: &Run, args: VerifyArgs) -> Result<()> {
    run.cancel.on_deadline(run.config.verify.deadline);
    let started_at = Timestamp::now();
    let mut backup = None;
    let done = verify(run, &args, &mut backup).await;
    let mut record = RunRecord::ends("verify", started_at, backup, done.as_ref().err());
    let outcome = Outcome::of(done.as_ref().err());
    record.whole = args.level == LevelArg::Restore;
    ended(run, Task::Verify, outcome, record).await;
    done
}

async fn verify(run: &Run, args: &VerifyArgs, backup: &mut Option<BackupId>) -> Result<()> {
    let scratch = run.config.scratch(args.scratch.as_deref())?;
    let catalog = run.catalog().await?;
    let entry = run.cancel.unless(choose(&catalog, args)).await?;
    *backup = Some(entry.id);
    let waits = run.cancel.unless(catalog.newest_waits()).await?;
    if let Some(waits) = &waits {
        tracing::warn!("{waits}");
    }
    let past = run.cancel.unless(past(run, &catalog)).await?;
    let level = match args.level {
        LevelArg::Archive => DrillLevel::Archive,
        LevelArg::Restore => DrillLevel::Restore,
    };
    let turn = Turn::of(&run.config.verify.drill, &catalog, &past);
    let (path, profile) = turn.choose(args, &scratch);
    let progress: Arc<dyn Progress> = Arc::new(Bar::new(entry.manifest.totals.raw_bytes));
    let drill = Drill {
        catalog: &catalog,
        entry: &entry,
        config: &run.config.verify.drill,
        level,
        path,
        profile,
        scratch,
        keep: args.keep,
        progress,
        cancel: &run.cancel,
    };
    tracing::info!(
        backup = %entry.id,
        taken = text::ago(entry.manifest.snapshot_at, Timestamp::now()),
        level = level.as_str(),
        "drill"
    );
    // Prune spares what is read.
    let reading = Reading::begin(&run.store, &catalog.place(entry.id)).await;
    let (mut report, mut done) = drill.run().await;
    if let Some(reading) = reading {
        reading.end().await;
    }
    if done.is_ok() && level == DrillLevel::Restore {
        let took = SignedDuration::from_secs(report.drill_seconds.ceil() as i64);
        let pace = run.config.schedule.pace(Timestamp::now(), took);
        let declared = run.config.objectives;
        let judged = figures::judge(&mut report, &past, &catalog, declared, pace);
        done = run.cancel.unless(judged).await;
        drill::settle(&mut report, &done);
    }
    warn_of_schedule(run, &entry, &mut report);
    if let Some(waits) = waits {
        report.warn(waits);
    }
    let kept = history::keep(&run.store, &catalog.place(entry.id), &report).await;
    let said = say(run, &report);
    // That there is no evidence is a failure of its own, but never hides what the drill found; nor does a
    // reader of it who cannot take it.
    done.and(kept).and(said)
}

/// That no run of luck meets the RPO is no finding about this backup, and is told before it is missed.
fn warn_of_schedule(run: &Run, entry: &Entry, report: &mut DrillReport) {
    let (schedule, rpo) = (&run.config.schedule.backup, run.config.objectives.rpo);
    let (Some(schedule), Some(rpo)) = (schedule, rpo) else {
        return;
    };
    let took = entry.manifest.took();
    if let Some((false, what)) = rpo_rto::of_schedule(schedule, rpo, Some(took), Timestamp::now()) {
        report.warn(what);
    }
}

async fn choose(catalog: &Catalog, args: &VerifyArgs) -> Result<Entry> {
    match args.oldest_unproven {
        true => catalog.oldest_unproven().await,
        false => catalog.find(args.choose.which()?).await,
    }
}

/// The reports of the last drills that restored something, whatever they found.
async fn past(run: &Run, catalog: &Catalog) -> Result<Vec<DrillReport>> {
    let config = &run.config.verify.drill;
    let most = config.client_path_every.max(config.production_every) * 2;
    let ended = |name: &DrillName| {
        name.level == DrillLevel::Restore && name.verdict != DrillVerdict::Broken
    };
    let drilled = |report: &DrillReport| report.scratch.is_some() && !report.is_of_restore();
    let most = most as usize + 10;
    history::newest(&run.store, catalog, most, ended, drilled).await
}

fn say(run: &Run, report: &DrillReport) -> Result<()> {
    match run.output {
        Output::Json => text::json(report),
        Output::Text => text::print(&page::page(report)),
    }
}
