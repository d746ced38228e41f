//! What the API asks of the daemon's loop: one closed enum, each variant with the place for its reply.
//!
//! The loop receives [`Incoming`], finds out where the peer stands (`Peer::is_alive` and the kernel's tag),
//! and calls [`Incoming::admit`]: what comes out may be carried out within its [`Scope`], what does not has
//! been answered. It must not know HTTP.

use super::authz::{self, Scope, Standing, Verb};
use super::metrics::Metrics;
use super::peer::Peer;
use super::refusal::Refusal;
use super::types::{
    Adopt, AnswerBody, ApprovalScope, Grant, Intent, IntentBody, Notice, PolicyStatus, Reach, Request, RequestFilter,
    Session, StartSession, Status, Variable, Variables,
};
use std::fmt;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};
use utoipa::ToSchema;

/// Where the answer to a call goes. A caller that has hung up is no error.
pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// An answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Choice {
    /// Let it happen.
    Approve,
    /// Refuse it.
    Deny,
    /// Withdraw the question; the act is refused.
    Cancel,
}

impl Choice {
    /// The word for it in a path.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Cancel => "cancel",
        }
    }

    /// What a word in a path means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Approve, Self::Deny, Self::Cancel].into_iter().find(|it| it.word() == word)
    }
}

/// What is done to a session as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Steer {
    /// Park it.
    Halt,
    /// Let it go on.
    Resume,
    /// Kill its processes.
    Kill,
    /// Forget which credentials it has touched.
    Forget,
}

impl Steer {
    /// The word for it in a path.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Resume => "resume",
            Self::Kill => "kill",
            Self::Forget => "forget",
        }
    }

    /// What a word in a path means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Halt, Self::Resume, Self::Kill, Self::Forget].into_iter().find(|it| it.word() == word)
    }
}

/// A request that is put into words when it is sent, and not before: a client that does not read what it has asked for
/// keeps nothing of it.
pub struct Unwritten(Box<dyn Fn() -> Option<Request> + Send + Sync>);

impl Unwritten {
    /// A request that these words are found for: the same ones each time, or none when the daemon has forgotten it.
    pub fn new(words: impl Fn() -> Option<Request> + Send + Sync + 'static) -> Self {
        Self(Box::new(words))
    }

    /// The words for it.
    pub(crate) fn words(&self) -> Option<Request> {
        self.0()
    }
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unwritten")
    }
}

/// The requests at one instant, and every change after it.
#[derive(Debug)]
pub struct Watch {
    /// The requests in scope that the filter wants.
    pub known: Vec<Unwritten>,
    /// Every change of any request from then on: the API applies filter and scope.
    pub changes: broadcast::Receiver<Arc<Request>>,
    /// What the caller may see, as `admit` returned it.
    pub scope: Scope,
}

/// A call of the API.
#[derive(Debug)]
pub enum Call {
    /// Whether the peer may use a verb that the API carries out by itself. The loop replies `Ok(())`.
    Permission {
        /// The verb.
        verb: Verb,
        /// Where the answer goes.
        reply: Reply<()>,
    },
    /// The daemon's own state.
    Status {
        /// Where the answer goes.
        reply: Reply<Status>,
    },
    /// What the daemon counts.
    Metrics {
        /// Where the answer goes.
        reply: Reply<Metrics>,
    },
    /// The requests in scope that the filter wants.
    Requests {
        /// Which ones.
        filter: RequestFilter,
        /// Where the answer goes.
        reply: Reply<Vec<Unwritten>>,
    },
    /// The same, and every change afterwards.
    WatchRequests {
        /// Which ones.
        filter: RequestFilter,
        /// Where the answer goes.
        reply: Reply<Watch>,
    },
    /// One request.
    Request {
        /// Its id, as typed.
        id: String,
        /// Where the answer goes.
        reply: Reply<Request>,
    },
    /// An answer to a request.
    Answer {
        /// Its id, as typed.
        id: String,
        /// The answer.
        choice: Choice,
        /// What goes with it.
        said: AnswerBody,
        /// Where the request goes, decided or not yet.
        reply: Reply<Request>,
    },
    /// What an approval would take in.
    Reach {
        /// The request's id, as typed.
        id: String,
        /// How far the approval would reach.
        scope: ApprovalScope,
        /// Where the answer goes.
        reply: Reply<Reach>,
    },
    /// The grants in scope.
    Grants {
        /// Where the answer goes.
        reply: Reply<Vec<Grant>>,
    },
    /// One grant.
    Grant {
        /// Its id, as typed.
        id: String,
        /// Where the answer goes.
        reply: Reply<Grant>,
    },
    /// Takes a grant back.
    Revoke {
        /// Its id, as typed.
        id: String,
        /// Where it goes, as it stood.
        reply: Reply<Grant>,
    },
    /// What a guarded process says of an act to come.
    Declare {
        /// What.
        body: IntentBody,
        /// Where it goes, as it is kept.
        reply: Reply<Intent>,
    },
    /// The sessions in scope that have not ended.
    Sessions {
        /// Where the answer goes.
        reply: Reply<Vec<Session>>,
    },
    /// One session.
    Session {
        /// Its id or name.
        id: String,
        /// Where the answer goes.
        reply: Reply<Session>,
    },
    /// A new session around the peer's own child. The loop verifies child and user.
    StartSession {
        /// What is asked for.
        start: StartSession,
        /// Where the answer goes.
        reply: Reply<Session>,
    },
    /// Which of a command's variables are credentials, asked before its session is started.
    Variables {
        /// Whose names, and for which profile.
        asked: Variables,
        /// Where those that are credentials go.
        reply: Reply<Vec<Variable>>,
    },
    /// A new session around a process that runs already. The loop verifies process and user.
    Adopt {
        /// What is asked for.
        adopt: Adopt,
        /// Where the answer goes, when the whole tree is in it.
        reply: Reply<Session>,
    },
    /// Gives a session up whose command could not be executed.
    Release {
        /// Its id.
        id: String,
        /// Where the answer goes.
        reply: Reply<()>,
    },
    /// Something done to a session as a whole.
    Steer {
        /// Its id or name.
        id: String,
        /// What.
        steer: Steer,
        /// Where the answer goes.
        reply: Reply<Session>,
    },
    /// What happens in a session, from the past that nobody was told on.
    Notices {
        /// Its id.
        id: String,
        /// Where the stream goes. The loop drops the sender after `NoticeKind::Ended`.
        reply: Reply<mpsc::Receiver<Notice>>,
    },
    /// Reads the policy file again and puts it in force.
    PolicyReload {
        /// Where the answer goes.
        reply: Reply<PolicyStatus>,
    },
}

