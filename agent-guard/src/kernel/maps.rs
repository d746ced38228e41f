//! The maps, typed. Their names and records are the ABI's; nothing else in the daemon knows them.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use agent_guard_common::answer::{Answer, AnswerKey};
use agent_guard_common::egress::{Heard, HeardKey, Named, NamedKey, SocketState};
use agent_guard_common::rule::{
    Alternatives, CommandKey, CommandTable, EndpointKey, EndpointLabels, InodeKey, InodeLabel, NameKey, ROWS, Row,
    WordKey,
};
use agent_guard_common::session::{Enrolment, Outcomes, SessionRecord, Tag};
use agent_guard_common::{control, counter, limits, map};
use aya::Ebpf;
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray};

use super::error::Error;
use super::pins;
use crate::system;

/// All maps but the ring, which its reader owns.
pub(super) struct Maps {
    tags: MapData,
    pub(super) enrol: HashMap<MapData, u32, Enrolment>,
    pub(super) sessions: Array<MapData, SessionRecord>,
    pub(super) tasks: Array<MapData, u64>,
    pub(super) outcomes: Array<MapData, Outcomes>,
    pub(super) touched: Array<MapData, u64>,
    control: Array<MapData, u64>,
    pub(super) matrix: Array<MapData, Row>,
    pub(super) conditions: Array<MapData, Alternatives>,
    pub(super) credentials: Array<MapData, u64>,
    pub(super) inodes: HashMap<MapData, InodeKey, InodeLabel>,
    pub(super) names: HashMap<MapData, NameKey, InodeLabel>,
    pub(super) endpoints: LpmTrie<MapData, EndpointKey, EndpointLabels>,
    pub(super) named: HashMap<MapData, NamedKey, Named>,
    pub(super) heard: HashMap<MapData, HeardKey, Heard>,
    pub(super) resolvers: Array<MapData, u64>,
    pub(super) commands: HashMap<MapData, CommandKey, CommandTable>,
    pub(super) words: HashMap<MapData, WordKey, u64>,
    pub(super) answers: HashMap<MapData, AnswerKey, Answer>,
    pub(super) failures: PerCpuArray<MapData, u64>,
    pub(super) judged: PerCpuArray<MapData, u64>,
}

fn take<T: TryFrom<Map>>(object: &mut Ebpf, name: &'static str) -> Result<T, Error> {
    object.take_map(name).and_then(|map| T::try_from(map).ok()).ok_or(Error::NoMap { map: name })
}

impl Maps {
    /// Takes the maps out of the loaded object.
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        let Some(Map::Unsupported(tags)) = object.take_map(map::TAGS) else {
            return Err(Error::NoMap { map: map::TAGS });
        };
        Ok(Self {
            tags,
            enrol: take(object, map::ENROL)?,
            sessions: take(object, map::SESSIONS)?,
            tasks: take(object, map::TASKS)?,
            outcomes: take(object, map::OUTCOMES)?,
            touched: take(object, map::TOUCHED)?,
            control: take(object, map::CONTROL)?,
            matrix: take(object, map::MATRIX)?,
            conditions: take(object, map::CONDITIONS)?,
            credentials: take(object, map::CREDENTIALS)?,
            inodes: take(object, map::INODES)?,
            names: take(object, map::NAMES)?,
            endpoints: take(object, map::ENDPOINTS)?,
            named: take(object, map::NAMED)?,
            heard: take(object, map::HEARD)?,
            resolvers: take(object, map::RESOLVERS)?,
            commands: take(object, map::COMMANDS)?,
            words: take(object, map::WORDS)?,
            answers: take(object, map::ANSWERS)?,
            failures: take(object, map::FAILURES)?,
            judged: take(object, map::JUDGED)?,
        })
    }

    /// A control word. An unreadable one counts as never written, which refuses.
    pub(super) fn control(&self, word: u32) -> u64 {
        self.control.get(&word, 0).unwrap_or(0)
    }

    /// Writes a control word.
    pub(super) fn set_control(&mut self, word: u32, value: u64) -> Result<(), Error> {
        self.control.set(word, value, 0).map_err(Error::write(map::CONTROL))
    }

    /// The tag of the process behind a pidfd.
    pub(super) fn tag(&self, process: BorrowedFd<'_>) -> io::Result<Option<Tag>> {
        system::bpf::task_storage(self.tags.fd().as_fd(), process)
    }

    /// A per-CPU counter's sum.
    pub(super) fn sum(&self, counters: &PerCpuArray<MapData, u64>, index: u32) -> Result<u64, Error> {
        let values = counters.get(&index, 0).map_err(Error::read(map::FAILURES))?;
        Ok(values.iter().sum())
    }
}

