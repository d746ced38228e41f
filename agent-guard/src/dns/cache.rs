//! Answers that a session has had, for as long as their records hold: the same question has the same answer meanwhile.
//! Plain bookkeeping: time comes in, and nothing is asked for.
//!
//! The same question is one that has the same bytes behind its number, flags, spelling and options included. What follows
//! from an answer follows each time that it is given: it must not know whether anybody may ask, nor what is learnt.

use std::collections::{HashMap, VecDeque};

use hickory_proto::op::{Header, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder, DecodeError};

use super::answer::Answer;
use super::message::{Query, read_question};

/// Answers of one session. Of more, the oldest goes.
const ANSWERS: usize = 256;
/// Bytes of an answer that is kept.
const LARGEST: usize = 4096;
const SECOND_NS: u64 = 1_000_000_000;

/// What one session has been answered.
#[derive(Debug, Default)]
pub struct Cache {
    answers: HashMap<Vec<u8>, Kept>,
    /// Questions, in the order of their answers.
    order: VecDeque<Vec<u8>>,
}

/// An answer, and since when it holds.
#[derive(Debug)]
struct Kept {
    message: Vec<u8>,
    since_ns: u64,
    /// Seconds until its first record ends.
    seconds: u32,
    /// Where the times of its records stand in the message.
    times: Vec<usize>,
}

impl Cache {
    /// The answer to a question that was asked before, as it is now. It is read anew: in what a server chose to send, a name
    /// may lead through the time of a record, and be another by now.
    #[must_use]
    pub fn find(&self, query: &Query, now_ns: u64) -> Option<Answer> {
        let kept = self.answers.get(query.unnumbered())?;
        let passed = u32::try_from(now_ns.saturating_sub(kept.since_ns) / SECOND_NS).ok()?;
        let holds = passed < kept.seconds;
        holds.then(|| Answer::read(query, query.id(), &kept.aged(query.id(), passed)).ok()).flatten()
    }

    /// Keeps an answer, if it is one that holds for a while.
    pub fn keep(&mut self, query: &Query, answer: &Answer, now_ns: u64) {
        if answer.message.len() > LARGEST {
            return;
        }
        // What cannot be read to its end is passed on, and not kept.
        let Ok(Some((seconds, times))) = times(&answer.message) else { return };
        let question = query.unnumbered().to_vec();
        let kept = Kept { message: answer.message.clone(), since_ns: now_ns, seconds, times };
        if self.answers.insert(question.clone(), kept).is_some() {
            self.order.retain(|other| *other != question);
        }
        self.order.push_back(question);
        if self.order.len() > ANSWERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

impl Kept {
    /// The message under a number, after so many seconds.
    fn aged(&self, id: u16, passed: u32) -> Vec<u8> {
        let mut message = self.message.clone();
        message[..2].copy_from_slice(&id.to_be_bytes());
        for at in &self.times {
            let mut time = [0; 4];
            time.copy_from_slice(&message[*at..*at + 4]);
            let left = u32::from_be_bytes(time).saturating_sub(passed);
            message[*at..*at + 4].copy_from_slice(&left.to_be_bytes());
        }
        message
    }
}

/// Seconds until the first record of an answer ends, and where all times stand; `None` for an answer that is not whole, that
/// says no, or that does not hold.
fn times(message: &[u8]) -> Result<Option<(u32, Vec<usize>)>, DecodeError> {
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder)?;
    if header.truncation || header.response_code != ResponseCode::NoError || header.counts.answers == 0 {
        return Ok(None);
    }
    for _ in 0..header.counts.queries {
        read_question(&mut decoder)?;
    }
    let counts = [header.counts.answers, header.counts.authorities, header.counts.additionals];
    let (mut least, mut times) = (u32::MAX, Vec::new());
    for _ in 0..counts.iter().map(|count| u32::from(*count)).sum() {
        Name::read(&mut decoder)?;
        let kind = RecordType::read(&mut decoder)?;
        decoder.read_u16()?;
        let at = decoder.index();
        let seconds = decoder.read_u32()?.unverified();
        let length = decoder.read_u16()?.unverified();
        decoder.read_slice(usize::from(length))?;
        // In place of its time EDNS has flags.
        if kind != RecordType::OPT {
            // RFC 2181, section 8: one with the highest bit set is 0.
            least = least.min(if seconds > i32::MAX.cast_unsigned() { 0 } else { seconds });
            times.push(at);
        }
    }
    Ok((least > 0 && decoder.is_empty()).then_some((least, times)))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::{ANSWERS, Cache, LARGEST, SECOND_NS};
    use crate::dns::answer::Answer;
    use crate::dns::message::{Packet, Query};

    fn query(id: u16, name: &str) -> Query {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Question::query(Name::from_ascii(name).unwrap(), RecordType::A));
        match Packet::read(&message.to_vec().unwrap()) {
            Packet::Query(query) => query,
            other => panic!("{other:?}"),
        }
    }

