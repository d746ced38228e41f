//! Compiling the policy that ships with the program: the records are the ones that were read and kept, the
//! same each time, and what does not fit is refused.
//!
//! `UPDATE_COMPILED=1 cargo test --test policy_compile` writes `policies/default.txt` anew, to be read.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agent_guard::policy::{CompileError, Compiled, Facts, Node, PathFacts, compile, default_policy, load, places};
use agent_guard_common::credential::Environment;
use agent_guard_common::hash::SipKey;
use agent_guard_common::limits::{LABELS, NAMES};
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Verdict;

const GOLDEN: &str = include_str!("policies/default.txt");

/// A machine on which a path's directories exist and its last name does not when it begins with `x`.
fn facts(policy: &str) -> Facts {
    let mut inodes: BTreeMap<String, u64> = BTreeMap::new();
    let mut inode = |path: &str| {
        let next = inodes.len() as u64 + 1;
        *inodes.entry(path.to_owned()).or_insert(next)
    };
    let mut paths = BTreeMap::new();
    let homes = vec!["/root".to_owned(), "/home/user".to_owned()];
    for path in load(policy).unwrap().paths().flat_map(|path| places(path, &homes)) {
        let mut facts =
            PathFacts { chain: vec![Node { dev: 8, ino: inode("/"), name: Vec::new() }], ..PathFacts::default() };
        let mut whole = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            write!(whole, "/{name}").unwrap();
            if name.starts_with('x') {
                facts.missing.push(name.into());
            } else {
                facts.chain.push(Node { dev: 8, ino: inode(&whole), name: name.into() });
            }
        }
        paths.insert(path, facts);
    }
    let key = SipKey { k0: 7, k1: 11 };
    Facts { generation: 1, key, profiles: BTreeMap::new(), homes, paths, hosts: BTreeMap::new() }
}

fn compiled(policy: &str) -> Result<Compiled, CompileError> {
    compile(&load(policy).unwrap(), &facts(policy))
}

/// A policy as a person reads it.
fn shown(policy: &Compiled) -> String {
    let mut text = String::new();
    let name = |label: u16| policy.labels[usize::from(label)].name.as_str();
    for (number, label) in policy.labels.iter().enumerate() {
        writeln!(text, "label {number} {} {:?}", label.name, label.kind).unwrap();
    }
    for (number, rule) in policy.rules.iter().enumerate() {
        writeln!(text, "rule {number} {} {:?} {:?} {}s", rule.name, rule.verdict, rule.tier, rule.timeout.as_secs())
            .unwrap();
    }
    for (profile, index) in &policy.profiles {
        for operation in Operation::ALL {
            for (label, number) in policy.labels.iter().zip(0_u16..) {
                let cell = policy.cell(*index, *operation, number).unwrap();
                let verdict = Verdict::try_from(cell.verdict).unwrap();
                if verdict != Verdict::Allow {
                    writeln!(
                        text,
                        "cell {profile} {} {} {verdict:?} by rule {}",
                        operation.name(),
                        label.name,
                        cell.rule
                    )
                    .unwrap();
                }
                let sets = policy.alternatives(cell).into_iter().flatten().zip(0_u64..);
                for (alternative, set) in sets.filter(|(alternative, _)| alternative.rule != cell.rule) {
                    let verdict = Verdict::try_from(alternative.verdict).unwrap();
                    let touched: Vec<&str> = Environment::of(set).map(Environment::name).collect();
                    let (operation, rule) = (operation.name(), alternative.rule);
                    writeln!(
                        text,
                        "cell {profile} {operation} {} {verdict:?} by rule {rule} with {}",
                        label.name,
                        touched.join(" ")
                    )
                    .unwrap();
                }
            }
        }
    }
    for (key, label) in &policy.inodes {
        writeln!(
            text,
            "inode {} slot {} label {} above {} flags {}",
            key.ino,
            key.slot,
            name(label.label),
            name(label.above),
            label.flags
        )
        .unwrap();
    }
    for (key, label) in &policy.names {
        writeln!(text, "name {:016x} in {} label {} above {}", key.name, key.ino, name(label.label), name(label.above))
            .unwrap();
    }
    for (bits, key, labels) in &policy.endpoints {
        writeln!(
            text,
            "endpoint {:02x?} bits {bits} {} {}-{}",
            key.address,
            name(labels[0].label),
            labels[0].first,
            labels[0].last
        )
        .unwrap();
    }
    for (key, table) in &policy.commands {
        let automaton = table.automaton;
        writeln!(
            text,
            "program {:016x} any {:x} stay {:x} start {:x} accept {:x}",
            key.program, automaton.any, automaton.stay, automaton.start, automaton.accept
        )
        .unwrap();
    }
    for (key, at) in &policy.words {
        writeln!(text, "word {:016x} of {:016x} at {at:x}", key.word, key.program).unwrap();
    }
    text
}

