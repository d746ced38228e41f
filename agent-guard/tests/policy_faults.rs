//! Malformed policies: each fault has its place and says what was expected, and no text whatever panics.
//!
//! `policies/faults.txt` holds the cases: a title behind `===`, the policy, and its faults behind `!!`.
//! `UPDATE_FAULTS=1 cargo test --test policy_faults` writes them anew, to be read before they are kept.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use agent_guard::policy::{default_policy, load};
use proptest::prelude::{Just, Strategy, any, prop, proptest};
use proptest::sample::Index;

const CASES: &str = include_str!("policies/faults.txt");

/// A case: its title, its policy, and the faults that are expected.
struct Case {
    title: &'static str,
    policy: String,
    faults: String,
}

fn cases() -> Vec<Case> {
    let case = |text: &'static str| {
        let (title, body) = text.split_once('\n').unwrap();
        let (faults, policy): (Vec<&str>, Vec<&str>) =
            body.split_inclusive('\n').partition(|line| line.starts_with("!! "));
        Case { title, policy: policy.concat(), faults: faults.concat() }
    };
    CASES.split("=== ").filter(|text| !text.is_empty()).map(case).collect()
}

fn found(policy: &str) -> String {
    let faults = load(policy).err().unwrap_or_default();
    faults.iter().map(|fault| format!("!! {fault}\n")).collect()
}

#[test]
fn every_malformed_policy_is_refused_with_the_place_and_what_was_expected() {
    if std::env::var_os("UPDATE_FAULTS").is_some() {
        let text: String =
            cases().iter().map(|case| format!("=== {}\n{}{}", case.title, case.policy, found(&case.policy))).collect();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policies/faults.txt"), text).unwrap();
        return;
    }
    let cases = cases();
    assert!(cases.len() >= 100, "{} cases are left", cases.len());
    for case in cases {
        let found = found(&case.policy);
        assert!(!found.is_empty(), "{}: accepted", case.title);
        assert_eq!(found, case.faults, "{}", case.title);
    }
}

/// Loads a text; its faults, if any, lie within it and say something.
fn survives(text: &str) {
    let Err(faults) = load(text) else { return };
    assert!(!faults.is_empty(), "refused without a reason");
    // A carriage return ends a line as well.
    let lines =
        text.lines().count() + text.matches('\r').count() + text.matches(['\u{85}', '\u{2028}', '\u{2029}']).count();
    for fault in faults {
        assert!(fault.line >= 1 && fault.column >= 1 && !fault.message.is_empty(), "{fault}");
        assert!(fault.line <= lines + 1, "{fault} lies behind the text's {lines} lines");
        assert!(!fault.message.chars().any(char::is_control), "{fault:?} could fool a terminal");
    }
}

#[test]
fn a_line_less_or_twice_never_panics() {
    let lines: Vec<&str> = default_policy().split_inclusive('\n').collect();
    for left_out in 0..lines.len() {
        survives(&[&lines[..left_out], &lines[left_out + 1..]].concat().concat());
        survives(&[&lines[..left_out], &lines[left_out..=left_out], &lines[left_out..]].concat().concat());
        survives(&lines[..left_out].concat());
    }
}

#[test]
fn a_word_in_the_wrong_place_is_a_fault() {
    // Whatever value is put in the place of another one of another kind, somebody hears of it.
    for (from, to) in [
        ("5m", "[5m]"),
        ("human:", "7:"),
        ("hold", "{}"),
        ("delete", "Delete"),
        ("/srv/prod", "prod"),
        ("203.0.113.0/24", "203.0.113.1/24"),
        ("commands:", "paths:"),
        ("allow", "1"),
    ] {
        let text = default_policy().replace(from, to);
        assert_ne!(text, default_policy());
        assert!(load(&text).is_err(), "{from} -> {to}");
        survives(&text);
    }
}

#[test]
fn a_text_without_end_is_refused_unread() {
    let text = format!("{}{}", default_policy(), "#".repeat(1 << 20));
    let faults = load(&text).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].to_string().ends_with("bytes; at most 1048576 are read"), "{}", faults[0]);
}

#[test]
fn faults_without_end_are_cut() {
    let text = format!("version: 1\nprofiles: {{a: {{default: allow}}}}\nrules:\n{}", "- x\n".repeat(100_000));
    let faults = load(&text).unwrap_err();
    assert!(faults.len() <= 1000);
    assert!(faults.last().unwrap().message.ends_with("more faults)"));
}

/// The default policy with some pieces of it replaced by what breaks parsers.
fn mutated() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "",
        " ",
        "\n",
        "\t",
        "-",
        ":",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "!t ",
        "'",
        "\"",
        "|",
        ">",
        "#",
        "%",
        "@",
        "\\",
        "? ",
        "---\n",
        "...\n",
        "<<: ",
        "~",
        "0",
        "-1",
        "1e999",
        ".inf",
        "0x",
        "true",
        "\u{0}",
        "\u{feff}",
        "\u{2028}",
        "\u{202e}",
        "ß",
        "\r",
        "all",
        "unlabelled",
        "**",
        "/",
        "..",
        "::/0",
        "99999999999999999999999999999999999999999",
    ]);
    let edit = (any::<Index>(), 0..20_usize, piece);
    (Just(default_policy()), prop::collection::vec(edit, 1..6)).prop_map(|(text, edits)| {
        edits.into_iter().fold(text.to_owned(), |mut text, (at, length, piece)| {
            let from = text.floor_char_boundary(at.index(text.len() + 1));
            let to = text.ceil_char_boundary((from + length).min(text.len()));
            text.replace_range(from..to, piece);
            text
        })
    })
}

proptest! {
    #[test]
    fn a_damaged_policy_never_panics(text in mutated()) {
        survives(&text);
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn noise_of_yaml_never_panics(text in "([-a-z0-9:,{}\\[\\]&*!|>'\"#%@ \n?~<./]){0,200}") {
        survives(&text);
    }
}
