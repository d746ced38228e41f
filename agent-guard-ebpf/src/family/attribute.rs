//! What a file's inode says of it: mode, owner, extended attributes, access control lists, flags.

use agent_guard_common::operation::Operation;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::hook;
use crate::kernel::{Pointer, member};
use crate::object::{Entry, Seldom};

/// The entry that an argument, a `struct dentry`, points to.
#[inline(always)]
fn dentry(context: &LsmContext, argument: usize) -> Seldom {
    Seldom(Entry(Pointer::new(context.arg::<*const u8>(argument))))
}

#[inline(always)]
fn path(context: &LsmContext) -> Seldom {
    let path = Pointer::new(context.arg::<*const u8>(0));
    Seldom(Entry(path.follow(&member::PATH_DENTRY)))
}

/// fs/open.c, `chmod_common(path, mode)`.
#[lsm(hook = "path_chmod")]
pub fn path_chmod(context: LsmContext) -> i32 {
    hook::gate(&path(&context), Operation::Chmod)
}

/// fs/open.c, `chown_common(path, uid, gid)`.
#[lsm(hook = "path_chown")]
pub fn path_chown(context: LsmContext) -> i32 {
    hook::gate(&path(&context), Operation::Chown)
}

/// fs/xattr.c, `__vfs_setxattr_locked(idmap, dentry, name, value, size, flags)`.
#[lsm(hook = "inode_setxattr")]
pub fn inode_setxattr(context: LsmContext) -> i32 {
    hook::gate(&dentry(&context, 1), Operation::Attribute)
}

/// fs/xattr.c, `__vfs_removexattr_locked(idmap, dentry, name)`.
#[lsm(hook = "inode_removexattr")]
pub fn inode_removexattr(context: LsmContext) -> i32 {
    hook::gate(&dentry(&context, 1), Operation::Attribute)
}

/// fs/posix_acl.c, `vfs_set_acl(idmap, dentry, acl_name, kacl)`: since 6.2, before which it was `inode_setxattr`.
#[lsm(hook = "inode_set_acl")]
pub fn inode_set_acl(context: LsmContext) -> i32 {
    hook::gate(&dentry(&context, 1), Operation::Attribute)
}

/// fs/posix_acl.c, `vfs_remove_acl(idmap, dentry, acl_name)`: since 6.2.
#[lsm(hook = "inode_remove_acl")]
pub fn inode_remove_acl(context: LsmContext) -> i32 {
    hook::gate(&dentry(&context, 1), Operation::Attribute)
}

/// fs/file_attr.c, `vfs_fileattr_set(dentry, attributes)`: the call `file_setattr`, and what was an ioctl before it.
#[lsm(hook = "inode_file_setattr")]
pub fn inode_file_setattr(context: LsmContext) -> i32 {
    hook::gate(&dentry(&context, 0), Operation::Attribute)
}
