//! When a delivery that failed is tried again, and when it is given up. Pure: it has no clock and no chance.
//!
//! Instants are milliseconds of the wall clock, since deliveries outlive the daemon and the machine's boot.

use std::time::Duration;

/// How deliveries are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The pause behind the first failure; each one doubles it.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// The age at which a delivery is given up.
    pub life: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_mins(10), life: Duration::from_hours(24) }
    }
}

impl Schedule {
    /// The pause behind so many failures in a row.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// When to try again behind so many failures; none once that would be too late.
    #[must_use]
    pub fn next(&self, made_ms: i64, failures: u32, now_ms: i64) -> Option<i64> {
        let due = now_ms.saturating_add(milliseconds(self.pause(failures)));
        (!self.is_over(made_ms, due)).then_some(due)
    }

    /// Whether a delivery is too old to be tried.
    #[must_use]
    pub fn is_over(&self, made_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(made_ms) > milliseconds(self.life)
    }

    /// How long until an instant, and no longer than the longest pause: a clock that was set back stops no delivery.
    #[must_use]
    pub fn until(&self, due_ms: i64, now_ms: i64) -> Duration {
        let left = u64::try_from(due_ms.saturating_sub(now_ms)).unwrap_or_default();
        if left > u64::try_from(milliseconds(self.longest)).unwrap_or_default() {
            return Duration::ZERO;
        }
        Duration::from_millis(left)
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use std::time::Duration;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn pauses_double_to_ten_minutes() {
        let seconds: Vec<u64> = (1..=12).map(|failures| Schedule::default().pause(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(Schedule::default().pause(u32::MAX), Duration::from_mins(10));
    }

    #[test]
    fn a_delivery_is_given_up_after_a_day() {
        let schedule = Schedule::default();
        assert_eq!(schedule.next(0, 1, 500), Some(1500));
        assert_eq!(schedule.next(0, 11, 24 * HOUR - 600_000), Some(24 * HOUR));
        assert_eq!(schedule.next(0, 11, 24 * HOUR - 599_999), None);
        assert!(!schedule.is_over(0, 24 * HOUR) && schedule.is_over(0, 24 * HOUR + 1));
    }

    #[test]
    fn a_clock_that_was_set_stops_nothing() {
        let schedule = Schedule::default();
        assert_eq!(schedule.until(2000, 500), Duration::from_millis(1500));
        assert_eq!(schedule.until(2000, 9000), Duration::ZERO);
        assert_eq!(schedule.until(24 * HOUR, 0), Duration::ZERO);
        assert_eq!(schedule.until(i64::MAX, i64::MIN), Duration::ZERO);
    }
}
