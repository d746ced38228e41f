//! Signals to whole processes: to one that is held by descriptor, or by its number where a wrong one is not harmed.

use std::os::fd::AsFd;

use nix::errno::Errno;
pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustix::process::pidfd_send_signal;

/// Sends a signal to the process that a pidfd holds, and to nobody else, whoever has its pid by now. One that is gone
/// needs none.
pub fn send(process: &impl AsFd, signal: Signal) -> Result<(), Errno> {
    let signal = rustix::process::Signal::from_named_raw(signal as i32).ok_or(Errno::EINVAL)?;
    match pidfd_send_signal(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(Errno::from_raw(errno.raw_os_error())),
    }
}

/// Wakes a stopped process by its number, all of its threads at once. One that is gone needs no waking.
pub fn wake(tgid: u32) -> Result<(), Errno> {
    // 0 and negative numbers mean groups; 1 is never guarded.
    let pid = i32::try_from(tgid).ok().filter(|pid| *pid > 1).ok_or(Errno::EINVAL)?;
    match kill(Pid::from_raw(pid), Signal::SIGCONT) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// An error number that the kernel gave, in words.
#[must_use]
pub fn errno_words(errno: u32) -> String {
    i32::try_from(errno).map_or_else(|_| format!("error {errno}"), |errno| Errno::from_raw(errno).desc().to_owned())
}

/// The name of an errno, as headers have it.
#[must_use]
pub fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => errno.to_string(),
        known => format!("{known:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use nix::errno::Errno;

    use super::{Signal, send, wake};
    use crate::system::process;

    #[test]
    fn errnos_have_names() {
        assert_eq!((super::errno_name(7).as_str(), super::errno_name(513).as_str()), ("E2BIG", "513"));
    }

    #[test]
    fn no_number_reaches_more_than_one_process() {
        for pid in [0, 1, u32::MAX, 1 << 31] {
            assert_eq!(wake(pid), Err(Errno::EINVAL), "{pid}");
        }
    }

    #[test]
    fn a_process_that_is_held_is_reached_and_one_that_is_gone_is_no_error() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("runs");
        let (pid, held) = (child.id(), process::open(child.id()).expect("lives"));
        send(&held, Signal::SIGKILL).expect("is sent");
        assert_eq!(child.wait().expect("ends").signal(), Some(9));
        assert_eq!((send(&held, Signal::SIGKILL), wake(pid)), (Ok(()), Ok(())));
    }
}
