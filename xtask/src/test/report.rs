//! Owns the count of passed and failed tests, and how a run is told to a person.
//!
//! Must not know how tests are run. Shared by the threads that run guests.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;

use crate::test::libtest::{Outcome, Suite};

/// What has been counted so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    passed: usize,
    failed: BTreeSet<String>,
    suites: usize,
}

impl Report {
    /// Begins a part of the run.
    pub(crate) fn section(&self, name: &str) {
        println!("\n== {name}");
    }

    /// Runs a step that counts as one test, and tells whether it passed.
    pub(crate) fn step(&self, name: &str, act: impl FnOnce() -> Result<()>) -> bool {
        let start = Instant::now();
        let result = act();
        let seconds = start.elapsed().as_secs_f32();
        let mut counts = self.counts();
        match &result {
            Ok(()) => {
                counts.passed += 1;
                println!("{name} ... ok ({seconds:.1} s)");
            }
            Err(error) => {
                counts.failed.insert(name.to_owned());
                println!("{name} ... FAILED ({seconds:.1} s)\n{error:#}");
            }
        }
        result.is_ok()
    }

    /// Counts one run of a suite, and shows what failed in it.
    pub(crate) fn suite(&self, place: &str, suite: &Suite, died: Option<&anyhow::Error>) {
        let mut counts = self.counts();
        let mut failed: Vec<_> = suite.failed().map(|(name, outcome)| called(place, name, outcome)).collect();
        if died.is_some() && failed.is_empty() {
            // Every test had its say, and then the guest died: of that, something is to blame.
            failed.push(format!("{place}::guest"));
        }
        let passed = suite.count(Outcome::Passed);
        counts.suites += 1;
        counts.passed += passed;
        println!("{place} ... {passed} passed, {} failed ({:.0} s)", failed.len(), suite.seconds());
        if !failed.is_empty() {
            println!("{}", suite.evidence());
            if let Some(error) = died {
                println!("{error:#}");
            }
            println!("-- end of {place}");
        }
        counts.failed.extend(failed);
    }

    /// Prints what failed and, as the last line, the count.
    pub(crate) fn finish(&self) -> ExitCode {
        let counts = self.counts();
        self.section("result");
        for name in &counts.failed {
            println!("FAILED {name}");
        }
        // More likely a mistyped filter than a success.
        if counts.suites == 0 {
            println!("no test was run");
        }
        println!("{} passed, {} failed", counts.passed, counts.failed.len());
        let is_success = counts.failed.is_empty() && counts.suites > 0;
        if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failed test as it is listed: a guest that died proves less than a test that did not hold.
fn called(place: &str, name: &str, outcome: Outcome) -> String {
    format!("{place}::{name}{}", if outcome == Outcome::Lost { " (never ended)" } else { "" })
}
