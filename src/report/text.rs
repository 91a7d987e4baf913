//! A drill's report as one page for a person.

use crate::report::model::{DrillReport, LoadPath, RpoFigure, RtoBasis, RtoFigure};
use crate::store::keys::{DrillLevel, DrillVerdict};
use crate::words::{bytes, counted, seconds};

/// How many differences and failed checks a page shows.
const SHOWN: usize = 5;

/// How many lines of each difference of definitions.
const SHOWN_LINES: usize = 8;

/// The page.
pub fn page(report: &DrillReport) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    lines.push(("verdict", verdict(report)));
    lines.push(("backup", format!("of {:.0}", report.snapshot_at)));
    if let Some(scratch) = &report.scratch {
        let path = match report.path {
            Some(LoadPath::Client) => "by the plain client",
            _ => "over several connections",
        };
        lines.push((
            "restored",
            format!(
                "into {} ({}, {}), {path}",
                scratch.version,
                scratch.kind,
                scratch.profile.as_str()
            ),
        ));
    }
    let proven = &report.proven;
    if report.verdict.proves() {
        lines.push((
            "proven",
            format!(
                "{} of {} and {}, {} of SQL",
                counted(proven.rows, "row"),
                counted(proven.tables, "table"),
                counted(proven.objects, "other object"),
                bytes(proven.raw_bytes)
            ),
        ));
    }
    for one in report.differences.iter().take(SHOWN) {
        lines.push((
            "DIFFERS",
            format!(
                "{}: backup {}, server {}",
                one.object, one.expected, one.found
            ),
        ));
        let diff = one.diff.iter().flat_map(|diff| diff.lines());
        lines.extend(diff.take(SHOWN_LINES).map(|line| ("", line.to_owned())));
    }
    let more = report.differences_total.saturating_sub(SHOWN as u64);
    if more > 0 {
        lines.push(("", format!("and {more} more differences, in the report")));
    }
    let failed = report.checks.iter().filter(|check| !check.passed);
    for check in failed.take(SHOWN) {
        lines.push((
            "CHECK",
            format!(
                "{}: expected {}, found {}",
                check.name, check.expected, check.found
            ),
        ));
    }
    let passed = report.checks.iter().filter(|check| check.passed).count();
    if passed > 0 {
        lines.push((
            "checks",
            format!("{passed} of {} hold", report.checks.len()),
        ));
    }
    let stages = report.stages.iter().filter(|stage| stage.seconds >= 0.05);
    let stages: Vec<String> = stages
        .map(|stage| format!("{} {:.1} s", stage.name, stage.seconds))
        .collect();
    if !stages.is_empty() {
        lines.push(("stages", stages.join(" · ")));
    }
    lines.push(("drill", seconds(report.drill_seconds)));
    lines.extend(report.rto.as_ref().map(|rto| ("RTO", rto_words(rto))));
    lines.extend(report.rpo.as_ref().map(|rpo| ("RPO", rpo_words(rpo))));
    lines.extend(report.misses.iter().map(|miss| ("MISSED", miss.clone())));
    lines.extend(report.warnings.iter().map(|one| ("warning", one.clone())));
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("{name:>10}  {}\n", harmless(value)))
        .collect();
    format!("drill of {}\n{lines}", report.backup)
}

/// What comes out of restored data must not be able to write lines of its own, or move the cursor.
fn harmless(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

fn verdict(report: &DrillReport) -> String {
    let level = match report.level {
        DrillLevel::Archive => "the archive is whole; whether it restores was not tried",
        DrillLevel::Restore => "restored, and equal to what was dumped",
    };
    match report.verdict {
        DrillVerdict::Pass => format!("PASS: {level}"),
        DrillVerdict::Missed => format!("MISSED: {level}; an objective is missed"),
        DrillVerdict::Fail => "FAIL".to_owned(),
        DrillVerdict::Broken => "BROKEN OFF: nothing is said about the backup".to_owned(),
    }
}

fn rto_words(rto: &RtoFigure) -> String {
    let basis = match (rto.basis, rto.ratio) {
        (RtoBasis::Measured, _) => "measured with the target's durability".to_owned(),
        (RtoBasis::Estimated, Some(ratio)) => format!("estimated: this drill × {ratio:.1}"),
        (RtoBasis::Estimated, None) => "estimated".to_owned(),
        (RtoBasis::AtLeast, _) => "at least: no drill with the target's durability yet".to_owned(),
    };
    format!(
        "{}, {basis}{}; without detection, decision and switch of traffic",
        seconds(rto.seconds),
        objective(rto.objective_seconds)
    )
}

fn rpo_words(rpo: &RpoFigure) -> String {
    let worst = match rpo.worst_seconds {
        Some(worst) => format!("{} at worst in {} days", seconds(worst), rpo.window_days),
        None => "unknown: there is no backup".to_owned(),
    };
    let proven = rpo.proven_seconds.map_or(String::new(), |age| {
        format!(
            "; proven data are {} old{}",
            seconds(age),
            objective(rpo.proven_objective_seconds)
        )
    });
    format!("{worst}{}{proven}", objective(rpo.objective_seconds))
}

fn objective(declared: Option<f64>) -> String {
    declared.map_or(String::new(), |objective| {
        format!(" (objective {})", seconds(objective))
    })
}
