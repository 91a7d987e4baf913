//! Names of the summaries of a target's manifests: `shop/summaries/20261121T020000Z-3f9a1c-2.jsonl.zst`.

use std::fmt;

use super::{BackupId, parse_id};

/// Highest level of a summary.
pub const MAX_SUMMARY_LEVEL: u8 = 30;

/// Name of a summary. It contains what the earlier ones of lower levels contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SummaryName {
    /// When it was written, and a random part.
    pub written: BackupId,
    /// 0, or one more than the summaries that it replaces; at most [`MAX_SUMMARY_LEVEL`].
    pub level: u8,
}

impl SummaryName {
    pub(super) fn parse(name: &str) -> Option<SummaryName> {
        let (written, level) = name.strip_suffix(".jsonl.zst")?.rsplit_once('-')?;
        let parsed = SummaryName {
            written: parse_id(written)?,
            level: level.parse().ok()?,
        };
        // drctl does not write `-+1` or `-01`.
        (parsed.level <= MAX_SUMMARY_LEVEL && parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for SummaryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.jsonl.zst", self.written, self.level)
    }
}
