//! One turn of `step`: how each event changes the state, and the effects that it leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_guard_common::answer::answered;
use agent_guard_common::verdict::Reason;

use super::again::Subject;
use super::effect::{About, Effect, Kept, Notice, Rejection, Told};
use super::event::{Answer, Bound, CallId, Choice, Key, Question, Ruling, Steer, Task};
use super::id::RequestId;
use super::quorum;
use super::state::{
    Outcome, PENDING, PENDING_OF_SESSION, PENDING_OF_USER, Phase, Request, Standing, State, Thread, user,
};
use crate::audit::{Entry, Now, Person, What};
use crate::session::{Act, SessionKey, Stamp};

/// One turn: the state, the instant, and what has been ordered so far.
pub(super) struct Turn<'a> {
    pub(super) state: &'a mut State,
    pub(super) now: Now,
    pub(super) effects: Vec<Effect>,
    /// Processes to be woken once all answers of this turn are in the kernel.
    pub(super) wake: BTreeMap<u32, Vec<Key>>,
}

impl<'a> Turn<'a> {
    pub(super) const fn new(state: &'a mut State, now: Now) -> Self {
        Self { state, now, effects: Vec::new(), wake: BTreeMap::new() }
    }

    /// The orders: at the very end, one wake-up for each process with answers.
    pub(super) fn finish(mut self) -> Vec<Effect> {
        self.effects.extend(self.wake.into_iter().map(|(tgid, keys)| Effect::Resume { tgid, keys }));
        self.effects
    }

    /// Ends what was due: requests past their deadline, approvals past their life.
    pub(super) fn pass_time(&mut self) {
        let due = |at: u64| at <= self.now.monotonic_ns;
        let expired: Vec<RequestId> =
            self.state.deadlines.iter().take_while(|(at, _)| due(*at)).map(|(_, id)| *id).collect();
        let lapsed: Vec<Task> =
            self.state.lapses.iter().take_while(|(at, _)| due(*at)).map(|(_, task)| *task).collect();
        for id in expired {
            self.decide(id, Standing::Expired, None, None);
        }
        for task in lapsed {
            self.lapse(task);
        }
        let now_ns = self.now.monotonic_ns;
        self.end_grants(|grant| grant.is_over(now_ns), "its time is over");
    }

    /// A new question of a thread: whatever it asked before is void.
    pub(super) fn ask(&mut self, question: Question) {
        let Key { task, question: number } = question.key;
        if self.state.knows(question.key) {
            return self.repeat(question.key);
        }
        self.void(task, "its thread asks something else now");
        let crowded = self.crowded(question.session, &question.act);
        let stamp = question.act.session.clone();
        let thread = Thread {
            question: number,
            session: question.session,
            bound: Bound { passes: question.bound.passes.max(1), ..question.bound },
            act: question.act,
            request: None,
            grant: None,
            phase: Phase::Waiting,
        };
        let grant = self.granting(task, &thread);
        let same = self.asked_already(task, &thread);
        let pause = self.state.pauses.left(Subject::of(&thread), self.now.monotonic_ns);
        self.state.threads.insert(task, thread);
        if let Some(kind) = self.state.left.remove(&question.key) {
            return self.answer(task, kind);
        }
        match question.ruling {
            Ruling::Ask if let Some(grant) = grant => self.go_on_by(task, grant),
            Ruling::Ask if let Some(seconds) = pause => {
                self.refuse(task, format!("it was asked, and nobody answered: people are asked again in {seconds} s"));
            }
            Ruling::Ask if let Some(request) = same => self.join(task, request),
            Ruling::Ask if crowded => {
                self.state.crowded_out += 1;
                self.refuse(task, "too many requests are waiting".to_owned());
            }
            Ruling::Ask => {
                self.open(task, question.timeout_ns);
                self.asks(question.session, question.most_a_minute, stamp);
            }
            Ruling::Pass => self.approve(task, true),
            Ruling::PassAudited => {
                self.audit_thread(task, What::Audited, None);
                self.approve(task, true);
            }
            Ruling::Refuse(reason) => self.refuse(task, reason),
        }
    }

