//! The calling task: its tag, and whether its call can be held.

use agent_guard_common::counter::Place;
use agent_guard_common::operation::Operation;
use agent_guard_common::session::{Enrolment, SessionRecord, Tag, state};
use agent_guard_common::verdict::Reason;
use aya_ebpf::bindings::BPF_LOCAL_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_task_pt_regs, bpf_task_storage_get,
};

use crate::kernel::{Pointer, count, member, word};
use crate::maps::{ENROL, OUTCOMES, SESSIONS, TAGS, TASKS};

// include/linux/sched.h
const PF_IO_WORKER: u32 = 0x10;
const PF_EXITING: u32 = 0x4;
const PF_DUMPCORE: u32 = 0x200;
const PF_SIGNALED: u32 = 0x400;
const PF_USER_WORKER: u32 = 0x4000;
const PF_KTHREAD: u32 = 0x0020_0000;
/// `/proc/PID/stat` counts in hundredths of a second (USER_HZ).
const NS_PER_TICK: u64 = 10_000_000;
/// The same number in the 64-bit and the 32-bit table.
const NR_IO_URING_ENTER: u64 = 426;
/// What the entry code leaves as a call's result until there is one (arch/x86/entry/entry_64.S).
const ENOSYS: i64 = 38;
/// Its third argument has the options.
const NR_WAIT4: u64 = 61;
// include/uapi/linux/wait.h
const WUNTRACED: u64 = 2;
/// arch/x86/include/asm/thread_info.h
const TS_COMPAT: u32 = 2;
// enum pid_type, include/linux/pid.h
const PIDTYPE_TGID: usize = 1;
const PIDTYPE_PGID: usize = 2;
const PIDTYPE_SID: usize = 3;

/// The current task.
#[inline(always)]
pub fn current() -> Pointer {
    // SAFETY: the helper takes nothing and cannot fail.
    Pointer::new(unsafe { bpf_get_current_task_btf() })
}

/// Thread group and thread of the current task.
#[inline(always)]
pub fn current_id() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_get_current_pid_tgid() }
}

/// The registers with which a task entered the kernel.
#[inline(always)]
pub fn registers(task: Pointer) -> Pointer {
    // SAFETY: the task is one that the verifier knows.
    Pointer::new(unsafe { bpf_task_pt_regs(task.raw()) } as *const u8)
}

/// A task's tag, in its storage. It lives as long as the task, and only the task's own hooks write it.
#[derive(Clone, Copy)]
pub struct TagPointer(*mut Tag);

impl TagPointer {
    /// The tag as it is now.
    #[inline(always)]
    pub fn get(self) -> Tag {
        // SAFETY: the pointer came from task storage of `Tag`, for a task that is running, being made or freed by us.
        unsafe { *self.0 }
    }

    /// One part of the tag, without a copy of all of it: some programs have no room for that.
    #[inline(always)]
    pub fn part<T: Copy>(self, part: impl FnOnce(&Tag) -> T) -> T {
        // SAFETY: as for `get`.
        part(unsafe { &*self.0 })
    }

    /// Changes the tag.
    #[inline(always)]
    pub fn change(self, change: impl FnOnce(&mut Tag)) {
        // SAFETY: as for `get`; no other reference to it exists, since `get` copies.
        change(unsafe { &mut *self.0 });
    }
}

/// A task's tag, if it has one.
#[inline(always)]
pub fn tag(task: Pointer) -> Option<TagPointer> {
    storage(task, 0)
}

/// Tags a task, and counts it as living in its session.
#[inline(always)]
pub fn set_tag(task: Pointer, enrolment: &Enrolment) -> Option<TagPointer> {
    let tag = storage(task, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))?;
    // While a daemon is restarted two sets of these programs are attached for a moment, on the same maps: the one
    // that comes second finds the task counted.
    let is_counted = tag.get().serial != 0;
    tag.change(|tag| {
        tag.serial = enrolment.serial;
        tag.session = enrolment.session;
    });
    if !is_counted {
        count_tasks(&tag.get(), 1);
    }
    Some(tag)
}

