//! Owns the rule that a promise in the security documents is held by a test: each test that they name exists, and the
//! table of weaknesses shows that it can fail.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fault, Source, code};
use crate::weaken::table;

const DOCUMENTS: [&str; 2] = ["SECURITY.md", "docs/bypass-ledger.md"];
/// What the names of tests begin with.
const PREFIXES: [&str; 9] =
    ["hold_", "tag_", "escape_", "egress_", "approval_", "audit_", "fault_", "scenario_", "long_"];

/// Checks the documents against the tests, and the table of weaknesses against both and the code.
pub(super) fn check(sources: &[Source]) -> Vec<Fault> {
    let tests = sources.iter().filter(|source| source.path.starts_with("tests/") && source.is_rust());
    let functions: BTreeSet<String> = tests.flat_map(|source| functions(&code::strip(&source.text))).collect();
    let documents = sources.iter().filter(|source| DOCUMENTS.contains(&source.path.as_str()));
    let promises: Vec<_> = documents.flat_map(promises).collect();
    let mut faults = missing(&promises, &functions);
    if let Some(weaknesses) = sources.iter().find(|source| source.path == table::FILE) {
        let promised = promises.into_iter().map(|promise| promise.test).collect();
        faults.extend(misfits(weaknesses, sources, &functions, &promised));
    }
    faults
}

fn functions(code: &str) -> Vec<String> {
    let after_fn = code.split("fn ").skip(1);
    after_fn.map(|rest| rest.chars().take_while(|c| *c == '_' || c.is_alphanumeric()).collect()).collect()
}

/// A test that a document names.
#[derive(Debug)]
struct Promise<'a> {
    document: &'a Source,
    line: usize,
    test: String,
}

fn promises(document: &Source) -> Vec<Promise<'_>> {
    let mut promises = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        // Every second piece between backquotes is quoted.
        for quoted in line.split('`').skip(1).step_by(2) {
            let test = quoted.rsplit("::").next().unwrap_or(quoted);
            if PREFIXES.iter().any(|prefix| test.starts_with(prefix)) {
                promises.push(Promise { document, line: index + 1, test: test.to_owned() });
            }
        }
    }
    promises
}

fn missing(promises: &[Promise<'_>], functions: &BTreeSet<String>) -> Vec<Fault> {
    let missing = promises.iter().filter(|promise| !functions.contains(&promise.test));
    missing
        .map(|promise| promise.document.fault(promise.line, format!("there is no test `{}`", promise.test)))
        .collect()
}

fn misfits(
    weaknesses: &Source,
    sources: &[Source],
    functions: &BTreeSet<String>,
    promised: &BTreeSet<String>,
) -> Vec<Fault> {
    let texts: BTreeMap<&str, &str> =
        sources.iter().map(|source| (source.path.as_str(), source.text.as_str())).collect();
    let faults = match table::parse(&weaknesses.text) {
        Ok(table) => table::faults(&table, |file| texts.get(file).copied(), functions, promised),
        Err(error) => vec![format!("{error:#}")],
    };
    faults.into_iter().map(|fault| weaknesses.fault(1, fault)).collect()
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
