//! Carrying effects out: records first, of all that happened in a turn at once, then answers, then wake-ups. What fails is
//! said as an event.
//!
//! No approval without its record: when a record cannot be written, or what must outlive the daemon cannot be kept, the
//! effects that depend on it are dropped, and `decision` makes refusals of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use agent_guard_common::answer::answered;
use agent_guard_common::session::state;

use super::{Daemon, view};
use crate::api::{Refusal, Reply, types};
use crate::audit::{Entry, What};
use crate::decision::{self, About, CallId, Effect, Event, RequestId, Told, step};
use crate::session::{SessionKey, Stage};
use crate::system::{clock, paths};

const NOT_RECORDED: &str = "the audit log could not be written";
const NOT_KEPT: &str = "the decision could not be kept";
const NOT_DELIVERED: &str = "the answer could not be delivered";

/// An order that was not carried out, though others depend on it.
struct Failed {
    about: About,
    why: &'static str,
}

/// A caller that waits for an effect.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Who answered a request.
    Answer(RequestId, Reply<types::Request>),
    /// Who steered a session.
    Steer(SessionKey, Reply<types::Session>),
    /// Who took a grant back, and how it stood.
    Revoke(Box<types::Grant>, Reply<types::Grant>),
}

/// Whether a record must be on disk before anything goes on: what a process did, or tries once more, is told in any case.
const fn is_durable(what: What) -> bool {
    !matches!(
        what,
        What::Held | What::Passed | What::Done | What::Failed | What::Refused | What::Audited | What::Unreadable
    )
}

impl Daemon {
    /// Lets `decision` have an event. What it orders is carried out at the end of the turn; what takes rights away waits for
    /// nothing.
    pub(super) fn happen(&mut self, event: Event) {
        for effect in step(&mut self.state, event, clock::now()) {
            match effect {
                Effect::Halt(session) => self.halt(session),
                Effect::Kill(session) => self.kill(session),
                effect => self.orders.push(effect),
            }
        }
    }

    /// Appends a record; one of very many alike is counted instead, and appended with them.
    pub(super) fn record(&mut self, entry: &Entry) -> bool {
        !self.folding.take(entry) || self.append(entry)
    }

    /// Appends the records of what was only counted, once they are due.
    pub(super) fn record_folded(&mut self, now_ns: u64) {
        for entry in self.folding.due(now_ns) {
            self.append(&entry);
        }
    }

    fn append(&mut self, entry: &Entry) -> bool {
        self.append_as(entry, is_durable(entry.what))
    }

    fn append_as(&mut self, entry: &Entry, durable: bool) -> bool {
        match self.log.append(entry, durable) {
            Ok(()) => true,
            Err(failure) => {
                tracing::error!(%failure, what = ?entry.what, "a record is lost");
                false
            }
        }
    }

    /// Vouches for all records so far, and says elsewhere how far that is: who cuts the log's end has to cut it there too.
    pub(super) fn checkpoint(&mut self) {
        let head = match self.log.checkpoint(clock::now()) {
            Ok(head) => head,
            Err(failure) => return tracing::error!(%failure, "the audit log has no checkpoint"),
        };
        // What the daemon says is kept by the service manager.
        tracing::info!(%head, "audit log checkpoint");
        let Some(path) = &self.config.head_file else { return };
        let line = format!("{head} {}\n", clock::now().wall);
        let written = paths::open_append(path).map_err(|failure| failure.to_string());
        let written = written.and_then(|mut file| file.write_all(line.as_bytes()).map_err(|error| error.to_string()));
        if let Err(failure) = written {
            tracing::warn!(failure, path = %path.display(), "the audit log's checkpoint is not noted elsewhere");
        }
    }

    /// Ties a caller to the reply that `decision` will order.
    pub(super) fn wait(&mut self, waiting: Waiting) -> CallId {
        self.next_call += 1;
        self.waiting.insert(self.next_call, waiting);
        self.next_call
    }

