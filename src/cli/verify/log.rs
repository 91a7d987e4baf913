//! `drctl verify --level log`: the archived binary log, checked without a server.
//!
//! The report is stored beside the newest usable backup, although it says nothing about it: a LIST of the backups shows
//! when the log was last checked. Without a backup there is only the run record.

use std::time::Instant;

use jiff::Timestamp;

use crate::catalog::Which;
use crate::cli::Context;
use crate::cli::args::VerifyArgs;
use crate::cli::output::text;
use crate::cli::verify::{print_report, stretch};
use crate::layout::{BackupId, DrillLevel};
use crate::monitor::report::drill_history;
use crate::monitor::report::model::{CheckedLog, DrillReport, Evidence, Stage, Verified};
use crate::monitor::report::text::log_line;
use crate::stream::check::check;
use crate::stream::coverage;
use crate::stream::objects::Objects;
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::Output;
use crate::verify;

/// Checks the log, and writes the report.
pub(super) async fn run(
    context: &Context,
    args: &VerifyArgs,
    backup: &mut Option<BackupId>,
) -> Result<()> {
    if !args.choose.is_none() || args.oldest_unverified {
        return Err(Error::usage("--level log verifies no backup")
            .hint("leave out the selection of a backup"));
    }
    let (began, started_at) = (Instant::now(), Timestamp::now());
    let objects = context.cancel.unless(stretch::list(context)).await?;
    let checked = context.cancel.unless(checked(&objects)).await;
    let catalog = context.catalog().await?;
    let newest = match context.cancel.unless(catalog.find(Which::Latest)).await {
        Ok(entry) => entry,
        // The result of the check does not depend on a backup.
        Err(error) if error.outcome() == Outcome::NothingToDo => {
            let log = checked?;
            return match context.output {
                Output::Json => text::json(&log),
                Output::Text => {
                    text::print(&format!("PASS: binary log intact: {}\n", log_line(&log)))
                }
            };
        }
        Err(error) => return checked.and(Err(error)),
    };
    *backup = Some(newest.id);
    let mut report = DrillReport::begin(&newest.manifest, DrillLevel::Log, started_at);
    // Of the backup nothing was verified.
    report.verified = Verified::default();
    report.evidence = Evidence {
        sha256: Default::default(),
        signed: Some(newest.signature()),
        ..report.evidence
    };
    report.warnings = Default::default();
    report.drill_seconds = began.elapsed().as_secs_f64();
    report.stages.push(Stage {
        name: "check".to_owned(),
        seconds: report.drill_seconds,
    });
    report.ended_at = Timestamp::now();
    let done = checked.map(|log| report.log = Some(log));
    verify::set_verdict(&mut report, &done);
    drill_history::remember(&context.store, &catalog, &mut report).await;
    let written = drill_history::write(&context.store, &catalog.place(newest.id), &report).await;
    let printed = print_report(context, &report);
    done.and(written).and(printed)
}

async fn checked(objects: &Objects) -> Result<CheckedLog> {
    let checked = check(objects).await?;
    let newest = coverage::stretches(objects).await?.pop();
    Ok(CheckedLog {
        timelines: checked.timelines,
        segments: checked.segments,
        bytes: checked.bytes,
        transactions: checked.transactions,
        from: newest.as_ref().map(|stretch| stretch.from),
        until: newest.as_ref().map(|stretch| stretch.to),
    })
}
