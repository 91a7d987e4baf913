//! The status of a target as one HTML page.
//!
//! No scripts, no external resources; the browser reloads it periodically. maud escapes every text from the
//! store.

use maud::{Markup, html};

use crate::layout::{DrillLevel, DrillVerdict};
use crate::monitor::problems::{exit_meaning, problems};
use crate::monitor::report::html::{class, document, rto_tile, tile, with_objective};
use crate::monitor::report::model::RtoFigure;
use crate::monitor::report::spark::{self, Bar};
use crate::monitor::status::Status;
use crate::stream::glance::Glance;
use crate::util::format::{age, ago, bytes, count, minute, seconds, span};

/// Reload interval of the page in seconds.
const REFRESH: u64 = 60;

/// Maximum number of suspect backups listed.
const SUSPECTS: usize = 10;

/// Renders the page.
pub fn page(status: &Status) -> String {
    let body = html! {
        h1 { (status.target) }
        p.soft {
            "drctl " (env!("CARGO_PKG_VERSION")) " · " (status.store) " · "
            @match status.scanned_at {
                Some(at) => { "read " (ago(at, status.now)) },
                None => "not read yet",
            }
            " · " (minute(status.now))
        }
        (verdict(status))
        @if status.scanned_at.is_some() {
            (tiles(status))
            (standbys(status))
            (sparks(status))
        }
        h2 { "Next runs" }
        (tasks(status))
        @if status.scanned_at.is_some() {
            h2 { "Last failure" }
            (failure(status))
            (suspects(status))
        }
        footer { "Metrics: " a href="metrics" { "/metrics" } }
    };
    document(&format!("{}: backups", status.target), Some(REFRESH), &body)
}

/// The problems, with their runbooks; else that there are none.
fn verdict(status: &Status) -> Markup {
    let problems = problems(status);
    html! {
        ul.problems {
            @if problems.is_empty() {
                @if status.scanned_at.is_none() {
                    li.warn { "The store is being read for the first time." }
                } @else if status.scan.newest_usable().is_none() {
                    li.warn { "There is no backup yet." }
                } @else if status.scan.newest_verified().is_none() {
                    li.warn { "No backup is verified yet." }
                } @else {
                    li.good { b.good { "No problems." } }
                }
            }
            @for problem in &problems {
                li class=(if problem.is_critical { "bad" } else { "warn" }) {
                    (problem.what)
                    p { "What to do: " (runbook(status, problem.runbook)) }
                }
            }
        }
    }
}

/// A link to the published runbook; else its path in the repository.
fn runbook(status: &Status, page: &str) -> Markup {
    let place = status.runbook(page);
    let is_link = place.starts_with("https://") || place.starts_with("http://");
    html! { @if is_link { a href=(place) { (page) } } @else { code { (place) } } }
}

fn tiles(status: &Status) -> Markup {
    let scan = &status.scan;
    let (objectives, rpo) = (status.objectives(), status.rpo());
    let objective = |span: Option<jiff::SignedDuration>| span.map(|span| span.as_secs_f64());
    let newest = match scan.newest_usable() {
        None => tile("Newest backup", "none", "bad", ""),
        Some(backup) => {
            let exceeds =
                matches!((rpo.newest, objectives.rpo), (Some(age), Some(most)) if age > most);
            let note = format!(
                "{}; {} dumped, {} stored; signed: {}",
                minute(backup.snapshot_at),
                bytes(backup.raw_bytes),
                bytes(backup.stored_bytes),
                backup.signed
            );
            let old = format!("{} old", age(backup.snapshot_at, status.now));
            tile("Newest backup", &old, class(exceeds), &note)
        }
    };
    let verified = match scan.newest_verified() {
        None => tile("Newest verified data", "none", "bad", "no verified restore"),
        Some(backup) => {
            let exceeds = matches!((rpo.verified, objectives.verified_rpo), (Some(age), Some(most)) if age > most);
            let when = backup.verified_at.map_or(String::new(), |at| {
                format!("verified {}", ago(at, status.now))
            });
            let old = format!("{} old", age(backup.snapshot_at, status.now));
            let note = with_objective(&when, objective(objectives.verified_rpo));
            tile("Newest verified data", &old, class(exceeds), &note)
        }
    };
    let worst = match rpo.worst {
        None => tile("RPO, worst", "unknown", "warn", "there is no backup"),
        Some(gap) => {
            let exceeds = objectives.rpo.is_some_and(|most| gap.length() > most);
            let until = if gap.open { "now" } else { &minute(gap.to) };
            let note = format!("of 30 days: {} until {until}", minute(gap.from));
            let note = with_objective(&note, objective(objectives.rpo));
            tile("RPO, worst", &span(gap.length()), class(exceeds), &note)
        }
    };
    let rto = scan.rto().map(|rto| RtoFigure::of(&rto, &objectives));
    html! { div.tiles { (newest) (verified) (worst) (rto_tile(rto.as_ref())) @if let Some(log) = &scan.log { (log_tile(log, status)) } } }
}

/// A line for each standby.
fn standbys(status: &Status) -> Markup {
    html! {
        @for one in &status.scan.standbys {
            @if let Some(report) = &one.report {
                p { b { "Standby" } " of " (one.store) ": " (report.line(status.now)) }
            }
        }
    }
}

