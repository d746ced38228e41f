//! Messages of DNS: a query has one meaning, and of an answer nothing reaches the session that was not heard. It must not know
//! in which order messages come.

use agent_guard::dns::{Answer, Cache, Packet, Query};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, RData};
use std::net::IpAddr;

/// How long answers are kept in the trial, in nanoseconds: none, and longer than most hold.
const KEPT_NS: [u64; 2] = [0, 50_000_000_000];

fn is_plain(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
}

/// What has to hold for whatever a client sends; whether it is a query.
pub fn judge_packet(packet: &[u8]) -> bool {
    match Packet::read(packet) {
        Packet::Silence => false,
        Packet::Reply(reply) => {
            assert_eq!(reply[..2], packet[..2]);
            assert_eq!(Packet::read(&reply), Packet::Silence);
            Message::from_vec(&reply).unwrap();
            false
        }
        Packet::Query(query) => {
            assert!(is_plain(query.name()));
            assert!(query.payload() >= 512);
            assert_eq!(query.numbered(query.id()), packet);
            let refused = query.reply(ResponseCode::Refused);
            assert_eq!(Message::from_vec(&refused).unwrap().metadata.response_code, ResponseCode::Refused);
            assert!(Answer::read(&query, query.id(), &refused).unwrap().unwilling);
            true
        }
    }
}

/// What has to hold for whatever comes back; whether it is an answer.
pub fn judge_answer(query: &Query, packet: &[u8]) -> bool {
    let Some(id) = packet.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return false };
    let Ok(answer) = Answer::read(query, id, packet) else { return false };
    assert_eq!(answer.message[..2], query.id().to_be_bytes());
    assert_eq!(answer.message[2..], packet[2..]);
    assert_eq!(answer.heard.names[0], query.name());
    assert!(answer.heard.names.len() <= 17 && answer.heard.addresses.len() <= 256);
    assert!(answer.heard.names.iter().all(|name| is_plain(name)));
    judge_heard(&answer);
    // What is kept for later comes back as it was, but for its times, and what is heard is what its message says then.
    let mut cache = Cache::default();
    cache.keep(query, &answer, 0);
    for passed_ns in KEPT_NS {
        if let Some(again) = cache.find(query, passed_ns) {
            assert_eq!(Answer::read(query, query.id(), &again.message).unwrap(), again);
            assert_eq!(again.message.len(), answer.message.len());
            assert!(passed_ns > 0 || again == answer);
        }
    }
    let datagram = answer.into_datagram(query);
    assert!(datagram.len() <= query.payload());
    true
}

/// Every address that another library finds for the name that was asked for has been heard.
fn judge_heard(answer: &Answer) {
    let Ok(message) = Message::from_vec(&answer.message) else { return };
    let Some(asked) = message.queries.first() else { return };
    for record in message.answers.iter().filter(|record| record.name == *asked.name()) {
        let address: IpAddr = match record.data {
            RData::A(address) => address.0.into(),
            RData::AAAA(address) => address.0.into(),
            _ => continue,
        };
        let is_heard = answer.heard.addresses.iter().any(|(heard, _)| *heard == address);
        assert!(is_heard || record.dns_class != DNSClass::IN, "{address} reaches the session unheard");
    }
}
