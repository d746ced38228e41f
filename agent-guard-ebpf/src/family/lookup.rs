//! Lookups of names: what a guarded task sends to a name server goes to its session's resolver, and comes back as from the
//! server that was meant. So the daemon knows each name before the session knows its address.
//!
//! They judge nothing, and know no task: whose socket it is stands in its storage, where `socket_connect` and
//! `socket_sendmsg` have put it just before (`endpoint.rs`). Attached for everybody, since a socket may be older than its
//! session's cgroup, and only while a policy speaks of names.

use agent_guard_common::egress::{NAME_SERVER, SocketState, resolver_has_ipv6, resolver_port};
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use crate::connection::Memory;
use crate::endpoint::resolver_of;
use crate::kernel::Pointer;

const REFUSE: i32 = 0;
const PASS: i32 = 1;
/// 127.0.0.1, `::ffff:0:0/96` and the last part of `::1`, as the kernel holds them.
const LOCALHOST: u32 = u32::from_be_bytes([127, 0, 0, 1]).to_be();
const MAPPED: u32 = 0xffff_u32.to_be();
const ONE: u32 = 1_u32.to_be();

/// net/ipv4/tcp_ipv4.c, `tcp_v4_pre_connect`, and udp's.
#[cgroup_sock_addr(connect4)]
pub fn connect4(context: SockAddrContext) -> i32 {
    there(&Address(context.sock_addr), false)
}

/// net/ipv6/tcp_ipv6.c, `tcp_v6_pre_connect`, and udp's.
#[cgroup_sock_addr(connect6)]
pub fn connect6(context: SockAddrContext) -> i32 {
    there(&Address(context.sock_addr), true)
}

/// net/ipv4/udp.c, `udp_sendmsg`: a datagram that names where it goes.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(context: SockAddrContext) -> i32 {
    there(&Address(context.sock_addr), false)
}

/// net/ipv6/udp.c, `udpv6_sendmsg`.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(context: SockAddrContext) -> i32 {
    there(&Address(context.sock_addr), true)
}

/// net/ipv4/udp.c, `udp_recvmsg`: where a datagram comes from.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(context: SockAddrContext) -> i32 {
    back(&Address(context.sock_addr), false)
}

/// net/ipv6/udp.c, `udpv6_recvmsg`.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(context: SockAddrContext) -> i32 {
    back(&Address(context.sock_addr), true)
}

/// net/ipv4/af_inet.c, `inet_getname`: whom a socket is connected to.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(context: SockAddrContext) -> i32 {
    back(&Address(context.sock_addr), false)
}

/// net/ipv6/af_inet6.c, `inet6_getname`.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(context: SockAddrContext) -> i32 {
    back(&Address(context.sock_addr), true)
}

/// The address that a program may see and change. The verifier takes its fields one by one, each as a whole.
struct Address(*mut bpf_sock_addr);

macro_rules! field {
    ($place:expr) => {
        // SAFETY: the context is valid for the whole program, and the field an aligned word of it.
        unsafe { core::ptr::read_volatile(&raw const $place) }
    };
}
macro_rules! set {
    ($place:expr, $value:expr) => {
        // SAFETY: as for reading; the kernel lets a program of this kind change the field.
        unsafe { core::ptr::write_volatile(&raw mut $place, $value) }
    };
}

impl Address {
    #[inline(always)]
    fn port(&self) -> u16 {
        u16::from_be(field!((*self.0).user_port) as u16)
    }

    #[inline(always)]
    fn set_port(&self, port: u16) {
        set!((*self.0).user_port, u32::from(port.to_be()));
    }

    #[inline(always)]
    fn memory(&self) -> Option<Memory> {
        // SAFETY: every member of the union is a pointer to the socket.
        let sock = unsafe { (*self.0).__bindgen_anon_1.sk };
        if sock.is_null() { None } else { Memory::of(Pointer::new(sock.cast_const())) }
    }

    /// The address in four words, IPv4 as `::ffff:a.b.c.d`.
    #[inline(always)]
    fn words(&self, is_ipv6: bool) -> [u32; 4] {
        if is_ipv6 {
            [
                field!((*self.0).user_ip6[0]),
                field!((*self.0).user_ip6[1]),
                field!((*self.0).user_ip6[2]),
                field!((*self.0).user_ip6[3]),
            ]
        } else {
            [0, 0, MAPPED, field!((*self.0).user_ip4)]
        }
    }

    #[inline(always)]
    fn set_words(&self, is_ipv6: bool, words: [u32; 4]) {
        if is_ipv6 {
            set!((*self.0).user_ip6[0], words[0]);
            set!((*self.0).user_ip6[1], words[1]);
            set!((*self.0).user_ip6[2], words[2]);
            set!((*self.0).user_ip6[3], words[3]);
        } else {
            set!((*self.0).user_ip4, words[3]);
        }
    }
}

/// Sends what is meant for a name server to the session's resolver; where there is none it is refused.
#[inline(always)]
fn there(address: &Address, is_ipv6: bool) -> i32 {
    if address.port() != NAME_SERVER {
        return PASS;
    }
    let Some(memory) = address.memory() else { return PASS };
    if memory.part(|state| state.resolves) == 0 {
        return PASS;
    }
    let meant = address.words(is_ipv6);
    let is_mapped = meant[0] | meant[1] == 0 && meant[2] == MAPPED;
    let resolver = resolver_of(memory.part(|state| state.session));
    if resolver_port(resolver) == 0 || !is_mapped && !resolver_has_ipv6(resolver) {
        return REFUSE;
    }
    memory.change(|state| remember(state, meant));
    address.set_words(is_ipv6, if is_mapped { [0, 0, MAPPED, LOCALHOST] } else { [0, 0, 0, ONE] });
    address.set_port(resolver_port(resolver));
    PASS
}

/// Lets what comes from the session's resolver come from the name server that was meant.
#[inline(always)]
fn back(address: &Address, is_ipv6: bool) -> i32 {
    let Some(memory) = address.memory() else { return PASS };
    if memory.part(|state| state.resolves) == 0 {
        return PASS;
    }
    let words = address.words(is_ipv6);
    let is_local = words == [0, 0, MAPPED, LOCALHOST] || words == [0, 0, 0, ONE];
    if is_local && address.port() == resolver_port(resolver_of(memory.part(|state| state.session))) {
        address.set_words(is_ipv6, memory.part(meant));
        address.set_port(NAME_SERVER);
    }
    PASS
}

#[inline(always)]
fn remember(state: &mut SocketState, words: [u32; 4]) {
    for (to, word) in state.server.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
}

#[inline(always)]
fn meant(state: &SocketState) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, from) in words.iter_mut().zip(state.server.chunks_exact(4)) {
        *word = u32::from_ne_bytes([from[0], from[1], from[2], from[3]]);
    }
    words
}
