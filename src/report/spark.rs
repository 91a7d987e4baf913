//! A row of small bars: how one figure went, oldest first; an SVG that needs no script.

use maud::{Markup, html};

/// The newest values that fit.
pub const MAX_BARS: usize = 60;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 60.0;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// How high it is, from 0.
    pub value: f64,
    /// A colour of the page: `mark`, `good`, `bad`, `warn`.
    pub colour: &'static str,
    /// What a pointer held over it shows.
    pub title: String,
}

/// The bars, newest first; `what` says what they are.
pub fn bars(newest_first: &[Bar], what: &str) -> Markup {
    let bars: Vec<&Bar> = newest_first.iter().take(MAX_BARS).rev().collect();
    let highest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let step = (WIDTH / bars.len().max(1) as f64).min(WIDTH / 12.0);
    // To the right, so that the newest one is always found in the same place.
    let left = WIDTH - step * bars.len() as f64;
    let height = |value: f64| match highest > 0.0 {
        true => (value / highest * (HEIGHT - 2.0)).max(1.5),
        false => 1.5,
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
    fn the_newest_bar_stands_at_the_right_and_no_more_are_drawn_than_fit() {
        let many: Vec<Bar> = (0..100).map(|value| bar(f64::from(value))).collect();
        let drawn = bars(&many, "sizes").into_string();
        assert_eq!(drawn.matches("<rect").count(), MAX_BARS);
        assert!(drawn.contains("&lt;b&gt;") && !drawn.contains("<b>"));
        let last = drawn.rsplit("<rect x=\"").next().unwrap();
        assert!(last.starts_with("295.6"), "{last}");
    }

    #[test]
    fn nothing_and_nothings_are_drawn_without_a_division_by_zero() {
        for none in [&[][..], &[bar(0.0)]] {
            let drawn = bars(none, "sizes").into_string();
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }
}
