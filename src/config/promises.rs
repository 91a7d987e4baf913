//! What is promised and when it happens: the sections `objectives` and `schedule`.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::config::key::{ConfigKey, Form, key};
use crate::error::Result;
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::Pace;
use crate::objectives::schedule::{self, Schedule};

/// The keys of objectives and schedules, in the order of the documentation.
pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "objectives.rpo_seconds",
        Form::Scalar,
        "The most data, in time, that a disaster may cost: held against the worst gap of the last 30 days. Default: not judged.",
    ),
    key(
        "objectives.rto_seconds",
        Form::Scalar,
        "The longest that a restore may take. Default: not judged.",
    ),
    key(
        "objectives.proven_rpo_seconds",
        Form::Scalar,
        "How old the newest restore-verified data may be. Default: an interval of drills, one of backups and a drill's duration, where `schedule.verify` is set.",
    ),
    key(
        "schedule.backup",
        Form::Text,
        "When backups run, as Kubernetes writes it: `0 2 * * *`, `@hourly`.",
    ),
    key("schedule.verify", Form::Text, "When drills run."),
    key("schedule.prune", Form::Text, "When retention runs."),
    key(
        "schedule.time_zone",
        Form::Text,
        "The zone of these schedules, and of the days that retention counts, like `Europe/Berlin`. Default `UTC`.",
    ),
];

/// When what runs.
#[derive(Debug, Clone)]
pub struct Schedules {
    /// Backups.
    pub backup: Option<Schedule>,
    /// Drills.
    pub verify: Option<Schedule>,
    /// Retention.
    pub prune: Option<Schedule>,
    /// The zone of their wall clocks, and of the days that retention counts.
    pub zone: TimeZone,
}

impl Schedules {
    /// How often they have drills and backups run, at worst.
    pub fn pace(&self, now: Timestamp, drill_took: SignedDuration) -> Pace {
        let gap = |schedule: &Option<Schedule>| schedule.as_ref()?.largest_gap(now);
        Pace {
            drills: gap(&self.verify),
            backups: gap(&self.backup),
            drill_took,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RawObjectives {
    rpo_seconds: Option<i64>,
    rto_seconds: Option<i64>,
    proven_rpo_seconds: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RawSchedules {
    backup: Option<String>,
    verify: Option<String>,
    prune: Option<String>,
    time_zone: Option<String>,
}

impl RawObjectives {
    pub(super) fn check(self) -> Objectives {
        let span = |seconds: Option<i64>| seconds.map(SignedDuration::from_secs);
        Objectives {
            rpo: span(self.rpo_seconds),
            rto: span(self.rto_seconds),
            proven_rpo: span(self.proven_rpo_seconds),
        }
    }
}

impl RawSchedules {
    pub(super) fn check(self) -> Result<Schedules> {
        let zone = match &self.time_zone {
            Some(name) => schedule::zone(name).map_err(|e| e.context("schedule.time_zone"))?,
            None => TimeZone::UTC,
        };
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
            zone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_refused_with_its_key() {
        let raw = RawSchedules {
            verify: Some("0 2 * *".into()),
            ..RawSchedules::default()
        };
        let error = raw.check().unwrap_err().to_string();
        assert!(
            error.starts_with("schedule.verify: \"0 2 * *\" is not"),
            "{error}"
        );
        let raw = RawSchedules {
            time_zone: Some("Middle/Earth".into()),
            ..RawSchedules::default()
        };
        let error = raw.check().unwrap_err().to_string();
        assert!(
            error.starts_with("schedule.time_zone: \"Middle/Earth\""),
            "{error}"
        );
    }
}
