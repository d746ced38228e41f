//! How many requests there were, how each ended and how long that took: figures that only grow. It must not know what a
//! request is about, nor who reads the figures.

use super::state::Standing;

/// Upper bounds of the times that are told apart, in seconds; what took longer is counted behind the last.
pub const BOUNDS: [u64; 11] = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
/// How a request can end.
pub const ENDINGS: [Standing; 5] =
    [Standing::Approved, Standing::Denied, Standing::Expired, Standing::Cancelled, Standing::Invalidated];

const SECOND_NS: u64 = 1_000_000_000;

/// Times that something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// How many took no longer than each of [`BOUNDS`], and longer than the one before; and longer than all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// What they took together, in nanoseconds.
    pub sum_ns: u64,
}

impl Waits {
    const NONE: Self = Self { counts: [0; BOUNDS.len() + 1], sum_ns: 0 };

    fn add(&mut self, took_ns: u64) {
        let place = BOUNDS.iter().position(|bound| took_ns <= bound * SECOND_NS).unwrap_or(BOUNDS.len());
        self.counts[place] += 1;
        self.sum_ns = self.sum_ns.saturating_add(took_ns);
    }
}

/// The figures of one state, since it was made.
#[derive(Clone, Debug)]
pub struct Tally {
    asked: u64,
    ended: [Waits; ENDINGS.len()],
    withdrawn: u64,
}

impl Tally {
    pub(super) const NONE: Self = Self { asked: 0, ended: [Waits::NONE; ENDINGS.len()], withdrawn: 0 };

    /// Requests that were asked.
    #[must_use]
    pub const fn asked(&self) -> u64 {
        self.asked
    }

    /// Those that ended, by how they did, with the times from question to end.
    pub fn ended(&self) -> impl Iterator<Item = (Standing, &Waits)> {
        ENDINGS.into_iter().zip(&self.ended)
    }

    /// Approvals that became refusals, since they could not be recorded or delivered.
    #[must_use]
    pub const fn withdrawn(&self) -> u64 {
        self.withdrawn
    }

    pub(super) const fn ask(&mut self) {
        self.asked += 1;
    }

    /// Counts the end of a request; of one that has ended before only that its approval came to nothing.
    pub(super) fn end(&mut self, before: Standing, standing: Standing, took_ns: u64) {
        match before {
            Standing::Pending => {
                let place = ENDINGS.iter().position(|ending| *ending == standing);
                if let Some(waits) = place.and_then(|place| self.ended.get_mut(place)) {
                    waits.add(took_ns);
                }
            }
            Standing::Approved => self.withdrawn += 1,
            Standing::Denied | Standing::Expired | Standing::Cancelled | Standing::Invalidated => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, SECOND_NS, Standing, Waits};
    use crate::decision::tests::{Game, Q, answer, key, person, question};
    use crate::decision::{About, Bound, Choice, Event, Question, Ruling};

    #[test]
    fn a_time_is_counted_under_the_first_bound_that_it_does_not_exceed() {
        let mut waits = Waits::NONE;
        for took in [0, SECOND_NS, SECOND_NS + 1, 3600 * SECOND_NS, 3600 * SECOND_NS + 1] {
            waits.add(took);
        }
        assert_eq!(waits.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn each_request_is_counted_when_it_is_asked_and_once_when_it_ends() {
        let mut game = Game::new();
        let ask = |game: &mut Game, number: u32| {
            let asked = question(key(number, number, Q + u64::from(number)), 1, Ruling::Ask);
            game.play(Event::Asked(Box::new(Question {
                bound: Bound { object: u64::from(number), ..asked.bound },
                ..asked
            })));
            game.pending()[0]
        };
        let id = ask(&mut game, 1);
        game.now.monotonic_ns += 7 * SECOND_NS;
        game.play(Event::Replied { call: 1, request: id, answer: answer(Choice::Approve, person()) });
        // The approval cannot be delivered: what was counted stays, and so does that it came to nothing.
        game.play(Event::Failed { about: About::Thread(key(1, 1, Q).task), why: "no room" });
        ask(&mut game, 2);
        game.later(u64::MAX / 2);
        let tally = game.state.tally();
        assert_eq!((tally.asked(), tally.withdrawn()), (2, 1));
        let counts = |standing| {
            let (_, waits) = tally.ended().find(|(ending, _)| *ending == standing).unwrap();
            waits.counts.iter().sum::<u64>()
        };
        let each = [Standing::Approved, Standing::Denied, Standing::Expired, Standing::Cancelled].map(counts);
        assert_eq!(each, [1, 0, 1, 0]);
        assert_eq!(tally.ended().next().unwrap().1.sum_ns, 7 * SECOND_NS);
    }
}