/// How far the log is archived, from when on every moment can be restored, and gaps.
fn log_tile(log: &Glance, status: &Status) -> Markup {
    let now = status.now;
    let gaps = match log.gaps(now).count() {
        0 => "no gaps".to_owned(),
        1 => "1 gap".to_owned(),
        more => format!("{} gaps", count(more as u64)),
    };
    let from = log.recoverable_from.map_or_else(
        || "no backup stands in it yet".to_owned(),
        |from| format!("any moment since {} can be restored", minute(from)),
    );
    match log.head.covered_until {
        None => tile("Log covered", "not yet", "bad", &from),
        Some(until) => {
            let class = class(status.uncovered().is_some());
            let note = format!("until {}; {from}; {gaps} in 30 days", minute(until));
            tile(
                "Log covered",
                &format!("until {}", ago(until, now)),
                class,
                &note,
            )
        }
    }
}

fn sparks(status: &Status) -> Markup {
    let scan = &status.scan;
    let sizes: Vec<Bar> = scan
        .backups
        .iter()
        .map(|backup| Bar {
            value: backup.raw_bytes as f64,
            colour: if backup.suspect.is_empty() {
                "mark"
            } else {
                "warn"
            },
            title: format!(
                "{}: {}",
                minute(backup.snapshot_at),
                bytes(backup.raw_bytes)
            ),
        })
        .collect();
    let restores = scan
        .drills
        .iter()
        .filter(|drill| drill.name.level == DrillLevel::Restore);
    let drills: Vec<Bar> = restores
        .filter_map(|drill| {
            let report = drill.report.as_ref()?;
            let (colour, how) = match report.verdict {
                DrillVerdict::Pass => ("good", "pass"),
                DrillVerdict::Missed => ("warn", "objective missed"),
                DrillVerdict::Fail => ("bad", "FAILED"),
                DrillVerdict::Broken => ("bad", "aborted"),
            };
            let took = seconds(report.drill_seconds);
            Some(Bar {
                value: report.drill_seconds,
                colour,
                title: format!("{}: {took}, {how}", minute(report.ended_at)),
            })
        })
        .collect();
    let (usable, suspect) = scan.counts();
    let largest = scan.backups.iter().map(|backup| backup.raw_bytes).max();
    let largest = largest.unwrap_or_default();
    let longest = drills.iter().map(|bar| bar.value).fold(0.0, f64::max);
    html! {
        div.sparks {
            @if !sizes.is_empty() {
                figure {
                    figcaption {
                        "SQL of " (count(usable as u64)) " backups"
                        @if suspect > 0 { " and " (count(suspect as u64)) " suspect ones" }
                        ": at most " (bytes(largest))
                    }
                    (spark::bars(&sizes, "Sizes of backups"))
                }
            }
            @if !drills.is_empty() {
                figure {
                    figcaption { "Duration of drills: at most " (seconds(longest)) }
                    (spark::bars(&drills, "Duration of drills"))
                }
            }
        }
    }
}

fn tasks(status: &Status) -> Markup {
    html! {
        @if status.tasks.is_empty() {
            p.warn { "No schedule is configured, so overdue runs cannot be detected. Set " code { "schedule.backup" } " and " code { "schedule.verify" } "." }
        } @else {
            dl { @for scheduled in &status.tasks {
                dt { (scheduled.task) }
                dd {
                    @match scheduled.next {
                        Some(next) => { (minute(next)) ", in " (span(next.duration_since(status.now))) },
                        None => "never",
                    }
                    " · " code.whole { (scheduled.schedule) }
                    @if let Some(last) = status.scan.last_run(scheduled.task) {
                        " · last "
                        span class=(class(last.exit != 0)) { @if last.exit == 0 { "done" } @else { (exit_meaning(last.exit)) } }
                        " " (ago(last.time, status.now))
                    }
                }
            } }
        }
    }
}

fn failure(status: &Status) -> Markup {
    let Some(failed) = status.scan.last_failure() else {
        return html! { p { "None on record." } };
    };
    let page = match failed.verb.as_str() {
        "backup" if failed.exit == 9 && failed.backup.is_some() => "DrctlBackupSuspect",
        "backup" => "DrctlBackupFailed",
        "verify" if failed.exit == 8 => "DrctlObjectiveMissed",
        "verify" => "DrctlVerifyFailed",
        "restore" => "restore-all",
        _ => "README",
    };
    let last = status.scan.last_run(&failed.verb);
    let is_over = last.is_some_and(|last| last.exit == 0);
    html! {
        p {
            b { (failed.verb) } " " (ago(failed.ended_at, status.now)) ", " (exit_meaning(failed.exit))
            @if is_over { " · " span.good { "succeeded since" } }
        }
        @if let Some(error) = &failed.error { pre.said { (error) } }
        p { "What to do: " (runbook(status, page)) }
    }
}

fn suspects(status: &Status) -> Markup {
    let suspect = || {
        status
            .scan
            .backups
            .iter()
            .filter(|one| !one.suspect.is_empty())
    };
    let more = suspect().count().saturating_sub(SUSPECTS);
    html! {
        @if suspect().next().is_some() {
            h2 { "Suspect backups" }
            p.soft { "Kept, but not selected automatically until " code { "drctl accept ID" } ": " (runbook(status, "DrctlBackupSuspect")) }
            dl { @for backup in suspect().take(SUSPECTS) {
                dt { code { (backup.id.to_string()) } }
                dd { (backup.suspect.join("; ")) }
            } }
            @if more > 0 { p { "and " (count(more as u64)) " more" } }
        }
    }
}
