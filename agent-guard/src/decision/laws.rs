//! What holds in every order of events, tried with random ones.

use std::collections::{BTreeMap, BTreeSet};

use agent_guard_common::answer::answered;
use agent_guard_common::verdict::Reason;
use proptest::prelude::*;

use super::tests::{SECOND, answer, at, key, person, question, stamp, under};
use super::{About, Choice, Effect, Event, Key, RequestId, Ruling, Standing, State, Steer, Task, step};
use crate::audit::{Person, What};
use crate::policy::{Scope, Terms};

/// A random event, in numbers that are made sense of when it is played.
#[derive(Clone, Debug)]
enum Move {
    Ask { task: u32, question: u64, ruling: Ruling, approvers: u8 },
    Repeat { task: u32, question: u64 },
    Use { task: u32, question: u64 },
    KernelRefuses { task: u32, question: u64 },
    Gone { task: u32 },
    Reply { nth: usize, choice: Choice, uid: u32, scope: Scope },
    Revoke { nth: usize },
    PolicyChanges,
    Steer(u32, Steer),
    Ended(u32),
    RecordFails { task: u32 },
    Wait { seconds: u64 },
}

fn moves() -> impl Strategy<Value = Move> {
    let ruling = prop_oneof![
        6 => Just(Ruling::Ask),
        1 => Just(Ruling::Pass),
        1 => Just(Ruling::PassAudited),
        1 => Just(Ruling::Refuse("no".to_owned())),
    ];
    let choice = prop_oneof![3 => Just(Choice::Approve), 1 => Just(Choice::Deny), 1 => Just(Choice::Cancel)];
    let steer = prop_oneof![Just(Steer::Halt), Just(Steer::Resume), Just(Steer::Kill), Just(Steer::Forget)];
    let scope = prop_oneof![4 => Just(Scope::Once), 3 => proptest::sample::select(Scope::ALL)];
    let (task, number) = (0..6_u32, 0..12_u64);
    prop_oneof![
        8 => (task.clone(), number.clone(), ruling, 1..4_u8)
            .prop_map(|(task, question, ruling, approvers)| Move::Ask { task, question, ruling, approvers }),
        3 => (task.clone(), number.clone()).prop_map(|(task, question)| Move::Repeat { task, question }),
        2 => (task.clone(), number.clone()).prop_map(|(task, question)| Move::Use { task, question }),
        1 => (task.clone(), number).prop_map(|(task, question)| Move::KernelRefuses { task, question }),
        1 => task.clone().prop_map(|task| Move::Gone { task }),
        8 => (any::<usize>(), choice, 0..4_u32, scope)
            .prop_map(|(nth, choice, uid, scope)| Move::Reply { nth, choice, uid, scope }),
        1 => any::<usize>().prop_map(|nth| Move::Revoke { nth }),
        1 => Just(Move::PolicyChanges),
        1 => (0..2_u32, steer).prop_map(|(slot, steer)| Move::Steer(slot, steer)),
        1 => (0..2_u32).prop_map(Move::Ended),
        1 => task.prop_map(|task| Move::RecordFails { task }),
        4 => (0..8_u64).prop_map(|seconds| Move::Wait { seconds }),
    ]
}

/// What an onlooker has seen.
#[derive(Default)]
struct Seen {
    now: u64,
    /// Deadlines of the questions that were asked, by their keys.
    deadlines: BTreeMap<Key, u64>,
    /// The last answer of each question.
    answers: BTreeMap<Key, u32>,
    approved: BTreeSet<Key>,
    /// How many people must approve each question that is for people, and who has, as records tell.
    approvers: BTreeMap<Key, u8>,
    consents: BTreeMap<String, BTreeSet<u32>>,
    requests: BTreeSet<RequestId>,
    /// What the kernel has refused by itself.
    refused: BTreeSet<Key>,
    /// Of each session the questions that it has asked.
    sessions: BTreeMap<u64, u32>,
    /// What records tell of approvals that reach further and have not ended: how far, of which process and session, and
    /// until when.
    grants: BTreeMap<String, (&'static str, u32, u32, u64)>,
    /// How requests ended, as records tell.
    endings: BTreeMap<String, &'static str>,
}

const TIMEOUT: u64 = 20 * SECOND;

/// Threads 0 and 1 share a process, 2 and 3 another, and so on; the processes belong to two sessions.
fn place(task: u32, number: u64) -> (Key, u32) {
    let tgid = 10 + task / 2 * 2;
    // A question's id is never used again by another thread: the kernel takes it from its clock.
    (key(tgid, 10 + task, 1 + number * 10 + u64::from(task)), task / 2 % 2)
}

impl Seen {
    /// Whether an approval that is on record, and has not ended, reaches to a question.
    fn covers(&self, key: Key) -> bool {
        let session = self.sessions.get(&key.question).copied();
        let reaches = |(scope, tgid, slot, until): &(&str, u32, u32, u64)| {
            self.now < *until
                && match *scope {
                    "process" => *tgid == key.task.tgid && Some(*slot) == session,
                    "session" => Some(*slot) == session,
                    _ => *scope == "rule",
                }
        };
        self.grants.values().any(reaches)
    }

