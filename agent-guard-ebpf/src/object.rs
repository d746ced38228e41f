//! Files as objects: labels by (device, inode) and by name, found by climbing `d_parent`.
//!
//! Identity is the kernel's: hard links, bind mounts, namespaces and chroots change nothing. A name that does
//! not exist yet is labelled through its directory.

use agent_guard_common::event::{Event, Head, flag};
use agent_guard_common::hash::{Sip, SipKey};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{
    ANY_DEVICE, BLOCK_DEVICE, CHARACTER_DEVICE, FILES_ANYWHERE, InodeKey, InodeLabel, NAMED_CHILDREN, NameKey,
    SOCKETS_ANYWHERE, UNLABELLED,
};
use agent_guard_common::verdict::Reason;

use crate::emit;
use crate::hook::Object;
use crate::kernel::{Pointer, constant, member};
use crate::maps::{INODES, NAMES};
use crate::name::{self, name_hash};
use crate::walk;

// include/uapi/linux/stat.h
pub const S_IFMT: u16 = 0o170_000;
pub const S_IFDIR: u16 = 0o040_000;
const S_IFREG: u16 = 0o100_000;
const S_IFSOCK: u16 = 0o140_000;
const S_IFBLK: u16 = 0o060_000;
const S_IFCHR: u16 = 0o020_000;

/// A directory entry, existing or not.
#[derive(Clone, Copy)]
pub struct Entry(pub Pointer);

/// The same, for acts that are seldom done: the walk costs them more, and costs the verifier less.
#[derive(Clone, Copy)]
pub struct Seldom(pub Entry);

impl Entry {
    /// Inode number; 0 when there is no inode.
    #[inline(always)]
    fn inode(self) -> u64 {
        let inode = self.0.follow(&member::DENTRY_INODE);
        if inode.is_null() { 0 } else { inode.load(&member::INODE_NUMBER) }
    }

    #[inline(always)]
    fn device(self) -> u32 {
        self.0.follow(&member::DENTRY_SUPER).load(&member::SUPER_DEV)
    }

    #[inline(always)]
    pub fn parent(self) -> Self {
        Self(self.0.follow(&member::DENTRY_PARENT))
    }

    #[inline(always)]
    fn is(self, kind: u16) -> bool {
        let inode = self.0.follow(&member::DENTRY_INODE);
        !inode.is_null() && inode.load::<u16>(&member::INODE_MODE) & S_IFMT == kind
    }

    /// Whether it is a regular file.
    #[inline(always)]
    pub fn is_regular(self) -> bool {
        self.is(S_IFREG)
    }

    /// Whether it is something that keeps what is written to it, or stands for something that does.
    #[inline(always)]
    pub fn has_content(self) -> bool {
        self.is_regular() || self.is(S_IFDIR) || self.is(S_IFBLK) || self.is(S_IFCHR)
    }

    /// Whether the kernel is still looking for what bears this name.
    #[inline(always)]
    pub fn is_in_lookup(self) -> bool {
        self.0.load::<u32>(&member::DENTRY_FLAGS) & constant::PAR_LOOKUP.load() != 0
    }

    /// Whether its file system makes and opens a file in one act of its own, which need not leave a call to be run again.
    #[inline(always)]
    pub fn opens_atomically(self) -> bool {
        let acts = self.parent().0.follow(&member::DENTRY_INODE).follow(&member::INODE_ACTS);
        !acts.follow(&member::ACTS_ATOMIC_OPEN).is_null()
    }

