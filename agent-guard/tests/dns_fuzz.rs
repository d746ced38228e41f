//! Packets in the form that resolvers and servers really send, changed at random for as long as is wanted: whatever
//! comes of it must be read without panic, and mean what it says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use agent_guard::dns::{Packet, Query};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, MX, NULL, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::env;
use std::time::{Duration, Instant, SystemTime};

/// What has to hold, for the fuzz targets as well.
#[path = "../../fuzz/src/properties/packet.rs"]
pub mod packet;

use packet::{judge_answer, judge_packet};

/// Bytes in the form of the wire: a plain query, an answer with a compressed name, a query of dig with a cookie, and the
/// answer to a reverse query.
const PLAIN: [&[u8]; 4] = [
    b"\x75\xc0\x01\0\0\x01\0\0\0\0\0\0\x03www\x06netbsd\x03org\0\0\x01\0\x01",
    b"\xf0\xd4\x81\x80\0\x01\0\x01\0\0\0\0\x03www\x06netbsd\x03org\0\0\x1c\0\x01\
      \xc0\x0c\0\x1c\0\x01\0\x01\x51\x80\0\x10\x20\x01\x04\xf8\0\x04\0\x07\x02\xe0\x81\xff\xfe\x52\x9a\x6b",
    b"\x3b\x1e\x01\x20\0\x01\0\0\0\0\0\x01\x07example\x03com\0\0\x01\0\x01\
      \0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08\x5e\x0b\x7c\x11\x8f\xa2\x33\x01",
    b"\x5a\x53\x81\x80\0\x01\0\x01\0\0\0\0\x03104\x019\x03192\x0266\x07in-addr\x04arpa\0\0\x0c\0\x01\
      \xc0\x0c\0\x0c\0\x01\0\x01\x44\xcb\0\x23\x0d66-192-9-104\x03gen\x09twtelecom\x03net\0",
];

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn question(id: u16, text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(name(text), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message
}

/// What is asked for, and the records of the answer with their owners.
type Exchange<'a> = (&'a str, RecordType, Vec<(&'a str, RData)>);

/// Questions with their answers, compressed as servers compress them.
fn exchanges() -> Vec<(Message, Message)> {
    let service = SVCB::new(
        1,
        name("."),
        vec![
            (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h3".to_owned(), "h2".to_owned()]))),
            (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(104, 16, 132, 229)]))),
            (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(vec![AAAA::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 5)]))),
        ],
    );
    let alias = |target: &str| RData::CNAME(CNAME(name(target)));
    let mail = MX::new(10, name("smtp.example.com."));
    let of: Vec<Exchange<'_>> = vec![
        (
            "www.microsoft.com.",
            RecordType::A,
            vec![
                ("www.microsoft.com.", alias("www.microsoft.com-c-3.edgekey.net.")),
                ("www.microsoft.com-c-3.edgekey.net.", alias("e13678.dscb.akamaiedge.net.")),
                ("e13678.dscb.akamaiedge.net.", RData::A(A::new(23, 47, 52, 90))),
                ("e13678.dscb.akamaiedge.net.", RData::A(A::new(23, 47, 52, 91))),
            ],
        ),
        ("cloudflare.com.", RecordType::HTTPS, vec![("cloudflare.com.", RData::HTTPS(HTTPS(service)))]),
        ("example.com.", RecordType::MX, vec![("example.com.", RData::MX(mail))]),
        (
            "example.com.",
            RecordType::TXT,
            vec![("example.com.", RData::TXT(TXT::new(vec!["v=spf1 -all".to_owned(), "x".repeat(200)])))],
        ),
        (
            "a.old.example.com.",
            RecordType::AAAA,
            vec![
                (
                    "old.example.com.",
                    RData::Unknown { code: RecordType::Unknown(39), rdata: NULL::with(b"\x03new\0".to_vec()) },
                ),
                ("a.old.example.com.", alias("a.new.")),
                ("a.new.", RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
            ],
        ),
        ("none.example.com.", RecordType::A, Vec::new()),
    ];
    let soa = SOA::new(name("ns.example.com."), name("root.example.com."), 7, 3600, 600, 86_400, 300);
    of.into_iter()
        .map(|(asked, kind, records)| {
            let query = question(0x4142, asked, kind);
            let mut answer = query.clone().into_response();
            answer.metadata.recursion_available = true;
            if records.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.add_authority(Record::from_rdata(name("example.com."), 300, RData::SOA(soa.clone())));
            }
            answer.add_answers(records.into_iter().map(|(owner, data)| Record::from_rdata(name(owner), 60, data)));
            (query, answer)
        })
        .collect()
}

/// Xorshift: the same start, the same run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }
}

/// Changes a packet in one to eight places.
fn mutate(random: &mut Random, packet: &mut Vec<u8>, others: &[Vec<u8>]) {
    const EDGES: [u8; 8] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];
    for _ in 0..=random.below(8) {
        let at = random.below(packet.len());
        match random.below(9) {
            _ if packet.is_empty() => packet.push(0),
            0 => packet[at] ^= 1 << random.below(8),
            1 => packet[at] = EDGES[random.below(EDGES.len())],
            2 => packet[at] = u8::try_from(random.below(256)).unwrap(),
            3 => packet.truncate(at),
            4 => drop(packet.drain(at..(at + 1 + random.below(8)).min(packet.len()))),
            5 => packet.insert(at, EDGES[random.below(EDGES.len())]),
            // A pointer to anywhere.
            6 => {
                let to = u8::try_from(random.below(256)).unwrap();
                drop(packet.splice(at..(at + 2).min(packet.len()), [0xc0, to]));
            }
            7 => {
                let part = packet[at..(at + 1 + random.below(32)).min(packet.len())].to_vec();
                packet.splice(at..at, part).for_each(drop);
            }
            _ => {
                let other = &others[random.below(others.len())];
                packet.truncate(at);
                packet.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
}

#[test]
fn no_change_to_a_packet_breaks_its_reading() {
    let seconds = env::var("AGENT_GUARD_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let exchanges = exchanges();
    let mut corpus: Vec<Vec<u8>> = PLAIN.iter().map(|packet| packet.to_vec()).collect();
    corpus.extend(exchanges.iter().flat_map(|(query, answer)| [query.to_vec().unwrap(), answer.to_vec().unwrap()]));
    let queries: Vec<Query> = corpus
        .iter()
        .filter_map(|packet| match Packet::read(packet) {
            Packet::Query(query) => Some(query),
            Packet::Reply(_) | Packet::Silence => None,
        })
        .collect();
    assert_eq!(queries.len(), 8, "every query of the corpus");
    for (query, answer) in &exchanges {
        let Packet::Query(query) = Packet::read(&query.to_vec().unwrap()) else { panic!("{query:?}") };
        assert!(judge_answer(&query, &answer.to_vec().unwrap()), "{answer:?}");
    }
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    let mut random = Random(u64::from(start) | 1);
    println!("random numbers start at {}", random.0);
    let (begun, mut runs, mut accepted, mut longest) = (Instant::now(), 0_u64, [0_u64; 2], Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let mut packet = corpus[random.below(corpus.len())].clone();
        mutate(&mut random, &mut packet, &corpus);
        let before = Instant::now();
        let judged = [judge_packet(&packet), queries.iter().any(|query| judge_answer(query, &packet))];
        longest = longest.max(before.elapsed());
        for (count, is_accepted) in accepted.iter_mut().zip(judged) {
            *count += u64::from(is_accepted);
        }
        runs += 1;
    }
    println!("{runs} runs, {} accepted as queries, {} as answers, longest {longest:?}", accepted[0], accepted[1]);
}
