//! Owns the rules about files as text: how they begin, how long they are, what they must not contain.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::code::has_word;
use super::{Fault, Source};
use crate::process::Run as _;

const LINES: usize = 500;
const LINES_OF_TESTS: usize = 800;
/// Work that is not finished belongs into an issue.
const UNFINISHED: [&str; 4] = ["TODO", "FIXME", "todo!", "dbg!"];

/// Checks one Rust file.
pub(super) fn check(source: &Source, code: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !source.text.starts_with("//!") {
        faults.push(source.fault(1, "must open with `//!`: what the file owns, and what it must not know"));
    }
    let (length, limit) = (source.text.lines().count(), limit(&source.path));
    if length > limit {
        faults.push(source.fault(limit, format!("{length} lines where {limit} are the limit: split it by purpose")));
    }
    for (index, (line, code)) in source.text.lines().zip(code.lines()).enumerate() {
        if let Some(word) = unfinished(line, code) {
            faults.push(source.fault(index + 1, format!("`{word}`: finish it, or open an issue")));
        }
        if code.contains("#[ignore") && !code.contains("#[ignore =") {
            faults.push(source.fault(index + 1, "an ignored test needs a reason: `#[ignore = \"…\"]`"));
        }
    }
    faults
}

fn limit(path: &str) -> usize {
    if path.starts_with("tests/") { LINES_OF_TESTS } else { LINES }
}

/// The notes live in comments, the macros in code.
fn unfinished(line: &str, code: &str) -> Option<&'static str> {
    let comment = line.find("//").map_or("", |at| if code[at..].trim().is_empty() { &line[at..] } else { "" });
    UNFINISHED.into_iter().find(|word| {
        let place = if word.ends_with('!') { code } else { comment };
        has_word(place, word.trim_end_matches('!')) && place.contains(word)
    })
}

/// Names that belong to one machine: the hosts of its package archives, and the place of this checkout.
pub(super) fn private_names() -> Result<Vec<String>> {
    let uris = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).read().unwrap_or_default();
    let mut names: Vec<_> = uris.lines().filter_map(host).map(str::to_owned).collect();
    let root = env::current_dir().context("cannot tell the working directory")?;
    // A checkout right under `/`, as in some containers, has a name that is too common to look for.
    if root.components().count() > 2 {
        names.push(root.display().to_string());
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    rest.split('/').next().filter(|host| host.contains('.'))
}

/// Checks that a file names nothing that belongs to one machine; lock files name registries by their nature.
pub(super) fn private(source: &Source, names: &[String]) -> Vec<Fault> {
    if Path::new(&source.path).extension().is_some_and(|extension| extension == "lock") {
        return Vec::new();
    }
    let lines = source.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let name = names.iter().find(|name| line.contains(*name))?;
            Some(source.fault(index + 1, format!("`{name}` belongs to one machine: ask that machine at run time")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::code::strip;
    use super::{Source, check, host, private};

    fn faults(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        check(&source, &strip(text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_without_a_head_is_named() {
        assert!(faults("a.rs", "use x;\n")[0].starts_with("a.rs:1: must open"));
        assert!(faults("a.rs", "//! Owns x.\n").is_empty());
    }

    #[test]
    fn tests_may_be_longer() {
        let text = format!("//! Owns x.\n{}", "\n".repeat(600));
        assert_eq!(faults("agent-guard/src/a.rs", &text).len(), 1);
        assert!(faults("tests/suites/a.rs", &text).is_empty());
    }

    #[test]
    fn unfinished_work_is_refused_in_comments_and_in_code() {
        let note = format!("//! Owns x.\n// {}: later\n", "TO".to_owned() + "DO");
        assert_eq!(faults("a.rs", &note).len(), 1);
        assert_eq!(faults("a.rs", "//! Owns x.\nfn a() { todo!() }\n").len(), 1);
        assert!(faults("a.rs", "//! Owns x.\nlet a = \"todo!\";\n").is_empty());
    }

    #[test]
    fn an_ignored_test_needs_a_reason() {
        assert_eq!(faults("a.rs", "//! Owns x.\n#[ignore]\n").len(), 1);
        assert!(faults("a.rs", "//! Owns x.\n#[ignore = \"long\"]\n").is_empty());
    }

    #[test]
    fn hosts_are_refused_but_in_lock_files() {
        assert_eq!(host("http://mirror.test/debian/"), Some("mirror.test"));
        let names = ["mirror.test".to_owned()];
        let source = |path: &str| Source { path: path.to_owned(), text: "a\nhttp://mirror.test/x\n".to_owned() };
        assert_eq!(private(&source("a.md"), &names)[0].line, 2);
        assert!(private(&source("Cargo.lock"), &names).is_empty());
    }
}
