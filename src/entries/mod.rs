//! The ledger of a stream that is not SQL: named entries with size, count and digest, computed while the stream passes.
//!
//! - [`record`]: a stream → its ledger, in one of three [`Format`]s: the whole stream, its lines, or the members of a tar.
//!
//! Two ledgers are equal if all entries are. Nothing is normalised.
//!
//! Memory: about 250 bytes for each entry.

pub mod lines;
pub mod record;
pub mod tar;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use serde::{Deserialize, Serialize};

use crate::util::format::{bytes, counted};

/// One entry of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, which no other entry has.
    pub name: String,
    /// What it is: `stream`, `lines`, `file`, `directory`, ….
    #[serde(rename = "type")]
    pub of_type: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Number of lines, where lines are counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lines: u64,
    /// What else is compared, as text: mode, owner and times of a file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub attributes: String,
    /// The digest of its contents, in hexadecimal digits.
    pub digest: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Entry {
    /// What a reader of a difference sees.
    fn summary(&self, other: &Entry) -> String {
        let mut text = format!("{} of {}", self.of_type, bytes(self.bytes));
        if self.lines > 0 {
            text.push_str(&format!(", {}", counted(self.lines, "line")));
        }
        if self.attributes != other.attributes {
            text.push_str(&format!(", {}", self.attributes));
        }
        if self.digest != other.digest {
            let digits = self.digest.get(..12).unwrap_or(&self.digest);
            text.push_str(&format!(", {digits}…"));
        }
        text
    }
}

/// What entries add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines of all entries.
    pub lines: u64,
    /// Number of entries of each type.
    pub by_type: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        self.lines = self.lines.saturating_add(entry.lines);
        let count = self.by_type.entry(entry.of_type.clone()).or_default();
        *count = count.saturating_add(1);
    }

    /// Number of entries.
    pub fn entries(&self) -> u64 {
        self.by_type.values().sum()
    }
}

/// The entries of a stream, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
    counts: Counts,
}

/// An entry whose name another one has.
#[derive(Debug, thiserror::Error)]
#[error("the entry {0:?} occurs twice")]
pub struct Twice(String);

impl Ledger {
    /// Adds an entry.
    pub fn add(&mut self, entry: Entry) -> Result<(), Twice> {
        match self.entries.entry(entry.name.clone()) {
            Slot::Occupied(_) => Err(Twice(entry.name)),
            Slot::Vacant(slot) => {
                self.counts.add(&entry);
                slot.insert(entry);
                Ok(())
            }
        }
    }

    /// What the entries add up to.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The entries, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entries, in the order of their names.
    pub fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.entries.into_values()
    }

    /// Where another ledger differs from this one, in the order of the names.
    pub fn differences(&self, found: &Ledger) -> Vec<Difference> {
        let missing = || "missing".to_owned();
        let mut differences = Vec::new();
        for (name, ours) in &self.entries {
            match found.entries.get(name) {
                Some(theirs) if theirs == ours => {}
                Some(theirs) => differences.push(Difference {
                    name: name.clone(),
                    expected: ours.summary(theirs),
                    found: theirs.summary(ours),
                }),
                None => differences.push(Difference {
                    name: name.clone(),
                    expected: ours.summary(ours),
                    found: missing(),
                }),
            }
        }
        for (name, theirs) in &found.entries {
            if !self.entries.contains_key(name) {
                differences.push(Difference {
                    name: name.clone(),
                    expected: missing(),
                    found: theirs.summary(theirs),
                });
            }
        }
        differences.sort_by(|one, other| one.name.cmp(&other.name));
        differences
    }
}

/// An entry that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// The entry of the backup, in words.
    pub expected: String,
    /// What was found instead.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, digest: &str) -> Entry {
        Entry {
            name: name.into(),
            of_type: "file".into(),
            bytes: 1,
            lines: 0,
            attributes: "0644 0:0".into(),
            digest: digest.into(),
        }
    }

    fn ledger(entries: &[Entry]) -> Ledger {
        let mut ledger = Ledger::default();
        for entry in entries {
            ledger.add(entry.clone()).unwrap();
        }
        ledger
    }

    #[test]
    fn every_field_of_an_entry_is_compared() {
        let one = ledger(&[entry("a", "1"), entry("b", "2")]);
        assert_eq!(one.differences(&one), []);
        let changed: [fn(&mut Entry); 5] = [
            |entry| entry.of_type = "directory".into(),
            |entry| entry.bytes = 2,
            |entry| entry.lines = 1,
            |entry| entry.attributes = "0600 0:0".into(),
            |entry| entry.digest = "3".into(),
        ];
        for change in changed {
            let mut other = entry("b", "2");
            change(&mut other);
            let found = one.differences(&ledger(&[entry("a", "1"), other]));
            assert_eq!(found.len(), 1, "{found:?}");
            assert_ne!(found[0].expected, found[0].found);
        }
    }

    #[test]
    fn an_entry_on_one_side_only_is_a_difference_and_a_second_of_its_name_an_error() {
        let one = ledger(&[entry("a", "1")]);
        let found = one.differences(&ledger(&[entry("b", "1")]));
        let names: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            (&*found[0].found, &*found[1].expected),
            ("missing", "missing")
        );
        assert!(ledger(&[entry("a", "1")]).add(entry("a", "2")).is_err());
    }
}
