//! What is known of requests, and of threads with a question: data and queries. Only `step` changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::again::Pauses;
use super::event::{Bound, Key, Task};
use super::flood::Askers;
use super::grant::Grant;
use super::id::{IDS, Ids, RequestId};
use super::quorum::Consent;
use super::tally::Tally;
use crate::audit::{Now, Person};
use crate::policy::Scope;
use crate::session::{Act, SessionKey};

/// Requests that may wait for an answer at one time; what is asked beyond is refused.
pub const PENDING: usize = 12_000;
/// Requests of one session that may wait at one time, so that no tree takes the places of all others.
pub const PENDING_OF_SESSION: usize = PENDING / 4;
/// Requests of one user's sessions that may wait at one time, root excepted, for the same reason.
pub const PENDING_OF_USER: usize = PENDING / 4;
/// Ended requests that are remembered, to be shown and to tell a second approver who came first.
pub const REMEMBERED: usize = 1024;

const _: () = assert!((PENDING + REMEMBERED) * 80 < IDS as usize, "too few ids for so many requests");

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Its thread is held and waits for an answer.
    Pending,
    /// A person said yes.
    Approved,
    /// A person said no, or the audit log could not be written.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// An operator withdrew it.
    Cancelled,
    /// Its process is gone, or asks something else now.
    Invalidated,
}

impl Standing {
    /// The word for it, as people and records use it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Invalidated => "invalidated",
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// Who ended it; none where time or the kernel did.
    pub by: Option<Person>,
    /// Why.
    pub reason: Option<String>,
}

/// What came of an act that was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It came to nothing: why, in the kernel's words.
    Failed(String),
}

/// A question that people were asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// The thread's question.
    pub key: Key,
    /// The same question of other threads of its process, which are answered with it.
    pub others: Vec<Key>,
    /// The session.
    pub session: SessionKey,
    /// What an answer must name.
    pub bound: Bound,
    /// What is asked.
    pub act: Arc<Act>,
    /// When it was asked.
    pub asked: Now,
    /// From this instant on, silence is a refusal.
    pub deadline: Now,
    /// Where it stands.
    pub standing: Standing,
    /// Who has said yes while others must as well.
    pub consents: Vec<Consent>,
    /// How it ended; none while it is pending.
    pub ending: Option<Ending>,
    /// What came of the act; none where it was not approved, or nobody can tell.
    pub outcome: Option<Outcome>,
}

impl Request {
    /// The questions that it stands for.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        std::iter::once(self.key).chain(self.others.iter().copied())
    }
}

/// The user whose session acts; of a session that is not known any more, the user who acts.
pub(super) fn user(act: &Act) -> u32 {
    act.session.as_ref().map_or(act.process.uid, |stamp| stamp.uid)
}

/// A thread whose last question has not run its course.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) question: u64,
    pub(super) session: SessionKey,
    pub(super) bound: Bound,
    pub(super) act: Arc<Act>,
    pub(super) request: Option<RequestId>,
    /// The grant that it goes on by, if it does.
    pub(super) grant: Option<RequestId>,
    pub(super) phase: Phase,
}

/// How far a thread's question has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has answered.
    Waiting,
    /// The kernel has an approval for it.
    Approved {
        /// The approval is void from then on.
        lapses_ns: u64,
        /// Passes that the kernel has reported.
        used: u32,
        /// Nobody is to hear of it.
        silent: bool,
    },
    /// Its approval was not used in time.
    Lapsed,
    /// The kernel has a refusal for it, of this `answered` kind.
    Refused(u32),
}

