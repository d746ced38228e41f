//! What the API shows of the daemon's state. It must not change any of it.

use jiff::Timestamp;

use super::Daemon;
use crate::api::authz::Scope;
use crate::api::refusal::Refusal;
use crate::api::types;
use crate::audit::{Now, Person};
use crate::decision::{self, Ending, Rejection, Standing, Told};
use crate::session::{self, Stage, Stamp, tier_word};
use crate::system::{clock, host, signal, user};

/// A request.
pub(super) fn request(request: &decision::Request, now: Now) -> types::Request {
    let act = &request.act;
    let left_ns = match request.standing {
        Standing::Pending => request.deadline.monotonic_ns.saturating_sub(now.monotonic_ns),
        _ => 0,
    };
    types::Request {
        id: request.id.to_string(),
        state: state(request.standing),
        session: act.session.as_deref().map_or_else(nobody, session_ref),
        operation: act.operation.name().to_owned(),
        object: act.object.clone(),
        other: act.other.clone(),
        cut: act.cut,
        label: act.label.clone(),
        rule: types::RuleRef { name: act.rule.name.clone(), message: act.rule.message.clone() },
        tier: tier_word(act.tier).to_owned(),
        process: process(&act.process),
        impact: act.impact.map(|impact| types::Impact {
            files: impact.files,
            bytes: impact.bytes,
            complete: impact.complete,
        }),
        asked_at: request.asked.wall,
        expires_at: request.deadline.wall,
        left_ms: left_ns / 1_000_000,
        decision: request.ending.as_ref().map(ending),
    }
}

fn process(who: &session::Who) -> types::Process {
    let ancestor = |ancestor: &session::Ancestor| types::Ancestor {
        pid: ancestor.pid,
        comm: ancestor.comm.clone(),
        argv: ancestor.argv.clone(),
    };
    types::Process {
        pid: who.pid,
        tid: who.tid,
        uid: who.uid,
        user: user::name_of(who.uid),
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

fn ending(ending: &Ending) -> types::Decision {
    decision(ending.at, ending.by.as_ref(), ending.reason.clone())
}

fn decision(at: Timestamp, by: Option<&Person>, reason: Option<String>) -> types::Decision {
    let (uid, user) = (by.map(|person| person.uid), by.and_then(|person| person.user.clone()));
    types::Decision { uid, user, at, reason }
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
        Rejection::Halted(_) => Refusal::Conflict(rejection.to_string()),
    }
}

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
    types::Notice {
        kind,
        pid: act.as_ref().map(|act| act.process.pid),
        request: notice.request.map(|id| id.to_string()),
        operation: act.as_ref().map(|act| act.operation.name().to_owned()),
        object: act.as_ref().map(|act| act.object.clone()),
        reason: notice.reason.or(message),
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
            uid: session.stamp.uid,
            user: user::name_of(session.stamp.uid),
            root_pid: session.root,
            argv: session.argv.clone(),
            cwd: session.cwd.clone(),
            started_at: session.started,
            // A figure to look at: a map that cannot be read is told of by `status`.
            tasks: self.kernel.session_tasks(key.slot).unwrap_or_default(),
            pending: self.state.pending_of(key) as u64,
            cgroup: Some(self.cgroup(&session.stamp).path().display().to_string()),
        }
    }

    /// The requests in scope that a filter wants, the oldest first.
    pub(super) fn show_requests(&self, filter: &types::RequestFilter, scope: &Scope) -> Vec<types::Request> {
        let now = clock::now();
        let mut wanted: Vec<types::Request> = self.state.requests().map(|known| request(known, now)).collect();
        wanted.retain(|request| scope.covers_ref(&request.session) && filter.wants(request));
        wanted.sort_by(|one, other| (one.asked_at, &one.id).cmp(&(other.asked_at, &other.id)));
        wanted
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

fn failure((place, errno, count): &(&'static str, u32, u64)) -> types::Failure {
    let name = match i32::try_from(*errno) {
        Ok(0) => "none".to_owned(),
        Ok(number) => signal::errno_name(number),
        Err(_) => errno.to_string(),
    };
    types::Failure { place: (*place).to_owned(), errno: name, count: *count }
}
