//! Owns the rule that a promise in the security documents is held by a test: each test that they name exists.

use std::collections::BTreeSet;

use super::{Fault, Source, code};

const DOCUMENTS: [&str; 2] = ["SECURITY.md", "docs/bypass-ledger.md"];
/// What the names of tests begin with.
const PREFIXES: [&str; 9] =
    ["hold_", "tag_", "escape_", "egress_", "approval_", "audit_", "fault_", "scenario_", "long_"];

/// Checks the documents against the tests.
pub(super) fn check(sources: &[Source]) -> Vec<Fault> {
    let tests = sources.iter().filter(|source| source.path.starts_with("tests/") && source.is_rust());
    let functions: BTreeSet<String> = tests.flat_map(|source| functions(&code::strip(&source.text))).collect();
    let documents = sources.iter().filter(|source| DOCUMENTS.contains(&source.path.as_str()));
    documents.flat_map(|document| missing(document, &functions)).collect()
}

fn functions(code: &str) -> Vec<String> {
    let after_fn = code.split("fn ").skip(1);
    after_fn.map(|rest| rest.chars().take_while(|c| *c == '_' || c.is_alphanumeric()).collect()).collect()
}

fn missing(document: &Source, functions: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        // Every second piece between backquotes is quoted.
        for quoted in line.split('`').skip(1).step_by(2) {
            let name = quoted.rsplit("::").next().unwrap_or(quoted);
            let is_test = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            if is_test && !functions.contains(name) {
                faults.push(document.fault(index + 1, format!("there is no test `{name}`")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    #[test]
    fn a_test_that_is_named_must_exist() {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let sources = [
            source(
                "SECURITY.md",
                "| hard link | `escape_hard_link` |\n| io_uring | `escapes::escape_io_uring`, `x`, `long_stress` |\n",
            ),
            source("tests/suites/escapes.rs", "fn escape_hard_link() {}\n// fn escape_io_uring() {}\n"),
        ];
        let faults: Vec<_> = check(&sources).iter().map(ToString::to_string).collect();
        let missing =
            ["escape_io_uring", "long_stress"].map(|name| format!("SECURITY.md:2: there is no test `{name}`"));
        assert_eq!(faults, missing);
    }
}
