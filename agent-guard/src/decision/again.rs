//! How soon people are asked again about what nobody has answered: later each time.
//!
//! A tree that renews a question whenever its time is over would get a yes by weariness, or hide what else it asks. It must
//! not know how a question is answered.

use std::collections::BTreeMap;

use agent_guard_common::operation::Operation;

use super::event::Bound;
use super::state::Thread;
use crate::session::SessionKey;

const SECOND_NS: u64 = 1_000_000_000;
/// The first pause. Each is twice the one before.
const FIRST_NS: u64 = 5 * SECOND_NS;
/// The longest pause; what has not been asked for so long after one is as if it had never been.
const LONGEST_NS: u64 = 600 * SECOND_NS;

/// What is the same question: of any process of a session, as it may start another for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    session: SessionKey,
    operation: Operation,
    object: u64,
    argv: u64,
}

impl Subject {
    /// What a thread asks about.
    pub(super) fn of(thread: &Thread) -> Self {
        let Bound { object, argv, .. } = thread.bound;
        Self { session: thread.session, operation: thread.act.operation, object, argv }
    }
}

/// A pause that was begun.
#[derive(Debug)]
struct Pause {
    length_ns: u64,
    until_ns: u64,
}

impl Pause {
    /// Whether the next one is longer for it.
    const fn counts(&self, now_ns: u64) -> bool {
        now_ns < self.until_ns.saturating_add(LONGEST_NS)
    }
}

/// The pauses of all sessions.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<Subject, Pause>);

impl Pauses {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Nobody has answered: a pause begins, twice as long as the one before.
    pub(super) fn begin(&mut self, subject: Subject, now_ns: u64) {
        let before = self.0.get(&subject).filter(|pause| pause.counts(now_ns)).map_or(0, |pause| pause.length_ns);
        let length_ns = (before * 2).clamp(FIRST_NS, LONGEST_NS);
        self.0.insert(subject, Pause { length_ns, until_ns: now_ns.saturating_add(length_ns) });
    }

    /// Whole seconds until people may be asked again; none if they may be now.
    pub(super) fn left(&self, subject: Subject, now_ns: u64) -> Option<u64> {
        let left = self.0.get(&subject)?.until_ns.checked_sub(now_ns).filter(|left| *left > 0)?;
        Some(left.div_ceil(SECOND_NS))
    }

    /// Somebody has answered.
    pub(super) fn forget(&mut self, subject: Subject) {
        self.0.remove(&subject);
    }

    /// A session has ended.
    pub(super) fn forget_session(&mut self, session: SessionKey) {
        self.0.retain(|subject, _| subject.session != session);
    }

    /// Makes room: what counts no longer is not kept. It looks at every pause there is.
    pub(super) fn tidy(&mut self, now_ns: u64) {
        self.0.retain(|_, pause| pause.counts(now_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_NS, LONGEST_NS};
    use crate::decision::tests::{Game, SECOND, answer, key, person, question};
    use crate::decision::{Bound, Choice, Event, Question, Ruling, Standing};

    /// Asks about an object; whether people are asked.
    fn is_asked(game: &mut Game, number: u64, object: u64, slot: u32) -> bool {
        let asked = question(key(5, 5, number), slot, Ruling::Ask);
        let asked = Question { bound: Bound { object, ..asked.bound }, ..asked };
        let effects = game.play(Event::Asked(Box::new(asked)));
        let is_asked = effects.contains(&"record-first held".to_owned());
        assert_eq!(effects.contains(&format!("answer {number} denied")), !is_asked, "{effects:?}");
        is_asked
    }

    fn say(game: &mut Game, choice: Choice) {
        let request = game.pending()[0];
        game.play(Event::Replied { call: 1, request, answer: answer(choice, person()) });
    }

    fn say_nothing(game: &mut Game) {
        game.later(300 * SECOND);
        assert!(game.pending().is_empty());
    }

    #[test]
    fn what_nobody_answers_is_asked_later_each_time() {
        let (mut game, mut pause) = (Game::new(), FIRST_NS);
        for number in 0..12 {
            assert!(is_asked(&mut game, number * 2, 1, 1), "{number}");
            say_nothing(&mut game);
            game.now.monotonic_ns += pause - 1;
            assert!(!is_asked(&mut game, number * 2 + 1, 1, 1), "{number}");
            game.now.monotonic_ns += 1;
            pause = (pause * 2).min(LONGEST_NS);
        }
    }

    #[test]
    fn another_object_or_session_is_another_question() {
        let mut game = Game::new();
        assert!(is_asked(&mut game, 1, 1, 1));
        say_nothing(&mut game);
        assert!(!is_asked(&mut game, 2, 1, 1));
        assert!(is_asked(&mut game, 3, 2, 1));
        say(&mut game, Choice::Deny);
        assert!(is_asked(&mut game, 4, 1, 2));
    }

    #[test]
    fn an_answer_an_end_and_a_long_time_make_up_for_it() {
        for how in 0..4 {
            let mut game = Game::new();
            for number in [1, 2] {
                assert!(is_asked(&mut game, number, 1, 1));
                say_nothing(&mut game);
                game.now.monotonic_ns += LONGEST_NS - 1;
            }
            match how {
                0 | 1 => {
                    assert!(is_asked(&mut game, 3, 1, 1));
                    say(&mut game, if how == 0 { Choice::Approve } else { Choice::Deny });
                }
                2 => drop(game.play(Event::Ended(crate::decision::tests::stamp(1).key))),
                _ => drop(game.later(2 * LONGEST_NS)),
            }
            assert!(is_asked(&mut game, 4, 1, 1));
            say_nothing(&mut game);
            game.now.monotonic_ns += FIRST_NS;
            assert!(is_asked(&mut game, 5, 1, 1), "the pause is the first one again: {how}");
        }
    }

    #[test]
    fn a_process_that_goes_or_asks_something_else_has_not_been_refused() {
        let mut game = Game::new();
        assert!(is_asked(&mut game, 1, 1, 1));
        let request = game.pending()[0];
        assert!(is_asked(&mut game, 2, 1, 1), "by the same thread");
        assert_eq!(game.standing(request), Some(Standing::Invalidated));
    }
}
