//! What clients send: a packet becomes a query, or the reply that it deserves, or nothing. Pure: bytes in, bytes out.
//!
//! Every byte is a guarded process's choice. What is let through has one meaning only: upstream servers must not read
//! another question in it than was judged here. It must not know who asks, and what an answer looks like.

use core::fmt;

use hickory_proto::op::{Header, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder, DecodeError};

use super::name;

/// Bytes of a header.
pub(super) const HEADER: usize = 12;
/// What a client takes over UDP unless it says more (RFC 1035, section 4.2.1; RFC 6891, section 6.2.3).
const PLAIN_PAYLOAD: u16 = 512;
/// What these replies say that they take: fits into one packet on every path.
const OWN_PAYLOAD: u16 = 1232;
/// Records behind a question: EDNS, and a signature. Nobody sends more.
const ADDITIONAL: u16 = 2;

/// Bits of a header's first two bytes of flags.
mod flag {
    pub(super) const RESPONSE: u8 = 0x80;
    pub(super) const OPCODE: u8 = 0x78;
    pub(super) const TRUNCATED: u8 = 0x02;
    pub(super) const RECURSION_DESIRED: u8 = 0x01;
    pub(super) const RECURSION_AVAILABLE: u8 = 0x80;
    pub(super) const CHECKING_DISABLED: u8 = 0x10;
    /// In the flags of EDNS.
    pub(super) const DNSSEC_OK: u8 = 0x80;
}

/// A record type, which may be one that nobody has heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u16);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RecordType::from(self.0) {
            RecordType::Unknown(number) => write!(f, "TYPE{number}"),
            known => known.fmt(f),
        }
    }
}

/// What a packet turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A question to be judged.
    Query(Query),
    /// None, and this is what its sender is to hear.
    Reply(Vec<u8>),
    /// Nothing that may be answered: an answer to an answer would go on for ever.
    Silence,
}

impl Packet {
    /// Reads what a client has sent.
    #[must_use]
    pub fn read(packet: &[u8]) -> Self {
        let mut decoder = BinDecoder::new(packet);
        let Ok(header) = Header::read(&mut decoder) else { return Self::Silence };
        if header.message_type == MessageType::Response {
            return Self::Silence;
        }
        match header.op_code {
            OpCode::Query => question(packet, &header, decoder),
            OpCode::Status | OpCode::Notify | OpCode::Update | OpCode::Unknown(_) => bare(packet, ResponseCode::NotImp),
        }
    }
}

/// EDNS, as far as it concerns a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edns {
    payload: u16,
    dnssec_ok: bool,
}

/// One question of class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    name: String,
    kind: Kind,
    edns: Option<Edns>,
    message: Vec<u8>,
    question_end: usize,
}

impl Query {
    /// The number that its answer must have.
    #[must_use]
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.message[0], self.message[1]])
    }

    /// The name, lower-case, without the dot at its end.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The record type.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes that the client takes in one datagram.
    #[must_use]
    pub fn payload(&self) -> usize {
        usize::from(self.edns.map_or(PLAIN_PAYLOAD, |edns| edns.payload))
    }

    /// All of it but the number.
    #[must_use]
    pub fn unnumbered(&self) -> &[u8] {
        &self.message[2..]
    }

    /// The same question under another number, as it goes upstream.
    #[must_use]
    pub fn numbered(&self, id: u16) -> Vec<u8> {
        let mut message = self.message.clone();
        message[..2].copy_from_slice(&id.to_be_bytes());
        message
    }

    /// A reply without records. It has the client's own spelling of the name, which some clients demand.
    #[must_use]
    pub fn reply(&self, code: ResponseCode) -> Vec<u8> {
        self.empty([own_flags(self.message[2]), own_code(self.message[3], code)])
    }

    /// Says with the flags of an answer that the answer does not fit into a datagram.
    pub(super) fn truncated(&self, answer: [u8; 2]) -> Vec<u8> {
        self.empty([answer[0] | flag::TRUNCATED, answer[1]])
    }

    fn empty(&self, flags: [u8; 2]) -> Vec<u8> {
        let mut reply = header([self.message[0], self.message[1]], flags, [1, u8::from(self.edns.is_some())]);
        reply.extend_from_slice(&self.message[HEADER..self.question_end]);
        if let Some(edns) = self.edns {
            let flags = if edns.dnssec_ok { flag::DNSSEC_OK } else { 0 };
            let [high, low] = OWN_PAYLOAD.to_be_bytes();
            // RFC 6891, section 6.1.2: the root, type OPT, payload, no extended code, version 0, flags, no options.
            reply.extend_from_slice(&[0, 0, 41, high, low, 0, 0, flags, 0, 0, 0]);
        }
        reply
    }
}

