//! How results are printed: sizes, ages and tables for people, JSON for programs.

use std::io::Write;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::error::{Error, Result};

/// Prints a result for programs.
pub fn json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::unexpected("cannot write JSON").because(e))?;
    text.push('\n');
    print(&text)
}

/// Prints text. A reader that went away, like `head`, is not a failure.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::unexpected("cannot write to standard output").because(e))
        }
        _ => Ok(()),
    }
}

/// Bytes in binary units: `1.4 GiB`.
pub fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// A whole number with its thousands apart: `1,234,567`.
pub fn count(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// A span of time in its two largest units: `3 d 4 h`, `12 min 5 s`; short ones to a tenth: `0.3 s`.
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

/// How long ago: `3 h 5 min ago`; `3 h 5 min in the future` where a clock is wrong.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    match then > now {
        true => age(then, now),
        false => format!("{} ago", age(then, now)),
    }
}

/// How old: `3 h 5 min`; `3 h 5 min in the future` where a clock is wrong.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    match then > now {
        true => format!("{} in the future", span(then.duration_since(now))),
        false => span(now.duration_since(then)),
    }
}

/// Rows under a heading, in columns; a column whose heading begins with `>` is flush right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let heading = headings[column].trim_start_matches('>').chars().count();
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(heading)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, cell) in cells.enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            let right = headings[column].starts_with('>');
            let (before, after) = if right {
                (pad.as_str(), "")
            } else {
                ("", pad.as_str())
            };
            text.push_str(&format!("{before}{cell}{after}  "));
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = line(
        &mut headings
            .iter()
            .map(|heading| heading.trim_start_matches('>')),
    );
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_yet_to_come_is_said_to_be() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let at = |seconds| now + SignedDuration::from_secs(seconds);
        assert_eq!(ago(at(-60), now), "1 min ago");
        assert_eq!(age(at(-60), now), "1 min");
        for said in [ago(at(86_400), now), age(at(86_400), now)] {
            assert_eq!(said, "1 d in the future");
        }
    }

    #[test]
    fn a_table_keeps_its_columns_apart() {
        let rows = [
            vec!["a".into(), "12".into()],
            vec!["long".into(), "3".into()],
        ];
        assert_eq!(
            table(&["ID", ">N"], &rows),
            "ID     N\na     12\nlong   3\n"
        );
    }
}
