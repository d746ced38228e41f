//! Credentials: which a session has touched, and which cell decides for it then.
//!
//! Must not know what a credential is: a label of the policy says so.

use agent_guard_common::counter::Place;
use agent_guard_common::credential::{EXEMPT, SETS, condition_index, label_index};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{Cell, FILES_ANYWHERE, UNLABELLED};

use crate::emit::{self, Touch};
use crate::hook::{self, Caller, Finding, Object};
use crate::kernel::{Pointer, copy, count, member};
use crate::maps::{CONDITIONS, CREDENTIALS, TOUCHED};
use crate::name;
use crate::object::{S_IFDIR, S_IFMT};
use crate::task;

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
    let before = add(tag.part(|tag| tag.session), bits);
    if bits_of_one & !before != 0 {
        u64::from(one)
    } else if bits_of_other & !before != 0 {
        u64::from(other)
    } else {
        u64::from(UNLABELLED)
    }
}

/// What a session has touched: bits of environments.
#[inline(always)]
pub fn touched(session: u32) -> u64 {
    TOUCHED.get_ptr(session).map_or(SETS as u64 - 1, |bits| {
        // SAFETY: an aligned u64 of a live map is read whole. Where it cannot be told everything was touched.
        unsafe { core::ptr::read_volatile(bits) }
    })
}

/// Adds to what a session has touched; returns what it had touched before.
#[inline(always)]
pub fn add(session: u32, bits: u64) -> u64 {
    let Some(touched) = TOUCHED.get_ptr_mut(session) else { return bits };
    // SAFETY: an aligned u64 of a live map is read whole; other CPUs set bits of it as well, and the result is not used, so
    // no fetching form is asked for.
    unsafe {
        let before = core::ptr::read_volatile(touched);
        core::arch::asm!("lock *(u64 *)({p} + 0) |= {b}", p = in(reg) touched, b = in(reg) bits);
        before
    }
}

/// What a label's objects are credentials of.
#[inline(always)]
fn bits(slot: u32, label: u32) -> u64 {
    let Some(credential) = label_index(slot, label).and_then(|index| CREDENTIALS.get_ptr(index)) else {
        count(Place::PolicyMissing, 0);
        return 0;
    };
    // SAFETY: an aligned u64 of a live map is read whole.
    unsafe { core::ptr::read_volatile(credential) }
}

/// Whether an entry, by its address, is a directory. What cannot be read is none.
#[inline(always)]
fn is_directory(entry: u64) -> bool {
    let (mut inode, mut mode) = (0_u64, 0_u16);
    copy(&mut inode, entry + u64::from(member::DENTRY_INODE.load()))
        && copy(&mut mode, inode + u64::from(member::INODE_MODE.load()))
        && mode & S_IFMT == S_IFDIR
}

/// The cell that decides in place of one with a condition, by what the current task's session has touched.
#[inline(always)]
pub fn alternative(slot: u32, cell: &Cell) -> Cell {
    let packed = alternative_of(slot, u32::from(cell.condition));
    Cell { verdict: packed as u8, tier: (packed >> 8) as u8, rule: (packed >> 16) as u16, condition: 0, reserved: 0 }
}

/// The same, packed; all zero, which is undecided, where there is none.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn alternative_of(slot: u32, condition: u32) -> u64 {
    let Some(cells) = condition_index(slot, condition).and_then(|index| CONDITIONS.get_ptr(index)) else {
        count(Place::PolicyMissing, 0);
        return 0;
    };
    let all = SETS as u64 - 1;
    let set = task::tag(task::current()).map_or(all, |tag| touched(tag.part(|tag| tag.session)) & all) as usize;
    // SAFETY: the map's value is valid until the program ends; the mask keeps the index inside the cells, and a cell is
    // eight bytes, aligned as such.
    unsafe { core::ptr::read_volatile(cells.cast::<u64>().add(set)) }
}
