//! Printing of results: text and tables for terminals, JSON for programs.

use std::io::Write;

use serde::Serialize;

use crate::util::error::{Error, Result};
pub use crate::util::format::{age, ago, bytes, count, counted, span};

/// Prints a result as JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::unexpected("cannot write JSON").because(e))?;
    text.push('\n');
    print(&text)
}

/// Prints text. A closed pipe (as with `head`) is not a failure.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::unexpected("cannot write to standard output")
                .because(e)
                .hint("free space for the output, or redirect it to another place"))
        }
        _ => Ok(()),
    }
}

/// Formats rows under headings, in columns; a column whose heading begins with `>` is right-aligned.
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
