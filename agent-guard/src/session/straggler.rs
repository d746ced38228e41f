//! First processes that have not executed yet, though their sessions have ended. Plain bookkeeping: it must not know
//! how one finds out what has become of them.
//!
//! Their enrolments stay in the kernel. Whoever executes after all then gets the tag of a session that is gone, and is
//! refused; without the enrolment it would run unguarded.

/// A first process whose session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Straggler {
    /// The process.
    pub root: u32,
    /// The serial of its session.
    pub serial: u64,
    /// The user who started it.
    pub uid: u32,
    /// It did not start after this, in clock ticks since boot: whoever did is another process.
    pub since_ticks: u64,
}

impl Straggler {
    /// Whether a process that has its number, and started at this tick, can be it.
    #[must_use]
    pub const fn is_it(&self, started: u64) -> bool {
        started <= self.since_ticks
    }
}

/// All that there are. They count like the sessions that they have left, so that nobody fills the kernel's map of
/// enrolments by ending sessions.
#[derive(Debug, Default)]
pub struct Stragglers(Vec<Straggler>);

impl Stragglers {
    /// Remembers one.
    pub fn add(&mut self, straggler: Straggler) {
        self.0.push(straggler);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many there are of one user.
    #[must_use]
    pub fn count_of(&self, uid: u32) -> usize {
        self.0.iter().filter(|straggler| straggler.uid == uid).count()
    }

    /// Takes out those that will not execute any more.
    pub fn settle(&mut self, may_execute: impl Fn(&Straggler) -> bool) -> Vec<Straggler> {
        let (waiting, settled) = std::mem::take(&mut self.0).into_iter().partition(may_execute);
        self.0 = waiting;
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::{Straggler, Stragglers};

    fn straggler(serial: u64, uid: u32) -> Straggler {
        Straggler { root: 7, serial, uid, since_ticks: 42 }
    }

    #[test]
    fn stragglers_are_counted_by_user_until_they_are_settled() {
        let mut stragglers = Stragglers::default();
        for (serial, uid) in [(1, 1000), (2, 1000), (3, 0)] {
            stragglers.add(straggler(serial, uid));
        }
        assert_eq!((stragglers.count(), stragglers.count_of(1000), stragglers.count_of(1001)), (3, 2, 0));
        assert_eq!(stragglers.settle(|straggler| straggler.serial != 2), [straggler(2, 1000)]);
        assert_eq!((stragglers.count(), stragglers.count_of(1000)), (2, 1));
    }

    #[test]
    fn a_younger_process_with_its_number_is_another() {
        assert!(straggler(1, 0).is_it(42) && !straggler(1, 0).is_it(43));
    }
}