/// All that decisions depend on.
#[derive(Debug)]
pub struct State {
    pub(super) requests: BTreeMap<RequestId, Request>,
    pub(super) threads: BTreeMap<Task, Thread>,
    /// What questions were answered that a daemon before this one may not have told: the answers, of an `answered` kind.
    pub(super) left: BTreeMap<Key, u32>,
    /// What holds of more than one act.
    pub(super) grants: BTreeMap<RequestId, Grant>,
    /// What people are not asked about for now.
    pub(super) pauses: Pauses,
    /// Deadlines of pending requests.
    pub(super) deadlines: BTreeSet<(u64, RequestId)>,
    /// Ends of approvals.
    pub(super) lapses: BTreeSet<(u64, Task)>,
    /// Ended requests, the oldest first.
    pub(super) ended: VecDeque<RequestId>,
    pub(super) pending_of: BTreeMap<SessionKey, usize>,
    pub(super) pending_of_user: BTreeMap<u32, usize>,
    /// Halted sessions, and why if it was no person who did it.
    pub(super) halted: BTreeMap<SessionKey, Option<String>>,
    pub(super) askers: Askers,
    pub(super) ids: Ids,
    pub(super) crowded_out: u64,
    pub(super) tally: Tally,
}

impl State {
    /// Nothing is known yet. The seed chooses where ids begin.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self {
            requests: BTreeMap::new(),
            threads: BTreeMap::new(),
            left: BTreeMap::new(),
            grants: BTreeMap::new(),
            pauses: Pauses::new(),
            deadlines: BTreeSet::new(),
            lapses: BTreeSet::new(),
            ended: VecDeque::new(),
            pending_of: BTreeMap::new(),
            pending_of_user: BTreeMap::new(),
            halted: BTreeMap::new(),
            askers: Askers::new(),
            ids: Ids::new(seed),
            crowded_out: 0,
            tally: Tally::NONE,
        }
    }

    /// Takes a request up that waits, with all that is counted of it.
    pub(super) fn await_answer(&mut self, request: Request) {
        self.deadlines.insert((request.deadline.monotonic_ns, request.id));
        *self.pending_of.entry(request.session).or_default() += 1;
        *self.pending_of_user.entry(user(&request.act)).or_default() += 1;
        self.requests.insert(request.id, request);
    }

    /// A request, while it is pending or remembered.
    #[must_use]
    pub fn request(&self, id: RequestId) -> Option<&Request> {
        self.requests.get(&id)
    }

    /// All requests that are pending or remembered, in no meaningful order.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    /// A grant, while it holds.
    #[must_use]
    pub fn grant(&self, id: RequestId) -> Option<&Grant> {
        self.grants.get(&id)
    }

    /// All grants that hold.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values()
    }

    /// Number of pending requests.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.deadlines.len()
    }

    /// Number of pending requests of a session.
    #[must_use]
    pub fn pending_of(&self, session: SessionKey) -> usize {
        self.pending_of.get(&session).copied().unwrap_or_default()
    }

    /// Number of pending requests of a user's sessions.
    #[must_use]
    pub fn pending_of_user(&self, uid: u32) -> usize {
        self.pending_of_user.get(&uid).copied().unwrap_or_default()
    }

    /// Why a session is halted, where no person has halted it.
    #[must_use]
    pub fn why_halted(&self, session: SessionKey) -> Option<&str> {
        self.halted.get(&session)?.as_deref()
    }

    /// Questions refused since too many were waiting.
    #[must_use]
    pub const fn crowded_out(&self) -> u64 {
        self.crowded_out
    }

    /// How many requests there were, and how they ended.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether a question is known and has not run its course.
    #[must_use]
    pub fn knows(&self, key: Key) -> bool {
        self.threads.get(&key.task).is_some_and(|thread| thread.question == key.question)
    }

    /// Whether any thread of a process waits for an answer.
    #[must_use]
    pub fn waits(&self, tgid: u32) -> bool {
        let threads = self.threads.range(Task { tgid, tid: 0 }..=Task { tgid, tid: u32::MAX });
        threads.into_iter().any(|(_, thread)| thread.phase == Phase::Waiting)
    }

    /// The threads with a question and the processes with a grant, and when they started: whoever can look says which are
    /// gone. A process is told by its first thread.
    pub fn tasks(&self) -> impl Iterator<Item = (Task, Option<u64>)> {
        let threads = self.threads.iter().map(|(task, thread)| (*task, thread.act.process.started));
        let granted = self.grants.values().filter(|grant| grant.scope == Scope::Process).map(|grant| {
            let tgid = grant.task.tgid;
            (Task { tgid, tid: tgid }, grant.act.process.started)
        });
        threads.chain(granted)
    }
}
