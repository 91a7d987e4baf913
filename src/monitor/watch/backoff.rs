//! Backoff between attempts to reach the API server. The pauses are short, so that a restart of the API server
//! delays the watch by at most a second or two; retries never end.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// First pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause: a recovered API server is watched again within 2 s.
const MAX_PAUSE: Duration = Duration::from_millis(1500);

/// Pauses that double each time, with 10 % jitter so that many watchers do not reconnect at once.
#[derive(Debug)]
pub struct WatchBackoff {
    next: Duration,
}

impl Default for WatchBackoff {
    fn default() -> Self {
        WatchBackoff { next: FIRST_PAUSE }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(MAX_PAUSE);
        Some(pause.mul_f64(rand::random_range(0.9..1.1)))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        *self = WatchBackoff::default();
    }
}