impl Call {
    /// The row of the authorisation table.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Permission { verb, .. } => *verb,
            Self::Status { .. } => Verb::Status,
            Self::Metrics { .. } => Verb::Metrics,
            Self::Requests { .. } | Self::WatchRequests { .. } | Self::Request { .. } => Verb::ReadRequests,
            // What a person would be asked, and has said, is part of the request.
            Self::Reach { .. } | Self::Grants { .. } | Self::Grant { .. } => Verb::ReadRequests,
            Self::Answer { .. } | Self::Revoke { .. } => Verb::Answer,
            Self::Declare { .. } => Verb::Declare,
            Self::Sessions { .. } | Self::Session { .. } => Verb::ReadSessions,
            // A part of it: whoever may start none has no command whose variables matter.
            Self::StartSession { .. } | Self::Variables { .. } => Verb::StartSession,
            Self::Adopt { .. } => Verb::Adopt,
            Self::Release { .. } | Self::Notices { .. } => Verb::KeepSession,
            Self::Steer { .. } => Verb::Steer,
            Self::PolicyReload { .. } => Verb::ReloadPolicy,
        }
    }

    /// Replies with a refusal, whatever was asked.
    pub fn refuse(self, refusal: Refusal) {
        // A closed channel is a caller that has hung up: nobody is left to be told.
        match self {
            Self::Permission { reply, .. } | Self::Release { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Status { reply } => drop(reply.send(Err(refusal))),
            Self::Metrics { reply } => drop(reply.send(Err(refusal))),
            Self::Requests { reply, .. } => drop(reply.send(Err(refusal))),
            Self::WatchRequests { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Request { reply, .. } | Self::Answer { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Reach { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Grants { reply } => drop(reply.send(Err(refusal))),
            Self::Grant { reply, .. } | Self::Revoke { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Declare { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Sessions { reply } => drop(reply.send(Err(refusal))),
            Self::Session { reply, .. }
            | Self::StartSession { reply, .. }
            | Self::Adopt { reply, .. }
            | Self::Steer { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Variables { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Notices { reply, .. } => drop(reply.send(Err(refusal))),
            Self::PolicyReload { reply } => drop(reply.send(Err(refusal))),
        }
    }
}

/// A call and who makes it, before anybody has judged it.
#[derive(Debug)]
pub struct Incoming {
    /// Who calls.
    pub peer: Peer,
    /// What is asked.
    call: Call,
}

/// A call that may be carried out.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    /// Who calls.
    pub peer: Peer,
    /// What the caller may see and touch; nothing outside of it exists for the caller.
    pub scope: Scope,
    /// What is asked.
    pub call: Call,
}

impl Incoming {
    /// Puts a call into its peer's name.
    #[must_use]
    pub const fn new(peer: Peer, call: Call) -> Self {
        Self { peer, call }
    }

    /// Judges the call: it comes out with its scope, or is refused here and now.
    pub fn admit(self, standing: &Standing) -> Option<Admitted> {
        let verb = self.call.verb();
        match authz::judge(verb, self.peer.door, standing, self.peer.uid) {
            Some(scope) => Some(Admitted { peer: self.peer, scope, call: self.call }),
            None => {
                self.call.refuse(Refusal::Forbidden { verb, door: self.peer.door, standing: standing.clone() });
                None
            }
        }
    }
}
