//! The report of one drill, as it is put beside the backup.
//!
//! It is written by drills and by restores of a whole backup that ended with their proof, and read
//! by `report` and `serve`: fields are added, and never change their meaning.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::manifest::Manifest;
use crate::error::Outcome;
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::{self, Basis, DrillTime, Rto};
use crate::proof::compare::{Comparison, Difference};
use crate::store::keys::{BackupId, DrillLevel, DrillName, DrillVerdict, TargetName};

/// The number of the report's form.
pub const REPORT: u32 = 1;

/// How many differences a report lists; it says how many there are.
const MAX_DIFFERENCES: usize = 200;

/// The evidence of one drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrillReport {
    /// The number of this form: [`REPORT`].
    pub report: u32,
    /// The version of drctl that ran the drill.
    pub drctl: String,
    /// Whose backup it is.
    #[schemars(with = "String")]
    pub target: TargetName,
    /// Which backup.
    #[schemars(with = "String")]
    pub backup: BackupId,
    /// When its data were as they are in it.
    pub snapshot_at: Timestamp,
    /// When it was complete.
    pub committed_at: Timestamp,
    /// How much was proven.
    pub level: DrillLevel,
    /// How it ended.
    pub verdict: DrillVerdict,
    /// The exit code of the run.
    pub exit: u8,
    /// Its one line, where it did not pass.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How the data were loaded; none at the level of the archive.
    pub path: Option<LoadPath>,
    /// The server they were loaded into; none at the level of the archive.
    pub scratch: Option<ScratchFacts>,
    /// What it did, in order, and for how long.
    pub stages: Vec<Stage>,
    /// All stages together, seconds of wall-clock time.
    pub drill_seconds: f64,
    /// How long a restore takes, held against its objective.
    pub rto: Option<RtoFigure>,
    /// How much data disasters would have cost, held against its objective.
    pub rpo: Option<RpoFigure>,
    /// Objectives that are missed, a line each.
    pub misses: Vec<String>,
    /// How much was proven: rows, objects, bytes.
    pub proven: Proven,
    /// Where the server was not equal to the dump.
    pub differences: Vec<Difference>,
    /// How many differences there were, also those that are not listed.
    pub differences_total: u64,
    /// The user's assertions and drctl's own checks.
    pub checks: Vec<Check>,
    /// What its reader should know.
    pub warnings: Vec<String>,
    /// What the backup consists of, by which an auditor finds it again.
    pub evidence: Evidence,
}

/// How rows get into the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadPath {
    /// drctl's own: several connections, keys afterwards.
    Lanes,
    /// The plain client, as somebody without drctl would.
    Client,
}

/// How a scratch server is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// As fast as can be: nothing survives a crash of it.
    #[default]
    Relaxed,
    /// With the durability of the server that was backed up.
    Production,
    /// As it was found.
    AsIs,
}

impl Profile {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Relaxed => "relaxed",
            Profile::Production => "production",
            Profile::AsIs => "as it is",
        }
    }
}

/// The server that the data were loaded into.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScratchFacts {
    /// `local`, `pod`, `given`, or `restore` for a server that was restored for its own sake.
    pub kind: String,
    /// What it is: `MySQL 9.7.4`.
    pub version: String,
    /// How it was set up.
    pub profile: Profile,
    /// The settings that make up the profile.
    pub settings: BTreeMap<String, String>,
}

impl ScratchFacts {
    /// The kind of a server that was restored for its own sake.
    pub const RESTORED: &str = "restore";
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Its name: `locate`, `boot`, a pass of the restore, `checks`, `teardown`.
    pub name: String,
    /// Seconds of wall-clock time.
    pub seconds: f64,
}

impl Stage {
    /// Stages that belong to a drill, and to no restore.
    const OF_DRILLS: [&str; 2] = ["checks", "teardown"];

    /// Whether a restore that matters has this stage, too.
    pub fn counts_for_rto(&self) -> bool {
        !Self::OF_DRILLS.contains(&self.name.as_str())
    }
}

/// How long a restore takes: all that a machine does, from the first look into the store to the
/// proof. Detection, decision and the switch of traffic are not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RtoFigure {
    /// Seconds.
    pub seconds: f64,
    /// What they rest on.
    pub basis: RtoBasis,
    /// The ratio of an estimate: a production drill's seconds to a relaxed one's.
    pub ratio: Option<f64>,
    /// The objective, seconds, where one is declared.
    pub objective_seconds: Option<f64>,
}

