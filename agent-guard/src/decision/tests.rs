//! The protocol as tables: events go in, and the effects are compared as short words.

use std::sync::Arc;

use agent_guard_common::answer::answered;
use agent_guard_common::limits::GRANT_NS;
use agent_guard_common::verdict::Reason;
use jiff::Timestamp;

use super::{
    About, Answer, Bound, Choice, Effect, Event, Key, Outcome, PENDING, PENDING_OF_SESSION, PENDING_OF_USER, Question,
    Rejection, RequestId, Ruling, Standing, State, Steer, Task, step,
};
use crate::audit::{Now, Person, What};
use crate::policy::{Scope, Terms};
use crate::session::{Act, Rule, SessionKey, Stamp, Who, example, plain};

pub(crate) const SECOND: u64 = 1_000_000_000;
const TIMEOUT: u64 = 300 * SECOND;
const START: Now = at(10 * SECOND);

pub(crate) const fn at(monotonic_ns: u64) -> Now {
    Now { monotonic_ns, wall: Timestamp::UNIX_EPOCH }
}

pub(crate) fn stamp(slot: u32) -> Arc<Stamp> {
    let key = SessionKey { slot, serial: 100 + u64::from(slot) };
    Arc::new(Stamp { id: format!("S{slot}"), name: "agent".to_owned(), profile: "autonomous".to_owned(), uid: 7, key })
}

pub(crate) fn key(tgid: u32, tid: u32, question: u64) -> Key {
    Key { task: Task { tgid, tid }, question }
}

pub(crate) fn question(key: Key, slot: u32, ruling: Ruling) -> Question {
    let session = stamp(slot);
    let act = Act {
        session: Some(Arc::clone(&session)),
        label: "production-data".to_owned(),
        rule: Rule::named("deletes"),
        process: Who { started: Some(1), ..plain(key.task.tgid, key.task.tid, 7, "rm".to_owned()) },
        ..example("/srv/prod/db")
    };
    Question {
        key,
        session: session.key,
        bound: Bound { object: 0xabc, argv: 0, name: 0, passes: 1 },
        timeout_ns: TIMEOUT,
        most_a_minute: u32::MAX,
        ruling,
        act: Arc::new(act),
    }
}

/// The same question of a call that passes two hooks.
fn twice(question: Question) -> Question {
    Question { bound: Bound { passes: 2, ..question.bound }, ..question }
}

/// The same question under a rule that demands more of an approval.
pub(crate) fn under(terms: Terms, question: Question) -> Question {
    let mut act = Act::clone(&question.act);
    act.rule.terms = Arc::new(terms);
    Question { act: Arc::new(act), ..question }
}

pub(crate) fn person() -> Person {
    Person { uid: 1000, user: Some("ann".to_owned()), pid: 50 }
}

pub(crate) fn asked(key: Key, ruling: Ruling) -> Event {
    Event::Asked(Box::new(question(key, 1, ruling)))
}

/// A person's answer that says no more than what it answers.
pub(crate) fn answer(choice: Choice, by: Person) -> Answer {
    Answer { choice, by, reason: None, confirmed: None, in_group: false, scope: Scope::Once, for_ns: 0 }
}

pub(crate) fn reply(request: RequestId, choice: Choice) -> Event {
    Event::Replied { call: 1, request, answer: answer(choice, person()) }
}

fn steer(steer: Steer) -> Event {
    Event::Steered { call: 2, session: stamp(1), steer, by: person() }
}

/// An effect in a few words.
fn word(effect: &Effect) -> String {
    match effect {
        Effect::Audit { about, entry } => {
            let what = match entry.what {
                What::Decided => entry.decision.unwrap_or("undecided").to_owned(),
                what => format!("{what:?}").to_lowercase(),
            };
            format!("{} {what}", if about.is_some() { "record-first" } else { "record" })
        }
        Effect::Answer { key, answer, .. } => {
            let kind = match answer.kind {
                answered::APPROVED => "approved",
                answered::DENIED => "denied",
                answered::EXPIRED => "expired",
                answered::CANCELLED => "cancelled",
                _ => "unknown",
            };
            format!("answer {} {kind}", key.question)
        }
        Effect::ForgetAnswer(key) => format!("forget {}", key.question),
        Effect::Resume { tgid, keys } => format!("resume {tgid} x{}", keys.len()),
        Effect::ResumeWhileUnused(key) => format!("resume-while-unused {}", key.question),
        Effect::Notify { notice, .. } => format!("tell {:?}", notice.told).to_lowercase(),
        Effect::Spread { .. } => "spread".to_owned(),
        Effect::Changed(_) => "changed".to_owned(),
        Effect::Keep { .. } => "keep".to_owned(),
        Effect::Reply { outcome: Ok(()), .. } => "reply ok".to_owned(),
        Effect::Reply { outcome: Err(rejection), .. } => match rejection {
            Rejection::Unknown(_) => "reply unknown".to_owned(),
            Rejection::Closed { standing, .. } => format!("reply already {}", standing.word()),
            Rejection::NoGrant(_) => "reply no grant".to_owned(),
            Rejection::Halted(_) => "reply halted".to_owned(),
            Rejection::Short { why, .. } => format!("reply short: {why}"),
        },
        Effect::Halt(_) => "halt".to_owned(),
        Effect::Forget(_) => "forget".to_owned(),
        Effect::Release(_) => "release".to_owned(),
        Effect::Kill(_) => "kill".to_owned(),
    }
}

