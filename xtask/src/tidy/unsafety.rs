//! Owns the rules about `unsafe`: in which places it may stand, and that each block says why it is sound.

use super::code::has_word;
use super::{Fault, Source};

/// Everything that needs it has been moved there.
const PLACES: [&str; 4] = ["agent-guard/src/system/", "agent-guard-common/src/plain.rs", "agent-guard-ebpf/", "tests/"];
/// How far above a block its reason may begin.
const REACH: usize = 4;

/// Checks one Rust file.
pub(super) fn check(source: &Source, code: &str) -> Vec<Fault> {
    let lines: Vec<_> = source.text.lines().collect();
    let is_allowed = PLACES.iter().any(|place| source.path.starts_with(place));
    let mut faults = Vec::new();
    for (index, code) in code.lines().enumerate().filter(|(_, code)| has_word(code, "unsafe")) {
        if !is_allowed {
            faults
                .push(source.fault(index + 1, "`unsafe` outside of `system`, `plain.rs`, the BPF crate and the tests"));
        }
        let claims = code.contains("unsafe {") || code.contains("unsafe impl");
        let above = &lines[index.saturating_sub(REACH)..=index];
        if claims && !above.iter().any(|line| line.contains("SAFETY")) {
            faults.push(source.fault(index + 1, format!("no `SAFETY` in the {REACH} lines above")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::super::code::strip;
    use super::{Source, check};

    fn faults(path: &str, text: &str) -> usize {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        check(&source, &strip(text)).len()
    }

    #[test]
    fn unsafe_has_its_places() {
        let text = "// SAFETY: it is.\nunsafe { a() }\n";
        assert_eq!(faults("agent-guard/src/policy/check.rs", text), 1);
        assert_eq!(faults("agent-guard/src/system/fd.rs", text), 0);
        assert_eq!(faults("agent-guard/src/lib.rs", "#![forbid(unsafe_code)]\n"), 0);
    }

    #[test]
    fn each_block_says_why() {
        assert_eq!(faults("tests/a.rs", "let a = unsafe { b() };\n"), 1);
        assert_eq!(faults("tests/a.rs", "// SAFETY: of b.\n\n\n\nlet a = unsafe { b() };\n"), 0);
        assert_eq!(faults("tests/a.rs", "// SAFETY: of b.\n\n\n\n\nlet a = unsafe { b() };\n"), 1);
        assert_eq!(faults("tests/a.rs", "unsafe extern \"C\" {}\n"), 0);
    }
}
