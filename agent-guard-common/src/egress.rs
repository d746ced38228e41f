//! What is known of where a session's connections go: the names of addresses, and how each socket was judged.
//!
//! Must not know how a name is looked up, nor what a packet looks like.

use crate::limits::DOMAIN_BYTES;
use crate::plain::abi;
use crate::rule::EndpointLabels;

/// The port of name servers.
pub const NAME_SERVER: u16 = 53;

abi! {
    /// An address that a session knows by a name, in one generation of the policy.
    pub struct NamedKey = 24 {
        /// Generation slot.
        pub slot: u32,
        /// The session's slot, or [`NO_SESSION`].
        pub session: u32,
        /// Address, IPv4 as `::ffff:a.b.c.d`.
        pub address: [u8; 16],
    }
}

/// In place of a session: what is labelled is any address that a session has no name for. The address is zero.
pub const NO_SESSION: u32 = u32::MAX;

abi! {
    /// What an address is labelled with by its names.
    pub struct Named = 72 {
        /// Until when, in nanoseconds of CLOCK_MONOTONIC.
        pub until_ns: u64,
        /// The labelled port ranges; the first that fits wins.
        pub labels: EndpointLabels,
    }
}

abi! {
    /// A name that a session has heard for an address. Only the daemon reads it, when it comes back.
    pub struct HeardKey = 32 {
        /// The session's slot.
        pub session: u32,
        /// Zero.
        pub reserved: u32,
        /// Address, IPv4 as `::ffff:a.b.c.d`.
        pub address: [u8; 16],
        /// [`crate::hash::letters`] of the name.
        pub name: u64,
    }
}

abi! {
    /// What was heard.
    pub struct Heard = 264 {
        /// Until when, in nanoseconds of CLOCK_MONOTONIC.
        pub until_ns: u64,
        /// The name, padded with zeros.
        pub name: [u8; DOMAIN_BYTES],
    }
}

abi! {
    /// What is remembered of a socket, in its storage; a connection that it accepts begins with a copy.
    pub struct SocketState = 64 {
        /// Serial of the session that it was judged for last.
        pub serial: u64,
        /// [`settled`] when it was judged last; 0 for never.
        pub settled: u64,
        /// The address that it was judged for, IPv4 as `::ffff:a.b.c.d`, and below its port: a verdict on one peer is none on
        /// another.
        pub peer: [u8; 16],
        /// That session's slot.
        pub session: u32,
        /// 1 when it listens, or was accepted by one that did: others have connected to it, unless it [`dials`](Self::dials).
        pub listens: u32,
        /// The name server that its lookups are meant for, IPv4 as `::ffff:a.b.c.d`.
        pub server: [u8; 16],
        /// 1 once it was used for a lookup: what it sends to a name server goes to the session's resolver. Never 0 again, and
        /// a word of its own, so that no other change of the record loses it.
        pub resolves: u32,
        /// The port of the peer.
        pub port: u16,
        /// 1 once it was to connect by itself. Never 0 again.
        pub dials: u16,
    }
}

/// What a verdict on a connection rests on besides its endpoint: the policy (see [`crate::control::POLICY`]), and what was
/// touched. Never 0.
#[inline(always)]
#[must_use]
pub const fn settled(policy: u64, touched: u64) -> u64 {
    policy << 32 | touched & 0x7fff_ffff | 1 << 31
}

/// Where a session's resolver listens on this host's loopback addresses, as one number; 0 for nowhere.
#[inline(always)]
#[must_use]
pub const fn resolver(port: u16, has_ipv6: bool) -> u64 {
    port as u64 | (has_ipv6 as u64) << 16
}

/// The port of a [`resolver`].
#[inline(always)]
#[must_use]
pub const fn resolver_port(resolver: u64) -> u16 {
    resolver as u16
}

/// Whether a [`resolver`] listens on `::1` as well.
#[inline(always)]
#[must_use]
pub const fn resolver_has_ipv6(resolver: u64) -> bool {
    resolver >> 16 & 1 != 0
}
