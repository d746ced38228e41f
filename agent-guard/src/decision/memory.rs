//! What a daemon before this one has left: its requests as they stood, and what its approvals allow of other acts.
//!
//! Every change of them is an [`super::Effect::Keep`], so that whoever keeps them has what the state has. What is taken up again
//! waits on as it did, with its old deadline. It must not know where they were kept, nor find out what is still true of them:
//! the daemon looks, and says so with events.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_guard_common::answer::answered;
use agent_guard_common::limits::GRANT_NS;

use super::event::Key;
use super::grant::Grant;
use super::state::{Phase, Request, Standing, State, Thread};

/// All that outlives a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Requests.
    pub requests: Vec<Request>,
    /// What holds of more than one act.
    pub grants: Vec<Grant>,
}

impl State {
    /// Takes up what was left. `unused` are the questions whose approval the kernel still has: those, too, go on.
    #[must_use]
    pub fn resume(seed: u32, memory: Memory, unused: &BTreeSet<Key>, now_ns: u64) -> Self {
        let mut state = Self::new(seed);
        let mut requests = memory.requests;
        // The oldest ending is the first to be forgotten.
        requests.sort_by_key(|request| request.ending.as_ref().map(|ending| ending.at));
        for request in requests {
            let waits = request.standing == Standing::Pending;
            let phase = match request.standing {
                Standing::Pending => Some(Phase::Waiting),
                Standing::Approved => {
                    let lapses_ns = now_ns.saturating_add(GRANT_NS);
                    Some(Phase::Approved { lapses_ns, used: 0, silent: false })
                }
                _ => None,
            };
            for key in request.keys().filter(|key| waits || unused.contains(key)) {
                if let Some(phase) = phase {
                    state.threads.insert(key.task, thread(&request, key, phase));
                }
                if let Some(Phase::Approved { lapses_ns, .. }) = phase {
                    state.lapses.insert((lapses_ns, key.task));
                }
            }
            // An approval that the kernel has not, and may never have had, is over: it is asked for again, or is not.
            let kind = match request.standing {
                Standing::Pending | Standing::Invalidated => None,
                Standing::Approved | Standing::Expired => Some(answered::EXPIRED),
                Standing::Denied => Some(answered::DENIED),
                Standing::Cancelled => Some(answered::CANCELLED),
            };
            if let Some(kind) = kind {
                state.left.extend(request.keys().filter(|key| !unused.contains(key)).map(|key| (key, kind)));
            }
            if waits {
                state.await_answer(request);
            } else {
                state.ended.push_back(request.id);
                state.requests.insert(request.id, request);
            }
        }
        state.grants = memory.grants.into_iter().map(|grant| (grant.id, grant)).collect();
        state
    }

    /// All that a daemon after this one must know.
    #[cfg(test)]
    pub fn memory(&self) -> Memory {
        Memory { requests: self.requests().cloned().collect(), grants: self.grants().cloned().collect() }
    }
}

