//! Cron schedules: five fields as in Kubernetes, in a time zone.
//!
//! The only user of the `cron` crate, which steps through the calendar. Differences from Kubernetes are compensated
//! here: the crate expects seconds, counts days of the week from 1, and requires day of month *and* day of week to
//! match. It is given wall-clock times without a zone; the zone's rules convert them to instants. Times skipped in
//! spring do not run, times repeated in autumn run twice. Kubernetes does the same, and a test compares the results
//! with those of its parser; only in zones whose clocks change at midnight or within an hour (Cairo, Chatham, Lord
//! Howe) Kubernetes occasionally loses a run.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::field::{DAY_OF_MONTH, DAY_OF_WEEK, Field, HOUR, MINUTE, MONTH};
use crate::util::error::{Error, Result};
use crate::util::times::{before, days, hours};

/// Clocks are never set back by more than this: of two wall-clock times further apart, the earlier one
/// comes first.
const MOST_SET_BACK: SignedDuration = hours(4);

/// Range of the search for the largest gap: a year, plus a margin for leap years and weekdays.
const LOOK_AHEAD: SignedDuration = days(400);

/// Days of the week as the crate expects them, from Sunday.
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The schedule as configured.
    text: String,
    /// Time zone of the wall clock.
    zone: TimeZone,
    /// The parsed rule.
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    /// `@every 90m`: this long after the previous time.
    Every(SignedDuration),
    /// Runs when one of these matches the wall clock.
    Calendar(Vec<cron::Schedule>),
}

impl Schedule {
    /// Parses five fields, `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`
    /// or `@every 1h30m`.
    ///
    /// # Errors
    /// `Usage` if the text is not a schedule, or one that never runs.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Schedule> {
        let refused = |why: String| {
            Error::usage(format!("{text:?} is not a schedule: {why}"))
                .hint("write five fields, like \"0 2 * * *\" for 02:00 each day, or @hourly, @daily, @weekly")
        };
        let schedule = Schedule {
            text: text.to_owned(),
            zone,
            rule: rule(text).map_err(refused)?,
        };
        match schedule.next(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(refused("this day does not exist".into())),
        }
    }

    /// The first run after a time.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.runs(after).next()
    }

    /// All runs after a time, in order.
    pub fn runs(&self, after: Timestamp) -> Runs<'_> {
        let walls = match &self.rule {
            Rule::Every(_) => Vec::new(),
            Rule::Calendar(crons) => {
                let wall = wall_at(&self.zone, before(after, MOST_SET_BACK));
                crons
                    .iter()
                    .map(|cron| cron.after(&wall).peekable())
                    .collect()
            }
        };
        Runs {
            schedule: self,
            after,
            walls,
            seen_to: None,
            pending: BTreeSet::new(),
        }
    }

    /// The largest gap between two runs in the year from a given time; the first gap if it is longer than a
    /// year. `None` if there are no two runs.
    pub fn largest_gap(&self, from: Timestamp) -> Option<SignedDuration> {
        let mut largest = None;
        let mut before: Option<Timestamp> = None;
        for run in self.runs(from) {
            if let Some(before) = before {
                largest = largest.max(Some(run.duration_since(before)));
            }
            if largest.is_some() && run.duration_since(from) > LOOK_AHEAD {
                break;
            }
            before = Some(run);
        }
        largest
    }

    /// Time zone of the wall clock.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Looks up a time zone in the IANA database.
///
/// # Errors
/// `Usage` if there is no such zone.
pub fn zone(name: &str) -> Result<TimeZone> {
    TimeZone::get(name).map_err(|_| {
        Error::usage(format!("{name:?} is not a time zone"))
            .hint("write its name in the IANA database, like Europe/Berlin or UTC")
    })
}

fn rule(text: &str) -> std::result::Result<Rule, String> {
    let text = text.trim();
    if text.contains("TZ=") {
        return Err("set the time zone in schedule.time_zone instead".into());
    }
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => match text.strip_prefix("@every ") {
            Some(span) => return every(span).map(Rule::Every),
            None if text.starts_with('@') => return Err("unknown @ keyword".into()),
            None => text,
        },
    };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [minute, hour, day_of_month, month, day_of_week] = fields[..] else {
        return Err(format!("it has {} fields, not five", fields.len()));
    };
    let minute = Field::parse(minute, &MINUTE)?;
    let hour = Field::parse(hour, &HOUR)?;
    let day_of_month = Field::parse(day_of_month, &DAY_OF_MONTH)?;
    let month = Field::parse(month, &MONTH)?;
    let day_of_week = Field::parse(day_of_week, &DAY_OF_WEEK)?;
    let days = if day_of_month.star || day_of_week.star {
        vec![(numbers(&day_of_month)?, names(&day_of_week)?)]
    } else {
        // Both restricted: either may match.
        vec![
            (numbers(&day_of_month)?, "*".to_owned()),
            ("*".to_owned(), names(&day_of_week)?),
        ]
    };
    let (minute, hour, month) = (numbers(&minute)?, numbers(&hour)?, numbers(&month)?);
    let crons = days.into_iter().map(|(day_of_month, day_of_week)| {
        let seconds_too = format!("0 {minute} {hour} {day_of_month} {month} {day_of_week}");
        cron::Schedule::from_str(&seconds_too).map_err(|error| error.to_string())
    });
    Ok(Rule::Calendar(
        crons.collect::<std::result::Result<_, _>>()?,
    ))
}

