//! Owns the rule that every crate opts into the lints: declared lints that no crate inherits check nothing.

use super::{Fault, Source};

/// Built apart from the workspace, so they have lints of their own.
const APART: [&str; 2] = ["agent-guard-ebpf/Cargo.toml", "fuzz/Cargo.toml"];

/// Checks one manifest; other files have none to break.
pub(super) fn check(source: &Source) -> Option<Fault> {
    let is_manifest = source.path == "Cargo.toml" || source.path.ends_with("/Cargo.toml");
    if !is_manifest || !source.text.contains("[package]") {
        return None;
    }
    let expected = if APART.contains(&source.path.as_str()) { "[lints.rust]\n" } else { "[lints]\nworkspace = true\n" };
    let has_lints = source.text.contains(expected);
    (!has_lints).then(|| source.fault(1, format!("the crate has no `{}`", expected.trim_end().replace('\n', " "))))
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    fn has_fault(path: &str, text: &str) -> bool {
        check(&Source { path: path.to_owned(), text: text.to_owned() }).is_some()
    }

    #[test]
    fn every_crate_opts_in() {
        assert!(has_fault("xtask/Cargo.toml", "[package]\nname = \"x\"\n"));
        assert!(!has_fault("xtask/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"));
        assert!(!has_fault("Cargo.toml", "[workspace]\n"));
        assert!(has_fault("agent-guard-ebpf/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"));
    }
}
