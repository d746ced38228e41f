//! One question of several threads: what a process asks already is not asked again, and each of its threads is answered.
//!
//! It must not know how an answer comes about.

use super::effect::{About, Effect, Kept};
use super::event::{Key, Task};
use super::id::RequestId;
use super::state::{Phase, Thread};
use super::turn::Turn;
use crate::audit::What;

impl Turn<'_> {
    /// What another thread of the same process asks already, if it is the same and waits.
    pub(super) fn asked_already(&self, task: Task, thread: &Thread) -> Option<RequestId> {
        let all = Task { tid: 0, ..task }..=Task { tid: u32::MAX, ..task };
        let mut others = self.state.threads.range(all).filter(|(other, _)| **other != task);
        let same = others.find(|(_, other)| {
            other.phase == Phase::Waiting
                && other.request.is_some()
                && other.session == thread.session
                && other.bound == thread.bound
                && other.act.operation == thread.act.operation
                && other.act.rule == thread.act.rule
        });
        same.and_then(|(_, other)| other.request)
    }

    /// Lets a thread wait for the answer to what another thread of its process asks already.
    pub(super) fn join(&mut self, task: Task, id: RequestId) {
        let Some(thread) = self.state.threads.get_mut(&task) else { return };
        thread.request = Some(id);
        let key = Key { task, question: thread.question };
        if let Some(request) = self.state.requests.get_mut(&id) {
            request.others.push(key);
        }
        self.audit_thread(task, What::Held, None);
        self.effects.push(Effect::Keep { about: Some(About::Thread(task)), kept: Kept::Request(id) });
        self.effects.push(Effect::Changed(id));
    }

    /// A thread waits no longer for the answer to what others of its process ask as well; whether there are others.
    pub(super) fn leave(&mut self, task: Task, id: RequestId) -> bool {
        let Some(request) = self.state.requests.get_mut(&id) else { return false };
        request.others.retain(|other| other.task != task);
        if request.key.task == task {
            if request.others.is_empty() {
                return false;
            }
            request.key = request.others.remove(0);
        }
        self.effects.push(Effect::Keep { about: None, kept: Kept::Request(id) });
        self.effects.push(Effect::Changed(id));
        true
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::verdict::Reason;

    use crate::decision::tests::{Game, Q, asked, key, question, reply};
    use crate::decision::{About, Bound, Choice, Effect, Event, Question, Ruling, Standing, Task, step};

    #[test]
    fn threads_of_one_process_that_ask_the_same_are_one_request_and_get_one_answer_each() {
        let (mut game, id) = Game::asked(key(5, 5, Q));
        assert_eq!(game.play(asked(key(5, 6, Q + 1), Ruling::Ask)), ["record-first held", "changed"]);
        assert_eq!(game.play(asked(key(5, 7, Q + 2), Ruling::Ask)), ["record-first held", "changed"]);
        assert_eq!((game.state.pending(), game.state.request(id).unwrap().keys().count()), (1, 3));
        // Another process, and another object of the same process, are another matter.
        game.play(asked(key(6, 6, Q + 3), Ruling::Ask));
        let other = question(key(5, 8, Q + 4), 1, Ruling::Ask);
        game.play(Event::Asked(Box::new(Question { bound: Bound { object: 1, ..other.bound }, ..other })));
        assert_eq!(game.state.pending(), 3);
        let effects = game.play(reply(id, Choice::Approve));
        let answers = ["answer 70 approved", "answer 71 approved", "answer 72 approved"];
        assert_eq!(effects[..2], ["record-first approved", "changed"]);
        assert_eq!(effects[2..5], answers);
        assert_eq!(effects[5..], ["tell approved", "reply ok", "resume 5 x3"]);
        // What came of any of them is told.
        assert_eq!(game.play(Event::Used(key(5, 7, Q + 2))), ["record passed"]);
        assert_eq!(game.play(Event::Done { key: key(5, 7, Q + 2), error: None }), ["record done", "changed"]);
    }

    #[test]
    fn a_request_waits_on_while_any_of_its_threads_does() {
        let (mut game, id) = Game::asked(key(5, 5, Q));
        game.play(asked(key(5, 6, Q + 1), Ruling::Ask));
        assert_eq!(game.play(Event::Gone(Task { tgid: 5, tid: 5 })), ["changed"]);
        assert_eq!(
            (game.standing(id), game.state.request(id).unwrap().key),
            (Some(Standing::Pending), key(5, 6, Q + 1))
        );
        assert_eq!(
            game.play(Event::Refused(key(5, 6, Q + 1), Reason::Undecided))[2..],
            ["record invalidated", "changed"]
        );
    }

    #[test]
    fn no_thread_is_let_go_by_a_record_that_could_not_be_written() {
        let (mut game, id) = Game::asked(key(5, 5, Q));
        game.play(asked(key(5, 6, Q + 1), Ruling::Ask));
        let effects = step(&mut game.state, reply(id, Choice::Approve), game.now);
        let about = About::Thread(Task { tgid: 5, tid: 5 });
        let dependent = effects.iter().filter(|effect| matches!(effect, Effect::Answer { .. }));
        assert!(dependent.clone().count() == 2 && dependent.clone().all(|effect| effect.depends_on() == Some(about)));
        let effects = game.play(Event::Failed { about, why: "no room" });
        assert!(effects.contains(&"answer 70 denied".to_owned()) && effects.contains(&"answer 71 denied".to_owned()));
        assert_eq!(game.standing(id), Some(Standing::Denied));
        // Said once more, it is nothing to a thread that asks something else by now.
        let other = question(key(5, 6, Q + 9), 1, Ruling::Ask);
        game.play(Event::Asked(Box::new(Question { bound: Bound { object: 1, ..other.bound }, ..other })));
        game.play(Event::Failed { about, why: "no room" });
        assert_eq!(game.state.pending(), 1);
        assert!(game.state.waits(5));
    }
}
