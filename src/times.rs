//! Arithmetic on times that cannot panic, whatever the times are: they stand in files, in the names of
//! objects and in options, and jiff's and std's operators panic where a result has no room.
//!
//! A result out of range is the nearest time that there is: "older than five million days" is older than
//! anything. `clippy.toml` and the lint `arithmetic_side_effects` keep operators on times out of the crate.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The longest span that is configured in days: a century.
pub const MOST_DAYS: u32 = 36_500;

/// The longest span that is configured in seconds: a century, too.
pub const MOST_SECONDS: u64 = MOST_DAYS as u64 * 86_400;

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

/// A span of seconds with a fraction; none where it is no number or negative, the longest where it is
/// longer.
pub fn from_seconds(seconds: f64) -> Duration {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => duration,
        Err(_) if seconds > 0.0 => Duration::MAX,
        Err(_) => Duration::ZERO,
    }
}

/// A span that may be negative.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// How far two times are apart, whichever is the later.
pub fn apart(one: Timestamp, other: Timestamp) -> SignedDuration {
    signed(one.duration_since(other).unsigned_abs())
}

/// The time so long before another.
pub fn before(time: Timestamp, span: SignedDuration) -> Timestamp {
    // Only calendar units are refused, and a span of seconds has none.
    time.saturating_sub(span).unwrap_or(Timestamp::MIN)
}

/// The time so long after another.
pub fn after(time: Timestamp, span: SignedDuration) -> Timestamp {
    time.saturating_add(span).unwrap_or(Timestamp::MAX)
}

/// The moment in so long, by the clock that no one sets; one in thirty years for what has no end.
pub fn instant_in(span: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(span)
        .or_else(|| now.checked_add(FAR))
        .unwrap_or(now)
}

/// The system's time in so long; in a century for what has no end.
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
    fn a_result_without_room_is_the_nearest_time_that_there_is() {
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
        fn where_there_is_room_it_is_plain_arithmetic(second in -1_000_000_000i64..4_000_000_000, span in 0u32..10_000) {
            let time = Timestamp::from_second(second).unwrap();
            let later = second + i64::from(span) * 86_400;
            prop_assert_eq!(after(time, days(span)).as_second(), later);
            prop_assert_eq!(before(after(time, hours(span)), hours(span)), time);
        }
    }
}
