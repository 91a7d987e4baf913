//! The report of one drill, as stored with the backup.
//!
//! Written by drills, and by verified restores of a whole backup; read by `report` and `serve`. Fields may
//! be added; existing ones never change their meaning.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::manifest::Manifest;
use crate::comparison::compare::{Comparison, Difference};
use crate::layout::{BackupId, DrillLevel, DrillName, DrillVerdict, TargetName};
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::{self, Basis, DrillTime, Rto};
use crate::util::error::Outcome;
use crate::util::lines::UniqueLines;

/// Version of the report format.
pub const REPORT: u32 = 1;

/// Maximum number of differences listed in a report; their total is given separately.
const MAX_DIFFERENCES: usize = 200;

/// The report of one drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrillReport {
    /// Version of the report format: [`REPORT`].
    pub report: u32,
    /// Version of drctl that ran the drill.
    pub drctl: String,
    /// The target of the backup.
    #[schemars(with = "String")]
    pub target: TargetName,
    /// Id of the backup.
    #[schemars(with = "String")]
    pub backup: BackupId,
    /// Time of the backup's snapshot.
    pub snapshot_at: Timestamp,
    /// When the backup was committed.
    pub committed_at: Timestamp,
    /// What was verified.
    pub level: DrillLevel,
    /// Result of the drill.
    pub verdict: DrillVerdict,
    /// Exit code of the run.
    pub exit: u8,
    /// Error line of the run, if it did not pass.
    pub error: Option<String>,
    /// When the drill began.
    pub started_at: Timestamp,
    /// When the drill ended.
    pub ended_at: Timestamp,
    /// How the data were loaded; null for an archive-only drill.
    pub path: Option<LoadPath>,
    /// The server that the data were loaded into; null for an archive-only drill.
    pub scratch: Option<ScratchFacts>,
    /// The stages of the drill, in order.
    pub stages: Vec<Stage>,
    /// Duration of all stages, in seconds of wall-clock time.
    pub drill_seconds: f64,
    /// Duration of a restore, with its objective.
    pub rto: Option<RtoFigure>,
    /// Data loss of past or possible disasters, with its objective.
    pub rpo: Option<RpoFigure>,
    /// Missed objectives, a line each.
    pub misses: Vec<String>,
    /// How much was verified: rows, objects, bytes.
    pub verified: Verified,
    /// Differences between the server and the dump; once a log was replayed, the dump of the later backup.
    pub differences: Vec<Difference>,
    /// Total number of differences, including those not listed.
    pub differences_total: u64,
    /// The user's assertions and drctl's own checks.
    pub checks: Vec<Check>,
    /// The binary log that was replayed behind the backup; null unless the drill got that far.
    #[serde(default)]
    pub replay: Option<Replay>,
    /// The archived binary log as it was checked without a server; null unless the drill did that.
    #[serde(default)]
    pub log: Option<CheckedLog>,
    /// Warnings for the reader of the report.
    #[schemars(with = "Vec<String>")]
    pub warnings: UniqueLines,
    /// Identification of the backup's contents, for an auditor.
    pub evidence: Evidence,
}

/// How rows are loaded into the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadPath {
    /// By drctl: several connections, keys added afterwards.
    Lanes,
    /// By the plain client, as in a restore without drctl.
    Client,
}

/// Durability settings of a scratch server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Fastest: the data do not survive a crash of the server.
    #[default]
    Relaxed,
    /// The durability settings of the target.
    Production,
    /// Unchanged.
    AsIs,
}

impl Profile {
    /// The name of the profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Relaxed => "relaxed",
            Profile::Production => "production",
            Profile::AsIs => "unchanged",
        }
    }
}

/// The server that the data were loaded into.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScratchFacts {
    /// `local`, `pod`, `external`, or `restore` for a restore outside a drill.
    pub kind: String,
    /// Product and version: `MySQL 9.7.4`.
    pub version: String,
    /// Its durability settings.
    pub profile: Profile,
    /// The values of the settings that the profile covers.
    pub settings: BTreeMap<String, String>,
}