    fn event(&mut self, state: &State, played: Move) -> Event {
        match played {
            Move::Ask { task, question: number, ruling, approvers } => {
                let (key, slot) = place(task, number);
                if !state.knows(key) {
                    self.deadlines.insert(key, self.now + TIMEOUT);
                    if ruling == Ruling::Ask {
                        self.approvers.insert(key, approvers);
                    }
                    self.sessions.insert(key.question, slot);
                }
                let terms = Terms { approvers, widest: Scope::Rule, ..Terms::default() };
                let asked = under(terms, question(key, slot, ruling));
                // Objects that are asked about again, and others.
                let object = number % 5;
                let bound = super::Bound { object, ..asked.bound };
                Event::Asked(Box::new(super::Question { timeout_ns: TIMEOUT, bound, ..asked }))
            }
            Move::Repeat { task, question } => Event::Repeated(place(task, question).0),
            Move::Use { task, question } => Event::Used(place(task, question).0),
            Move::KernelRefuses { task, question } => {
                let key = place(task, question).0;
                self.refused.insert(key);
                Event::Refused(key, Reason::DaemonGone)
            }
            Move::Gone { task } => Event::Gone(place(task, 0).0.task),
            Move::Revoke { nth } => {
                let known: Vec<RequestId> = state.grants().map(|grant| grant.id).collect();
                match known.len() {
                    0 => Event::Tick,
                    count => Event::Revoked { call: 0, grant: known[nth % count], by: person() },
                }
            }
            Move::PolicyChanges => Event::PolicyChanged,
            Move::Reply { nth, choice, uid, scope } => {
                let known: Vec<RequestId> = state.requests().map(|request| request.id).collect();
                match known.len() {
                    0 => Event::Tick,
                    count => {
                        let answer = answer(choice, Person { uid, ..person() });
                        let answer = super::Answer { scope, for_ns: 5 * SECOND, ..answer };
                        Event::Replied { call: 0, request: known[nth % count], answer }
                    }
                }
            }
            Move::Steer(slot, steer) => Event::Steered { call: 0, session: stamp(slot), steer, by: person() },
            Move::Ended(slot) => Event::Ended(stamp(slot).key),
            Move::RecordFails { task } => Event::Failed { about: About::Thread(place(task, 0).0.task), why: "no room" },
            Move::Wait { seconds } => {
                self.now += seconds * SECOND;
                Event::Tick
            }
        }
    }

