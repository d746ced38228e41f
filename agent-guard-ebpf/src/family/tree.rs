//! The tree: how a tag is inherited, and how a session ends.

use agent_guard_common::counter::Place;
use agent_guard_common::session::{Enrolment, state};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::credential;
use crate::emit;
use crate::kernel::{Pointer, count};
use crate::task;

const EPERM: i32 = -1;

/// kernel/fork.c, `copy_process` (task, clone_flags): every new task, io_uring's workers included, which pass no
/// fork tracepoint. A task that cannot be tagged is not made. The question of the parent is not inherited.
#[lsm(hook = "task_alloc")]
pub fn task_alloc(context: LsmContext) -> i32 {
    let Some(parent) = task::tag(task::current()) else { return 0 };
    let (serial, session) = parent.part(|tag| (tag.serial, tag.session));
    let enrolment = Enrolment { serial, started: 0, session, reserved: 0 };
    if let Some(child) = task::set_tag(Pointer::new(context.arg::<*const u8>(0)), &enrolment) {
        let touched = credential::of_process(parent);
        child.change(|tag| tag.touched = touched);
        return 0;
    }
    count(Place::TagFailed, 0);
    EPERM
}

/// kernel/fork.c, `__put_task_struct(task)`, and `copy_process` when it fails: the counterpart of `task_alloc`.
#[lsm(hook = "task_free")]
pub fn task_free(context: LsmContext) -> i32 {
    let Some(tag) = task::clear_tag(Pointer::new(context.arg::<*const u8>(0))) else { return 0 };
    if task::session(&tag).0 != state::FREE && task::count_of(tag.session) == 0 {
        emit::ended(tag.session, tag.serial);
    }
    0
}
