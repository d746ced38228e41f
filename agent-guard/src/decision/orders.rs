//! What each turn orders: requests opened and closed, answers left and taken back, words to those who wait.

use std::collections::btree_map::{self, BTreeMap};
use std::sync::Arc;

use agent_guard_common::answer::{Answer, answered};
use agent_guard_common::limits::GRANT_NS;
use agent_guard_common::verdict::Reason;

use super::again::Subject;
use super::effect::{About, Effect, Kept, Notice, Told};
use super::event::{Answer as Answered, Bound, Key, Task};
use super::id::RequestId;
use super::quorum::Consent;
use super::state::{Ending, Phase, REMEMBERED, Request, Standing, Thread, user};
use super::turn::Turn;
use crate::audit::{Entry, Person, What};
use crate::policy::Scope;
use crate::session::SessionKey;

/// Counts down; what has come to nothing is not kept.
fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let btree_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// The word for a scope that is not the usual one.
fn wider(scope: Scope) -> Option<&'static str> {
    (scope != Scope::Once).then(|| scope.word())
}

const NOT_USED: &str = "its approval was not used in time";

impl Turn<'_> {
    /// Makes a thread's question a request.
    pub(super) fn open(&mut self, task: Task, timeout_ns: u64) {
        let id = loop {
            let id = self.state.ids.next();
            if !self.state.requests.contains_key(&id) && !self.state.grants.contains_key(&id) {
                break id;
            }
        };
        let Some(thread) = self.state.threads.get_mut(&task) else { return };
        thread.request = Some(id);
        let deadline = self.now.after(timeout_ns);
        let request = Request {
            id,
            key: Key { task, question: thread.question },
            others: Vec::new(),
            session: thread.session,
            bound: thread.bound,
            act: Arc::clone(&thread.act),
            asked: self.now,
            deadline,
            standing: Standing::Pending,
            consents: Vec::new(),
            ending: None,
            outcome: None,
        };
        self.state.await_answer(request);
        self.state.tally.ask();
        self.audit_thread(task, What::Held, None);
        self.effects.push(Effect::Keep { about: Some(About::Thread(task)), kept: Kept::Request(id) });
        self.tell(task, Told::Held, None);
        self.effects.push(Effect::Changed(id));
    }

    /// Ends a request with an answer to its threads: record, answer, and word to all who wait for it.
    pub(super) fn decide(
        &mut self,
        id: RequestId,
        standing: Standing,
        by: Option<Person>,
        reason: Option<String>,
    ) -> Option<About> {
        let request = self.state.requests.get(&id).filter(|request| request.ending.is_none())?;
        let task = request.key.task;
        let tasks: Vec<Task> = request.keys().map(|key| key.task).collect();
        let about = Some(About::Thread(task));
        if let Some(subject) = self.state.threads.get(&task).map(Subject::of) {
            match standing {
                Standing::Expired => self.state.pauses.begin(subject, self.now.monotonic_ns),
                // Somebody is there, and answers.
                Standing::Approved | Standing::Denied => self.state.pauses.forget(subject),
                Standing::Pending | Standing::Cancelled | Standing::Invalidated => {}
            }
        }
        self.close(id, standing, by, reason.clone(), about);
        let (told, kind) = match standing {
            Standing::Approved => {
                tasks.into_iter().for_each(|task| self.approve(task, false));
                self.tell(task, Told::Approved, reason);
                return about;
            }
            Standing::Expired => (Told::Expired, answered::EXPIRED),
            Standing::Cancelled | Standing::Invalidated => (Told::Refused, answered::CANCELLED),
            Standing::Denied | Standing::Pending => (Told::Refused, answered::DENIED),
        };
        tasks.into_iter().for_each(|task| self.answer(task, kind));
        let why = match kind {
            answered::EXPIRED => Reason::Expired,
            answered::CANCELLED => Reason::Cancelled,
            _ => Reason::Denied,
        };
        let reason = reason.map_or_else(|| why.text().to_owned(), |reason| format!("{}: {reason}", why.text()));
        self.tell(task, told, Some(reason));
        about
    }

    /// Notes a yes that is not enough, on record: without that it would be forgotten, and the request is refused.
    pub(super) fn consent(&mut self, id: RequestId, answer: Answered) -> Option<About> {
        let request = self.state.requests.get_mut(&id)?;
        let Answered { by, reason, scope, for_ns, .. } = answer;
        let (at, reason_given) = (self.now.wall, reason.clone());
        request.consents.push(Consent { by: by.clone(), at, reason: reason_given, scope, for_ns });
        let about = Some(About::Thread(request.key.task));
        let entry = Entry {
            request: Some(id.to_string()),
            question: Some(request.key.question),
            approver: Some(by),
            reason,
            scope: wider(scope),
            act: Some(Arc::clone(&request.act)),
            ..Entry::new(self.now, What::Consented)
        };
        self.effects.push(Effect::Audit { about, entry: Box::new(entry) });
        self.effects.push(Effect::Keep { about, kept: Kept::Request(id) });
        self.effects.push(Effect::Changed(id));
        about
    }

    /// Ends a request, on record.
    pub(super) fn close(
        &mut self,
        id: RequestId,
        standing: Standing,
        by: Option<Person>,
        reason: Option<String>,
        about: Option<About>,
    ) {
        self.settle(id, standing, by.clone(), reason.clone(), about);
        let Some(request) = self.state.requests.get(&id) else { return };
        let (thread, grant) = (self.state.threads.get(&request.key.task), self.state.grants.get(&id));
        let entry = Entry {
            request: Some(id.to_string()),
            question: Some(request.key.question),
            decision: Some(standing.word()),
            approver: by,
            reason,
            grant: thread.and_then(|thread| thread.grant).map(|grant| grant.to_string()),
            scope: grant.and_then(|grant| wider(grant.scope)),
            until: grant.and_then(|grant| grant.until).map(|until| until.wall),
            act: Some(Arc::clone(&request.act)),
            ..Entry::new(self.now, What::Decided)
        };
        self.effects.push(Effect::Audit { about, entry: Box::new(entry) });
        self.effects.push(Effect::Changed(id));
    }

    /// Ends a request in the books, and forgets the oldest that ended.
    pub(super) fn settle(
        &mut self,
        id: RequestId,
        standing: Standing,
        by: Option<Person>,
        reason: Option<String>,
        about: Option<About>,
    ) {
        let Some(request) = self.state.requests.get_mut(&id) else { return };
        let first = request.ending.is_none();
        let took_ns = self.now.monotonic_ns.saturating_sub(request.asked.monotonic_ns);
        self.state.tally.end(request.standing, standing, took_ns);
        request.standing = standing;
        request.ending = Some(Ending { at: self.now.wall, by, reason });
        self.effects.push(Effect::Keep { about, kept: Kept::Request(id) });
        if !first {
            return;
        }
        self.state.deadlines.remove(&(request.deadline.monotonic_ns, id));
        one_less(&mut self.state.pending_of, request.session);
        one_less(&mut self.state.pending_of_user, user(&request.act));
        self.state.ended.push_back(id);
        if self.state.ended.len() > REMEMBERED
            && let Some(oldest) = self.state.ended.pop_front()
        {
            self.state.requests.remove(&oldest);
            self.effects.push(Effect::Keep { about: None, kept: Kept::Forgotten(oldest) });
        }
    }

    /// Refuses a question without asking anybody.
    pub(super) fn refuse(&mut self, task: Task, reason: String) {
        let entry = self.entry(task, What::Decided, Some(reason.clone()));
        let entry = Entry { decision: Some(Standing::Denied.word()), ..entry };
        self.effects.push(Effect::Audit { about: Some(About::Thread(task)), entry: Box::new(entry) });
        self.answer(task, answered::DENIED);
        self.tell(task, Told::Refused, Some(reason));
    }

    /// Leaves an approval for the next seconds.
    pub(super) fn approve(&mut self, task: Task, silent: bool) {
        let lapses_ns = self.now.monotonic_ns.saturating_add(GRANT_NS);
        self.put_answer(task, answered::APPROVED, lapses_ns, Phase::Approved { lapses_ns, used: 0, silent });
        self.state.lapses.insert((lapses_ns, task));
    }

    /// Leaves a refusal, of an [`answered`] kind.
    pub(super) fn answer(&mut self, task: Task, kind: u32) {
        self.put_answer(task, kind, u64::MAX, Phase::Refused(kind));
    }

    pub(super) fn put_answer(&mut self, task: Task, kind: u32, expires_ns: u64, phase: Phase) {
        let Some(thread) = self.state.threads.get_mut(&task) else { return };
        if let Phase::Approved { lapses_ns, .. } = thread.phase {
            self.state.lapses.remove(&(lapses_ns, task));
        }
        thread.phase = phase;
        let key = Key { task, question: thread.question };
        // The first hook that meets a refusal ends the call.
        let Bound { object, argv, name, passes } = thread.bound;
        let uses = if kind == answered::APPROVED { passes } else { 1 };
        let answer = Answer { object, expires_ns, argv, name, kind, uses };
        // One that was asked with another's question goes by that one's record.
        let asked = thread.request.and_then(|id| self.state.requests.get(&id));
        let about = About::Thread(asked.map_or(task, |request| request.key.task));
        self.effects.push(Effect::Answer { key, about, answer });
        self.wake.entry(task.tgid).or_default().push(key);
    }

    /// An approval's life is over. A thread that has used it in part is done; one that has not is told at its
    /// next repeat.
    pub(super) fn lapse(&mut self, task: Task) {
        let Some(thread) = self.state.threads.get_mut(&task) else { return };
        let Phase::Approved { lapses_ns, used, .. } = thread.phase else { return };
        self.state.lapses.remove(&(lapses_ns, task));
        let key = Key { task, question: thread.question };
        self.effects.push(Effect::ForgetAnswer(key));
        if used > 0 {
            self.state.threads.remove(&task);
            return;
        }
        thread.phase = Phase::Lapsed;
        self.tell(task, Told::Refused, Some(NOT_USED.to_owned()));
        self.wake.entry(task.tgid).or_default().push(key);
    }

    pub(super) fn cancel_all(&mut self, session: SessionKey, by: &Person) {
        for task in self.threads_of(session) {
            match self.state.threads.get(&task) {
                Some(Thread { phase: Phase::Waiting, request: Some(id), .. }) => {
                    let id = *id;
                    self.decide(id, Standing::Cancelled, Some(by.clone()), Some("its session was killed".to_owned()));
                }
                // One that was answered just now, with another thread's question, has its answer.
                Some(Thread { phase: Phase::Refused(_), .. }) => {}
                Some(_) => self.void(task, "its session was killed"),
                None => {}
            }
        }
    }

    pub(super) fn threads_of(&self, session: SessionKey) -> Vec<Task> {
        let of = self.state.threads.iter().filter(|(_, thread)| thread.session == session);
        of.map(|(task, _)| *task).collect()
    }

    pub(super) fn drop_thread(&mut self, task: Task) -> Option<Thread> {
        let thread = self.state.threads.remove(&task)?;
        if let Phase::Approved { lapses_ns, .. } = thread.phase {
            self.state.lapses.remove(&(lapses_ns, task));
        }
        Some(thread)
    }

    pub(super) fn entry(&self, task: Task, what: What, reason: Option<String>) -> Entry {
        let thread = self.state.threads.get(&task);
        Entry {
            request: thread.and_then(|thread| thread.request).map(|id| id.to_string()),
            question: thread.map(|thread| thread.question),
            reason,
            grant: thread.and_then(|thread| thread.grant).map(|grant| grant.to_string()),
            act: thread.map(|thread| Arc::clone(&thread.act)),
            ..Entry::new(self.now, what)
        }
    }

    pub(super) fn audit_thread(&mut self, task: Task, what: What, reason: Option<String>) {
        // What has passed or been refused stands; a hold or a pass to come depends on its record.
        let about = match what {
            What::Held | What::Audited => Some(About::Thread(task)),
            _ => None,
        };
        let entry = Box::new(self.entry(task, what, reason));
        self.effects.push(Effect::Audit { about, entry });
    }

    pub(super) fn tell(&mut self, task: Task, told: Told, reason: Option<String>) {
        if let Some(thread) = self.state.threads.get(&task).cloned() {
            self.notify(task, &thread, told, reason);
        }
    }

    pub(super) fn notify(&mut self, task: Task, thread: &Thread, told: Told, reason: Option<String>) {
        let notice = Notice { told, request: thread.request, act: Some(Arc::clone(&thread.act)), reason };
        // Good news waits for its record; a refusal stands in any case.
        let about = (told == Told::Approved).then_some(About::Thread(task));
        self.effects.push(Effect::Notify { session: thread.session, about, notice });
    }
}
