//! Other processes: only those outside the caller's session. Inside it they do to each other what they like.

use agent_guard_common::operation::Operation;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::hook::{self, Caller};
use crate::kernel::Pointer;
use crate::process::Process;

/// include/linux/ptrace.h: everything that reads or changes another's memory or descriptors asks for it. What `ps`
/// reads in /proc does not.
const PTRACE_MODE_ATTACH: u32 = 2;

#[inline(always)]
fn reach(context: &LsmContext, argument: usize, operation: Operation) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let process = Process(Pointer::new(context.arg::<*const u8>(argument)));
    if process.is_inside(&caller) {
        return 0;
    }
    hook::decide(&caller, &process, operation)
}

/// kernel/ptrace.c, `__ptrace_may_access(child, mode)`: `ptrace`, `process_vm_writev`, `/proc/PID/mem`, `pidfd_getfd`.
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(context: LsmContext) -> i32 {
    if context.arg::<u32>(1) & PTRACE_MODE_ATTACH == 0 {
        return 0;
    }
    reach(&context, 0, Operation::Trace)
}

/// kernel/ptrace.c, `ptrace_traceme(parent)`: a tracer outside the session could lead its child past nothing, but
/// would be told of each of its stops.
#[lsm(hook = "ptrace_traceme")]
pub fn ptrace_traceme(context: LsmContext) -> i32 {
    reach(&context, 0, Operation::Trace)
}

/// kernel/signal.c, `check_kill_permission(process, info, signal, credentials)`: signals that a program sends. Signal 0
/// only asks whether the process is there.
#[lsm(hook = "task_kill")]
pub fn task_kill(context: LsmContext) -> i32 {
    if context.arg::<u32>(2) == 0 {
        return 0;
    }
    reach(&context, 0, Operation::Kill)
}

/// kernel/sys.c, `set_one_prio(process, nice)`.
#[lsm(hook = "task_setnice")]
pub fn task_setnice(context: LsmContext) -> i32 {
    reach(&context, 0, Operation::Schedule)
}

/// kernel/sched, `sched_setscheduler` and `sched_setaffinity`, and mm/mempolicy.c, `migrate_pages` (process).
#[lsm(hook = "task_setscheduler")]
pub fn task_setscheduler(context: LsmContext) -> i32 {
    reach(&context, 0, Operation::Schedule)
}

/// block/ioprio.c, `set_task_ioprio(process, priority)`.
#[lsm(hook = "task_setioprio")]
pub fn task_setioprio(context: LsmContext) -> i32 {
    reach(&context, 0, Operation::Schedule)
}

/// kernel/sys.c, `do_prlimit(process, resource, limit)`: a limit of no seconds kills as well as a signal.
#[lsm(hook = "task_setrlimit")]
pub fn task_setrlimit(context: LsmContext) -> i32 {
    reach(&context, 0, Operation::Schedule)
}
