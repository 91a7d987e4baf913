//! Section `schedule`. Section `objectives` is [`crate::objectives::Objectives`].

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::objectives::rpo_rto::Pace;
use crate::objectives::schedule::{self, Schedule};
use crate::util::error::Result;

/// The schedules of all tasks; `None`: not scheduled.
#[derive(Debug, Clone)]
pub struct Schedules {
    /// Backups.
    pub backup: Option<Schedule>,
    /// Drills.
    pub verify: Option<Schedule>,
    /// Retention.
    pub prune: Option<Schedule>,
    /// Copies to the second store.
    pub copy: Option<Schedule>,
    /// Comparisons of the standby with a backup.
    pub standby: Option<Schedule>,
    /// Time zone of the schedules, and of the days that retention counts.
    pub zone: TimeZone,
}

impl Schedules {
    /// The longest intervals between drills and between backups.
    pub fn pace(&self, now: Timestamp, drill_took: SignedDuration) -> Pace {
        let gap = |schedule: &Option<Schedule>| schedule.as_ref()?.largest_gap(now);
        Pace {
            drills: gap(&self.verify),
            backups: gap(&self.backup),
            drill_took,
        }
    }
}

/// A field of a schedule: a list of values, ranges and steps.
macro_rules! field {
    ($value:literal) => {
        concat!(
            r"(\*|\?|",
            $value,
            "(-",
            $value,
            r")?)(/0*[1-9][0-9]{0,3})?",
            r"(,(\*|\?|",
            $value,
            "(-",
            $value,
            r")?)(/0*[1-9][0-9]{0,3})?)*",
        )
    };
}

/// A schedule as Kubernetes and drctl accept it: five fields or a macro such as `@daily`.
const SCHEDULE: &str = concat!(
    r"^\s*(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|",
    r"@every ([0-9]{1,6}h([0-9]{1,6}m)?([0-9]{1,6}s)?|[0-9]{1,6}m([0-9]{1,6}s)?|[0-9]{1,6}s)|",
    field!("0*[1-5]?[0-9]"),
    r"\s+",
    field!("0*(1?[0-9]|2[0-3])"),
    r"\s+",
    field!("0*([1-9]|[12][0-9]|3[01])"),
    r"\s+",
    field!("(0*([1-9]|1[0-2])|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))"),
    r"\s+",
    field!("(0*[0-6]|(?i:sun|mon|tue|wed|thu|fri|sat))"),
    r")\s*$",
);

/// When tasks run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct ScheduleSection {
    /// When backups run, in Kubernetes notation: `0 2 * * *`, `@hourly`.
    #[schemars(regex(pattern = SCHEDULE))]
    backup: Option<String>,
    /// When drills run.
    #[schemars(regex(pattern = SCHEDULE))]
    verify: Option<String>,
    /// When retention runs.
    #[schemars(regex(pattern = SCHEDULE))]
    prune: Option<String>,
    /// When `agent` copies to the second store, `copy.to`.
    #[schemars(regex(pattern = SCHEDULE))]
    copy: Option<String>,
    /// When the standby stops applying the log until the next backup is there, is compared with it, and goes on: when the
    /// primary begins a backup, or shortly before.
    #[schemars(regex(pattern = SCHEDULE))]
    standby: Option<String>,
    /// Time zone of the schedules, and of the days that retention counts, such as `Europe/Berlin`.
    #[schemars(regex(pattern = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"))]
    time_zone: String,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        ScheduleSection {
            backup: None,
            verify: None,
            prune: None,
            copy: None,
            standby: None,
            time_zone: "UTC".to_owned(),
        }
    }
}

impl ScheduleSection {
    pub(super) fn check(self) -> Result<Schedules> {
        let zone = schedule::zone(&self.time_zone).map_err(|e| e.context("schedule.time_zone"))?;
        let parse = |key: &str, text: Option<String>| {
            let schedule = text.map(|text| Schedule::parse(&text, zone.clone()));
            schedule
                .transpose()
                .map_err(|e| e.context(format!("schedule.{key}")))
        };
        Ok(Schedules {
            backup: parse("backup", self.backup)?,
            verify: parse("verify", self.verify)?,
            prune: parse("prune", self.prune)?,
            copy: parse("copy", self.copy)?,
            standby: parse("standby", self.standby)?,
            zone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_refused_with_its_key() {
        let section = ScheduleSection {
            verify: Some("0 2 * *".into()),
            ..ScheduleSection::default()
        };
        let error = section.check().unwrap_err().to_string();
        assert!(
            error.starts_with("schedule.verify: \"0 2 * *\" is not"),
            "{error}"
        );
        let section = ScheduleSection {
            time_zone: "Middle/Earth".into(),
            ..ScheduleSection::default()
        };
        let error = section.check().unwrap_err().to_string();
        assert!(
            error.starts_with("schedule.time_zone: \"Middle/Earth\""),
            "{error}"
        );
    }
}
