//! The drill history as one HTML page for auditors: what was verified, when, how long it took against the
//! objectives, and the digests that identify each backup.
//!
//! Self-contained: no scripts, no fonts, no external resources.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::layout::{DrillLevel, DrillVerdict, TargetName};
use crate::monitor::report::chart;
use crate::monitor::report::model::{DrillReport, LoadPath, RpoFigure, RtoBasis, RtoFigure};
use crate::monitor::report::text::amount;
use crate::objectives::Objectives;
use crate::util::format::{bytes, count, counted, minute, seconds};

/// Stylesheet of every page that drctl renders.
pub const STYLE: &str = include_str!("page.css");

/// Contents of the page.
#[derive(Debug)]
pub struct History<'a> {
    /// The target of the drills.
    pub target: &'a TargetName,
    /// The drills, newest first.
    pub drills: &'a [DrillReport],
    /// The declared objectives.
    pub objectives: &'a Objectives,
    /// When the page is rendered.
    pub now: Timestamp,
}

/// Renders the page.
pub fn page(history: &History<'_>) -> String {
    let restores: Vec<&DrillReport> = history
        .drills
        .iter()
        .filter(|drill| drill.level == DrillLevel::Restore)
        .collect();
    let title = format!("Restore drills of {}", history.target);
    let body = html! {
        h1 { (title) }
        p.soft {
            "Each drill restores a backup into a scratch server and compares every row and every "
            "definition with the dump. Generated " (minute(history.now)) " by drctl "
            (env!("CARGO_PKG_VERSION")) "."
        }
        (tiles(history, &restores))
        @if !restores.is_empty() {
            h2 { "Restore duration" }
            p.soft {
                "By stage, from the first access to the store to the end of the comparison. Excludes detection, decision and "
                "switching traffic. Drills on a relaxed server are faster than a real restore."
            }
            figure.wide { (chart::stages(&restores, history.objectives)) }
        }
        h2 { "All drills" }
        (table(history.drills))
        h2 { "Evidence" }
        p.soft {
            @if history.drills.iter().any(|drill| drill.evidence.signature == "none") {
                "Archives without a signature can be forged by any writer to the store. "
            }
            "The digests below are those of the objects at the time of the drill."
        }
        @for drill in history.drills { (evidence(drill)) }
        footer { "Full reports: " code { "drctl report --output json" } "." }
    };
    document(&title, None, &body)
}

/// Renders a whole document around `body`; `refresh` is the reload interval in seconds, `None` for no
/// reload.
pub fn document(title: &str, refresh: Option<u64>, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

fn tiles(history: &History<'_>, restores: &[&DrillReport]) -> Markup {
    let verified = restores
        .iter()
        .filter(|drill| drill.verdict.is_verified())
        .max_by_key(|drill| drill.snapshot_at);
    let failed = restores
        .iter()
        .filter(|drill| !drill.verdict.is_verified())
        .count();
    let missed = restores
        .iter()
        .filter(|drill| drill.verdict == DrillVerdict::Missed)
        .count();
    let rto = restores.iter().find_map(|drill| drill.rto.as_ref());
    let rpo = restores.iter().find_map(|drill| drill.rpo.as_ref());
    html! {
        div.tiles {
            (tile("Newest verified data", &verified.map_or("none".to_owned(), |drill| minute(drill.snapshot_at)),
                if verified.is_some() { "good" } else { "bad" },
                &verified.map_or(String::new(), |drill| format!("verified {}", minute(drill.ended_at)))))
            (tile("Restore drills", &format!("{} of {} verified", restores.len() - failed, restores.len()),
                class(failed > 0), &format!("{missed} missed an objective; their data are correct")))
            (rto_tile(rto))
            (rpo_tile(rpo))
        }
        @if history.objectives.rto.is_none() && history.objectives.rpo.is_none() {
            p.warn { "No objectives are declared." }
        }
    }
}

pub(in crate::monitor) fn tile(name: &str, value: &str, class: &str, note: &str) -> Markup {
    html! {
        div.tile {
            div.name { (name) }
            div class={ "value " (class) } { (value) }
            div.note { (note) }
        }
    }
}

pub(in crate::monitor) fn rto_tile(rto: Option<&RtoFigure>) -> Markup {
    let Some(rto) = rto else {
        return tile("RTO", "unknown", "warn", "no restore was measured");
    };
    let missed = rto.objective_seconds.is_some_and(|most| rto.seconds > most);
    let class = match (missed, rto.basis) {
        // An unmeasured RTO does not meet the objective.
        (false, RtoBasis::AtLeast) => "warn",
        (missed, _) => class(missed),
    };
    let basis = match rto.basis {
        RtoBasis::Measured => "measured with the target's durability",
        RtoBasis::Estimated => "estimated from a relaxed drill",
        RtoBasis::AtLeast => "at least: only relaxed drills so far",
    };
    tile(
        "RTO",
        &seconds(rto.seconds),
        class,
        &with_objective(basis, rto.objective_seconds),
    )
}

fn rpo_tile(rpo: Option<&RpoFigure>) -> Markup {
    let Some(worst) = rpo.and_then(|rpo| rpo.worst_seconds) else {
        return tile("RPO, worst", "unknown", "warn", "no backup yet");
    };
    let objective = rpo.and_then(|rpo| rpo.objective_seconds);
    let missed = objective.is_some_and(|most| worst > most);
    let days = rpo.map_or(0, |rpo| rpo.window_days);
    let basis = format!("the largest gap of {days} days");
    tile(
        "RPO, worst",
        &seconds(worst),
        class(missed),
        &with_objective(&basis, objective),
    )
}

pub(in crate::monitor) fn class(missed: bool) -> &'static str {
    if missed { "bad" } else { "good" }
}

