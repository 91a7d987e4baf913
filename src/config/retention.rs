//! Section `retention`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::catalog::retention::Rules;
use crate::util::times::{MOST_DAYS, days};

/// More than one backup a minute for two years.
const MOST_BACKUPS: usize = 1_000_000;

/// What `prune` keeps.
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// Which backups are kept.
    pub rules: Rules,
    /// Age after which drill reports and run records are deleted.
    pub evidence: SignedDuration,
    /// The archived log is kept from the oldest backup of this span on; `None` to keep all of it.
    pub log: Option<SignedDuration>,
}

/// Which backups `prune` keeps.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RetentionSection {
    /// Number of newest backups to keep. At least one of this and the next five keys is required.
    #[schemars(range(max = MOST_BACKUPS))]
    last: usize,
    /// Number of days with backups whose newest backup is kept.
    #[schemars(range(max = MOST_BACKUPS))]
    daily: usize,
    /// As `daily`, for weeks from Monday to Sunday.
    #[schemars(range(max = MOST_BACKUPS))]
    weekly: usize,
    /// As `daily`, for months.
    #[schemars(range(max = MOST_BACKUPS))]
    monthly: usize,
    /// As `daily`, for years.
    #[schemars(range(max = MOST_BACKUPS))]
    yearly: usize,
    /// Backups at most this many days older than the newest one are kept.
    #[schemars(range(max = MOST_DAYS))]
    within_days: Option<u32>,
    /// Backups with one of these labels are kept.
    labels: BTreeMap<String, String>,
    /// Number of newest verified backups to keep; the newest of them is always kept.
    #[schemars(range(max = MOST_BACKUPS))]
    verified: usize,
    /// How long a suspect backup, or one that failed a drill, is kept for inspection.
    #[schemars(range(max = MOST_DAYS))]
    suspect_days: u32,
    /// How long drill reports and run records are kept, including those of deleted backups.
    // The RPO of the last 30 days needs them.
    #[schemars(range(min = 60, max = MOST_DAYS))]
    evidence_days: u32,
    /// The archived binary log is kept from the oldest usable backup of the last N days on; 0: all of it.
    #[schemars(range(max = MOST_DAYS))]
    log_days: u32,
}

impl Default for RetentionSection {
    fn default() -> Self {
        RetentionSection {
            last: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
            within_days: None,
            labels: BTreeMap::new(),
            verified: 2,
            suspect_days: 14,
            evidence_days: 400,
            log_days: 7,
        }
    }
}

impl RetentionSection {
    pub(super) fn check(self, zone: TimeZone) -> RetentionConfig {
        RetentionConfig {
            rules: Rules {
                last: self.last,
                daily: self.daily,
                weekly: self.weekly,
                monthly: self.monthly,
                yearly: self.yearly,
                within: self.within_days.map(days),
                labels: self.labels,
                verified: self.verified,
                suspect: days(self.suspect_days),
                zone,
            },
            evidence: days(self.evidence_days),
            log: (self.log_days > 0).then(|| days(self.log_days)),
        }
    }
}