impl ScratchFacts {
    /// `kind` of the destination of a restore outside a drill.
    pub const RESTORED: &str = "restore";
}

/// One stage of a drill or restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// `locate`, `boot`, a pass of the restore, `find-log`, `replay`, `compare-log`, `checks`,
    /// `replay-beyond` or `teardown`.
    pub name: String,
    /// Duration in seconds of wall-clock time.
    pub seconds: f64,
}

impl Stage {
    /// `find-log`: what of the log to replay.
    pub const FIND_LOG: &str = "find-log";

    /// `compare-log`: the comparison with the later backup.
    pub const COMPARE_LOG: &str = "compare-log";

    /// `replay-beyond`: the log behind the later backup.
    pub const REPLAY_BEYOND: &str = "replay-beyond";

    /// Stages that only drills have.
    const OF_DRILLS: [&str; 4] = [
        "checks",
        "teardown",
        Stage::COMPARE_LOG,
        Stage::REPLAY_BEYOND,
    ];

    /// Stages of a restore to a moment.
    const OF_LOG: [&str; 2] = [Stage::FIND_LOG, "replay"];

    /// Whether a real restore of a backup has this stage, too.
    pub fn counts_for_rto(&self) -> bool {
        self.counts_with_log() && !Self::OF_LOG.contains(&self.name.as_str())
    }

    /// Whether a real restore to a moment has this stage, too.
    pub fn counts_with_log(&self) -> bool {
        !Self::OF_DRILLS.contains(&self.name.as_str())
    }
}

/// Duration of a restore: all automated work, from the first access to the store to the end of the
/// comparison. Excludes detection, decision and switching traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RtoFigure {
    /// Duration in seconds.
    pub seconds: f64,
    /// What the duration is based on.
    pub basis: RtoBasis,
    /// For an estimate, the ratio of a production drill's duration to a relaxed one's.
    pub ratio: Option<f64>,
    /// The objective in seconds; null if none is declared.
    pub objective_seconds: Option<f64>,
}

/// What an RTO is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RtoBasis {
    /// A drill under the production profile.
    Measured,
    /// A relaxed drill, multiplied by the last measured ratio.
    Estimated,
    /// A relaxed drill only: a real restore takes longer.
    AtLeast,
}

impl RtoFigure {
    /// The figure as stored, with its declared objective.
    pub fn of(rto: &Rto, objectives: &Objectives) -> RtoFigure {
        let (basis, ratio) = match rto.basis {
            Basis::Measured => (RtoBasis::Measured, None),
            Basis::Estimated { ratio } => (RtoBasis::Estimated, Some(ratio)),
            Basis::AtLeast => (RtoBasis::AtLeast, None),
        };
        RtoFigure {
            seconds: rto.seconds,
            basis,
            ratio,
            objective_seconds: objectives.rto.map(|span| span.as_secs_f64()),
        }
    }
}

/// Data loss of past or possible disasters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RpoFigure {
    /// The largest gap in the window, in seconds; null if there never was a backup.
    pub worst_seconds: Option<f64>,
    /// Start of that gap: a snapshot.
    pub worst_from: Option<Timestamp>,
    /// End of that gap: the commit of the next backup, or now.
    pub worst_to: Option<Timestamp>,
    /// The window in days.
    pub window_days: u32,
    /// Age in seconds of the newest verified snapshot, including this drill's.
    pub verified_seconds: Option<f64>,
    /// The objective in seconds; null if none is declared.
    pub objective_seconds: Option<f64>,
    /// The objective for verified data in seconds; null if none is declared.
    pub verified_objective_seconds: Option<f64>,
}

/// How much was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// Rows compared with the dump.
    pub rows: u64,
    /// Tables compared.
    pub tables: u64,
    /// Other objects compared.
    pub objects: u64,
    /// Bytes of the dump.
    pub raw_bytes: u64,
}

