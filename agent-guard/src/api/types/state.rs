//! The daemon's own state, its policy, and what `doctor` finds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// What listens on this machine and passes on to elsewhere: whoever may reach it reaches what lies behind it.
    pub forwarders: Vec<Forwarder>,
    /// Programs that may be forwarders too, and belong to others, so that it was not seen where they listen.
    pub unseen_forwarders: u64,
}

/// A program that listens on this machine and is known to pass on to elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Forwarder {
    /// What the program is called.
    pub program: String,
    /// Its process id.
    pub pid: u32,
    /// Where it listens: an address and a port, a path, or `@` and an abstract name.
    pub listens: String,
    /// What would label it, as it stands in a policy; none where no policy can name it.
    pub label: Option<String>,
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
