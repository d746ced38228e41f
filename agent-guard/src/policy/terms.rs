//! What an approval takes, how many people, which, and what each of them has to say; and how far it may reach. Plain data.
//!
//! It must not know requests: `decision` finds out whether a person's yes counts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Something that an approval takes besides a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// That the person is not the user whose session asks.
    AnotherUser,
    /// That the person says why.
    Reason,
    /// That the person types what is to be done to.
    Confirmation,
}

impl Demand {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AnotherUser => "another-user",
            Self::Reason => "reason",
            Self::Confirmation => "confirmation",
        }
    }
}

/// How far an approval reaches, the narrowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
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

impl Scope {
    /// Every scope, the narrowest first.
    pub const ALL: &'static [Self] = &[Self::Once, Self::Process, Self::Session, Self::Rule];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Process => "process",
            Self::Session => "session",
            Self::Rule => "rule",
        }
    }
}

/// What an approval takes, and how far it may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How many users must say yes, each of them once.
    pub approvers: u8,
    /// The group that each of them must be in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<String>,
    /// What else each of them owes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub demands: BTreeSet<Demand>,
    /// How far it may reach.
    pub widest: Scope,
}

impl Default for Terms {
    /// Anybody who may answer at all, for what one session does.
    fn default() -> Self {
        Self { approvers: 1, group: None, demands: BTreeSet::new(), widest: Scope::Session }
    }
}

impl Terms {
    /// Whether a rule that says nothing about its approvals has these.
    #[must_use]
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}
