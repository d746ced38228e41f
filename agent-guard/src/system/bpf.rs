//! The two calls on BPF that aya 0.14 has no words for: a look-up in task storage, and waiting for programs.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};

use agent_guard_common::Plain;
use nix::libc;

// include/uapi/linux/bpf.h
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
// include/uapi/linux/membarrier.h
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// `union bpf_attr` as BPF_MAP_LOOKUP_ELEM reads it.
#[repr(C)]
struct Lookup {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A task's value in a task storage map; the key is a pidfd.
///
/// # Errors
/// The system call's errno, ENOENT excepted: that is a task without a value.
pub fn task_storage<T: Plain>(map: BorrowedFd<'_>, task: BorrowedFd<'_>) -> io::Result<Option<T>> {
    let key: RawFd = task.as_raw_fd();
    // SAFETY: a `Plain` type may be all zeros.
    let mut value: T = unsafe { zeroed() };
    let lookup = Lookup {
        map: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
        padding: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: std::ptr::from_mut(&mut value) as u64,
        flags: 0,
    };
    // SAFETY: the attributes point to a descriptor and to a buffer of the map's value size, both alive; the caller
    // checked the map's shape when it was loaded.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, std::ptr::from_ref(&lookup), size_of::<Lookup>()) };
    if result == 0 {
        return Ok(Some(value));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOENT) { Ok(None) } else { Err(error) }
}

/// Waits until every BPF program that is running now has ended: they are RCU readers, and the barrier is
/// `synchronize_rcu` (kernel/sched/membarrier.c).
///
/// # Errors
/// The system call's errno.
pub fn wait_for_programs() -> io::Result<()> {
    // SAFETY: the call takes two integers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
