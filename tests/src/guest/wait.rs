//! Waiting for what another process will do: emulation is slow, so limits are generous and nothing is timed finely.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is something, or panics.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        sleep(Duration::from_millis(10));
    }
}

/// Watches for a time that something does not come true.
pub fn never_within(time: Duration, what: &str, mut ask: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(!ask(), "it happened: {what}");
        sleep(Duration::from_millis(20));
    }
}