/// Tags a task that runs already. Its tag appears whole: it may be in a hook at this moment.
#[inline(always)]
pub fn adopt(task: Pointer, enrolment: &Enrolment) -> bool {
    let mut tag = Tag { serial: enrolment.serial, session: enrolment.session, ..Tag::ZERO };
    let map = (&raw const TAGS).cast_mut().cast();
    let value = core::ptr::from_mut(&mut tag).cast();
    // SAFETY: the map is task storage of `Tag`, the task is one that the verifier knows, and the value lives on.
    let made = unsafe { bpf_task_storage_get(map, task.raw(), value, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE)) };
    if made.is_null() {
        return false;
    }
    count_tasks(&tag, 1);
    true
}

/// Counts a task as gone; its tag, if it was not counted before.
#[inline(always)]
pub fn clear_tag(task: Pointer) -> Option<Tag> {
    let tag = tag(task)?;
    let last = tag.get();
    if last.serial == 0 {
        return None;
    }
    tag.change(|tag| tag.serial = 0);
    count_tasks(&last, u64::MAX);
    Some(last)
}

#[inline(always)]
fn storage(task: Pointer, flags: u64) -> Option<TagPointer> {
    let map = (&raw const TAGS).cast_mut().cast();
    // SAFETY: the map is task storage, and the task is one that the verifier knows.
    let tag = unsafe { bpf_task_storage_get(map, task.raw(), core::ptr::null_mut(), flags) };
    if tag.is_null() { None } else { Some(TagPointer(tag.cast())) }
}

/// The current process's enrolment, if it waits to be tagged.
#[inline(always)]
pub fn enrolment(task: Pointer) -> Option<Enrolment> {
    // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
    let enrolment = unsafe { ENROL.get(process()) }.copied()?;
    // One that was left for an earlier owner of the pid is not meant.
    if started(task) == enrolment.started { Some(enrolment) } else { None }
}

/// When a task started, as `/proc/PID/stat` shows it.
#[inline(always)]
pub fn started(task: Pointer) -> u64 {
    task.load::<u64>(&member::TASK_START) / NS_PER_TICK
}

/// Whether a task is a thread of the kernel.
#[inline(always)]
pub fn is_kernels_own(task: Pointer) -> bool {
    task.load::<u32>(&member::TASK_FLAGS) & PF_KTHREAD != 0
}

/// Ends the enrolment: the process is tagged.
#[inline(always)]
pub fn enrolled() {
    if let Err(result) = ENROL.remove(process()) {
        count(Place::TagFailed, i64::from(result));
    }
}

#[inline(always)]
fn process() -> u32 {
    (current_id() >> 32) as u32
}

/// A session's living tasks.
#[inline(always)]
pub fn count_of(session: u32) -> u64 {
    word(&TASKS, session).unwrap_or(0)
}

/// Adds to the number of a session's living tasks; a slot that is another session's by now is left alone.
#[inline(always)]
fn count_tasks(tag: &Tag, change: u64) {
    if session(tag).0 == state::FREE {
        return;
    }
    if let Some(tasks) = TASKS.get_ptr_mut(tag.session) {
        add(tasks, change);
    }
}

/// Counts an act of a session as done, or as come to nothing.
#[inline(always)]
pub fn count_outcome(tag: &Tag, operation: Operation, is_done: bool) {
    if session(tag).0 == state::FREE {
        return;
    }
    let Some(outcomes) = OUTCOMES.get_ptr_mut(tag.session) else { return };
    // SAFETY: the map's value is valid until the program ends; only addresses are taken.
    let count = unsafe {
        match operation {
            _ if !is_done => &raw mut (*outcomes).failed,
            Operation::Rename => &raw mut (*outcomes).renamed,
            Operation::Truncate => &raw mut (*outcomes).truncated,
            _ => &raw mut (*outcomes).deleted,
        }
    };
    add(count, 1);
}

/// Adds to a number of a map that other CPUs add to as well.
#[inline(always)]
fn add(number: *mut u64, change: u64) {
    // SAFETY: the value is an aligned u64 of a live map. The result is not used, so no fetching form is asked for.
    unsafe { core::arch::asm!("lock *(u64 *)({p} + 0) += {c}", p = in(reg) number, c = in(reg) change) };
}

