//! Waiting for a condition.

use std::time::{Duration, Instant};

/// After this long, what a test waits for is not slow but hung. A loaded machine makes anything slow, and a test
/// that is about speed measures it itself.
pub const PATIENCE: Duration = Duration::from_mins(10);

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    within(PATIENCE, what, holds);
}

/// Waits until a condition holds, which it has to within a limit.
///
/// A question to a cluster by `kubectl` takes a fifth of a second of a processor: twice as long as the last question
/// took is left to what is waited for.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    const LEAST: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_secs(1);
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        if holds() {
            return;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep((asked.elapsed() * 2).clamp(LEAST, MOST));
    }
}
