//! Attacks on a hold: what an agent could try to get a held act done without an answer to it.

use std::mem::zeroed;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent_guard_tests::guest::proc_state;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use crate::child::Acting;
use crate::file::c;
use crate::{Done, perform};

const PAGE: usize = 4096;

/// A page that all children share with this process.
pub(crate) fn shared() -> *mut libc::c_char {
    static PAGE_AT: OnceLock<usize> = OnceLock::new();
    let at = *PAGE_AT.get_or_init(|| {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, never unmapped.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, kind, -1, 0) };
        assert!(page != libc::MAP_FAILED);
        page as usize
    });
    at as *mut libc::c_char
}

/// Writes a text to the shared page.
pub(crate) fn share(text: &str) {
    let text = c(text);
    let bytes = text.as_bytes_with_nul();
    assert!(bytes.len() <= PAGE);
    // SAFETY: the page holds the text; that children read it meanwhile is the point.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), shared(), bytes.len()) };
}

fn unlink_shared() -> Done {
    // SAFETY: the page ends in zeros.
    Done::of(unsafe { libc::unlink(shared()) })
}

/// Has a child put one question after the other, until it is refused: its path is another each time that it is woken.
/// The value is how many it has put.
fn ask_without_end(paths: [&str; 2]) -> Done {
    share(paths[0]);
    let child = Acting::start(unlink_shared);
    let mut asked = 0;
    while child.is_held() {
        asked += 1;
        share(paths[asked % 2]);
        kill(child.pid, Signal::SIGCONT).unwrap();
    }
    Done { value: json!(asked), ..child.finish() }
}

static HANDLER_PATH: AtomicPtr<libc::c_char> = AtomicPtr::new(std::ptr::null_mut());
/// What came of the handler's own act; -1 before it.
static HANDLER_ERRNO: AtomicI32 = AtomicI32::new(-1);

extern "C" fn unlink_in_handler(_: i32) {
    // SAFETY: the path was leaked before the handler was installed; `unlink` may be called in a handler.
    let result = unsafe { libc::unlink(HANDLER_PATH.load(Ordering::SeqCst)) };
    HANDLER_ERRNO.store(if result == 0 { 0 } else { Errno::last_raw() }, Ordering::SeqCst);
}

