//! The peer of a connection: what the kernel says about it, held for as long as the connection lasts.
//!
//! Membership in group `agent-guard` is decided by the control socket's file mode, at `connect`. Whether the peer
//! stands in a guarded tree is decided anew for each call, by the daemon's loop, which knows the kernel's tags.

use super::authz::Door;
use crate::system::peer::{Credentials, ProcessHandle, identify};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its process id.
    pub pid: u32,
    /// Its effective user when it connected.
    pub uid: u32,
    /// Its effective group when it connected.
    pub gid: u32,
    /// Its user's name, when there is one.
    pub user: Option<String>,
    /// The socket that it came in by.
    pub door: Door,
    /// Its process, held so that nobody else can have its pid unnoticed.
    process: Arc<ProcessHandle>,
}

impl Peer {
    /// Asks the kernel who has connected. Call it straight after `accept`.
    pub fn of(socket: &impl AsFd, door: Door) -> io::Result<Self> {
        let (Credentials { pid, uid, gid }, process) = identify(socket)?;
        let user = crate::system::user::name_of(uid);
        Ok(Self { pid, uid, gid, user, door, process: Arc::new(process) })
    }

    /// Whoever speaks by a port of this host: nobody can say who that is, so that the call is in the daemon's own name.
    /// [`Door::Loopback`] allows no more than anybody may see.
    pub(super) fn by_port() -> io::Result<Self> {
        let (own, _) = UnixStream::pair()?;
        Self::of(&own, Door::Loopback)
    }

    /// Whether the peer's process still lives. Ask *after* looking its pid up: if it lives then, the pid was its own.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }
}
