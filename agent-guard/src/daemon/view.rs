//! What the API shows of the daemon's state. It must not change any of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_guard_common::credential::Environment;
use jiff::Timestamp;

use super::Daemon;
use crate::api::authz::Scope;
use crate::api::call::Unwritten;
use crate::api::refusal::Refusal;
use crate::api::types;
use crate::audit::{Now, Person};
use crate::decision::{self, Consent, Ending, Outcome, Rejection, Shortfall, Standing, Told};
use crate::policy::{self, Terms};
use crate::session::{self, Act, Intent, Said, Stage, Stamp, tier_word};
use crate::system::{clock, host, signal, user};

/// What is known of a request apart from its act, which is kept for it elsewhere.
struct Outline {
    id: decision::RequestId,
    standing: Standing,
    threads: u64,
    asked: Timestamp,
    expires: Timestamp,
    left_ms: u64,
    consents: Vec<Consent>,
    ending: Option<Ending>,
    outcome: Option<Outcome>,
    /// The name of the user who asks.
    user: Option<String>,
    /// What its session has touched.
    credentials: Vec<types::Credential>,
}

impl Outline {
    fn of(request: &decision::Request, user: Option<String>, credentials: Vec<types::Credential>, now: Now) -> Self {
        let left_ns = match request.standing {
            Standing::Pending => request.deadline.monotonic_ns.saturating_sub(now.monotonic_ns),
            _ => 0,
        };
        Self {
            id: request.id,
            standing: request.standing,
            threads: request.keys().count() as u64,
            asked: request.asked.wall,
            expires: request.deadline.wall,
            left_ms: left_ns / 1_000_000,
            consents: request.consents.clone(),
            ending: request.ending.clone(),
            outcome: request.outcome.clone(),
            user,
            credentials,
        }
    }

    fn with(&self, act: &Act) -> types::Request {
        types::Request {
            id: self.id.to_string(),
            state: state(self.standing),
            session: act.session.as_deref().map_or_else(nobody, session_ref),
            operation: act.operation.name().to_owned(),
            object: act.object.clone(),
            other: act.other.clone(),
            cut: act.cut,
            label: act.label.clone(),
            rule: types::RuleRef { name: act.rule.name.clone(), message: act.rule.message.clone() },
            tier: tier_word(act.tier).to_owned(),
            process: process(&act.process, self.user.clone()),
            threads: self.threads,
            impact: act.impact.map(|impact| types::Impact {
                files: impact.files,
                bytes: impact.bytes,
                complete: impact.complete,
            }),
            sent: act.sent,
            credentials: self.credentials.clone(),
            intent: act.intent.as_deref().map(intent),
            approval: approval(&act.rule.terms, &self.consents),
            asked_at: self.asked,
            expires_at: self.expires,
            left_ms: self.left_ms,
            decision: self.ending.as_ref().map(ending),
            outcome: self.outcome.as_ref().map(outcome),
        }
    }
}

/// What an agent has said of an act.
pub(super) fn intent(intent: &Intent) -> types::Intent {
    let Said { why, alternatives, rollback, covers } = intent.said.clone();
    let lacks = [(alternatives.is_empty(), "alternatives"), (rollback.is_none(), "rollback")];
    let lacks = lacks.into_iter().filter(|(is_missing, _)| *is_missing).map(|(_, what)| what.to_owned()).collect();
    types::Intent { why, alternatives, rollback, covers, at: intent.at, lacks }
}

/// What an approval takes, and who has said yes so far.
fn approval(terms: &Terms, consents: &[Consent]) -> types::Approval {
    let consent = |consent: &Consent| types::Consent {
        uid: consent.by.uid,
        user: consent.by.user.clone(),
        at: consent.at,
        reason: consent.reason.clone(),
    };
    types::Approval {
        approvers: terms.approvers,
        group: terms.group.clone(),
        demands: terms.demands.iter().map(|demand| demand.word().to_owned()).collect(),
        widest: scope(terms.widest),
        consents: consents.iter().map(consent).collect(),
    }
}

