//! A bar chart of one figure over time, oldest first, as an SVG without scripts.

use maud::{Markup, html};

/// Maximum number of bars; the newest values are shown.
pub const MAX_BARS: usize = 60;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 60.0;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Height of the bar, from 0.
    pub value: f64,
    /// A colour class of the page: `mark`, `good`, `bad`, `warn`.
    pub colour: &'static str,
    /// Tooltip.
    pub title: String,
}

/// Renders the bars, given newest first; `what` is the chart's label.
pub fn bars(newest_first: &[Bar], what: &str) -> Markup {
    let bars: Vec<&Bar> = newest_first.iter().take(MAX_BARS).rev().collect();
    let highest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let step = (WIDTH / bars.len().max(1) as f64).min(WIDTH / 12.0);
    // Aligned right, so that the newest bar is always in the same place.
    let left = WIDTH - step * bars.len() as f64;
    let height = |value: f64| {
        if highest > 0.0 {
            (value / highest * (HEIGHT - 2.0)).max(1.5)
        } else {
            1.5
        }
    };
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(what) {
            line x1="0" x2=(WIDTH) y1=(HEIGHT - 0.5) y2=(HEIGHT - 0.5) stroke="var(--line)" {}
            @for (at, bar) in bars.iter().enumerate() {
                rect x=(left + step * at as f64 + step * 0.12) y=(HEIGHT - height(bar.value))
                    width=(step * 0.76) height=(height(bar.value)) fill=(format!("var(--{})", bar.colour)) {
                    title { (bar.title) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(value: f64) -> Bar {
        Bar {
            value,
            colour: "mark",
            title: "<b>".into(),
        }
    }

    #[test]
    fn the_newest_bar_is_at_the_right_and_only_the_newest_are_drawn() {
        let many: Vec<Bar> = (0..100).map(|value| bar(f64::from(value))).collect();
        let drawn = bars(&many, "sizes").into_string();
        assert_eq!(drawn.matches("<rect").count(), MAX_BARS);
        assert!(drawn.contains("&lt;b&gt;") && !drawn.contains("<b>"));
        let last = drawn.rsplit("<rect x=\"").next().unwrap();
        assert!(last.starts_with("295.6"), "{last}");
    }

    #[test]
    fn no_bars_and_zeros_are_drawn_without_a_division_by_zero() {
        for none in [&[][..], &[bar(0.0)]] {
            let drawn = bars(none, "sizes").into_string();
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }
}
