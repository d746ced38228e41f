//! Sessions: starting and steering them, and what is told of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

/// A credential that a session has touched: the first of its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    /// Where it leads: `production`, `staging`, `development` or `unknown`.
    pub environment: String,
    /// What it is; none where the daemon was started since.
    pub object: Option<String>,
    /// The process that touched it.
    pub pid: Option<u32>,
    /// That process's name.
    pub comm: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
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
    /// Why it is halted, where no person has halted it.
    pub halted: Option<String>,
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
    /// Which credentials it has touched, by where they lead.
    pub credentials: Vec<Credential>,
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
    #[serde(deserialize_with = "crate::api::numbers::whole")]
    #[schema(maximum = 4_294_967_295_u32)]
    pub child_pid: u32,
    /// What the child will execute: for people, nothing trusts it.
    #[serde(deserialize_with = "crate::api::words::first")]
    pub argv: Vec<String>,
    /// Where it will run: for people, nothing trusts it.
    pub cwd: String,
}

/// What `adopt` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// The process that is taken in, with all its descendants.
    #[serde(deserialize_with = "crate::api::numbers::whole")]
    #[schema(maximum = 4_294_967_295_u32)]
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
