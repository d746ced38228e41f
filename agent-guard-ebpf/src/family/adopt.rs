//! Adoption: tags what runs already. No hook: the daemon runs this program over all tasks when it is asked to, again
//! and again until nothing is left to tag.

use agent_guard_common::counter::Place;
use agent_guard_common::session::{Adopted, Enrolment};
use aya_ebpf::Global;
use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::bpf_seq_write;

use crate::kernel::{Pointer, count, member};
use crate::task;

/// Whom to tag, and with what; see `agent_guard_common::session::adoption`.
#[unsafe(no_mangle)]
pub static ADOPT_SERIAL: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
pub static ADOPT_SESSION: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
pub static ADOPT_ROOT: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
pub static ADOPT_STARTED: Global<u64> = Global::new(0);

/// kernel/bpf/task_iter.c, `struct bpf_iter__task`.
#[repr(C)]
pub struct Visit {
    meta: *const *mut seq_file,
    task: *const u8,
}

/// kernel/bpf/task_iter.c, `task_seq_show`: once for each thread of the machine. What it tags it tells.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn adopt(visit: *const Visit) -> i32 {
    // SAFETY: the kernel gives what `Visit` describes, and the verifier checks each load.
    let (meta, task) = unsafe { ((*visit).meta, Pointer::new((*visit).task)) };
    if task.is_null() || task::is_kernels_own(task) || task::tag(task).is_some() || !belongs(task) {
        return 0;
    }
    let session = ADOPT_SESSION.load() as u32;
    let is_tagged = task::adopt(task, &Enrolment { serial: ADOPT_SERIAL.load(), started: 0, session, reserved: 0 });
    if !is_tagged {
        count(Place::TagFailed, 0);
    }
    let mut adopted = Adopted { process: task.load(&member::TASK_PROCESS), tagged: u32::from(is_tagged) };
    // SAFETY: `struct bpf_iter_meta` begins with the file that is read; the record lives on, and has eight bytes.
    unsafe { bpf_seq_write(*meta, core::ptr::from_mut(&mut adopted).cast(), 8) };
    0
}

/// Whether a task is of the process that is adopted, or of one whose parent is in the session.
#[inline(always)]
fn belongs(task: Pointer) -> bool {
    let leader = task.follow(&member::TASK_LEADER);
    let process: u32 = task.load(&member::TASK_PROCESS);
    if u64::from(process) == ADOPT_ROOT.load() {
        return task::started(leader) == ADOPT_STARTED.load();
    }
    is_inside(leader) || is_inside(task.follow(&member::TASK_PARENT))
}

#[inline(always)]
fn is_inside(task: Pointer) -> bool {
    task::tag(task).is_some_and(|tag| tag.part(|tag| tag.serial) == ADOPT_SERIAL.load())
}
