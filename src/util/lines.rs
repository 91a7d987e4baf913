//! Lines in the order in which they were added, each once.

use std::collections::HashSet;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// A list without duplicates. Adding a line takes the same time however many there are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct UniqueLines {
    lines: Vec<String>,
    known: HashSet<String>,
}

impl UniqueLines {
    /// Adds a line, unless it is already there.
    pub fn add(&mut self, line: String) {
        if self.known.insert(line.clone()) {
            self.lines.push(line);
        }
    }
}

impl Deref for UniqueLines {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.lines
    }
}

impl PartialEq for UniqueLines {
    fn eq(&self, other: &Self) -> bool {
        self.lines == other.lines
    }
}

impl FromIterator<String> for UniqueLines {
    fn from_iter<T: IntoIterator<Item = String>>(lines: T) -> Self {
        let mut all = UniqueLines::default();
        lines.into_iter().for_each(|line| all.add(line));
        all
    }
}

impl From<Vec<String>> for UniqueLines {
    fn from(lines: Vec<String>) -> Self {
        lines.into_iter().collect()
    }
}

impl From<UniqueLines> for Vec<String> {
    fn from(lines: UniqueLines) -> Self {
        lines.lines
    }
}

impl<'a> IntoIterator for &'a UniqueLines {
    type Item = &'a String;
    type IntoIter = std::slice::Iter<'a, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.lines.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_kept_once_where_it_came_first() {
        let mut lines: UniqueLines = ["b", "a", "b"].map(str::to_owned).into_iter().collect();
        lines.add("a".to_owned());
        lines.add("c".to_owned());
        assert_eq!(lines[..], ["b", "a", "c"]);
        let json = serde_json::to_string(&lines).unwrap();
        assert_eq!(json, r#"["b","a","c"]"#);
        assert_eq!(serde_json::from_str::<UniqueLines>(&json).unwrap(), lines);
    }

    #[test]
    fn a_hundred_thousand_lines_are_added_at_once() {
        let begun = std::time::Instant::now();
        let lines: UniqueLines = (0..100_000).map(|n| n.to_string()).collect();
        assert_eq!(lines.len(), 100_000);
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    }
}
