//! What is counted of a session's queries. It must not know what the numbers are for.

use core::sync::atomic::{AtomicU64, Ordering};

/// Numbers since a session's resolver was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queries that were judged.
    pub queries: u64,
    /// Queries that failed: nobody answered, or the loop did not say in time that the answer may be passed on.
    pub failed: u64,
    /// Queries that were turned away because too many were under way.
    pub crowded: u64,
    /// Connections that were closed because too many were open.
    pub closed: u64,
}

/// The numbers as they grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) queries: Count,
    pub(super) failed: Count,
    pub(super) crowded: Count,
    pub(super) closed: Count,
}

/// One number.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Counts one more.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// The numbers now.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            queries: self.queries.get(),
            failed: self.failed.get(),
            crowded: self.crowded.get(),
            closed: self.closed.get(),
        }
    }
}
