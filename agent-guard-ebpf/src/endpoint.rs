//! Endpoints as objects: an address, a port and a protocol, labelled by the longest prefix.

use agent_guard_common::event::Head;
use agent_guard_common::hash::{Sip, SipKey};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{ENDPOINT_SLOT_BITS, EndpointKey, UNLABELLED, endpoint_label};
use agent_guard_common::verdict::Reason;
use aya_ebpf::btf_maps::lpm_trie::Key;

use crate::hook::Object;
use crate::kernel::{Pointer, copy, member};
use crate::maps::ENDPOINTS;

// include/linux/socket.h
const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
// include/uapi/linux/in.h
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const IPPROTO_UDPLITE: u16 = 136;
const IPPROTO_MPTCP: u16 = 262;

/// `struct sockaddr_in6`, whose first eight bytes are those of `struct sockaddr_in`.
#[repr(C)]
#[derive(Clone, Copy)]
struct SocketAddress {
    family: u16,
    port: [u8; 2],
    /// IPv4 address, or flow label.
    first: [u8; 4],
    address: [u8; 16],
    scope: u32,
}

/// Where a connection or a datagram goes.
#[derive(Clone, Copy)]
pub struct Endpoint {
    address: [u8; 16],
    port: u16,
    protocol: u16,
}

impl Endpoint {
    /// An endpoint that could not be read.
    pub const UNKNOWN: Self = Self { address: [0; 16], port: 0, protocol: 0 };
}

/// What an address argument turned out to be.
pub enum Destination {
    /// An endpoint to be judged.
    Endpoint(Endpoint),
    /// Not an internet address: another operation's business.
    Elsewhere,
    /// It could not be read.
    Unreadable,
}

impl Destination {
    /// Reads a kernel copy of a socket address. `unspec_is_address`: `sendto` takes AF_UNSPEC for the socket's
    /// own family (net/ipv4/udp.c, `udp_sendmsg`), `connect` takes it for a disconnect.
    #[inline(always)]
    pub fn read(socket: Pointer, address: u64, unspec_is_address: bool) -> Self {
        let mut raw = SocketAddress { family: 0, port: [0; 2], first: [0; 4], address: [0; 16], scope: 0 };
        if !copy(&mut raw, address) {
            return Self::Unreadable;
        }
        let sock = socket.follow(&member::SOCKET_SOCK);
        // The verifier asks; the kernel never calls with a socket that is not set up.
        if sock.is_null() {
            return Self::Unreadable;
        }
        let mut family = raw.family;
        if family == AF_UNSPEC && unspec_is_address {
            family = sock.load(&member::SOCK_FAMILY);
        }
        let protocol = match sock.load(&member::SOCK_PROTOCOL) {
            // To whoever is at the other end it is TCP.
            IPPROTO_MPTCP => IPPROTO_TCP,
            // What a policy says of UDP holds for it.
            IPPROTO_UDPLITE => IPPROTO_UDP,
            protocol => protocol,
        };
        let port = u16::from_be_bytes(raw.port);
        match family {
            AF_INET => Self::Endpoint(Endpoint { address: meant(mapped(raw.first)), port, protocol }),
            AF_INET6 => Self::Endpoint(Endpoint { address: meant(raw.address), port, protocol }),
            _ => Self::Elsewhere,
        }
    }
}

/// `::ffff:a.b.c.d`, so that one trie serves both families and a v4-mapped address is no way around.
#[inline(always)]
fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}

/// The address that is reached by one that stands for another: "any" is this host (net/ipv4/route.c, net/ipv6/tcp_ipv6.c),
/// and what a NAT64 gateway translates is IPv4 (RFC 6052, 64:ff9b::/96).
#[inline(always)]
const fn meant(address: [u8; 16]) -> [u8; 16] {
    let number = u128::from_be_bytes(address);
    const MAPPED: u128 = 0xffff << 32;
    const LOCAL: u128 = 1;
    const LOCAL_V4: u128 = MAPPED | 0x7f00_0001;
    const NAT64: u128 = 0x0064_ff9b << 96;
    let meant = if number == 0 {
        LOCAL
    } else if number == MAPPED {
        LOCAL_V4
    } else if number >> 32 == NAT64 >> 32 {
        MAPPED | number & 0xffff_ffff
    } else {
        number
    };
    meant.to_be_bytes()
}

impl Object for Endpoint {
    #[inline(always)]
    fn labels(&self, slot: u32, _: Operation) -> Result<[u16; 2], Reason> {
        let key = Key::new(ENDPOINT_SLOT_BITS + 128, EndpointKey { slot: slot.to_be(), address: self.address });
        let label = ENDPOINTS.get(&key).map_or(UNLABELLED, |ranges| endpoint_label(ranges, self.protocol, self.port));
        Ok([label, label])
    }

    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        let mut sip = Sip::new(key);
        for half in self.address.chunks_exact(8) {
            let mut word = [0; 8];
            word.copy_from_slice(half);
            sip.add(u64::from_ne_bytes(word));
        }
        sip.add(u64::from(self.port) << 16 | u64::from(self.protocol));
        sip.finish()
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        head.address = self.address;
        head.port = u32::from(self.port);
        head.protocol = u32::from(self.protocol);
    }
}
