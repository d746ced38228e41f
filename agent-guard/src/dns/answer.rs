//! What upstream servers send: whether it answers a query, and which addresses its client will learn for which names.
//! Pure: bytes in, bytes out.
//!
//! The bytes that are judged are those that the client gets; only what tells of names and addresses is looked into, so
//! that odd records of other types break nothing. It must not know where an answer came from.

use core::net::IpAddr;

use hickory_proto::op::{Header, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::DNSClass;
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder, DecodeError};

use super::message::{Query, read_question};
use super::name;
use super::record::{self, Owned, Record};

/// Names of one chain: servers follow fewer (BIND: 16 restarts, Unbound: 11).
const CHAIN: usize = 17;
/// Records of an answer that are looked through.
const RECORDS: u16 = 512;
/// Addresses of one answer: a client uses one, and each costs the loop its work.
const ADDRESSES: usize = 256;

/// What an answer tells its client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The name that was asked for, then each name that it is an alias of; lower-case, without the dot at the end.
    pub names: Vec<String>,
    /// Addresses of these names, and for how many seconds they hold.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// Why bytes are no answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is a query, or of another kind of exchange.
    #[error("the message is no answer to a query")]
    NoAnswer,
    /// It has another number.
    #[error("the answer has another number than the query")]
    OtherId,
    /// It repeats another question.
    #[error("the answer is to another question")]
    OtherQuestion,
    /// It is not whole, or breaks the format.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
    /// It has more than is looked through.
    #[error("the answer has more than {RECORDS} records, {ADDRESSES} addresses or {CHAIN} names in one chain")]
    TooMuch,
    /// A name in its chain is too long to be known by.
    #[error("the answer names something with more than {} bytes", name::LONGEST)]
    NameTooLong,
}

impl From<DecodeError> for Unusable {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// An answer, as the client is to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message, with the client's number.
    pub message: Vec<u8>,
    /// What it tells.
    pub heard: Heard,
    /// Whether the server could not or would not say: another one may.
    pub unwilling: bool,
}

impl Answer {
    /// Reads a message that came as the answer to a query that was sent under this number.
    ///
    /// # Errors
    /// It is something else, and not to be passed on.
    pub fn read(query: &Query, id: u16, message: &[u8]) -> Result<Self, Unusable> {
        if message.get(..2) != Some(&id.to_be_bytes()) {
            return Err(Unusable::OtherId);
        }
        let mut message = message.to_vec();
        message[..2].copy_from_slice(&query.id().to_be_bytes());
        if message.len() > usize::from(u16::MAX) {
            return Err(Unusable::TooMuch);
        }
        let mut decoder = BinDecoder::new(&message);
        let header = Header::read(&mut decoder)?;
        if header.message_type != MessageType::Response || header.op_code != OpCode::Query {
            return Err(Unusable::NoAnswer);
        }
        if header.counts.queries != 1 {
            return Err(Unusable::OtherQuestion);
        }
        let (asked, kind, class) = read_question(&mut decoder)?;
        if name::text(&asked).as_deref() != Some(query.name())
            || u16::from(kind) != query.kind().0
            || class != DNSClass::IN
        {
            return Err(Unusable::OtherQuestion);
        }
        if header.counts.answers > RECORDS {
            return Err(Unusable::TooMuch);
        }
        let mut records = Vec::new();
        for _ in 0..header.counts.answers {
            records.extend(record::read(&mut decoder)?);
        }
        let heard = listen(query.name(), records)?;
        let unwilling =
            matches!(header.response_code, ResponseCode::ServFail | ResponseCode::NotImp | ResponseCode::Refused);
        Ok(Self { message, heard, unwilling })
    }

    /// The message for a datagram to a client that takes no more than its query says.
    #[must_use]
    pub fn into_datagram(self, query: &Query) -> Vec<u8> {
        if self.message.len() <= query.payload() {
            return self.message;
        }
        query.truncated([self.message[2], self.message[3]])
    }
}

