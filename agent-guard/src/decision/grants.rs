//! Approvals that reach further: made, followed and ended. What is allowed so is on record before anything passes by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_guard_common::answer::answered;

use super::effect::{About, Effect, Kept, Rejection};
use super::event::{Answer, CallId, Task};
use super::grant::{self, Grant};
use super::id::RequestId;
use super::state::{Phase, Standing, State, Thread};
use super::turn::Turn;
use crate::audit::{Entry, Person, What};
use crate::policy::Scope;
use crate::session::SessionKey;

impl State {
    /// Whether what a process of a session asks under a rule may need nobody, as far as can be told before it is known.
    #[must_use]
    pub fn may_go_on(&self, session: SessionKey, rule: &str, tgid: u32) -> bool {
        self.grants().any(|grant| {
            grant.act.rule.name == rule
                && grant::reaches(grant.scope, grant.session == session, grant.task.tgid == tgid)
        })
    }

    /// How many other requests wait that an approval of one would reach to.
    #[must_use]
    pub fn reached(&self, id: RequestId, scope: Scope) -> usize {
        let Some(request) = self.request(id) else { return 0 };
        let reaches = |(task, thread): &(&Task, &Thread)| {
            thread.phase == Phase::Waiting
                && thread.request.is_some_and(|other| other != id)
                && grant::covers(scope, request.session, (request.key.task, &request.act), **task, thread)
        };
        self.threads.iter().filter(reaches).count()
    }
}

