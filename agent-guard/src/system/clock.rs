//! The clocks: the only place that asks what time it is.

use std::fs;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::audit::Now;

/// This instant, by both clocks.
#[must_use]
pub fn now() -> Now {
    Now { monotonic_ns: read(ClockId::CLOCK_MONOTONIC), wall: Timestamp::now() }
}

/// CLOCK_MONOTONIC, in nanoseconds: the clock of the kernel programs.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME, in nanoseconds: goes on while the machine sleeps.
#[must_use]
pub fn boottime_ns() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

/// When an instant of CLOCK_BOOTTIME was, by the wall clock as it goes now.
#[must_use]
pub fn wall_of(boottime: u64) -> Timestamp {
    let ago = i64::try_from(boottime_ns().saturating_sub(boottime)).unwrap_or(i64::MAX);
    Timestamp::now().saturating_sub(jiff::SignedDuration::from_nanos(ago)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The id of this boot.
pub fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn read(clock: ClockId) -> u64 {
    // The clocks named above exist on every kernel; a reading of 0 would only make heartbeats stale.
    clock_gettime(clock).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or_default() * 1_000_000_000
            + u64::try_from(time.tv_nsec()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::{boot_id, boottime_ns, monotonic_ns, wall_of};

    #[test]
    fn clocks_go_forward() {
        let before = monotonic_ns();
        assert!(before > 0 && monotonic_ns() >= before);
    }

    #[test]
    fn an_instant_since_boot_has_its_wall_time() {
        let minute = 60_000_000_000;
        let then = wall_of(boottime_ns().saturating_sub(minute));
        let ago = jiff::Timestamp::now().duration_since(then).as_secs();
        assert!((59..=61).contains(&ago), "{ago}");
    }

    #[test]
    fn a_boot_has_an_id() {
        assert_eq!(boot_id().map(|id| id.len()).ok(), Some(36));
    }
}
