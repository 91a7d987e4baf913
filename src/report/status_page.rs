//! The status of a target as one page, for whoever wants to see at a glance whether all is well.
//!
//! No script, nothing that is fetched; a browser loads it anew by itself. Every text of the store is
//! escaped by maud.

use maud::{Markup, html};

use crate::report::html::{against, class, document, rto_tile, tile};
use crate::report::model::RtoFigure;
use crate::report::problems::{meaning, problems};
use crate::report::spark::{self, Bar};
use crate::report::status::Status;
use crate::store::keys::{DrillLevel, DrillVerdict};
use crate::words::{age, ago, bytes, count, minute, seconds, span};

/// After how many seconds a browser loads the page anew.
const REFRESH: u64 = 60;

/// How many suspect backups are listed.
const SUSPECTS: usize = 10;

/// The page.
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
            (sparks(status))
        }
        h2 { "Next runs" }
        (plans(status))
        @if status.scanned_at.is_some() {
            h2 { "Last failure" }
            (failure(status))
            (suspects(status))
        }
        footer { "Metrics: " a href="metrics" { "/metrics" } }
    };
    document(&format!("{}: backups", status.target), Some(REFRESH), &body)
}

/// Whether all is well; else what is not, and where it says what to do.
fn verdict(status: &Status) -> Markup {
    let problems = problems(status);
    html! {
        ul.problems {
            @if problems.is_empty() {
                @if status.scanned_at.is_none() {
                    li.warn { "The store is being read for the first time." }
                } @else if status.past.newest_trusted().is_none() {
                    li.warn { "There is no backup yet." }
                } @else if status.past.newest_proven().is_none() {
                    li.warn { "No backup is proven yet." }
                } @else {
                    li.good { b.good { "All is well." } }
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

/// A link where the runbooks are published; else where they are in the repository.
fn runbook(status: &Status, page: &str) -> Markup {
    let place = status.runbook(page);
    let is_link = place.starts_with("https://") || place.starts_with("http://");
    html! { @if is_link { a href=(place) { (page) } } @else { code { (place) } } }
}

fn tiles(status: &Status) -> Markup {
    let past = &status.past;
    let (objectives, rpo) = (status.objectives(), status.rpo());
    let objective = |span: Option<jiff::SignedDuration>| span.map(|span| span.as_secs_f64());
    let newest = match past.newest_trusted() {
        None => tile("Newest backup", "none", "bad", ""),
        Some(backup) => {
            let exceeds =
                matches!((rpo.newest, objectives.rpo), (Some(age), Some(most)) if age > most);
            let note = format!(
                "{}; {} of SQL, {} stored",
                minute(backup.snapshot_at),
                bytes(backup.raw_bytes),
                bytes(backup.stored_bytes)
            );
            let old = format!("{} old", age(backup.snapshot_at, status.now));
            tile("Newest backup", &old, class(exceeds), &note)
        }
    };
    let proven = match past.newest_proven() {
        None => tile("Newest proven data", "none", "bad", "no restore was proven"),
        Some(backup) => {
            let exceeds = matches!((rpo.proven, objectives.proven_rpo), (Some(age), Some(most)) if age > most);
            let when = backup.proven_at.map_or(String::new(), |at| {
                format!("proven {}", ago(at, status.now))
            });
            let old = format!("{} old", age(backup.snapshot_at, status.now));
            let note = against(&when, objective(objectives.proven_rpo));
            tile("Newest proven data", &old, class(exceeds), &note)
        }
    };
    let worst = match rpo.worst {
        None => tile("RPO, worst", "unknown", "warn", "there is no backup"),
        Some(gap) => {
            let exceeds = objectives.rpo.is_some_and(|most| gap.length() > most);
            let until = if gap.open { "now" } else { &minute(gap.to) };
            let note = format!("of 30 days: {} until {until}", minute(gap.from));
            let note = against(&note, objective(objectives.rpo));
            tile("RPO, worst", &span(gap.length()), class(exceeds), &note)
        }
    };
    let rto = past.rto().map(|rto| RtoFigure::of(&rto, &objectives));
    html! { div.tiles { (newest) (proven) (worst) (rto_tile(rto.as_ref())) } }
}

fn sparks(status: &Status) -> Markup {
    let past = &status.past;
    let sizes: Vec<Bar> = past
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
    let restores = past
        .drills
        .iter()
        .filter(|drill| drill.name.level == DrillLevel::Restore);
    let drills: Vec<Bar> = restores
        .filter_map(|drill| {
            let report = drill.report.as_ref()?;
            let (colour, how) = match report.verdict {
                DrillVerdict::Pass => ("good", "pass"),
                DrillVerdict::Missed => ("warn", "an objective missed"),
                DrillVerdict::Fail => ("bad", "FAILED"),
            };
            let took = seconds(report.drill_seconds);
            Some(Bar {
                value: report.drill_seconds,
                colour,
                title: format!("{}: {took}, {how}", minute(report.ended_at)),
            })
        })
        .collect();
    let (trusted, suspect) = past.counts();
    let largest = past.backups.iter().map(|backup| backup.raw_bytes).max();
    let largest = largest.unwrap_or_default();
    let longest = drills.iter().map(|bar| bar.value).fold(0.0, f64::max);
    html! {
        div.sparks {
            @if !sizes.is_empty() {
                figure {
                    figcaption {
                        "SQL of " (count(trusted as u64)) " backups"
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

fn plans(status: &Status) -> Markup {
    html! {
        @if status.plans.is_empty() {
            p.warn { "Nothing is scheduled: what is late cannot be noticed. Set " code { "schedule.backup" } " and " code { "schedule.verify" } "." }
        } @else {
            dl { @for plan in &status.plans {
                dt { (plan.task) }
                dd {
                    @match plan.next {
                        Some(next) => { (minute(next)) ", in " (span(next.duration_since(status.now))) },
                        None => "never",
                    }
                    " · " code.whole { (plan.schedule) }
                    @if let Some(last) = status.past.last_run(plan.task) {
                        " · last "
                        span class=(class(last.exit != 0)) { @if last.exit == 0 { "done" } @else { (meaning(last.exit)) } }
                        " " (ago(last.time, status.now))
                    }
                }
            } }
        }
    }
}

fn failure(status: &Status) -> Markup {
    let Some(failed) = status.past.last_failure() else {
        return html! { p { "None that is remembered." } };
    };
    let page = match failed.verb.as_str() {
        "backup" if failed.exit == 9 && failed.backup.is_some() => "DrctlBackupSuspect",
        "backup" => "DrctlBackupFailed",
        "verify" if failed.exit == 8 => "DrctlObjectiveMissed",
        "verify" => "DrctlVerifyFailed",
        "restore" => "restore-all",
        _ => "README",
    };
    let last = status.past.last_run(&failed.verb);
    let is_over = last.is_some_and(|last| last.exit == 0);
    html! {
        p {
            b { (failed.verb) } " " (ago(failed.ended_at, status.now)) ", " (meaning(failed.exit))
            @if is_over { " · " span.good { "succeeded since" } }
        }
        @if let Some(error) = &failed.error { pre.said { (error) } }
        p { "What to do: " (runbook(status, page)) }
    }
}

fn suspects(status: &Status) -> Markup {
    let suspect = || {
        status
            .past
            .backups
            .iter()
            .filter(|one| !one.suspect.is_empty())
    };
    let more = suspect().count().saturating_sub(SUSPECTS);
    html! {
        @if suspect().next().is_some() {
            h2 { "Suspect backups" }
            p.soft { "Kept, never chosen by themselves, until " code { "drctl accept ID" } ": " (runbook(status, "DrctlBackupSuspect")) }
            dl { @for backup in suspect().take(SUSPECTS) {
                dt { code { (backup.id.to_string()) } }
                dd { (backup.suspect.join("; ")) }
            } }
            @if more > 0 { p { "and " (count(more as u64)) " more" } }
        }
    }
}
