//! Owns the copy of the project in which it is weakened: the checkout itself is never changed.
//!
//! Must not know which weaknesses there are.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::{Run as _, cargo};
use crate::test::is_named_long;
use crate::weaken::table::Weakness;

/// Where the copy lies; kept from one time to the next for what was built in it.
const COPY: &str = "target/weaken";
/// What of the checkout's own cache the copy uses too: kernels and root file systems.
const SHARED: &str = "target/vm";

/// What a suite says whose daemon did not start, or not in time: such a failure proves nothing either.
const NO_DAEMON: [&str; 2] = ["the daemon ended with ", "not within 60 s: the daemon's answer"];

/// A copy of what is committed.
#[derive(Debug)]
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// Makes the copy, or brings it to what is committed now.
    pub(crate) fn make() -> Result<Self> {
        let origin = paths::current()?;
        let copy = Self { root: origin.join(COPY) };
        if !copy.root.join(".git").is_dir() {
            let mut clone = Command::new("git");
            clone.args(["clone", "--quiet", "--shared", "--no-checkout"]).arg(&origin).arg(&copy.root).run()?;
            paths::create(&copy.root.join("target"))?;
            paths::create(Path::new(SHARED))?;
            symlink(origin.join(SHARED), copy.root.join(SHARED)).context("cannot link the cache of guests")?;
        }
        copy.git(&["fetch", "--quiet", "origin", "HEAD"])?;
        copy.git(&["checkout", "--quiet", "--force", "--detach", "FETCH_HEAD"])?;
        Ok(copy)
    }

    /// Runs the tests that stand against a weakness, with it, and returns the names of those that ran and failed.
    pub(crate) fn failures(&self, weakness: &Weakness, kernel: &str) -> Result<BTreeSet<String>> {
        // Whatever the last one has left, though it was broken off half-way.
        self.git(&["checkout", "--quiet", "--force", "."])?;
        for edit in &weakness.edits {
            let file = self.root.join(&edit.file);
            let text = String::from_utf8(paths::read(&file)?)?;
            if text.matches(&edit.from).count() != 1 {
                bail!("{} does not have this once: {:?}", edit.file, edit.from);
            }
            paths::write(&file, text.replacen(&edit.from, &edit.to, 1))?;
        }
        failed(&self.test(weakness, kernel)?)
    }

    fn test(&self, weakness: &Weakness, kernel: &str) -> Result<String> {
        let mut test = cargo("xtask");
        test.current_dir(&self.root).args(["test", "--kernel", kernel]);
        for name in &weakness.tests {
            test.args(["--filter", name]);
        }
        for hook in &weakness.hooks {
            test.args(["--without", hook]);
        }
        if weakness.tests.iter().any(|name| is_named_long(name)) {
            test.arg("--long");
        }
        let output = test.stdin(Stdio::null()).output().context("cannot start cargo xtask test")?;
        let text = [output.stdout, output.stderr].concat();
        let log = self.root.join("target").join(format!("{}.log", weakness.name));
        fs::write(&log, &text).with_context(|| format!("cannot write `{}`", log.display()))?;
        String::from_utf8(text).context("the tests did not write UTF-8")
    }

    fn git(&self, arguments: &[&str]) -> Result<()> {
        Command::new("git").arg("-C").arg(&self.root).args(arguments).run()
    }
}

/// The names of the tests that ran and failed, from the account at the end of a run. What is said of a build or a guest
/// is an error: such a failure proves nothing.
fn failed(output: &str) -> Result<BTreeSet<String>> {
    let Some((_, account)) = output.rsplit_once("\n== result\n") else {
        bail!("the tests did not run to their end");
    };
    if let Some(line) = output.lines().find(|line| NO_DAEMON.iter().any(|text| line.contains(text))) {
        bail!("{line}");
    }
    let mut failed = BTreeSet::new();
    for line in account.lines().filter_map(|line| line.strip_prefix("FAILED ")) {
        let name = line.rsplit("::").next().unwrap_or(line);
        if !line.contains("::") || name == "guest" {
            bail!("{line} failed");
        }
        failed.insert(name.to_owned());
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::failed;

    #[test]
    fn only_a_test_that_ran_and_failed_counts() {
        let account = |lines: &str| format!("6.12 kernel ... 1 passed\n\n== result\n{lines}1 passed, 2 failed\n");
        let names = failed(&account("FAILED 6.12 kernel::file::hold_a\nFAILED 6.12 kernel::hold_b (never ended)\n"));
        assert_eq!(names.unwrap().into_iter().collect::<Vec<_>>(), ["hold_a", "hold_b (never ended)"]);
        assert!(failed(&account("FAILED BPF object\n")).is_err());
        assert!(failed(&account("FAILED 6.12 kernel::guest\n")).is_err());
        for text in super::NO_DAEMON {
            assert!(failed(&format!("{text}\n{}", account(""))).is_err());
        }
        assert!(failed("error: could not compile").is_err());
    }
}