fn process(who: &session::Who, user: Option<String>) -> types::Process {
    let ancestor = |ancestor: &session::Ancestor| types::Ancestor {
        pid: ancestor.pid,
        comm: ancestor.comm.clone(),
        argv: ancestor.argv.clone(),
    };
    types::Process {
        pid: who.pid,
        tid: who.tid,
        uid: who.uid,
        user,
        comm: who.comm.clone(),
        argv: who.argv.clone(),
        cwd: who.cwd.clone(),
        ancestry: who.ancestry.iter().map(ancestor).collect(),
    }
}

/// What stands for a session that is not known: no scope but the whole covers it.
fn nobody() -> types::SessionRef {
    types::SessionRef { id: String::new(), name: String::new(), profile: String::new(), uid: u32::MAX }
}

/// Whether a request is in scope.
pub(super) fn is_covered(request: &decision::Request, scope: &Scope) -> bool {
    request.act.session.as_ref().map_or(*scope == Scope::Everything, |stamp| scope.covers(&stamp.id, stamp.uid))
}

fn is_wanted(request: &decision::Request, filter: &types::RequestFilter) -> bool {
    let (id, name) = request.act.session.as_ref().map_or(("", ""), |stamp| (&stamp.id, &stamp.name));
    filter.wants_one_of(state(request.standing), id, name)
}

/// A session's names.
pub(super) fn session_ref(stamp: &Stamp) -> types::SessionRef {
    types::SessionRef { id: stamp.id.clone(), name: stamp.name.clone(), profile: stamp.profile.clone(), uid: stamp.uid }
}

const fn state(standing: Standing) -> types::RequestState {
    match standing {
        Standing::Pending => types::RequestState::Pending,
        Standing::Approved => types::RequestState::Approved,
        Standing::Denied => types::RequestState::Denied,
        Standing::Expired => types::RequestState::Expired,
        Standing::Cancelled => types::RequestState::Cancelled,
        Standing::Invalidated => types::RequestState::Invalidated,
    }
}

fn outcome(outcome: &Outcome) -> types::Outcome {
    let error = match outcome {
        Outcome::Done => None,
        Outcome::Failed(why) => Some(why.clone()),
    };
    types::Outcome { done: error.is_none(), error }
}

fn ending(ending: &Ending) -> types::Decision {
    decision(ending.at, ending.by.as_ref(), ending.reason.clone())
}

fn decision(at: Timestamp, by: Option<&Person>, reason: Option<String>) -> types::Decision {
    let (uid, user) = (by.map(|person| person.uid), by.and_then(|person| person.user.clone()));
    types::Decision { uid, user, at, reason }
}

const fn scope(scope: policy::Scope) -> types::ApprovalScope {
    match scope {
        policy::Scope::Once => types::ApprovalScope::Once,
        policy::Scope::Process => types::ApprovalScope::Process,
        policy::Scope::Session => types::ApprovalScope::Session,
        policy::Scope::Rule => types::ApprovalScope::Rule,
    }
}

/// An approval that reaches further.
pub(super) fn grant(grant: &decision::Grant, now: Now) -> types::Grant {
    let act = &grant.act;
    let left = |until: Now| until.monotonic_ns.saturating_sub(now.monotonic_ns) / 1_000_000;
    types::Grant {
        id: grant.id.to_string(),
        scope: scope(grant.scope),
        session: act.session.as_deref().map_or_else(nobody, session_ref),
        pid: act.process.pid,
        comm: act.process.comm.clone(),
        operation: act.operation.name().to_owned(),
        object: act.object.clone(),
        rule: types::RuleRef { name: act.rule.name.clone(), message: act.rule.message.clone() },
        approved: decision(grant.at.wall, Some(&grant.by), grant.reason.clone()),
        until: grant.until.map(|until| until.wall),
        left_ms: grant.until.map(left),
        used: grant.used,
    }
}