/// A state with what it takes to play with it.
pub(crate) struct Game {
    pub(crate) state: State,
    pub(crate) now: Now,
}

impl Game {
    pub(crate) fn new() -> Self {
        Self { state: State::new(1), now: START }
    }

    /// A game with one request.
    pub(crate) fn asked(key: Key) -> (Self, RequestId) {
        let mut game = Self::new();
        game.play(asked(key, Ruling::Ask));
        let id = game.pending()[0];
        (game, id)
    }

    pub(crate) fn pending(&self) -> Vec<RequestId> {
        let pending = self.state.requests().filter(|request| request.standing == Standing::Pending);
        pending.map(|request| request.id).collect()
    }

    pub(crate) fn play(&mut self, event: Event) -> Vec<String> {
        let effects = step(&mut self.state, event, self.now);
        // What is kept is `memory`'s to test.
        effects.iter().filter(|effect| !matches!(effect, Effect::Keep { .. })).map(word).collect()
    }

    pub(crate) fn later(&mut self, nanoseconds: u64) -> Vec<String> {
        self.now.monotonic_ns += nanoseconds;
        self.play(Event::Tick)
    }

    pub(crate) fn standing(&self, id: RequestId) -> Option<Standing> {
        self.state.request(id).map(|request| request.standing)
    }
}

pub(crate) const Q: u64 = 70;

#[test]
fn a_question_is_recorded_told_and_waits() {
    let mut game = Game::new();
    assert_eq!(game.play(asked(key(5, 5, Q), Ruling::Ask)), ["record-first held", "tell held", "changed"]);
    assert_eq!((game.state.pending(), game.state.waits(5), game.state.waits(6)), (1, true, false));
}

#[test]
fn each_answer_is_recorded_before_it_is_given_and_the_thread_is_woken_last() {
    let expected = [
        (Choice::Approve, "approved", "approved", "tell approved"),
        (Choice::Deny, "denied", "denied", "tell refused"),
        (Choice::Cancel, "cancelled", "cancelled", "tell refused"),
    ];
    for (choice, decision, answer, told) in expected {
        let (mut game, id) = Game::asked(key(5, 5, Q));
        let effects = game.play(reply(id, choice));
        let decided = format!("record-first {decision}");
        assert_eq!(effects, [&decided, "changed", &format!("answer 70 {answer}"), told, "reply ok", "resume 5 x1"]);
    }
}

#[test]
fn an_approval_names_the_object_and_lives_for_seconds() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    let effects = step(&mut game.state, reply(id, Choice::Approve), START);
    let answer = effects.iter().find_map(|effect| match effect {
        Effect::Answer { answer, .. } => Some(*answer),
        _ => None,
    });
    let answer = answer.expect("is answered");
    assert_eq!((answer.object, answer.expires_ns, answer.uses), (0xabc, START.monotonic_ns + GRANT_NS, 1));
}

#[test]
fn silence_is_a_refusal_of_its_own_kind_from_the_deadline_on() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    assert!(game.later(TIMEOUT - 1).is_empty());
    let expected = ["record-first expired", "changed", "answer 70 expired", "tell expired", "resume 5 x1"];
    assert_eq!(game.later(1), expected);
    assert_eq!(game.standing(id), Some(Standing::Expired));
}

#[test]
fn an_approval_at_the_deadline_comes_too_late() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.now.monotonic_ns += TIMEOUT;
    let effects = game.play(reply(id, Choice::Approve));
    assert!(effects.contains(&"reply already expired".to_owned()), "{effects:?}");
    assert!(!effects.iter().any(|effect| effect.ends_with("approved")), "{effects:?}");
}

