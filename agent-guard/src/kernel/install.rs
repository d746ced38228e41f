//! Installing a policy: generation N+1 is written beside N, and takes effect by one word.

use agent_guard_common::control;
use agent_guard_common::credential::label_index;
use agent_guard_common::egress::NamedKey;
use agent_guard_common::limits::LABELS;
use agent_guard_common::map;
use agent_guard_common::rule::{CommandKey, EndpointKey, InodeKey, NameKey, WordKey};
use aya::Pod;
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, MapData};

use super::error::Error;
use super::maps::{Maps, removed};
use super::names::{self, KnownAddress};
use crate::policy::Compiled;
use crate::system;

/// See [`super::Kernel::install`].
pub(super) fn install(maps: &mut Maps, rules: &Compiled, known: &[KnownAddress]) -> Result<(), Error> {
    let current = u32::try_from(maps.control(control::GENERATION)).unwrap_or(0);
    if rules.generation != current.wrapping_add(1) {
        return Err(Error::Generation { given: rules.generation, current });
    }
    // What waiting needs is made before anything is written: a policy that is in force is never reported as refused.
    let barrier = system::bpf::Barrier::new().map_err(Error::Barrier)?;
    let slot = rules.generation & 1;
    // An earlier attempt, or a daemon that was killed, may have left half a policy there.
    clear(maps, slot)?;
    if let Err(error) = write(maps, rules, known) {
        clear(maps, slot)?;
        return Err(error);
    }
    maps.set_control(control::GENERATION, u64::from(rules.generation))?;
    // Programs that read the word before still judge by the old generation: its records go when they have ended.
    // What cannot be cleared now is cleared before the slot is written again.
    if let Err(error) = barrier.wait().map_err(Error::Barrier).and_then(|()| clear(maps, slot ^ 1)) {
        tracing::warn!(%error, "the records of the policy before stay for now; the new one is in force");
    }
    Ok(())
}

fn write(maps: &mut Maps, rules: &Compiled, known: &[KnownAddress]) -> Result<(), Error> {
    for (index, row) in &rules.rows {
        maps.matrix.set(*index, **row, 0).map_err(Error::write(map::MATRIX))?;
    }
    for (index, cells) in &rules.conditions {
        maps.conditions.set(*index, *cells, 0).map_err(Error::write(map::CONDITIONS))?;
    }
    for label in 0..LABELS {
        let bits = rules.credentials.get(label as usize).copied().unwrap_or(0);
        let index = label_index(rules.generation & 1, label).unwrap_or(0);
        maps.credentials.set(index, u64::from(bits), 0).map_err(Error::write(map::CREDENTIALS))?;
    }
    fill(&mut maps.inodes, &rules.inodes, map::INODES)?;
    fill(&mut maps.names, &rules.names, map::NAMES)?;
    for (bits, key, labels) in &rules.endpoints {
        maps.endpoints.insert(&Key::new(*bits, *key), labels, 0).map_err(Error::write(map::ENDPOINTS))?;
    }
    for address in known {
        names::write(maps, rules.generation, address)?;
    }
    names::write_unnamed(maps, rules)?;
    fill(&mut maps.commands, &rules.commands, map::COMMANDS)?;
    fill(&mut maps.words, &rules.words, map::WORDS)
}

fn fill<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>, records: &[(K, V)], name: &'static str) -> Result<(), Error> {
    for (key, value) in records {
        map.insert(key, value, 0).map_err(Error::write(name))?;
    }
    Ok(())
}

/// Removes the labels of a slot. Its rows and alternatives stay: no label leads to them, and the next policy overwrites them.
fn clear(maps: &mut Maps, slot: u32) -> Result<(), Error> {
    empty(&mut maps.inodes, map::INODES, |key: &InodeKey| key.slot == slot)?;
    empty(&mut maps.names, map::NAMES, |key: &NameKey| key.slot == slot)?;
    empty(&mut maps.named, map::NAMED, |key: &NamedKey| key.slot == slot)?;
    empty(&mut maps.commands, map::COMMANDS, |key: &CommandKey| key.slot == slot)?;
    empty(&mut maps.words, map::WORDS, |key: &WordKey| key.slot == slot)?;
    let mut stale = Vec::new();
    for key in maps.endpoints.keys() {
        let key: Key<EndpointKey> = key.map_err(Error::read(map::ENDPOINTS))?;
        if key.data().slot == slot.to_be() {
            stale.push(key);
        }
    }
    for key in stale {
        removed(maps.endpoints.remove(&key), map::ENDPOINTS)?;
    }
    Ok(())
}

pub(super) fn empty<K: Pod + Eq, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    name: &'static str,
    is_stale: impl Fn(&K) -> bool,
) -> Result<(), Error> {
    let mut stale = Vec::new();
    for key in map.keys() {
        let key = key.map_err(Error::read(name))?;
        if is_stale(&key) {
            stale.push(key);
        }
    }
    for key in stale {
        removed(map.remove(&key), name)?;
    }
    Ok(())
}
