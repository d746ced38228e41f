//! An act of a guarded process, with the names that people know things by. Plain data: it must not know where
//! the names come from, nor what is decided about it.

use std::sync::Arc;

use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Tier;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::intent::Intent;
use crate::policy::Terms;

/// A session as the kernel knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// Its slot.
    pub slot: u32,
    /// Its serial; no other session of this boot has it.
    pub serial: u64,
}

/// What a session is called: the part of it that never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its id, a ULID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The profile that it runs under.
    pub profile: String,
    /// The user who started it.
    pub uid: u32,
    /// How the kernel knows it.
    #[serde(skip)]
    pub key: SessionKey,
}

/// Who acts. Strings are as the process has them, and bytes that are no UTF-8 stand as `\xNN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// When the process started, in clock ticks since boot: tells it from a later owner of its pid.
    pub started: Option<u64>,
    /// Its user.
    pub uid: u32,
    /// The thread's name.
    pub comm: String,
    /// Its arguments; of a command, those that it is about to execute.
    pub argv: Vec<String>,
    /// Its program.
    pub exe: Option<String>,
    /// Its working directory.
    pub cwd: Option<String>,
    /// Its terminal.
    pub tty: Option<String>,
    /// Its ancestors inside the session, the parent first.
    pub ancestry: Vec<Ancestor>,
}

/// An ancestor of a process inside its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its arguments.
    pub argv: Vec<String>,
}

/// What approving an act would take with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// Files below the object's label, or below the object.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether all were counted; otherwise there are at least so many.
    pub complete: bool,
}

/// The rule that an act met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What the policy's author has to say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it takes to approve an act that it holds.
    #[serde(skip_serializing_if = "is_usual", default)]
    pub terms: Arc<Terms>,
}

impl Rule {
    /// A rule that is known by its name alone.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), message: None, terms: Arc::default() }
    }
}

fn is_usual(terms: &Arc<Terms>) -> bool {
    terms.are_usual()
}

/// An act: who does what to what, and which rule met it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The session; none when it is not known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<Stamp>>,
    /// The operation.
    #[serde(with = "operation")]
    pub operation: Operation,
    /// The object: a path in the host's view, an endpoint, a command line.
    pub object: String,
    /// The other end of a rename or link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// Whether the object was too long to be told whole.
    pub cut: bool,
    /// The label that it bears.
    pub label: String,
    /// The rule.
    pub rule: Rule,
    /// The rule's tier.
    #[serde(with = "tier")]
    pub tier: Tier,
    /// Who acts.
    pub process: Who,
    /// What it would take with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
    /// Bytes that were sent before on the connection that it goes on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// What the agent has said of it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Arc<Intent>>,
}

/// The word for a tier, as policies have it.
#[must_use]
pub const fn tier_word(tier: Tier) -> &'static str {
    match tier {
        Tier::Autonomous => "autonomous",
        Tier::Supervised => "supervised",
        Tier::Gated => "gated",
    }
}

/// An operation by its name.
mod operation {
    use super::{Deserialize as _, Deserializer, Error as _, Operation, Serializer};

    pub(super) fn serialize<S: Serializer>(operation: &Operation, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(operation.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Operation, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = Operation::ALL.iter().find(|operation| operation.name() == name);
        found.copied().ok_or_else(|| D::Error::custom(format!("there is no operation `{name}`")))
    }
}

/// A tier by its word.
mod tier {
    use super::{Deserialize as _, Deserializer, Error as _, Serializer, Tier, tier_word};

    pub(super) fn serialize<S: Serializer>(tier: &Tier, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(tier_word(*tier))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tier, D::Error> {
        let word = String::deserialize(deserializer)?;
        let found = [Tier::Autonomous, Tier::Supervised, Tier::Gated].into_iter().find(|tier| tier_word(*tier) == word);
        found.ok_or_else(|| D::Error::custom(format!("there is no tier `{word}`")))
    }
}

/// An act that nothing is special about, for tests.
#[cfg(test)]
pub fn example(object: &str) -> Act {
    Act {
        session: None,
        operation: Operation::Delete,
        object: object.to_owned(),
        other: None,
        cut: false,
        label: String::new(),
        rule: Rule::named("r"),
        tier: Tier::Gated,
        process: super::who::plain(1, 1, 0, String::new()),
        impact: None,
        sent: None,
        intent: None,
    }
}