#[test]
fn a_second_answer_is_told_who_was_first() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(reply(id, Choice::Deny));
    let effects = step(&mut game.state, reply(id, Choice::Approve), START);
    let [Effect::Reply { outcome: Err(Rejection::Closed { standing, by, at, .. }), .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((*standing, by.as_ref(), *at), (Standing::Denied, Some(&person()), Timestamp::UNIX_EPOCH));
}

#[test]
fn an_unknown_id_is_refused() {
    let mut game = Game::new();
    let id = "7K2M".parse().expect("is an id");
    assert_eq!(game.play(reply(id, Choice::Approve)), ["reply unknown"]);
}

#[test]
fn repeats_are_ignored_until_answered_and_then_wake_only_while_unused() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    assert!(game.play(Event::Repeated(key(5, 5, Q))).is_empty());
    assert!(game.play(asked(key(5, 5, Q), Ruling::Ask)).is_empty(), "the same question is the same request");
    game.play(reply(id, Choice::Approve));
    assert_eq!(game.play(Event::Repeated(key(5, 5, Q))), ["resume-while-unused 70"]);
    assert_eq!(game.play(Event::Used(key(5, 5, Q))), ["record passed"]);
    assert!(game.play(Event::Repeated(key(5, 5, Q))).is_empty());
}

#[test]
fn several_answers_for_one_process_wake_it_once() {
    let mut game = Game::new();
    for tid in 5..8 {
        game.play(asked(key(5, tid, u64::from(tid)), Ruling::Ask));
    }
    let effects = game.later(TIMEOUT);
    let answers = effects.iter().filter(|effect| effect.starts_with("answer")).count();
    let wakes: Vec<usize> = (0..effects.len()).filter(|index| effects[*index].starts_with("resume")).collect();
    assert_eq!((answers, wakes, effects.last().map(String::as_str)), (3, vec![effects.len() - 1], Some("resume 5 x3")));
}

#[test]
fn a_call_that_passes_two_hooks_is_recorded_once() {
    let mut game = Game::new();
    let two = twice(question(key(5, 5, Q), 1, Ruling::Ask));
    game.play(Event::Asked(Box::new(two)));
    game.play(reply(game.pending()[0], Choice::Approve));
    assert_eq!(game.play(Event::Used(key(5, 5, Q))), ["record passed"]);
    assert!(game.state.knows(key(5, 5, Q)));
    assert!(game.play(Event::Used(key(5, 5, Q))).is_empty());
    assert!(!game.state.knows(key(5, 5, Q)));
}

#[test]
fn what_came_of_an_approved_act_is_recorded_with_its_request_and_only_there() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    let done = |error: Option<&str>| Event::Done { key: key(5, 5, Q), error: error.map(str::to_owned) };
    assert!(game.play(done(None)).is_empty(), "nobody has approved it");
    game.play(reply(id, Choice::Approve));
    game.play(Event::Used(key(5, 5, Q)));
    // The thread asks the next thing before anybody hears how the last one ended.
    game.play(asked(key(5, 5, Q + 1), Ruling::Ask));
    assert_eq!(game.play(done(Some("Directory not empty"))), ["record failed", "changed"]);
    let outcome = game.state.request(id).and_then(|request| request.outcome.clone());
    assert_eq!(outcome, Some(Outcome::Failed("Directory not empty".to_owned())));
    assert!(game.play(Event::Done { key: key(6, 6, Q), error: None }).is_empty(), "of another thread");
}

#[test]
fn an_approval_that_is_not_used_lapses_and_is_not_given_again() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(reply(id, Choice::Approve));
    assert_eq!(game.later(GRANT_NS), ["forget 70", "tell refused", "resume 5 x1"]);
    assert_eq!(game.play(Event::Repeated(key(5, 5, Q))), ["answer 70 expired", "resume 5 x1"]);
    assert_eq!(game.play(Event::Refused(key(5, 5, Q), Reason::Expired)), ["record refused", "forget 70"]);
    assert!(game.later(TIMEOUT).is_empty());
}

#[test]
fn an_approval_used_in_part_lapses_quietly() {
    let mut game = Game::new();
    let two = twice(question(key(5, 5, Q), 1, Ruling::Ask));
    game.play(Event::Asked(Box::new(two)));
    game.play(reply(game.pending()[0], Choice::Approve));
    game.play(Event::Used(key(5, 5, Q)));
    assert_eq!(game.later(GRANT_NS), ["forget 70"]);
}

