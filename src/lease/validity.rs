//! Until when a renewal counts.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A moment on the clocks of this machine. The monotonic one stands still while the machine sleeps; the other one may
/// be set. Whichever is ahead counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    monotonic: Instant,
    wall: Timestamp,
}

impl Now {
    pub(super) fn read() -> Now {
        Now {
            monotonic: Instant::now(),
            wall: Timestamp::now(),
        }
    }

    /// Time since an earlier moment.
    pub(super) fn since(self, earlier: Now) -> Duration {
        let wall = self.wall.duration_since(earlier.wall);
        let wall = Duration::try_from(wall.max(SignedDuration::ZERO)).unwrap_or_default();
        self.monotonic
            .saturating_duration_since(earlier.monotonic)
            .max(wall)
    }
}

/// How long a renewal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    /// A moment before the renewal began.
    pub(super) from: Now,
    /// Time from then on.
    pub(super) lease: Duration,
}

impl Validity {
    /// What is left of it; zero once it has ended.
    pub(super) fn left(self, now: Now) -> Duration {
        self.lease.saturating_sub(now.since(self.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic: u64, wall: i64) -> Now {
        static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        Now {
            monotonic: *ORIGIN + Duration::from_secs(monotonic),
            wall: Timestamp::from_second(1_000_000 + wall).unwrap(),
        }
    }

    #[test]
    fn a_lease_ends_by_the_clock_that_is_ahead() {
        let validity = Validity {
            from: at(0, 0),
            lease: Duration::from_secs(20),
        };
        let left = |monotonic, wall| validity.left(at(monotonic, wall)).as_secs();
        assert_eq!(left(5, 5), 15);
        assert_eq!(left(5, -3_600), 15, "the clock was set back");
        assert_eq!(left(1, 30), 0, "the machine slept");
        assert_eq!(left(25, 5), 0);
    }
}
