//! The upper part of a walk to the file system's root, for files that lie deep.
//!
//! A walk level by level is quick, and the verifier looks at each level of it anew, in every program; so the levels that
//! most files have are walked that way, and the rest here, in a loop that the verifier sees one step of. Its pointers are
//! plain numbers, and each read is a copy.

use agent_guard_common::counter::Place;
use agent_guard_common::limits::DEPTH;
use agent_guard_common::rule::{InodeKey, InodeLabel, NAMED_CHILDREN, NameKey, UNLABELLED};
use agent_guard_common::verdict::Reason;
use aya_ebpf::helpers::generated::bpf_loop;

use crate::kernel::{constant, copy, count, member};
use crate::maps::{INODES, NAMES};
use crate::object::name_hash;

/// Levels that are walked one by one before this: few files lie deeper.
pub const DIRECT: usize = 12;

// What a walk has come to, in the upper half of its result.
const CLIMBING: u64 = 0;
const FOUND: u64 = 1;
const NOWHERE: u64 = 2;

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
    let mut climb = Climb { entry, dev, slot, end: CLIMBING, label: u64::from(UNLABELLED) };
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop((DEPTH - DIRECT) as u32, one_up as *mut _, (&raw mut climb).cast(), 0) };
    climb.end << 32 | climb.label
}

/// What [`upper_label`] found.
#[inline(always)]
pub fn unpacked(result: u64) -> Result<u16, Reason> {
    match result >> 32 {
        FOUND => Ok(result as u16),
        CLIMBING => {
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
        let named = if flags & NAMED_CHILDREN != 0 { named_label(climb, key.ino) } else { UNLABELLED };
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
fn named_label(climb: &Climb, ino: u64) -> u16 {
    let key = NameKey { dev: climb.dev, slot: climb.slot, ino, name: name_hash(climb.entry) };
    // SAFETY: as for the directory's own.
    match unsafe { NAMES.get(key) } {
        Some(label) => label.label,
        None => UNLABELLED,
    }
}