    /// Carries out what was ordered in this turn, and what is ordered since something of it failed. What depends on that is
    /// dropped; `decision` hears of it before anything else is done.
    pub(super) fn carry_out(&mut self) {
        while !self.orders.is_empty() {
            let orders = std::mem::take(&mut self.orders);
            let mut failed = self.note_down(&orders);
            for (about, why) in &failed {
                self.happen(Event::Failed { about: *about, why });
            }
            for effect in orders {
                if let Some(why) = effect.depends_on().and_then(|about| failed.get(&about)) {
                    if let Effect::Reply { call, .. } = effect {
                        self.reply(call, Err(Refusal::Failed(format!("nothing was approved or released: {why}"))));
                    }
                    continue;
                }
                if let Err(failure) = self.carry_out_one(effect) {
                    failed.insert(failure.about, failure.why);
                    self.happen(Event::Failed { about: failure.about, why: failure.why });
                }
            }
        }
    }

    /// Writes down what was ordered to be: records, and what must outlive the daemon. One wait for the disk each, however
    /// much it is; when this returns it is there, but for what is returned.
    fn note_down(&mut self, orders: &[Effect]) -> BTreeMap<About, &'static str> {
        let mut failed = BTreeMap::new();
        let mut unsynced = BTreeSet::new();
        let mut must_sync = false;
        for order in orders {
            let Effect::Audit { about, entry } = order else { continue };
            must_sync |= is_durable(entry.what);
            // What others depend on is a record by itself.
            let recorded = if about.is_some() { self.append_as(entry, false) } else { self.record(entry) };
            if let (false, Some(about)) = (recorded, about) {
                failed.insert(*about, NOT_RECORDED);
            }
            unsynced.extend(about.filter(|_| is_durable(entry.what)));
        }
        if must_sync && let Err(failure) = self.log.sync() {
            tracing::error!(%failure, "records may be lost");
            failed.extend(unsynced.into_iter().map(|about| (about, NOT_RECORDED)));
        }
        if let Err(abouts) = self.keep(orders, &failed) {
            failed.extend(abouts.into_iter().map(|about| (about, NOT_KEPT)));
        }
        failed
    }

    fn carry_out_one(&mut self, effect: Effect) -> Result<(), Failed> {
        match effect {
            Effect::Answer { key, about, answer } => {
                if let Err(error) = self.kernel.answer(key.into(), answer) {
                    tracing::error!(%error, "an answer cannot be delivered");
                    // Of a refusal nothing weaker is left; its thread asks again, or dies.
                    if answer.kind == answered::APPROVED {
                        return Err(Failed { about, why: NOT_DELIVERED });
                    }
                }
            }
            Effect::ForgetAnswer(key) => {
                self.wakes.settled(key);
                if let Err(error) = self.kernel.forget_answer(key.into()) {
                    tracing::warn!(%error, "an answer cannot be taken back");
                }
            }
            Effect::Resume { tgid, keys } => {
                let ancestors = self.ancestors(tgid);
                self.wakes.answered(tgid, keys, ancestors, clock::monotonic_ns());
            }
            Effect::ResumeWhileUnused(key) => {
                if self.unused(key) {
                    self.wakes.wake(key.task.tgid);
                }
            }
            Effect::Notify { session, notice, .. } => self.tell(session, notice),
            Effect::Spread { grant, .. } => self.happen(Event::Spread(grant)),
            Effect::Changed(id) => self.publish(id),
            Effect::Reply { call, outcome, .. } => self.reply(call, outcome.map_err(view::rejection)),
            Effect::Release(session) => self.release(session),
            // These have been carried out before: written down, or at once.
            Effect::Audit { .. } | Effect::Keep { .. } | Effect::Halt(_) | Effect::Kill(_) => {}
            Effect::Forget(session) => self.forget(session)?,
        }
        Ok(())
    }

    /// Whether an answer still waits in the kernel. What cannot be read counts as waiting: a wake-up harms nobody.
    pub(super) fn unused(&self, key: decision::Key) -> bool {
        self.kernel.answer_pending(key.into()).unwrap_or(true)
    }

    fn tell(&mut self, session: SessionKey, notice: decision::Notice) {
        if let Some(session) = self.sessions.get_mut(session) {
            match notice.told {
                Told::Held => session.counts.held += 1,
                Told::Approved => session.counts.approved += 1,
                Told::Refused | Told::Expired => session.counts.refused += 1,
                Told::Halted | Told::Resumed => {}
            }
            self.notices.tell(session.stamp.key, view::notice(notice));
        }
    }

    fn publish(&self, id: RequestId) {
        if let Some(request) = self.state.request(id)
            && (self.changes.receiver_count() > 0 || self.notifier.has_hooks())
        {
            let shown = std::sync::Arc::new(self.show_request(request));
            self.notifier.tell(clock::now().wall, &shown);
            // That the last one has just left is no error.
            drop(self.changes.send(shown));
        }
    }

    /// A caller that has hung up is no error either.
    fn reply(&mut self, call: CallId, outcome: Result<(), Refusal>) {
        match self.waiting.remove(&call) {
            Some(Waiting::Answer(id, reply)) => {
                let request = outcome.and_then(|()| {
                    let known = self.state.request(id).ok_or(Refusal::UnknownRequest { id: id.to_string() })?;
                    Ok(self.show_request(known))
                });
                drop(reply.send(request));
            }
            Some(Waiting::Steer(key, reply)) => {
                let session = outcome.and_then(|()| {
                    let gone = || Refusal::Conflict("the session has ended".to_owned());
                    Ok(self.show_session(self.sessions.get(key).ok_or_else(gone)?))
                });
                drop(reply.send(session));
            }
            Some(Waiting::Revoke(grant, reply)) => drop(reply.send(outcome.map(|()| *grant))),
            None => {}
        }
    }

    fn halt(&mut self, key: SessionKey) {
        // First the word that parks every gated act, then the freezer, then whoever is out of its reach.
        self.set_state(key, state::HALTED, Stage::Halted);
        let Some(stamp) = self.sessions.stamp(key) else { return };
        if let Err(failure) = self.cgroup(&stamp).freeze() {
            tracing::error!(%failure, "a halted session is stopped process by process");
        }
        self.stop_outside(&[stamp]);
    }

    fn forget(&mut self, key: SessionKey) -> Result<(), Failed> {
        // A slot that is another session's by now is none of this one's.
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        session.touched.clear();
        self.kernel.forget_touched(key.slot).map_err(|error| {
            tracing::error!(%error, "the credentials of a session cannot be forgotten");
            Failed { about: About::Credentials(key), why: NOT_DELIVERED }
        })
    }

    fn release(&mut self, key: SessionKey) {
        self.set_state(key, state::ACTIVE, Stage::Active);
        if let Some(stamp) = self.sessions.stamp(key)
            && let Err(failure) = self.cgroup(&stamp).thaw()
        {
            tracing::error!(%failure, "a session stays frozen");
        }
        // What was parked is stopped, and asks again when it is woken.
        self.wake_session(key);
    }

    fn kill(&mut self, key: SessionKey) {
        if let Some(stamp) = self.sessions.stamp(key)
            && let Err(failure) = self.cgroup(&stamp).kill()
        {
            tracing::error!(%failure, "a session is killed process by process");
        }
        self.doomed.insert(key);
        self.hunt();
    }

    fn set_state(&mut self, key: SessionKey, state: u32, stage: Stage) {
        let record = self
            .kernel
            .sessions()
            .map(|records| records.into_iter().find(|(slot, record)| *slot == key.slot && record.serial == key.serial));
        let written = match record {
            Ok(Some((slot, mut record))) => {
                record.state = state;
                self.kernel.write_session(slot, &record)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.stage = stage;
                }
            }
            Err(error) => tracing::error!(%error, "a session's state cannot be written"),
        }
    }
}
