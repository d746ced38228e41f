//! Approvals that reach further than one act, as calls of the API: what one would take in, which hold, and taking one back.

use super::effects::Waiting;
use super::{Daemon, calls, view};
use crate::api::authz::Scope;
use crate::api::{Peer, Refusal, Reply, types};
use crate::decision::{self, Event, RequestId};
use crate::policy;
use crate::system::clock;

/// The longest time that can be said: a day.
const MOST_SECONDS: u32 = 24 * 3600;

/// What is said of an approval's reach: how far, and for how many nanoseconds.
pub(super) fn reach(said: &types::AnswerBody) -> Result<(policy::Scope, u64), Refusal> {
    let seconds = said.seconds.unwrap_or(types::USUAL_SECONDS);
    if said.seconds.is_some() && !said.scope.is_timed() {
        return Err(Refusal::Unacceptable("only an approval for a session or a rule is for a time".to_owned()));
    }
    if !(1..=MOST_SECONDS).contains(&seconds) {
        return Err(Refusal::Unacceptable(format!(
            "an approval is for {seconds} seconds; expected 1 to {MOST_SECONDS}"
        )));
    }
    let for_ns = if said.scope.is_timed() { u64::from(seconds) * 1_000_000_000 } else { 0 };
    Ok((scope_of(said.scope), for_ns))
}

const fn scope_of(scope: types::ApprovalScope) -> policy::Scope {
    match scope {
        types::ApprovalScope::Once => policy::Scope::Once,
        types::ApprovalScope::Process => policy::Scope::Process,
        types::ApprovalScope::Session => policy::Scope::Session,
        types::ApprovalScope::Rule => policy::Scope::Rule,
    }
}

impl Daemon {
    /// What an approval would take in.
    pub(super) fn show_reach(
        &self,
        id: &str,
        wanted: types::ApprovalScope,
        scope: &Scope,
    ) -> Result<types::Reach, Refusal> {
        let (id, request) = self.find_request(id, scope)?;
        let (operations, labels) = self.policy.checked.held_by(&request.rule.name);
        Ok(types::Reach {
            rule: request.rule.name,
            operations: operations.into_iter().map(|operation| operation.name().to_owned()).collect(),
            labels: labels.into_iter().map(str::to_owned).collect(),
            waiting: self.state.reached(id, scope_of(wanted)) as u64,
            widest: request.approval.widest,
        })
    }

    /// The grants in scope.
    pub(super) fn show_grants(&self, scope: &Scope) -> Vec<types::Grant> {
        let now = clock::now();
        let covered = self.state.grants().filter(|grant| is_covered(grant, scope));
        covered.map(|grant| view::grant(grant, now)).collect()
    }

    /// One of them.
    pub(super) fn find_grant(&self, id: &str, scope: &Scope) -> Result<(RequestId, types::Grant), Refusal> {
        let unknown = || Refusal::UnknownGrant { id: id.to_owned() };
        let number: RequestId = id.parse().map_err(|_not_an_id| unknown())?;
        let grant = self.state.grant(number).filter(|grant| is_covered(grant, scope)).ok_or_else(unknown)?;
        Ok((number, view::grant(grant, clock::now())))
    }

    /// Takes one back.
    pub(super) fn revoke(&mut self, id: &str, scope: &Scope, peer: &Peer, reply: Reply<types::Grant>) {
        match self.find_grant(id, scope) {
            Ok((grant, shown)) => {
                let call = self.wait(Waiting::Revoke(Box::new(shown), reply));
                self.happen(Event::Revoked { call, grant, by: calls::person(peer) });
            }
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }
}

fn is_covered(grant: &decision::Grant, scope: &Scope) -> bool {
    grant.act.session.as_ref().is_some_and(|stamp| scope.covers(&stamp.id, stamp.uid))
}