fn numbers(field: &Field) -> std::result::Result<String, String> {
    list(field, |value| value.to_string())
}

fn names(field: &Field) -> std::result::Result<String, String> {
    list(field, |value| {
        DAYS[usize::from(value) % DAYS.len()].to_owned()
    })
}

fn list(field: &Field, word: impl Fn(u8) -> String) -> std::result::Result<String, String> {
    let words: Vec<String> = field.values.iter().map(|value| word(*value)).collect();
    if words.is_empty() {
        Err("a field has no value".into())
    } else {
        Ok(words.join(","))
    }
}

/// Parses a Go duration, `1h30m`, in whole seconds and at least one.
fn every(text: &str) -> std::result::Result<SignedDuration, String> {
    let why = || format!("{text:?} is not a duration like 1h30m");
    let span: SignedDuration = text.trim().parse().map_err(|_| why())?;
    if span.is_negative() {
        Err(why())
    } else {
        Ok(SignedDuration::from_secs(span.as_secs().max(1)))
    }
}

/// Wall-clock time of a zone, represented as UTC, since the crate knows no zones.
fn wall_at(zone: &TimeZone, at: Timestamp) -> DateTime<Utc> {
    let second = at.as_second() + i64::from(zone.to_offset(at).seconds());
    DateTime::from_timestamp(second, 0).unwrap_or_default()
}

/// Iterator over the runs of a schedule after a time.
#[allow(
    missing_debug_implementations,
    reason = "the crate's iterators have none"
)]
pub struct Runs<'a> {
    /// The schedule.
    schedule: &'a Schedule,
    /// Only later runs follow: the last one returned.
    after: Timestamp,
    /// Matching wall-clock times, for each of its rules.
    walls: Vec<std::iter::Peekable<cron::ScheduleIterator<'a, Utc>>>,
    /// The last wall-clock time taken.
    seen_to: Option<DateTime<Utc>>,
    /// Instants of the wall-clock times taken, until no earlier one can follow.
    pending: BTreeSet<Timestamp>,
}

impl Runs<'_> {
    /// Takes the next matching wall-clock time; false if there is none.
    fn take_wall(&mut self) -> bool {
        let next = self.walls.iter_mut().filter_map(|walls| walls.peek()).min();
        let Some(wall) = next.copied() else {
            return false;
        };
        for walls in &mut self.walls {
            walls.next_if_eq(&wall);
        }
        self.seen_to = Some(wall);
        let after = self.after;
        let moments = moments(&self.schedule.zone, wall).into_iter().flatten();
        self.pending
            .extend(moments.filter(|moment| *moment > after));
        true
    }

    /// Whether every wall-clock time not yet taken is a later instant.
    fn is_settled(&self, moment: Timestamp) -> bool {
        let shown = wall_at(&self.schedule.zone, moment).timestamp();
        self.seen_to
            .is_some_and(|wall| wall.timestamp() > shown + MOST_SET_BACK.as_secs())
    }
}

impl Iterator for Runs<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let run = match &self.schedule.rule {
            Rule::Every(span) => {
                let whole = Timestamp::from_second(self.after.as_second()).ok()?;
                whole.checked_add(*span).ok()
            }
            Rule::Calendar(_) => loop {
                let first = self.pending.first().copied();
                if first.is_some_and(|first| self.is_settled(first)) || !self.take_wall() {
                    break self.pending.pop_first();
                }
            },
        };
        self.after = run?;
        run
    }
}

