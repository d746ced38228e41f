//! Requests: what is asked, by whom, and how it ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grant::ApprovalScope;
use super::intent::Intent;
use super::session::{Credential, SessionRef};

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// Its process is held and waits for an answer.
    Pending,
    /// A person said yes.
    Approved,
    /// A person said no.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// An operator withdrew it.
    Cancelled,
    /// Its process is gone, or its object changed.
    Invalidated,
}

impl RequestState {
    /// Every state, in the order of a request's life.
    pub const ALL: &'static [Self] =
        &[Self::Pending, Self::Approved, Self::Denied, Self::Expired, Self::Cancelled, Self::Invalidated];

    /// The word for it, as JSON and people use it.
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

/// A process, as it was when it asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The id of the thread that asked.
    pub tid: u32,
    /// Its user.
    pub uid: u32,
    /// Its user's name, when there is one.
    pub user: Option<String>,
    /// The thread's name.
    pub comm: String,
    /// Its arguments; of a command, those that it is about to execute.
    pub argv: Vec<String>,
    /// Its working directory.
    pub cwd: Option<String>,
    /// Its ancestors inside the session, the parent first.
    pub ancestry: Vec<Ancestor>,
}

/// An ancestor of a process inside its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ancestor {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its arguments.
    pub argv: Vec<String>,
}

/// What approving a request would take with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Impact {
    /// Files that lie under the label.
    pub files: u64,
    /// Bytes that lie under the label.
    pub bytes: u64,
    /// Whether all was counted; otherwise the figures are at least these.
    pub complete: bool,
}

/// The rule that holds a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleRef {
    /// The rule's name.
    pub name: String,
    /// What the policy's author has to say about it.
    pub message: Option<String>,
}

/// What approving a request takes, and who has said yes so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// How many users must say yes, each of them once.
    pub approvers: u8,
    /// The group that each of them must be in.
    pub group: Option<String>,
    /// What else each of them owes: `another-user`, `reason`, `confirmation`.
    pub demands: Vec<String>,
    /// How far it may reach.
    pub widest: ApprovalScope,
    /// Who has said yes while others must as well.
    pub consents: Vec<Consent>,
}

/// A yes that is not enough by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Consent {
    /// The user.
    pub uid: u32,
    /// That user's name.
    pub user: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The reason that was given.
    pub reason: Option<String>,
}

/// Who ended a request, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// The user who answered; none where time or the kernel ended it.
    pub uid: Option<u32>,
    /// That user's name.
    pub user: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The reason that was given.
    pub reason: Option<String>,
}

/// A blocked operation that waits for a decision, or has had one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Request {
    /// The id that people type.
    pub id: String,
    /// Where it stands.
    pub state: RequestState,
    /// The session that asks.
    pub session: SessionRef,
    /// The operation's name.
    pub operation: String,
    /// The object: a path, an endpoint, a command line.
    pub object: String,
    /// The other end of a rename or link.
    pub other: Option<String>,
    /// Whether the object's beginning was too long to be told.
    pub cut: bool,
    /// The label that the object bears.
    pub label: String,
    /// The rule that holds it.
    pub rule: RuleRef,
    /// `autonomous`, `supervised` or `gated`.
    pub tier: String,
    /// Who asks.
    pub process: Process,
    /// How many threads of that process ask it: one answer is each one's.
    pub threads: u64,
    /// What lies under the label, for an act that destroys.
    pub impact: Option<Impact>,
    /// Bytes that were sent before on the connection that it goes on with; none for anything else.
    pub sent: Option<u64>,
    /// Which credentials the session has touched, by where they lead.
    pub credentials: Vec<Credential>,
    /// What the agent has said of it before; a claim. None where it has said nothing.
    pub intent: Option<Intent>,
    /// What approving it takes.
    pub approval: Approval,
    /// When it was asked.
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: Timestamp,
    /// When silence becomes a refusal.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Milliseconds left for an answer; 0 once it is decided.
    pub left_ms: u64,
    /// How it ended.
    pub decision: Option<Decision>,
    /// What came of the act; none where it was not approved, or where the kernel does not let it be seen.
    pub outcome: Option<Outcome>,
}

/// What came of an approved act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// Whether it was done.
    pub done: bool,
    /// Why not, in the kernel's words.
    pub error: Option<String>,
}

/// Which requests are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RequestFilter {
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub state: Option<RequestState>,
    /// Only those of this session, by id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Whether to go on with a line for every change.
    #[serde(default)]
    pub watch: bool,
}

impl RequestFilter {
    /// Whether a request is wanted.
    #[must_use]
    pub fn wants(&self, request: &Request) -> bool {
        self.wants_one_of(request.state, &request.session.id, &request.session.name)
    }

    /// Whether a request in this state, of a session with this id and name, is wanted.
    #[must_use]
    pub fn wants_one_of(&self, state: RequestState, id: &str, name: &str) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
            && self.session.as_ref().is_none_or(|wanted| wanted == id || wanted == name)
    }
}

/// What goes with an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    /// Why, for the audit log and for whoever asked.
    #[serde(default)]
    pub reason: Option<String>,
    /// The request's object, typed once more, where its rule demands that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
    /// How far an approval reaches: once unless given.
    #[serde(default)]
    pub scope: ApprovalScope,
    /// For how many seconds, where its scope is one for a time; 600 unless given, a day at most.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::api::numbers::whole_or_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub seconds: Option<u32>,
}
