//! Owns what Rust's test harness prints: which tests there are, and how each ended.
//!
//! Must not know where the harness runs. A test that was begun and never ended has failed: its guest may have died.
//! What a test's own children print can look like an outcome, so that in the end the harness's own count must agree.

use std::collections::BTreeMap;
use std::time::Instant;

/// How one test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran and held.
    Passed,
    /// It ran and did not hold.
    Failed,
    /// It was begun, or owed, and never ended.
    Lost,
    /// It was not asked for.
    Ignored,
}

/// Stands among the failed tests where the harness counts other outcomes than were read.
const MISCOUNT: &str = "count of the harness";

/// One run of one test program, read as it is printed.
#[derive(Debug)]
pub(crate) struct Suite {
    outcomes: BTreeMap<String, Outcome>,
    running: Option<String>,
    has_ended: bool,
    lines: Vec<String>,
    start: Instant,
    seconds: f32,
}

impl Suite {
    /// Begins a run that is to contain these tests.
    pub(crate) fn expecting<'a>(tests: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            outcomes: tests.into_iter().map(|name| (name.to_owned(), Outcome::Lost)).collect(),
            running: None,
            has_ended: false,
            lines: Vec::new(),
            start: Instant::now(),
            seconds: 0.0,
        }
    }

    /// Reads one line.
    ///
    /// A program that a test starts may write between a test's name and its outcome, which then begins a line.
    pub(crate) fn read(&mut self, line: &str) {
        self.lines.push(line.to_owned());
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.has_ended = true;
            self.seconds = self.start.elapsed().as_secs_f32();
            self.compare(summary);
        } else if let Some((name, rest)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            // Of a test that should panic the harness says so between name and dots.
            let name = name.split_once(" - should panic").map_or(name, |(name, _)| name);
            self.running = Some(name.to_owned());
            self.end_of_test(rest);
        } else if self.running.is_some() {
            self.end_of_test(line);
        }
    }

    fn end_of_test(&mut self, text: &str) {
        let outcome = match text.split([' ', ',']).next() {
            Some("ok") => Outcome::Passed,
            Some("FAILED") => Outcome::Failed,
            Some("ignored") => Outcome::Ignored,
            _ => return,
        };
        if let Some(name) = self.running.take() {
            self.outcomes.insert(name, outcome);
        }
    }

    /// Compares the harness's own count with what was read. The last summary counts: a child may print one, too.
    fn compare(&mut self, summary: &str) {
        self.outcomes.remove(MISCOUNT);
        let read = [self.count(Outcome::Passed), self.failed().count()];
        if ["passed", "failed"].map(|word| counted(summary, word)) != read.map(Some) {
            self.outcomes.insert(MISCOUNT.to_owned(), Outcome::Failed);
        }
    }

    /// Counts the tests that ended so.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.values().filter(|of| **of == outcome).count()
    }

    /// Returns the tests that failed or never ended.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (&str, Outcome)> {
        let all = self.outcomes.iter().map(|(name, outcome)| (name.as_str(), *outcome));
        all.filter(|(_, outcome)| matches!(outcome, Outcome::Failed | Outcome::Lost))
    }

    /// How long it took, to its summary or until now.
    pub(crate) fn seconds(&self) -> f32 {
        if self.has_ended { self.seconds } else { self.start.elapsed().as_secs_f32() }
    }

    /// What a person needs to see of a run with failures: the harness's own account, or the end of what was printed.
    pub(crate) fn evidence(&self) -> String {
        let account = self.lines.iter().position(|line| line == "failures:");
        let last_lines = self.lines.len().saturating_sub(100);
        self.lines[account.unwrap_or(last_lines)..].join("\n")
    }
}

/// The number before a word of the harness's summary.
fn counted(summary: &str, word: &str) -> Option<usize> {
    let before = summary.split([';', '.']).find_map(|part| part.trim().strip_suffix(word))?;
    before.trim().parse().ok()
}

/// Reads what the harness lists with `--list --format terse`.
pub(crate) fn listed(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Suite, listed};

    fn suite(expected: &[&str], text: &str) -> Suite {
        let mut suite = Suite::expecting(expected.iter().copied());
        text.lines().for_each(|line| suite.read(line));
        suite
    }

    #[test]
    fn each_outcome_is_counted() {
        let text = "running 3 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ignored, long\n\
                    test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let suite = suite(&["a", "b"], text);
        assert_eq!(suite.count(Outcome::Passed), 1);
        assert_eq!(suite.failed().collect::<Vec<_>>(), [("b", Outcome::Failed)]);
        assert_eq!(suite.count(Outcome::Ignored), 1);
    }

    #[test]
    fn a_suite_that_dies_fails_the_tests_that_it_owed() {
        let suite = suite(&["a", "b", "c"], "test a ... ok\ntest b ... ");
        assert_eq!(suite.failed().collect::<Vec<_>>(), [("b", Outcome::Lost), ("c", Outcome::Lost)]);
    }

    #[test]
    fn noise_between_a_name_and_its_outcome_does_not_hide_it() {
        let suite = suite(&["a", "b"], "test a ... agent-guard: ready\nrm: cannot remove\nok\ntest b ... FAILED");
        assert_eq!(suite.count(Outcome::Passed), 1);
        assert_eq!(suite.failed().collect::<Vec<_>>(), [("b", Outcome::Failed)]);
    }

    #[test]
    fn what_a_child_prints_does_not_pass_a_test_that_the_harness_has_failed() {
        let printed = "test a ... ok, said a child\ntest b ... ok\n";
        let summary = |passed, failed| format!("test result: x. {passed} passed; {failed} failed; 0 ignored\n");
        let honest = suite(&["a", "b"], &format!("{printed}{}", summary(2, 0)));
        assert_eq!((honest.count(Outcome::Passed), honest.failed().count()), (2, 0));
        let faked = suite(&["a", "b"], &format!("{printed}FAILED\n{}", summary(1, 1)));
        assert_eq!(faked.failed().collect::<Vec<_>>(), [(super::MISCOUNT, Outcome::Failed)]);
        // A summary that a child prints is not the last one.
        let both = suite(&["a", "b"], &format!("{printed}{}{}", summary(2, 0), summary(1, 1)));
        assert_eq!(both.failed().collect::<Vec<_>>(), [(super::MISCOUNT, Outcome::Failed)]);
        let noise = suite(&["a"], &format!("test a ... \ntest result: x. 7 passed; 0 failed\nok\n{}", summary(1, 0)));
        assert_eq!((noise.count(Outcome::Passed), noise.failed().count()), (1, 0));
        assert_eq!(suite(&["a"], "test a ... ok\ntest result: ok.").failed().count(), 1, "no count is none");
    }

    #[test]
    fn a_test_that_should_panic_keeps_its_name() {
        assert_eq!(suite(&["a"], "test a - should panic ... ok").count(Outcome::Passed), 1);
    }

    #[test]
    fn evidence_is_the_account_of_the_failures() {
        let suite = suite(&["a"], "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nwhy\n");
        assert!(suite.evidence().starts_with("failures:"));
        assert!(suite.evidence().ends_with("why"));
    }

    #[test]
    fn a_list_names_tests_only() {
        assert_eq!(listed("b::two: test\na: test\nc: benchmark\n"), ["b::two", "a"]);
    }
}
