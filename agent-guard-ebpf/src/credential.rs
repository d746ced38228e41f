//! Credentials: which a session has touched, and which cell decides for it then.
//!
//! Must not know what a credential is: a label of the policy says so.

use agent_guard_common::counter::Place;
use agent_guard_common::credential::{SETS, condition_index, label_index};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{Cell, UNLABELLED};

use crate::emit;
use crate::kernel::{Pointer, copy, count, member};
use crate::maps::{CONDITIONS, CREDENTIALS, TOUCHED};
use crate::object::{S_IFDIR, S_IFMT};
use crate::task;

/// Ends a hook that lets a file be read, with its result: what passes has touched the credential that the file is, before
/// the first byte of it is read.
#[inline(always)]
pub fn read(result: i32, slot: u32, entry: Pointer, label: u16) -> i32 {
    if result == 0 && label != UNLABELLED {
        touch(entry.number(), slot, u32::from(label));
    }
    result
}

/// Notes that the current task's session touches what bears a label, if that is a credential, and tells of the first one
/// of its environment. `entry` is the file's address. To list a directory of credentials touches none.
///
/// A global function, as the next: the verifier looks at it once, and not wherever something is read.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn touch(entry: u64, slot: u32, label: u32) -> u64 {
    let Some(credential) = label_index(slot, label).and_then(|index| CREDENTIALS.get_ptr(index)) else {
        count(Place::PolicyMissing, 0);
        return 0;
    };
    // SAFETY: an aligned u64 of a live map is read whole.
    let bits = unsafe { core::ptr::read_volatile(credential) };
    if bits == 0 || is_directory(entry) {
        return 0;
    }
    let Some(tag) = task::tag(task::current()) else { return 0 };
    let Some(touched) = TOUCHED.get_ptr_mut(tag.part(|tag| tag.session)) else { return 0 };
    // SAFETY: as above; other CPUs set bits of it as well, and the result is not used, so no fetching form is asked for.
    let before = unsafe {
        let before = core::ptr::read_volatile(touched);
        core::arch::asm!("lock *(u64 *)({p} + 0) |= {b}", p = in(reg) touched, b = in(reg) bits);
        before
    };
    if before & bits != bits {
        emit::touched(tag, Operation::Read, label, entry);
    }
    0
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
    let session = task::tag(task::current()).map(|tag| tag.part(|tag| tag.session));
    let touched = session.and_then(|session| TOUCHED.get_ptr(session));
    // SAFETY: an aligned u64 of a live map is read whole. Where it cannot be told everything was touched.
    let set = touched.map_or(SETS - 1, |bits| unsafe { core::ptr::read_volatile(bits) } as usize & (SETS - 1));
    // SAFETY: the map's value is valid until the program ends; the mask keeps the index inside the cells, and a cell is
    // eight bytes, aligned as such.
    unsafe { core::ptr::read_volatile(cells.cast::<u64>().add(set)) }
}
