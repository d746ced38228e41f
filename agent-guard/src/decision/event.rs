//! What can happen to requests and sessions: one closed enum. It must not know what follows from it.

use std::sync::Arc;

use agent_guard_common::answer::AnswerKey;
use agent_guard_common::verdict::Reason;
use serde::{Deserialize, Serialize};

use super::id::RequestId;
use crate::audit::Person;
use crate::policy::Scope;
use crate::session::{Act, SessionKey, Stamp};

/// A thread, by its ids in the root pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Task {
    /// Its process.
    pub tgid: u32,
    /// Itself.
    pub tid: u32,
}

/// One question of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The thread.
    pub task: Task,
    /// The question's id, which the kernel gave.
    pub question: u64,
}

impl From<Key> for AnswerKey {
    fn from(key: Key) -> Self {
        Self { task: u64::from(key.task.tgid) << 32 | u64::from(key.task.tid), question: key.question }
    }
}

/// What the daemon found out about a question before anybody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// A person decides.
    Ask,
    /// The kernel suspected a command that no pattern describes: it passes, and nobody hears of it.
    Pass,
    /// It passes, and is audited.
    PassAudited,
    /// It cannot or must not be asked: it is refused, for this reason.
    Refuse(String),
}

/// What an answer must name, so that it is taken for this act and for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Hash of the object, computed by the hook.
    pub object: u64,
    /// What the arguments must hash to, for a command; 0 otherwise.
    pub argv: u64,
    /// What `argv[0]` must hash to, for a command; 0 otherwise.
    pub name: u64,
    /// Hook passes that one approval must cover.
    pub passes: u32,
}

/// A question of the kernel, with everything that an answer must name.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which question of which thread.
    pub key: Key,
    /// The session.
    pub session: SessionKey,
    /// What an answer must name.
    pub bound: Bound,
    /// How long it may wait, in nanoseconds.
    pub timeout_ns: u64,
    /// How often in a minute its session may have people asked.
    pub most_a_minute: u32,
    /// What the daemon found out about it.
    pub ruling: Ruling,
    /// What is asked, in names.
    pub act: Arc<Act>,
}

/// What a person says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Let it happen.
    Approve,
    /// Refuse it.
    Deny,
    /// Withdraw the question; the act is refused.
    Cancel,
}

/// A person's answer, with all that makes it count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is answered.
    pub choice: Choice,
    /// Who.
    pub by: Person,
    /// Why.
    pub reason: Option<String>,
    /// What the person has typed to confirm it.
    pub confirmed: Option<String>,
    /// Whether the person is in the group that the rule demands, if it demands one.
    pub in_group: bool,
    /// How far an approval reaches.
    pub scope: Scope,
    /// For how long, in nanoseconds, where its scope is one for a time.
    pub for_ns: u64,
}

/// What is done to a session as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Stop all of it, at once.
    Halt,
    /// Let it go on.
    Resume,
    /// Kill its processes.
    Kill,
    /// Forget which credentials it has touched.
    Forget,
}

/// Ties a call of the API to its reply.
pub type CallId = u64;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A thread waits with a question.
    Asked(Box<Question>),
    /// A thread has put its question again.
    Repeated(Key),
    /// The kernel let an act pass by its approval.
    Used(Key),
    /// An act that passed by its approval has ended.
    Done {
        /// The question that was approved.
        key: Key,
        /// Why nothing came of it, if that is so.
        error: Option<String>,
    },
    /// The kernel refused an act that it had asked about: by our answer, or since it could not go on holding it.
    Refused(Key, Reason),
    /// A thread is gone.
    Gone(Task),
    /// A person answers a request.
    Replied {
        /// The call.
        call: CallId,
        /// The request.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// An approval that reaches further is on record: threads that wait may go on by it.
    Spread(RequestId),
    /// A person takes back what an approval allows of other acts.
    Revoked {
        /// The call.
        call: CallId,
        /// The request that was approved so.
        grant: RequestId,
        /// Who.
        by: Person,
    },
    /// Another policy is in force: its rules may mean something else by the same names.
    PolicyChanged,
    /// A person steers a session.
    Steered {
        /// The call.
        call: CallId,
        /// The session.
        session: Arc<Stamp>,
        /// What is done to it.
        steer: Steer,
        /// Who.
        by: Person,
    },
    /// A session that was halted before the daemon started was found.
    FoundHalted(SessionKey),
    /// A request of a daemon before this one waits for nothing any more, or what its approval allows is over, for this reason.
    Unheld(RequestId, &'static str),
    /// A session's last task is gone.
    Ended(SessionKey),
    /// An order could not be carried out: a record that others depend on, or an approval.
    Failed {
        /// What it was about.
        about: super::effect::About,
        /// What failed, as it reads after "refused:".
        why: &'static str,
    },
    /// Time has passed.
    Tick,
}
