//! Intents: what an agent says of an act before it does it. A claim of the agent's, and nothing more.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IntentBody {
    /// Why it is to be done.
    pub why: String,
    /// What could be done instead.
    #[serde(default)]
    pub alternatives: Vec<String>,
    /// How it would be undone.
    #[serde(default)]
    pub rollback: Option<String>,
    /// What it is about: a path and what lies below it, or a pattern with `*` and `?` for a command line, an endpoint or
    /// another object; whatever the session is asked about next unless given.
    #[serde(default)]
    pub covers: Option<String>,
    /// For how many seconds every such request carries it, an hour at most; only the next one unless given.
    #[serde(default, deserialize_with = "crate::api::numbers::whole_or_none")]
    #[schema(minimum = 1, maximum = 3600)]
    pub seconds: Option<u32>,
}

/// What an agent has said of an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Intent {
    /// Why it is to be done.
    pub why: String,
    /// What could be done instead.
    pub alternatives: Vec<String>,
    /// How it would be undone.
    pub rollback: Option<String>,
    /// What it is about; any act where it does not say.
    pub covers: Option<String>,
    /// When it was said.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What it should say and does not: `alternatives`, `rollback`.
    pub lacks: Vec<String>,
}
