//! What a person has allowed beyond the act that was asked about: of which acts it holds, and until when.
//!
//! Nothing of it is in the kernel, where an approval is of one act: a thread asks as before, and finds its answer here
//! instead of with a person. So what is revoked holds no longer from the very next act on. It must not know how a
//! question is answered.

use std::sync::Arc;

use super::event::Task;
use super::id::RequestId;
use super::state::Thread;
use crate::audit::{Now, Person};
use crate::policy::Scope;
use crate::session::{Act, SessionKey};

/// What holds of more than one act. It is known by the id of the request that was approved so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The request.
    pub id: RequestId,
    /// How far it reaches; never [`Scope::Once`].
    pub scope: Scope,
    /// The session that asked.
    pub session: SessionKey,
    /// The thread that asked.
    pub task: Task,
    /// What it asked.
    pub act: Arc<Act>,
    /// Who has said yes last.
    pub by: Person,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub at: Now,
    /// Until when; none where the end of its process is the end of it.
    pub until: Option<Now>,
    /// Acts that have passed by it, the first one left out.
    pub used: u64,
}

impl Grant {
    /// Whether it holds of what a thread asks.
    pub(super) fn covers(&self, task: Task, thread: &Thread) -> bool {
        covers(self.scope, self.session, (self.task, &self.act), task, thread)
    }

    /// Whether it ends with the process that asked.
    #[must_use]
    pub fn ends_with(&self, task: Task) -> bool {
        self.scope == Scope::Process && self.task.tgid == task.tgid
    }

    /// Whether it ends with a session.
    pub(super) fn ends_with_session(&self, session: SessionKey) -> bool {
        self.scope != Scope::Rule && self.session == session
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self, monotonic_ns: u64) -> bool {
        self.until.is_some_and(|until| until.monotonic_ns <= monotonic_ns)
    }
}

/// Whether an approval of what one thread of a session asked covers what another asks.
pub(super) fn covers(
    scope: Scope,
    session: SessionKey,
    (asked, act): (Task, &Act),
    task: Task,
    thread: &Thread,
) -> bool {
    let started = act.process.started;
    let is_same_process = asked.tgid == task.tgid && started.is_some() && started == thread.act.process.started;
    // An act of a session that is not known any more is nobody's.
    thread.act.session.is_some()
        && thread.act.rule.name == act.rule.name
        && reaches(scope, session == thread.session, is_same_process)
}

/// Whether a scope reaches to another act under the same rule.
pub(super) const fn reaches(scope: Scope, is_same_session: bool, is_same_process: bool) -> bool {
    match scope {
        Scope::Once => false,
        Scope::Process => is_same_session && is_same_process,
        Scope::Session => is_same_session,
        Scope::Rule => true,
    }
}