    /// Counts a question that people are asked. A session that asks too often is halted: whether it goes on is asked instead,
    /// once. A session that nobody knows cannot be.
    fn asks(&mut self, session: SessionKey, most: u32, stamp: Option<Arc<Stamp>>) {
        let asks_too_often = self.state.askers.asks(session, most, self.now.monotonic_ns);
        let Some(stamp) = stamp.filter(|_| asks_too_often && !self.state.halted.contains_key(&session)) else { return };
        let why = format!("it asked more than {most} questions in a minute");
        self.state.halted.insert(session, Some(why.clone()));
        self.end_grants(|grant| grant.ends_with_session(session), "its session was halted");
        let entry =
            Entry { session: Some(stamp), reason: Some(why.clone()), ..Entry::new(self.now, What::SessionHalted) };
        let notice = Notice { told: Told::Halted, request: None, act: None, reason: Some(why) };
        self.effects.extend([
            Effect::Halt(session),
            Effect::Audit { about: None, entry: Box::new(entry) },
            Effect::Notify { session, about: None, notice },
        ]);
    }

    /// The same question again: a stray wake-up, a sibling's answer, or a thread that was late.
    pub(super) fn repeat(&mut self, key: Key) {
        if !self.state.knows(key) {
            return;
        }
        match self.state.threads.get(&key.task).map(|thread| thread.phase) {
            None | Some(Phase::Waiting) => {}
            Some(Phase::Approved { .. }) => self.effects.push(Effect::ResumeWhileUnused(key)),
            // A refusal may have found no room; twice is as good as once.
            Some(Phase::Refused(kind)) => self.answer(key.task, kind),
            Some(Phase::Lapsed) => self.answer(key.task, answered::EXPIRED),
        }
    }

    /// The kernel let the act pass.
    pub(super) fn used(&mut self, key: Key) {
        let Some(thread) = self.state.threads.get_mut(&key.task).filter(|thread| thread.question == key.question)
        else {
            return;
        };
        let passes = thread.bound.passes;
        let Phase::Approved { used, silent, .. } = &mut thread.phase else { return };
        *used += 1;
        let (first, last, silent) = (*used == 1, *used >= passes, *silent);
        if first && let Some(grant) = thread.grant.and_then(|id| self.state.grants.get_mut(&id)) {
            grant.used += 1;
            self.effects.push(Effect::Keep { about: None, kept: Kept::Grant(grant.id) });
        }
        if first && !silent {
            self.audit_thread(key.task, What::Passed, None);
        }
        if last {
            self.drop_thread(key.task);
        }
    }

    /// An approved act has ended. Its thread may ask the next thing already.
    pub(super) fn done(&mut self, key: Key, error: Option<String>) {
        let of_question =
            |request: &&mut Request| request.standing == Standing::Approved && request.keys().any(|asked| asked == key);
        let Some(request) = self.state.requests.values_mut().find(of_question) else { return };
        let id = request.id;
        let entry = Entry {
            request: Some(id.to_string()),
            question: Some(key.question),
            reason: error.clone(),
            act: Some(Arc::clone(&request.act)),
            ..Entry::new(self.now, if error.is_none() { What::Done } else { What::Failed })
        };
        request.outcome = Some(error.map_or(Outcome::Done, Outcome::Failed));
        self.effects.push(Effect::Audit { about: None, entry: Box::new(entry) });
        self.effects.push(Effect::Keep { about: None, kept: Kept::Request(id) });
        self.effects.push(Effect::Changed(id));
    }

