//! Variables of an environment, by their names: what they hold is nobody's business here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Names that one call takes.
pub const NAMES: usize = 4096;
/// Bytes of a name that is asked about.
pub const NAME_BYTES: usize = 255;

/// Which credentials of its environment a command is not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnvPolicy {
    /// None: all are passed on.
    Keep,
    /// Those that lead to production.
    StripProduction,
    /// All.
    Strip,
}

/// What `run` asks before it starts a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Variables {
    /// The profile that the command is to run under; the daemon takes its default when there is none.
    #[serde(default)]
    pub profile: Option<String>,
    /// What is left out; as the profile says when nothing is said here.
    #[serde(default)]
    pub policy: Option<EnvPolicy>,
    /// The names of the variables: at most 4,096, of at most 255 bytes.
    #[serde(deserialize_with = "crate::api::words::names")]
    #[schema(max_items = 4096)]
    pub names: Vec<String>,
}

/// A variable that a label of the policy calls a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where it leads: `production`, `staging`, `development` or `unknown`.
    pub environment: String,
    /// The label.
    pub label: String,
    /// Whether the command is not passed it.
    pub strip: bool,
}
