//! The plan of a restore: what it would do, computed without changing anything.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::archive::read::Archive;
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::refusal::{Refusal, refused};
use crate::restore::options::{RestoreOptions, Tuning};
use crate::restore::report::PlannedReplay;
use crate::restore::session::lane::another_runs;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::error::Error;
use crate::util::format::counted;

/// Bytes of SQL per second that two lanes load into an ordinary server.
const ESTIMATED_RATE: f64 = 25e6;

/// What a restore would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestorePlan {
    /// Id of the backup.
    pub backup: String,
    /// Product and version of the destination.
    pub server: String,
    /// Whether an unfinished restore with the same request would be resumed.
    pub resumes: bool,
    /// Id of the backup whose unfinished restore would be dropped first.
    pub discards: Option<String>,
    /// Number of tables.
    pub tables: u64,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of SQL of those rows.
    pub raw_bytes: u64,
    /// Bytes of data and keys on the target: an estimate of the required disk space.
    pub disk_bytes: u64,
    /// Estimated growth of the binary log in bytes; 0 if the restore is not logged.
    pub binlog_bytes: u64,
    /// Estimated duration in seconds, without the comparison.
    pub estimated_seconds: f64,
    /// Basis of the estimate.
    pub estimated_from: &'static str,
    /// How the archive is checked.
    pub check: &'static str,
    /// Objects that would be created.
    pub creates: Vec<ObjectId>,
    /// Existing objects that would be replaced.
    pub replaces: Vec<ObjectId>,
    /// Definers of the objects, and whether they exist; `None` if accounts cannot be read.
    pub definers: Vec<(String, Option<bool>)>,
    /// The binary log that would be replayed behind the backup; `None` if none would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<PlannedReplay>,
    /// Server settings that would be changed during the restore.
    pub settings: Vec<&'static str>,
    /// Warnings for the operator; those of the backup itself begin with `backup: `.
    pub warnings: Vec<String>,
    /// Conditions that must be resolved first.
    pub refusals: Vec<Refusal>,
    /// Whether another restore into the server is running, so that its state is changing.
    pub running: bool,
}

impl RestorePlan {
    /// Computes the plan.
    pub fn new(
        archive: &Archive,
        options: &RestoreOptions,
        checks: &Checks<'_>,
        resumes: bool,
        discards: Option<String>,
    ) -> Self {
        let (manifest, contents) = (archive.manifest(), archive.contents());
        let rows: u64 = contents
            .ledger
            .iter()
            .filter(|(object, _)| options.scope.includes_table(&object.schema, &object.name))
            .filter_map(|(_, entry)| entry.rows)
            .map(|sum| sum.rows)
            .sum();
        // Assumes rows of equal size: the index has bytes per frame, not per table.
        let share = rows as f64 / manifest.totals.rows.max(1) as f64;
        let raw_bytes = (manifest.totals.raw_bytes as f64 * share) as u64;
        let disk_bytes: u64 = contents
            .inventory
            .iter()
            .filter(|entry| options.scope.includes(&entry.object, None))
            .map(|entry| entry.bytes)
            .sum();
        let logged = options.binlog && checks.facts.is_on("log_bin");
        RestorePlan {
            backup: manifest.id.to_string(),
            server: checks.facts.version.to_string(),
            resumes,
            discards,
            tables: checks
                .survey
                .creates
                .iter()
                .filter(|object| object.kind == ObjectKind::Table)
                .count() as u64,
            rows,
            raw_bytes,
            disk_bytes,
            binlog_bytes: if logged { raw_bytes } else { 0 },
            estimated_seconds: raw_bytes as f64 / ESTIMATED_RATE,
            estimated_from: "a usual server with two cores",
            check: options.check.description(),
            creates: checks.survey.creates.iter().cloned().collect(),
            replaces: if options.destination.permissions().overwrite {
                checks.conflicts()
            } else {
                Vec::new()
            },
            definers: checks
                .survey
                .definers
                .keys()
                .map(|account| {
                    let exists = checks
                        .facts
                        .accounts
                        .as_ref()
                        .map(|all| all.contains(account));
                    (account.to_string(), exists)
                })
                .collect(),
            replay: options
                .replay
                .as_ref()
                .map(|stretch| PlannedReplay::of(&stretch.resolved)),
            settings: match options.tuning {
                Tuning::Keep => Vec::new(),
                Tuning::FastUnsafe => vec!["innodb_flush_log_at_trx_commit", "sync_binlog"],
                Tuning::Scratch => {
                    vec![
                        "innodb_flush_log_at_trx_commit",
                        "sync_binlog",
                        "the InnoDB redo log",
                    ]
                }
            },
            warnings: {
                let mut warnings = checks.warnings();
                warnings.extend(of_backup(archive));
                warnings
            },
            refusals: checks.refusals(),
            running: false,
        }
    }

    /// The error that prevents the restore: another restore is running (exit 11), or a refusal (exit 9).
    pub fn blocker(&self) -> Option<Error> {
        if self.running {
            Some(another_runs())
        } else {
            refused(&self.refusals)
        }
    }
}

/// What the backup itself reports: values that its dump does not represent, and objects that a restore does
/// not bring back.
fn of_backup(archive: &Archive) -> Vec<String> {
    let (manifest, contents) = (archive.manifest(), archive.contents());
    // The index has all of them, the manifest the first ones.
    let all = |prefix: &str, whole: &[String], first: &[String]| {
        let lines = if whole.is_empty() { first } else { whole };
        first_of(prefix, lines, &manifest.id.to_string())
    };
    let mut lines = all("backup: lossy: ", &contents.lossy, &manifest.lossy);
    lines.extend(all("backup: ", &contents.warnings, &manifest.warnings));
    lines
}

/// The first lines of a list, once each, and how many more there are; each with a prefix.
fn first_of(prefix: &str, lines: &[String], backup: &str) -> Vec<String> {
    const SHOWN: usize = 10;
    let mut seen = BTreeSet::new();
    let mut unique = lines.iter().filter(|line| seen.insert(line.as_str()));
    let shown = unique.by_ref().take(SHOWN);
    let mut shown: Vec<String> = shown.map(|line| format!("{prefix}{line}")).collect();
    let more = unique.count() as u64;
    if more > 0 {
        shown.push(format!(
            "{prefix}and {}: drctl show {backup}",
            counted(more, "more line")
        ));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_the_first_lines_of_the_backup_once_each() {
        let lines = |count: usize| -> Vec<String> {
            let twice = (0..count).flat_map(|n| [n, n]);
            twice.map(|n| format!("line {n}")).collect()
        };
        assert_eq!(first_of("backup: ", &[], "x"), Vec::<String>::new());
        assert_eq!(
            first_of("backup: ", &lines(2), "x"),
            ["backup: line 0", "backup: line 1"]
        );
        assert_eq!(first_of("", &lines(10), "x").len(), 10);
        let many = first_of("backup: ", &lines(13), "x");
        assert_eq!(many.len(), 11);
        assert_eq!(many[10], "backup: and 3 more lines: drctl show x");
    }
}