    /// The kernel refused the act, by our answer or for a reason of its own.
    pub(super) fn refused(&mut self, key: Key, reason: Reason) {
        if !self.state.knows(key) {
            return;
        }
        self.audit_thread(key.task, What::Refused, Some(reason.text().to_owned()));
        let Some(thread) = self.drop_thread(key.task) else { return };
        if matches!(thread.phase, Phase::Refused(_) | Phase::Approved { .. }) {
            // One that was left twice is still there once; and an approval may cross a refusal of the kernel's own.
            self.effects.push(Effect::ForgetAnswer(key));
        }
        if let (Phase::Waiting, Some(request)) = (thread.phase, thread.request)
            && !self.leave(key.task, request)
        {
            // While no daemon ran, its time ran out.
            let standing = if reason == Reason::DaemonGone { Standing::Expired } else { Standing::Invalidated };
            let reason = reason.text().to_owned();
            self.notify(key.task, &thread, Told::Refused, Some(reason.clone()));
            self.close(request, standing, None, Some(reason), None);
        }
    }

    /// Whatever a thread asked is void: it is gone, or asks something else.
    pub(super) fn void(&mut self, task: Task, why: &str) {
        let Some(thread) = self.drop_thread(task) else { return };
        match (thread.phase, thread.request) {
            (Phase::Waiting, Some(request)) if self.leave(task, request) => {}
            (Phase::Waiting, Some(request)) => {
                self.close(request, Standing::Invalidated, None, Some(why.to_owned()), None);
            }
            (Phase::Approved { .. } | Phase::Refused(_), _) => {
                self.effects.push(Effect::ForgetAnswer(Key { task, question: thread.question }));
            }
            (Phase::Waiting | Phase::Lapsed, _) => {}
        }
    }

    /// A person's answer.
    pub(super) fn reply(&mut self, call: CallId, id: RequestId, answer: Answer) {
        if let Some(rejection) = self.objection(id, &answer) {
            self.effects.push(Effect::Reply { call, about: None, outcome: Err(rejection) });
            return;
        }
        let about = match answer.choice {
            Choice::Approve if self.state.requests.get(&id).is_some_and(quorum::is_enough) => self.grant(id, answer),
            Choice::Approve => self.consent(id, answer),
            Choice::Deny => self.decide(id, Standing::Denied, Some(answer.by), answer.reason),
            Choice::Cancel => self.decide(id, Standing::Cancelled, Some(answer.by), answer.reason),
        };
        self.effects.push(Effect::Reply { call, about, outcome: Ok(()) });
    }

    /// Something done to a session as a whole. What takes rights away is done before it is recorded.
    pub(super) fn steer(&mut self, call: CallId, session: Arc<Stamp>, steer: Steer, by: &Person) {
        let key = session.key;
        let about = match steer {
            Steer::Resume => Some(About::Session(key)),
            Steer::Forget => Some(About::Credentials(key)),
            Steer::Halt | Steer::Kill => None,
        };
        let what = match steer {
            Steer::Halt => What::SessionHalted,
            Steer::Resume => What::SessionResumed,
            Steer::Kill => What::SessionKilled,
            Steer::Forget => What::CredentialsForgotten,
        };
        let entry = Entry { approver: Some(by.clone()), session: Some(session), ..Entry::new(self.now, what) };
        let audit = Effect::Audit { about, entry: Box::new(entry) };
        let whole = |told| Notice { told, request: None, act: None, reason: None };
        match steer {
            Steer::Halt => {
                self.state.halted.insert(key, None);
                self.end_grants(|grant| grant.ends_with_session(key), "its session was halted");
                let notice = Effect::Notify { session: key, about, notice: whole(Told::Halted) };
                self.effects.extend([Effect::Halt(key), audit, notice]);
            }
            Steer::Resume => {
                self.state.halted.remove(&key);
                self.state.askers.forget(key);
                let notice = Effect::Notify { session: key, about, notice: whole(Told::Resumed) };
                self.effects.extend([audit, Effect::Release(key), notice]);
            }
            Steer::Kill => {
                self.effects.extend([Effect::Kill(key), audit]);
                self.cancel_all(key, by);
                self.end_grants(|grant| grant.ends_with_session(key), "its session was killed");
            }
            Steer::Forget => self.effects.extend([audit, Effect::Forget(key)]),
        }
        self.effects.push(Effect::Reply { call, about, outcome: Ok(()) });
    }