/// The session of a tag and its state; a tag whose session is not there any more finds [`state::FREE`].
#[inline(always)]
pub fn session(tag: &Tag) -> (u32, u32) {
    match SESSIONS.get_ptr(tag.session) {
        Some(record) => {
            // SAFETY: the map's value is valid until the program ends.
            let record: &SessionRecord = unsafe { &*record };
            if record.serial == tag.serial { (record.state, record.profile) } else { (state::FREE, 0) }
        }
        None => (state::FREE, 0),
    }
}

/// Why the current call cannot be stopped and restarted; `Reason::None` when it can.
#[inline(always)]
pub fn obstacle(operation: Operation) -> Reason {
    match obstacle_to(operation as u32) {
        NO_OBSTACLE => Reason::None,
        IO_URING => Reason::IoUring,
        DYING => Reason::Dying,
        JOB_CONTROL => Reason::JobControl,
        _ => Reason::NotRestartable,
    }
}

const NO_OBSTACLE: u64 = 0;
const IO_URING: u64 = 1;
const NOT_RESTARTABLE: u64 = 2;
const DYING: u64 = 3;
const JOB_CONTROL: u64 = 4;

/// The same, as numbers: a global function, so that the verifier does not follow all that comes after once for each of
/// the ways through it.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn obstacle_to(operation: u32) -> u64 {
    let task = current();
    let flags: u32 = task.load(&member::TASK_FLAGS);
    if flags & (PF_IO_WORKER | PF_USER_WORKER) != 0 {
        return IO_URING;
    }
    if flags & PF_KTHREAD != 0 {
        return NOT_RESTARTABLE;
    }
    if flags & (PF_EXITING | PF_DUMPCORE | PF_SIGNALED) != 0 {
        return DYING;
    }
    let call: u64 = registers(task).load(&member::REGS_ORIG_AX);
    if call == NR_IO_URING_ENTER {
        return IO_URING;
    }
    // Work that was queued for the end of the call runs when the call has its result already: it restarts nothing.
    let is_inside = registers(task).load::<u64>(&member::REGS_AX) as i64 == -ENOSYS;
    let compat = is_compat(task);
    if !is_inside || !Operation::numbered(operation).is_some_and(|operation| operation.restarts_in(call, compat)) {
        return NOT_RESTARTABLE;
    }
    if job_controlled(task) { JOB_CONTROL } else { NO_OBSTACLE }
}

/// Whether the current call is one that executes a program.
#[inline(always)]
pub fn is_executing(task: Pointer) -> bool {
    let call: u64 = registers(task).load(&member::REGS_ORIG_AX);
    Operation::Exec.restarts_in(call, is_compat(task))
}

/// Whether the current call came through the 32-bit entry.
#[inline(always)]
pub fn is_compat(task: Pointer) -> bool {
    task.load::<u32>(&member::TASK_STATUS) & TS_COMPAT != 0
}

/// Whether a job-control shell started the task as a job: it leads a process group, and its parent is of the same
/// session but of another group, and has a terminal or waits to hear of stops. Such a shell would take a hold for
/// Ctrl-Z.
#[inline(always)]
fn job_controlled(task: Pointer) -> bool {
    let signal = task.follow(&member::TASK_SIGNAL);
    if pid(signal, PIDTYPE_PGID) != pid(signal, PIDTYPE_TGID) {
        return false;
    }
    let parent = task.follow(&member::TASK_PARENT);
    // Started by the keeper itself, from outside the tree: the keeper is no shell.
    if tag(parent).is_none() {
        return false;
    }
    let shell = parent.follow(&member::TASK_SIGNAL);
    pid(shell, PIDTYPE_SID) == pid(signal, PIDTYPE_SID)
        && pid(shell, PIDTYPE_PGID) != pid(signal, PIDTYPE_PGID)
        && (!signal.follow(&member::SIGNAL_TTY).is_null() || waits_for_stops(parent))
}

/// Whether a task is in `wait4` and asks to be told of children that stop.
#[inline(always)]
fn waits_for_stops(task: Pointer) -> bool {
    let registers = registers(task);
    registers.load::<u64>(&member::REGS_ORIG_AX) == NR_WAIT4 && registers.load::<u64>(&member::REGS_DX) & WUNTRACED != 0
}

#[inline(always)]
fn pid(signal: Pointer, kind: usize) -> u64 {
    signal.load_at(&member::SIGNAL_PIDS, kind * core::mem::size_of::<usize>())
}