fn question(packet: &[u8], header: &Header, mut decoder: BinDecoder<'_>) -> Packet {
    let counts = header.counts;
    // RFC 9619: a query has one question. Records of an answer have no place in it.
    if counts.queries != 1 || counts.answers != 0 || counts.authorities != 0 || counts.additionals > ADDITIONAL {
        return bare(packet, ResponseCode::FormErr);
    }
    let Ok((asked, kind, class)) = read_question(&mut decoder) else { return bare(packet, ResponseCode::FormErr) };
    let question_end = decoder.index();
    // A compressed name would point into the header, and change its meaning together with the number in there.
    if question_end != HEADER + name::wire_length(&asked) + 4 {
        return bare(packet, ResponseCode::FormErr);
    }
    let edns = match additional(&mut decoder, counts.additionals) {
        // What is behind the last record is part of no message.
        Ok(edns) if decoder.is_empty() => edns,
        Ok(_) | Err(_) => return bare(packet, ResponseCode::FormErr),
    };
    let text = name::text(&asked);
    let kind = Kind(kind.into());
    let name = text.clone().unwrap_or_default();
    let query = Query { name, kind, edns, message: packet.to_vec(), question_end };
    if class != DNSClass::IN || matches!(kind.0.into(), RecordType::AXFR | RecordType::IXFR) {
        // A transfer is a stream of messages, and none of guarded sessions' business.
        return Packet::Reply(query.reply(ResponseCode::NotImp));
    }
    if text.is_none() {
        return Packet::Reply(query.reply(ResponseCode::Refused));
    }
    Packet::Query(query)
}

/// Reads a question.
pub(super) fn read_question(decoder: &mut BinDecoder<'_>) -> Result<(Name, RecordType, DNSClass), DecodeError> {
    Ok((Name::read(decoder)?, RecordType::read(decoder)?, DNSClass::read(decoder)?))
}

/// Finds EDNS in what follows the question.
fn additional(decoder: &mut BinDecoder<'_>, count: u16) -> Result<Option<Edns>, DecodeError> {
    let mut edns = None;
    for _ in 0..count {
        let name = Name::read(decoder)?;
        let kind = RecordType::read(decoder)?;
        let class = decoder.read_u16()?.unverified();
        let [_, _, flags, _] = decoder.read_u32()?.unverified().to_be_bytes();
        let length = decoder.read_u16()?.unverified();
        decoder.read_slice(usize::from(length))?;
        if kind == RecordType::OPT {
            if !name.is_root() || edns.is_some() {
                return Err(DecodeError::DuplicateEdns);
            }
            edns = Some(Edns { payload: class.max(PLAIN_PAYLOAD), dnssec_ok: flags & flag::DNSSEC_OK != 0 });
        }
    }
    Ok(edns)
}

/// A reply to what has no question that could be repeated; the packet has a whole header.
fn bare(packet: &[u8], code: ResponseCode) -> Packet {
    let flags = [own_flags(packet[2]), own_code(packet[3], code)];
    Packet::Reply(header([packet[0], packet[1]], flags, [0, 0]))
}

const fn own_flags(query: u8) -> u8 {
    flag::RESPONSE | query & (flag::OPCODE | flag::RECURSION_DESIRED)
}

fn own_code(query: u8, code: ResponseCode) -> u8 {
    flag::RECURSION_AVAILABLE | query & flag::CHECKING_DISABLED | code.low()
}

