//! What came of acts that passed their hooks: they are counted, and of an approved one it is told how it ended.
//!
//! Judges nothing. Each program is attached to the end of the function that does the act; where a kernel lacks the
//! function nobody hears of it.

use agent_guard_common::operation::Operation;
use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;

use crate::emit;
use crate::task;

/// fs/namei.c, `vfs_unlink`.
#[fexit(function = "vfs_unlink")]
pub fn vfs_unlink(context: FExitContext) -> i32 {
    end(&context, Operation::Delete)
}

/// fs/namei.c, `vfs_rmdir`.
#[fexit(function = "vfs_rmdir")]
pub fn vfs_rmdir(context: FExitContext) -> i32 {
    end(&context, Operation::Delete)
}

/// fs/namei.c, `vfs_rename`.
#[fexit(function = "vfs_rename")]
pub fn vfs_rename(context: FExitContext) -> i32 {
    end(&context, Operation::Rename)
}

/// fs/open.c, `do_truncate`.
#[fexit(function = "do_truncate")]
pub fn do_truncate(context: FExitContext) -> i32 {
    end(&context, Operation::Truncate)
}

/// Ends what the caller's tag says is going on. An overlay does each act a second time below, without a hook: the
/// first of the two to end counts, and the other finds nothing going on any more.
#[inline(always)]
fn end(context: &FExitContext, operation: Operation) -> i32 {
    let Some(tag) = task::tag(task::current()) else { return 0 };
    let (acting, question) = tag.part(|tag| (tag.acting, tag.passed));
    if acting != operation as u32 + 1 {
        return 0;
    }
    tag.change(|tag| {
        tag.acting = 0;
        tag.passed = 0;
    });
    // A kernel that does not tell the result has no such programs.
    let Ok(result) = context.ret::<i32>() else { return 0 };
    let tag = tag.get();
    task::count_outcome(&tag, operation, result == 0);
    if question != 0 {
        emit::done(&tag, operation, question, result.unsigned_abs());
    }
    0
}
