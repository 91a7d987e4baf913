//! What a restore would do, for its user to read before it does: touches nothing.

use serde::Serialize;

use crate::apply::checks::Case;
use crate::apply::lane::another_runs;
use crate::apply::options::{RestoreOptions, Tuning};
use crate::apply::refusal::{Refusal, refused};
use crate::archive::read::Archive;
use crate::error::Error;
use crate::sql::statement::{ObjectId, ObjectKind};

/// Bytes of SQL a second that two lanes load into an ordinary server: for the estimate of a first
/// restore.
const USUAL_RATE: f64 = 25e6;

/// What a restore would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestorePlan {
    /// The backup's id.
    pub backup: String,
    /// The server, as it calls itself.
    pub server: String,
    /// Whether an unfinished restore of the same would be resumed.
    pub resumes: bool,
    /// The backup whose unfinished restore would be dropped first.
    pub discards: Option<String>,
    /// Tables that would be restored.
    pub tables: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of SQL of those rows.
    pub raw_bytes: u64,
    /// Bytes that data and keys took where they were dumped: what the disk needs.
    pub disk_bytes: u64,
    /// Bytes that the binary log would grow by, about; 0 where nothing is logged.
    pub binlog_bytes: u64,
    /// How long it would take, in seconds, without the proof.
    pub estimated_seconds: f64,
    /// Where the estimate comes from.
    pub estimated_from: &'static str,
    /// How the archive is checked.
    pub check: &'static str,
    /// What would be created.
    pub creates: Vec<ObjectId>,
    /// What exists and would be replaced.
    pub replaces: Vec<ObjectId>,
    /// Definers that the objects need, and whether the server has them, where that is known.
    pub definers: Vec<(String, Option<bool>)>,
    /// Settings of the server that would be changed meanwhile.
    pub settings: Vec<&'static str>,
    /// What its user should know.
    pub warnings: Vec<String>,
    /// What must be settled first.
    pub refusals: Vec<Refusal>,
    /// Whether another restore into the server is running: what is said of the server changes meanwhile.
    pub running: bool,
}

impl RestorePlan {
    /// Puts together what is known.
    pub fn new(
        archive: &Archive,
        options: &RestoreOptions,
        case: &Case<'_>,
        resumes: bool,
        discards: Option<String>,
    ) -> Self {
        let (manifest, contents) = (archive.manifest(), archive.contents());
        let rows: u64 = contents
            .ledger
            .iter()
            .filter(|(object, _)| options.scope.takes_table(&object.schema, &object.name))
            .filter_map(|(_, entry)| entry.rows)
            .map(|sum| sum.rows)
            .sum();
        // Rows are taken to be of one size: frames tell bytes, and not by table.
        let share = rows as f64 / manifest.totals.rows.max(1) as f64;
        let raw_bytes = (manifest.totals.raw_bytes as f64 * share) as u64;
        let listed: u64 = contents
            .inventory
            .iter()
            .filter(|entry| options.scope.takes(&entry.object, None))
            .map(|entry| entry.bytes)
            .sum();
        let logged = options.binlog && case.facts.is_on("log_bin");
        RestorePlan {
            backup: manifest.id.to_string(),
            server: case.facts.version.to_string(),
            resumes,
            discards,
            tables: case
                .creates
                .iter()
                .filter(|object| object.kind == ObjectKind::Table)
                .count() as u64,
            rows,
            raw_bytes,
            disk_bytes: listed,
            binlog_bytes: if logged { raw_bytes } else { 0 },
            estimated_seconds: raw_bytes as f64 / USUAL_RATE,
            estimated_from: "a usual server with two cores",
            check: options.check.says(),
            creates: case.creates.iter().cloned().collect(),
            replaces: if options.overwrite {
                case.in_the_way()
            } else {
                Vec::new()
            },
            definers: case
                .definers
                .keys()
                .map(|account| {
                    let there = case
                        .facts
                        .accounts
                        .as_ref()
                        .map(|all| all.contains(account));
                    (account.to_string(), there)
                })
                .collect(),
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
            warnings: case.warnings(),
            refusals: case.refusals(),
            running: false,
        }
    }

    /// Why the restore would end at once: another one runs (exit 11), or it is refused (exit 9).
    pub fn stops(&self) -> Option<Error> {
        match self.running {
            true => Some(another_runs()),
            false => refused(&self.refusals),
        }
    }
}
