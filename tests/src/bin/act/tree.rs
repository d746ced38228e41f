//! Ways from one task to the next, by which a tag must follow: `via WAY ACT` does an act at the end of a way.

use std::mem::size_of;
use std::{ptr, thread};

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Gid, Pid, Uid, chroot, getpid, getppid, setgid, setgroups, setpgid, setsid, setuid};
use serde_json::{Value, json};

use crate::child::{Acting, forked, reap};
use crate::file::c;
use crate::{Done, perform};

// include/uapi/linux/sched.h; libc's constant overflows its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `clone3` with these arguments; 0 in the child.
fn clone3(change: impl FnOnce(&mut libc::clone_args)) -> i32 {
    // SAFETY: all-zero arguments are valid; without CLONE_VM the child has its own memory, as after `fork`.
    unsafe {
        let mut arguments: libc::clone_args = std::mem::zeroed();
        arguments.exit_signal = libc::SIGCHLD as u64;
        change(&mut arguments);
        let result = libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>());
        i32::try_from(result).unwrap()
    }
}

fn done(act: &[&str]) -> Done {
    perform(act).unwrap_or(Done { errno: -2, value: json!(act) })
}

/// An act in a child after some change of the child.
fn after(change: impl FnOnce() -> nix::Result<()>, act: &[&str]) -> Done {
    Acting::start(|| match change() {
        Ok(()) => done(act),
        Err(errno) => Done { errno: errno as i32, value: json!("the change itself failed") },
    })
    .finish()
}

/// A child that shares all memory, and what else the flags say, while its parent waits.
fn sharing(flags: i32, act: &[&str]) -> Done {
    struct Shared<'a> {
        act: &'a [&'a str],
        done: Option<Done>,
    }
    extern "C" fn child(shared: *mut libc::c_void) -> i32 {
        // SAFETY: the parent only waits until this ends, and its memory is this child's.
        let shared = unsafe { &mut *shared.cast::<Shared<'_>>() };
        shared.done = perform(shared.act);
        0
    }
    const STACK: usize = 256 << 10;
    let mut shared = Shared { act, done: None };
    let mut stack = vec![0_u128; STACK / 16];
    // SAFETY: the child has a stack of its own, and ends before this returns; until then, and without CLONE_VFORK too,
    // this thread is in `waitpid` and touches nothing that is shared.
    unsafe {
        let top = stack.as_mut_ptr_range().end;
        let pid = libc::clone(child, top.cast(), flags | libc::CLONE_VM | libc::SIGCHLD, (&raw mut shared).cast());
        libc::waitpid(pid, ptr::null_mut(), 0);
    }
    shared.done.unwrap_or(Done { errno: -2, value: json!(act) })
}

/// Forks a child whose parent, itself a child, is gone when it goes on; 0 in that one.
fn orphaned() -> i32 {
    let middle = forked();
    if middle != 0 {
        return middle;
    }
    let parent = getpid();
    if forked() != 0 {
        // SAFETY: ends this process without what the first one's exit handlers would do.
        unsafe { libc::_exit(0) };
    }
    while getppid() == parent {
        thread::yield_now();
    }
    0
}