impl Verified {
    /// Takes what a comparison covered.
    pub fn set(&mut self, comparison: &Comparison) {
        self.rows = comparison.rows_found;
        self.tables = comparison.tables;
        self.objects = comparison.objects;
    }
}

/// A stretch of the binary log, replayed behind the backup up to the place of a later one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The later backup, with whose dump the replayed data were compared.
    #[schemars(with = "String")]
    pub until_backup: BackupId,
    /// Time of the later backup's snapshot: up to here the log is verified, if `equal`.
    pub until: Timestamp,
    /// The timeline of the log.
    pub timeline: String,
    /// Replayed transactions.
    pub transactions: u64,
    /// Bytes of these transactions in the log.
    pub bytes: u64,
    /// Duration of the replay, in seconds.
    pub seconds: f64,
    /// Replayed transactions per second.
    pub transactions_per_second: f64,
    /// Replayed bytes of the log per second.
    pub bytes_per_second: f64,
    /// Duration in seconds of a restore with this replay: all stages but checks, teardown, and the comparison with the
    /// later backup.
    pub rto_seconds: f64,
    /// The first statements that were not replayed: of accounts and the server's own tables.
    pub refused: Vec<RefusedStatement>,
    /// Number of all statements that were not replayed.
    pub refused_total: u64,
    /// How much was compared with the later backup: rows, objects, and the bytes of SQL in that backup.
    pub compared: Verified,
    /// Whether everything was equal to the later backup's dump; false also if nothing was compared.
    pub equal: bool,
    /// The log behind the later backup, replayed without anything to compare the result with; null if there was none.
    #[serde(default)]
    pub beyond: Option<Beyond>,
}

/// A stretch of the binary log that was replayed, not verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Beyond {
    /// Time of the last commit.
    pub until: Timestamp,
    /// Replayed transactions.
    pub transactions: u64,
    /// Bytes of these transactions in the log.
    pub bytes: u64,
}

/// A statement of the binary log that was not replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedStatement {
    /// GTID of its transaction.
    pub gtid: String,
    /// What it is: `GRANT`, `DROP TABLE mysql.x`.
    pub what: String,
}

/// The archived binary log, checked without a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckedLog {
    /// Unbroken stretches.
    pub timelines: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of the binary log.
    pub bytes: u64,
    /// Transactions.
    pub transactions: u64,
    /// Beginning of the newest stretch; null for an empty log.
    pub from: Option<Timestamp>,
    /// Up to when every commit of the newest stretch is archived.
    pub until: Option<Timestamp>,
}

/// One check of the restored data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Name of the check.
    pub name: String,
    /// Whether the check passed.
    pub passed: bool,
    /// The expected result, as text.
    pub expected: String,
    /// The actual result, or why it could not be determined.
    pub found: String,
}

/// Identification of a backup's contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The target server as recorded in the backup: `MySQL 9.7.4`, and its identity.
    pub server: String,
    /// The dump program and its version.
    pub dumped_by: String,
    /// SHA-256 of each object of the backup, by name.
    pub sha256: BTreeMap<String, String>,
    /// `none`: any writer to the store can forge a backup.
    pub signature: String,
    /// Who signed the backup, or why that is not known; null in reports of older versions.
    #[serde(default)]
    pub signed: Option<String>,
    /// By public key, when a drill last decrypted a backup with the identity, as far as this drill and those before it know.
    #[serde(default)]
    pub identities: BTreeMap<String, Timestamp>,
}

impl Evidence {
    /// The identification of a backup, from its manifest.
    pub fn of(manifest: &Manifest) -> Evidence {
        let files = manifest.segments.iter().chain(&manifest.accounts);
        Evidence {
            server: format!(
                "{} {} ({})",
                manifest.server.flavour, manifest.server.version, manifest.server.identity
            ),
            dumped_by: format!("{} {}", manifest.client.name, manifest.client.version),
            sha256: files
                .chain([&manifest.index])
                .map(|file| (file.name.clone(), file.sha256.to_string()))
                .collect(),
            signature: manifest.signature.clone(),
            signed: None,
            identities: BTreeMap::new(),
        }
    }
}