/// Why an answer was not taken.
pub(super) fn rejection(rejection: Rejection) -> Refusal {
    match rejection {
        Rejection::Unknown(id) => Refusal::UnknownRequest { id: id.to_string() },
        Rejection::Closed { request, standing, at, by, reason } => Refusal::AlreadyDecided {
            id: request.to_string(),
            state: state(standing),
            decision: decision(at, by.as_ref(), reason),
        },
        Rejection::NoGrant(id) => Refusal::UnknownGrant { id: id.to_string() },
        Rejection::Halted(_) => Refusal::Conflict(rejection.to_string()),
        Rejection::Short { ref why, .. } => {
            let text = rejection.to_string();
            match why {
                Shortfall::OwnSession(_) | Shortfall::NotInGroup { .. } => Refusal::MayNotApprove(text),
                Shortfall::Again(_) | Shortfall::OtherScope(_) => Refusal::Conflict(text),
                Shortfall::NoReason | Shortfall::NotConfirmed | Shortfall::TooWide(_) | Shortfall::NoProcess => {
                    Refusal::Unacceptable(text)
                }
            }
        }
    }
}

/// Bytes of each text of a notice: hundreds of them may wait for a keeper, which shows less.
const NOTICE_BYTES: usize = 1024;

/// A line for a session's user.
pub(super) fn notice(notice: decision::Notice) -> types::Notice {
    let act = notice.act;
    let kind = match notice.told {
        Told::Held => types::NoticeKind::Held,
        Told::Refused => types::NoticeKind::Refused,
        Told::Expired => types::NoticeKind::Expired,
        Told::Approved => types::NoticeKind::Approved,
        Told::Halted => types::NoticeKind::Halted,
        Told::Resumed => types::NoticeKind::Resumed,
    };
    let message = act.as_ref().and_then(|act| act.rule.message.clone());
    let brief = |text: String| session::cut(text, NOTICE_BYTES);
    types::Notice {
        kind,
        pid: act.as_ref().map(|act| act.process.pid),
        request: notice.request.map(|id| id.to_string()),
        operation: act.as_ref().map(|act| act.operation.name().to_owned()),
        object: act.as_ref().map(|act| brief(act.object.clone())),
        reason: notice.reason.or(message).map(brief),
    }
}

/// The last line for a session's user.
pub(super) const fn ended() -> types::Notice {
    let kind = types::NoticeKind::Ended;
    types::Notice { kind, pid: None, request: None, operation: None, object: None, reason: None }
}

impl Daemon {
    /// A session.
    pub(super) fn show_session(&self, session: &session::Session) -> types::Session {
        let key = session.stamp.key;
        let stage = match session.stage {
            Stage::Active if !session.executed => types::SessionState::Starting,
            Stage::Active => types::SessionState::Active,
            Stage::Halted => types::SessionState::Halted,
        };
        types::Session {
            id: session.stamp.id.clone(),
            name: session.stamp.name.clone(),
            profile: session.stamp.profile.clone(),
            state: stage,
            halted: self.state.why_halted(key).map(str::to_owned),
            uid: session.stamp.uid,
            user: user::name_of(session.stamp.uid),
            root_pid: session.root,
            argv: session.argv.clone(),
            cwd: session.cwd.clone(),
            started_at: session.started,
            // A figure to look at: a map that cannot be read is told of by `status`.
            tasks: self.kernel.session_tasks(key.slot).unwrap_or_default(),
            pending: self.state.pending_of(key) as u64,
            outcomes: self.kernel.outcomes(key.slot).map(outcomes).unwrap_or_default(),
            credentials: self.show_credentials(Some(session)),
            cgroup: Some(self.cgroup(&session.stamp).path().display().to_string()),
        }
    }

    /// The requests in scope that a filter wants, the oldest first.
    pub(super) fn show_requests(&self, filter: &types::RequestFilter, scope: &Scope) -> Vec<Unwritten> {
        let now = clock::now();
        let wanted = |known: &&decision::Request| is_covered(known, scope) && is_wanted(known, filter);
        let mut wanted: Vec<&decision::Request> = self.state.requests().filter(wanted).collect();
        wanted.sort_unstable_by_key(|known| (known.asked.wall, known.id));
        let mut users = BTreeMap::new();
        let unwritten = |known: &decision::Request| {
            let uid = known.act.process.uid;
            let user = users.entry(uid).or_insert_with(|| user::name_of(uid)).clone();
            let credentials = self.credentials_of(known);
            let (outline, act) = (Outline::of(known, user, credentials, now), Arc::downgrade(&known.act));
            Unwritten::new(move || act.upgrade().map(|act| outline.with(&act)))
        };
        wanted.into_iter().map(unwritten).collect()
    }