    /// An answer with a record for each of some times.
    fn message(query: &Query, times: &[u32]) -> Message {
        let mut message = Message::new(query.id(), MessageType::Response, OpCode::Query);
        let name = Name::from_ascii(query.name()).unwrap();
        message.add_query(Question::query(name.clone(), RecordType::A));
        for seconds in times {
            message.add_answer(Record::from_rdata(name.clone(), *seconds, RData::A(A::new(192, 0, 2, 1))));
        }
        message
    }

    fn read(query: &Query, message: &Message) -> Answer {
        Answer::read(query, query.id(), &message.to_vec().unwrap()).unwrap()
    }

    /// Whether an answer is kept.
    fn keeps(message: impl FnOnce(&mut Message)) -> bool {
        let (mut cache, query) = (Cache::default(), query(1, "a.example."));
        let mut answer = self::message(&query, &[60]);
        message(&mut answer);
        cache.keep(&query, &read(&query, &answer), 0);
        cache.find(&query, 0).is_some()
    }

    #[test]
    fn an_answer_is_given_again_under_the_new_number_and_with_the_time_that_is_left() {
        let (mut cache, asked) = (Cache::default(), query(1, "a.example."));
        cache.keep(&asked, &read(&asked, &message(&asked, &[60, 90])), 5 * SECOND_NS);
        let again = query(2, "a.example.");
        for (passed, left) in [(0, [60, 90]), (7, [53, 83]), (59, [1, 31])] {
            let found = cache.find(&again, (5 + passed) * SECOND_NS).unwrap();
            assert_eq!(found, read(&again, &message(&again, &left)), "after {passed} s");
            assert_eq!(found.heard.addresses.iter().map(|(_, left)| *left).collect::<Vec<_>>(), left);
        }
        assert_eq!(cache.find(&again, 65 * SECOND_NS), None, "its first record has ended");
    }

    #[test]
    fn another_question_has_another_answer() {
        let (mut cache, asked) = (Cache::default(), query(1, "a.example."));
        cache.keep(&asked, &read(&asked, &message(&asked, &[60])), 0);
        assert_eq!(cache.find(&query(1, "b.example."), 0), None);
        assert_eq!(cache.find(&query(1, "A.example."), 0), None, "its spelling comes back as well");
        let mut signed = Message::new(1, MessageType::Query, OpCode::Query);
        signed.add_query(Question::query(Name::from_ascii("a.example.").unwrap(), RecordType::A));
        signed.edns = Some(Edns::new());
        let Packet::Query(signed) = Packet::read(&signed.to_vec().unwrap()) else { panic!("no query") };
        assert_eq!(cache.find(&signed, 0), None);
    }

    #[test]
    fn only_whole_answers_that_hold_are_kept() {
        assert!(keeps(|_| {}));
        assert!(keeps(|answer| answer.edns = Some(Edns::new())), "which has no time");
        assert!(!keeps(|answer| answer.metadata.truncation = true));
        assert!(!keeps(|answer| answer.metadata.response_code = ResponseCode::NXDomain));
        assert!(!keeps(|answer| answer.answers.clear()));
        for seconds in [0, 1 << 31] {
            assert!(!keeps(|answer| answer.answers[0].ttl = seconds), "{seconds}");
        }
        let other = Record::from_rdata(Name::root(), 0, RData::A(A::new(192, 0, 2, 1)));
        assert!(!keeps(|answer| answer.authorities.push(other)), "the shortest time counts, wherever it stands");
        let (mut cache, query) = (Cache::default(), query(1, "a.example."));
        let answer = read(&query, &message(&query, &[60]));
        let with = |more: usize| Answer { message: [&answer.message[..], &vec![0; more]].concat(), ..answer.clone() };
        for more in [1, LARGEST] {
            cache.keep(&query, &with(more), 0);
            assert_eq!(cache.find(&query, 0), None, "{more} bytes more");
        }
    }

    #[test]
    fn of_too_many_the_oldest_goes() {
        let mut cache = Cache::default();
        let names: Vec<String> = (0..=ANSWERS).map(|number| format!("n{number}.example.")).collect();
        for name in names.iter().chain(&names[..1]) {
            let query = query(1, name);
            cache.keep(&query, &read(&query, &message(&query, &[60])), 0);
        }
        let is_kept = |name: &String| cache.find(&query(1, name), 0).is_some();
        assert_eq!(names.iter().filter(|name| is_kept(name)).count(), ANSWERS);
        assert!(is_kept(&names[0]) && !is_kept(&names[1]) && is_kept(&names[ANSWERS]));
    }
}
