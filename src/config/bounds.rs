//! Between which bounds each number of the configuration lies: one table, asked before anything is made of
//! the values, so that no later sum or product of them has to expect the absurd.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::times::{MOST_DAYS, MOST_SECONDS};

/// The key, the least and the most that it may be. What is not a whole number, and what depends on other keys,
/// is checked where it is used.
const BOUNDS: &[(&str, u64, u64)] = &[
    ("backup.attempts", 1, 10),
    ("backup.max_lag_seconds", 0, MOST_SECONDS),
    ("backup.connect_seconds", 0, 3_600),
    ("backup.deadline_seconds", 0, MOST_SECONDS),
    ("restore.lanes", 1, 64),
    ("restore.reconnect_seconds", 0, MOST_SECONDS),
    ("restore.deadline_seconds", 0, MOST_SECONDS),
    ("restore.fence_seconds", 0, MOST_SECONDS),
    ("verify.boot_seconds", 1, MOST_SECONDS),
    ("verify.client_path_every", 0, 10_000),
    ("verify.production_every", 0, 10_000),
    ("verify.deadline_seconds", 0, MOST_SECONDS),
    ("verify.pod.run_as_user", 0, u32::MAX as u64),
    ("verify.pod.start_seconds", 0, MOST_SECONDS),
    ("verify.pod.unschedulable_seconds", 0, MOST_SECONDS),
    ("objectives.rpo_seconds", 1, MOST_SECONDS),
    ("objectives.rto_seconds", 1, MOST_SECONDS),
    ("objectives.proven_rpo_seconds", 1, MOST_SECONDS),
    ("retention.last", 0, MOST_BACKUPS),
    ("retention.daily", 0, MOST_BACKUPS),
    ("retention.weekly", 0, MOST_BACKUPS),
    ("retention.monthly", 0, MOST_BACKUPS),
    ("retention.yearly", 0, MOST_BACKUPS),
    ("retention.proven", 0, MOST_BACKUPS),
    ("retention.within_days", 0, MOST_DAYS as u64),
    ("retention.suspect_days", 0, MOST_DAYS as u64),
    ("retention.evidence_days", 60, MOST_DAYS as u64),
    ("notify.alertmanager.hold_seconds", 1, MOST_SECONDS),
    ("notify.timeout_seconds", 1, 3_600),
    // Of a store that was not read for an hour there is an alert.
    ("serve.interval_seconds", 1, 1_800),
];

/// More than one a minute for two years.
const MOST_BACKUPS: u64 = 1_000_000;

/// Between which bounds a key lies, where this table has it.
pub fn of(path: &str) -> Option<RangeInclusive<u64>> {
    let bounds = BOUNDS.iter().find(|row| row.0 == path);
    bounds.map(|(_, least, most)| *least..=*most)
}

/// Refuses numbers out of their bounds. What is no number is left to whoever types the values.
pub fn check(tree: &Value) -> Result<()> {
    for (path, least, most) in BOUNDS {
        let mut names = path.split('.');
        let Some(Value::Number(number)) = names.try_fold(tree, |tree, name| tree.get(name)) else {
            continue;
        };
        let fits = match number.as_u64() {
            Some(number) => (*least..=*most).contains(&number),
            // Negative, or with a fraction: the latter's type is refused with its own words.
            None => number.as_i64().is_none() && number.as_f64().is_some_and(|n| n.fract() != 0.0),
        };
        if !fits {
            return Err(out_of(path, *least, *most));
        }
    }
    Ok(())
}

/// Refuses a number that stands in a list.
pub(super) fn seconds(path: &str, seconds: u64) -> Result<u64> {
    match seconds <= MOST_SECONDS {
        true => Ok(seconds),
        false => Err(out_of(path, 0, MOST_SECONDS)),
    }
}

fn out_of(path: &str, least: u64, most: u64) -> Error {
    let error = Error::usage(format!("{path} is not between {least} and {most}"));
    match path {
        "retention.evidence_days" => {
            error.hint("the RPO of the last 30 days needs to know which backups there were")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::Form;
    use crate::config::{keys, load};

    /// Numbers that are checked elsewhere, or are none.
    const ELSEWHERE: &[&str] = &["backup.level", "backup.shrink_limit", "verify.check_table"];

    #[test]
    fn every_number_has_its_bounds() {
        let scalars = keys::all().filter(|key| key.form == Form::Scalar);
        for key in scalars.filter(|key| !key.path.starts_with("store.")) {
            let elsewhere = ELSEWHERE.contains(&key.path);
            assert!(of(key.path).is_some() != elsewhere, "{}", key.path);
        }
        for (path, least, most) in BOUNDS {
            assert!(keys::all().any(|key| key.path == *path), "{path}");
            assert!(least < most, "{path}");
        }
    }

    #[test]
    fn what_is_out_of_its_bounds_is_refused_with_them() {
        for (path, least, most) in BOUNDS {
            let with = |number: Value| {
                let mut tree = serde_json::json!({});
                load::set(&mut tree, path, number);
                check(&tree).map_err(|error| error.to_string())
            };
            assert!(with((*least).into()).is_ok() && with((*most).into()).is_ok());
            let huge = [
                u64::MAX.into(),
                (most + 1).into(),
                (-1).into(),
                1e300.into(),
            ];
            for number in huge {
                let error = with(number).unwrap_err();
                let begin = format!("{path} is not between {least} and {most}; ");
                assert!(error.starts_with(&begin), "{error}");
            }
        }
    }
}