    /// A request as it is now.
    pub(super) fn show_request(&self, known: &decision::Request) -> types::Request {
        let user = user::name_of(known.act.process.uid);
        Outline::of(known, user, self.credentials_of(known), clock::now()).with(&known.act)
    }

    fn credentials_of(&self, known: &decision::Request) -> Vec<types::Credential> {
        let session = known.act.session.as_ref().and_then(|stamp| self.sessions.get(stamp.key));
        self.show_credentials(session)
    }

    /// What a session has touched. The kernel knows of which environments, this daemon of some the first credential.
    fn show_credentials(&self, session: Option<&session::Session>) -> Vec<types::Credential> {
        let Some(session) = session else { return Vec::new() };
        // What cannot be read is shown as everything: an approver must not take it for nothing.
        let touched = self.kernel.touched(session.stamp.key.slot).unwrap_or(u64::MAX);
        let credential = |environment: Environment| {
            let touch = session.touched.get(&environment);
            types::Credential {
                environment: environment.name().to_owned(),
                object: touch.map(|touch| touch.act.object.clone()),
                pid: touch.map(|touch| touch.act.process.pid),
                comm: touch.map(|touch| touch.act.process.comm.clone()),
                at: touch.map(|touch| touch.at),
            }
        };
        Environment::of(touched).map(credential).collect()
    }

    /// The daemon's own state.
    pub(super) fn show_status(&self) -> Result<types::Status, Refusal> {
        let counters = self.kernel.counters().map_err(|error| Refusal::Failed(error.to_string()))?;
        let judged =
            counters.judged.iter().map(|(name, count)| types::Count { name: (*name).to_owned(), count: *count });
        let mut failures: Vec<types::Failure> = counters.failures.iter().map(failure).collect();
        if self.state.crowded_out() > 0 {
            failures.push(types::Failure {
                place: "question refused for want of room".to_owned(),
                errno: "none".to_owned(),
                count: self.state.crowded_out(),
            });
        }
        let untold = self.notifier.tallies().into_iter().map(|tally| types::Failure {
            place: format!("notification by {}", tally.name),
            errno: "none".to_owned(),
            count: tally.failed + tally.dropped,
        });
        failures.extend(untold.filter(|failure| failure.count > 0));
        Ok(types::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started.wall,
            kernel: host::kernel_release(),
            policy: self.show_policy(),
            sessions: self.sessions.iter().count() as u64,
            pending: self.state.pending() as u64,
            audit_log: self.log.path().display().to_string(),
            judged: judged.collect(),
            failures,
        })
    }

    /// The policy in force.
    pub(super) fn show_policy(&self) -> types::PolicyStatus {
        let compiled = &self.policy.compiled;
        let named = |label: &&crate::policy::LabelInfo| matches!(label.kind, crate::policy::LabelKind::Named(_));
        types::PolicyStatus {
            path: self.policy.path.display().to_string(),
            generation: compiled.generation,
            loaded_at: self.policy.loaded_at,
            rules: compiled.rules.len().saturating_sub(1) as u64,
            labels: compiled.labels.iter().filter(named).count() as u64,
            profiles: self.policy.checked.profile_names().map(str::to_owned).collect(),
        }
    }
}

fn outcomes(counted: agent_guard_common::session::Outcomes) -> types::Outcomes {
    let agent_guard_common::session::Outcomes { deleted, renamed, truncated, failed } = counted;
    types::Outcomes { deleted, renamed, truncated, failed }
}

pub(super) fn failure((place, errno, count): &(&'static str, u32, u64)) -> types::Failure {
    let name = match i32::try_from(*errno) {
        Ok(0) => "none".to_owned(),
        Ok(number) => signal::errno_name(number),
        Err(_) => errno.to_string(),
    };
    types::Failure { place: (*place).to_owned(), errno: name, count: *count }
}
