//! The part of `prune` that deletes files of the archived log, after the backups.

use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::Entry;
use crate::cli::Context;
use crate::cli::output::text;
use crate::cli::prune::page::Outcome;
use crate::layout::{LogFile, TimelineId};
use crate::store::Deleted;
use crate::stream::coverage;
use crate::stream::from_here::FromHere;
use crate::stream::objects::Objects;
use crate::stream::retention::{self, Base, Doomed};
use crate::util::error::{Error, Result};

/// What happens to the log, as in `prune --output json`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LogPage {
    /// From where on it is kept; `None` if all of it is.
    kept_from: Option<From>,
    /// The backup that needs it, and the rule; or why all is kept.
    why: String,
    /// The files that go, oldest first.
    files: Vec<LogLine>,
    /// Bytes of the deleted files.
    bytes: u64,
    /// Whether a versioned bucket keeps those bytes as noncurrent versions.
    #[serde(skip)]
    pub(super) hidden: bool,
}

#[derive(Debug, Clone, Serialize)]
struct From {
    timeline: TimelineId,
    file: LogFile,
}

#[derive(Debug, Clone, Serialize)]
struct LogLine {
    timeline: TimelineId,
    file: LogFile,
    segments: usize,
    stored_bytes: u64,
    /// Result of the deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

/// A backup that is not deleted.
pub(super) struct Staying<'a> {
    pub(super) entry: &'a Entry,
    /// Whether a pin alone keeps it.
    pub(super) only_pinned: bool,
    /// Whether it was deleted, but for the data that a reader still needs.
    pub(super) is_read: bool,
}

/// The files that go.
pub(super) struct Plan {
    objects: Objects,
    doomed: Vec<Doomed>,
    ended: Vec<TimelineId>,
    pub(super) page: LogPage,
}

/// Decides which files go; `None` if no log is archived. `suspended`: why nothing may be deleted.
pub(super) async fn plan(
    context: &Context,
    staying: &[Staying<'_>],
    suspended: Option<String>,
    now: Timestamp,
) -> Result<Option<Plan>> {
    let target = context.config.target.clone();
    let mut objects = Objects::outline(context.store.clone(), target).await?;
    let stretches = coverage::stretches(&objects).await?;
    if stretches.is_empty() {
        return Ok(None);
    }
    let base = |staying: &Staying<'_>| {
        let entry = staying.entry;
        let candidate = super::candidate(entry, now);
        Base {
            id: entry.id,
            snapshot_at: candidate.snapshot_at,
            place: FromHere::of(&entry.manifest, &stretches).place().cloned(),
            sound: entry.is_base(),
            verified: candidate.verified,
            only_pinned: staying.only_pinned,
            in_use: candidate.in_use || staying.is_read,
        }
    };
    let bases: Vec<Base> = staying.iter().map(base).collect();
    let decided = match suspended {
        Some(why) => Err(why),
        None => retention::decide(&bases, context.config.retention.log, now),
    };
    let (kept_from, why, doomed, ended) = match decided {
        Err(why) => (None, why, Vec::new(), Vec::new()),
        Ok(kept) => {
            let doomed = retention::doomed(&mut objects, &kept).await?;
            let ended = retention::ended(&objects, &kept);
            let from = From {
                timeline: kept.from.timeline,
                file: kept.from.file,
            };
            (Some(from), kept.why, doomed, ended)
        }
    };
    let line = |doomed: &Doomed| LogLine {
        timeline: doomed.timeline,
        file: doomed.file.clone(),
        segments: doomed.objects.segments.len(),
        stored_bytes: doomed.objects.bytes(),
        outcome: None,
    };
    let page = LogPage {
        kept_from,
        why,
        files: doomed.iter().map(line).collect(),
        bytes: 0,
        hidden: false,
    };
    Ok(Some(Plan {
        objects,
        doomed,
        ended,
        page,
    }))
}

impl Plan {
    /// Deletes the files, oldest first. The first failure ends it: a later file may not go before an earlier one.
    pub(super) async fn delete(&mut self) -> Option<Error> {
        for (doomed, line) in self.doomed.iter().zip(&mut self.page.files) {
            match retention::remove(&self.objects, doomed).await {
                Ok(deleted) => {
                    line.outcome = Some(Outcome::Deleted);
                    self.page.bytes += line.stored_bytes;
                    self.page.hidden |= deleted == Deleted::Hidden;
                }
                Err(error) => {
                    line.outcome = Some(Outcome::Failed);
                    let (timeline, file) = (doomed.timeline, &doomed.file);
                    tracing::warn!(%timeline, %file, %error, "cannot delete a file of the log");
                    let what = format!("cannot delete {file} of the archived log");
                    return Some(Error::from(error).context(what));
                }
            }
        }
        for id in &self.ended {
            if let Err(error) = retention::remove_timeline(&self.objects, *id).await {
                return Some(Error::from(error).context("cannot delete a timeline of the log"));
            }
        }
        None
    }
}

impl LogPage {
    /// The lines of the page.
    pub(super) fn text(&self, dry_run: bool) -> String {
        let rows: Vec<Vec<String>> = self.files.iter().map(LogLine::cells).collect();
        let mut page = String::new();
        if !rows.is_empty() {
            page.push_str(&text::table(&["", "LOG", ">SEGMENTS", ">STORED"], &rows));
        }
        let gone = |line: &&LogLine| line.outcome == Some(Outcome::Deleted);
        let (count, bytes, verb) = match dry_run {
            true => {
                let bytes = self.files.iter().map(|line| line.stored_bytes).sum();
                (self.files.len(), bytes, "would be deleted")
            }
            false => (
                self.files.iter().filter(gone).count(),
                self.bytes,
                "deleted",
            ),
        };
        let kept = match &self.kept_from {
            Some(from) => format!("from {}/{} on for {}", from.timeline, from.file, self.why),
            None => format!("whole: {}", self.why),
        };
        page.push_str(&format!(
            "log: {} {verb}, {}; kept {kept}\n",
            text::counted(count as u64, "file"),
            text::bytes(bytes),
        ));
        page
    }
}

impl LogLine {
    fn cells(&self) -> Vec<String> {
        let fate = match self.outcome {
            None => "delete",
            Some(Outcome::Failed) => "FAILED",
            Some(Outcome::Deleted | Outcome::Unlisted) => "deleted",
        };
        vec![
            fate.to_owned(),
            format!("{}/{}", self.timeline, self.file),
            text::count(self.segments as u64),
            text::bytes(self.stored_bytes),
        ]
    }
}