    /// The nearest label. `structural`: the act would move, replace or remove the entry itself, so what lies
    /// below speaks first.
    #[inline(always)]
    fn label(self, slot: u32, structural: bool) -> Result<u16, Reason> {
        let dev = self.device();
        let mut entry = self;
        let ino = entry.inode();
        if ino != 0
            && let Some(label) = lookup(dev, slot, ino)
            && let Some(found) = speak(label, structural)
        {
            return Ok(found);
        }
        for level in 0..walk::DIRECT {
            let parent = entry.parent();
            if parent.0.address() == entry.0.address() {
                // A file opened by its handle may have no place in the tree: nobody can say what it lies below.
                let flags: u32 = entry.0.load(&member::DENTRY_FLAGS);
                return if flags & constant::DISCONNECTED.load() == 0 {
                    Ok(UNLABELLED)
                } else {
                    Err(Reason::Undecided)
                };
            }
            let ino = parent.0.follow(&member::DENTRY_INODE).load(&member::INODE_NUMBER);
            if let Some(label) = lookup(dev, slot, ino) {
                if label.flags & NAMED_CHILDREN != 0 {
                    let named = unpack(named_label(entry.0.number(), dev, slot, ino));
                    if let Some(found) = speak(named, structural && level == 0) {
                        return Ok(found);
                    }
                }
                if label.label != UNLABELLED {
                    return Ok(label.label);
                }
            }
            entry = parent;
        }
        walk::unpacked(walk::upper_label(entry.0.number(), dev, slot))
    }

    /// The label of its place, and of what else it is.
    #[inline(always)]
    fn and_itself(self, label: u16, slot: u32, operation: Operation) -> [u16; 2] {
        let inode = self.0.follow(&member::DENTRY_INODE);
        if !matches!(operation, Operation::Read | Operation::Write | Operation::Modify | Operation::UnixConnect)
            || inode.is_null()
        {
            return [label; 2];
        }
        let mode = u32::from(inode.load::<u16>(&member::INODE_MODE));
        let other = label_itself(self.0.number(), slot, mode, inode.load(&member::INODE_DEVICE)) as u16;
        [label, if other == UNLABELLED { label } else { other }]
    }

    #[inline(always)]
    fn mix(self, sip: &mut Sip) {
        let ino = self.inode();
        sip.add(u64::from(self.device()));
        sip.add(ino);
        // The name in its directory tells two links of one inode apart, and is all that a new file has.
        sip.add(self.parent().inode());
        sip.add(name_hash(self.0.number()));
    }

    #[inline(always)]
    fn describe(self, head: &mut Head) {
        let ino = self.inode();
        head.dev = self.device();
        head.ino = if ino == 0 { self.parent().inode() } else { ino };
        if self.is(S_IFDIR) {
            head.flags |= flag::DIRECTORY;
        }
    }
}

#[inline(always)]
fn lookup(dev: u32, slot: u32, ino: u64) -> Option<InodeLabel> {
    // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
    unsafe { INODES.get(InodeKey { dev, slot, ino }) }.copied()
}

#[inline(always)]
fn speak(label: InodeLabel, structural: bool) -> Option<u16> {
    if structural && label.above != UNLABELLED {
        return Some(label.above);
    }
    if label.label != UNLABELLED { Some(label.label) } else { None }
}

/// The label of an entry's name in its directory, packed; 0 for none. `entry` is the entry's address.
///
/// A global function: the verifier looks at it once, and not on every level of a walk.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn named_label(entry: u64, dev: u32, slot: u32, ino: u64) -> u64 {
    let key = NameKey { dev, slot, ino, name: name_hash(entry) };
    // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
    match unsafe { NAMES.get(key) } {
        Some(label) => u64::from(label.label) | u64::from(label.above) << 16,
        None => 0,
    }
}

/// The label of what an entry is, wherever it lies: of the device that its node stands for, or of a file or a socket whose
/// name means something; `UNLABELLED` for none. `entry` is the entry's address. A global function as well.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn label_itself(entry: u64, slot: u32, mode: u32, device: u32) -> u64 {
    let kind = match mode as u16 & S_IFMT {
        S_IFREG => return name::label_anywhere(entry, slot, FILES_ANYWHERE),
        S_IFSOCK => return name::label_anywhere(entry, slot, SOCKETS_ANYWHERE),
        S_IFBLK => BLOCK_DEVICE,
        S_IFCHR => CHARACTER_DEVICE,
        _ => return u64::from(UNLABELLED),
    };
    let label = lookup(kind, slot, u64::from(device)).or_else(|| lookup(kind, slot, ANY_DEVICE));
    u64::from(label.map_or(UNLABELLED, |label| label.label))
}

