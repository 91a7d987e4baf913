//! What differs between two definitions, as a person would want to see it: line by line.
//!
//! A ledger holds digests; the words of a definition stand in the archive, where they are looked up
//! only for what differs.

use std::collections::BTreeMap;

use crate::archive::read::Archive;
use crate::error::{Error, Result};
use crate::proof::compare::{Class, Comparison};
use crate::proof::redump::Words;
use crate::sql::scan::Scanner;
use crate::sql::statement::{Kind, ObjectId, Section};

/// How many lines of a difference are shown.
const MAX_LINES: usize = 40;

/// Adds to differences of definitions what differs in them; `words` are those of the server.
pub async fn explain(archive: &Archive, comparison: &mut Comparison, words: &Words) -> Result<()> {
    let differing = comparison.differences.iter_mut();
    let mut wanted: BTreeMap<ObjectId, &mut Option<String>> = differing
        .filter(|one| one.class == Class::DdlText && words.contains_key(&one.object))
        .map(|one| (one.object.clone(), &mut one.diff))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let unknown = |e| Error::archive("a definition cannot be read").because(e);
    let mut frames = archive.frames()?;
    while let Some(frame) = frames.read()? {
        if !frame.has(Section::PreData) && !frame.has(Section::PostData) {
            continue;
        }
        let raw = archive.fetch(&frame).await?;
        let sessions = &archive.contents().sessions;
        let session = sessions.get(frame.session as usize).cloned();
        let mut scanner = Scanner::resuming(session.unwrap_or_default());
        scanner.push(&raw);
        scanner.finish();
        while let Some(statement) = scanner.next().map_err(unknown)? {
            if let Kind::Create {
                object,
                placeholder: false,
            } = &statement.kind
                && let Some(place) = wanted.get_mut(object)
                && let Some(found) = words.get(object)
            {
                **place = Some(diff(&String::from_utf8_lossy(statement.sql), found));
            }
        }
    }
    Ok(())
}

/// The lines that are only in one of them, with their neighbours.
fn diff(expected: &str, found: &str) -> String {
    let diff = similar::TextDiff::from_lines(expected, found);
    let text = diff.unified_diff().context_radius(1).to_string();
    let mut lines = text.lines();
    let mut shown: Vec<&str> = lines.by_ref().take(MAX_LINES).collect();
    if lines.next().is_some() {
        shown.push("…");
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_differ_are_shown_and_not_the_others() {
        let text = diff("a\nb\nc\nd\ne\n", "a\nb\nc\nD\ne\n");
        assert_eq!(text, "@@ -3,3 +3,3 @@\n c\n-d\n+D\n e");
        let long: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert!(diff(&long, "").ends_with("\n…"));
    }
}
