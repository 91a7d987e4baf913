//! Output of `prune`: each backup with its decision and reasons, then the rest of the cleanup.

use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::Entry;
use crate::catalog::retention::Decision;
use crate::cli::output::text;
use crate::cli::prune::log::LogPage;
use crate::layout::BackupId;
use crate::util::error::Result;
use crate::util::format::Output;

/// The decision, as in `prune --output json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    Keep,
    Postpone,
    Delete,
}

/// Result of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Deleted.
    Deleted,
    /// Manifest deleted; the data are deleted once no lease remains.
    Unlisted,
    /// The store refused.
    Failed,
}

/// One backup.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line {
    /// Id of the backup.
    id: BackupId,
    /// Time of its snapshot.
    snapshot_at: Timestamp,
    /// Bytes of its archive in the store.
    stored_bytes: u64,
    /// The decision.
    decision: Fate,
    /// The rules that keep it, or why its deletion is postponed.
    reasons: Vec<String>,
    /// Result of the deletion, if it was to be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<Outcome>,
}

impl Line {
    pub(super) fn new(entry: &Entry, decision: &Decision) -> Line {
        let (decision, reasons) = match decision {
            Decision::Keep(reasons) => (Fate::Keep, reasons.clone()),
            Decision::Postpone(why) => (Fate::Postpone, vec![why.clone()]),
            Decision::Delete => (Fate::Delete, vec!["no rule keeps it".to_owned()]),
        };
        Line {
            id: entry.id,
            snapshot_at: entry.manifest.snapshot_at,
            stored_bytes: entry.manifest.totals.stored_bytes,
            decision,
            reasons,
            outcome: None,
        }
    }

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let fate = match (self.decision, self.outcome) {
            (Fate::Keep, _) => "keep",
            (Fate::Postpone, _) => "postponed",
            (Fate::Delete, None) => "delete",
            (Fate::Delete, Some(Outcome::Deleted)) => "deleted",
            (Fate::Delete, Some(Outcome::Unlisted)) => {
                "deleted (data kept while a reader holds a lease)"
            }
            (Fate::Delete, Some(Outcome::Failed)) => "FAILED",
        };
        vec![
            fate.to_owned(),
            self.id.to_string(),
            text::span(now.duration_since(self.snapshot_at)),
            text::bytes(self.stored_bytes),
            self.reasons.join(", "),
        ]
    }
}

/// The whole output.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Page {
    /// Whether nothing was changed.
    dry_run: bool,
    /// Every backup, newest first.
    #[serde(rename = "backups")]
    pub(super) lines: Vec<Line>,
    /// Notice that the newest backup is suspect and awaits `drctl accept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waits: Option<String>,
    /// Bytes of the deleted backups.
    pub(super) bytes: u64,
    /// Whether a versioned bucket keeps those bytes as noncurrent versions.
    pub(super) hidden: bool,
    /// Backups whose runs were killed, now cleaned up.
    pub(super) leftovers: Vec<BackupId>,
    /// Number of aborted uploads.
    pub(super) uploads: usize,
    /// Number of drill reports and run records removed because of their age.
    pub(super) evidence: usize,
    /// What happens to the archived log; `None` if none is archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<LogPage>,
}

impl Page {
    pub(super) fn new(dry_run: bool, lines: Vec<Line>) -> Page {
        Page {
            dry_run,
            lines,
            waits: None,
            bytes: 0,
            hidden: false,
            leftovers: Vec::new(),
            uploads: 0,
            evidence: 0,
            log: None,
        }
    }

    pub(super) fn print(&self, output: Output) -> Result<()> {
        match output {
            Output::Json => text::json(self),
            Output::Text => text::print(&self.text(Timestamp::now())),
        }
    }

    fn text(&self, now: Timestamp) -> String {
        let rows: Vec<Vec<String>> = self.lines.iter().map(|line| line.cells(now)).collect();
        let mut page = text::table(&["", "ID", ">AGE", ">STORED", "WHY"], &rows);
        let count = |fate: Fate| {
            self.lines
                .iter()
                .filter(|line| line.decision == fate)
                .count()
        };
        let gone = self
            .lines
            .iter()
            .filter(|line| matches!(line.outcome, Some(Outcome::Deleted | Outcome::Unlisted)));
        page.push_str(&if self.dry_run {
            format!(
                "{} would be deleted, {} kept, {} postponed; nothing was changed\n",
                count(Fate::Delete),
                count(Fate::Keep),
                count(Fate::Postpone)
            )
        } else {
            format!(
                "{} deleted, {}; {} kept, {} postponed\n",
                gone.count(),
                text::bytes(self.bytes),
                count(Fate::Keep),
                count(Fate::Postpone)
            )
        });
        if let Some(log) = &self.log {
            page.push_str(&log.text(self.dry_run));
        }
        if let Some(waits) = &self.waits {
            page.push_str(&format!("{waits}\n"));
        }
        if self.hidden {
            page.push_str(
                "the bucket is versioned: these bytes are freed by its lifecycle rule for noncurrent versions\n",
            );
        }
        for id in &self.leftovers {
            page.push_str(&format!("removed leftovers of an interrupted run: {id}\n"));
        }
        if self.uploads > 0 {
            page.push_str(&format!("unfinished uploads aborted: {}\n", self.uploads));
        }
        if self.evidence > 0 {
            page.push_str(&format!(
                "old reports and records removed: {}\n",
                self.evidence
            ));
        }
        page
    }
}
