//! The upper part of a walk to the file system's root, for files that lie deep.
//!
//! A walk level by level is quick, and the verifier looks at each level of it anew, in every program; so only the acts
//! that programs do all the time walk the levels that most files have that way. The rest is walked here, in a loop that
//! the verifier sees one step of. Its pointers are plain numbers, and each read is a copy.

use agent_guard_common::counter::Place;
use agent_guard_common::limits::DEPTH;
use agent_guard_common::rule::{InodeKey, InodeLabel, NAMED_CHILDREN, NameKey, UNLABELLED};
use agent_guard_common::verdict::Reason;
use aya_ebpf::helpers::generated::bpf_loop;

use crate::kernel::{constant, copy, count, member, nothing};
use crate::maps::{INODES, NAMES};
use crate::name::name_hash;

/// Levels that are walked one by one before this, by what programs do all the time: few files lie deeper.
pub const DIRECT: usize = 8;

// What a walk has come to, in the upper half of its result.
const CLIMBING: u64 = 0;
const FOUND: u64 = 1;
const NOWHERE: u64 = 2;
/// Climbing from a name that the act moves, replaces or removes: what lies below it speaks first.
const STRUCTURAL: u64 = 3;

/// A walk.
#[repr(C)]
struct Climb {
    entry: u64,
    dev: u32,
    slot: u32,
    end: u64,
    label: u64,
}

/// The label that an entry's directories give it, from its parent up; packed for a global function, which the verifier
/// looks at once a program. `entry` is the entry's address.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn upper_label(entry: u64, dev: u32, slot: u32) -> u64 {
    let mut climb = Climb { entry, dev, slot, end: CLIMBING + nothing(), label: u64::from(UNLABELLED) };
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop((DEPTH - DIRECT) as u32, one_up as *mut _, (&raw mut climb).cast(), 0) };
    climb.end << 32 | climb.label
}

/// The whole of a walk, for acts that are seldom done: the label of an entry, packed as by [`upper_label`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn whole_label(entry: u64, slot: u32, structural: u32) -> u64 {
    let (mut at, mut key) = (0_u64, InodeKey { dev: 0, slot, ino: 0 });
    if !copy(&mut at, entry + u64::from(member::DENTRY_SUPER.load()))
        || !copy(&mut key.dev, at + u64::from(member::SUPER_DEV.load()))
        || !copy(&mut at, entry + u64::from(member::DENTRY_INODE.load()))
    {
        return NOWHERE << 32;
    }
    // A name that is to be made has no inode.
    if at != 0 {
        if !copy(&mut key.ino, at + u64::from(member::INODE_NUMBER.load())) {
            return NOWHERE << 32;
        }
        // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
        let found = unsafe { INODES.get(key) }.map_or(UNLABELLED, |label| speaks(label, structural != 0));
        if found != UNLABELLED {
            return FOUND << 32 | u64::from(found);
        }
    }
    let end = if structural != 0 { STRUCTURAL + nothing() } else { CLIMBING + nothing() };
    let mut climb = Climb { entry, dev: key.dev, slot, end, label: u64::from(UNLABELLED) };
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop(DEPTH as u32, one_up as *mut _, (&raw mut climb).cast(), 0) };
    climb.end << 32 | climb.label
}

/// What a label's record says of the object itself, or, to an act that would take what lies below along, of that.
#[inline(always)]
fn speaks(label: &InodeLabel, structural: bool) -> u16 {
    if structural && label.above != UNLABELLED { label.above } else { label.label }
}

/// What [`upper_label`] found.
#[inline(always)]
pub fn unpacked(result: u64) -> Result<u16, Reason> {
    match result >> 32 {
        FOUND => Ok(result as u16),
        CLIMBING | STRUCTURAL => {
            count(Place::WalkTooDeep, 0);
            Err(Reason::TooDeep)
        }
        _ => Err(Reason::Undecided),
    }
}

/// Its frame, and those of what it calls, are as small as can be: `bprm_creds_for_exec` leaves them little of the stack.
extern "C" fn one_up(_: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let climb = unsafe { &mut *context.cast::<Climb>() };
    let structural = climb.end == STRUCTURAL;
    climb.end = NOWHERE;
    let mut parent = 0_u64;
    if !copy(&mut parent, climb.entry + u64::from(member::DENTRY_PARENT.load())) {
        return 1;
    }
    let mut next = 0_u64;
    if parent == climb.entry {
        if copy(&mut next, parent + u64::from(member::DENTRY_FLAGS.load()))
            && next as u32 & constant::DISCONNECTED.load() == 0
        {
            climb.end = FOUND;
        }
        return 1;
    }
    let mut key = InodeKey { dev: climb.dev, slot: climb.slot, ino: 0 };
    if !copy(&mut next, parent + u64::from(member::DENTRY_INODE.load()))
        || !copy(&mut key.ino, next + u64::from(member::INODE_NUMBER.load()))
    {
        return 1;
    }
    // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
    if let Some(InodeLabel { label, flags, .. }) = unsafe { INODES.get(key) }.copied() {
        let named = if flags & NAMED_CHILDREN != 0 { named_label(climb, key.ino, structural) } else { UNLABELLED };
        let found = if named != UNLABELLED { named } else { label };
        if found != UNLABELLED {
            climb.end = FOUND;
            climb.label = u64::from(found);
            return 1;
        }
    }
    climb.end = CLIMBING;
    climb.entry = parent;
    0
}

/// The label of the entry's name in its directory.
#[inline(always)]
fn named_label(climb: &Climb, ino: u64, structural: bool) -> u16 {
    let key = NameKey { dev: climb.dev, slot: climb.slot, ino, name: name_hash(climb.entry) };
    // SAFETY: as for the directory's own.
    match unsafe { NAMES.get(key) } {
        Some(label) => speaks(label, structural),
        None => UNLABELLED,
    }
}
