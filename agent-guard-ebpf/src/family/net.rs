//! The network: connections, datagrams that name where they go, and sockets that let no hook see where.

use agent_guard_common::egress::NO_SESSION;
use agent_guard_common::operation::Operation;
use agent_guard_common::session::state;
use agent_guard_common::verdict::Reason;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::call::Call;
use crate::connection::Memory;
use crate::credential;
use crate::endpoint::{Destination, Endpoint};
use crate::hook::{self, Caller, Finding};
use crate::kernel::{Pointer, member};

/// net/socket.c, `__sys_connect_file(sock, address, addrlen)`. The address is the kernel's own copy.
#[lsm(hook = "socket_connect")]
pub fn socket_connect(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let sock = Pointer::new(context.arg::<*const u8>(0)).follow(&member::SOCKET_SOCK);
    // The verifier asks; the kernel never calls with a socket that is not set up.
    if sock.is_null() {
        return 0;
    }
    // Before anything is judged: from here on it is no connection of somebody else's.
    if is_internet(sock)
        && let Some(memory) = Memory::begun(sock)
    {
        memory.change(|state| state.dials = 1);
    }
    reach(&caller, sock, context.arg::<u64>(1), false)
}

/// net/socket.c, `__sock_sendmsg(sock, msg, size)`: messages that name a destination (unconnected UDP, and TCP Fast Open,
/// which meets no `socket_connect`), and those on a connection that was made before something else became true.
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let socket = Pointer::new(context.arg::<*const u8>(0));
    let sock = socket.follow(&member::SOCKET_SOCK);
    if sock.is_null() {
        return 0;
    }
    let message = Pointer::new(context.arg::<*const u8>(1));
    let name: u64 = message.load(&member::MSG_NAME);
    if name != 0 && message.load::<i32>(&member::MSG_NAME_LEN) != 0 {
        return reach(&caller, sock, name, true);
    }
    // A socket without a file is the kernel's own: a file system's, which the caller has not asked to send.
    if socket.follow(&member::SOCKET_FILE).is_null() { 0 } else { go_on(&caller, sock) }
}

/// net/socket.c, `__sys_listen(sock, backlog)`: whoever connects to it was not reached by the session.
#[lsm(hook = "socket_listen")]
pub fn socket_listen(context: LsmContext) -> i32 {
    if Caller::current().is_some() {
        let sock = Pointer::new(context.arg::<*const u8>(0)).follow(&member::SOCKET_SOCK);
        // One that is connected does not listen, whatever it is asked to.
        if !sock.is_null()
            && is_internet(sock)
            && Endpoint::peer(sock, NO_SESSION).is_none()
            && let Some(memory) = Memory::begun(sock)
        {
            memory.change(|state| state.listens = 1);
        }
    }
    0
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
fn reach(caller: &Caller, sock: Pointer, address: u64, unspec_is_address: bool) -> i32 {
    let session = caller.tag.part(|tag| tag.session);
    match Destination::read(sock, address, unspec_is_address, session) {
        Destination::Endpoint(endpoint) => reach_endpoint(caller, sock, &endpoint),
        Destination::Elsewhere => 0,
        Destination::Unreadable => {
            let finding = Finding::undecided(Operation::Connect, Reason::Undecided);
            hook::conclude(caller, &Endpoint::UNKNOWN, &finding, 1)
        }
    }
}

/// Judges a destination; a lookup of a name is the resolver's to judge, and is sent there.
#[inline(always)]
fn reach_endpoint(caller: &Caller, sock: Pointer, endpoint: &Endpoint) -> i32 {
    if caller.state == state::ACTIVE && endpoint.is_lookup(sock) {
        let Some(memory) = Memory::begun(sock) else { return hook::EPERM };
        memory.change(|state| {
            state.session = caller.tag.part(|tag| tag.session);
            state.resolves = 1;
        });
        return 0;
    }
    settle(caller, sock, endpoint)
}

/// Judges an endpoint, and remembers that. What cannot be remembered is judged again with each message.
#[inline(always)]
fn settle(caller: &Caller, sock: Pointer, endpoint: &Endpoint) -> i32 {
    let result = credential::reach(caller, endpoint, Operation::Connect);
    if result == 0
        && let Some(memory) = Memory::begun(sock)
    {
        memory.settle(caller, endpoint);
    }
    result
}

/// Judges what is sent on a connection, unless that was done and holds.
#[inline(always)]
fn go_on(caller: &Caller, sock: Pointer) -> i32 {
    // A halted session is frozen as a whole; here it could not always be parked.
    if caller.state == state::HALTED || !is_internet(sock) {
        return 0;
    }
    let Some(endpoint) = Endpoint::peer(sock, caller.tag.part(|tag| tag.session)) else { return 0 };
    let passes = |memory: Memory| {
        memory.part(|state| state.listens == 1 && state.dials == 0) || memory.is_settled(caller, &endpoint)
    };
    if Memory::of(sock).is_some_and(passes) || endpoint.is_resolver() {
        return 0;
    }
    settle(caller, sock, &endpoint.with_sent(sock))
}

/// include/linux/socket.h: AF_INET and AF_INET6.
#[inline(always)]
fn is_internet(sock: Pointer) -> bool {
    matches!(sock.load::<u16>(&member::SOCK_FAMILY), 2 | 10)
}
