//! The kernel's matcher finds every command that the exact match finds, and the label that it stands for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use agent_guard::policy::{Compiled, Facts, compile, load};
use agent_guard_common::command::Matcher;
use agent_guard_common::hash::{self, SipKey};
use agent_guard_common::limits::WORD_BYTES;
use agent_guard_common::rule::CommandTable;
use proptest::prelude::{Strategy, prop, prop_assert, proptest};

fn policy(patterns: &[String]) -> Compiled {
    // Each pattern has its own label; equal ones would be a fault.
    let labels: String = patterns
        .iter()
        .enumerate()
        .map(|(index, pattern)| format!("  l{index}: {{ commands: ['{pattern}'] }}\n"))
        .collect();
    let text = format!("version: 1\nlabels:\n{labels}profiles: {{ agent: {{ default: allow }} }}\n");
    let facts = Facts {
        generation: 1,
        key: SipKey { k0: 1, k1: 2 },
        profiles: BTreeMap::new(),
        homes: Vec::new(),
        paths: BTreeMap::new(),
        hosts: BTreeMap::new(),
    };
    compile(&load(&text).unwrap(), &facts).unwrap()
}

/// What the kernel does with a program's arguments: the labels that it finds.
fn kernel(policy: &Compiled, program: &str, arguments: &[Vec<u8>]) -> Vec<u16> {
    let program = hash::word(program.as_bytes());
    let table = |key: u64| policy.commands.iter().find(|(command, _)| command.program == key).map(|(_, table)| table);
    let Some(CommandTable { automaton, labels }) = table(program) else { return Vec::new() };
    let mut matcher = Matcher::new(automaton);
    matcher.skip(automaton);
    for argument in arguments {
        let known = policy.words.iter().find(|(key, _)| key.program == program && key.word == hash::word(argument));
        // A word that fills the kernel's buffer, NUL included, may be longer: it matches only wildcards.
        let at = known.filter(|_| argument.len() + 1 < WORD_BYTES).map_or(0, |(_, at)| *at);
        matcher.word(automaton, at);
    }
    (0..64).filter(|position| matcher.accepted >> position & 1 == 1).map(|position| labels[position as usize]).collect()
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "ba", "aab"]).prop_map(ToOwned::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    let long = (WORD_BYTES - 2..=WORD_BYTES).map(|length| "a".repeat(length));
    let special = ["*", "**", "a*", "*b", "?", "[ab]", "a[!a]*"].into_iter().map(ToOwned::to_owned).chain(long);
    let special = prop::sample::select(special.collect::<Vec<_>>());
    let words = prop::collection::vec(prop::strategy::Union::new(vec![word().boxed(), special.boxed()]), 0..6);
    (prop::sample::select(vec!["git", "aws"]), words).prop_map(|(program, mut words)| {
        words.dedup_by(|next, word| next == "**" && word == "**");
        while words.last().is_some_and(|word| word == "**") {
            words.pop();
        }
        words.insert(0, program.to_owned());
        words.join(" ")
    })
}

fn arguments() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let long = (WORD_BYTES - 2..=WORD_BYTES).map(|length| "a".repeat(length));
    let long = prop::sample::select(long.chain([String::new(), "é".to_owned()]).collect::<Vec<_>>());
    let argument = prop::strategy::Union::new_weighted(vec![(8, word().boxed()), (1, long.boxed())]);
    prop::collection::vec(argument.prop_map(String::into_bytes), 0..9)
}

proptest! {
    #[test]
    fn the_kernel_finds_whatever_matches_exactly(
        patterns in prop::collection::btree_set(pattern(), 1..5),
        arguments in arguments(),
    ) {
        let patterns: Vec<String> = patterns.into_iter().collect();
        let policy = policy(&patterns);
        for pattern in &policy.patterns {
            for program in ["git", "aws"] {
                if pattern.matches(&[program.as_bytes()], &arguments) {
                    let found = kernel(&policy, program, &arguments);
                    prop_assert!(found.contains(&pattern.label), "{patterns:?} on {program} {arguments:?}: {found:?}");
                }
            }
        }
    }

    /// Without wildcards inside words the two agree entirely, so that the kernel asks for nothing in vain.
    #[test]
    fn the_kernel_finds_nothing_else_where_words_are_whole(
        words in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "*"]), 1..5),
        gap in 0..4_usize,
        arguments in prop::collection::vec(word().prop_map(String::into_bytes), 0..9),
    ) {
        let mut words = words;
        words.insert(gap.min(words.len() - 1), "**");
        let policy = policy(&[format!("git {}", words.join(" "))]);
        let exact = policy.patterns[0].matches(&[b"git"], &arguments);
        prop_assert!(exact != kernel(&policy, "git", &arguments).is_empty(), "{words:?} on {arguments:?}");
    }
}
