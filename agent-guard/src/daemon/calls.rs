//! Calls of the API, admitted and carried out one by one. What a caller may see is its scope; nothing else exists.

use super::effects::Waiting;
use super::{Daemon, Done, grants, inforce, view};
use crate::api::authz::{Scope, Standing};
use crate::api::call::{self, Admitted, Call, Incoming, Watch};
use crate::api::{Peer, Refusal, Reply, types};
use crate::audit::{Entry, Person, What};
use crate::decision::{Answer, Choice, Event, RequestId, Steer};
use crate::policy::{Stripping, Variable};
use crate::session::{Session, SessionKey, Stamp};
use crate::system::{clock, user};

/// Characters of a reason that are kept.
const REASON: usize = 1000;

impl Daemon {
    /// Takes one call: where the caller stands is found out now, and not when it connected.
    pub(super) fn call(&mut self, incoming: Incoming) {
        let standing = self.standing(&incoming.peer);
        if let Some(admitted) = incoming.admit(&standing) {
            self.carry_out_call(admitted);
        }
    }

    /// Whether a caller is in a tree. One that is gone, or cannot be asked about, counts as if it were.
    fn standing(&self, peer: &Peer) -> Standing {
        let tag = self.kernel.tag_of(peer.pid);
        match tag {
            Ok(None) if peer.is_alive() => Standing::Free,
            Ok(Some(tag)) if peer.is_alive() => {
                let stamp = self.sessions.stamp(SessionKey { slot: tag.session, serial: tag.serial });
                Standing::Guarded { session: stamp.map(|stamp| stamp.id.clone()) }
            }
            Ok(_) | Err(_) => Standing::Guarded { session: None },
        }
    }

    /// Replies are dropped where the caller has hung up.
    fn carry_out_call(&mut self, admitted: Admitted) {
        let Admitted { peer, scope, call } = admitted;
        // What is shown must outlive the daemon; answers, of which many may come at once, are put on disk together.
        if !matches!(call, Call::Answer { .. }) {
            self.carry_out();
        }
        match call {
            Call::Permission { reply, .. } => drop(reply.send(Ok(()))),
            Call::Status { reply } => drop(reply.send(self.show_status())),
            Call::Metrics { reply } => drop(reply.send(self.count())),
            Call::Requests { filter, reply } => drop(reply.send(Ok(self.show_requests(&filter, &scope)))),
            Call::WatchRequests { filter, reply } => {
                let known = self.show_requests(&filter, &scope);
                drop(reply.send(Ok(Watch { known, changes: self.changes.subscribe(), scope })));
            }
            Call::Request { id, reply } => {
                let found = self.find_request(&id, &scope);
                drop(reply.send(found.map(|(_, request)| request)));
            }
            Call::Answer { id, choice, said, reply } => match self.find_request(&id, &scope) {
                Ok((request, _)) => self.answer(request, choice, said, &peer, reply),
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
            Call::Reach { id, scope: wanted, reply } => drop(reply.send(self.show_reach(&id, wanted, &scope))),
            Call::Grants { reply } => drop(reply.send(Ok(self.show_grants(&scope)))),
            Call::Grant { id, reply } => drop(reply.send(self.find_grant(&id, &scope).map(|(_, grant)| grant))),
            Call::Revoke { id, reply } => self.revoke(&id, &scope, &peer, reply),
            Call::Declare { body, reply } => drop(reply.send(self.declare(&scope, body))),
            Call::Sessions { reply } => {
                let covered = self.sessions.iter().filter(|session| covers(&scope, &session.stamp));
                drop(reply.send(Ok(covered.map(|session| self.show_session(session)).collect())));
            }
            Call::Session { id, reply } => {
                drop(reply.send(self.find_session(&id, &scope).map(|session| self.show_session(session))));
            }
            Call::StartSession { start, reply } => drop(reply.send(self.start_session(&peer, start))),
            Call::Variables { asked, reply } => drop(reply.send(self.show_variables(asked))),
            Call::Adopt { adopt, reply } => self.adopt(&peer, adopt, reply),
            Call::Release { id, reply } => {
                let key = self.find_session(&id, &scope).map(|session| session.stamp.key);
                drop(reply.send(key.and_then(|key| self.release_session(key))));
            }
            Call::Steer { id, steer, reply } => match self.find_session(&id, &scope) {
                Ok(session) => {
                    let stamp = std::sync::Arc::clone(&session.stamp);
                    let call = self.wait(Waiting::Steer(stamp.key, reply));
                    self.happen(Event::Steered { call, session: stamp, steer: steer_of(steer), by: person(&peer) });
                }
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
            Call::Notices { id, reply } => {
                let key = self.find_session(&id, &scope).map(|session| session.stamp.key);
                drop(reply.send(key.map(|key| self.notices.listen(key))));
            }
            Call::PolicyReload { reply } => self.reload(Some(reply)),
        }
    }

    fn answer(
        &mut self,
        request: RequestId,
        choice: call::Choice,
        said: types::AnswerBody,
        peer: &Peer,
        reply: Reply<types::Request>,
    ) {
        let (scope, for_ns) = match grants::reach(&said) {
            Ok(reach) => reach,
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        let call = self.wait(Waiting::Answer(request, reply));
        let group = self.state.request(request).and_then(|request| request.act.rule.terms.group.as_deref());
        let answer = Answer {
            choice: match choice {
                call::Choice::Approve => Choice::Approve,
                call::Choice::Deny => Choice::Deny,
                call::Choice::Cancel => Choice::Cancel,
            },
            by: person(peer),
            reason: said.reason.map(|reason| reason.chars().take(REASON).collect()),
            confirmed: said.confirm,
            in_group: group.zip(peer.user.as_deref()).is_some_and(|(group, user)| user::is_in(user, group)),
            scope,
            for_ns,
        };
        self.happen(Event::Replied { call, request, answer });
    }

    pub(super) fn find_request(&self, id: &str, scope: &Scope) -> Result<(RequestId, types::Request), Refusal> {
        let unknown = || Refusal::UnknownRequest { id: id.to_owned() };
        let number: RequestId = id.parse().map_err(|_not_an_id| unknown())?;
        let known = self.state.request(number).filter(|known| view::is_covered(known, scope));
        Ok((number, self.show_request(known.ok_or_else(unknown)?)))
    }

    fn find_session(&self, id: &str, scope: &Scope) -> Result<&Session, Refusal> {
        let found = self.sessions.find(id).filter(|session| covers(scope, &session.stamp));
        found.ok_or_else(|| Refusal::UnknownSession { id: id.to_owned() })
    }

    /// Those of a command's variables that are credentials.
    fn show_variables(&self, asked: types::Variables) -> Result<Vec<types::Variable>, Refusal> {
        let (profile, _) = self.profile(asked.profile)?;
        let policy = &self.policy.checked;
        let stripping = asked.policy.map_or_else(|| policy.stripping(&profile), stripping_of);
        let shown = |variable: &Variable<'_>| types::Variable {
            name: variable.name.to_owned(),
            environment: variable.environment.name().to_owned(),
            label: variable.label.to_owned(),
            strip: stripping.strips(variable.environment),
        };
        Ok(policy.credentials_among(&asked.names).iter().map(shown).collect())
    }

    /// Reads the policy file again; what comes of it is told to whoever asked, and to the log.
    pub(super) fn reload(&mut self, reply: Option<Reply<types::PolicyStatus>>) {
        self.clockwork.reloading(true);
        let (path, looks, results) = (self.config.policy.clone(), self.looks.clone(), self.results.clone());
        tokio::spawn(async move {
            let prepared = Box::new(inforce::prepare(path, looks).await);
            // A loop that is gone has no policy to replace.
            drop(results.send(Done::Prepared(prepared, reply)).await);
        });
    }

    /// Takes what was done beside the loop.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Gathered(question) => self.gathered(*question),
            Done::Prepared(prepared, reply) => self.prepared(*prepared, reply),
            Done::Looked(places) => self.looked(places),
            Done::Adopted(key, taken, reply) => self.adopted(key, *taken, reply),
        }
    }

