//! What holds for all bytes whatsoever, and for all messages that somebody else builds.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::answer::Answer;
use super::message::{Packet, Query};
use super::name::{LONGEST, label_length};

const ID: u16 = 0x5aa5;
/// A query for the addresses of `a`, under that number.
const ASKED: &[u8] = b"\x5a\xa5\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

/// Names of up to five labels, of whatever bytes.
fn any_name() -> impl Strategy<Value = Name> {
    let label = proptest::collection::vec(any::<u8>(), 1..=63);
    proptest::collection::vec(label, 0..5).prop_filter_map("a name has 255 bytes at most", |labels| {
        let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).ok()?;
        name.set_fqdn(true);
        Some(name)
    })
}

fn any_query() -> impl Strategy<Value = Message> {
    (any_name(), any::<u16>(), any::<u16>(), proptest::option::of(any::<u16>())).prop_map(
        |(name, id, kind, payload)| {
            let mut message = Message::new(id, MessageType::Query, OpCode::Query);
            message.add_query(Question::query(name, RecordType::from(kind)));
            if let Some(payload) = payload {
                let mut edns = Edns::new();
                edns.set_max_payload(payload);
                message.set_edns(edns);
            }
            message
        },
    )
}

/// An answer with aliases and addresses of few names, so that they meet.
fn any_answer() -> impl Strategy<Value = Message> {
    let name = |number: u8| Name::from_ascii(format!("n{number}.example.")).unwrap_or_default();
    let record = (0..6_u8, proptest::option::of(0..6_u8), any::<u32>()).prop_map(move |(owner, target, ttl)| {
        let data = target.map_or(RData::A(A::new(192, 0, 2, owner)), |target| RData::CNAME(CNAME(name(target))));
        Record::from_rdata(name(owner), ttl, data)
    });
    proptest::collection::vec(record, 0..40).prop_map(move |records| {
        let mut message = Message::new(ID, MessageType::Response, OpCode::Query);
        message.add_query(Question::query(name(0), RecordType::A));
        message.add_answers(records);
        message
    })
}

/// Records of the types that are looked into, with whatever data, and seldom a wrong length.
fn any_record() -> impl Strategy<Value = Vec<u8>> {
    let kinds = proptest::sample::select(vec![1_u16, 5, 28, 39, 64, 65, 16]);
    let data = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(b"\xc0\x0c".to_vec()),
        Just(b"\0\x01\0\0\x04\0\x04\xc0\0\x02\x01".to_vec()),
        Just(vec![192, 0, 2, 1]),
    ];
    (kinds, data, prop_oneof![8 => Just(0_i16), 1 => -3..3_i16]).prop_map(|(kind, data, off)| {
        let length = u16::try_from(data.len()).unwrap_or_default().saturating_add_signed(off);
        [&[0xc0, 0x0c], &kind.to_be_bytes()[..], &[0, 1, 0, 0, 0, 9], &length.to_be_bytes(), &data].concat()
    })
}

/// Whether a name's text is what everybody else can rely on.
fn is_plain(name: &str) -> bool {
    let is_right = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    let labels = || name.split('.').all(|label| (1..=63).contains(&label_length(label)));
    name.len() <= LONGEST && name.bytes().all(is_right) && (name == "." || labels())
}

fn query(packet: &[u8]) -> Option<Query> {
    match Packet::read(packet) {
        Packet::Query(query) => Some(query),
        Packet::Reply(_) | Packet::Silence => None,
    }
}