/// What an RTO rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RtoBasis {
    /// A drill under the production profile.
    Measured,
    /// A relaxed drill, times the ratio that was measured last.
    Estimated,
    /// A relaxed drill alone: a real restore takes longer.
    AtLeast,
}

impl RtoFigure {
    /// As it is kept, beside what was declared.
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

/// How much data disasters would have cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RpoFigure {
    /// The largest gap of the window, seconds; none where there never was a backup.
    pub worst_seconds: Option<f64>,
    /// Its beginning: a snapshot.
    pub worst_from: Option<Timestamp>,
    /// Its end: the commit of the next one, or now.
    pub worst_to: Option<Timestamp>,
    /// The window, days.
    pub window_days: u32,
    /// The age of the newest proven snapshot, this drill's included, seconds.
    pub proven_seconds: Option<f64>,
    /// The objective, seconds, where one is declared.
    pub objective_seconds: Option<f64>,
    /// The objective of the proven one, likewise.
    pub proven_objective_seconds: Option<f64>,
}

/// How much was proven.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proven {
    /// Rows that were compared with the dump's.
    pub rows: u64,
    /// Tables that were compared.
    pub tables: u64,
    /// Other objects that were compared.
    pub objects: u64,
    /// Bytes of SQL in the backup.
    pub raw_bytes: u64,
}

/// One check of the restored data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was expected, for a person.
    pub expected: String,
    /// What was found, or why it could not be asked.
    pub found: String,
}

/// What a backup consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What the backup says of the server: `MySQL 9.7.4`, and its identity.
    pub server: String,
    /// The program that dumped it.
    pub dumped_by: String,
    /// SHA-256 of each of its objects, by their names.
    pub sha256: BTreeMap<String, String>,
    /// `none`: whoever can write the store can forge a backup.
    pub signature: String,
}

impl Evidence {
    /// Of a backup.
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
                .map(|file| (file.name.clone(), file.sha256.clone()))
                .collect(),
            signature: manifest.signature.clone(),
        }
    }
}

impl DrillReport {
    /// An empty one of a drill that begins now.
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
            proven: Proven {
                raw_bytes: manifest.totals.raw_bytes,
                ..Proven::default()
            },
            differences: Vec::new(),
            differences_total: 0,
            checks: Vec::new(),
            warnings: lossy
                .map(|column| format!("the dump does not carry it exactly: {column}"))
                .collect(),
            evidence: Evidence::of(manifest),
        }
    }

    /// Takes in what a comparison found.
    pub fn take_comparison(&mut self, comparison: Comparison) {
        self.proven.rows = comparison.rows_found;
        self.proven.tables = comparison.tables;
        self.proven.objects = comparison.objects;
        self.differences_total = comparison.differences.len() as u64;
        self.differences = comparison.differences;
        self.differences.truncate(MAX_DIFFERENCES);
    }

    /// Notes something for its reader, once.
    pub fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Seconds of the stages that a restore has, too.
    pub fn restore_seconds(&self) -> f64 {
        let stages = self.stages.iter().filter(|stage| stage.counts_for_rto());
        stages.map(|stage| stage.seconds).sum()
    }

    /// What of it tells how long a restore takes: drctl's own way, on a server whose settings are known.
    pub fn time(&self) -> Option<DrillTime> {
        let profile = match self.scratch.as_ref()?.profile {
            Profile::Production => rpo_rto::Profile::Production,
            Profile::Relaxed | Profile::AsIs => rpo_rto::Profile::Relaxed,
        };
        (self.path == Some(LoadPath::Lanes)).then_some(DrillTime {
            ended_at: self.ended_at,
            profile,
            seconds: self.restore_seconds(),
        })
    }

    /// Whether it is of a server that was restored for its own sake, and no drill.
    pub fn is_of_restore(&self) -> bool {
        let scratch = self.scratch.as_ref();
        scratch.is_some_and(|scratch| scratch.kind == ScratchFacts::RESTORED)
    }

    /// The name of its object.
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

    /// docs/report.schema.json is made from this model.
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
