//! Unix sockets: who serves one outside the session does what it is asked to, outside the session.

use agent_guard_common::operation::Operation;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::credential;
use crate::hook::Caller;
use crate::kernel::{Pointer, member};
use crate::unix::{self, Place};

/// include/linux/socket.h
const AF_UNIX: u32 = 1;

/// net/socket.c, `__sock_create(socket, family, type, protocol, kernel)`: notes whose it is.
#[lsm(hook = "socket_post_create")]
pub fn socket_post_create(context: LsmContext) -> i32 {
    if context.arg::<u32>(1) != AF_UNIX {
        return 0;
    }
    if let Some(caller) = Caller::current() {
        let sock = Pointer::new(context.arg::<*const u8>(0)).follow(&member::SOCKET_SOCK);
        // The verifier asks; the kernel never calls with a socket that is not set up.
        if !sock.is_null() {
            unix::mark(sock, &caller);
        }
    }
    0
}

/// net/unix/af_unix.c, `unix_stream_connect(sock, other, new)`: under the other's lock, with nothing done yet.
#[lsm(hook = "unix_stream_connect")]
pub fn unix_stream_connect(context: LsmContext) -> i32 {
    reach(Pointer::new(context.arg::<*const u8>(1)))
}

/// net/unix/af_unix.c, `unix_dgram_connect` and `unix_dgram_sendmsg` (socket, other): each datagram.
#[lsm(hook = "unix_may_send")]
pub fn unix_may_send(context: LsmContext) -> i32 {
    reach(Pointer::new(context.arg::<*const u8>(1)).follow(&member::SOCKET_SOCK))
}

#[inline(always)]
fn reach(other: Pointer) -> i32 {
    const REACH: Operation = Operation::UnixConnect;
    let Some(caller) = Caller::current() else { return 0 };
    if !other.is_null() && unix::is_inside(other, &caller) {
        return 0;
    }
    match Place::of(other) {
        Place::Bound(entry) => credential::reach(&caller, &entry, REACH),
        Place::Named(name) => credential::reach(&caller, &name, REACH),
    }
}