fn via(way: &str, words: &[&str]) -> Option<Done> {
    Some(match (way, words) {
        ("fork", act) => Acting::start(|| done(act)).finish(),
        ("double-fork", act) => Acting::start_by(orphaned, || done(act)).finish(),
        ("setsid", act) => after(|| setsid().map(drop), act),
        ("vfork", act) => sharing(libc::CLONE_VFORK, act),
        // As much as a process can share with another and not be its thread.
        ("clone-shared", act) => {
            sharing(libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_IO, act)
        }
        ("thread", act) => thread::scope(|scope| scope.spawn(|| done(act)).join().unwrap()),
        // Adopted by the parent of this process, which is outside the tree when this is its root.
        ("clone-parent", act) => Acting::start_by(
            || {
                clone3(|arguments| {
                    arguments.flags = libc::CLONE_PARENT as u64;
                    arguments.exit_signal = 0;
                })
            },
            || done(act),
        )
        .finish(),
        ("clone-untraced", act) => {
            Acting::start_by(|| clone3(|arguments| arguments.flags = libc::CLONE_UNTRACED as u64), || done(act))
                .finish()
        }
        ("clone-fs", act) => Acting::start_by(
            || {
                clone3(|arguments| {
                    arguments.flags = (libc::CLONE_FS | libc::CLONE_SYSVSEM | libc::CLONE_IO) as u32 as u64
                })
            },
            || done(act),
        )
        .finish(),
        // A given process id.
        ("pid", [pid, act @ ..]) => {
            let pids = [pid.parse::<i32>().ok()?];
            let clone = || {
                clone3(|arguments| {
                    arguments.set_tid = pids.as_ptr() as u64;
                    arguments.set_tid_size = 1;
                })
            };
            Acting::start_by(clone, || done(act)).finish()
        }
        ("cgroup", [directory, act @ ..]) => {
            // SAFETY: the path ends in NUL.
            let fd = unsafe { libc::open(c(directory).as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
            assert!(fd >= 0, "{directory}");
            let clone = || {
                clone3(|arguments| {
                    arguments.flags = CLONE_INTO_CGROUP;
                    arguments.cgroup = u64::try_from(fd).unwrap();
                })
            };
            Acting::start_by(clone, || done(act)).finish()
        }
        ("user-namespace", act) => after(|| unshare(CloneFlags::CLONE_NEWUSER), act),
        ("mount-namespace", act) => after(
            || {
                unshare(CloneFlags::CLONE_NEWNS)?;
                let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
                nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
            },
            act,
        ),
        ("net-namespace", act) => after(|| unshare(CloneFlags::CLONE_NEWNET), act),
        ("other-namespaces", act) => {
            let flags = libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP | libc::CLONE_NEWTIME;
            let clone = || clone3(|arguments| arguments.flags = u64::from(flags.unsigned_abs()));
            Acting::start_by(clone, || done(act)).finish()
        }
        // The first child of a process in a new pid namespace is that namespace's init.
        ("pid-namespace", act) => Acting::start(|| {
            unshare(CloneFlags::CLONE_NEWPID).unwrap();
            Acting::start(|| done(act)).finish()
        })
        .finish(),
        ("chroot", [root, act @ ..]) => after(|| chroot(*root).and_then(|()| nix::unistd::chdir("/")), act),
        ("user", [uid, act @ ..]) => {
            let uid = uid.parse().ok()?;
            let become_user = || {
                setgroups(&[])?;
                setgid(Gid::from_raw(uid))?;
                setuid(Uid::from_raw(uid))
            };
            after(become_user, act)
        }
        // Another program file, perhaps a set-user-id one.
        ("program", [program, act @ ..]) => {
            let output = std::process::Command::new(program).arg("once").args(act).output();
            match output {
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stdout);
                    let value: serde_json::Value = serde_json::from_str(text.trim()).ok()?;
                    Done { errno: i32::try_from(value["errno"].as_i64()?).ok()?, value: value["value"].clone() }
                }
                Err(error) => Done { errno: error.raw_os_error().unwrap_or(-1), value: json!(null) },
            }
        }
        _ => return None,
    })
}

/// Changes this process, for the act and for good.
fn changed(change: &str, act: &[&str]) -> Option<Done> {
    match change {
        // SAFETY: ignoring a signal runs no code.
        "no-hangup" => unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }.map(drop).ok()?,
        "new-group" => setpgid(Pid::from_raw(0), Pid::from_raw(0)).ok()?,
        _ => return None,
    }
    perform(act)
}

/// Ways, and children in the background.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    match *words {
        ["via", way, ref act @ ..] => via(way, act),
        ["self", change, ref act @ ..] => changed(change, act),
        // Binds a directory to another place first.
        ["bound", from, to, ref act @ ..] => match perform(&["bind-mount", from, to])? {
            Done { errno: 0, .. } => perform(act),
            failed => Some(failed),
        },
        // When this process has read a file, itself or by a thread that is gone.
        ["having-read", by, path, ref act @ ..] => {
            let read = || std::fs::read(path).map(|_bytes| Value::Null);
            let read = if by == "thread" { thread::scope(|scope| scope.spawn(read).join().unwrap()) } else { read() };
            match Done::std(read) {
                Done { errno: 0, .. } => perform(act),
                failed => Some(failed),
            }
        }
        ["start", ref act @ ..] => Some(Acting::start(|| done(act)).leave()),
        ["reap", pid] => reap(pid.parse().ok()?),
        ["ids"] => {
            // SAFETY: the calls take nothing and cannot fail.
            let ids = unsafe { [libc::getuid(), libc::geteuid()] };
            Some(Done::found(json!(ids)))
        }
        _ => None,
    }
}
