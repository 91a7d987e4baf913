//! Declared objectives, RPO and RTO, and their comparison with actual figures.
//!
//! No I/O: the clock is an argument, and nothing here reads a store or a server.
//!
//! - [`schedule`]: scheduled times, and the largest gap between two of them.
//! - [`rpo_rto`]: figures from backups and drills, and their comparison with the objectives.

mod field;
pub mod rpo_rto;
pub mod schedule;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::util::times::{MOST_SECONDS, Seconds, signed};

/// The objectives, section `objectives` of the configuration. `None` means not declared and not checked, except
/// for `verified_rpo`, which has a default if drills are scheduled: [`rpo_rto::with_default_verified_rpo`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Objectives {
    /// Maximum age of the data that a disaster may cost, compared with the worst gap of the last 30 days. Default:
    /// not checked.
    #[serde(rename = "rpo_seconds", deserialize_with = "span")]
    #[schemars(with = "Option<Seconds>", range(min = 1, max = MOST_SECONDS))]
    pub rpo: Option<SignedDuration>,
    /// Maximum duration of a restore. Default: not checked.
    #[serde(rename = "rto_seconds", deserialize_with = "span")]
    #[schemars(with = "Option<Seconds>", range(min = 1, max = MOST_SECONDS))]
    pub rto: Option<SignedDuration>,
    /// Maximum age of the newest verified data. Default: an interval of drills, one of backups and the duration of
    /// a drill, if `schedule.verify` is set.
    #[serde(rename = "verified_rpo_seconds", deserialize_with = "span")]
    #[schemars(with = "Option<Seconds>", range(min = 1, max = MOST_SECONDS))]
    pub verified_rpo: Option<SignedDuration>,
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    let seconds = Option::<Seconds>::deserialize(deserializer)?;
    Ok(seconds.map(|seconds| signed(seconds.duration())))
}
