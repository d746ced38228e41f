//! What follows from an event: orders for the daemon, to be carried out in their order. It must not know how.

use std::sync::Arc;

use agent_guard_common::answer::Answer;
use jiff::Timestamp;

use super::event::{CallId, Key, Task};
use super::id::RequestId;
use super::quorum::Shortfall;
use super::state::Standing;
use crate::audit::{Entry, Person};
use crate::session::{Act, SessionKey};

/// What a record and the effects behind it are about: when the record cannot be written, the effects about the
/// same thing are dropped, and `Event::Failed` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// A thread and its question.
    Thread(Task),
    /// A session.
    Session(SessionKey),
    /// What credentials a session has touched.
    Credentials(SessionKey),
}

/// What a session's user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// An act waits for an answer.
    Held,
    /// An act was refused.
    Refused,
    /// Nobody answered in time.
    Expired,
    /// An approver said yes.
    Approved,
    /// The session was halted.
    Halted,
    /// The session goes on.
    Resumed,
}

/// A line for a session's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What has happened.
    pub told: Told,
    /// The request's id, when there is one.
    pub request: Option<RequestId>,
    /// To which act; none where it is the whole session's affair.
    pub act: Option<Arc<Act>>,
    /// Why, or what the rule's author or the approver has to say.
    pub reason: Option<String>,
}

/// Why a person's answer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such request, or it was forgotten long ago.
    #[error("no request has the id {0}")]
    Unknown(RequestId),
    /// It was answered, or ended, before.
    #[error("request {request} is already {}", standing.word())]
    Closed {
        /// The request.
        request: RequestId,
        /// How it ended.
        standing: Standing,
        /// When.
        at: Timestamp,
        /// Who ended it; none where time or the kernel did.
        by: Option<Person>,
        /// The reason that was given.
        reason: Option<String>,
    },
    /// There is no such grant (any more).
    #[error("no approval that holds on has the id {0}")]
    NoGrant(RequestId),
    /// An approval would lapse before its thread may go on.
    #[error("the session of request {0} is halted: resume it first")]
    Halted(RequestId),
    /// The rule demands more of an approval.
    #[error("request {request} is not approved: {why}")]
    Short {
        /// The request.
        request: RequestId,
        /// What it lacks.
        why: Shortfall,
    },
}

/// What outlives the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A request, as it stands now.
    Request(RequestId),
    /// A request that is not remembered any more.
    Forgotten(RequestId),
    /// What an approval allows of other acts, as it stands now.
    Grant(RequestId),
    /// What an approval has allowed.
    GrantEnded(RequestId),
}

/// An order to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append a record; when something depends on it, it must be on disk before anything else is done.
    Audit {
        /// What depends on it.
        about: Option<About>,
        /// The record.
        entry: Box<Entry>,
    },
    /// Leave an answer in the kernel.
    Answer {
        /// The question.
        key: Key,
        /// What must be on record before.
        about: About,
        /// The answer.
        answer: Answer,
    },
    /// Take an answer out of the kernel that nobody will fetch.
    ForgetAnswer(Key),
    /// Wake a process whose questions were answered.
    Resume {
        /// The process.
        tgid: u32,
        /// The questions.
        keys: Vec<Key>,
    },
    /// Wake a thread again, if the answer to its question has not been used.
    ResumeWhileUnused(Key),
    /// Tell a session's user.
    Notify {
        /// The session.
        session: SessionKey,
        /// What must be on record before.
        about: Option<About>,
        /// What.
        notice: Notice,
    },
    /// Let `decision` know, with `Event::Spread`, that an approval which reaches further is on record.
    Spread {
        /// The request that was approved so.
        grant: RequestId,
        /// What must be on record before.
        about: About,
    },
    /// Keep for a daemon after this one how something stands; when something depends on it, it must be on disk before
    /// anything else is done.
    Keep {
        /// What depends on it.
        about: Option<About>,
        /// What is kept.
        kept: Kept,
    },
    /// A request is new or has changed: tell whoever watches.
    Changed(RequestId),
    /// Reply to an answer of a person.
    Reply {
        /// The call.
        call: CallId,
        /// What depends on the record before.
        about: Option<About>,
        /// Whether it was taken.
        outcome: Result<(), Rejection>,
    },
    /// Stop a session: mark it halted, so that its hooks park their callers, and freeze its cgroup.
    Halt(SessionKey),
    /// Let a session go on: the reverse, and wake its stopped processes.
    Release(SessionKey),
    /// Kill a session's processes.
    Kill(SessionKey),
    /// Forget which credentials a session has touched.
    Forget(SessionKey),
}

impl Effect {
    /// What must be on record before this is carried out.
    #[must_use]
    pub const fn depends_on(&self) -> Option<About> {
        match self {
            Self::Answer { about, .. } | Self::Spread { about, .. } => Some(*about),
            Self::Release(session) => Some(About::Session(*session)),
            Self::Forget(session) => Some(About::Credentials(*session)),
            Self::Notify { about, .. } | Self::Reply { about, .. } => *about,
            Self::Audit { .. }
            | Self::Keep { .. }
            | Self::ForgetAnswer(_)
            | Self::Resume { .. }
            | Self::ResumeWhileUnused(_)
            | Self::Changed(_)
            | Self::Halt(_)
            | Self::Kill(_) => None,
        }
    }
}