/// Follows the chain of aliases from the name that was asked for, in whatever order its records stand.
fn listen(asked: &str, records: Vec<Owned>) -> Result<Heard, Unusable> {
    let mut names = vec![asked.to_owned()];
    let mut at = 0;
    // A name in the chain is followed once, so that a loop ends.
    while let Some(name) = names.get(at).cloned() {
        for record in records.iter().filter(|record| record.owner.as_ref() == Some(&name)) {
            let Record::Alias(target) = &record.record else { continue };
            let target = name::text(target).ok_or(Unusable::NameTooLong)?;
            if !names.contains(&target) {
                names.push(target);
            }
        }
        if names.len() > CHAIN {
            return Err(Unusable::TooMuch);
        }
        at += 1;
    }
    let mut addresses: Vec<(IpAddr, u32)> = Vec::new();
    for Owned { owner, seconds, record } in records {
        let Record::Addresses(found) = record else { continue };
        if owner.is_some_and(|owner| names.contains(&owner)) {
            addresses.extend(found.into_iter().map(|address| (address, seconds)));
        }
    }
    if addresses.len() > ADDRESSES {
        return Err(Unusable::TooMuch);
    }
    Ok(Heard { names, addresses })
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use hickory_proto::op::{Message, MessageType, OpCode, Query as Question, ResponseCode};
    use hickory_proto::rr::rdata::svcb::{IpHint, SVCB, SvcParamKey, SvcParamValue};
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, TXT};
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::{ADDRESSES, Answer, CHAIN, Unusable};
    use crate::dns::message::{Packet, Query};

    const ID: u16 = 0xbeef;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn message(id: u16, kind: RecordType, answers: &[(&str, RData)]) -> Message {
        let mut message = Message::new(id, MessageType::Response, OpCode::Query);
        message.add_query(Question::query(name("www.example.com."), kind));
        message.add_answers(answers.iter().map(|(owner, data)| Record::from_rdata(name(owner), 60, data.clone())));
        message
    }

    fn query(kind: RecordType) -> Query {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Question::query(name("WWW.example.com."), kind));
        match Packet::read(&message.to_vec().unwrap()) {
            Packet::Query(query) => query,
            other => panic!("{other:?}"),
        }
    }

    fn read(kind: RecordType, answers: &[(&str, RData)]) -> Result<Answer, Unusable> {
        Answer::read(&query(kind), ID, &message(ID, kind, answers).to_vec().unwrap())
    }

    /// The names and addresses of an answer.
    fn heard(answers: &[(&str, RData)]) -> (Vec<String>, Vec<String>) {
        let heard = read(RecordType::A, answers).unwrap().heard;
        assert!(heard.addresses.iter().all(|(_, seconds)| *seconds == 60));
        (heard.names, heard.addresses.iter().map(|(address, _)| address.to_string()).collect())
    }

    fn a(last: u8) -> RData {
        RData::A(A::new(192, 0, 2, last))
    }

    fn cname(target: &str) -> RData {
        RData::CNAME(CNAME(name(target)))
    }

    #[test]
    fn an_answer_goes_on_with_the_number_of_the_client_and_nothing_else_changed() {
        let sent = message(ID, RecordType::A, &[("www.example.com.", a(1))]).to_vec().unwrap();
        let answer = Answer::read(&query(RecordType::A), ID, &sent).unwrap();
        assert_eq!((&answer.message[..2], &answer.message[2..]), (&[0, 7][..], &sent[2..]));
    }

    #[test]
    fn the_chain_is_followed_from_the_question_in_any_order() {
        let (names, addresses) = heard(&[
            ("b.cdn.example.", a(1)),
            ("A.cdn.example.", cname("B.cdn.example.")),
            ("WWW.Example.com.", cname("a.CDN.example.")),
            ("b.cdn.example.", a(2)),
        ]);
        assert_eq!(names, ["www.example.com", "a.cdn.example", "b.cdn.example"]);
        assert_eq!(addresses, ["192.0.2.1", "192.0.2.2"]);
    }

    #[test]
    fn addresses_beside_the_chain_are_nobodys() {
        let (names, addresses) = heard(&[("www.example.com.", a(1)), ("db.prod.example.", a(2))]);
        assert_eq!((names.len(), addresses), (1, vec!["192.0.2.1".to_owned()]));
    }

    #[test]
    fn loops_end() {
        let (names, addresses) = heard(&[
            ("www.example.com.", cname("b.example.")),
            ("b.example.", cname("www.example.com.")),
            ("b.example.", a(1)),
        ]);
        assert_eq!((names.len(), addresses.len()), (2, 1));
        assert_eq!(heard(&[("www.example.com.", cname("www.example.com."))]).0.len(), 1);
    }

    #[test]
    fn more_than_anybody_needs_is_not_passed_on() {
        let chain = |links: usize| -> Vec<(String, RData)> {
            let owner = |number: usize| if number == 0 { "www.example.com.".to_owned() } else { format!("n{number}.") };
            (0..links).map(|number| (owner(number), cname(&owner(number + 1)))).collect()
        };
        let try_chain = |links| {
            let chain = chain(links);
            let chain: Vec<_> = chain.iter().map(|(owner, data)| (owner.as_str(), data.clone())).collect();
            read(RecordType::A, &chain).map(|answer| answer.heard.names.len())
        };
        assert_eq!(try_chain(CHAIN - 1), Ok(CHAIN));
        assert_eq!(try_chain(CHAIN), Err(Unusable::TooMuch));
        let crowd = vec![("www.example.com.", a(1)); ADDRESSES + 1];
        assert_eq!(read(RecordType::A, &crowd), Err(Unusable::TooMuch));
        assert!(read(RecordType::A, &crowd[1..]).is_ok());
    }

    #[test]
    fn both_families_and_the_hints_of_services_are_heard_and_a_target_lends_no_name() {
        let parameters = vec![
            (SvcParamKey::Port, SvcParamValue::Port(8443)),
            (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(192, 0, 2, 4), A::new(192, 0, 2, 5)]))),
            (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(vec![AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 6)]))),
        ];
        let service = SVCB::new(1, name("trusted.example."), parameters);
        let answers = [
            ("www.example.com.", RData::HTTPS(HTTPS(service.clone()))),
            ("www.example.com.", RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7))),
        ];
        let (names, addresses) = heard(&answers);
        assert_eq!(names, ["www.example.com"]);
        assert_eq!(addresses, ["192.0.2.4", "192.0.2.5", "2001:db8::6", "2001:db8::7"]);
        assert_eq!(heard(&[("www.example.com.", RData::SVCB(service))]).1.len(), 3);
        let alias = SVCB::new(0, name("cdn.example."), Vec::new());
        assert_eq!(heard(&[("www.example.com.", RData::HTTPS(HTTPS(alias)))]).1.len(), 0);
    }

    #[test]
    fn what_answers_something_else_is_not_passed_on() {
        let query = query(RecordType::A);
        let good = message(ID, RecordType::A, &[("www.example.com.", a(1))]);
        let refused = |message: &Message| Answer::read(&query, ID, &message.to_vec().unwrap()).unwrap_err();
        assert_eq!(refused(&message(ID + 1, RecordType::A, &[])), Unusable::OtherId);
        assert_eq!(refused(&message(ID, RecordType::AAAA, &[])), Unusable::OtherQuestion);
        let mut other = good.clone();
        other.queries[0].set_name(name("ww.example.com."));
        assert_eq!(refused(&other), Unusable::OtherQuestion);
        let mut none = good.clone();
        none.queries.clear();
        assert_eq!(refused(&none), Unusable::OtherQuestion);
        let mut question = good.clone();
        question.metadata.message_type = MessageType::Query;
        assert_eq!(refused(&question), Unusable::NoAnswer);
        let mut update = good;
        update.metadata.op_code = OpCode::Update;
        assert_eq!(refused(&update), Unusable::NoAnswer);
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_malformed() {
        let answers = [("www.example.com.", cname("a.example.")), ("a.example.", a(1))];
        let whole = message(ID, RecordType::A, &answers).to_vec().unwrap();
        for length in 2..whole.len() {
            let cut = Answer::read(&query(RecordType::A), ID, &whole[..length]);
            assert!(matches!(cut, Err(Unusable::Malformed(_))), "{length}: {cut:?}");
        }
    }

    #[test]
    fn addresses_of_a_wrong_length_are_malformed() {
        let mut sent = message(ID, RecordType::A, &[("www.example.com.", a(1))]).to_vec().unwrap();
        let length = sent.len() - 5;
        sent[length] = 3;
        assert!(matches!(Answer::read(&query(RecordType::A), ID, &sent), Err(Unusable::Malformed(_))));
    }

    #[test]
    fn a_service_that_ends_with_the_message_before_it_has_begun_is_malformed() {
        let empty = ("www.example.com.", RData::Update0(RecordType::HTTPS));
        assert!(matches!(read(RecordType::A, &[empty]), Err(Unusable::Malformed(_))));
    }

    #[test]
    fn a_time_with_the_highest_bit_is_none() {
        let mut sent = message(ID, RecordType::A, &[]);
        sent.add_answer(Record::from_rdata(name("www.example.com."), 1 << 31, a(1)));
        let answer = Answer::read(&query(RecordType::A), ID, &sent.to_vec().unwrap()).unwrap();
        assert_eq!(answer.heard.addresses, [(IpAddr::from([192, 0, 2, 1]), 0)]);
    }

    #[test]
    fn odd_records_of_other_types_break_nothing() {
        let mut sent =
            message(ID, RecordType::TXT, &[("www.example.com.", RData::TXT(TXT::new(vec!["x".to_owned()])))]);
        assert!(read(RecordType::TXT, &[("www.example.com.", RData::Update0(RecordType::TXT))]).is_ok());
        sent.metadata.response_code = ResponseCode::ServFail;
        assert!(Answer::read(&query(RecordType::TXT), ID, &sent.to_vec().unwrap()).unwrap().unwilling);
    }

    #[test]
    fn what_does_not_fit_into_a_datagram_says_so() {
        let query = query(RecordType::A);
        let few = vec![("www.example.com.", a(1)); 29];
        let many = vec![("www.example.com.", a(1)); 30];
        let fitting = read(RecordType::A, &few).unwrap();
        assert_eq!(fitting.message.len(), 497);
        assert_eq!(fitting.clone().into_datagram(&query), fitting.message);
        let reply = Message::from_vec(&read(RecordType::A, &many).unwrap().into_datagram(&query)).unwrap();
        assert!(reply.metadata.truncation && reply.answers.is_empty());
        assert_eq!((reply.metadata.id, reply.queries.len()), (7, 1));
    }
}