/// A header with so many questions and additional records.
fn header(id: [u8; 2], flags: [u8; 2], counts: [u8; 2]) -> Vec<u8> {
    vec![id[0], id[1], flags[0], flags[1], 0, counts[0], 0, 0, 0, 0, 0, counts[1]]
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, ResponseCode};

    use super::{Kind, Packet, Query};

    /// `Www.example.com IN A`, with recursion desired.
    const PLAIN: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03Www\x07example\x03com\0\0\x01\0\x01";
    /// EDNS with a payload of 4096 and DNSSEC OK, and without options.
    const EDNS: &[u8] = b"\0\0\x29\x10\0\0\0\x80\0\0\0";

    fn with(changes: &[(usize, u8)], more: &[u8]) -> Vec<u8> {
        let mut packet = [PLAIN, more].concat();
        for (at, byte) in changes {
            packet[*at] = *byte;
        }
        packet
    }

    fn query(packet: &[u8]) -> Query {
        match Packet::read(packet) {
            Packet::Query(query) => query,
            other => panic!("{other:?}"),
        }
    }

    fn code(packet: &[u8]) -> ResponseCode {
        match Packet::read(packet) {
            Packet::Reply(reply) => {
                assert_eq!(reply[..2], packet[..2], "the number of the query");
                Message::from_vec(&reply).unwrap().metadata.response_code
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_has_a_name_a_type_and_a_payload() {
        let plain = query(PLAIN);
        assert_eq!(
            (plain.id(), plain.name(), plain.kind(), plain.payload()),
            (0x1234, "www.example.com", Kind(1), 512)
        );
        let edns = query(&with(&[(11, 1)], EDNS));
        assert_eq!(edns.payload(), 4096);
        let small = query(&with(&[(11, 1), (PLAIN.len() + 3, 0)], EDNS));
        assert_eq!(small.payload(), 512, "less than everybody takes");
        assert_eq!(edns.numbered(7)[..2], [0, 7]);
        assert_eq!(edns.numbered(7)[2..], with(&[(11, 1)], EDNS)[2..], "all else goes on as it came");
    }

    #[test]
    fn what_may_not_be_answered_is_not() {
        for packet in [&b""[..], &PLAIN[..11], &with(&[(2, 0x81)], b"")] {
            assert_eq!(Packet::read(packet), Packet::Silence);
        }
    }

    #[test]
    fn other_kinds_of_exchange_are_not_implemented() {
        for opcode in (1..16).map(|opcode| opcode << 3) {
            assert_eq!(code(&with(&[(2, opcode)], b"")), ResponseCode::NotImp);
        }
        let (kind, class) = (PLAIN.len() - 3, PLAIN.len() - 1);
        for change in [(kind, 252), (kind, 251), (class, 3), (class, 255), (class, 254)] {
            assert_eq!(code(&with(&[change], b"")), ResponseCode::NotImp, "{change:?}");
        }
    }

    #[test]
    fn a_query_with_two_meanings_is_malformed() {
        let expected = [
            ("no question", with(&[(5, 0)], b"")),
            ("two questions", with(&[(5, 2)], &PLAIN[12..])),
            ("an answer", with(&[(7, 1)], b"")),
            ("an authority", with(&[(9, 1)], b"")),
            ("more records than there are", with(&[(11, 1)], b"")),
            ("many additional records", with(&[(11, 3)], &[EDNS, EDNS, EDNS].concat())),
            ("EDNS twice", with(&[(11, 2)], &[EDNS, EDNS].concat())),
            ("EDNS below a name", with(&[(11, 1)], b"\x01a\0\0\x29\x10\0\0\0\0\0\0\0")),
            ("something behind it", with(&[], b"\0")),
            ("a name that runs out", with(&[(12, 63)], b"")),
            ("a label that is too long", with(&[(12, 64)], b"")),
            ("a pointer into the header", with(&[(12, 0xc0), (13, 0)], b"")),
        ];
        for (what, packet) in expected {
            assert_eq!(code(&packet), ResponseCode::FormErr, "{what}");
        }
        let compressed = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\xc0\x04\0\x01\0\x01";
        assert_eq!(code(compressed), ResponseCode::FormErr);
    }

    #[test]
    fn a_name_that_cannot_be_told_is_refused() {
        let name = [&[63][..], &[1; 63], &[1, 1, 0, 0, 1, 0, 1]].concat();
        assert_eq!(code(&[&PLAIN[..12], &name].concat()), ResponseCode::Refused);
    }

    #[test]
    fn a_reply_repeats_the_question_as_it_was_spelt() {
        let reply = query(&with(&[(3, 0x10)], b"")).reply(ResponseCode::NXDomain);
        assert_eq!(reply[12..], PLAIN[12..]);
        let read = Message::from_vec(&reply).unwrap();
        assert_eq!(read.metadata.response_code, ResponseCode::NXDomain);
        assert!(
            read.metadata.recursion_desired && read.metadata.recursion_available && read.metadata.checking_disabled
        );
        assert!(read.edns.is_none());
    }

    #[test]
    fn a_reply_to_edns_has_edns() {
        let query = query(&with(&[(11, 1)], EDNS));
        for reply in [query.reply(ResponseCode::ServFail), query.truncated([0x81, 0x80])] {
            let edns = Message::from_vec(&reply).unwrap().edns.unwrap();
            assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, true));
        }
        assert!(Message::from_vec(&query.truncated([0x85, 0x80])).unwrap().metadata.truncation);
    }

    #[test]
    fn types_have_their_names_and_unknown_ones_their_number() {
        assert_eq!([Kind(28), Kind(65), Kind(65_280)].map(|kind| kind.to_string()), ["AAAA", "HTTPS", "TYPE65280"]);
    }
}
