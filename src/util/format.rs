//! Sizes, numbers, lists and durations as text.

use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};

/// Output format of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Text for a terminal.
    Text,
    /// JSON.
    Json,
}

/// Bytes in binary units: `1.4 GiB`.
pub fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// A whole number with thousands separators: `1,234,567`.
pub fn count(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// A count with its noun: `1 table`, `1,234 tables`, `2 libraries`.
pub fn counted(n: u64, one: &str) -> String {
    let consonant = |c: char| !matches!(c, 'a' | 'e' | 'i' | 'o' | 'u');
    let many = match one.strip_suffix('y') {
        _ if n == 1 => one.to_owned(),
        Some(stem) if stem.ends_with(consonant) => format!("{stem}ies"),
        _ => format!("{one}s"),
    };
    format!("{} {many}", count(n))
}

/// The first five of a list, and how many more there are: `a, b, c, d, e and 2 more`. Empty for an empty list.
pub fn some_of(all: impl IntoIterator<Item = impl Display>) -> String {
    const SHOWN: usize = 5;
    let mut all = all.into_iter();
    let shown: Vec<String> = all
        .by_ref()
        .take(SHOWN)
        .map(|one| one.to_string())
        .collect();
    let shown = shown.join(", ");
    match all.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A number of seconds as a duration.
pub fn seconds(seconds: f64) -> String {
    span(SignedDuration::from_millis((seconds * 1e3).round() as i64))
}

/// A time to the minute: `2026-11-21 02:00 UTC`.
pub fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Time since `then`: `3 h 5 min ago`; `3 h 5 min in the future` if a clock is wrong.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    if then > now {
        age(then, now)
    } else {
        format!("{} ago", age(then, now))
    }
}

/// Age: `3 h 5 min`; `3 h 5 min in the future` if a clock is wrong.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    if then > now {
        format!("{} in the future", span(then.duration_since(now)))
    } else {
        span(now.duration_since(then))
    }
}

/// A duration in its two largest units: `3 d 4 h`, `12 min 5 s`; short ones to a tenth of a second: `0.3
/// s`.
pub fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    if seconds < 10 {
        return format!("{:.1} s", duration.as_secs_f64().max(0.0));
    }
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = units.iter().position(|(size, _)| seconds >= *size);
    match largest {
        None => "0 s".to_owned(),
        Some(at) => {
            let (size, unit) = units[at];
            let mut text = format!("{} {unit}", seconds / size);
            if let Some((smaller, unit)) = units.get(at + 1)
                && seconds % size / smaller > 0
            {
                text.push_str(&format!(" {} {unit}", seconds % size / smaller));
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_ends_with_the_number_of_remaining_items() {
        assert_eq!(some_of([""; 0]), "");
        assert_eq!(some_of(["a", "b"]), "a, b");
        assert_eq!(some_of(1..=5), "1, 2, 3, 4, 5");
        assert_eq!(some_of(1..=7), "1, 2, 3, 4, 5 and 2 more");
    }

    #[test]
    fn a_span_shows_its_two_largest_units() {
        let of = |seconds| span(SignedDuration::from_secs(seconds));
        assert_eq!(of(0), "0.0 s");
        assert_eq!(of(59), "59 s");
        assert_eq!(of(3_600), "1 h");
        assert_eq!(of(93_784), "1 d 2 h");
        assert_eq!(of(-5), "0.0 s");
    }

    #[test]
    fn plurals_are_right() {
        for (n, one, said) in [
            (0, "backup", "0 backups"),
            (1, "schema", "1 schema"),
            (1, "package body", "1 package body"),
            (2, "package body", "2 package bodies"),
            (1_234, "key", "1,234 keys"),
        ] {
            assert_eq!(counted(n, one), said);
        }
    }

    #[test]
    fn a_future_time_is_shown_as_such() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let at = |seconds| now + SignedDuration::from_secs(seconds);
        assert_eq!(ago(at(-60), now), "1 min ago");
        assert_eq!(age(at(-60), now), "1 min");
        for said in [ago(at(86_400), now), age(at(86_400), now)] {
            assert_eq!(said, "1 d in the future");
        }
    }
}
