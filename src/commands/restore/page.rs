//! What `restore` says: which backup it takes, what its plan is, how it went.

use jiff::Timestamp;

use crate::apply::plan::RestorePlan;
use crate::apply::report::RestoreReport;
use crate::catalog::Entry;
use crate::cli::Output;
use crate::commands::{Run, text};
use crate::error::{Error, Result};
use crate::server::ServerConfig;

/// Which backup it is, how old, and whether anybody ever restored it: before anything is done.
pub(super) fn announce(entry: &Entry, server: &ServerConfig) {
    let now = Timestamp::now();
    let proven = entry
        .marks
        .proven_at
        .map_or("never proven".to_owned(), |at| {
            format!("proven {}", text::ago(at, now))
        });
    tracing::info!(
        backup = %entry.id,
        taken = text::ago(entry.manifest.snapshot_at, now),
        proven,
        authenticated = entry.manifest.is_authenticated(),
        into = %server.url,
        "restore"
    );
    if !entry.is_trusted() {
        tracing::warn!(
            reasons = entry.suspect().join("; "),
            "the backup is suspect"
        );
    }
}

/// The plan; its refusals are the failure (exit 9).
pub(super) fn say_plan(run: &Run, plan: &RestorePlan) -> Result<()> {
    if run.output == Output::Json {
        text::json(plan)?;
    } else {
        text::print(&plan_page(plan))?;
    }
    match plan.refusals.as_slice() {
        [] => Ok(()),
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
                "about {} without the proof, judged by {}",
                text::span(jiff::SignedDuration::from_secs(
                    plan.estimated_seconds.ceil() as i64
                )),
                plan.estimated_from
            ),
        ),
    ];
    if plan.resumes {
        lines.push(("resumes", "an unfinished restore of this backup".into()));
    }
    lines.extend(plan.discards.iter().map(|id| {
        (
            "DISCARDS",
            format!("the unfinished restore of {id}, and all that it made"),
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
    lines.extend(plan.definers.iter().map(|(account, there)| {
        let there = match there {
            Some(true) => "is there",
            Some(false) => "is missing",
            None => "cannot be looked for",
        };
        ("definer", format!("{account} {there}"))
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

/// How long each stage took, and what was proven.
pub(super) fn say_report(run: &Run, report: &RestoreReport) -> Result<()> {
    if run.output == Output::Json {
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
    lines.extend(
        report
            .expired_events
            .iter()
            .map(|event| ("expired", format!("{event}: its time has passed"))),
    );
    lines.extend(
        report
            .warnings
            .iter()
            .map(|warning| ("warning", warning.clone())),
    );
    lines.push(match &report.proof {
        Some(proof) => ("proof", proof.summary()),
        None => (
            "proof",
            "skipped: nothing says that the data are right".into(),
        ),
    });
    let page: String = lines
        .iter()
        .map(|(name, value)| format!("{name:>12}  {value}\n"))
        .collect();
    text::print(&format!("restored {}\n{page}", report.backup))
}
