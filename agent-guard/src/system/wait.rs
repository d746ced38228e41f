//! Waiting for a descriptor inside the runtime.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a duplicate of a descriptor for waiting until it is readable. Must be called inside a tokio runtime.
///
/// # Errors
/// The descriptor cannot be duplicated or registered.
pub fn readable(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    register(fd, Interest::READABLE)
}

/// The same, for waiting until something exceptional has happened (POLLPRI).
///
/// # Errors
/// The descriptor cannot be duplicated or registered.
pub fn exceptional(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    register(fd, Interest::PRIORITY)
}

fn register(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = fd.try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, which `AsyncFd` does after deregistering.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(Into::into)
}
