//! The stages of restores over time as stacked bars, with the objective; an SVG without scripts.

use maud::{Markup, html};

use crate::monitor::report::model::{DrillReport, Stage};
use crate::objectives::Objectives;
use crate::util::format::{minute, seconds};

/// Stages shown together, with colours that remain distinguishable with red-green colour blindness.
const GROUPS: [(&str, &str, &[&str]); 6] = [
    ("find and check", "#4477aa", &["locate", "check"]),
    ("boot", "#66ccee", &["boot"]),
    (
        "load",
        "#228833",
        &["accounts", "replace", "pre-data", "data"],
    ),
    ("keys", "#ccbb44", &["keys", "foreign-keys"]),
    (
        "views, routines, events",
        "#ee6677",
        &["post-data", "events"],
    ),
    ("compare", "#aa3377", &["compare"]),
];

/// Maximum number of bars; the newest drills are shown.
const MAX_BARS: usize = 60;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;

/// Renders one bar per drill, oldest first.
pub fn stages(newest_first: &[&DrillReport], objectives: &Objectives) -> Markup {
    let drills: Vec<&DrillReport> = newest_first.iter().take(MAX_BARS).rev().copied().collect();
    let objective = objectives.rto.map(|span| span.as_secs_f64());
    let longest = drills
        .iter()
        .map(|drill| drill.restore_seconds())
        .fold(0.0, f64::max);
    // An objective far above the bars would flatten them: it is then only given as text.
    let drawn = objective.filter(|objective| *objective <= longest * 4.0);
    let top = round_up(longest.max(drawn.unwrap_or(0.0)) * 1.05);
    let plot = HEIGHT - BOTTOM - TOP;
    let y = |value: f64| TOP + plot * (1.0 - value / top);
    let step = (WIDTH - LEFT) / drills.len().max(1) as f64;
    let width = (step * 0.7).min(48.0);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="Stages of restore drills over time" {
            @for part in [0.0, 0.5, 1.0] {
                line x1=(LEFT) x2=(WIDTH) y1=(y(top * part)) y2=(y(top * part)) stroke="var(--line)" {}
                text x=(LEFT - 8.0) y=(y(top * part) + 4.0) text-anchor="end" { (seconds(top * part)) }
            }
            @for (at, drill) in drills.iter().enumerate() {
                (bar(drill, LEFT + step * (at as f64 + 0.5) - width / 2.0, width, &y))
            }
            @for (drill, anchor) in [(drills.first(), "start"), (drills.get(3..).and_then(<[_]>::last), "end")] {
                @if let Some(drill) = drill {
                    text x=(if anchor == "start" { LEFT } else { WIDTH }) y=(HEIGHT - 8.0) text-anchor=(anchor) {
                        (minute(drill.ended_at))
                    }
                }
            }
            @if let Some(objective) = drawn {
                line x1=(LEFT) x2=(WIDTH) y1=(y(objective)) y2=(y(objective)) stroke="var(--bad)" stroke-dasharray="6 4" {}
                text x=(WIDTH) y=(y(objective) - 5.0) text-anchor="end" { "objective " (seconds(objective)) }
            }
        }
        div.key {
            @for (name, colour, _) in GROUPS { span style=(format!("--c:{colour}")) { (name) } }
            @if let Some(objective) = objective.filter(|_| drawn.is_none()) {
                "objective " (seconds(objective)) " (out of scale)"
            }
        }
    }
}

fn bar(drill: &DrillReport, x: f64, width: f64, y: &impl Fn(f64) -> f64) -> Markup {
    let mut below = 0.0;
    let mut parts = Vec::new();
    for (name, colour, stages) in GROUPS {
        let of_it = |stage: &&Stage| stages.contains(&stage.name.as_str());
        let took: f64 = drill
            .stages
            .iter()
            .filter(of_it)
            .map(|stage| stage.seconds)
            .sum();
        parts.push((
            name,
            colour,
            took,
            y(below + took),
            y(below) - y(below + took),
        ));
        below += took;
    }
    let failed = !drill.verdict.is_verified();
    html! {
        g opacity=(if failed { "0.45" } else { "1" }) {
            title {
                (minute(drill.ended_at)) ": " (seconds(drill.restore_seconds()))
                @if failed { ", FAILED" }
                @for (name, _, took, _, _) in &parts { "\n" (name) " " (seconds(*took)) }
            }
            @for (_, colour, took, top, height) in &parts {
                @if *took > 0.0 {
                    rect x=(x) y=(top) width=(width) height=(height.max(0.5)) fill=(colour) {}
                }
            }
            @if failed { text x=(x + width / 2.0) y=(y(below) - 4.0) text-anchor="middle" { "✕" } }
        }
    }
}

/// The next round number.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let unit = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let step = steps.iter().find(|step| **step * unit >= value);
    step.map_or(10.0 * unit, |step| step * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_drill_is_an_empty_chart() {
        let svg = stages(&[], &Objectives::default()).into_string();
        assert!(svg.contains("<svg") && !svg.contains("<rect"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
