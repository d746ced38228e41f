//! A child as a job: what has become of it, and signals to it. It must not know what they mean to anybody.

use super::inbox::Signal;
use nix::errno::Errno;
use nix::sys::signal::{kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io;

/// What has become of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that has not been told.
    None,
    /// A signal has stopped it.
    Stopped(Signal),
    /// It has ended with a status.
    Exited(u8),
    /// A signal has ended it, of this number.
    Killed(u8),
}

/// The next change of a child, which is reaped with the last one.
pub fn next_change(pid: u32) -> io::Result<Change> {
    loop {
        match waitpid(number(pid)?, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Change::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(Change::Killed(u8::try_from(signal as i32).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::Stopped(_, signal)) => return Ok(Change::Stopped(signal)),
            Ok(WaitStatus::StillAlive) => return Ok(Change::None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends a signal. A child that has just ended, or that is another user's by now, needs none.
pub fn send(pid: u32, signal: Signal) -> io::Result<()> {
    match kill(number(pid)?, signal) {
        Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Stops this process, as a terminal would, until somebody continues it.
pub fn stop_self() -> io::Result<()> {
    Ok(raise(Signal::SIGSTOP)?)
}

/// Neither 0 nor a negative number, which would mean a whole group.
fn number(pid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Pid::from_raw(pid))
}