/// What must hold for a packet, whatever it is.
fn judge_packet(packet: &[u8]) -> Result<(), TestCaseError> {
    match Packet::read(packet) {
        Packet::Silence => {}
        Packet::Reply(reply) => {
            prop_assert_eq!(&reply[..2], &packet[..2]);
            prop_assert!(reply[2] & 0x80 != 0, "a reply to a reply would go on for ever");
            prop_assert_eq!(Packet::read(&reply), Packet::Silence);
        }
        Packet::Query(query) => {
            prop_assert!(is_plain(query.name()), "{}", query.name());
            prop_assert!(query.payload() >= 512);
            prop_assert_eq!(query.numbered(query.id()), packet);
            let renumbered = Packet::read(&query.numbered(!query.id()));
            let Packet::Query(renumbered) = renumbered else { panic!("{renumbered:?}") };
            prop_assert_eq!(renumbered.name(), query.name());
            for code in [ResponseCode::Refused, ResponseCode::NXDomain, ResponseCode::ServFail] {
                let answer = Answer::read(&query, query.id(), &query.reply(code));
                prop_assert!(answer.is_ok_and(|answer| answer.heard.addresses.is_empty()));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_the_reading_of_packets(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
        judge_packet(&packet)?;
    }

    #[test]
    fn no_bytes_behind_the_header_of_a_query_break_it(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        judge_packet(&[b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01".as_slice(), &body].concat())?;
    }

    #[test]
    fn no_bytes_break_the_reading_of_answers(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let query = query(ASKED).ok_or_else(|| TestCaseError::fail("a query"))?;
        prop_assert!(Answer::read(&query, ID, &bytes).is_err());
        prop_assert!(Answer::read(&query, ID, &[&ID.to_be_bytes(), bytes.as_slice()].concat()).is_err());
    }

    #[test]
    fn no_data_of_records_break_the_reading_of_answers(records in proptest::collection::vec(any_record(), 0..6)) {
        let query = query(ASKED).ok_or_else(|| TestCaseError::fail("a query"))?;
        let mut message = [ASKED, &records.concat()].concat();
        message[2] |= 0x80;
        message[7] = u8::try_from(records.len()).unwrap_or_default();
        if let Ok(answer) = Answer::read(&query, ID, &message) {
            prop_assert!(answer.heard.names.iter().all(|name| is_plain(name)));
            prop_assert_eq!(answer.message, message);
        }
    }

    #[test]
    fn a_query_that_another_library_builds_is_read_as_it_was_meant(message in any_query()) {
        let packet = message.to_vec().map_err(|error| TestCaseError::fail(error.to_string()))?;
        judge_packet(&packet)?;
        let Some(query) = query(&packet) else {
            let kind = message.queries[0].query_type();
            let name = message.queries[0].name();
            let is_transfer = matches!(kind, RecordType::AXFR | RecordType::IXFR);
            prop_assert!(is_transfer || super::name::text(name).is_none(), "{message:?}");
            return Ok(());
        };
        prop_assert_eq!(query.id(), message.metadata.id);
        prop_assert_eq!(query.kind().0, u16::from(message.queries[0].query_type()));
        prop_assert_eq!(query.payload(), usize::from(message.max_payload()));
    }

    #[test]
    fn addresses_are_heard_when_their_owner_can_be_reached_from_the_question(message in any_answer()) {
        let bytes = message.to_vec().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let asked = [&b"\x5a\xa5\x01\0\0\x01\0\0\0\0\0\0"[..], b"\x02n0\x07example\0\0\x01\0\x01"].concat();
        let query = query(&asked).ok_or_else(|| TestCaseError::fail("a query"))?;
        let answer = Answer::read(&query, ID, &bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        // Everything that can be reached, found in the slow and plain way.
        let mut reached = vec!["n0.example.".to_owned()];
        for _ in 0..6 {
            for record in &message.answers {
                if let RData::CNAME(target) = &record.data
                    && reached.contains(&record.name.to_string())
                {
                    reached.push(target.to_string());
                }
            }
        }
        reached.sort();
        reached.dedup();
        let mut names: Vec<_> = answer.heard.names.iter().map(|name| format!("{name}.")).collect();
        prop_assert_eq!(&names[0], "n0.example.");
        names.sort();
        prop_assert_eq!(&names, &reached);
        let addresses = message.answers.iter().filter(|record| {
            matches!(record.data, RData::A(_)) && reached.contains(&record.name.to_string())
        });
        prop_assert_eq!(answer.heard.addresses.len(), addresses.count());
    }
}