#[inline(always)]
fn unpack(packed: u64) -> InodeLabel {
    InodeLabel { label: packed as u16, above: (packed >> 16) as u16, flags: 0 }
}

#[inline(always)]
fn is_structural(operation: Operation) -> bool {
    matches!(operation, Operation::Create | Operation::Delete | Operation::Rename | Operation::Link | Operation::Mount)
}

impl Object for Entry {
    const HAS_PATHS: bool = true;

    #[inline(always)]
    fn labels(&self, slot: u32, operation: Operation) -> Result<[u16; 2], Reason> {
        let label = self.label(slot, is_structural(operation))?;
        Ok(self.and_itself(label, slot, operation))
    }

    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        let mut sip = Sip::new(key);
        self.mix(&mut sip);
        sip.finish()
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        (*self).describe(head);
    }

    #[inline(always)]
    fn paths(&self, event: &mut Event) {
        let (bytes, cut) = emit::names(&mut event.path, self.0);
        event.head.path_bytes = bytes;
        event.head.flags |= cut;
    }
}

/// The label of an entry that is seldom acted on, by its address.
#[inline(always)]
pub fn label_of(entry: u64, slot: u32, operation: Operation) -> Result<u16, Reason> {
    walk::unpacked(walk::whole_label(entry, slot, u32::from(is_structural(operation))))
}

impl Object for Seldom {
    const HAS_PATHS: bool = true;

    #[inline(always)]
    fn labels(&self, slot: u32, operation: Operation) -> Result<[u16; 2], Reason> {
        let label = label_of(self.0.0.number(), slot, operation)?;
        Ok(self.0.and_itself(label, slot, operation))
    }

    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        self.0.hash(key)
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        self.0.describe(head);
    }

    #[inline(always)]
    fn paths(&self, event: &mut Event) {
        self.0.paths(event);
    }
}

/// Something that is to be made under a name: what it is to be counts as well, so that an approval of one fits no other.
#[derive(Clone, Copy)]
pub struct Making<E> {
    /// The name.
    pub entry: E,
    /// Its type and device, or what a symbolic link says.
    pub what: u64,
}

impl<E: Object> Object for Making<E> {
    const HAS_PATHS: bool = true;

    #[inline(always)]
    fn labels(&self, slot: u32, operation: Operation) -> Result<[u16; 2], Reason> {
        self.entry.labels(slot, operation)
    }

    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        let mut sip = Sip::new(key);
        sip.add(self.entry.hash(key));
        sip.add(self.what);
        sip.finish()
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        self.entry.describe(head);
    }

    #[inline(always)]
    fn paths(&self, event: &mut Event) {
        self.entry.paths(event);
    }
}

/// The two ends of a rename or a link.
#[derive(Clone, Copy)]
pub struct Ends {
    /// What is moved or linked.
    pub from: Entry,
    /// The name that it gets.
    pub to: Entry,
}

impl Object for Ends {
    const HAS_PATHS: bool = true;

    #[inline(always)]
    fn labels(&self, slot: u32, operation: Operation) -> Result<[u16; 2], Reason> {
        Ok([label_of(self.from.0.number(), slot, operation)?, label_of(self.to.0.number(), slot, operation)?])
    }

    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        let mut sip = Sip::new(key);
        self.from.mix(&mut sip);
        self.to.mix(&mut sip);
        sip.finish()
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        self.from.describe(head);
    }

    #[inline(always)]
    fn paths(&self, event: &mut Event) {
        self.from.paths(event);
        let (bytes, cut) = emit::names(&mut event.other, self.to.0);
        event.head.other_bytes = bytes;
        if cut != 0 {
            event.head.flags |= flag::OTHER_CUT;
        }
    }
}
