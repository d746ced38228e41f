//! Acts on other processes.

use std::fs::File;

use nix::libc::{self, c_long};
use serde_json::json;

use crate::Done;

fn by_pidfd(pid: i32, act: impl FnOnce(c_long) -> Done) -> Done {
    // SAFETY: the descriptor is closed once.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if fd < 0 {
            return Done::of(fd);
        }
        let done = act(fd);
        libc::close(i32::try_from(fd).unwrap());
        done
    }
}

fn read_memory(pid: i32) -> Done {
    let mut byte = 0_u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // Where nothing is: whoever may look is told so (EFAULT), and others that they may not.
    let there = libc::iovec { iov_base: std::ptr::without_provenance_mut(16), iov_len: 1 };
    // SAFETY: the vectors are valid; the remote one is the kernel's to check.
    Done::of(i64::try_from(unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) }).unwrap())
}

/// Attaches, and lets it go again.
fn attach(pid: i32) -> Done {
    // SAFETY: the calls take numbers; the process is waited for before it is let go.
    unsafe {
        let none = std::ptr::null_mut::<libc::c_void>();
        let done = Done::of(libc::ptrace(libc::PTRACE_ATTACH, pid, none, none));
        if done.errno == 0 {
            libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL);
            libc::ptrace(libc::PTRACE_DETACH, pid, none, none);
        }
        done
    }
}

/// Acts by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    if let ["be-traced"] = words {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the call takes nothing but its number.
        return Some(Done::of(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) }));
    }
    let [name, pid, rest @ ..] = words else { return None };
    let pid: i32 = pid.parse().ok()?;
    let who = u32::try_from(pid).ok()?;
    // SAFETY: the calls take numbers and pointers to what lives as long as they run.
    let done = unsafe {
        match (*name, rest) {
            ("attach", []) => attach(pid),
            ("read-memory", []) => read_memory(pid),
            ("open-memory", []) => {
                Done::std(File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).map(|_| json!(null)))
            }
            ("take-descriptor", []) => by_pidfd(pid, |fd| {
                let taken = libc::syscall(libc::SYS_pidfd_getfd, fd, 0, 0);
                if taken >= 0 {
                    libc::close(i32::try_from(taken).unwrap());
                }
                Done::of(taken)
            }),
            ("kill", [number]) => Done::of(libc::kill(pid, number.parse().ok()?)),
            ("kill-thread", [number]) => {
                let number: c_long = number.parse().ok()?;
                Done::of(libc::syscall(libc::SYS_tgkill, pid, pid, number))
            }
            ("kill-by-descriptor", [number]) => {
                let number: c_long = number.parse().ok()?;
                by_pidfd(pid, |fd| Done::of(libc::syscall(libc::SYS_pidfd_send_signal, fd, number, 0, 0)))
            }
            ("renice", []) => Done::of(libc::setpriority(libc::PRIO_PROCESS, who, 1)),
            ("reschedule", []) => {
                let parameters = libc::sched_param { sched_priority: 0 };
                Done::of(libc::sched_setscheduler(pid, libc::SCHED_BATCH, &raw const parameters))
            }
            ("pin", []) => {
                let mut processors: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(0, &mut processors);
                Done::of(libc::sched_setaffinity(pid, size_of::<libc::cpu_set_t>(), &raw const processors))
            }
            ("prefer", []) => {
                // include/uapi/linux/ioprio.h: a process; best effort, level 5
                const PROCESS: c_long = 1;
                const LEVEL: c_long = 2 << 13 | 5;
                Done::of(libc::syscall(libc::SYS_ioprio_set, PROCESS, pid, LEVEL))
            }
            ("limit", []) => {
                let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
                Done::of(libc::prlimit(pid, libc::RLIMIT_CORE, &raw const limit, std::ptr::null_mut()))
            }
            _ => return None,
        }
    };
    Some(done)
}
