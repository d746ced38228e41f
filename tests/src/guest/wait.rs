//! Waiting for what another process will do: emulation is slow, so limits are generous and nothing is timed finely.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once. A daemon's first start has the kernel verify every program: some 20 s
/// under emulation, and several times that where other guests and a build want the same processors.
pub const PATIENCE: Duration = Duration::from_secs(180);

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