#[test]
fn a_thread_that_asks_something_else_voids_what_it_asked_before() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    let effects = game.play(asked(key(5, 5, Q + 1), Ruling::Ask));
    assert_eq!(effects, ["record invalidated", "changed", "record-first held", "tell held", "changed"]);
    assert_eq!(game.standing(id), Some(Standing::Invalidated));
    let second = game.pending()[0];
    game.play(reply(second, Choice::Approve));
    assert_eq!(game.play(asked(key(5, 5, Q + 2), Ruling::Ask))[0], "forget 71");
}

#[test]
fn what_a_thread_asked_ends_with_it() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    assert_eq!(game.play(Event::Gone(Task { tgid: 5, tid: 5 })), ["record invalidated", "changed"]);
    assert_eq!(game.play(reply(id, Choice::Approve)), ["reply already invalidated"]);
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(reply(id, Choice::Deny));
    assert_eq!(game.play(Event::Gone(Task { tgid: 5, tid: 5 })), ["forget 70"]);
    assert_eq!(game.state.tasks().count(), 0);
}

#[test]
fn what_the_kernel_refuses_by_itself_is_no_longer_asked() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    let effects = game.play(Event::Refused(key(5, 5, Q), Reason::AskedTooOften));
    assert_eq!(effects, ["record refused", "tell refused", "record invalidated", "changed"]);
    assert_eq!(game.standing(id), Some(Standing::Invalidated));
}

#[test]
fn a_command_that_no_pattern_describes_passes_unseen() {
    let mut game = Game::new();
    assert_eq!(game.play(asked(key(5, 5, Q), Ruling::Pass)), ["answer 70 approved", "resume 5 x1"]);
    assert!(game.play(Event::Used(key(5, 5, Q))).is_empty());
    assert_eq!(game.state.requests().count(), 0);
}

#[test]
fn a_command_under_audit_is_recorded_before_it_passes() {
    let mut game = Game::new();
    let effects = game.play(asked(key(5, 5, Q), Ruling::PassAudited));
    assert_eq!(effects, ["record-first audited", "answer 70 approved", "resume 5 x1"]);
}

#[test]
fn what_cannot_be_asked_is_refused_at_once() {
    let mut game = Game::new();
    let effects = game.play(asked(key(5, 5, Q), Ruling::Refuse("its arguments cannot be read".to_owned())));
    assert_eq!(effects, ["record-first denied", "answer 70 denied", "tell refused", "resume 5 x1"]);
    assert_eq!(game.state.pending(), 0);
}

#[test]
fn questions_beyond_the_limits_are_refused_and_counted() {
    let mut game = Game::new();
    let mut number = 0;
    let mut ask = |game: &mut Game, slot: u32, uid: u32| {
        number += 1;
        let key = key(number, number, u64::from(number));
        let question = question(key, slot, Ruling::Ask);
        let session = Some(Arc::new(Stamp { uid, ..Stamp::clone(&stamp(slot)) }));
        let act = Arc::new(Act { session, ..Act::clone(&question.act) });
        game.play(Event::Asked(Box::new(Question { act, ..question })))[0].clone()
    };
    for _ in 0..PENDING_OF_SESSION {
        assert_eq!(ask(&mut game, 0, 0), "record-first held");
    }
    assert_eq!(ask(&mut game, 0, 0), "record-first denied", "one session cannot take all places");
    for place in 0..PENDING_OF_USER {
        assert_eq!(ask(&mut game, 1 + u32::try_from(place % 8).expect("is small"), 7), "record-first held");
    }
    assert_eq!(ask(&mut game, 9, 7), "record-first denied", "nor can one user's");
    for place in PENDING_OF_SESSION + PENDING_OF_USER..PENDING {
        assert_eq!(ask(&mut game, 10 + u32::try_from(place % 8).expect("is small"), 0), "record-first held");
    }
    assert_eq!(ask(&mut game, 20, 8), "record-first denied");
    assert_eq!((game.state.pending(), game.state.crowded_out()), (PENDING, 3));
    game.later(TIMEOUT);
    assert_eq!((game.state.pending(), game.state.pending_of_user(7)), (0, 0));
}

#[test]
fn a_refusal_that_did_not_arrive_is_left_again() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(reply(id, Choice::Deny));
    assert_eq!(game.play(Event::Repeated(key(5, 5, Q))), ["answer 70 denied", "resume 5 x1"]);
    assert_eq!(game.play(Event::Refused(key(5, 5, Q), Reason::Denied)), ["record refused", "forget 70"]);
    assert!(game.play(Event::Repeated(key(5, 5, Q))).is_empty());
}