/// Whether a lookup found something; an absent key is an answer, not a failure.
pub(super) fn present<T>(found: Result<T, MapError>, map: &'static str) -> Result<bool, Error> {
    match found {
        Ok(_) => Ok(true),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(source) => Err(Error::ReadMap { map, source }),
    }
}

/// The result of a removal; what was not there is gone all the same.
pub(super) fn removed(result: Result<(), MapError>, map: &'static str) -> Result<(), Error> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::WriteMap { map, source }),
    }
}

/// A map's shape: name, bytes of key and value, entries.
type Shape = (&'static str, usize, usize, u32);

const fn shape<K, V>(name: &'static str, entries: u32) -> Shape {
    (name, size_of::<K>(), size_of::<V>(), entries)
}

const SHAPES: &[Shape] = &[
    shape::<u32, Tag>(map::TAGS, 0),
    shape::<u32, u64>(map::SOCKETS, 0),
    shape::<u32, SocketState>(map::CONNECTIONS, 0),
    shape::<u32, u64>(map::RESOLVERS, limits::SESSIONS),
    shape::<NamedKey, Named>(map::NAMED, limits::NAMED),
    shape::<HeardKey, Heard>(map::HEARD, limits::HEARD),
    shape::<u32, Enrolment>(map::ENROL, limits::ENROLMENTS),
    shape::<u32, SessionRecord>(map::SESSIONS, limits::SESSIONS),
    shape::<u32, u64>(map::TASKS, limits::SESSIONS),
    shape::<u32, Outcomes>(map::OUTCOMES, limits::SESSIONS),
    shape::<u32, u64>(map::TOUCHED, limits::SESSIONS),
    shape::<u32, u64>(map::CONTROL, control::WORDS),
    shape::<u32, Row>(map::MATRIX, ROWS),
    shape::<u32, Alternatives>(map::CONDITIONS, 2 * limits::CONDITIONS),
    shape::<u32, u64>(map::CREDENTIALS, 2 * limits::LABELS),
    shape::<InodeKey, InodeLabel>(map::INODES, limits::INODES),
    shape::<NameKey, InodeLabel>(map::NAMES, limits::NAMES),
    // The trie's key begins with the length of its prefix.
    (map::ENDPOINTS, 4 + size_of::<EndpointKey>(), size_of::<EndpointLabels>(), limits::ENDPOINTS),
    shape::<CommandKey, CommandTable>(map::COMMANDS, limits::COMMANDS),
    shape::<WordKey, u64>(map::WORDS, limits::WORDS),
    shape::<AnswerKey, Answer>(map::ANSWERS, limits::ANSWERS),
    (map::EVENTS, 0, 0, limits::RING_BYTES),
    shape::<u32, u64>(map::FAILURES, counter::PLACES * counter::ERRNOS),
    shape::<u32, u64>(map::JUDGED, counter::judged::COUNT),
];

/// Refuses pinned maps of another shape: aya adopts whatever lies at the path, and the kernel would then write
/// values of one size into buffers of another.
pub(super) fn check_pinned(pins: &Path) -> Result<(), Error> {
    for (name, key, value, entries) in SHAPES {
        let path = pins::maps(pins).join(name);
        if !path.exists() {
            continue;
        }
        let fits = MapInfo::from_pin(&path).is_ok_and(|info| {
            info.key_size() as usize == *key && info.value_size() as usize == *value && info.max_entries() == *entries
        });
        if !fits {
            return Err(Error::MapShape { path });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use agent_guard_common::map::PINNED;

    use super::SHAPES;

    #[test]
    fn every_pinned_map_has_a_shape() {
        let named: Vec<&str> = SHAPES.iter().map(|shape| shape.0).collect();
        for map in PINNED {
            assert!(named.contains(map), "{map} is adopted unchecked");
        }
    }
}
