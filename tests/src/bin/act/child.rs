//! Acts in children: now, or in the background to be reaped later.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use serde_json::{Value, json};

use crate::Done;

/// A child that acts.
pub(crate) struct Acting {
    /// Its process.
    pub(crate) pid: Pid,
    result: OwnedFd,
}

thread_local! {
    /// Children in the background, by process.
    static STARTED: RefCell<BTreeMap<i32, Acting>> = const { RefCell::new(BTreeMap::new()) };
}

impl Acting {
    /// Starts an act in a forked child.
    pub(crate) fn start(act: impl FnOnce() -> Done) -> Self {
        Self::start_by(forked, act)
    }

    /// Starts an act in a child that `clone` makes: it returns 0 in the child.
    pub(crate) fn start_by(clone: impl FnOnce() -> i32, act: impl FnOnce() -> Done) -> Self {
        // Closed by `execve`: then the child's end tells the rest.
        let (result, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let pid = clone();
        assert!(pid >= 0, "{}", Errno::last());
        if pid == 0 {
            let done = act();
            let written = File::from(writer).write_all(format!("{} {}\n", done.errno, done.value).as_bytes());
            // SAFETY: ends this process without what the parent's exit handlers would do.
            unsafe { libc::_exit(i32::from(written.is_err())) };
        }
        Self { pid: Pid::from_raw(pid), result }
    }

    /// Waits until it has stopped, and so is held; or has ended, and is not.
    pub(crate) fn is_held(&self) -> bool {
        matches!(waitpid(self.pid, Some(WaitPidFlag::WUNTRACED)).unwrap(), WaitStatus::Stopped(..))
    }

    /// Waits for what came of it.
    pub(crate) fn finish(self) -> Done {
        let mut text = String::new();
        // A line, and not the end of the file: what the child leaves behind may hold the other end.
        BufReader::new(File::from(self.result)).read_line(&mut text).unwrap();
        let end = loop {
            match waitpid(self.pid, None) {
                Ok(WaitStatus::Exited(_, status)) => break Done::found(json!({ "status": status })),
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    break Done { errno: -1, value: json!({ "signal": signal as i32 }) };
                }
                Ok(_) | Err(Errno::EINTR) => {}
                // Somebody else's child, by CLONE_PARENT, or one whose end is known.
                Err(_) => break Done::found(Value::Null),
            }
        };
        match text.trim_end().split_once(' ') {
            Some((errno, value)) => Done { errno: errno.parse().unwrap(), value: serde_json::from_str(value).unwrap() },
            None => end,
        }
    }

    /// Leaves it in the background, and tells its process.
    pub(crate) fn leave(self) -> Done {
        let pid = self.pid.as_raw();
        assert!(self.result.as_raw_fd() > 2);
        STARTED.with_borrow_mut(|started| started.insert(pid, self));
        Done::found(json!(pid))
    }
}

/// Forks; 0 in the child.
pub(crate) fn forked() -> i32 {
    // SAFETY: the caller is a single thread, and the child acts and ends without returning.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child.as_raw(),
        ForkResult::Child => 0,
    }
}

/// Waits for a child that was left in the background.
pub(crate) fn reap(pid: i32) -> Option<Done> {
    STARTED.with_borrow_mut(|started| started.remove(&pid)).map(Acting::finish)
}
