//! What a compiled policy is in the kernel: labels of objects, and the matrix of verdicts.
//!
//! Every key carries the *slot* (the generation's lowest bit), so that generation N+1 is written beside N
//! and takes effect by one word. It must not know policy syntax.

use crate::credential::SETS;
use crate::limits::{LABELS, NAME_BYTES, PORT_RANGES, POSITIONS};
use crate::operation::OPERATIONS;
use crate::plain::abi;

/// The label of what no policy names.
pub const UNLABELLED: u16 = 0;

abi! {
    /// What happens to one operation of one profile on one label.
    pub struct Cell = 8 {
        /// A [`crate::verdict::Verdict`].
        pub verdict: u8,
        /// A [`crate::verdict::Tier`].
        pub tier: u8,
        /// Index of the rule that said so, in the policy's order; 0 is the built-in default.
        pub rule: u16,
        /// Number of the [`Alternatives`] that decide instead, by what was touched; 0 for none.
        pub condition: u16,
        /// Whose touching counts for that: a [`crate::credential::Whose`].
        pub whose: u16,
    }
}

/// Cells that decide by the set of environments that credentials were touched of; they have no conditions.
pub type Alternatives = [Cell; SETS];

/// A row of the matrix: one cell a label.
pub type Row = [Cell; LABELS as usize];

/// The row of the matrix for a slot, a profile and an operation. `None` for a profile out of range.
#[must_use]
pub const fn row_index(slot: u32, profile: u32, operation: u32) -> Option<u32> {
    if slot > 1 || profile >= crate::limits::PROFILES || operation >= OPERATIONS {
        return None;
    }
    Some((slot * crate::limits::PROFILES + profile) * OPERATIONS + operation)
}

/// Rows of the whole matrix: both slots.
pub const ROWS: u32 = 2 * crate::limits::PROFILES * OPERATIONS;

abi! {
    /// An inode, as the kernel names it: `dev` is `super_block.s_dev` (major in the upper 12 bits).
    pub struct InodeKey = 16 {
        /// Device of the file system.
        pub dev: u32,
        /// Generation slot.
        pub slot: u32,
        /// Inode number.
        pub ino: u64,
    }
}

/// In place of a file system's device: the object is a block device, and `ino` its own number ([`ANY_DEVICE`]: each).
pub const BLOCK_DEVICE: u32 = u32::MAX - 1;
/// The same for a character device.
pub const CHARACTER_DEVICE: u32 = u32::MAX;
/// The number of every device of a kind.
pub const ANY_DEVICE: u64 = u64::MAX;
/// In place of a directory's device and inode: the name is an abstract one of a unix socket.
pub const ABSTRACT_NAMES: u32 = u32::MAX;
/// In place of a directory's device: a file's name, in whatever directory it lies; the inode is a [`part`].
pub const FILES_ANYWHERE: u32 = u32::MAX - 1;
/// The same of a unix socket's file.
pub const SOCKETS_ANYWHERE: u32 = u32::MAX - 2;
/// The same of an environment variable's name.
pub const VARIABLES: u32 = u32::MAX - 3;

/// Which part of a name is meant, where a name means something by itself.
pub mod part {
    /// The whole.
    pub const WHOLE: u64 = 0;
    /// What stands behind the last separator: a file's suffix, a variable's last word.
    pub const LAST: u64 = 1;
    /// What stands before the first separator that does not begin the name.
    pub const FIRST: u64 = 2;
    /// None: the record says, with any label, that there are others.
    pub const SOME: u64 = 3;
}

abi! {
    /// A name in a directory, whether it exists or not.
    pub struct NameKey = 24 {
        /// Device of the directory.
        pub dev: u32,
        /// Generation slot.
        pub slot: u32,
        /// Inode number of the directory.
        pub ino: u64,
        /// [`crate::hash::SipKey::hash`] of the name's bytes.
        pub name: u64,
    }
}

abi! {
    /// What an inode or a name is labelled with.
    pub struct InodeLabel = 8 {
        /// The label of the object and all that lies below it; [`UNLABELLED`] when only `above` speaks.
        pub label: u16,
        /// The label that stands for what lies *below*: it judges the acts that would move or replace the
        /// object itself (delete, rename, create). 0 when nothing labelled lies below.
        pub above: u16,
        /// [`NAMED_CHILDREN`].
        pub flags: u32,
    }
}

/// The directory has labelled names: the walk must look the child's name up.
pub const NAMED_CHILDREN: u32 = 1;

abi! {
    /// A key of the endpoint trie: the slot, then the address (IPv4 as `::ffff:a.b.c.d`), in network order.
    pub struct EndpointKey = 20 {
        /// Generation slot, all 32 bits of it significant, in network order.
        pub slot: u32,
        /// Address.
        pub address: [u8; 16],
    }
}

/// Bits of the key before the address.
pub const ENDPOINT_SLOT_BITS: u32 = 32;

abi! {
    /// Ports with a label under one prefix.
    pub struct PortRange = 8 {
        /// First port.
        pub first: u16,
        /// Last port, included.
        pub last: u16,
        /// IP protocol (6, 17), 0 for any.
        pub protocol: u16,
        /// The label; [`UNLABELLED`] ends the list.
        pub label: u16,
    }
}

/// The labelled port ranges of a prefix, those of enclosing prefixes included; the first that fits wins.
pub type EndpointLabels = [PortRange; PORT_RANGES];

/// The label of a port under a prefix.
#[must_use]
pub fn endpoint_label(ranges: &EndpointLabels, protocol: u16, port: u16) -> u16 {
    for range in ranges {
        if range.label != UNLABELLED
            && port >= range.first
            && port <= range.last
            && (range.protocol == 0 || protocol == 0 || range.protocol == protocol)
        {
            return range.label;
        }
    }
    UNLABELLED
}

abi! {
    /// A program that command patterns name, by the FNV hash of its file name.
    pub struct CommandKey = 16 {
        /// [`crate::hash::word`] of the name.
        pub program: u64,
        /// Generation slot.
        pub slot: u32,
        /// Zero.
        pub reserved: u32,
    }
}

abi! {
    /// All patterns of one program as one bit-parallel automaton; see [`crate::command`].
    pub struct Automaton = 32 {
        /// Positions that match any one word.
        pub any: u64,
        /// Positions that stay where they are on any word (`**`).
        pub stay: u64,
        /// Positions that are live before the first argument.
        pub start: u64,
        /// Positions that, once passed, accept.
        pub accept: u64,
    }
}

abi! {
    /// A program's automaton, and what it finds.
    pub struct CommandTable = 160 {
        /// The automaton.
        pub automaton: Automaton,
        /// The label that each accepting position stands for.
        pub labels: [u16; POSITIONS],
    }
}

abi! {
    /// A word at some positions of one program's patterns.
    pub struct WordKey = 24 {
        /// [`crate::hash::word`] of the program's name.
        pub program: u64,
        /// [`crate::hash::word`] of the word.
        pub word: u64,
        /// Generation slot.
        pub slot: u32,
        /// Zero.
        pub reserved: u32,
    }
}

/// A name as records carry it: cut at [`NAME_BYTES`], padded with zeros.
#[must_use]
pub fn name_bytes(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}