impl Turn<'_> {
    /// Approves a request, as far as was said.
    pub(super) fn grant(&mut self, id: RequestId, answer: Answer) -> Option<About> {
        let request = self.state.requests.get(&id)?;
        if answer.scope == Scope::Once {
            return self.decide(id, Standing::Approved, Some(answer.by), answer.reason);
        }
        let is_timed = answer.scope > Scope::Process;
        let grant = Grant {
            id,
            scope: answer.scope,
            session: request.session,
            task: request.key.task,
            act: Arc::clone(&request.act),
            by: answer.by.clone(),
            reason: answer.reason.clone(),
            at: self.now,
            until: is_timed.then(|| self.now.after(answer.for_ns)),
            used: 0,
        };
        self.state.grants.insert(id, grant);
        let about = self.decide(id, Standing::Approved, Some(answer.by), answer.reason)?;
        self.effects.push(Effect::Keep { about: Some(about), kept: Kept::Grant(id) });
        self.effects.push(Effect::Spread { grant: id, about });
        Some(about)
    }

    /// The grant that holds of what a thread asks.
    pub(super) fn granting(&self, task: Task, thread: &Thread) -> Option<RequestId> {
        if self.state.halted.contains_key(&thread.session) {
            return None;
        }
        self.state.grants.values().find(|grant| grant.covers(task, thread)).map(|grant| grant.id)
    }

    /// Lets a thread go on by a grant, which is on record.
    pub(super) fn go_on_by(&mut self, task: Task, grant: RequestId) {
        if let Some(thread) = self.state.threads.get_mut(&task) {
            thread.grant = Some(grant);
            self.approve(task, false);
        }
    }

    /// A grant is on record: what waits and is covered by it is approved as well.
    pub(super) fn spread(&mut self, id: RequestId) {
        let Some(Grant { by, .. }) = self.state.grants.get(&id) else { return };
        let by = by.clone();
        let waiting = self.state.threads.iter().filter(|(_, thread)| thread.phase == Phase::Waiting);
        let covered = waiting.filter(|(task, thread)| self.granting(**task, thread) == Some(id));
        let covered: Vec<_> = covered.filter_map(|(task, thread)| Some((*task, thread.request?))).collect();
        // All threads of a request before it is decided: its record tells what each goes on by.
        for (task, _) in &covered {
            if let Some(thread) = self.state.threads.get_mut(task) {
                thread.grant = Some(id);
            }
        }
        let requests: BTreeSet<RequestId> = covered.into_iter().map(|(_, request)| request).collect();
        for request in requests {
            self.decide(request, Standing::Approved, Some(by.clone()), None);
        }
    }

    /// A person takes a grant back.
    pub(super) fn revoke(&mut self, call: CallId, id: RequestId, by: Person) {
        let outcome = match self.state.grants.remove(&id) {
            None => Err(Rejection::NoGrant(id)),
            Some(grant) => {
                self.ended(&grant, Some(by), "it was revoked");
                Ok(())
            }
        };
        self.effects.push(Effect::Reply { call, about: None, outcome });
    }

    /// Ends those grants that something has befallen.
    pub(super) fn end_grants(&mut self, ends: impl Fn(&Grant) -> bool, why: &str) {
        let ending: Vec<RequestId> =
            self.state.grants.values().filter(|grant| ends(grant)).map(|grant| grant.id).collect();
        for grant in ending.iter().filter_map(|id| self.state.grants.remove(id)).collect::<Vec<_>>() {
            self.ended(&grant, None, why);
        }
    }

    /// What was let pass by a grant and has not passed yet is refused.
    fn ended(&mut self, grant: &Grant, by: Option<Person>, why: &str) {
        let entry = Entry {
            grant: Some(grant.id.to_string()),
            scope: Some(grant.scope.word()),
            approver: by,
            reason: Some(why.to_owned()),
            act: Some(Arc::clone(&grant.act)),
            times: Some(grant.used),
            ..Entry::new(self.now, What::GrantEnded)
        };
        self.effects.push(Effect::Audit { about: None, entry: Box::new(entry) });
        self.effects.push(Effect::Keep { about: None, kept: Kept::GrantEnded(grant.id) });
        let unused =
            |thread: &Thread| thread.grant == Some(grant.id) && matches!(thread.phase, Phase::Approved { used: 0, .. });
        let late: Vec<Task> =
            self.state.threads.iter().filter(|(_, thread)| unused(thread)).map(|(task, _)| *task).collect();
        for task in late {
            self.answer(task, answered::DENIED);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Answer, RequestId, Scope, Task};
    use crate::decision::tests::{Game, SECOND, answer, key, person, question, stamp, under};
    use crate::decision::{About, Choice, Event, Key, Question, Ruling, Standing, Steer};
    use crate::policy::Terms;
    use crate::session::{Act, Rule};

    const ALL_EFFECTS: [&str; 6] =
        ["record-first approved", "changed", "answer 70 approved", "tell approved", "spread", "reply ok"];

    fn ask(question: Question) -> Event {
        Event::Asked(Box::new(under(Terms { widest: Scope::Rule, ..Terms::default() }, question)))
    }

    fn asks(key: Key, slot: u32) -> Event {
        ask(question(key, slot, Ruling::Ask))
    }

    fn allow(request: RequestId, scope: Scope) -> Event {
        let answer = Answer { scope, for_ns: 60 * SECOND, ..answer(Choice::Approve, person()) };
        Event::Replied { call: 1, request, answer }
    }

    /// A game with an approval of the first thread of process 5, in session 1, and its id; the act has passed.
    fn granted(scope: Scope) -> (Game, RequestId) {
        let mut game = Game::new();
        game.play(asks(key(5, 5, 70), 1));
        let id = game.pending()[0];
        assert_eq!(game.play(allow(id, scope))[..6], ALL_EFFECTS);
        game.play(Event::Spread(id));
        game.play(Event::Used(key(5, 5, 70)));
        (game, id)
    }

    /// Whether a thread's next question goes on without a person.
    fn goes_on(game: &mut Game, key: Key, slot: u32) -> bool {
        let effects = game.play(asks(key, slot));
        let goes_on = effects.contains(&format!("answer {} approved", key.question));
        assert_eq!(goes_on, !effects.contains(&"record-first held".to_owned()), "{effects:?}");
        goes_on
    }

    #[test]
    fn an_approval_reaches_as_far_as_was_said() {
        let expected = [
            // the same thread, another of its process, another process, another session
            (Scope::Process, [true, true, false, false]),
            (Scope::Session, [true, true, true, false]),
            (Scope::Rule, [true; 4]),
        ];
        for (scope, expected) in expected {
            let (mut game, id) = granted(scope);
            let asked = [(key(5, 5, 71), 1), (key(5, 6, 72), 1), (key(8, 8, 73), 1), (key(9, 9, 74), 2)];
            assert_eq!(asked.map(|(key, slot)| goes_on(&mut game, key, slot)), expected, "{scope:?}");
            assert_eq!(game.play(Event::Used(key(5, 5, 71))), ["record passed"]);
            assert_eq!(game.state.grant(id).unwrap().used, 1);
            let may = |slot, rule, tgid| game.state.may_go_on(stamp(slot).key, rule, tgid);
            let told = [may(1, "deletes", 5), may(1, "deletes", 8), may(2, "deletes", 9), may(1, "others", 5)];
            assert_eq!(told, [true, expected[2], expected[3], false], "{scope:?}");
        }
        let (mut game, id) = Game::asked(key(5, 5, 70));
        game.play(allow(id, Scope::Once));
        game.play(Event::Used(key(5, 5, 70)));
        assert!(!goes_on(&mut game, key(5, 5, 71), 1) && game.state.grants().next().is_none());
    }

    #[test]
    fn another_rule_is_another_question_and_so_is_a_later_process_of_the_same_number() {
        let with = |change: &dyn Fn(&mut Act)| {
            let mut asked = question(key(5, 5, 71), 1, Ruling::Ask);
            change(Arc::make_mut(&mut asked.act));
            let (mut game, _) = granted(Scope::Process);
            game.play(ask(asked)).contains(&"answer 71 approved".to_owned())
        };
        assert!(with(&|_| {}));
        assert!(!with(&|act| act.rule = Rule::named("others")));
        assert!(!with(&|act| act.process.started = Some(2)));
        assert!(!with(&|act| act.process.started = None));
        assert!(!with(&|act| act.session = None));
    }

    #[test]
    fn what_is_refused_or_passes_anyway_stays_so() {
        let (mut game, _) = granted(Scope::Session);
        let no = question(key(5, 5, 71), 1, Ruling::Refuse("no".to_owned()));
        assert!(game.play(ask(no)).contains(&"answer 71 denied".to_owned()));
        game.play(ask(question(key(5, 5, 72), 1, Ruling::Pass)));
        assert!(game.play(Event::Used(key(5, 5, 72))).is_empty(), "a silent pass is none of the grant's");
    }

    #[test]
    fn what_waits_goes_on_once_the_approval_is_on_record() {
        let mut game = Game::new();
        for (thread, slot) in [(5, 1), (6, 1), (7, 2)] {
            game.play(asks(key(thread, thread, 70 + u64::from(thread)), slot));
        }
        let pending = game.pending();
        let of = |game: &Game, tgid| {
            *pending.iter().find(|id| game.state.request(**id).unwrap().key.task.tgid == tgid).unwrap()
        };
        let (first, second, other) = (of(&game, 5), of(&game, 6), of(&game, 7));
        assert_eq!(
            [Scope::Process, Scope::Session, Scope::Rule].map(|scope| game.state.reached(first, scope)),
            [0, 1, 2]
        );
        game.play(allow(first, Scope::Session));
        assert_eq!(game.standing(second), Some(Standing::Pending), "not before the record is written");
        let effects = game.play(Event::Spread(first));
        assert_eq!(effects[..3], ["record-first approved", "changed", "answer 76 approved"]);
        assert_eq!(game.standing(other), Some(Standing::Pending));
    }

    #[test]
    fn an_approval_that_is_not_on_record_reaches_to_nothing() {
        let (mut game, id) = Game::asked(key(5, 5, 70));
        game.play(allow(id, Scope::Session));
        let effects = game.play(Event::Failed { about: About::Thread(Task { tgid: 5, tid: 5 }), why: "no room" });
        assert!(effects.contains(&"record grantended".to_owned()), "{effects:?}");
        assert!(game.play(Event::Spread(id)).is_empty());
        assert!(!goes_on(&mut game, key(6, 6, 71), 1));
    }

    #[test]
    fn everything_that_ends_an_approval_is_on_record_and_asks_again() {
        let gone = Event::Gone(Task { tgid: 5, tid: 5 });
        let steer = |steer| Event::Steered { call: 2, session: stamp(1), steer, by: person() };
        let ends: [(Event, [bool; 3]); 5] = [
            (gone, [true, false, false]),
            (Event::Ended(stamp(1).key), [true, true, false]),
            (steer(Steer::Halt), [true, true, false]),
            (steer(Steer::Kill), [true, true, false]),
            (Event::PolicyChanged, [true; 3]),
        ];
        for (event, expected) in ends {
            for (scope, ends) in [Scope::Process, Scope::Session, Scope::Rule].into_iter().zip(expected) {
                let (mut game, id) = granted(scope);
                let effects = game.play(event.clone());
                assert_eq!(effects.contains(&"record grantended".to_owned()), ends, "{scope:?} {event:?}");
                assert_eq!(game.state.grant(id).is_none(), ends);
            }
        }
        let (mut game, id) = granted(Scope::Session);
        assert!(game.later(60 * SECOND - 1).is_empty());
        assert_eq!(game.later(1), ["record grantended"]);
        assert!(game.state.grant(id).is_none() && !goes_on(&mut game, key(5, 5, 71), 1));
    }

    #[test]
    fn a_halted_session_goes_on_by_nothing() {
        let (mut game, _) = granted(Scope::Rule);
        game.play(Event::Steered { call: 2, session: stamp(1), steer: Steer::Halt, by: person() });
        assert!(!goes_on(&mut game, key(5, 5, 71), 1) && goes_on(&mut game, key(9, 9, 72), 2));
    }

    #[test]
    fn what_is_revoked_is_refused_unless_it_has_passed() {
        let (mut game, id) = granted(Scope::Session);
        game.play(asks(key(5, 5, 71), 1));
        let revoked = |game: &mut Game| game.play(Event::Revoked { call: 1, grant: id, by: person() });
        assert_eq!(revoked(&mut game), ["record grantended", "answer 71 denied", "reply ok", "resume 5 x1"]);
        assert_eq!(revoked(&mut game), ["reply no grant"]);
        assert!(!goes_on(&mut game, key(6, 6, 72), 1));
    }
}
