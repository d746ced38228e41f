//! How often each session has people asked: a tree that asks without end is no one's to answer question by question.
//!
//! It must not know what is asked, nor what is done to a session that asks too often.

use std::collections::{BTreeMap, VecDeque};

use crate::session::SessionKey;

/// The time within which questions are counted.
const WITHIN_NS: u64 = 60_000_000_000;

/// When each session has had people asked lately.
#[derive(Debug, Default)]
pub(super) struct Askers(BTreeMap<SessionKey, VecDeque<u64>>);

impl Askers {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// People are asked once more; whether that is more often within a minute than `most`.
    pub(super) fn asks(&mut self, session: SessionKey, most: u32, now_ns: u64) -> bool {
        let times = self.0.entry(session).or_default();
        while times.front().is_some_and(|at| at.saturating_add(WITHIN_NS) <= now_ns) {
            times.pop_front();
        }
        times.push_back(now_ns);
        times.len() > most as usize
    }

    /// A session begins anew, or is gone.
    pub(super) fn forget(&mut self, session: SessionKey) {
        self.0.remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use crate::decision::tests::{Game, SECOND, answer, key, person, question, stamp};
    use crate::decision::{Bound, Choice, Event, Question, RequestId, Ruling, Steer};

    const MOST: u32 = 3;

    fn ask(game: &mut Game, number: u64, slot: u32) -> Vec<String> {
        let asked = question(key(5, u32::try_from(number).unwrap(), number), slot, Ruling::Ask);
        let bound = Bound { object: number, ..asked.bound };
        game.play(Event::Asked(Box::new(Question { bound, most_a_minute: MOST, ..asked })))
    }

    #[test]
    fn a_session_that_asks_too_often_is_halted_and_that_is_said_once() {
        let mut game = Game::new();
        for number in 1..=3 {
            assert_eq!(ask(&mut game, number, 1), ["record-first held", "tell held", "changed"], "{number}");
        }
        // Others may ask.
        assert_eq!(ask(&mut game, 9, 2).len(), 3);
        let halted = ["record-first held", "tell held", "changed", "halt", "record sessionhalted", "tell halted"];
        assert_eq!(ask(&mut game, 4, 1), halted);
        // What was on its way asks on, and nothing more is said.
        assert_eq!(ask(&mut game, 5, 1), ["record-first held", "tell held", "changed"]);
        let of_first = |id: &RequestId| game.state.request(*id).unwrap().session == stamp(1).key;
        let id = game.pending().into_iter().find(of_first).unwrap();
        let yes = Event::Replied { call: 1, request: id, answer: answer(Choice::Approve, person()) };
        assert_eq!(game.play(yes), ["reply halted"]);
        assert!(game.state.why_halted(stamp(1).key).unwrap().contains("more than 3 questions in a minute"));
        assert_eq!(game.state.why_halted(stamp(2).key), None);
        // Whoever lets it go on lets it begin anew.
        game.play(Event::Steered { call: 2, session: stamp(1), steer: Steer::Resume, by: person() });
        assert_eq!(ask(&mut game, 6, 1).len(), 3);
    }

    #[test]
    fn as_often_as_is_allowed_is_no_flood_however_long() {
        let mut game = Game::new();
        for number in 1..=30 {
            assert_eq!(ask(&mut game, number, 1), ["record-first held", "tell held", "changed"], "{number}");
            game.later(20 * SECOND);
        }
    }
}