#[test]
fn a_record_that_cannot_be_written_turns_an_approval_into_a_refusal() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(reply(id, Choice::Approve));
    let effects = game.play(Event::Failed { about: About::Thread(Task { tgid: 5, tid: 5 }), why: "no room" });
    assert_eq!(effects, ["changed", "tell refused", "answer 70 denied", "resume 5 x1"]);
    assert_eq!(game.standing(id), Some(Standing::Denied));
    assert!(game.later(GRANT_NS).is_empty(), "nothing is left to lapse");
}

#[test]
fn a_hold_that_cannot_be_recorded_is_refused() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    let effects = game.play(Event::Failed { about: About::Thread(Task { tgid: 5, tid: 5 }), why: "no room" });
    assert_eq!(effects, ["changed", "tell refused", "answer 70 denied", "resume 5 x1"]);
    assert_eq!((game.standing(id), game.state.pending()), (Some(Standing::Denied), 0));
}

#[test]
fn a_refusal_stays_what_it_was_when_its_record_cannot_be_written() {
    let (mut game, _) = Game::asked(key(5, 5, Q));
    game.later(TIMEOUT);
    let effects = game.play(Event::Failed { about: About::Thread(Task { tgid: 5, tid: 5 }), why: "no room" });
    assert_eq!(effects, ["answer 70 expired", "resume 5 x1"]);
}

#[test]
fn a_session_is_stopped_before_it_is_recorded_and_released_after() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    assert_eq!(game.play(steer(Steer::Halt)), ["halt", "record sessionhalted", "tell halted", "reply ok"]);
    assert_eq!(game.play(reply(id, Choice::Approve)), ["reply halted"]);
    let released = ["record-first sessionresumed", "release", "tell resumed", "reply ok"];
    assert_eq!(game.play(steer(Steer::Resume)), released);
    assert!(game.play(reply(id, Choice::Approve)).contains(&"answer 70 approved".to_owned()));
}

#[test]
fn a_halted_session_can_be_denied_and_expires() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(steer(Steer::Halt));
    assert!(game.play(reply(id, Choice::Deny)).contains(&"answer 70 denied".to_owned()));
    let other = question(key(6, 6, Q), 1, Ruling::Ask);
    let other = Question { bound: Bound { object: 0xdef, ..other.bound }, ..other };
    game.play(Event::Asked(Box::new(other)));
    assert!(game.later(TIMEOUT).contains(&"answer 70 expired".to_owned()));
}

#[test]
fn a_session_whose_release_cannot_be_recorded_stays_halted() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(steer(Steer::Halt));
    game.play(steer(Steer::Resume));
    assert!(game.play(Event::Failed { about: About::Session(stamp(1).key), why: "no room" }).is_empty());
    assert_eq!(game.play(reply(id, Choice::Approve)), ["reply halted"]);
}

#[test]
fn what_a_session_touched_is_forgotten_once_that_is_on_record_and_not_without() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    assert_eq!(game.play(steer(Steer::Forget)), ["record-first credentialsforgotten", "forget", "reply ok"]);
    let about = About::Credentials(stamp(1).key);
    assert!(game.play(Event::Failed { about, why: "no room" }).is_empty());
    // The session itself goes on as it did.
    assert!(game.play(reply(id, Choice::Approve)).contains(&"answer 70 approved".to_owned()));
}

#[test]
fn a_session_found_halted_is_halted() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(Event::FoundHalted(stamp(1).key));
    assert_eq!(game.play(reply(id, Choice::Approve)), ["reply halted"]);
}

#[test]
fn killing_a_session_cancels_what_it_asks_and_voids_what_it_was_granted() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    game.play(asked(key(6, 6, Q + 1), Ruling::Ask));
    game.play(Event::Asked(Box::new(question(key(7, 7, 1), 2, Ruling::Ask))));
    game.play(reply(id, Choice::Approve));
    let effects = game.play(steer(Steer::Kill));
    assert_eq!(effects[..3], ["kill", "record sessionkilled", "forget 70"]);
    assert!(effects.contains(&"answer 71 cancelled".to_owned()), "{effects:?}");
    assert_eq!(game.state.pending(), 1, "the other session's request still waits");
}

#[test]
fn a_session_takes_its_questions_with_it() {
    let (mut game, id) = Game::asked(key(5, 5, Q));
    assert_eq!(game.play(Event::Ended(stamp(1).key)), ["record invalidated", "changed"]);
    assert_eq!((game.standing(id), game.state.tasks().count()), (Some(Standing::Invalidated), 0));
}