fn thread(request: &Request, key: Key, phase: Phase) -> Thread {
    Thread {
        question: key.question,
        session: request.session,
        bound: request.bound,
        act: Arc::clone(&request.act),
        request: Some(request.id),
        grant: None,
        phase,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Memory;
    use crate::decision::tests::{Game, Q, SECOND, answer, key, person, question};
    use crate::decision::{Answer, Choice, Event, Kept, RequestId, Ruling, Standing, State, step};
    use crate::decision::{Effect, Key};
    use crate::policy::Scope;

    fn resumed(game: &Game, unused: &[Key]) -> Game {
        let unused: BTreeSet<Key> = unused.iter().copied().collect();
        Game { state: State::resume(9, game.state.memory(), &unused, game.now.monotonic_ns), now: game.now }
    }

    fn reply(request: RequestId, answer: Answer) -> Event {
        Event::Replied { call: 1, request, answer }
    }

    fn yes(scope: Scope) -> Answer {
        Answer { scope, for_ns: 60 * SECOND, ..answer(Choice::Approve, person()) }
    }

    #[test]
    fn what_waited_waits_on_with_its_old_deadline_and_can_be_answered() {
        let (mut game, id) = Game::asked(key(5, 5, Q));
        game.later(100 * SECOND);
        let before = game.state.request(id).cloned();
        let mut after = resumed(&game, &[]);
        assert_eq!(after.state.request(id).cloned(), before);
        assert_eq!((after.state.pending(), after.state.pending_of(before.unwrap().session)), (1, 1));
        // Its thread is woken, and puts the same question: nobody is asked twice.
        assert!(after.play(Event::Repeated(key(5, 5, Q))).is_empty());
        assert!(after.play(Event::Asked(Box::new(question(key(5, 5, Q), 1, Ruling::Ask)))).is_empty());
        let effects = after.play(reply(id, yes(Scope::Once)));
        assert_eq!(effects[..3], ["record-first approved", "changed", "answer 70 approved"]);
        // The other one is not answered: it ends when it would have ended.
        let mut silent = resumed(&game, &[]);
        assert!(silent.later(199 * SECOND).is_empty());
        assert_eq!(silent.later(SECOND)[0], "record-first expired");
    }

    #[test]
    fn what_is_not_held_any_more_has_expired_and_says_why() {
        let (game, id) = Game::asked(key(5, 5, Q));
        let mut after = resumed(&game, &[]);
        assert_eq!(after.play(Event::Unheld(id, "its process was gone")), ["record expired", "changed"]);
        let request = after.state.request(id).unwrap();
        assert_eq!(request.standing, Standing::Expired);
        assert_eq!(request.ending.as_ref().unwrap().reason.as_deref(), Some("its process was gone"));
        assert!(!after.state.knows(key(5, 5, Q)) && after.state.pending() == 0);
        assert!(after.play(Event::Unheld(id, "again")).is_empty());
    }

    #[test]
    fn an_approval_that_the_kernel_still_has_goes_on_and_one_that_it_has_not_is_history() {
        let (mut game, id) = Game::asked(key(5, 5, Q));
        game.play(reply(id, yes(Scope::Once)));
        let mut after = resumed(&game, &[key(5, 5, Q)]);
        assert_eq!(after.play(Event::Used(key(5, 5, Q))), ["record passed"]);
        let mut late = resumed(&game, &[key(5, 5, Q)]);
        assert_eq!(late.later(6 * SECOND), ["forget 70", "tell refused", "resume 5 x1"]);
        let history = resumed(&game, &[]);
        assert!(!history.state.knows(key(5, 5, Q)));
        assert_eq!(history.standing(id), Some(Standing::Approved));
    }

    #[test]
    fn what_was_answered_and_may_not_have_been_told_is_told_when_it_is_asked_again_and_nobody_is_asked_twice() {
        for (choice, told) in [(Choice::Deny, "denied"), (Choice::Cancel, "cancelled"), (Choice::Approve, "expired")] {
            let (mut game, id) = Game::asked(key(5, 5, Q));
            game.play(reply(id, answer(choice, person())));
            let mut after = resumed(&game, &[]);
            let again = Event::Asked(Box::new(question(key(5, 5, Q), 1, Ruling::Ask)));
            assert_eq!(after.play(again), [format!("answer 70 {told}"), "resume 5 x1".to_owned()]);
            // Once: what it asks next is another question.
            let next = Event::Asked(Box::new(question(key(5, 5, Q + 1), 1, Ruling::Ask)));
            assert!(after.play(next).contains(&"record-first held".to_owned()));
        }
    }

    #[test]
    fn what_an_approval_allows_of_others_goes_on_until_its_old_end() {
        let (mut game, id) = Game::asked(key(5, 5, Q));
        game.play(reply(id, yes(Scope::Session)));
        game.later(20 * SECOND);
        let mut after = resumed(&game, &[]);
        let other = key(6, 6, Q + 1);
        let effects = after.play(Event::Asked(Box::new(question(other, 1, Ruling::Ask))));
        assert_eq!(effects[0], "answer 71 approved");
        assert!(after.later(40 * SECOND).contains(&"record grantended".to_owned()));
    }

    #[test]
    fn whoever_does_what_is_ordered_has_what_the_state_has() {
        let mut game = Game::new();
        let mut kept = Memory::default();
        let mut play = |game: &mut Game, event| {
            for effect in step(&mut game.state, event, game.now) {
                let Effect::Keep { kept: what, .. } = effect else { continue };
                let (Kept::Request(id) | Kept::Forgotten(id) | Kept::Grant(id) | Kept::GrantEnded(id)) = what;
                match what {
                    Kept::Request(_) | Kept::Forgotten(_) => kept.requests.retain(|request| request.id != id),
                    Kept::Grant(_) | Kept::GrantEnded(_) => kept.grants.retain(|grant| grant.id != id),
                }
                match what {
                    Kept::Request(_) => kept.requests.extend(game.state.request(id).cloned()),
                    Kept::Grant(_) => kept.grants.extend(game.state.grant(id).cloned()),
                    Kept::Forgotten(_) | Kept::GrantEnded(_) => {}
                }
            }
            kept.requests.sort_by_key(|request| request.id);
            assert_eq!(kept, game.state.memory());
        };
        for round in 0..1100_u64 {
            let key = key(5, 5, 100 + round);
            play(&mut game, Event::Asked(Box::new(question(key, 1, Ruling::Ask))));
            let id = game.pending().first().copied();
            let scope = if round % 7 == 0 { Scope::Session } else { Scope::Once };
            let event = id.map_or(Event::Tick, |id| match round % 3 {
                0 => reply(id, yes(scope)),
                1 => reply(id, answer(Choice::Deny, person())),
                _ => Event::Unheld(id, "gone"),
            });
            play(&mut game, event);
            play(&mut game, Event::Used(key));
            play(&mut game, Event::Done { key, error: None });
            game.now.monotonic_ns += 9 * SECOND;
            play(&mut game, Event::Tick);
        }
    }
}
