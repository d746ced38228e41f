//! What the kernel tells, on its way up: names are added, and `decision` or the audit log gets it.

use std::sync::Arc;

use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;

use super::gather::{self, Context};
use super::{Daemon, Done, names, view};
use crate::audit::{Entry, What};
use crate::decision::{self, Event, Question, Ruling, Told};
use crate::kernel::events::{Act, KernelEvent};
use crate::kernel::selftest::NOBODY;
use crate::session::{SessionKey, Touch};
use crate::system::{clock, signal};

impl Daemon {
    /// Takes one event of the kernel.
    pub(super) fn kernel_event(&mut self, event: KernelEvent) {
        match event {
            // A repeat that nobody knows was asked before this daemon started: it is asked again.
            KernelEvent::Question(act) | KernelEvent::Repeat(act) => self.question(act),
            KernelEvent::Used(act) => self.used(&act),
            KernelEvent::Refused(act) => self.refused(&act),
            KernelEvent::Audited(act) => self.audit(&act, What::Audited, None),
            KernelEvent::Touched(act) => {
                self.touched(&act);
                self.audit(&act, What::Credentialed, None);
            }
            KernelEvent::Killed(act) => {
                let why = act.reason.text().to_owned();
                self.audit(&act, What::Killed, Some(why.clone()));
                self.tell_refused(&act, why);
            }
            KernelEvent::Done { task, question, errno } => {
                let key = names::key(task, question);
                self.happen(Event::Done { key, error: (errno != 0).then(|| signal::errno_words(errno)) });
            }
            KernelEvent::Ended { session, serial } => self.end_session(SessionKey { slot: session, serial }),
            KernelEvent::Unreadable { bytes, why } => {
                tracing::error!(bytes, why, "an event of the kernel cannot be read");
                let reason = Some(format!("an event of {bytes} bytes: {why}"));
                let entry = Entry { reason, ..Entry::new(clock::now(), What::Unreadable) };
                self.record(&entry);
            }
        }
    }

    /// A question is completed beside the loop; what it takes to know is read from the process that is held.
    fn question(&mut self, event: Act) {
        let key = names::key(event.task, event.question);
        if self.state.knows(key) {
            return self.happen(Event::Repeated(key));
        }
        if self.gathering.has(key) {
            return;
        }
        let act = names::act(&event, &self.policy, &self.sessions, &self.lookups);
        let rule = self.policy.rule(event.generation, event.rule);
        let timeout = rule.map_or_else(|| self.policy.checked.default_timeout(), |rule| rule.timeout);
        let profile = act.session.as_ref().map_or("", |stamp| &stamp.profile);
        let most = self.policy.checked.questions(profile);
        let question = gather::question(&event, act, u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX), most);
        let Some(seats) = self.gathering.begin(key, question.session) else {
            let ruling = Ruling::Refuse("too many requests are waiting".to_owned());
            return self.happen(Event::Asked(Box::new(Question { ruling, ..question })));
        };
        let context = self.context(event, question);
        let results = self.results.clone();
        tokio::spawn(async move {
            let question = gather::gather(context, seats).await;
            // A loop that is gone asks nobody.
            drop(results.send(Done::Gathered(Box::new(question))).await);
        });
    }

    fn context(&self, event: Act, question: Question) -> Context {
        let session = self.sessions.get(question.session);
        let suspicion = matches!(event.operation, Operation::Exec | Operation::Command).then(|| {
            let compiled = self.policy.generation(event.generation).unwrap_or(&self.policy.compiled);
            // A session that is not known has no profile, and what has none is refused.
            let profile = session.map_or(u32::MAX, |session| session.profile_index);
            (Arc::clone(compiled), profile, self.kernel.key())
        });
        let tgid = question.key.task.tgid;
        // Of a whole tree that goes by one approval nobody counts what is left at each file.
        let weighs = !self.state.may_go_on(question.session, &question.act.rule.name, tgid);
        Context {
            weighs,
            root: session.map_or(0, |session| session.root),
            mounts: Arc::clone(&self.policy.places.mounts),
            labelled: Arc::clone(&self.policy.labelled),
            object: event.object,
            question,
            suspicion,
        }
    }

    /// A question is complete: if it is still what its thread asks, it is asked.
    pub(super) fn gathered(&mut self, question: Question) {
        if self.gathering.end(question.key) {
            let question = self.with_intent(question);
            self.happen(Event::Asked(Box::new(question)));
        }
    }

    /// Notes which credential an act has touched, if it is the session's first of its environment. The kernel has acted on
    /// it already: this is for people.
    fn touched(&mut self, event: &Act) {
        let environments: Vec<_> = self.policy.credential(event.generation, event.label).collect();
        if environments.is_empty() {
            return;
        }
        let act = names::shared(event, &self.policy, &self.sessions, &self.lookups);
        let key = SessionKey { slot: event.session, serial: event.serial };
        let Some(session) = self.sessions.get_mut(key) else { return };
        for environment in environments {
            let touch = Touch { act: Arc::clone(&act), at: clock::now().wall };
            session.touched.entry(environment).or_insert(touch);
        }
    }

    fn used(&mut self, event: &Act) {
        let key = names::key(event.task, event.question);
        self.wakes.settled(key);
        if matches!(event.operation, Operation::Create | Operation::Rename | Operation::Link | Operation::Delete) {
            // What was approved may have been the making of a labelled path, or of a directory or link on its way.
            self.clockwork.look_soon();
        }
        if self.state.knows(key) {
            self.happen(Event::Used(key));
        } else {
            // Approved by a daemon before this one: it is on record all the same.
            self.audit(event, What::Passed, None);
        }
    }

    fn refused(&mut self, event: &Act) {
        let key = names::key(event.task, event.question);
        if event.question != 0 {
            self.wakes.settled(key);
            self.gathering.end(key);
            if self.state.knows(key) {
                return self.happen(Event::Refused(key, event.reason));
            }
        }
        let why = event.reason.text().to_owned();
        let what = if event.serial == NOBODY { What::StartCheck } else { What::Refused };
        self.audit(event, what, Some(why.clone()));
        if !matches!(event.reason, Reason::Denied | Reason::Expired | Reason::Cancelled) {
            self.tell_refused(event, why);
        }
    }

    fn audit(&mut self, event: &Act, what: What, reason: Option<String>) {
        let entry = Entry {
            question: (event.question != 0).then_some(event.question),
            reason,
            act: Some(names::shared(event, &self.policy, &self.sessions, &self.lookups)),
            ..Entry::new(clock::now(), what)
        };
        self.record(&entry);
    }

    fn tell_refused(&mut self, event: &Act, why: String) {
        let key = SessionKey { slot: event.session, serial: event.serial };
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.counts.refused += 1;
        let act = names::shared(event, &self.policy, &self.sessions, &self.lookups);
        let reason = act.rule.message.as_ref().map_or(why.clone(), |message| format!("{why}: {message}"));
        let notice = decision::Notice { told: Told::Refused, request: None, act: Some(act), reason: Some(reason) };
        self.notices.tell(key, view::notice(notice));
    }
}
