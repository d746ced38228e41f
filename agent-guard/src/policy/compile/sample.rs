//! A machine made of a list of paths, for tests: every path is an object of its own on one device.

use std::collections::BTreeMap;

use agent_guard_common::hash::SipKey;

use super::{CompileError, Compiled, Facts, Node, PathFacts, compile};
use crate::policy::load;

/// The device of all objects.
pub(in crate::policy) const DEV: u32 = 8;

/// The inode number of a path: its place in the list, from 1; the root's is 1.
pub(in crate::policy) fn ino(existing: &[&str], path: &str) -> u64 {
    if path == "/" { 1 } else { existing.iter().position(|known| *known == path).unwrap() as u64 + 2 }
}

/// What a machine with these paths (directories before what lies in them) looks like to a policy.
pub(in crate::policy) fn path_facts(existing: &[&str], path: &str) -> PathFacts {
    let mut facts = PathFacts { chain: vec![Node { dev: DEV, ino: 1, name: Vec::new() }], ..PathFacts::default() };
    let mut whole = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        whole.push('/');
        whole.push_str(name);
        if existing.contains(&whole.as_str()) {
            facts.chain.push(Node { dev: DEV, ino: ino(existing, &whole), name: name.into() });
        } else {
            facts.missing.push(name.into());
        }
    }
    facts
}

/// The facts for a policy's text, without any hosts.
pub(in crate::policy) fn facts(text: &str, existing: &[&str]) -> Facts {
    let policy = load(text).unwrap();
    Facts {
        generation: 7,
        key: SipKey { k0: 1, k1: 2 },
        profiles: BTreeMap::new(),
        homes: Vec::new(),
        paths: policy.paths().map(|path| (path.to_owned(), path_facts(existing, path))).collect(),
        hosts: BTreeMap::new(),
    }
}

/// Compiles a text for a machine.
pub(in crate::policy) fn compiled(text: &str, facts: &Facts) -> Result<Compiled, CompileError> {
    compile(&load(text).unwrap(), facts)
}
