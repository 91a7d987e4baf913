//! The ledger of a text: for each section the number of its lines and their sum.
//!
//! The sum is that of the XXH3-128 of each line with its line end, modulo 2^128, as for the rows of a table. In a section
//! whose lines are in order, the hash of each is hashed with its number.

use std::collections::BTreeMap;
use std::io::{self, Read};

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::entries::record::{BUFFER_BYTES, STREAM};
use crate::entries::{Entry, Ledger};
use crate::util::digest::Xxh3Digest;
use crate::util::error::{Error, Result};

/// Beginning of a line in which the name of a section is searched, bytes.
const HEAD_BYTES: usize = 4096;

/// How a text is divided into sections; by default it is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sections {
    /// Pattern of the first line of a section; its first group, else the match, is the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<String>,
    /// Pattern of the names of sections whose lines are in no order; `None`: of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unordered: Option<String>,
    /// Pattern of lines that do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
}

impl Sections {
    /// The patterns, ready to match.
    pub fn compiled(&self) -> Result<Compiled> {
        let compiled = |pattern: &Option<String>| {
            let regex = pattern.as_deref().map(Regex::new).transpose();
            regex.map_err(|e| Error::usage("the pattern of sections is invalid").because(e))
        };
        Ok(Compiled {
            begin: compiled(&self.begin)?,
            unordered: compiled(&self.unordered)?,
            ignore: compiled(&self.ignore)?,
        })
    }
}

/// Sections whose patterns are ready to match.
#[derive(Debug)]
pub struct Compiled {
    begin: Option<Regex>,
    unordered: Option<Regex>,
    ignore: Option<Regex>,
}

impl Compiled {
    /// The name of the section that a line begins.
    fn name(&self, line: &[u8]) -> Option<String> {
        let found = self.begin.as_ref()?.captures(line)?;
        let name = found.get(1).or(found.get(0))?;
        Some(String::from_utf8_lossy(name.as_bytes()).into_owned())
    }

    /// Whether the lines of a section are in order.
    fn is_ordered(&self, section: &str) -> bool {
        let unordered = self.unordered.as_ref();
        unordered.is_some_and(|unordered| !unordered.is_match(section.as_bytes()))
    }

    /// Whether a line counts. Lines in no order are data, and all count.
    fn counts(&self, line: &[u8], is_ordered: bool) -> bool {
        let ignore = self.ignore.as_ref().filter(|_| is_ordered);
        !ignore.is_some_and(|ignore| ignore.is_match(line))
    }
}

/// The lines of a section.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    bytes: u64,
    lines: u64,
    digest: u128,
}

/// The open line.
struct Line {
    hash: Xxh3,
    bytes: u64,
    head: Vec<u8>,
}

impl Line {
    fn new() -> Line {
        Line {
            hash: Xxh3::new(),
            bytes: 0,
            head: Vec::new(),
        }
    }

    fn push(&mut self, part: &[u8]) {
        self.hash.update(part);
        self.bytes += part.len() as u64;
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&part[..part.len().min(room)]);
    }
}

/// Records the lines of a text.
pub(super) fn record(mut stream: impl Read, sections: &Compiled) -> io::Result<Ledger> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let mut section = STREAM.to_owned();
    let mut is_ordered = sections.is_ordered(&section);
    let mut end = |line: Line, sums: &mut BTreeMap<String, Sum>| {
        if let Some(name) = sections.name(&line.head) {
            is_ordered = sections.is_ordered(&name);
            section = name;
        }
        if !sections.counts(&line.head, is_ordered) {
            return;
        }
        let sum = match sums.get_mut(&section) {
            Some(sum) => sum,
            None => sums.entry(section.clone()).or_default(),
        };
        sum.bytes += line.bytes;
        sum.lines += 1;
        let digest = match is_ordered {
            false => line.hash.digest128(),
            true => xxh3_128(
                &[line.hash.digest128(), sum.lines.into()]
                    .map(u128::to_le_bytes)
                    .concat(),
            ),
        };
        sum.digest = sum.digest.wrapping_add(digest);
    };
    let (mut line, mut buffer) = (Line::new(), vec![0; BUFFER_BYTES]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            line.push(part);
            if part.ends_with(b"\n") {
                end(std::mem::replace(&mut line, Line::new()), &mut sums);
            }
        }
    }
    if line.bytes > 0 {
        end(line, &mut sums);
    }
    let mut ledger = Ledger::default();
    for (name, sum) in sums {
        let entry = Entry {
            name,
            of_type: "lines".to_owned(),
            bytes: sum.bytes,
            lines: sum.lines,
            attributes: String::new(),
            digest: Xxh3Digest::from(sum.digest).to_string(),
        };
        ledger.add(entry).map_err(io::Error::other)?;
    }
    Ok(ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Ledger {
        let sections = Sections {
            begin: Some("^COPY ([a-z.]+)".into()),
            ..Sections::default()
        };
        record(text.as_bytes(), &sections.compiled().unwrap()).unwrap()
    }

    #[test]
    fn lines_count_in_any_order_within_their_section() {
        let one = of("SET x;\nCOPY a.b (x)\n1\n2\n2\nCOPY a.c (x)\n3\n");
        assert_eq!(one, of("SET x;\nCOPY a.b (x)\n2\n1\n2\nCOPY a.c (x)\n3\n"));
        let sizes: Vec<_> = one
            .iter()
            .map(|entry| (&*entry.name, entry.lines))
            .collect();
        assert_eq!(sizes, [("a.b", 4), ("a.c", 2), ("stream", 1)]);
        for other in [
            "SET x;\nCOPY a.b (x)\n1\n2\nCOPY a.c (x)\n3\n",
            "SET x;\nCOPY a.b (x)\n1\n1\n2\nCOPY a.c (x)\n3\n",
            "SET x;\nCOPY a.b (x)\n1\n2\nCOPY a.c (x)\n2\n3\n",
            "SET x;\nCOPY a.b (x)\n1\n2\n2\nCOPY a.c (x)\n3",
        ] {
            assert_ne!(one, of(other), "{other}");
        }
    }

    #[test]
    fn lines_in_order_count_in_order_and_those_that_are_ignored_do_not() {
        let sections = Sections {
            begin: Some("^# (.+)".into()),
            unordered: Some("^rows".into()),
            ignore: Some("^-- ".into()),
        };
        let of = |text: &str| record(text.as_bytes(), &sections.compiled().unwrap()).unwrap();
        let one = of("# table\na,\nb\n-- 1\n# rows\nx\n-- y\n");
        assert_eq!(one, of("# table\na,\n-- 2\nb\n# rows\n-- y\nx\n"));
        for other in [
            "# table\nb\na,\n# rows\nx\n-- y\n",
            "# table\na,\nb\n# rows\nx\n-- z\n",
            "# table\na,\nb\n# rows\nx\n",
        ] {
            assert_ne!(one, of(other), "{other}");
        }
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_one_line() {
        let long = "x".repeat(3 * BUFFER_BYTES);
        let ledger = of(&format!("{long}\n{long}"));
        let entry = ledger.iter().next().unwrap();
        assert_eq!((entry.lines, entry.bytes), (2, 2 * long.len() as u64 + 1));
    }
}
