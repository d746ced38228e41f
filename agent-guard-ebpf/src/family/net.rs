//! The network: connections, and datagrams that name where they go.

use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::endpoint::{Destination, Endpoint};
use crate::hook::{self, Caller, Finding};
use crate::kernel::{Pointer, member};

/// net/socket.c, `__sys_connect_file(sock, address, addrlen)`. The address is the kernel's own copy.
#[lsm(hook = "socket_connect")]
pub fn socket_connect(context: LsmContext) -> i32 {
    let socket = Pointer::new(context.arg::<*const u8>(0));
    reach(socket, context.arg::<u64>(1), false)
}

/// net/socket.c, `__sock_sendmsg(sock, msg, size)`: only messages that name a destination. This is unconnected
/// UDP, and TCP Fast Open, which meets no `socket_connect`.
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(context: LsmContext) -> i32 {
    let message = Pointer::new(context.arg::<*const u8>(1));
    let name: u64 = message.load(&member::MSG_NAME);
    if name == 0 || message.load::<i32>(&member::MSG_NAME_LEN) == 0 {
        return 0;
    }
    reach(Pointer::new(context.arg::<*const u8>(0)), name, true)
}

#[inline(always)]
fn reach(socket: Pointer, address: u64, unspec_is_address: bool) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    match Destination::read(socket, address, unspec_is_address) {
        Destination::Endpoint(endpoint) => {
            let finding = hook::find(&endpoint, &caller.policy, Operation::Connect);
            hook::conclude(&caller, &endpoint, &finding, 1)
        }
        Destination::Elsewhere => 0,
        Destination::Unreadable => {
            let finding = Finding::undecided(Operation::Connect, Reason::Undecided);
            hook::conclude(&caller, &Endpoint::UNKNOWN, &finding, 1)
        }
    }
}