/// Deletes another file in a signal's handler, while an act is under way.
fn with_handler(signal: i32, path: &str, act: &[&str]) -> Option<Done> {
    HANDLER_PATH.store(c(path).into_raw(), Ordering::SeqCst);
    let action = SigAction::new(SigHandler::Handler(unlink_in_handler), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler makes one system call.
    unsafe { sigaction(Signal::try_from(signal).ok()?, &action) }.unwrap();
    let done = perform(act)?;
    Some(Done::found(json!({ "act": done.errno, "handler": HANDLER_ERRNO.load(Ordering::SeqCst) })))
}

/// Where a handler jumps to.
static LANDING: AtomicPtr<libc::ucontext_t> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn jump_out(_: i32) {
    // SAFETY: the context was saved by a function that waits to be returned to.
    unsafe { libc::setcontext(LANDING.load(Ordering::SeqCst)) };
}

extern "C" fn unlink_on_another_stack() {
    unlink_in_handler(0);
}

/// Jumps out of a deletion by a signal's handler, and does something else. What was left is -1 when it never came back.
fn jump(signal: i32, path: &str, act: &[&str]) -> Option<Done> {
    const STACK: usize = 256 << 10;
    HANDLER_PATH.store(c(path).into_raw(), Ordering::SeqCst);
    let action = SigAction::new(SigHandler::Handler(jump_out), SaFlags::empty(), SigSet::empty());
    let mut stack = vec![0_u8; STACK];
    // SAFETY: all-zero contexts are valid. The deletion has a stack of its own, which outlives it and on which nothing
    // needs to be dropped; whether it comes to its end or is jumped out of, it goes on behind `swapcontext`, once.
    unsafe {
        sigaction(Signal::try_from(signal).ok()?, &action).unwrap();
        let (mut here, mut there): (libc::ucontext_t, libc::ucontext_t) = (zeroed(), zeroed());
        assert_eq!(libc::getcontext(&raw mut there), 0);
        there.uc_stack.ss_sp = stack.as_mut_ptr().cast();
        there.uc_stack.ss_size = STACK;
        there.uc_link = &raw mut here;
        libc::makecontext(&raw mut there, unlink_on_another_stack, 0);
        LANDING.store(&raw mut here, Ordering::SeqCst);
        assert_eq!(libc::swapcontext(&raw mut here, &raw const there), 0);
    }
    let left = HANDLER_ERRNO.load(Ordering::SeqCst);
    let done = perform(act)?;
    Some(Done::found(json!({ "left": left, "act": done.errno })))
}

/// Sends SIGCONT as fast as it goes.
fn spam(pid: Pid, time: Duration) -> Done {
    let start = Instant::now();
    let mut sent = 0_u64;
    while start.elapsed() < time && kill(pid, Signal::SIGCONT).is_ok() {
        sent += 1;
    }
    Done::found(json!(sent))
}

/// Leaves a stopped process group without a parent: the kernel then sends it SIGHUP and SIGCONT.
fn orphan(act: &[&str]) -> Option<Done> {
    let done = Acting::start(|| {
        let grandchild = Acting::start(|| perform(act).unwrap());
        // Whoever waits for stops by `waitpid` is a job-control shell to the guard, and its jobs are not held.
        let state = || proc_state(grandchild.pid.as_raw().unsigned_abs());
        while !matches!(state(), Some('T' | 'Z')) {
            sleep(Duration::from_millis(1));
        }
        assert_eq!(state(), Some('T'), "it is not held");
        Done::found(json!(grandchild.pid.as_raw()))
    })
    .finish();
    Some(done)
}

/// Traces a child that acts. `stopping`: lets its stops happen, and wakes it out of each; else lets none happen.
fn trace(stopping: bool, time: Duration, act: &[&str]) -> Option<Done> {
    let child = Acting::start(|| {
        ptrace::traceme().unwrap();
        perform(act).unwrap()
    });
    let (start, mut signals, mut stops) = (Instant::now(), 0_u64, 0_u64);
    let end = loop {
        match waitpid(child.pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
            // A signal on its way has its particulars; the group stop that it leads to has none.
            WaitStatus::Stopped(pid, signal) if ptrace::getsiginfo(pid).is_ok() => {
                signals += 1;
                ptrace::cont(pid, stopping.then_some(signal)).unwrap();
            }
            WaitStatus::Stopped(pid, _) => {
                stops += 1;
                ptrace::cont(pid, None).unwrap();
            }
            WaitStatus::Exited(_, status) => break json!(status),
            WaitStatus::Signaled(_, signal, _) => break json!(signal as i32),
            _ if start.elapsed() > time => {
                kill(child.pid, Signal::SIGKILL).unwrap();
                waitpid(child.pid, None).unwrap();
                break json!("killed");
            }
            _ => {}
        }
    };
    Some(Done::found(json!({ "signals": signals, "stops": stops, "end": end })))
}

/// Executes `program WORD DIRECTORY` while another process turns the word in shared memory back and forth.
fn flip(count: &str, program: &str, words: [&str; 2], directory: &str) -> Option<Done> {
    assert_eq!(words[0].len(), words[1].len());
    share(words[0]);
    let flipper = Acting::start(|| {
        loop {
            share(words[1]);
            share(words[0]);
        }
    });
    let ends = perform(&["times", count, "exec", "execve", program, "@", directory])?;
    kill(flipper.pid, Signal::SIGKILL).unwrap();
    flipper.finish();
    Some(ends)
}

/// Attacks, by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    let seconds = |text: &str| text.parse().ok().map(Duration::from_secs_f32);
    match *words {
        ["share", text] => {
            share(text);
            Some(Done::found(json!(null)))
        }
        ["unlink-shared"] => Some(unlink_shared()),
        ["ask-without-end", one, other] => Some(ask_without_end([one, other])),
        ["handle", signal, path, ref act @ ..] => with_handler(signal.parse().ok()?, path, act),
        ["jump", signal, path, ref act @ ..] => jump(signal.parse().ok()?, path, act),
        ["spam", pid, time] => Some(spam(Pid::from_raw(pid.parse().ok()?), seconds(time)?)),
        ["signal", pid, signal] => {
            let signal = Signal::try_from(signal.parse::<i32>().ok()?).ok()?;
            let result = kill(Pid::from_raw(pid.parse().ok()?), signal);
            Some(Done { errno: result.err().map_or(0, |errno| errno as i32), value: json!(null) })
        }
        ["orphan", ref act @ ..] => orphan(act),
        ["trace", how, time, ref act @ ..] => trace(how == "stopping", seconds(time)?, act),
        ["flip", count, program, one, other, directory] => flip(count, program, [one, other], directory),
        _ => None,
    }
}
