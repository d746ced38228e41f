//! Approvals that reach further than one act: what is asked for, what it would take in, and what holds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::request::{Decision, RuleRef};
use super::session::SessionRef;

/// For how many seconds an approval reaches further, where nobody says.
pub const USUAL_SECONDS: u32 = 600;

/// How far an approval reaches, the narrowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalScope {
    /// The act that was asked about, once.
    #[default]
    Once,
    /// What its rule holds of the same process, until that ends.
    Process,
    /// What its rule holds of the same session, for a time.
    Session,
    /// What its rule holds of whatever session, for a time.
    Rule,
}

impl ApprovalScope {
    /// The word for it, as JSON and people use it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Process => "process",
            Self::Session => "session",
            Self::Rule => "rule",
        }
    }

    /// Whether it ends by the clock.
    #[must_use]
    pub const fn is_timed(self) -> bool {
        matches!(self, Self::Session | Self::Rule)
    }
}

/// What an approval would take in, if it reached further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reach {
    /// The rule whose acts it would be of.
    pub rule: String,
    /// The operations that the rule holds.
    pub operations: Vec<String>,
    /// The labels of the objects that it holds them on.
    pub labels: Vec<String>,
    /// Requests that wait now and would be approved with it, this one left out.
    pub waiting: u64,
    /// How far it may reach by the rule.
    pub widest: ApprovalScope,
}

/// Which reach is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReachQuery {
    /// How far the approval would reach; once unless given.
    #[serde(default)]
    #[param(inline)]
    pub scope: ApprovalScope,
}

/// An approval that reaches further than its own act, while it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// The id of the request that was approved so.
    pub id: String,
    /// How far it reaches.
    pub scope: ApprovalScope,
    /// The session that asked; of `rule` it reaches to others as well.
    pub session: SessionRef,
    /// The process that asked.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// What it asked to do.
    pub operation: String,
    /// To what.
    pub object: String,
    /// The rule whose acts it is of.
    pub rule: RuleRef,
    /// Who approved it, last.
    pub approved: Decision,
    /// Until when it holds; none where the end of its process is the end of it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Milliseconds left; none likewise.
    pub left_ms: Option<u64>,
    /// Acts that have passed by it, the one that was asked about left out.
    pub used: u64,
}
