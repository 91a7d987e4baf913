//! The section `retention`: which backups stay, and for how long the evidence of those that went.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::config::key::{ConfigKey, Form, key};
use crate::error::Result;
use crate::retention::Rules;
use crate::times::days;

/// The keys of retention, in the order of the documentation.
pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "retention.last",
        Form::Scalar,
        "`prune` keeps so many of the newest backups. Of this and the next five keys one at least is needed.",
    ),
    key(
        "retention.daily",
        Form::Scalar,
        "It keeps the newest of each of so many days that have a backup.",
    ),
    key(
        "retention.weekly",
        Form::Scalar,
        "As `daily`, of weeks that begin on Monday.",
    ),
    key("retention.monthly", Form::Scalar, "As `daily`, of months."),
    key("retention.yearly", Form::Scalar, "As `daily`, of years."),
    key(
        "retention.within_days",
        Form::Scalar,
        "It keeps all that are at most so many days older than the newest one.",
    ),
    key(
        "retention.labels",
        Form::Pairs,
        "It keeps all that carry one of these labels.",
    ),
    key(
        "retention.proven",
        Form::Scalar,
        "It keeps so many of the newest that a restore verified. Default 2; the newest of them always stays.",
    ),
    key(
        "retention.suspect_days",
        Form::Scalar,
        "How long a suspect backup, or one that failed a drill, waits for somebody to look at it. Default 14.",
    ),
    key(
        "retention.evidence_days",
        Form::Scalar,
        "How long reports of drills and records of runs stay, also of backups that are gone. Default 400, at least 60.",
    ),
];

/// What `prune` keeps.
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// Of backups.
    pub rules: Rules,
    /// How long the reports of drills and the records of runs stay.
    pub evidence: SignedDuration,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RawRetention {
    #[serde(default)]
    last: usize,
    #[serde(default)]
    daily: usize,
    #[serde(default)]
    weekly: usize,
    #[serde(default)]
    monthly: usize,
    #[serde(default)]
    yearly: usize,
    within_days: Option<u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    proven: Option<usize>,
    suspect_days: Option<u32>,
    evidence_days: Option<u32>,
}

impl RawRetention {
    pub(super) fn check(self, zone: TimeZone) -> Result<RetentionConfig> {
        Ok(RetentionConfig {
            rules: Rules {
                last: self.last,
                daily: self.daily,
                weekly: self.weekly,
                monthly: self.monthly,
                yearly: self.yearly,
                within: self.within_days.map(days),
                labels: self.labels,
                proven: self.proven.unwrap_or(2),
                suspect: days(self.suspect_days.unwrap_or(14)),
                zone,
            },
            evidence: days(self.evidence_days.unwrap_or(400)),
        })
    }
}
