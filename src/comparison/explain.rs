//! Line-by-line differences between two definitions.
//!
//! A ledger contains only digests; a definition's text is read from the archive only if it differs.

use std::collections::BTreeMap;

use crate::archive::index::FrameRecord;
use crate::archive::read::Archive;
use crate::comparison::archived::each_statement;
use crate::comparison::compare::{Class, Comparison};
use crate::comparison::redump::Definitions;
use crate::sql::statement::{Kind, ObjectId, Section};
use crate::util::error::Result;

/// Maximum number of diff lines shown.
const MAX_LINES: usize = 40;

/// Adds diffs to the differences of definitions; `found` are the server's definitions.
pub async fn explain(
    archive: &Archive,
    comparison: &mut Comparison,
    found: &Definitions,
) -> Result<()> {
    let differing = comparison.differences.iter_mut();
    let mut wanted: BTreeMap<ObjectId, &mut Option<String>> = differing
        .filter(|one| one.class == Class::DdlText && found.contains_key(&one.object))
        .map(|one| (one.object.clone(), &mut one.diff))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let defines = |frame: &FrameRecord| frame.has(Section::PreData) || frame.has(Section::PostData);
    each_statement(archive, defines, |statement| {
        if let Kind::Create {
            object,
            placeholder: false,
        } = &statement.kind
            && let Some(place) = wanted.get_mut(object)
            && let Some(found) = found.get(object)
        {
            **place = Some(diff(&String::from_utf8_lossy(statement.sql), found));
        }
        Ok(())
    })
    .await
}

/// The lines that occur in only one of the texts, with context.
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
