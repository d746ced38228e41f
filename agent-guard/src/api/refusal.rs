//! Why a call is not carried out: one variant for each reason, with its HTTP status, its code and its words.
//! It must not know how an answer is written.

use super::authz::{Door, Standing, Verb};
use super::types::{Decision, RequestState};

/// Why a call is not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The body or the query is not what the call takes.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The body is longer than any call takes.
    #[error("the request's body is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// There is no such call.
    #[error("no such call: {path}; see GET /v1/openapi.json")]
    UnknownCall {
        /// The path.
        path: String,
    },
    /// There is such a call, with another method.
    #[error("no such call with this method: {path}; see GET /v1/openapi.json")]
    WrongMethod {
        /// The path.
        path: String,
    },
    /// The peer may not do this.
    #[error("{}", forbidden(*verb, *door, standing))]
    Forbidden {
        /// What was asked.
        verb: Verb,
        /// Where it was asked.
        door: Door,
        /// Where the peer stands.
        standing: Standing,
    },
    /// The rule demands somebody else's approval.
    #[error("{0}")]
    MayNotApprove(String),
    /// There is no such request, or none that the peer may know of.
    #[error("no request {id}; `agent-guard requests` lists those there are")]
    UnknownRequest {
        /// The id, as typed.
        id: String,
    },
    /// There is no such grant, or none that the peer may know of.
    #[error("no approval that holds on has the id {id}; `agent-guard grants` lists those there are")]
    UnknownGrant {
        /// The id, as typed.
        id: String,
    },
    /// There is no such session, or none that the peer may know of.
    #[error("no session {id}; `agent-guard sessions` lists those there are")]
    UnknownSession {
        /// The id, as typed.
        id: String,
    },
    /// The request has been decided before.
    #[error("request {id} is already {}", decided(*state, decision))]
    AlreadyDecided {
        /// Its id.
        id: String,
        /// How it ended.
        state: RequestState,
        /// Who ended it, and when.
        decision: Decision,
    },
    /// What is asked does not fit what the session or the child is.
    #[error("{0}")]
    Conflict(String),
    /// What is asked names something that the policy does not have, or that is not the peer's.
    #[error("{0}")]
    Unacceptable(String),
    /// A limit is reached.
    #[error("{0}")]
    Busy(String),
    /// The policy file has faults; the policy in force stays.
    #[error("the policy in {path} was not loaded: {}", faults.join("; "))]
    BadPolicy {
        /// The file.
        path: String,
        /// All of its faults.
        faults: Vec<String>,
    },
    /// The daemon tried and could not.
    #[error("{0}")]
    Failed(String),
    /// The daemon is going.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Forbidden { .. } | Self::MayNotApprove(_) => 403,
            Self::UnknownCall { .. }
            | Self::UnknownRequest { .. }
            | Self::UnknownGrant { .. }
            | Self::UnknownSession { .. } => 404,
            Self::WrongMethod { .. } => 405,
            Self::AlreadyDecided { .. } | Self::Conflict(_) => 409,
            Self::TooLarge { .. } => 413,
            Self::Unacceptable(_) | Self::BadPolicy { .. } => 422,
            Self::Failed(_) => 500,
            Self::Busy(_) | Self::ShuttingDown => 503,
        }
    }

    /// The word that stays the same when messages change.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too-large",
            Self::UnknownCall { .. } => "unknown-call",
            Self::WrongMethod { .. } => "wrong-method",
            Self::Forbidden { .. } => "forbidden",
            Self::MayNotApprove(_) => "may-not-approve",
            Self::UnknownRequest { .. } => "unknown-request",
            Self::UnknownGrant { .. } => "unknown-grant",
            Self::UnknownSession { .. } => "unknown-session",
            Self::AlreadyDecided { .. } => "already-decided",
            Self::Conflict(_) => "conflict",
            Self::Unacceptable(_) => "unacceptable",
            Self::Busy(_) => "busy",
            Self::BadPolicy { .. } => "bad-policy",
            Self::Failed(_) => "failed",
            Self::ShuttingDown => "shutting-down",
        }
    }
}

fn forbidden(verb: Verb, door: Door, standing: &Standing) -> String {
    match (standing, door) {
        (Standing::Guarded { .. }, _) => {
            format!(
                "a guarded process may not {}: it may only read its own session and requests, and declare intents",
                verb.words()
            )
        }
        (Standing::Free, _) if verb == Verb::Declare => format!("nobody outside of a session may {}", verb.words()),
        (Standing::Free, Door::Agent) => {
            format!("only the control socket lets one {}: add yourself to group agent-guard", verb.words())
        }
        (Standing::Free, Door::Loopback) => "this port has metrics only".to_owned(),
        (Standing::Free, Door::Control) => format!("nobody may {} through the control socket", verb.words()),
    }
}

fn decided(state: RequestState, decision: &Decision) -> String {
    let by = match (&decision.user, decision.uid) {
        (Some(user), _) => format!(" by {user}"),
        (None, Some(uid)) => format!(" by uid {uid}"),
        (None, None) => String::new(),
    };
    format!("{}{by} at {:.0}", state.word(), decision.at)
}
