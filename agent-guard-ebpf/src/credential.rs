//! Credentials: which a session has touched, and which cell decides for it then.
//!
//! Must not know what a credential is: a label of the policy says so.

use agent_guard_common::counter::Place;
use agent_guard_common::credential::{EVERY, EXEMPT, Whose, condition_index, label_index, noted, own};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{Cell, FILES_ANYWHERE, UNLABELLED};

use crate::emit::{self, Touch};
use crate::hook::{self, Caller, Finding, Object};
use crate::kernel::{Pointer, copy, count, member, word};
use crate::maps::{CONDITIONS, CREDENTIALS, TOUCHED};
use crate::name;
use crate::object::{S_IFDIR, S_IFMT};
use crate::task::{self, TagPointer};

/// Ends a hook that lets a file be read, with its result: what passes has touched the credential that the file is, before
/// the first byte of it is read.
#[inline(always)]
pub fn read(result: i32, slot: u32, entry: Pointer, labels: [u16; 2]) -> i32 {
    if result == 0 && labels != [UNLABELLED; 2] {
        touch(entry.number(), slot, packed(labels));
    }
    result
}

/// Ends a hook that lets a file have another name, with its result. Where its name is all that tells a credential, that is
/// as good as reading it: under the other name nobody knows it.
#[inline(always)]
pub fn renamed(result: i32, slot: u32, entry: Pointer) -> i32 {
    if result == 0 {
        touch_named(entry.number(), slot);
    }
    result
}

/// Judges that a caller reaches an object, and notes, where it does, that it has touched what is handed out there.
#[inline(always)]
pub fn reach<O: Object>(caller: &Caller, object: &O, operation: Operation) -> i32 {
    let labels = match object.labels(caller.policy.slot, operation) {
        Ok(labels) => labels,
        Err(reason) => return hook::conclude(caller, object, &Finding::undecided(operation, reason), 1),
    };
    let result = hook::conclude(caller, object, &hook::strictest(&caller.policy, operation, labels), 1);
    if result == 0 && labels != [UNLABELLED; 2] {
        let label = mark(caller.policy.slot, packed(labels)) as u32;
        if label != u32::from(UNLABELLED) {
            emit::touched(&Touch { tag: caller.tag, operation, label }, |event| {
                object.describe(&mut event.head);
                object.paths(event);
            });
        }
    }
    result
}

/// Both labels of an object in one number, for a global function.
#[inline(always)]
fn packed([one, other]: [u16; 2]) -> u32 {
    u32::from(one) | u32::from(other) << 16
}

/// Notes that the current task's session touches a file with these labels, if it is a credential, and tells of the first
/// one of its environment. `entry` is the file's address. To list a directory of credentials touches none.
///
/// A global function, as the others: the verifier looks at it once, and not wherever something is read.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn touch(entry: u64, slot: u32, labels: u32) -> u64 {
    if is_directory(entry) {
        return 0;
    }
    let label = mark(slot, labels) as u32;
    if label == u32::from(UNLABELLED) {
        return 0;
    }
    let Some(tag) = task::tag(task::current()) else { return 0 };
    emit::touched(&Touch { tag, operation: Operation::Read, label }, |event| emit::file(event, entry));
    0
}

/// The same of a file whose name is its label.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn touch_named(entry: u64, slot: u32) -> u64 {
    let label = name::label_anywhere(entry, slot, FILES_ANYWHERE) as u32;
    if label == u32::from(UNLABELLED) { 0 } else { touch(entry, slot, label) }
}

/// Sets the bits of what the labels are credentials of; the label that has set one which was not, or `UNLABELLED`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn mark(slot: u32, labels: u32) -> u64 {
    let (one, other) = (labels & 0xffff, labels >> 16);
    let (bits_of_one, bits_of_other) = (bits(slot, one), bits(slot, other));
    let bits = bits_of_one | bits_of_other;
    if bits == 0 || bits & u64::from(EXEMPT) != 0 {
        return u64::from(UNLABELLED);
    }
    let Some(tag) = task::tag(task::current()) else { return u64::from(UNLABELLED) };
    let before = add(tag, bits);
    if bits_of_one & !before != 0 {
        u64::from(one)
    } else if bits_of_other & !before != 0 {
        u64::from(other)
    } else {
        u64::from(UNLABELLED)
    }
}