#[test]
fn the_default_policy_compiles_to_the_records_that_were_kept() {
    let text = shown(&compiled(default_policy()).unwrap());
    if std::env::var_os("UPDATE_COMPILED").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policies/default.txt"), text).unwrap();
    } else {
        assert_eq!(text, GOLDEN);
    }
}

#[test]
fn the_example_in_the_documentation_is_a_policy() {
    let text = include_str!("../../docs/policy.md");
    let (_, example) = text.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert_eq!(load(example).map(|policy| policy.paths().count()).map_err(|faults| format!("{faults:?}")), Ok(2));
}

#[test]
fn the_same_policy_and_facts_give_the_same_records() {
    let first = compiled(default_policy()).unwrap();
    for _ in 0..5 {
        assert_eq!(compiled(default_policy()).unwrap(), first);
    }
}

#[test]
fn the_generation_decides_the_slot_of_every_key() {
    for generation in [2, 3] {
        let policy =
            compile(&load(default_policy()).unwrap(), &Facts { generation, ..facts(default_policy()) }).unwrap();
        let slot = generation & 1;
        assert!(policy.inodes.iter().all(|(key, _)| key.slot == slot));
        assert!(policy.names.iter().all(|(key, _)| key.slot == slot));
        assert!(policy.endpoints.iter().all(|(_, key, _)| key.slot == slot.to_be()));
        assert!(policy.commands.iter().all(|(key, _)| key.slot == slot));
        assert!(policy.words.iter().all(|(key, _)| key.slot == slot));
        assert!(policy.rows.iter().all(|(index, _)| index / 512 == slot), "512 rows a slot");
    }
}

fn with(labels: &str) -> String {
    format!("version: 1\nlabels:\n{labels}profiles: {{ agent: {{ default: allow }} }}\n")
}

fn too_many(policy: &str) -> (&'static str, usize, usize) {
    match compiled(policy) {
        Err(CompileError::TooMany { what, count, limit }) => (what, count, limit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_composed_labels_than_numbers_are_refused() {
    // Each /dN holds a pair of its own: one composed label a pair, beside one for the root.
    let mut labels = String::new();
    for number in 0..100 {
        writeln!(labels, "  a{number}: {{ paths: [/d{number}/a] }}\n  b{number}: {{ paths: [/d{number}/b] }}").unwrap();
    }
    let (what, count, limit) = too_many(&with(&labels));
    assert_eq!((what, count, limit), ("labels, those composed of others included,", 257, LABELS as usize));
}

#[test]
fn more_names_than_fit_are_refused() {
    let limit = NAMES as usize / 2;
    let paths = |count: usize| {
        let paths: Vec<String> = (0..count).map(|number| format!("/x{number}")).collect();
        with(&format!("  a: {{ paths: [{}] }}\n", paths.join(", ")))
    };
    assert_eq!(compiled(&paths(limit)).unwrap().names.len(), limit);
    assert_eq!(too_many(&paths(limit + 1)), ("labelled names", limit + 1, limit));
}

#[test]
fn more_endpoints_programs_and_words_than_fit_are_refused() {
    let endpoints: Vec<String> =
        (0..8193).map(|number| format!("{{ cidr: 10.0.{}.{} }}", number / 256, number % 256)).collect();
    assert_eq!(
        too_many(&with(&format!("  a: {{ endpoints: [{}] }}\n", endpoints.join(", ")))),
        ("endpoint prefixes", 8193, 8192)
    );
    let programs: Vec<String> = (0..513).map(|number| format!("p{number}")).collect();
    assert_eq!(
        too_many(&with(&format!("  a: {{ commands: [{}] }}\n", programs.join(", ")))),
        ("programs in command patterns", 513, 512)
    );
    let words: Vec<String> =
        (0..100).flat_map(|program| (0..60).map(move |word| format!("p{program} w{word}"))).collect();
    assert_eq!(
        too_many(&with(&format!("  a: {{ commands: [{}] }}\n", words.join(", ")))),
        ("words in command patterns", 6000, 4096)
    );
}

#[test]
fn an_error_says_what_how_many_and_how_many_fit() {
    let error = CompileError::TooMany { what: "labelled names", count: 9000, limit: 8192 };
    assert_eq!(error.to_string(), "the policy needs 9000 labelled names, and 8192 fit; name fewer objects");
}