impl DrillReport {
    /// An empty report of a drill that begins now.
    pub fn begin(manifest: &Manifest, level: DrillLevel, now: Timestamp) -> DrillReport {
        let lossy = manifest.lossy.iter();
        DrillReport {
            report: REPORT,
            drctl: env!("CARGO_PKG_VERSION").to_owned(),
            target: manifest.target.clone(),
            backup: manifest.id,
            snapshot_at: manifest.snapshot_at,
            committed_at: manifest.finished_at,
            level,
            verdict: DrillVerdict::Broken,
            exit: Outcome::Unexpected.code(),
            error: None,
            started_at: now,
            ended_at: now,
            path: None,
            scratch: None,
            stages: Vec::new(),
            drill_seconds: 0.0,
            rto: None,
            rpo: None,
            misses: Vec::new(),
            verified: Verified {
                raw_bytes: manifest.totals.raw_bytes,
                ..Verified::default()
            },
            differences: Vec::new(),
            differences_total: 0,
            checks: Vec::new(),
            replay: None,
            log: None,
            warnings: lossy
                .map(|column| format!("the dump does not preserve exact values of {column}"))
                .collect(),
            evidence: Evidence::of(manifest),
        }
    }

    /// Adds the result of a comparison with the backup.
    pub fn set_comparison(&mut self, comparison: Comparison) {
        self.verified.set(&comparison);
        self.set_differences(comparison);
    }

    /// Replaces the differences.
    pub fn set_differences(&mut self, comparison: Comparison) {
        self.differences_total = comparison.differences.len() as u64;
        self.differences = comparison.differences;
        self.differences.truncate(MAX_DIFFERENCES);
    }

    /// Adds a warning, unless it is already there.
    pub fn warn(&mut self, warning: String) {
        self.warnings.add(warning);
    }

    /// Total duration in seconds of the stages that a restore has, too.
    pub fn restore_seconds(&self) -> f64 {
        let stages = self.stages.iter().filter(|stage| stage.counts_for_rto());
        stages.map(|stage| stage.seconds).sum()
    }

    /// Sets the duration of a restore with the replay, once all stages are known.
    pub fn sum_up_replay(&mut self) {
        let stages = self.stages.iter().filter(|stage| stage.counts_with_log());
        let seconds = stages.map(|stage| stage.seconds).sum();
        if let Some(replay) = &mut self.replay {
            replay.rto_seconds = seconds;
        }
    }

    /// The duration as a data point of the RTO; `None` unless loaded by drctl on a server with known
    /// settings, and of a drill that replayed a log.
    pub fn drill_time(&self) -> Option<DrillTime> {
        let profile = match self.scratch.as_ref()?.profile {
            Profile::Production => rpo_rto::Profile::Production,
            Profile::Relaxed | Profile::AsIs => rpo_rto::Profile::Relaxed,
        };
        let is_of_restore = self.path != Some(LoadPath::Client) && self.replay.is_none();
        is_of_restore.then_some(DrillTime {
            ended_at: self.ended_at,
            profile,
            seconds: self.restore_seconds(),
        })
    }

    /// Whether the report is of a restore outside a drill.
    pub fn is_of_restore(&self) -> bool {
        let scratch = self.scratch.as_ref();
        scratch.is_some_and(|scratch| scratch.kind == ScratchFacts::RESTORED)
    }

    /// Name of the report's object.
    pub fn name(&self) -> DrillName {
        DrillName {
            time: self.ended_at,
            level: self.level,
            verdict: self.verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/report.schema.json is generated from this model.
    #[test]
    fn the_published_schema_is_that_of_the_model() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(DrillReport)).unwrap();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/report.schema.json");
        if std::env::var_os("DRCTL_WRITE_DOCS").is_some() {
            std::fs::write(file, format!("{schema}\n")).unwrap();
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == format!("{schema}\n"), "run make docs");
    }
}
