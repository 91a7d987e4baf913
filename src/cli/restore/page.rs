//! Output of `restore`: the chosen backup, the plan, the result.

use jiff::Timestamp;

use crate::catalog::Entry;
use crate::cli::Context;
use crate::cli::output::text;
use crate::mysql::ServerConfig;
use crate::replay::stop::Edge;
use crate::restore::inspect::plan::RestorePlan;
use crate::restore::report::RestoreReport;
use crate::util::error::{Error, Result};
use crate::util::format::Output;

/// Logs which backup is restored, its age, and whether it was ever verified, before anything is done.
pub(super) fn announce(entry: &Entry, server: &ServerConfig) {
    let now = Timestamp::now();
    let verified = entry
        .marks
        .verified_at
        .map_or("never verified".to_owned(), |at| {
            format!("verified {}", text::ago(at, now))
        });
    tracing::info!(
        backup = %entry.id,
        taken = text::ago(entry.manifest.snapshot_at, now),
        verified,
        signed = %entry.signed,
        into = %server.url,
        "restore"
    );
    if !entry.is_usable() {
        tracing::warn!(
            reasons = entry.suspect().join("; "),
            "the backup is suspect"
        );
    }
}

/// Prints the plan; its refusals are the failure (exit 9).
pub(super) fn print_plan(context: &Context, plan: &RestorePlan) -> Result<()> {
    let printed = match context.output {
        Output::Json => text::json(plan),
        Output::Text => text::print(&plan_page(plan)),
    };
    match plan.refusals.as_slice() {
        _ if plan.running => plan.blocker().map_or(printed, Err),
        [] => printed,
        refusals => {
            let what: Vec<&str> = refusals
                .iter()
                .map(|refusal| refusal.what.as_str())
                .collect();
            Err(
                Error::refused(format!("the restore would be refused: {}", what.join("; ")))
                    .hint(refusals[0].hint.clone()),
            )
        }
    }
}

fn edge(edge: &Edge) -> String {
    format!("{}, committed at {}", edge.gtid, edge.committed_at)
}

fn stretch_lines(
    transactions: u64,
    last: Option<&Edge>,
    left_out: Option<&Edge>,
) -> Vec<(&'static str, String)> {
    vec![
        ("replay", text::counted(transactions, "transaction")),
        (
            "last",
            last.map_or("none behind the backup".to_owned(), edge),
        ),
        (
            "left out",
            left_out.map_or("none: the log ends".to_owned(), edge),
        ),
    ]
}

fn plan_page(plan: &RestorePlan) -> String {
    let mut lines = vec![
        ("backup", plan.backup.clone()),
        ("into", plan.server.clone()),
        ("tables", text::count(plan.tables)),
        ("rows", text::count(plan.rows)),
        ("SQL", text::bytes(plan.raw_bytes)),
        ("disk", format!("about {}", text::bytes(plan.disk_bytes))),
        (
            "binary log",
            format!("about {}", text::bytes(plan.binlog_bytes)),
        ),
        (
            "time",
            format!(
                "about {} without the comparison, based on {}",
                text::span(jiff::SignedDuration::from_secs(
                    plan.estimated_seconds.ceil() as i64
                )),
                plan.estimated_from
            ),
        ),
    ];
    if let Some(replay) = &plan.replay {
        let (last, left_out) = (replay.last.as_ref(), replay.left_out.as_ref());
        lines.extend(stretch_lines(replay.transactions, last, left_out));
    }
    lines.push(("check", plan.check.to_owned()));
    if plan.resumes {
        lines.push(("resumes", "an unfinished restore of this backup".into()));
    }
    lines.extend(plan.discards.iter().map(|id| {
        (
            "DISCARDS",
            format!("the unfinished restore of {id}, and all its objects"),
        )
    }));
    lines.extend(
        plan.creates
            .iter()
            .map(|object| ("creates", object.to_string())),
    );
    lines.extend(
        plan.replaces
            .iter()
            .map(|object| ("REPLACES", object.to_string())),
    );
    lines.extend(plan.definers.iter().map(|(account, exists)| {
        let state = match exists {
            Some(true) => "exists",
            Some(false) => "is missing",
            None => "cannot be checked",
        };
        ("definer", format!("{account} {state}"))
    }));
    lines.extend(
        plan.settings
            .iter()
            .map(|setting| ("changes", (*setting).to_owned())),
    );
    lines.extend(
        plan.warnings
            .iter()
            .map(|warning| ("warning", warning.clone())),
    );
    if plan.running {
        lines.push((
            "RUNNING",
            "another restore into this server is in progress".to_owned(),
        ));
    }
    lines.extend(
        plan.refusals
            .iter()
            .map(|refusal| ("REFUSED", format!("{}; {}", refusal.what, refusal.hint))),
    );
    lines
        .iter()
        .map(|(name, value)| format!("{name:>11}  {value}\n"))
        .collect()
}

/// Prints the duration of each stage, and what was verified.
pub(super) fn print_report(context: &Context, report: &RestoreReport) -> Result<()> {
    if context.output == Output::Json {
        return text::json(report);
    }
    let mut lines: Vec<(&str, String)> = report
        .stages
        .iter()
        .map(|stage| (stage.name, format!("{:.1} s", stage.seconds)))
        .collect();
    lines.push(("total", format!("{:.1} s", report.total().as_secs_f64())));
    lines.push((
        "loaded",
        format!(
            "{}, {} of SQL, over {}",
            text::counted(report.rows, "row"),
            text::bytes(report.raw_bytes),
            text::counted(report.lanes as u64, "connection")
        ),
    ));
    if let Some(replayed) = &report.replayed {
        let (last, left_out) = (replayed.last.as_ref(), replayed.left_out.as_ref());
        lines.extend(stretch_lines(replayed.transactions, last, left_out));
        let refused = replayed.refused.iter();
        lines.extend(refused.map(|one| ("not replayed", format!("{} in {}", one.what, one.gtid))));
    }
    lines.extend(
        report
            .expired_events
            .iter()
            .map(|event| ("expired", format!("{event}: its execution time has passed"))),
    );
    lines.extend(
        report
            .warnings
            .iter()
            .map(|warning| ("warning", warning.clone())),
    );
    lines.push(match &report.comparison {
        Some(comparison) => ("comparison", comparison.summary()),
        None if report.compared_before => (
            "comparison",
            "equal, before the replay that an earlier run began".into(),
        ),
        None => ("comparison", "skipped: the data are not verified".into()),
    });
    let page: String = lines
        .iter()
        .map(|(name, value)| format!("{name:>12}  {value}\n"))
        .collect();
    text::print(&format!("restored {}\n{page}", report.backup))
}
