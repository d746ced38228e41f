//! Mounts: what is put over a place, and taken from it.
//!
//! A mount takes nothing away that lies below it, but hides it; so what lies below a mount point speaks too.

use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::call::Call;
use crate::hook::{self, Caller, Finding};
use crate::kernel::Pointer;
use crate::mounted::Mounted;

/// Judges a place; one that cannot be read as the call.
#[inline(always)]
fn judge(place: impl FnOnce() -> Option<Mounted>) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    match place() {
        Some(place) => hook::decide(&caller, &place, Operation::Mount),
        None => unreadable(&caller),
    }
}

#[inline(always)]
fn unreadable(caller: &Caller) -> i32 {
    let finding = Finding::undecided(Operation::Mount, Reason::Undecided);
    hook::conclude(caller, &Call::of(caller), &finding, 1)
}

#[inline(always)]
fn path(context: &LsmContext, argument: usize) -> Option<Mounted> {
    Mounted::at(Pointer::new(context.arg::<*const u8>(argument)))
}

/// fs/namespace.c, `path_mount(device, path, type, flags, data)`: every use of `mount`, remounts included. That of
/// telling which mounts are passed on to which namespaces mounts nothing.
#[lsm(hook = "sb_mount")]
pub fn sb_mount(context: LsmContext) -> i32 {
    // include/uapi/linux/mount.h: remount, bind; unbindable, private, slave, shared
    const MOUNTS: u64 = 1 << 5 | 1 << 12;
    const PROPAGATES: u64 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;
    let flags: u64 = context.arg(3);
    if flags & PROPAGATES != 0 && flags & MOUNTS == 0 {
        return 0;
    }
    judge(|| path(&context, 1))
}

/// fs/namespace.c, `do_umount(mount, flags)`.
#[lsm(hook = "sb_umount")]
pub fn sb_umount(context: LsmContext) -> i32 {
    judge(|| Mounted::of(Pointer::new(context.arg::<*const u8>(0))))
}

/// fs/namespace.c, `path_pivot_root(old, new)`.
#[lsm(hook = "sb_pivotroot")]
pub fn sb_pivotroot(context: LsmContext) -> i32 {
    judge(|| path(&context, 1))
}

/// fs/namespace.c, `vfs_move_mount(from, to)`: judged at both ends.
#[lsm(hook = "move_mount")]
pub fn move_mount(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let (Some(from), Some(to)) = (path(&context, 0), path(&context, 1)) else { return unreadable(&caller) };
    let here = hook::find(&to, &caller.policy, Operation::Mount);
    let there = hook::find(&from, &caller.policy, Operation::Mount);
    hook::conclude(&caller, &to, &hook::stricter(here, there), 1)
}
