//! Endpoints of a policy: address ranges, ports, protocols.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use schemars::{Schema, json_schema};

use crate::policy::fault::quoted;
use crate::policy::read::{Scalar, Word};

/// Where IPv4 lies within IPv6: `::ffff:0:0/96`.
pub(in crate::policy) const MAPPED: Cidr = Cidr { address: 0xffff_0000_0000, bits: 96 };

/// A range of addresses, of either family, as the kernel looks it up: IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Cidr {
    /// The first address.
    pub(in crate::policy) address: u128,
    /// Bits that all its addresses share.
    pub(in crate::policy) bits: u8,
}

impl Cidr {
    /// Whether all of the other range lies in this one.
    ///
    /// IPv4 lies in IPv4 ranges only: `::/0` is all of IPv6, as everywhere else in networking.
    pub(in crate::policy) const fn encloses(self, other: Self) -> bool {
        self.bits <= other.bits && self.holds(other.address) && self.is_ipv4() == other.is_ipv4()
    }

    /// The range of the first so many of its bits.
    pub(in crate::policy) const fn shortened(self, bits: u8) -> Self {
        let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits as u32) };
        Self { address: self.address & mask, bits }
    }

    /// Whether it is a range of IPv4.
    pub(in crate::policy) const fn is_ipv4(self) -> bool {
        self.bits >= MAPPED.bits && MAPPED.holds(self.address)
    }

    /// Whether the address shares the range's bits.
    pub(in crate::policy) const fn holds(self, address: u128) -> bool {
        // A shift by all 128 bits is none of Rust's.
        self.bits == 0 || (self.address ^ address) >> (128 - self.bits as u32) == 0
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Self { address: address.to_bits(), bits: 128 }
    }
}

impl From<IpNet> for Cidr {
    fn from(range: IpNet) -> Self {
        let beyond = match range {
            IpNet::V4(_) => MAPPED.bits,
            IpNet::V6(_) => 0,
        };
        Self { bits: range.prefix_len() + beyond, ..Self::from(range.network()) }
    }
}

impl core::fmt::Display for Cidr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let address = Ipv6Addr::from_bits(self.address);
        match address.to_ipv4_mapped() {
            Some(address) if self.is_ipv4() => write!(f, "{address}/{}", self.bits - MAPPED.bits),
            _ => write!(f, "{address}/{}", self.bits),
        }
    }
}

impl Scalar for Cidr {
    const EXPECTED: &'static str = "an address range, such as 203.0.113.0/24 or 2001:db8::/32";

    fn from_text(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let Ok(range) = text.parse::<IpNet>() else {
            return Err(format!(
                "{} is no address range; expected one such as 203.0.113.0/24 or 2001:db8::/32",
                quoted(text)
            ));
        };
        if range.trunc() != range {
            return Err(format!(
                "{text} has bits set behind its prefix; expected {} or {}/{}",
                range.trunc(),
                range.addr(),
                range.max_prefix_len()
            ));
        }
        Ok(range.into())
    }
}

/// A port, or a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Ports {
    /// The first.
    pub(in crate::policy) first: u16,
    /// The last, included.
    pub(in crate::policy) last: u16,
}

impl Ports {
    /// Every port.
    pub(in crate::policy) const ANY: Self = Self { first: 0, last: u16::MAX };

    /// Whether the two have a port in common.
    pub(in crate::policy) const fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl Scalar for Ports {
    const EXPECTED: &'static str = "a port or a range of ports, such as 443 or 5000-5010";

    fn from_text(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |digits: &str| -> Result<u16, String> {
            let number = digits.parse::<i128>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
            number.map_or_else(
                || Err(format!("{} is no port; expected one such as 443, or a range such as 5000-5010", quoted(text))),
                port,
            )
        };
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("the range {text} runs backwards; expected {last}-{first}"));
        }
        Ok(Self { first, last })
    }

    fn from_number(number: i128) -> Result<Self, String> {
        port(number).map(|port| Self { first: port, last: port })
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 65535 },
            { "type": "string", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$" }
        ] })
    }
}

fn port(number: i128) -> Result<u16, String> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("{number} is no port; expected 1 to 65535"))
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Protocol(pub(in crate::policy) u16);

impl Word for Protocol {
    const WHAT: &'static str = "protocol";

    fn all() -> Vec<(&'static str, Self)> {
        // Their numbers in the IP header.
        vec![("tcp", Self(6)), ("udp", Self(17))]
    }
}

const _: () = assert!(MAPPED.address == Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().to_bits());

#[cfg(test)]
mod tests {
    use super::{Cidr, Ports};
    use crate::policy::read::Scalar as _;

    fn cidr(text: &str) -> Cidr {
        Cidr::from_text(text).unwrap()
    }

    #[test]
    fn both_families_share_one_space() {
        assert_eq!(cidr("203.0.113.0/24").bits, 120);
        assert_eq!(cidr("203.0.113.7"), cidr("::ffff:203.0.113.7/128"));
        assert_eq!(cidr("2001:db8::/32").to_string(), "2001:db8::/32");
        assert_eq!(cidr("10.0.0.0/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn a_range_encloses_its_own_family_only() {
        assert!(cidr("10.0.0.0/8").encloses(cidr("10.1.0.0/16")));
        assert!(!cidr("10.1.0.0/16").encloses(cidr("10.0.0.0/8")));
        assert!(cidr("::/0").encloses(cidr("2001:db8::/32")));
        assert!(!cidr("::/0").encloses(cidr("10.0.0.0/8")));
        assert!(cidr("0.0.0.0/0").encloses(cidr("10.0.0.0/8")));
    }

    #[test]
    fn bits_behind_the_prefix_are_refused_with_both_meanings() {
        let message = Cidr::from_text("10.1.0.0/8").unwrap_err();
        assert_eq!(message, "10.1.0.0/8 has bits set behind its prefix; expected 10.0.0.0/8 or 10.1.0.0/32");
    }

    #[test]
    fn ports_run_from_one_and_forwards() {
        assert_eq!(Ports::from_number(443), Ok(Ports { first: 443, last: 443 }));
        assert_eq!(Ports::from_text("5000-5010"), Ok(Ports { first: 5000, last: 5010 }));
        for text in ["", "-", "0", "0-5", "65536", "10-5", "a", "1-", "-1", "1-2-3", "+5", "1 - 2"] {
            assert!(Ports::from_text(text).is_err(), "{text}");
        }
        assert!(Ports::from_number(-1).is_err());
        assert!(Ports::from_number(65_536).is_err());
    }
}
