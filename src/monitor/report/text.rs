//! A drill's report as text for a terminal.

use crate::layout::{DrillLevel, DrillVerdict};
use crate::monitor::report::model::{
    CheckedLog, DrillReport, LoadPath, Replay, RpoFigure, RtoBasis, RtoFigure, Verified,
};
use crate::util::format::{bytes, count, counted, seconds};

/// Maximum number of differences and failed checks shown.
const SHOWN: usize = 5;

/// Maximum number of diff lines shown per difference.
const SHOWN_LINES: usize = 8;

/// Renders the report.
pub fn page(report: &DrillReport) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    lines.push(("verdict", verdict(report)));
    if report.level != DrillLevel::Log {
        lines.push(("backup", format!("of {:.0}", report.snapshot_at)));
    }
    let signed = report.evidence.signed.as_ref();
    if let Some(signed) = signed.filter(|_| report.level != DrillLevel::Log) {
        lines.push(("signed", signed.clone()));
    }
    if let Some(scratch) = &report.scratch {
        let path = match report.path {
            Some(LoadPath::Client) => ", with the plain client",
            Some(LoadPath::Lanes) => ", with parallel connections",
            None => "",
        };
        lines.push((
            "restored",
            format!(
                "into {} ({}, {}){path}",
                scratch.version,
                scratch.kind,
                scratch.profile.as_str()
            ),
        ));
    }
    let verified = &report.verified;
    if report.verdict.is_verified() && report.level != DrillLevel::Log {
        lines.push((
            "verified",
            format!("{}, {} dumped", amount(verified), bytes(verified.raw_bytes)),
        ));
    }
    lines.extend(report.log.as_ref().map(|log| ("log", log_line(log))));
    lines.extend(report.replay.iter().flat_map(replay_lines));
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
            format!("{passed} of {} passed", report.checks.len()),
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
    lines.extend(report.rto.as_ref().map(|rto| ("RTO", rto_line(rto))));
    lines.extend(report.rpo.as_ref().map(|rpo| ("RPO", rpo_line(rpo))));
    lines.extend(report.misses.iter().map(|miss| ("MISSED", miss.clone())));
    lines.extend(report.warnings.iter().map(|one| ("warning", one.clone())));
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("{name:>10}  {}\n", escaped(value)))
        .collect();
    match report.level {
        DrillLevel::Log => format!("drill of the binary log of {}\n{lines}", report.target),
        _ => format!("drill of {}\n{lines}", report.backup),
    }
}

/// Whether checks alone show that the backup restores.
fn is_only_checked(report: &DrillReport) -> bool {
    let compared = &report.verified;
    !report.checks.is_empty() && compared.rows + compared.tables + compared.objects == 0
}

/// How much was compared.
pub fn amount(verified: &Verified) -> String {
    let (rows, tables) = (verified.rows, verified.tables);
    match (tables, rows) {
        (0, 0) => counted(verified.objects, "object"),
        (0, lines) => format!(
            "{} in {}",
            counted(lines, "line"),
            counted(verified.objects, "object")
        ),
        _ => format!(
            "{} of {} and {}",
            counted(rows, "row"),
            counted(tables, "table"),
            counted(verified.objects, "other object")
        ),
    }
}

/// How much of the log was checked.
pub fn log_line(log: &CheckedLog) -> String {
    let until = log.until.map(|until| format!(", up to {until:.0}"));
    format!(
        "{} in {}, {} in {}{}",
        counted(log.transactions, "transaction"),
        bytes(log.bytes),
        counted(log.segments, "segment"),
        counted(log.timelines, "timeline"),
        until.unwrap_or_default()
    )
}

fn replay_lines(replay: &Replay) -> Vec<(&'static str, String)> {
    let mut lines = vec![(
        "replayed",
        format!(
            "{} ({}) in {}: {} transactions/s, {}/s",
            counted(replay.transactions, "transaction"),
            bytes(replay.bytes),
            seconds(replay.seconds),
            count(replay.transactions_per_second as u64),
            bytes(replay.bytes_per_second as u64),
        ),
    )];
    if replay.equal {
        let compared = &replay.compared;
        lines.push((
            "log",
            format!(
                "verified until {:.0}: equal to backup {}, {} of {} and {}",
                replay.until,
                replay.until_backup,
                counted(compared.rows, "row"),
                counted(compared.tables, "table"),
                counted(compared.objects, "other object")
            ),
        ));
    }
    lines.extend(replay.beyond.iter().map(|beyond| {
        let text = format!(
            "replayed until {:.0}, not verified: {} behind the later backup",
            beyond.until,
            counted(beyond.transactions, "transaction")
        );
        ("", text)
    }));
    lines.push((
        "RTO",
        format!("{} with this replay", seconds(replay.rto_seconds)),
    ));
    let refused = replay.refused.iter().take(SHOWN);
    lines.extend(refused.map(|one| ("omitted", format!("{} {}", one.gtid, one.what))));
    let more = replay.refused_total.saturating_sub(SHOWN as u64);
    if more > 0 {
        lines.push((
            "",
            format!("and {more} more statements that are not replayed"),
        ));
    }
    lines
}

/// Replaces control characters: restored data must not write lines of their own or move the cursor.
fn escaped(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(shown).collect()
}

fn verdict(report: &DrillReport) -> String {
    let level = match report.level {
        DrillLevel::Archive => "archive intact; not restored",
        DrillLevel::Restore if is_only_checked(report) => {
            "restored, and its checks passed; not compared with the dump"
        }
        DrillLevel::Restore => "restored, and equal to the dump",
        DrillLevel::Pitr => "restored, and with the binary log equal to the newest backup",
        DrillLevel::Log => "binary log intact; not replayed",
    };
    match report.verdict {
        DrillVerdict::Pass => format!("PASS: {level}"),
        DrillVerdict::Missed => format!("MISSED: {level}; an objective was missed"),
        DrillVerdict::Fail => "FAIL".to_owned(),
        DrillVerdict::Broken => "ABORTED: no result for the backup".to_owned(),
    }
}

fn rto_line(rto: &RtoFigure) -> String {
    let basis = match (rto.basis, rto.ratio) {
        (RtoBasis::Measured, _) => "measured with the target's durability".to_owned(),
        (RtoBasis::Estimated, Some(ratio)) => format!("estimated: this drill × {ratio:.1}"),
        (RtoBasis::Estimated, None) => "estimated".to_owned(),
        (RtoBasis::AtLeast, _) => "at least: no drill with the target's durability yet".to_owned(),
    };
    format!(
        "{}, {basis}{}; excludes detection, decision and switching traffic",
        seconds(rto.seconds),
        objective(rto.objective_seconds)
    )
}

fn rpo_line(rpo: &RpoFigure) -> String {
    let worst = match rpo.worst_seconds {
        Some(worst) => format!("at most {} in {} days", seconds(worst), rpo.window_days),
        None => "unknown: there is no backup".to_owned(),
    };
    let verified = rpo.verified_seconds.map_or(String::new(), |age| {
        format!(
            "; newest verified data {} old{}",
            seconds(age),
            objective(rpo.verified_objective_seconds)
        )
    });
    format!("{worst}{}{verified}", objective(rpo.objective_seconds))
}

fn objective(declared: Option<f64>) -> String {
    declared.map_or(String::new(), |objective| {
        format!(" (objective {})", seconds(objective))
    })
}
