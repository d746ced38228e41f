//! One record of an answer, as far as it tells of names and addresses. It must not know which of them count.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use super::answer::Unusable;
use super::name;

/// Keys of address hints in HTTPS and SVCB records (RFC 9460, section 14.3.2).
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;

/// A record that names or addresses can be in.
pub(super) enum Record {
    Alias(Name),
    Addresses(Vec<IpAddr>),
}

/// A record, by its owner's text.
pub(super) struct Owned {
    pub(super) owner: Option<String>,
    pub(super) seconds: u32,
    pub(super) record: Record,
}

/// Reads one record, if it is of those that matter here.
pub(super) fn read(decoder: &mut BinDecoder<'_>) -> Result<Option<Owned>, Unusable> {
    let owner = Name::read(decoder)?;
    let kind = RecordType::read(decoder)?;
    let class = DNSClass::read(decoder)?;
    let seconds = decoder.read_u32()?.unverified();
    let length = usize::from(decoder.read_u16()?.unverified());
    let start = decoder.index();
    let data = decoder.read_slice(length)?.unverified();
    if class != DNSClass::IN {
        return Ok(None);
    }
    let record = match kind {
        RecordType::A => Record::Addresses(addresses::<4>(data)?),
        RecordType::AAAA => Record::Addresses(addresses::<16>(data)?),
        RecordType::HTTPS | RecordType::SVCB => Record::Addresses(hints(within(decoder, start)?, start + length)?),
        RecordType::CNAME => {
            let mut data = within(decoder, start)?;
            let target = Name::read(&mut data)?;
            if data.index() != start + length {
                return Err(malformed("an alias has another length than its record"));
            }
            Record::Alias(target)
        }
        // Of the alias of a whole domain (DNAME) the server makes one of the name that was asked for (RFC 6672).
        _ => return Ok(None),
    };
    // RFC 2181, section 8: one with the highest bit set is 0.
    let seconds = if seconds > i32::MAX.cast_unsigned() { 0 } else { seconds };
    Ok(Some(Owned { owner: name::text(&owner), seconds, record }))
}

/// A reader of the whole message, as names in it may be compressed, that begins where a record's data begin.
fn within<'a>(decoder: &BinDecoder<'a>, start: usize) -> Result<BinDecoder<'a>, Unusable> {
    // The data were read before, so that this lies within the message.
    Ok(decoder.clone(u16::try_from(start).map_err(|error| malformed(&error.to_string()))?))
}

/// The addresses that a service's record hints at: clients may use them without asking for the target's own.
///
/// They are the owner's, like those of an A record. The target's name stands in the record as well, but whoever owns the
/// record chose both, and must not lend an address of his own another's name.
fn hints(mut data: BinDecoder<'_>, end: usize) -> Result<Vec<IpAddr>, Unusable> {
    let _priority = data.read_u16()?;
    let _target = Name::read(&mut data)?;
    let left =
        end.checked_sub(data.index()).ok_or_else(|| malformed("a service's target is longer than its record"))?;
    let mut parameters = BinDecoder::new(data.read_slice(left)?.unverified());
    let mut found = Vec::new();
    while !parameters.is_empty() {
        let key = parameters.read_u16()?.unverified();
        let length = usize::from(parameters.read_u16()?.unverified());
        let value = parameters.read_slice(length)?.unverified();
        match key {
            IPV4_HINT => found.extend(addresses::<4>(value)?),
            IPV6_HINT => found.extend(addresses::<16>(value)?),
            _ => {}
        }
    }
    Ok(found)
}

/// Addresses of so many bytes each, at least one.
fn addresses<const BYTES: usize>(data: &[u8]) -> Result<Vec<IpAddr>, Unusable> {
    let (whole, rest) = data.as_chunks::<BYTES>();
    if whole.is_empty() || !rest.is_empty() {
        return Err(malformed("an address has another length than its type"));
    }
    Ok(whole.iter().filter_map(|bytes| address(bytes)).collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = bytes.try_into().map(|bytes: [u8; 4]| IpAddr::from(Ipv4Addr::from(bytes)));
    v4.or_else(|_| bytes.try_into().map(|bytes: [u8; 16]| IpAddr::from(Ipv6Addr::from(bytes)))).ok()
}

fn malformed(how: &str) -> Unusable {
    Unusable::Malformed(how.to_owned())
}