    pub(super) fn found_halted(&mut self, session: SessionKey) {
        self.state.halted.entry(session).or_default();
    }

    /// What a daemon before this one has left was over when this one came: nobody can answer it, and it allows nothing.
    pub(super) fn unheld(&mut self, id: RequestId, why: &str) {
        self.end_grants(|grant| grant.id == id, why);
        let Some(request) = self.state.requests.get(&id).filter(|request| request.ending.is_none()) else { return };
        for key in request.keys().collect::<Vec<_>>() {
            self.drop_thread(key.task);
        }
        self.close(id, Standing::Expired, None, Some(why.to_owned()), None);
    }

    /// A session's last task is gone.
    pub(super) fn end(&mut self, session: SessionKey) {
        for task in self.threads_of(session) {
            self.void(task, "its session has ended");
        }
        self.state.halted.remove(&session);
        self.state.askers.forget(session);
        self.state.pauses.forget_session(session);
        self.end_grants(|grant| grant.ends_with_session(session), "its session has ended");
    }

    /// A thread is gone; with the first one of a process all of it.
    pub(super) fn gone(&mut self, task: Task) {
        self.void(task, "its process is gone");
        if task.tid == task.tgid {
            self.end_grants(|grant| grant.ends_with(task), "its process is gone");
        }
    }

    /// An order could not be carried out: a question becomes a refusal, and a session stays halted.
    pub(super) fn failed(&mut self, about: About, why: &str) {
        let task = match about {
            About::Thread(task) => task,
            About::Session(session) => return self.found_halted(session),
            // It has touched what it has touched.
            About::Credentials(_) => return,
        };
        let Some(request) = self.state.threads.get(&task).map(|thread| thread.request) else { return };
        let mut tasks = vec![task];
        if let Some(id) = request {
            let asked = self.state.requests.get(&id).into_iter().flat_map(Request::keys);
            // One that asks something else by now has its own record.
            let still = asked.filter(|key| key.task != task && self.state.knows(*key));
            tasks.extend(still.map(|key| key.task));
            let refused = |thread: &Thread| matches!(thread.phase, Phase::Refused(_));
            if !self.state.threads.get(&task).is_some_and(refused) {
                self.end_grants(|grant| grant.id == id, why);
                self.settle(id, Standing::Denied, None, Some(why.to_owned()), None);
                self.effects.push(Effect::Changed(id));
            }
        }
        for task in tasks {
            self.refuse_unrecorded(task, why);
        }
    }

    fn refuse_unrecorded(&mut self, task: Task, why: &str) {
        match self.state.threads.get(&task).map(|thread| thread.phase) {
            None => {}
            Some(Phase::Refused(kind)) => self.answer(task, kind),
            Some(Phase::Waiting | Phase::Approved { .. } | Phase::Lapsed) => {
                self.tell(task, Told::Refused, Some(why.to_owned()));
                self.answer(task, answered::DENIED);
            }
        }
    }

    /// Why a person's answer cannot be taken.
    fn objection(&self, id: RequestId, answer: &Answer) -> Option<Rejection> {
        let Some(request) = self.state.requests.get(&id) else { return Some(Rejection::Unknown(id)) };
        if let Some(ending) = &request.ending {
            return Some(Rejection::Closed {
                request: id,
                standing: request.standing,
                at: ending.at,
                by: ending.by.clone(),
                reason: ending.reason.clone(),
            });
        }
        if answer.choice != Choice::Approve {
            return None;
        }
        if self.state.halted.contains_key(&request.session) {
            return Some(Rejection::Halted(id));
        }
        quorum::shortfall(request, answer).map(|why| Rejection::Short { request: id, why })
    }

    /// Whether there is no room for another request of this session, or of its user.
    fn crowded(&self, session: SessionKey, act: &Act) -> bool {
        let user = user(act);
        self.state.pending() >= PENDING
            || self.state.pending_of(session) >= PENDING_OF_SESSION
            || user != 0 && self.state.pending_of_user(user) >= PENDING_OF_USER
    }
}