    fn prepared(
        &mut self,
        prepared: Result<inforce::Prepared, inforce::Failure>,
        reply: Option<Reply<types::PolicyStatus>>,
    ) {
        let now = clock::now();
        let kept = self.kept();
        let replaced = prepared.and_then(|prepared| self.policy.replace(prepared, &mut self.kernel, kept, now.wall));
        if replaced.is_ok() {
            self.open_all_lookups();
            self.happen(Event::PolicyChanged);
        }
        self.clockwork.reloading(false);
        let (what, reason) = match &replaced {
            Ok(()) => (What::PolicyLoaded, format!("generation {}", self.policy.compiled.generation)),
            Err(failure) => (What::PolicyRefused, failure.to_string()),
        };
        self.record(&Entry { reason: Some(reason.clone()), ..Entry::new(now, what) });
        match &replaced {
            Ok(()) => tracing::info!("the policy was loaded: {reason}"),
            Err(_) => tracing::error!("the policy before stays in force: {reason}"),
        }
        if let Some(reply) = reply {
            let outcome = replaced.map(|()| self.show_policy()).map_err(|failure| self.not_loaded(failure));
            drop(reply.send(outcome));
        }
    }

    /// Why a policy was not loaded, with the sessions that are in its way.
    fn not_loaded(&self, failure: inforce::Failure) -> Refusal {
        let path = self.config.policy.display().to_string();
        let faults = match &failure {
            inforce::Failure::Faults { faults, .. } => faults.iter().map(ToString::to_string).collect(),
            inforce::Failure::Compile(crate::policy::CompileError::ProfileInUse { name }) => {
                let under = self.sessions.iter().filter(|session| session.stamp.profile == *name);
                let names: Vec<&str> = under.map(|session| session.stamp.name.as_str()).collect();
                vec![format!("{failure} (sessions: {})", names.join(", "))]
            }
            _ => vec![failure.to_string()],
        };
        Refusal::BadPolicy { path, faults }
    }
}

fn covers(scope: &Scope, stamp: &Stamp) -> bool {
    scope.covers(&stamp.id, stamp.uid)
}

pub(super) fn person(peer: &Peer) -> Person {
    Person { uid: peer.uid, user: peer.user.clone(), pid: peer.pid }
}

const fn stripping_of(policy: types::EnvPolicy) -> Stripping {
    match policy {
        types::EnvPolicy::Keep => Stripping::Nothing,
        types::EnvPolicy::StripProduction => Stripping::Production,
        types::EnvPolicy::Strip => Stripping::Everything,
    }
}

const fn steer_of(steer: call::Steer) -> Steer {
    match steer {
        call::Steer::Halt => Steer::Halt,
        call::Steer::Resume => Steer::Resume,
        call::Steer::Kill => Steer::Kill,
        call::Steer::Forget => Steer::Forget,
    }
}
