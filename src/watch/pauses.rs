//! The pauses between two attempts to reach the API server: short, since a restart of it should cost no
//! more than a second or two, and bounded, since nobody gives up.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The first pause.
const LEAST: Duration = Duration::from_millis(100);

/// The longest: an API server that is back is heard within 2 s.
const MOST: Duration = Duration::from_millis(1500);

/// Each pause is twice the one before, give or take a tenth, so that many watchers do not come at once.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses { next: LEAST }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(MOST);
        Some(pause.mul_f64(rand::random_range(0.9..1.1)))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Pauses::default();
    }
}