pub(in crate::monitor) fn with_objective(basis: &str, objective: Option<f64>) -> String {
    match objective {
        Some(objective) => format!("{basis}; objective {}", seconds(objective)),
        None => format!("{basis}; no objective declared"),
    }
}

fn table(drills: &[DrillReport]) -> Markup {
    html! {
        @if drills.is_empty() {
            p { "None yet: " code { "drctl verify --latest" } " runs the first." }
        } @else {
            div.wide { table {
                thead { tr {
                    th { "Ended" } th { "Verdict" } th { "Data of" } th { "How" }
                    th.n { "Rows" } th.n { "Restore" } th.n { "Drill" }
                } }
                tbody { @for drill in drills { tr {
                    td { a href={ "#" (anchor(drill)) } { (minute(drill.ended_at)) } }
                    td { (verdict(drill)) }
                    td { (minute(drill.snapshot_at)) }
                    td { (scratch_server(drill)) }
                    td.n { (count(drill.verified.rows)) }
                    td.n { @if drill.level == DrillLevel::Restore { (seconds(drill.restore_seconds())) } }
                    td.n { (seconds(drill.drill_seconds)) }
                } } }
            } }
        }
    }
}

fn verdict(drill: &DrillReport) -> Markup {
    let (class, text) = match drill.verdict {
        DrillVerdict::Pass => ("good", "pass"),
        DrillVerdict::Missed => ("warn", "objective missed"),
        DrillVerdict::Fail => ("bad", "FAIL"),
        DrillVerdict::Broken => ("bad", "aborted"),
    };
    html! { span class={ "verdict " (class) } { (text) } }
}

fn scratch_server(drill: &DrillReport) -> String {
    let Some(scratch) = &drill.scratch else {
        return match drill.level {
            DrillLevel::Archive => "archive only".to_owned(),
            DrillLevel::Log => "binary log only".to_owned(),
            DrillLevel::Restore | DrillLevel::Pitr => "no server".to_owned(),
        };
    };
    let path = match drill.path {
        Some(LoadPath::Client) => ", plain client",
        _ => "",
    };
    format!("{}, {}{path}", scratch.version, scratch.profile.as_str())
}

fn evidence(drill: &DrillReport) -> Markup {
    html! {
        section id=(anchor(drill)) {
            h3 { (minute(drill.ended_at)) " · " (verdict(drill)) }
            dl {
                dt { "Backup" } dd { code { (drill.backup.to_string()) } ", data of " (drill.snapshot_at.to_string()) }
                dt { "Server" } dd { (drill.evidence.server) ", dumped by " (drill.evidence.dumped_by) }
                @if let Some(signed) = &drill.evidence.signed {
                    dt { "Signed" } dd { (signed) }
                }
                dt { "Restored" } dd { (scratch_server(drill)) }
                dt { "Verified" } dd {
                    (amount(&drill.verified)) ", " (bytes(drill.verified.raw_bytes)) " dumped"
                }
                dt { "Stages" } dd {
                    @for (at, stage) in drill.stages.iter().enumerate() {
                        @if at > 0 { " · " } (stage.name) " " (seconds(stage.seconds))
                    }
                }
                @if let Some(replay) = &drill.replay {
                    dt { "Binary log" } dd {
                        (counted(replay.transactions, "transaction")) ", " (bytes(replay.bytes)) ", replayed in "
                        (seconds(replay.seconds)) ", a restore with it " (seconds(replay.rto_seconds)) ": "
                        @if replay.equal { span.good { "equal" } } @else { span.bad { "NOT EQUAL" } }
                        " to backup " code { (replay.until_backup.to_string()) } ", data of " (replay.until.to_string())
                        @if let Some(beyond) = &replay.beyond {
                            "; replayed until " (beyond.until.to_string()) ", not verified: "
                            (counted(beyond.transactions, "transaction"))
                        }
                        @if replay.refused_total > 0 { "; " (counted(replay.refused_total, "statement")) " not replayed" }
                    }
                }
                @if let Some(log) = &drill.log {
                    dt { "Binary log" } dd {
                        (counted(log.transactions, "transaction")) ", " (bytes(log.bytes)) " in "
                        (counted(log.segments, "segment")) ", not replayed"
                    }
                }
                @for (name, sha256) in &drill.evidence.sha256 {
                    dt { (name) } dd { "SHA-256 " code { (sha256) } }
                }
                @for check in &drill.checks {
                    dt { "Check" } dd {
                        (check.name) ": "
                        @if check.passed { span.good { "passed" } ", " (check.found) }
                        @else { span.bad { "FAILED" } ", expected " (check.expected) ", found " (check.found) }
                    }
                }
                @for miss in &drill.misses { dt { "Missed" } dd.bad { (miss) } }
                @if let Some(error) = &drill.error { dt { "Error" } dd.bad { (error) } }
                @for warning in &drill.warnings { dt { "Warning" } dd.warn { (warning) } }
            }
            @if drill.differences_total > 0 {
                p { (count(drill.differences_total)) " differences:" }
                @for one in &drill.differences {
                    p { (one.object.to_string()) ": backup " (one.expected) ", server " (one.found) }
                    @if let Some(diff) = &one.diff { pre { (diff) } }
                }
            }
        }
    }
}

fn anchor(drill: &DrillReport) -> String {
    format!("{}-{}", drill.backup, drill.ended_at.as_second())
}
