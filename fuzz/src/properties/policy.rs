//! Texts of policies: what is refused is refused with its places, and what is accepted decides every act, or says in a typed
//! error why it does not fit. It must not know the language.

use std::collections::BTreeMap;

use agent_guard::api::check_policy;
use agent_guard::policy::{Checked, Compiled, Facts, Node, PathFacts, compile, explain, load, places};
use agent_guard_common::hash::SipKey;
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::{Tier, Verdict};

/// Words that commands, names and variables of policies are tried with.
const WORDS: [&str; 8] = ["git", "push", "rm", "-rf", "AWS_SECRET_ACCESS_KEY", "db.prod.example.com", "", "*"];
/// Labels of each policy whose cells are explained.
const EXPLAINED: usize = 4;

/// Judges a text, or what is none.
pub fn holds(bytes: &[u8]) -> bool {
    let told = check_policy(bytes).faults;
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert_eq!(told.len(), 1, "no text, and no fault");
        return false;
    };
    match load(text) {
        Ok(policy) => {
            assert_eq!(told, []);
            judge_policy(&policy);
            true
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            assert_eq!(told.len(), faults.len());
            // What ends a line to some readers.
            let lines = text.lines().count() + text.matches(['\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
            for fault in faults {
                assert!(fault.line >= 1 && fault.column >= 1 && !fault.message.is_empty(), "{fault}");
                assert!(fault.line <= lines + 1, "{fault} lies behind the text's {lines} lines");
                assert!(!fault.message.chars().any(char::is_control), "{fault:?} could fool a terminal");
            }
            false
        }
    }
}

fn judge_policy(policy: &Checked) {
    let words = WORDS.map(str::to_owned);
    assert!(policy.credentials_among(&words).len() <= words.len());
    assert!(policy.profile_names().next().is_some() && !policy.default_timeout().is_zero());
    let facts = facts(policy);
    match compile(policy, &facts) {
        Ok(compiled) => {
            assert_eq!(compile(policy, &facts).as_ref(), Ok(&compiled), "the same policy, other records");
            judge_compiled(policy, &compiled);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Every act is decided, by a rule that there is.
fn judge_compiled(policy: &Checked, compiled: &Compiled) {
    assert_eq!(compiled.profiles.len(), policy.profile_names().count());
    for (name, profile) in &compiled.profiles {
        for operation in Operation::ALL {
            for label in 0..compiled.labels.len() {
                let label = u16::try_from(label).expect("as many labels as fit");
                let cell = compiled.cell(*profile, *operation, label).expect("an act without a cell");
                let alternatives = compiled.alternatives(cell).into_iter().flatten();
                let rules = alternatives.map(|cell| (cell.verdict, cell.tier, cell.rule));
                for (verdict, tier, rule) in rules.chain([(cell.verdict, cell.tier, cell.rule)]) {
                    assert!(Verdict::try_from(verdict).is_ok() && Tier::try_from(tier).is_ok(), "{cell:?}");
                    assert!(usize::from(rule) < compiled.rules.len(), "{cell:?}");
                }
            }
            for label in compiled.labels.iter().take(EXPLAINED) {
                explain(compiled, name, *operation, &[&label.name]).expect("an act that cannot be explained");
            }
        }
        for word in WORDS {
            let arguments = WORDS.map(|word| word.as_bytes().to_vec());
            let label = compiled.match_command(*profile, &[word.as_bytes()], &arguments).unwrap_or_default();
            assert!(usize::from(label) < compiled.labels.len());
            let looked = compiled.lookup(*profile, 1, &word.to_lowercase());
            assert!(looked.rule.is_some() && usize::from(looked.label) < compiled.labels.len(), "{looked:?}");
        }
    }
}

/// A machine on which a path's directories exist and its last name does not when it begins with `x`, and each host has one
/// address.
fn facts(policy: &Checked) -> Facts {
    let homes = vec!["/root".to_owned(), "/home/user".to_owned()];
    let mut inodes: BTreeMap<String, u64> = BTreeMap::new();
    let mut node = |path: &str, name: &str| {
        let next = inodes.len() as u64 + 1;
        Node { dev: 8, ino: *inodes.entry(path.to_owned()).or_insert(next), name: name.into() }
    };
    let mut paths = BTreeMap::new();
    for path in policy.paths().flat_map(|path| places(path, &homes)) {
        let mut facts = PathFacts { chain: vec![node("/", "")], ..PathFacts::default() };
        let mut whole = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            whole = format!("{whole}/{name}");
            if name.starts_with('x') || !facts.missing.is_empty() {
                facts.missing.push(name.into());
            } else {
                facts.chain.push(node(&whole, name));
            }
        }
        paths.insert(path, facts);
    }
    let address = |number: usize| [203, 0, 113, u8::try_from(number % 256).unwrap_or_default()].into();
    let hosts = policy.hosts().enumerate().map(|(number, host)| (host.to_owned(), vec![address(number)])).collect();
    Facts { generation: 1, key: SipKey { k0: 7, k1: 11 }, profiles: BTreeMap::new(), homes, paths, hosts }
}
