//! What `prune` says: each backup with its fate and why, then what else went.

use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::Entry;
use crate::cli::Output;
use crate::commands::text;
use crate::error::Result;
use crate::retention::Decision;
use crate::store::keys::BackupId;

/// What was decided, as `prune --output json` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    Keep,
    Postpone,
    Delete,
}

/// What became of a backup that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It is gone.
    Deleted,
    /// It is no backup any more; the rest goes when whoever reads it is done.
    Unlisted,
    /// The store refused.
    Failed,
}

/// One backup.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line {
    /// Its id.
    id: BackupId,
    /// When its data were as they are in it.
    snapshot_at: Timestamp,
    /// Bytes of its archive.
    stored_bytes: u64,
    /// What was decided.
    decision: Fate,
    /// The rules that keep it, or why it does not go now.
    reasons: Vec<String>,
    /// What became of it, where it was to go.
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
            (Fate::Postpone, _) => "wait",
            (Fate::Delete, None) => "delete",
            (Fate::Delete, Some(Outcome::Deleted)) => "deleted",
            (Fate::Delete, Some(Outcome::Unlisted)) => "deleted; its data when its reader is done",
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

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Page {
    /// Whether nothing was touched.
    dry_run: bool,
    /// Every backup, newest first.
    #[serde(rename = "backups")]
    pub(super) lines: Vec<Line>,
    /// That the newest backup waits for a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waits: Option<String>,
    /// Bytes of the backups that went.
    pub(super) bytes: u64,
    /// Whether a bucket with versions keeps those bytes behind delete markers.
    pub(super) hidden: bool,
    /// What was left of killed runs.
    pub(super) leftovers: Vec<BackupId>,
    /// Uploads that were never completed.
    pub(super) uploads: usize,
    /// Reports of drills and records of runs that were older than the evidence is kept.
    pub(super) evidence: usize,
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
        }
    }

    pub(super) fn say(&self, output: Output) -> Result<()> {
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
        page.push_str(&match self.dry_run {
            true => format!(
                "{} would be deleted, {} kept, {} wait; nothing was touched\n",
                count(Fate::Delete),
                count(Fate::Keep),
                count(Fate::Postpone)
            ),
            false => format!(
                "{} deleted, {}; {} kept, {} wait\n",
                gone.count(),
                text::bytes(self.bytes),
                count(Fate::Keep),
                count(Fate::Postpone)
            ),
        });
        if let Some(waits) = &self.waits {
            page.push_str(&format!("{waits}\n"));
        }
        if self.hidden {
            page.push_str(
                "the bucket keeps versions: these bytes are freed when its lifecycle rule for noncurrent versions says so\n",
            );
        }
        for id in &self.leftovers {
            page.push_str(&format!("left by a killed run: {id}\n"));
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
