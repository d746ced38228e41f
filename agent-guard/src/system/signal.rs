//! Signals to whole processes. A pid may be another process's by now: the daemon asks whose tree it is in just before,
//! and what it sends without asking harms nobody (SIGCONT).

use nix::errno::Errno;
pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Wakes a stopped process, all of its threads at once. One that is gone needs no waking.
pub fn wake(tgid: u32) -> Result<(), Errno> {
    send(tgid, Signal::SIGCONT)
}

/// Stops a process, whatever it is doing. One that is gone needs no stopping.
pub fn stop(tgid: u32) -> Result<(), Errno> {
    send(tgid, Signal::SIGSTOP)
}

/// Kills a process. One that is gone needs no killing.
pub fn kill_process(tgid: u32) -> Result<(), Errno> {
    send(tgid, Signal::SIGKILL)
}

/// The name of an errno, as headers have it.
#[must_use]
pub fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => errno.to_string(),
        known => format!("{known:?}"),
    }
}

fn send(tgid: u32, signal: Signal) -> Result<(), Errno> {
    // 0 and negative numbers mean groups; 1 is never guarded.
    let pid = i32::try_from(tgid).ok().filter(|pid| *pid > 1).ok_or(Errno::EINVAL)?;
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{kill_process, wake};

    #[test]
    fn errnos_have_names() {
        assert_eq!((super::errno_name(7).as_str(), super::errno_name(513).as_str()), ("E2BIG", "513"));
    }

    #[test]
    fn no_number_reaches_more_than_one_process() {
        for pid in [0, 1, u32::MAX, 1 << 31] {
            assert_eq!(kill_process(pid), Err(Errno::EINVAL), "{pid}");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_no_error() {
        let mut child = std::process::Command::new("true").spawn().expect("runs");
        let pid = child.id();
        child.wait().expect("ends");
        assert_eq!(wake(pid), Ok(()));
    }
}