/// What the current task has touched, or another of its process, or one that it comes from, as a task's word has it.
#[inline(always)]
pub fn of_process(tag: TagPointer) -> u64 {
    // What all its threads have touched the first one notes for them.
    let first = task::tag(task::current().follow(&member::TASK_LEADER));
    first.map_or(u64::MAX, |first| first.part(|tag| tag.touched)) | tag.part(|tag| tag.touched)
}

/// What was touched, as far as it counts for a caller: a set of its session's, or above that one of its process's.
#[inline(always)]
pub fn counted(caller: &Caller) -> u64 {
    let mask = if hook::whose(&caller.policy) == Whose::Session as u16 { EVERY } else { EVERY << 4 };
    touched(caller.tag) & mask
}

/// Both sets of a caller in one word: what its session has touched, and above that what its process has. Where it cannot
/// be told everything was touched.
#[inline(always)]
fn touched(tag: TagPointer) -> u64 {
    const BOTH: u64 = EVERY << 4 | EVERY;
    let session = word(&TOUCHED, tag.part(|tag| tag.session));
    session.map_or(BOTH, |session| session & EVERY | own(session, of_process(tag)) << 4)
}

/// Adds to what the current task, its process and its session have touched; returns what the session had touched before.
#[inline(always)]
pub fn add(tag: TagPointer, bits: u64) -> u64 {
    let Some(session) = TOUCHED.get_ptr_mut(tag.part(|tag| tag.session)) else { return bits };
    // SAFETY: as in `kernel::word`.
    let before = unsafe { core::ptr::read_volatile(session) };
    set(session, bits);
    note(tag, noted(before, bits));
    before
}

/// Notes what the current task's process has touched, in the task's own tag and in that of the first one.
#[inline(always)]
fn note(tag: TagPointer, bits: u64) {
    tag.change(|tag| set(&raw mut tag.touched, bits));
    if let Some(first) = task::tag(task::current().follow(&member::TASK_LEADER)) {
        first.change(|tag| set(&raw mut tag.touched, bits));
    }
}

/// Has the current task know what its process has touched: if it executes a program, it will be the first of its process.
#[inline(always)]
pub fn take_along() {
    if let Some(tag) = task::tag(task::current()) {
        let bits = of_process(tag);
        tag.change(|tag| set(&raw mut tag.touched, bits));
    }
}

/// Sets bits of a word where other CPUs set some as well.
#[inline(always)]
fn set(word: *mut u64, bits: u64) {
    // SAFETY: the word is an aligned u64 of a live map. The result is not used, so no fetching form is asked for.
    unsafe { core::arch::asm!("lock *(u64 *)({p} + 0) |= {b}", p = in(reg) word, b = in(reg) bits) };
}

/// What a label's objects are credentials of.
#[inline(always)]
fn bits(slot: u32, label: u32) -> u64 {
    label_index(slot, label).and_then(|index| word(&CREDENTIALS, index)).unwrap_or_else(|| {
        count(Place::PolicyMissing, 0);
        0
    })
}

/// Whether an entry, by its address, is a directory. What cannot be read is none.
#[inline(always)]
fn is_directory(entry: u64) -> bool {
    let (mut inode, mut mode) = (0_u64, 0_u16);
    copy(&mut inode, entry + u64::from(member::DENTRY_INODE.load()))
        && copy(&mut mode, inode + u64::from(member::INODE_MODE.load()))
        && mode & S_IFMT == S_IFDIR
}

/// The cell that decides in place of one with a condition, by what was touched.
#[inline(always)]
pub fn alternative(slot: u32, cell: &Cell) -> Cell {
    let packed = alternative_of(slot, u32::from(cell.condition), u32::from(cell.whose));
    Cell { verdict: packed as u8, tier: (packed >> 8) as u8, rule: (packed >> 16) as u16, condition: 0, whose: 0 }
}

/// The same, packed; all zero, which is undecided, where there is none.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn alternative_of(slot: u32, condition: u32, whose: u32) -> u64 {
    let Some(cells) = condition_index(slot, condition).and_then(|index| CONDITIONS.get_ptr(index)) else {
        count(Place::PolicyMissing, 0);
        return 0;
    };
    let both = task::tag(task::current()).map_or(u64::MAX, touched);
    let set = if whose == Whose::Session as u32 { both } else { both >> 4 } & EVERY;
    // SAFETY: the map's value is valid until the program ends; the mask keeps the index inside the cells, and a cell is
    // eight bytes, aligned as such.
    unsafe { core::ptr::read_volatile(cells.cast::<u64>().add(set as usize)) }
}
