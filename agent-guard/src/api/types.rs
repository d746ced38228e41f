//! Every JSON type of the API, for server and client alike. It must not know sockets, HTTP or the daemon's loop.
//!
//! Strings that come from guarded processes (paths, arguments, names) are carried as they are, bytes that are
//! not UTF-8 replaced: whoever shows them to a person escapes them first (`crate::text`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

/// The session that a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionRef {
    /// The session's id.
    pub id: String,
    /// The session's name.
    pub name: String,
    /// The profile that it runs under.
    pub profile: String,
    /// The user who started it.
    pub uid: u32,
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
    /// What lies under the label, for an act that destroys.
    pub impact: Option<Impact>,
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

/// What came of a session's acts, approved or not: as many as were done, and not as were tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcomes {
    /// Files and directories that were deleted.
    pub deleted: u64,
    /// Renames.
    pub renamed: u64,
    /// Files that were truncated.
    pub truncated: u64,
    /// Acts of these kinds that passed the guard and came to nothing.
    pub failed: u64,
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

/// The reason that goes with an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    /// Why, for the audit log and for whoever asked.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Its first process has not executed its command yet.
    Starting,
    /// Judged by its profile.
    Active,
    /// Every gated act parks its caller.
    Halted,
    /// Its last process is gone.
    Ended,
}

impl SessionState {
    /// The word for it, as JSON and people use it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Halted => "halted",
            Self::Ended => "ended",
        }
    }
}

/// One guarded process tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The profile that it runs under.
    pub profile: String,
    /// Where it stands.
    pub state: SessionState,
    /// The user who started it.
    pub uid: u32,
    /// That user's name, when there is one.
    pub user: Option<String>,
    /// Its first process.
    pub root_pid: u32,
    /// What was started.
    pub argv: Vec<String>,
    /// Where it was started.
    pub cwd: String,
    /// When it was started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Living tasks.
    pub tasks: u64,
    /// Requests of it that wait for an answer.
    pub pending: u64,
    /// What came of its acts.
    pub outcomes: Outcomes,
    /// The directory of its cgroup, absolute.
    pub cgroup: Option<String>,
}

/// What `run` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartSession {
    /// A name; the daemon makes one of the command when there is none.
    #[serde(default)]
    pub name: Option<String>,
    /// A profile of the policy; the daemon takes its default when there is none.
    #[serde(default)]
    pub profile: Option<String>,
    /// The caller's own child, which waits before its `execve`.
    pub child_pid: u32,
    /// What the child will execute: for people, nothing trusts it.
    #[serde(deserialize_with = "super::words::first")]
    pub argv: Vec<String>,
    /// Where it will run: for people, nothing trusts it.
    pub cwd: String,
}

/// What `adopt` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// The process that is taken in, with all its descendants.
    pub pid: u32,
    /// A name; the daemon makes one of the command when there is none.
    #[serde(default)]
    pub name: Option<String>,
    /// A profile of the policy; the daemon takes its default when there is none.
    #[serde(default)]
    pub profile: Option<String>,
}

/// What has happened in a session that its user should read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// A process waits for an answer.
    Held,
    /// An act was refused.
    Refused,
    /// Nobody answered in time.
    Expired,
    /// An approver said yes.
    Approved,
    /// The session was halted.
    Halted,
    /// The session was resumed.
    Resumed,
    /// The session's last process is gone; the stream ends.
    Ended,
    /// Nothing; says that the daemon is there.
    Alive,
}

/// One line of a session's notices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// What has happened.
    pub kind: NoticeKind,
    /// The process that it happened to; none where it is the whole session's affair.
    pub pid: Option<u32>,
    /// The request's id, when there is one.
    pub request: Option<String>,
    /// The operation's name.
    pub operation: Option<String>,
    /// The object.
    pub object: Option<String>,
    /// Why it was refused, or what the rule's author or the approver has to say.
    pub reason: Option<String>,
}

/// The daemon's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// The running kernel's release.
    pub kernel: String,
    /// The policy in force.
    pub policy: PolicyStatus,
    /// Sessions that have not ended.
    pub sessions: u64,
    /// Requests that wait for an answer.
    pub pending: u64,
    /// The audit log's path.
    pub audit_log: String,
    /// Judgements by kind, in a fixed order.
    pub judged: Vec<Count>,
    /// Kernel acts that failed or were lost; empty on a healthy machine.
    pub failures: Vec<Failure>,
}

/// A named figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// Of what.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// Failures at one place of the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// What failed.
    pub place: String,
    /// The errno, by its name where it has one.
    pub errno: String,
    /// How often.
    pub count: u64,
}

/// A policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyStatus {
    /// The file that it was read from.
    pub path: String,
    /// Counts the policies that were put in force.
    pub generation: u32,
    /// When it was put in force.
    #[schema(value_type = String, format = DateTime)]
    pub loaded_at: Timestamp,
    /// Number of rules.
    pub rules: u64,
    /// Number of labels.
    pub labels: u64,
    /// The profiles that a session can run under.
    pub profiles: Vec<String>,
}

/// A policy to be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// The whole YAML.
    pub text: String,
}

/// What is wrong with a policy; nothing when it is good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyFaults {
    /// All faults, in the order of their places.
    pub faults: Vec<PolicyFault>,
}

/// One fault of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyFault {
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

/// What this machine can enforce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doctor {
    /// Whether the daemon can do its main job here.
    pub able: bool,
    /// One finding for each thing that was looked at.
    pub findings: Vec<Finding>,
}

/// One thing that `doctor` looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// What it means for the daemon.
    pub level: FindingLevel,
    /// What was found, and what to do when it is not good.
    pub detail: String,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FindingLevel {
    /// As it should be.
    Good,
    /// Something is not enforced or not shown.
    Limited,
    /// The daemon cannot start.
    Missing,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// A word that stays the same.
    pub code: String,
    /// What went wrong with what, and what to do.
    pub message: String,
}
