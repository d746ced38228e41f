//! The environment of a new image: which of its variables are credentials.
//!
//! Must not know what a variable holds: a label names it.

use agent_guard_common::counter::Place;
use agent_guard_common::credential::EVERY;
use agent_guard_common::hash::{self, LETTERS};
use agent_guard_common::limits::{ENVIRONMENT_PIECES, WORD_BYTES};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{NameKey, UNLABELLED, VARIABLES, part};
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user_str};

use crate::credential;
use crate::emit::{self, Touch};
use crate::hook::{Caller, Object as _};
use crate::kernel::{Pointer, count, member, nothing};
use crate::maps::NAMES;
use crate::program::Program;

/// A walk over the strings of a new image's stack: its arguments, and then its environment.
#[repr(C)]
struct Strings {
    at: u64,
    /// Strings that are left, and how many of the first of them are arguments.
    left: u64,
    arguments: u64,
    /// Whether the last piece did not end its string.
    inside: u64,
    slot: u32,
    /// The label of a credential that the session had none of.
    label: u32,
}

/// Notes that a new image is given the credentials that stand in its environment. `bprm`: its `struct linux_binprm`, when
/// the image has been put in place, and its strings lie where they were copied to (fs/exec.c, `copy_strings`).
#[inline(always)]
pub fn inherit(caller: &Caller, bprm: Pointer) {
    let slot = caller.policy.slot;
    if label_of(slot, part::SOME, 0) == UNLABELLED {
        return;
    }
    let arguments = u64::from(bprm.load::<u32>(&member::BPRM_ARGC));
    let mut strings = Strings {
        at: bprm.load(&member::BPRM_STRINGS),
        left: arguments + u64::from(bprm.load::<u32>(&member::BPRM_ENVC)),
        arguments,
        inside: nothing(),
        slot,
        label: u32::from(UNLABELLED),
    };
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop(ENVIRONMENT_PIECES, next_piece as *mut _, (&raw mut strings).cast(), 0) };
    if strings.left != 0 {
        // What could not be looked at may be anything.
        credential::add(caller.tag, EVERY);
    }
    if strings.label != u32::from(UNLABELLED) {
        let touch = Touch { tag: caller.tag, operation: Operation::Exec, label: strings.label };
        emit::touched(&touch, |event| {
            let program = Program::new(bprm, 0);
            program.describe(&mut event.head);
            program.paths(event);
        });
    }
}

extern "C" fn next_piece(_: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let strings = unsafe { &mut *context.cast::<Strings>() };
    if strings.left == 0 {
        return 1;
    }
    let begun = LETTERS + nothing();
    let mut name = Name { bytes: [0; WORD_BYTES], whole: begun, first: nothing(), last: begun, ended: 0 };
    // SAFETY: the buffer holds WORD_BYTES; the helper checks the user's address.
    let length =
        unsafe { bpf_probe_read_user_str(name.bytes.as_mut_ptr().cast(), WORD_BYTES as u32, strings.at as *const _) };
    if length < 0 {
        count(Place::UserReadFailed, length);
        return 1;
    }
    if strings.arguments == 0 && strings.inside == 0 {
        let label = credential::mark(strings.slot, u32::from(label_of_variable(strings.slot, &mut name))) as u32;
        if label != u32::from(UNLABELLED) {
            strings.label = label;
        }
    }
    // One that just fills the buffer counts as long: its end is not seen.
    if (length as u64) < WORD_BYTES as u64 {
        strings.at += length as u64;
        strings.inside = 0;
        strings.left -= 1;
        strings.arguments = strings.arguments.saturating_sub(1);
    } else {
        strings.at += WORD_BYTES as u64 - 1;
        strings.inside = 1;
    }
    0
}

/// A variable's name on its way to its hashes.
#[repr(C)]
struct Name {
    bytes: [u8; WORD_BYTES],
    /// Of the whole, of what stands before the first separator (0: there is none), and of what stands behind the last.
    whole: u64,
    first: u64,
    last: u64,
    /// 1 when the name has ended, as a variable's does.
    ended: u64,
}

extern "C" fn next_letter(index: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let name = unsafe { &mut *context.cast::<Name>() };
    let byte = name.bytes[index as usize & (WORD_BYTES - 1)];
    if byte == b'=' || byte == 0 {
        name.ended = u64::from(byte != 0);
        return 1;
    }
    if byte == b'_' && name.whole != LETTERS {
        if name.first == 0 {
            name.first = name.whole;
        }
        name.last = LETTERS;
    } else {
        name.last = hash::letter(name.last, byte);
    }
    name.whole = hash::letter(name.whole, byte);
    0
}

/// The label of a variable, by its name: by the whole, by its first word, or by its last.
#[inline(always)]
fn label_of_variable(slot: u32, name: &mut Name) -> u16 {
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop(WORD_BYTES as u32, next_letter as *mut _, core::ptr::from_mut(name).cast(), 0) };
    if name.ended == 0 {
        return UNLABELLED;
    }
    let label = label_of(slot, part::WHOLE, name.whole);
    if label != UNLABELLED || name.first == 0 {
        return label;
    }
    let label = label_of(slot, part::FIRST, name.first);
    if label == UNLABELLED { label_of(slot, part::LAST, name.last) } else { label }
}

#[inline(always)]
fn label_of(slot: u32, part: u64, name: u64) -> u16 {
    // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
    unsafe { NAMES.get(NameKey { dev: VARIABLES, slot, ino: part, name }) }.map_or(UNLABELLED, |label| label.label)
}
