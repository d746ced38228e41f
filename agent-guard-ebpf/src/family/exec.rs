//! Executing: enrolment, `exec` by binary, `command` by arguments, and the proof of what was executed; and files that
//! become code without being executed themselves.

use agent_guard_common::counter::Place;
use agent_guard_common::event::kind;
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;
use aya_ebpf::macros::{btf_tracepoint, lsm};
use aya_ebpf::programs::{BtfTracePointContext, LsmContext};

use crate::arguments::{self, Programs};
use crate::credential;
use crate::emit::{self, Story};
use crate::environment;
use crate::family::descriptor::modifies;
use crate::hook::{self, Caller};
use crate::kernel::{Pointer, count, member};
use crate::object::{Entry, Seldom};
use crate::program::Program;
use crate::question::{self, Standing};
use crate::task;

const EPERM: i32 = -1;
// include/uapi/asm-generic/mman-common.h, include/uapi/linux/mman.h, include/linux/mm.h
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
/// What MAP_SHARED and MAP_SHARED_VALIDATE have, and MAP_PRIVATE has not.
const MAP_SHARED: u64 = 1;
const VM_SHARED: u64 = 8;

/// fs/exec.c, `bprm_execve(bprm)`: one call an `execve`, also for `#!`, before anything of the caller is lost.
///
/// An enrolled process is tagged here and not in `bprm_committed_creds`, so that its own first command is judged.
#[lsm(hook = "bprm_creds_for_exec")]
pub fn bprm_creds_for_exec(context: LsmContext) -> i32 {
    let task = task::current();
    let tag = match task::tag(task) {
        Some(tag) => tag,
        None => {
            let Some(enrolment) = task::enrolment(task) else { return 0 };
            let Some(tag) = task::set_tag(task, &enrolment) else {
                count(Place::TagFailed, 0);
                return EPERM;
            };
            task::enrolled();
            tag
        }
    };
    let caller = Caller::of(task, tag);
    let bprm = Pointer::new(context.arg::<*const u8>(0));
    let programs = Programs::of(bprm, caller.policy.slot);
    let matched = arguments::match_pending(&programs, bprm, caller.task);
    let program = Program::new(bprm, matched.identity);
    // Where both are as strict the binary's rule asks: the daemon refuses there what a command rule denies, but
    // would let a command pass that its patterns do not describe after all.
    let executing = hook::find(&program, &caller.policy, Operation::Exec);
    let finding = hook::stricter(executing, matched.finding(&programs, &caller.policy));
    let standing = Standing::of(&caller, &program, finding.operation);
    let result = hook::conclude_with(&caller, &program, &finding, 1, &standing);
    if result == 0 {
        programs.expect(&caller, &program, &standing);
    }
    result
}

/// fs/exec.c, `begin_new_exec(bprm)`: from here on the new image will run, and has its environment. A tracepoint's programs may be passed over
/// (one that is interrupted by another on its CPU); then the proof is missing, and the task is refused all.
#[lsm(hook = "bprm_committed_creds")]
pub fn bprm_committed_creds(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    if arguments::proof_is_owed(&caller) {
        caller.tag.change(|tag| tag.unproven = 1);
    }
    environment::inherit(&caller, Pointer::new(context.arg::<*const u8>(0)));
    0
}

/// fs/exec.c, `exec_binprm` (task, old_pid, bprm): the arguments are final, and the new image has not run yet.
/// Arguments are user memory and could change between the hook above and here; then the process is killed.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(context: BtfTracePointContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let bprm = Pointer::new(context.arg::<*const u8>(2));
    let as_judged = arguments::is_as_judged(&caller, bprm);
    // An answer ends with the image that asked.
    caller.tag.change(|tag| {
        tag.question = 0;
        tag.programs = [0; 2];
        tag.argv = 0;
        tag.unproven = 0;
    });
    if !as_judged {
        question::kill();
        let finding = hook::cell(&caller.policy, Operation::Command, 0);
        let story = Story {
            caller: &caller,
            finding: &finding,
            standing: &Standing::NONE,
            passes: 0,
            kind: kind::KILLED,
            reason: Reason::ArgumentsChanged,
            question: 0,
        };
        emit::tell(&story, &Program::new(bprm, 0));
    }
    0
}

/// fs/exec.c, `search_binary_handler(bprm)`: once for the file that was called, which was judged, and once for each
/// interpreter that its first line names. What the call is about is another file, so that it cannot be held.
///
/// It is the last hook before the calling thread takes the place of its process's first one (`de_thread`).
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(context: LsmContext) -> i32 {
    credential::take_along();
    let bprm = Pointer::new(context.arg::<*const u8>(0));
    if bprm.scalar(&member::BPRM_INTERPRETER) == bprm.scalar(&member::BPRM_FILENAME) {
        return 0;
    }
    becomes_code(bprm.follow(&member::BPRM_FILE))
}

/// mm/util.c, `vm_mmap_pgoff(file, requested, protection, flags)`: a loader that maps a program instead of executing it,
/// and memory that is written to instead of the file.
#[lsm(hook = "mmap_file")]
pub fn mmap_file(context: LsmContext) -> i32 {
    let protection = context.arg::<u64>(2);
    let writes_file = protection & PROT_WRITE != 0 && context.arg::<u64>(3) & MAP_SHARED != 0;
    mapped(Pointer::new(context.arg::<*const u8>(0)), protection, writes_file)
}

/// mm/mprotect.c, `mprotect_fixup(area, requested, protection)`: the same in two steps.
#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(context: LsmContext) -> i32 {
    let area = Pointer::new(context.arg::<*const u8>(0));
    let protection = context.arg::<u64>(2);
    let writes_file = protection & PROT_WRITE != 0 && area.load::<u64>(&member::MAPPING_FLAGS) & VM_SHARED != 0;
    mapped(area.follow(&member::MAPPING_FILE), protection, writes_file)
}

#[inline(always)]
fn mapped(file: Pointer, protection: u64, writes_file: bool) -> i32 {
    let runs = protection & PROT_EXEC != 0;
    if file.is_null() || !runs && !writes_file {
        return 0;
    }
    let result = if runs { becomes_code(file) } else { 0 };
    if result == 0 && writes_file { modifies(file) } else { result }
}

#[inline(always)]
fn becomes_code(file: Pointer) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let entry = Seldom(Entry(file.follow(&member::FILE_DENTRY)));
    let finding = hook::find(&entry, &caller.policy, Operation::Exec);
    hook::conclude_at_once(&caller, &entry, &finding)
}
