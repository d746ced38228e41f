//! The network: connections, datagrams that name where they go, and sockets that let no hook see where.

use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::call::Call;
use crate::credential;
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

/// net/socket.c, `__sock_create(family, type, protocol, kernel)`.
#[lsm(hook = "socket_create")]
pub fn socket_create(context: LsmContext) -> i32 {
    let is_kernels_own = context.arg::<u32>(3) != 0;
    if is_kernels_own || is_seen(context.arg::<u32>(0), context.arg::<u32>(1), context.arg::<u32>(2)) {
        return 0;
    }
    let Some(caller) = Caller::current() else { return 0 };
    hook::decide(&caller, &Call::of(&caller), Operation::RawSocket)
}

/// Whether hooks see where a socket's messages go, or they leave the machine by no network.
#[inline(always)]
const fn is_seen(family: u32, kind: u32, protocol: u32) -> bool {
    // include/linux/socket.h
    const UNIX: u32 = 1;
    const INET: u32 = 2;
    const INET6: u32 = 10;
    const NETLINK: u32 = 16;
    const ALG: u32 = 38;
    // include/linux/net.h: SOCK_STREAM, SOCK_DGRAM, without the flags
    let is_plain = matches!(kind & 0xf, 1 | 2);
    // include/uapi/linux/in.h: any, ICMP (of ping), TCP, UDP, ICMPv6, UDP-Lite (until 7.x), MPTCP
    let is_known = matches!(protocol, 0 | 1 | 6 | 17 | 58 | 136 | 262);
    matches!(family, UNIX | NETLINK | ALG) || matches!(family, INET | INET6) && is_plain && is_known
}

#[inline(always)]
fn reach(socket: Pointer, address: u64, unspec_is_address: bool) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    match Destination::read(socket, address, unspec_is_address) {
        Destination::Endpoint(endpoint) => credential::reach(&caller, &endpoint, Operation::Connect),
        Destination::Elsewhere => 0,
        Destination::Unreadable => {
            let finding = Finding::undecided(Operation::Connect, Reason::Undecided);
            hook::conclude(&caller, &Endpoint::UNKNOWN, &finding, 1)
        }
    }
}
