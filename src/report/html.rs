//! The history of drills as one page that somebody outside can read and print: what was proven, when,
//! how long it took against the objectives, and by which digests a backup is found again.
//!
//! Self-contained: no script, no font, nothing that is fetched.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::objectives::Objectives;
use crate::report::chart;
use crate::report::model::{DrillReport, LoadPath, RpoFigure, RtoBasis, RtoFigure};
use crate::store::keys::{DrillLevel, DrillVerdict, TargetName};
use crate::words::{bytes, count, counted, minute, seconds};

/// The style of every page that drctl makes.
pub const STYLE: &str = include_str!("page.css");

/// What the page is about.
#[derive(Debug)]
pub struct History<'a> {
    /// Whose drills they are.
    pub target: &'a TargetName,
    /// The drills, newest first.
    pub drills: &'a [DrillReport],
    /// What was declared.
    pub objectives: &'a Objectives,
    /// When the page is made.
    pub now: Timestamp,
}

/// The page.
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
            "Each drill restores a backup into a throw-away server and compares every row and every "
            "definition with what was dumped. Made " (minute(history.now)) " by drctl "
            (env!("CARGO_PKG_VERSION")) "."
        }
        (tiles(history, &restores))
        @if !restores.is_empty() {
            h2 { "How long a restore takes" }
            p.soft {
                "By stage, from the first look into the store to the proof. Detection, decision and the "
                "switch of traffic are not in it. Drills on a relaxed server are faster than a real restore."
            }
            figure.wide { (chart::stages(&restores, history.objectives)) }
        }
        h2 { "All drills" }
        (table(history.drills))
        h2 { "Evidence" }
        p.soft {
            "Archives carry no signature: whoever can write the store could forge a backup that is "
            "consistent in itself. The digests below are of the objects as they were when they were drilled."
        }
        @for drill in history.drills { (evidence(drill)) }
        footer { "Reports in full: `" code { "drctl report --output json" } "`." }
    };
    document(&title, None, &body)
}

/// A whole document around `body`, which a browser fetches anew after so many seconds.
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
    let proven = restores
        .iter()
        .filter(|drill| drill.verdict.proves())
        .max_by_key(|drill| drill.snapshot_at);
    let failed = restores
        .iter()
        .filter(|drill| !drill.verdict.proves())
        .count();
    let missed = restores
        .iter()
        .filter(|drill| drill.verdict == DrillVerdict::Missed)
        .count();
    let rto = restores.iter().find_map(|drill| drill.rto.as_ref());
    let rpo = restores.iter().find_map(|drill| drill.rpo.as_ref());
    html! {
        div.tiles {
            (tile("Newest proven data", &proven.map_or("none".to_owned(), |drill| minute(drill.snapshot_at)),
                if proven.is_some() { "good" } else { "bad" },
                &proven.map_or(String::new(), |drill| format!("proven {}", minute(drill.ended_at)))))
            (tile("Restore drills", &format!("{} of {} proven", restores.len() - failed, restores.len()),
                class(failed > 0), &format!("{missed} missed an objective although the data are right")))
            (rto_tile(rto))
            (rpo_tile(rpo))
        }
        @if history.objectives.rto.is_none() && history.objectives.rpo.is_none() {
            p.warn { "No objectives are declared: nothing is held against them." }
        }
    }
}

pub(super) fn tile(name: &str, value: &str, class: &str, note: &str) -> Markup {
    html! {
        div.tile {
            div.name { (name) }
            div class={ "value " (class) } { (value) }
            div.note { (note) }
        }
    }
}

pub(super) fn rto_tile(rto: Option<&RtoFigure>) -> Markup {
    let Some(rto) = rto else {
        return tile("RTO", "unknown", "warn", "no restore was measured");
    };
    let missed = rto.objective_seconds.is_some_and(|most| rto.seconds > most);
    let class = match (missed, rto.basis) {
        // What was not measured does not meet an objective either.
        (false, RtoBasis::AtLeast) => "warn",
        (missed, _) => class(missed),
    };
    let basis = match rto.basis {
        RtoBasis::Measured => "measured with the target's durability",
        RtoBasis::Estimated => "estimated from a relaxed drill",
        RtoBasis::AtLeast => "at least: of a relaxed drill alone",
    };
    tile(
        "RTO",
        &seconds(rto.seconds),
        class,
        &against(basis, rto.objective_seconds),
    )
}

fn rpo_tile(rpo: Option<&RpoFigure>) -> Markup {
    let Some(worst) = rpo.and_then(|rpo| rpo.worst_seconds) else {
        return tile(
            "RPO, worst",
            "unknown",
            "warn",
            "no gap between backups is known",
        );
    };
    let objective = rpo.and_then(|rpo| rpo.objective_seconds);
    let missed = objective.is_some_and(|most| worst > most);
    let days = rpo.map_or(0, |rpo| rpo.window_days);
    let basis = format!("the largest gap of {days} days");
    tile(
        "RPO, worst",
        &seconds(worst),
        class(missed),
        &against(&basis, objective),
    )
}

pub(super) fn class(missed: bool) -> &'static str {
    if missed { "bad" } else { "good" }
}

pub(super) fn against(basis: &str, objective: Option<f64>) -> String {
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
                    td { (how(drill)) }
                    td.n { (count(drill.proven.rows)) }
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
        DrillVerdict::Broken => ("bad", "broken off"),
    };
    html! { span class={ "verdict " (class) } { (text) } }
}

fn how(drill: &DrillReport) -> String {
    let Some(scratch) = &drill.scratch else {
        return match drill.level {
            DrillLevel::Archive => "archive alone".to_owned(),
            DrillLevel::Restore => "no server".to_owned(),
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
                dt { "Restored" } dd { (how(drill)) }
                dt { "Proven" } dd {
                    (counted(drill.proven.rows, "row")) " of " (counted(drill.proven.tables, "table")) ", "
                    (counted(drill.proven.objects, "other object")) ", " (bytes(drill.proven.raw_bytes)) " of SQL"
                }
                dt { "Stages" } dd {
                    @for (at, stage) in drill.stages.iter().enumerate() {
                        @if at > 0 { " · " } (stage.name) " " (seconds(stage.seconds))
                    }
                }
                @for (name, sha256) in &drill.evidence.sha256 {
                    dt { (name) } dd { "SHA-256 " code { (sha256) } }
                }
                @for check in &drill.checks {
                    dt { "Check" } dd {
                        (check.name) ": "
                        @if check.passed { span.good { "holds" } ", " (check.found) }
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