    fn check(&mut self, state: &State, effects: &[Effect], silent: bool) {
        let mut recorded: BTreeSet<Task> = BTreeSet::new();
        let mut woken: BTreeSet<u32> = BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Audit { about, entry } => {
                    let allows = entry.decision == Some("approved") || entry.what == What::Audited;
                    if let (Some(About::Thread(task)), true) = (about, allows) {
                        recorded.insert(*task);
                    }
                    if let (Some("approved"), Some(request), Some(scope), Some(question)) =
                        (entry.decision, &entry.request, entry.scope, entry.question)
                    {
                        let tgid = entry.act.as_ref().unwrap().process.pid;
                        let until = if scope == "process" { u64::MAX } else { self.now + 5 * SECOND };
                        let grant = (scope, tgid, self.sessions[&question], until);
                        self.grants.insert(request.clone(), grant);
                    }
                    if entry.what == What::GrantEnded {
                        let grant = entry.grant.as_ref().unwrap();
                        assert!(self.grants.remove(grant).is_some(), "what {grant} allows ends twice");
                    }
                    // What goes on by another's approval needs none of its own.
                    let is_yes =
                        entry.grant.is_none() && (entry.what == What::Consented || entry.decision == Some("approved"));
                    if let (true, Some(request), Some(by)) = (is_yes, &entry.request, &entry.approver) {
                        let is_new = self.consents.entry(request.clone()).or_default().insert(by.uid);
                        assert!(is_new, "user {} approves request {request} twice", by.uid);
                    }
                    if let (What::Decided, Some(request), Some(decision)) = (entry.what, &entry.request, entry.decision)
                    {
                        let before = self.endings.insert(request.clone(), decision);
                        assert_eq!(before, None, "request {request} ended twice");
                    }
                }
                Effect::Answer { key, about, answer } => {
                    assert!(woken.is_empty(), "an answer after a wake-up");
                    if answer.kind == answered::APPROVED {
                        let covered = self.covers(*key);
                        let has_record = matches!(about, About::Thread(task) if recorded.contains(task));
                        assert!(silent || covered || has_record, "an approval without its record");
                        assert!(self.approved.insert(*key), "a second grant for {key:?}");
                        assert!(!self.answers.contains_key(key), "an approval after a refusal of {key:?}");
                        assert!(self.now < self.deadlines[key], "an approval after the deadline of {key:?}");
                        let request = state.requests().find(|request| request.keys().any(|asked| asked == *key));
                        let said = request.and_then(|request| self.consents.get(&request.id.to_string()));
                        let said = said.map_or(0, BTreeSet::len);
                        let needed = self.approvers.get(key).copied().unwrap_or_default();
                        assert!(covered || said >= usize::from(needed), "an approval of {key:?} by {said} people");
                    }
                    self.answers.insert(*key, answer.kind);
                }
                Effect::Resume { tgid, .. } => assert!(woken.insert(*tgid), "process {tgid} is woken twice"),
                Effect::Changed(id) => {
                    self.requests.insert(*id);
                }
                _ => {}
            }
        }
        let pending = state.requests().filter(|request| request.standing == Standing::Pending);
        for request in pending {
            assert!(self.now < request.deadline.monotonic_ns, "{} waits beyond its deadline", request.id);
            assert!(request.ending.is_none() && request.keys().all(|key| state.knows(key)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_every_order_of_events(moves in proptest::collection::vec(moves(), 1..120)) {
        let (mut state, mut seen) = (State::new(3), Seen { now: SECOND, ..Seen::default() });
        let mut asked: BTreeSet<u64> = BTreeSet::new();
        for played in moves {
            // The kernel never gives a question's id twice.
            if let Move::Ask { task, question, .. } = &played {
                let key = place(*task, *question).0;
                if !asked.insert(key.question) && !state.knows(key) {
                    continue;
                }
            }
            let event = seen.event(&state, played);
            let silent = matches!(&event, Event::Asked(question) if question.ruling == Ruling::Pass);
            let effects = step(&mut state, event, at(seen.now));
            seen.check(&state, &effects, silent);
            // The daemon says so once the record is written.
            for effect in effects {
                if let Effect::Spread { grant, .. } = effect {
                    let effects = step(&mut state, Event::Spread(grant), at(seen.now));
                    seen.check(&state, &effects, false);
                }
            }
            let held: BTreeSet<String> = state.grants().map(|grant| grant.id.to_string()).collect();
            prop_assert_eq!(held, seen.grants.keys().cloned().collect());
        }
        // Time ends everything: no request is left pending, each has ended exactly once.
        seen.now += TIMEOUT;
        let effects = step(&mut state, Event::Tick, at(seen.now));
        seen.check(&state, &effects, false);
        prop_assert_eq!(state.pending(), 0);
        for id in &seen.requests {
            let request = state.request(*id).expect("is remembered");
            let recorded = seen.endings.get(&id.to_string()).copied();
            // Without a record it was refused for want of one; nothing else ends unrecorded.
            prop_assert!(recorded == Some(request.standing.word()) || request.standing == Standing::Denied);
            let answer = seen.answers.get(&request.key);
            // A thread that is gone, or asks something else, gets no answer, nor does one that the kernel has refused meanwhile;
            // every other gets one.
            let is_void = request.standing == Standing::Invalidated || seen.refused.contains(&request.key);
            prop_assert!(answer.is_some() || is_void, "{} has no answer", id);
        }
        // Threads that come back are answered whatever they were told before.
        let waiting: Vec<Task> = state.tasks().map(|(task, _)| task).collect();
        for task in waiting {
            prop_assert!(!state.waits(task.tgid));
        }
    }
}