/// The instants of a wall-clock time in a zone: none if skipped, two if repeated.
fn moments(zone: &TimeZone, wall: DateTime<Utc>) -> [Option<Timestamp>; 2] {
    let Ok(as_if_utc) = Timestamp::from_second(wall.timestamp()) else {
        return [None, None];
    };
    let civil = Offset::UTC.to_datetime(as_if_utc);
    let moment = |offset: Offset| offset.to_timestamp(civil).ok();
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => [moment(offset), None],
        AmbiguousOffset::Gap { .. } => [None, None],
        AmbiguousOffset::Fold { before, after } => [moment(before), moment(after)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str, zone_name: &str) -> Schedule {
        Schedule::parse(text, zone(zone_name).unwrap()).unwrap()
    }

    fn runs(text: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = schedule(text, zone_name);
        let runs = schedule.runs(after.parse().unwrap());
        runs.take(count).map(|run| run.to_string()).collect()
    }

    #[test]
    fn a_daily_schedule_keeps_its_wall_clock_time_across_dst() {
        assert_eq!(
            runs("0 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", 3),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-26T01:00:00Z"
            ]
        );
    }

    #[test]
    fn a_time_skipped_in_spring_does_not_run() {
        assert_eq!(
            runs("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 2),
            ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]
        );
        let half_past = schedule("30 2 * * *", "Europe/Berlin");
        let gap = half_past.largest_gap("2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(gap, Some(SignedDuration::from_hours(47)));
    }

    #[test]
    fn a_time_repeated_in_autumn_runs_twice_in_order() {
        assert_eq!(
            runs("*/30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4),
            [
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-26T01:00:00Z"
            ]
        );
    }

    #[test]
    fn of_two_restricted_day_fields_either_may_match() {
        assert_eq!(
            runs("0 0 13 * fri", "UTC", "2026-11-06T00:00:00Z", 3),
            [
                "2026-11-13T00:00:00Z",
                "2026-11-20T00:00:00Z",
                "2026-11-27T00:00:00Z"
            ]
        );
        assert_eq!(
            runs("0 0 */2 * mon", "UTC", "2026-11-21T00:00:00Z", 3),
            [
                "2026-11-23T00:00:00Z",
                "2026-11-25T00:00:00Z",
                "2026-11-27T00:00:00Z"
            ]
        );
    }

    #[test]
    fn macros_are_equal_to_their_fields() {
        for (word, fields) in [
            ("@hourly", "0 * * * *"),
            ("@midnight", "0 0 * * *"),
            ("@weekly", "0 0 * * sun"),
            ("@monthly", "0 0 1 * *"),
            ("@annually", "0 0 1 jan *"),
        ] {
            let of = |text| runs(text, "Asia/Tokyo", "2026-11-21T00:00:00Z", 3);
            assert_eq!(of(word), of(fields));
        }
        assert_eq!(
            runs("@every 1h30m", "UTC", "2026-11-21T00:00:00.7Z", 2),
            ["2026-11-21T01:30:00Z", "2026-11-21T03:00:00Z"]
        );
    }

    #[test]
    fn the_next_run_is_later_than_the_given_time() {
        assert_eq!(
            runs("0 2 * * *", "UTC", "2026-11-21T02:00:00Z", 1),
            ["2026-11-22T02:00:00Z"]
        );
        assert_eq!(
            runs("0 2 * * *", "UTC", "2026-11-21T01:59:59.9Z", 1),
            ["2026-11-21T02:00:00Z"]
        );
    }

    #[test]
    fn the_largest_gap_is_found_however_rare_the_runs_are() {
        let gap = |text| {
            let from = "2026-01-01T00:00:00Z".parse().unwrap();
            schedule(text, "UTC").largest_gap(from).unwrap().as_hours()
        };
        assert_eq!(gap("0 2 * * *"), 24);
        assert_eq!(gap("0 8,12 * * mon-fri"), 68);
        assert_eq!(gap("@monthly"), 31 * 24);
        assert_eq!(gap("0 0 29 2 *"), (4 * 365 + 1) * 24);
        assert_eq!(gap("@every 6h"), 6);
    }

    #[test]
    fn a_schedule_that_is_invalid_or_never_runs_is_refused() {
        for (text, why) in [
            ("", "it has 0 fields"),
            ("0 0 2 * * *", "it has 6 fields"),
            ("0 2 * * 7", "day of week 7"),
            ("@fortnightly", "unknown @ keyword"),
            ("@every soon", "not a duration"),
            ("TZ=UTC 0 2 * * *", "schedule.time_zone"),
            ("0 0 30 2 *", "does not exist"),
            (", 2 * * *", "has no value"),
        ] {
            let error = Schedule::parse(text, TimeZone::UTC).unwrap_err();
            assert_eq!(error.outcome(), crate::Outcome::Usage);
            assert!(error.to_string().contains(why), "{error}");
        }
        let error = zone("Europe/Atlantis").unwrap_err().to_string();
        assert!(error.contains("is not a time zone"), "{error}");
    }
}
