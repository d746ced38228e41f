//! Owns the table of weaknesses: what an entry says, and that it still fits the code.
//!
//! Must not know how one is tried.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::paths;

/// Where the table stands.
pub(crate) const FILE: &str = "tests/weaknesses.toml";

/// One protection, how it is taken away, and what stands for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Weakness {
    /// A short name.
    pub(crate) name: String,
    /// What is weak then, in a sentence.
    pub(crate) what: String,
    /// Hooks that are taken away in the guest.
    #[serde(default)]
    pub(crate) hooks: Vec<String>,
    /// Edits of the sources.
    #[serde(default, rename = "edit")]
    pub(crate) edits: Vec<Edit>,
    /// Names of the tests that must fail.
    pub(crate) tests: Vec<String>,
    /// The only kernel on which it shows.
    pub(crate) kernel: Option<String>,
}

/// One edit of a source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// The file.
    pub(crate) file: String,
    /// Text that stands in it once.
    pub(crate) from: String,
    /// What stands there instead.
    pub(crate) to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    weakness: Vec<Weakness>,
}

/// Reads the table of the checkout.
pub(crate) fn read() -> Result<Vec<Weakness>> {
    let text = String::from_utf8(paths::read(FILE)?).with_context(|| format!("`{FILE}` is not UTF-8"))?;
    parse(&text)
}

/// Reads a table.
pub(crate) fn parse(text: &str) -> Result<Vec<Weakness>> {
    Ok(toml::from_str::<Table>(text).with_context(|| format!("cannot read `{FILE}`"))?.weakness)
}

/// What of a table does not fit: each with the name of its entry. `source` finds a file's text, `tests` are all there are,
/// and `promised` those that documents name.
pub(crate) fn faults<'a>(
    table: &[Weakness],
    source: impl Fn(&str) -> Option<&'a str>,
    tests: &BTreeSet<String>,
    promised: &BTreeSet<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for weakness in table {
        let name = &weakness.name;
        if !names.insert(name) {
            faults.push(format!("{name}: there are two of this name"));
        }
        if weakness.hooks.is_empty() && weakness.edits.is_empty() {
            faults.push(format!("{name}: nothing is taken away"));
        }
        for test in weakness.tests.iter().filter(|test| !tests.contains(*test)) {
            faults.push(format!("{name}: there is no test `{test}`"));
        }
        for edit in &weakness.edits {
            match source(&edit.file).map(|text| text.matches(&edit.from).count()) {
                Some(1) => {}
                Some(count) => faults.push(format!("{name}: stands {count} times in {}: {:?}", edit.file, edit.from)),
                None => faults.push(format!("{name}: there is no file `{}`", edit.file)),
            }
        }
    }
    let proven: BTreeSet<&String> = table.iter().flat_map(|weakness| &weakness.tests).collect();
    let unproven = promised.iter().filter(|test| !proven.contains(test));
    faults.extend(unproven.map(|test| format!("no weakness shows that `{test}` can fail")));
    faults
}

#[cfg(test)]
mod tests {
    use super::{faults, parse};
    use std::collections::BTreeSet;

    const TABLE: &str = "
        [[weakness]]
        name = 'open'
        what = 'nothing is judged'
        hooks = ['file_open']
        tests = ['hold_a', 'hold_gone']
        [[weakness.edit]]
        file = 'a.rs'
        from = 'if x'
        to = 'if false'
        [[weakness]]
        name = 'open'
        what = 'nothing'
        tests = []
    ";

    #[test]
    fn what_does_not_fit_is_named() {
        let table = parse(TABLE).unwrap();
        let all = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let source = |file: &str| (file == "a.rs").then_some("if x { if x }");
        let faults = faults(&table, source, &all(&["hold_a", "hold_b"]), &all(&["hold_a", "hold_b"]));
        assert_eq!(
            faults,
            [
                "open: there is no test `hold_gone`",
                "open: stands 2 times in a.rs: \"if x\"",
                "open: there are two of this name",
                "open: nothing is taken away",
                "no weakness shows that `hold_b` can fail",
            ]
        );
    }

    #[test]
    fn a_key_that_nobody_knows_is_an_error() {
        assert!(parse("[[weakness]]\nname = 'a'\nwhat = 'b'\ntests = []\nkernal = '6.1'").is_err());
    }
}
