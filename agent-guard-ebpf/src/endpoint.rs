//! Endpoints as objects: an address, a port and a protocol, labelled by the longest prefix, and by the names that the
//! session knows the address by.

use agent_guard_common::control::NETWORK;
use agent_guard_common::egress::{NAME_SERVER, NO_SESSION, NamedKey, resolver_port};
use agent_guard_common::event::{Head, NOT_CONNECTED};
use agent_guard_common::hash::{Sip, SipKey};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{ENDPOINT_SLOT_BITS, EndpointKey, UNLABELLED, endpoint_label};
use agent_guard_common::verdict::Reason;
use aya_ebpf::btf_maps::lpm_trie::Key;

use crate::hook::Object;
use crate::kernel::{Pointer, control, copy, member, now, word};
use crate::maps::{ENDPOINTS, NAMED, RESOLVERS};

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

/// Where a connection or a datagram goes. Without holes, as `hook::Finding`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Endpoint {
    /// Address, IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// Port.
    pub port: u16,
    protocol: u16,
    /// Slot of the session that goes there: names are what it knows.
    session: u32,
    /// Bytes that were sent there before, if it is a connection that counts them.
    sent: u64,
}

impl Endpoint {
    /// An endpoint that could not be read.
    pub const UNKNOWN: Self = Self { address: [0; 16], port: 0, protocol: 0, session: NO_SESSION, sent: NOT_CONNECTED };

    #[inline(always)]
    const fn new(address: [u8; 16], port: u16, protocol: u16, session: u32) -> Self {
        Self { address: meant(address), port, protocol, session, sent: NOT_CONNECTED }
    }

    /// To whom a socket is connected; `None` when it is not, or is no internet socket.
    #[inline(always)]
    pub fn peer(sock: Pointer, session: u32) -> Option<Self> {
        let port = u16::from_be(sock.load(&member::SOCK_PEER_PORT));
        if port == 0 {
            return None;
        }
        let address = match sock.load::<u16>(&member::SOCK_FAMILY) {
            AF_INET => mapped(sock.load(&member::SOCK_PEER_V4)),
            AF_INET6 => {
                let halves = [0, 8].map(|at| sock.load_at::<[u8; 8]>(&member::SOCK_PEER_V6, at));
                let mut address = [0; 16];
                address[..8].copy_from_slice(&halves[0]);
                address[8..].copy_from_slice(&halves[1]);
                address
            }
            _ => return None,
        };
        Some(Self::new(address, port, protocol(sock), session))
    }

    /// The same endpoint, which a socket is connected to, and has sent something to (include/linux/tcp.h; what was sent
    /// again counts again).
    #[inline(always)]
    pub fn with_sent(self, sock: Pointer) -> Self {
        let mut sent = NOT_CONNECTED;
        if sock.load::<u16>(&member::SOCK_PROTOCOL) == IPPROTO_TCP {
            // What cannot be read is counted, and not told.
            copy(&mut sent, sock.address() + u64::from(member::TCP_SENT.load()));
        }
        Self { sent, ..self }
    }

    /// Whether a guarded task looks a name up there that its session's resolver answers instead. `sock`: the socket.
    #[inline(always)]
    pub fn is_lookup(&self, sock: Pointer) -> bool {
        // Of the others that count as these the kernel asks nobody where they go (`family/lookup.rs`).
        let is_redirected = matches!(sock.load(&member::SOCK_PROTOCOL), IPPROTO_TCP | IPPROTO_UDP);
        self.port == NAME_SERVER && is_redirected && resolver_of(self.session) != 0 && is_here(sock)
    }

    /// Whether it is its session's own resolver.
    #[inline(always)]
    pub fn is_resolver(&self) -> bool {
        self.is_loopback() && self.port == resolver_port(resolver_of(self.session))
    }

    #[inline(always)]
    fn is_loopback(&self) -> bool {
        let number = u128::from_be_bytes(self.address);
        number == 1 || number >> 24 == (0xffff << 32 | 0x7f00_0000) >> 24
    }

    /// The label of the names that the session knows the address by; or, if it knows none and the address has no label of
    /// its own, that of what has no name. What stays on this host needs none.
    #[inline(always)]
    fn label_by_name(&self, slot: u32, by_address: u16) -> u16 {
        let key = NamedKey { slot, session: self.session, address: self.address };
        // SAFETY: the map frees by RCU, whose reader this program is.
        if let Some(named) = unsafe { NAMED.get(key) }
            && named.until_ns > now()
        {
            return endpoint_label(&named.labels, self.protocol, self.port);
        }
        if by_address != UNLABELLED || self.is_loopback() {
            return UNLABELLED;
        }
        let key = NamedKey { slot, session: NO_SESSION, address: [0; 16] };
        // SAFETY: as above.
        unsafe { NAMED.get(key) }.map_or(UNLABELLED, |named| endpoint_label(&named.labels, self.protocol, self.port))
    }
}

/// Where a session's resolver listens; see [`agent_guard_common::egress::resolver`].
#[inline(always)]
pub fn resolver_of(session: u32) -> u64 {
    word(&RESOLVERS, session).unwrap_or(0)
}

/// Whether a socket is in the network namespace in which the resolvers listen.
#[inline(always)]
fn is_here(sock: Pointer) -> bool {
    let network = sock.follow(&member::SOCK_NETWORK);
    !network.is_null() && network.load::<u64>(&member::NETWORK_COOKIE) == control(NETWORK)
}

/// What a socket speaks, as policies name it.
#[inline(always)]
fn protocol(sock: Pointer) -> u16 {
    match sock.load(&member::SOCK_PROTOCOL) {
        // To whoever is at the other end it is TCP.
        IPPROTO_MPTCP => IPPROTO_TCP,
        // What a policy says of UDP holds for it.
        IPPROTO_UDPLITE => IPPROTO_UDP,
        protocol => protocol,
    }
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
    pub fn read(sock: Pointer, address: u64, unspec_is_address: bool, session: u32) -> Self {
        let mut raw = SocketAddress { family: 0, port: [0; 2], first: [0; 4], address: [0; 16], scope: 0 };
        if !copy(&mut raw, address) {
            return Self::Unreadable;
        }
        let mut family = raw.family;
        if family == AF_UNSPEC && unspec_is_address {
            family = sock.load(&member::SOCK_FAMILY);
        }
        let protocol = protocol(sock);
        let port = u16::from_be_bytes(raw.port);
        match family {
            AF_INET => Self::Endpoint(Endpoint::new(mapped(raw.first), port, protocol, session)),
            AF_INET6 => Self::Endpoint(Endpoint::new(raw.address, port, protocol, session)),
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
        let by_name = self.label_by_name(slot, label);
        Ok([label, if by_name == UNLABELLED { label } else { by_name }])
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
        head.ino = self.sent;
    }
}
