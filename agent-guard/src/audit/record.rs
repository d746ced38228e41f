//! What an audit record says. Plain data: it must not know files, nor how records are numbered.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::session::{Act, Intent, Stamp};

/// An instant, by both clocks: one to read, one that nobody can set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub monotonic_ns: u64,
    /// The wall clock.
    #[serde(rename = "time")]
    pub wall: Timestamp,
}

impl Now {
    /// So many nanoseconds later.
    #[must_use]
    pub fn after(self, nanoseconds: u64) -> Self {
        let time = SignedDuration::from_nanos(i64::try_from(nanoseconds).unwrap_or(i64::MAX));
        Self {
            monotonic_ns: self.monotonic_ns.saturating_add(nanoseconds),
            wall: self.wall.saturating_add(time).unwrap_or(Timestamp::MAX),
        }
    }
}

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// An act waits for an answer.
    Held,
    /// A person approves a request, and others must as well.
    Consented,
    /// A request was answered, or ended without an answer.
    Decided,
    /// An approval that reached further ends; `reason` says why.
    GrantEnded,
    /// An act passed by its approval.
    Passed,
    /// An approved act was done.
    Done,
    /// An approved act came to nothing; `reason` says why.
    Failed,
    /// An act was refused.
    Refused,
    /// An act passed under the verdict `audit`.
    Audited,
    /// An act passed, and its session has a credential of another environment from here on.
    Credentialed,
    /// An agent says what it is going to do: `intent`.
    IntentDeclared,
    /// A session asks for names as if it sent something in them; `reason` says how.
    Tunnelling,
    /// A process was killed, since it executed what was not approved.
    Killed,
    /// A session started.
    SessionStarted,
    /// A session's last process is gone.
    SessionEnded,
    /// A session was halted.
    SessionHalted,
    /// A halted session goes on.
    SessionResumed,
    /// A session's processes were killed.
    SessionKilled,
    /// What credentials a session had touched was forgotten.
    CredentialsForgotten,
    /// A policy was put in force.
    PolicyLoaded,
    /// A policy was refused; the one before stays in force.
    PolicyRefused,
    /// The guard refused an act of its own, to see that it can.
    StartCheck,
    /// The daemon is ready.
    DaemonStarted,
    /// The daemon stops; refusals go on.
    DaemonStopped,
    /// The kernel said something that could not be read.
    Unreadable,
    /// Who holds the log's key vouches for all records before.
    Checkpoint,
}

/// A person who answers or steers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The user.
    pub uid: u32,
    /// The user's name, when there is one.
    pub user: Option<String>,
    /// The process that spoke for the user.
    pub pid: u32,
}

/// What one record says; the log adds the boot, the number, and what ties it to the record before.
///
/// Refusals and audited acts are records of their own, up to a hundred in a second that agree in session, operation,
/// label, rule, reason and object, and up to a thousand refusals that agree in all but the object. Those beyond become one
/// record when the second is over: it tells of the last of them, and `times` is their number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When.
    #[serde(flatten)]
    pub now: Now,
    /// What it tells of.
    pub what: What,
    /// The request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The question's id in the kernel, which ties the records of one act together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<u64>,
    /// How a request ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<&'static str>,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approver: Option<Person>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The request whose approval reaches to this act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// How far an approval reaches, where that is further than its act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<&'static str>,
    /// Until when, if not until its process ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Arc<Act>>,
    /// What an agent has said, where that is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Arc<Intent>>,
    /// How many acts the record stands for, where it is more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The session, where the record is about a session as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<Stamp>>,
}

impl Entry {
    /// An entry that says no more than what happened, and when.
    #[must_use]
    pub const fn new(now: Now, what: What) -> Self {
        Self {
            now,
            what,
            request: None,
            question: None,
            decision: None,
            approver: None,
            reason: None,
            grant: None,
            scope: None,
            until: None,
            act: None,
            intent: None,
            times: None,
            session: None,
        }
    }
}
