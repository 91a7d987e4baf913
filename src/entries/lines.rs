//! The ledger of a text: for each section the number of its lines and their sum, whatever their order.
//!
//! The sum is that of the XXH3-128 of each line with its line end, modulo 2^128, as for the rows of a table.

use std::collections::BTreeMap;
use std::io::{self, Read};

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

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
}

impl Sections {
    /// The pattern, ready to match.
    pub fn compiled(&self) -> Result<Compiled> {
        let begin = self.begin.as_deref().map(Regex::new).transpose();
        let begin =
            begin.map_err(|e| Error::usage("the pattern of sections is invalid").because(e))?;
        Ok(Compiled { begin })
    }
}

/// Sections whose pattern is ready to match.
#[derive(Debug)]
pub struct Compiled {
    begin: Option<Regex>,
}

impl Compiled {
    /// The name of the section that a line begins.
    fn name(&self, line: &[u8]) -> Option<String> {
        let found = self.begin.as_ref()?.captures(line)?;
        let name = found.get(1).or(found.get(0))?;
        Some(String::from_utf8_lossy(name.as_bytes()).into_owned())
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
    let mut end = |line: Line, sums: &mut BTreeMap<String, Sum>| {
        if let Some(name) = sections.name(&line.head) {
            section = name;
        }
        let sum = match sums.get_mut(&section) {
            Some(sum) => sum,
            None => sums.entry(section.clone()).or_default(),
        };
        sum.bytes += line.bytes;
        sum.lines += 1;
        sum.digest = sum.digest.wrapping_add(line.hash.digest128());
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
    fn a_line_longer_than_the_buffer_is_one_line() {
        let long = "x".repeat(3 * BUFFER_BYTES);
        let ledger = of(&format!("{long}\n{long}"));
        let entry = ledger.iter().next().unwrap();
        assert_eq!((entry.lines, entry.bytes), (2, 2 * long.len() as u64 + 1));
    }
}
