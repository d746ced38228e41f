//! The names that sessions know addresses by, as the kernel holds them; and where their lookups go.
//!
//! Must not know who looked what up, nor which names a label means.

use std::net::IpAddr;

use agent_guard_common::control;
use agent_guard_common::egress::{Heard, HeardKey, NO_SESSION, Named, NamedKey, resolver};
use agent_guard_common::hash::letters;
use agent_guard_common::limits::DOMAIN_BYTES;
use agent_guard_common::map;
use agent_guard_common::rule::EndpointLabels;

use super::Kernel;
use super::error::Error;
use super::install::empty;
use super::maps::{Maps, removed};
use crate::policy::Compiled;

/// An address that a session knows by some names, and what they label it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAddress {
    /// The session's slot.
    pub session: u32,
    /// The address.
    pub address: IpAddr,
    /// Until when, in nanoseconds of CLOCK_MONOTONIC.
    pub until_ns: u64,
    /// Its labels.
    pub labels: EndpointLabels,
}

/// A name that a session has heard for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardName {
    /// The session's slot.
    pub session: u32,
    /// The address.
    pub address: IpAddr,
    /// The name, in lower case; less than [`DOMAIN_BYTES`] bytes.
    pub name: String,
    /// Until when, in nanoseconds of CLOCK_MONOTONIC.
    pub until_ns: u64,
}

/// Writes what an address is labelled with, for one generation.
pub(super) fn write(maps: &mut Maps, generation: u32, known: &KnownAddress) -> Result<(), Error> {
    let key = NamedKey { slot: generation & 1, session: known.session, address: octets(known.address) };
    let named = Named { until_ns: known.until_ns, labels: known.labels };
    maps.named.insert(key, named, 0).map_err(Error::write(map::NAMED))
}

/// Writes what addresses without a name are labelled with.
pub(super) fn write_unnamed(maps: &mut Maps, rules: &Compiled) -> Result<(), Error> {
    let key = NamedKey { slot: rules.generation & 1, session: NO_SESSION, address: [0; 16] };
    let named = Named { until_ns: u64::MAX, labels: rules.heard.unnamed };
    maps.named.insert(key, named, 0).map_err(Error::write(map::NAMED))
}

/// An address as the kernel looks it up.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl Kernel {
    /// Tells the programs in which network namespace the resolvers listen.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn set_network(&mut self, cookie: u64) -> Result<(), Error> {
        self.maps.set_control(control::NETWORK, cookie)
    }

    /// Sends a session's lookups to a port of this host, of IPv6 as well or not.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn set_resolver(&mut self, session: u32, port: u16, has_ipv6: bool) -> Result<(), Error> {
        self.maps.resolvers.set(session, resolver(port, has_ipv6), 0).map_err(Error::write(map::RESOLVERS))
    }

    /// Where a session's lookups went to so far; 0 for nowhere. See [`agent_guard_common::egress::resolver`].
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn resolver(&self, session: u32) -> Result<u64, Error> {
        self.maps.resolvers.get(&session, 0).map_err(Error::read(map::RESOLVERS))
    }

    /// Labels an address for a session by the names that it knows it by, in the policy in force.
    ///
    /// # Errors
    /// The map is full or cannot be written.
    pub fn know(&mut self, known: &KnownAddress) -> Result<(), Error> {
        let generation = self.generation();
        write(&mut self.maps, generation, known)
    }

    /// Keeps a name that was heard, for the daemon that comes after this one.
    ///
    /// # Errors
    /// The map is full or cannot be written.
    pub fn keep_heard(&mut self, heard: &HeardName) -> Result<(), Error> {
        let mut name = [0; DOMAIN_BYTES];
        name.iter_mut().zip(heard.name.bytes()).for_each(|(to, from)| *to = from);
        let value = Heard { until_ns: heard.until_ns, name };
        self.maps
            .heard
            .insert(heard_key(heard.session, heard.address, &heard.name), value, 0)
            .map_err(Error::write(map::HEARD))
    }

    /// The names that were kept.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn kept_names(&self) -> Result<Vec<HeardName>, Error> {
        let mut names = Vec::new();
        for entry in self.maps.heard.iter() {
            let (key, heard) = entry.map_err(Error::read(map::HEARD))?;
            let bytes: Vec<u8> = heard.name.iter().copied().take_while(|byte| *byte != 0).collect();
            names.push(HeardName {
                session: key.session,
                address: IpAddr::from(key.address).to_canonical(),
                name: String::from_utf8_lossy(&bytes).into_owned(),
                until_ns: heard.until_ns,
            });
        }
        Ok(names)
    }

    /// Forgets a name that was kept. One that is not there is no error.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn forget_heard(&mut self, session: u32, address: IpAddr, name: &str) -> Result<(), Error> {
        removed(self.maps.heard.remove(&heard_key(session, address, name)), map::HEARD)
    }

    /// Forgets an address of a session, in the policy in force.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn forget_known(&mut self, session: u32, address: IpAddr) -> Result<(), Error> {
        let key = NamedKey { slot: self.generation() & 1, session, address: octets(address) };
        removed(self.maps.named.remove(&key), map::NAMED)
    }

    /// Forgets all that a session knows, and where its lookups went.
    ///
    /// # Errors
    /// A map cannot be written.
    pub fn forget_names(&mut self, session: u32) -> Result<(), Error> {
        self.maps.resolvers.set(session, 0, 0).map_err(Error::write(map::RESOLVERS))?;
        empty(&mut self.maps.named, map::NAMED, |key: &NamedKey| key.session == session)?;
        empty(&mut self.maps.heard, map::HEARD, |key: &HeardKey| key.session == session)
    }
}

fn heard_key(session: u32, address: IpAddr, name: &str) -> HeardKey {
    HeardKey { session, reserved: 0, address: octets(address), name: letters(name.as_bytes()) }
}
