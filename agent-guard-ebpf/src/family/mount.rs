//! Mounts: what is put over a place, and taken from it.
//!
//! A mount takes nothing away that lies below it, but hides it; so what lies below a mount point speaks too.

use agent_guard_common::operation::Operation;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::hook::{self, Caller};
use crate::kernel::{Pointer, member};
use crate::object::Entry;

#[inline(always)]
fn path(context: &LsmContext, argument: usize) -> Entry {
    Entry(Pointer::new(context.arg::<*const u8>(argument)).follow(&member::PATH_DENTRY))
}

/// fs/namespace.c, `path_mount(device, path, type, flags, data)`: every use of `mount`, remounts included.
#[lsm(hook = "sb_mount")]
pub fn sb_mount(context: LsmContext) -> i32 {
    hook::gate(&path(&context, 1), Operation::Mount)
}

/// fs/namespace.c, `do_umount(mount, flags)`.
#[lsm(hook = "sb_umount")]
pub fn sb_umount(context: LsmContext) -> i32 {
    let mount = Pointer::new(context.arg::<*const u8>(0));
    hook::gate(&Entry(mount.follow(&member::MOUNT_ROOT)), Operation::Mount)
}

/// fs/namespace.c, `path_pivot_root(old, new)`.
#[lsm(hook = "sb_pivotroot")]
pub fn sb_pivotroot(context: LsmContext) -> i32 {
    hook::gate(&path(&context, 1), Operation::Mount)
}

/// fs/namespace.c, `vfs_move_mount(from, to)`: judged at both ends.
#[lsm(hook = "move_mount")]
pub fn move_mount(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let to = path(&context, 1);
    let here = hook::find(&to, &caller.policy, Operation::Mount);
    let there = hook::find(&path(&context, 0), &caller.policy, Operation::Mount);
    hook::conclude(&caller, &to, &hook::stricter(here, there), 1)
}
