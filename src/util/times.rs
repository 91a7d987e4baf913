//! Time arithmetic that cannot panic. Times come from files, object names and options, and the operators of
//! jiff and std panic on overflow.
//!
//! A result out of range is clamped to the nearest valid time: "older than five million days" matches
//! everything. `clippy.toml` and the lint `arithmetic_side_effects` keep operators on times out of the
//! crate.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Maximum for settings in days: a century.
pub const MOST_DAYS: u32 = 36_500;

/// Maximum for settings in seconds: a century.
pub const MOST_SECONDS: u64 = MOST_DAYS as u64 * 86_400;

/// A duration in whole seconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// As a time limit; `None` for 0, which means no limit.
    pub fn limit(self) -> Option<Duration> {
        (self.0 > 0).then(|| self.duration())
    }
}

/// A span of whole minutes.
pub const fn minutes(minutes: u32) -> SignedDuration {
    SignedDuration::from_secs(minutes as i64 * 60)
}

/// A span of whole hours.
pub const fn hours(hours: u32) -> SignedDuration {
    SignedDuration::from_secs(hours as i64 * 3_600)
}

/// A span of days of 24 hours.
pub const fn days(days: u32) -> SignedDuration {
    SignedDuration::from_secs(days as i64 * 86_400)
}

/// Converts fractional seconds. Zero for NaN and negative numbers, [`Duration::MAX`] for numbers out of
/// range.
pub fn from_seconds(seconds: f64) -> Duration {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => duration,
        Err(_) if seconds > 0.0 => Duration::MAX,
        Err(_) => Duration::ZERO,
    }
}

/// Whole seconds, rounded up.
pub fn seconds_up(span: SignedDuration) -> i64 {
    let up = i64::from(span.subsec_nanos() > 0);
    span.as_secs().saturating_add(up)
}

/// Converts to a signed span.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Absolute difference of two times.
pub fn apart(one: Timestamp, other: Timestamp) -> SignedDuration {
    signed(one.duration_since(other).unsigned_abs())
}

/// The time `span` before `time`.
pub fn before(time: Timestamp, span: SignedDuration) -> Timestamp {
    // jiff rejects only calendar units, and a span of seconds has none.
    time.saturating_sub(span).unwrap_or(Timestamp::MIN)
}

/// The time `span` after `time`.
pub fn after(time: Timestamp, span: SignedDuration) -> Timestamp {
    time.saturating_add(span).unwrap_or(Timestamp::MAX)
}

/// The instant `span` from now on the monotonic clock; about thirty years from now if that is out of range.
pub fn instant_in(span: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(span)
        .or_else(|| now.checked_add(FAR))
        .unwrap_or(now)
}

/// The system time `span` from now; a century from now if that is out of range.
pub fn system_time_in(span: Duration) -> SystemTime {
    let now = SystemTime::now();
    now.checked_add(span)
        .or_else(|| now.checked_add(Duration::from_secs(MOST_SECONDS)))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn out_of_range_results_are_clamped() {
        let now = Timestamp::now();
        assert_eq!(before(now, SignedDuration::MAX), Timestamp::MIN);
        assert_eq!(before(now, SignedDuration::MIN), Timestamp::MAX);
        assert_eq!(after(now, SignedDuration::MAX), Timestamp::MAX);
        assert_eq!(after(now, days(u32::MAX)), Timestamp::MAX);
        assert!(apart(Timestamp::MIN, Timestamp::MAX) > days(3_000_000));
        assert!(instant_in(Duration::MAX) > Instant::now());
        assert!(system_time_in(Duration::MAX) > SystemTime::now());
        let odd = [f64::NAN, -1.0, f64::NEG_INFINITY, f64::INFINITY, 1e300];
        let spans = odd.map(from_seconds);
        let zero = Duration::ZERO;
        assert_eq!(spans, [zero, zero, zero, Duration::MAX, Duration::MAX]);
    }

    proptest! {
        #[test]
        fn in_range_results_are_plain_arithmetic(second in -1_000_000_000i64..4_000_000_000, span in 0u32..10_000) {
            let time = Timestamp::from_second(second).unwrap();
            let later = second + i64::from(span) * 86_400;
            prop_assert_eq!(after(time, days(span)).as_second(), later);
            prop_assert_eq!(before(after(time, hours(span)), hours(span)), time);
        }
    }
}
