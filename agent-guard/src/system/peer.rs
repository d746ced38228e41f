//! Who is at the other end of a unix socket, as the kernel says, held so that a recycled pid cannot pass for it.
//! It must not know what the peer may do.

use super::process;
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What the kernel recorded when the peer connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id, in this process's pid namespace; 0 for one outside of it.
    pub pid: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// The peer's process: as long as [`ProcessHandle::is_alive`] says so, its pid means nobody else.
#[derive(Debug)]
pub struct ProcessHandle(Option<OwnedFd>);

impl ProcessHandle {
    /// Holds a process of which only the pid is known. The caller vouches that the pid is still its own.
    pub fn open(pid: u32) -> io::Result<Self> {
        process::open(pid).map(|pidfd| Self(Some(pidfd)))
    }

    /// Whether the process had not exited at the moment of the question. Who cannot be asked about is gone.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let Some(pidfd) = &self.0 else { return false };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        // A pidfd is readable from the exit on; a failed poll tells nothing, and nothing is not alive.
        matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }
}

/// Asks the kernel who connected.
///
/// Since Linux 6.5 the socket itself names the process. Before, the pid is looked up: call this straight after
/// `accept`, for a peer that exits in between leaves its number to whoever comes next.
pub fn identify(socket: &impl AsFd) -> io::Result<(Credentials, ProcessHandle)> {
    let peer = getsockopt(socket, sockopt::PeerCredentials)?;
    let pid = u32::try_from(peer.pid()).unwrap_or(0);
    let handle = hold(getsockopt(socket, sockopt::PeerPidfd), || ProcessHandle::open(pid));
    Ok((Credentials { pid, uid: peer.uid(), gid: peer.gid() }, handle))
}

/// Only a kernel that does not know the question leaves anything to look up: one that knows it and has no process to
/// name speaks of a peer that is gone, and its number may be another's.
fn hold(named: Result<OwnedFd, Errno>, look_up: impl FnOnce() -> io::Result<ProcessHandle>) -> ProcessHandle {
    match named {
        Ok(pidfd) => ProcessHandle(Some(pidfd)),
        Err(Errno::ENOPROTOOPT) => look_up().unwrap_or(ProcessHandle(None)),
        Err(_) => ProcessHandle(None),
    }
}

#[cfg(test)]
mod tests {
    use super::{ProcessHandle, hold, identify};
    use nix::errno::Errno;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    #[test]
    fn a_peer_is_this_process_and_alive() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (credentials, handle) = identify(&ours).unwrap();
        assert_eq!(credentials.pid, std::process::id());
        assert!(handle.is_alive());
    }

    #[test]
    fn a_process_that_has_exited_is_not_alive_even_before_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let handle = ProcessHandle::open(child.id()).unwrap();
        assert!(handle.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!handle.is_alive());
        assert!(ProcessHandle::open(0).is_err());
    }

    #[test]
    fn a_peer_that_the_kernel_cannot_name_is_gone_and_only_an_old_kernel_is_not_asked() {
        let own = || ProcessHandle::open(std::process::id());
        for errno in [Errno::ESRCH, Errno::EINVAL, Errno::ENODATA, Errno::EMFILE] {
            assert!(!hold(Err(errno), own).is_alive(), "{errno}");
        }
        assert!(hold(Err(Errno::ENOPROTOOPT), own).is_alive());
    }
}
