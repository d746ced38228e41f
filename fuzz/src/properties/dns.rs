//! A conversation of names: queries, their answers, and what is remembered of both. It must not know what makes a message
//! good.

use super::packet::{judge_answer, judge_packet};
use agent_guard::dns::{Answer, Known, Packet, Query, Watch};

/// Queries that an answer is tried as the answer of.
const ASKED: usize = 8;
/// Names of one address that are kept.
const NAMES: usize = 8;
/// Between one message and the next, in nanoseconds.
const STEP_NS: u64 = 20_000_000_000;
const SESSION: u32 = 7;

/// Judges messages that stand behind each other, each with its length before it, as over TCP.
pub fn holds(bytes: &[u8]) -> bool {
    let (mut asked, mut known, mut watch) = (Vec::<Query>::new(), Known::default(), Watch::default());
    let (mut is_taken, mut now_ns) = (false, 0);
    for message in messages(bytes) {
        is_taken |= judge_packet(message);
        for query in &asked {
            if judge_answer(query, message) {
                is_taken = true;
                judge_known(&mut known, query, message, now_ns);
            }
        }
        if let Packet::Query(query) = Packet::read(message) {
            let alert = watch.saw(SESSION, query.name(), now_ns);
            assert!(alert.is_none_or(|alert| query.name().ends_with(&alert.domain)));
            asked.truncate(ASKED - 1);
            asked.insert(0, query);
        }
        now_ns += STEP_NS;
    }
    known.expire(u64::MAX);
    known.expire(u64::MAX);
    is_taken
}

/// The messages; the last one may be cut short.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (message, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        bytes = rest;
        Some(message)
    })
}

/// What was heard is known, by names that were heard, and forgotten when its time is over.
fn judge_known(known: &mut Known, query: &Query, message: &[u8], now_ns: u64) {
    let id = u16::from_be_bytes([message[0], message[1]]);
    let heard = Answer::read(query, id, message).expect("it was read before").heard;
    let changed = known.learn(SESSION, &heard, now_ns);
    assert!(changed.iter().all(|entry| entry.session == SESSION && entry.names.len() <= NAMES));
    for (address, _) in &heard.addresses {
        let names: Vec<&str> = known.names(SESSION, *address, now_ns).collect();
        assert_eq!(names.first(), Some(&query.name()), "{address} was heard, and is not known by what was asked for");
        assert!(names.len() <= NAMES);
    }
    assert_eq!(known.learn(SESSION, &heard, now_ns), [], "what is known already changes nothing");
}
