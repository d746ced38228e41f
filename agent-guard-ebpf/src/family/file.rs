//! Files: open, create, delete, rename, link, truncate; what else a descriptor or an inode can suffer has files of its
//! own. Held at the `path_*` layer, where nothing has
//! happened yet and overlayfs passes once.

use agent_guard_common::operation::Operation;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::credential;
use crate::hook::{self, Caller, Finding, Object as _};
use crate::kernel::{Pointer, member};
use crate::name::text_hash;
use crate::object::{Ends, Entry, Making, S_IFDIR, S_IFMT, Seldom};
use crate::question;

// include/uapi/asm-generic/fcntl.h
const O_ACCMODE: u32 = 3;
const O_RDONLY: u32 = 0;
const O_WRONLY: u32 = 1;
const O_TRUNC: u32 = 0o1000;
/// What tells O_TMPFILE from O_DIRECTORY.
const TMPFILE: u32 = 0o20_000_000;
// include/uapi/linux/fs.h
const RENAME_EXCHANGE: u32 = 2;
// include/linux/fs.h
const FMODE_EXEC: u32 = 0x20;
const FMODE_CREATED: u32 = 0x10_0000;
/// An open that a stacked file system makes for itself: overlayfs opens the file below with the path above, and
/// what it was asked to open has been judged.
const FMODE_NOACCOUNT: u32 = 0x2000_0000;

#[inline(always)]
fn entry(context: &LsmContext, argument: usize) -> Entry {
    Entry(Pointer::new(context.arg::<*const u8>(argument)))
}

/// fs/open.c, `do_dentry_open(file)`: existing files only. A created one was judged by `path_mknod`, where a
/// restart is safe; an executed one is judged by `bprm_creds_for_exec`.
#[lsm(hook = "file_open")]
pub fn file_open(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    question::looked(&caller);
    let file = Pointer::new(context.arg::<*const u8>(0));
    let flags: u32 = file.load(&member::FILE_FLAGS);
    let mode: u32 = file.load(&member::FILE_MODE);
    if flags & FMODE_EXEC != 0 || mode & (FMODE_CREATED | FMODE_NOACCOUNT) != 0 {
        return 0;
    }
    let mut entry = Entry(file.follow(&member::FILE_DENTRY));
    if flags & TMPFILE != 0 {
        // A file without a name is another one each time that the call is run: what it is about is the directory.
        entry = entry.parent();
    }
    let access = flags & O_ACCMODE;
    let operation = if access == O_RDONLY { Operation::Read } else { Operation::Write };
    let labels = match entry.labels(caller.policy.slot, operation) {
        Ok(labels) => labels,
        Err(reason) => return hook::conclude(&caller, &entry, &Finding::undecided(operation, reason), 1),
    };
    let mut finding = hook::strictest(&caller.policy, operation, labels);
    if access != O_RDONLY && access != O_WRONLY {
        finding = hook::stricter(finding, hook::strictest(&caller.policy, Operation::Read, labels));
    }
    let mut passes = 1;
    if flags & O_TRUNC != 0 {
        let truncate = hook::strictest(&caller.policy, Operation::Truncate, labels);
        if hook::strictness(&truncate) >= hook::strictness(&finding) {
            finding = truncate;
            // The truncation itself meets a second hook in the same call, with the same question; only regular files
            // are truncated (fs/namei.c, `do_open`).
            passes = if entry.is_regular() { 2 } else { 1 };
        }
    }
    let result = hook::conclude(&caller, &entry, &finding, passes);
    if access == O_WRONLY { result } else { credential::read(result, caller.policy.slot, entry.0, labels) }
}

/// fs/namei.c, `may_o_create(dir, dentry, mode)` and `do_mknodat`: a new file, node or socket.
#[lsm(hook = "path_mknod")]
pub fn path_mknod(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let entry = entry(&context, 1);
    let kind = context.arg::<u64>(2) & u64::from(S_IFMT);
    let making = Making { entry, what: kind << 32 | context.arg::<u64>(3) & 0xffff_ffff };
    let finding = hook::find(&making, &caller.policy, Operation::Create);
    // An open with O_CREAT comes here before it has looked whether the file is there, and then forgets what it was
    // told (`lookup_open`). The second time its name is known.
    if entry.is_in_lookup()
        && !entry.opens_atomically()
        && !hook::passes_unseen(&caller, &finding)
        && question::again(&caller, &making, Operation::Create)
    {
        return hook::RESTART;
    }
    question::looked(&caller);
    hook::conclude(&caller, &making, &finding, 1)
}

/// fs/namei.c, `do_mkdirat(dir, dentry, mode)`.
#[lsm(hook = "path_mkdir")]
pub fn path_mkdir(context: LsmContext) -> i32 {
    hook::gate(&Making { entry: Seldom(entry(&context, 1)), what: u64::from(S_IFDIR) << 32 }, Operation::Create)
}

/// fs/namei.c, `do_symlinkat(dir, dentry, old_name)`.
#[lsm(hook = "path_symlink")]
pub fn path_symlink(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let making = Making { entry: Seldom(entry(&context, 1)), what: text_hash(context.arg::<u64>(2)) };
    let finding = hook::find(&making, &caller.policy, Operation::Create);
    hook::conclude(&caller, &making, &finding, 1)
}

/// fs/namei.c, `do_unlinkat(dir, dentry)`.
#[lsm(hook = "path_unlink")]
pub fn path_unlink(context: LsmContext) -> i32 {
    hook::gate(&entry(&context, 1), Operation::Delete)
}

/// fs/namei.c, `do_rmdir(dir, dentry)`.
#[lsm(hook = "path_rmdir")]
pub fn path_rmdir(context: LsmContext) -> i32 {
    hook::gate(&Seldom(entry(&context, 1)), Operation::Delete)
}

/// fs/namei.c, `do_renameat2(old_dir, old_dentry, new_dir, new_dentry, flags)`: once, RENAME_EXCHANGE included.
#[lsm(hook = "path_rename")]
pub fn path_rename(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let ends = Ends { from: entry(&context, 1), to: entry(&context, 3) };
    let result = hook::decide(&caller, &ends, Operation::Rename);
    let result = credential::renamed(result, caller.policy.slot, ends.from.0);
    if context.arg::<u32>(4) & RENAME_EXCHANGE == 0 {
        return result;
    }
    credential::renamed(result, caller.policy.slot, ends.to.0)
}

/// fs/namei.c, `do_linkat(old_dentry, new_dir, new_dentry)`.
#[lsm(hook = "path_link")]
pub fn path_link(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let ends = Ends { from: entry(&context, 0), to: entry(&context, 2) };
    credential::renamed(hook::decide(&caller, &ends, Operation::Link), caller.policy.slot, ends.from.0)
}

/// fs/open.c, `vfs_truncate(path)`; on 6.1 also `open(O_TRUNC)` and `ftruncate`.
#[lsm(hook = "path_truncate")]
pub fn path_truncate(context: LsmContext) -> i32 {
    let path = Pointer::new(context.arg::<*const u8>(0));
    hook::gate(&Seldom(Entry(path.follow(&member::PATH_DENTRY))), Operation::Truncate)
}

/// fs/open.c, `do_ftruncate(file)` and fs/namei.c, `handle_truncate(file)`: since 6.2.
#[lsm(hook = "file_truncate")]
pub fn file_truncate(context: LsmContext) -> i32 {
    let file = Pointer::new(context.arg::<*const u8>(0));
    hook::gate(&Seldom(Entry(file.follow(&member::FILE_DENTRY))), Operation::Truncate)
}
