//! From a checked policy and what the machine looks like to the plain records of one generation.
//!
//! A pure function: the same policy and facts give the same records, in the same order. What does not fit
//! is refused, never trimmed. It must not know how records reach the kernel.

mod commands;
mod decision;
mod endpoints;
mod files;
mod heard;
mod matrix;
#[cfg(test)]
pub(super) mod sample;
mod special;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_guard_common::hash::SipKey;
use agent_guard_common::limits::{INODES, NAMES, PROFILES};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{
    Alternatives, Cell, CommandKey, CommandTable, EndpointKey, EndpointLabels, InodeKey, InodeLabel, NameKey, Row,
    WordKey, row_index,
};
use agent_guard_common::verdict::{Tier, Verdict};

pub use commands::CommandPattern;
pub use heard::Names;

use super::check::Checked;
use super::kind::Kind;
use super::terms::Terms;
use super::value::word::NoAnswer;
use decision::Conditions;
use matrix::Matrix;

/// What the machine looks like to a policy.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The generation to compile; its lowest bit is the slot.
    pub generation: u32,
    /// The key of the boot's hashes.
    pub key: SipKey,
    /// The index that the profile of each running session has already.
    pub profiles: BTreeMap<String, u32>,
    /// The home directories of its users.
    pub homes: Vec<String>,
    /// What lies at each place of [`Checked::paths`].
    pub paths: BTreeMap<String, PathFacts>,
    /// The addresses of each of [`Checked::hosts`].
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
}

/// An object on the way to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Device, as the kernel numbers it.
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
    /// Its name in its directory; empty for the root.
    pub name: Vec<u8>,
}

/// A symbolic link on the way to a path: whoever moves it moves the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Device and inode of the directories above it: first the root, last the one that it lies in.
    pub directories: Vec<(u32, u64)>,
    /// Its name.
    pub name: Vec<u8>,
}

/// What lies at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathFacts {
    /// The existing objects on the canonical path: first the root, last the object or the deepest directory that exists.
    pub chain: Vec<Node>,
    /// The names below it that do not exist.
    pub missing: Vec<Vec<u8>>,
    /// Device and inode of the roots of mounts at or below the path.
    pub mounts: Vec<(u32, u64)>,
    /// The links that were followed, in their order.
    pub links: Vec<Link>,
}

/// A label as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelInfo {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub kind: LabelKind,
}

/// What a label stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// What no label names.
    Unlabelled,
    /// A label of the policy.
    Named(Kind),
    /// Several labels at once, of what lies below a directory or at one object: the strictest decides.
    Composed(Vec<u16>),
}

/// A rule as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its name.
    pub name: String,
    /// What it tells the approver and the one who is held.
    pub message: Option<String>,
    /// How closely its acts are watched.
    pub tier: Tier,
    /// How long an act that it holds waits.
    pub timeout: Duration,
    /// What it says.
    pub verdict: Verdict,
    /// How a lookup that it denies is answered.
    pub answer: NoAnswer,
    /// What it takes to approve an act that it holds.
    pub terms: Arc<Terms>,
}

/// One generation of a policy, as it is written into the kernel's maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Its number; the lowest bit is the slot.
    pub generation: u32,
    /// The index of each profile.
    pub profiles: BTreeMap<String, u32>,
    /// Labels by number; 0 is "unlabelled".
    pub labels: Vec<LabelInfo>,
    /// Of each label the bits of the environments that its objects are credentials of.
    pub credentials: Vec<u16>,
    /// Rules by number; 0 is the profiles' default.
    pub rules: Vec<RuleInfo>,
    /// Rows of the matrix, by index.
    pub rows: Vec<(u32, Box<Row>)>,
    /// Alternatives of cells with a condition, with their index, in the order of their conditions' numbers.
    pub conditions: Vec<(u32, Alternatives)>,
    /// Operations that are judged only because a rule names them.
    pub demands: BTreeSet<Operation>,
    /// Labelled inodes.
    pub inodes: Vec<(InodeKey, InodeLabel)>,
    /// Labelled names.
    pub names: Vec<(NameKey, InodeLabel)>,
    /// Endpoint prefixes: bits of the key, the slot's included, and the key.
    pub endpoints: Vec<(u32, EndpointKey, EndpointLabels)>,
    /// Labels by the names that sessions hear.
    pub heard: Names,
    /// Programs with command patterns.
    pub commands: Vec<(CommandKey, CommandTable)>,
    /// Words of command patterns: the positions that name them.
    pub words: Vec<(WordKey, u64)>,
    /// The patterns themselves, for the exact match.
    pub patterns: Vec<CommandPattern>,
}

/// Why a policy without faults cannot be put into force on this machine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A bound of the kernel's maps is exceeded.
    #[error("the policy needs {count} {what}, and {limit} fit; name fewer objects")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it needs.
        count: usize,
        /// How many fit.
        limit: usize,
    },
    /// Too many port ranges apply to one prefix.
    #[error("{count} port ranges apply to {prefix}, those of enclosing ranges included, and {limit} fit; merge some")]
    TooManyPorts {
        /// The prefix.
        prefix: String,
        /// How many apply.
        count: usize,
        /// How many fit.
        limit: usize,
    },
    /// A session runs under a profile that the policy does not define.
    #[error("a session runs under profile `{name}`, which the policy does not define; define it, or end the session")]
    ProfileInUse {
        /// The profile.
        name: String,
    },
    /// A running session's profile has an index that the matrix does not have.
    #[error(
        "profile `{name}` has index {index} in the running sessions, and the matrix has {PROFILES}; end its sessions"
    )]
    ProfileIndex {
        /// The profile.
        name: String,
        /// The index.
        index: u32,
    },
    /// Nothing is known about a path of the policy.
    #[error("path {path} was not looked up, so it cannot be labelled; make it readable to the daemon")]
    PathUnknown {
        /// The path.
        path: String,
    },
    /// The object lies deeper than the kernel's walk.
    #[error("path {path} leads {levels} levels deep, and the kernel follows {limit}; name a directory above it")]
    PathTooDeep {
        /// The path.
        path: String,
        /// Levels of its canonical form, the root included.
        levels: usize,
        /// Levels that the kernel follows.
        limit: usize,
    },
    /// A host name has no address.
    #[error("host {host} has no address, so it cannot be labelled; correct the name, or name its range as `cidr`")]
    HostUnresolved {
        /// The host.
        host: String,
    },
}

/// Compiles a policy.
///
/// # Errors
/// What does not fit, or is not known.
pub fn compile(policy: &Checked, facts: &Facts) -> Result<Compiled, CompileError> {
    let slot = facts.generation & 1;
    let profiles = profiles(policy, facts)?;
    let mut matrix = Matrix::new(policy);
    let files = files::compile(policy, facts, &mut matrix)?;
    let endpoints = endpoints::compile(policy, facts)?;
    let commands = commands::compile(policy, slot)?;
    let mut conditions = Conditions::of(slot);
    let rows = matrix.rows(policy, &profiles, slot, &mut conditions)?;
    let (labels, credentials) = matrix.into_labels();
    Ok(Compiled {
        generation: facts.generation,
        rules: rules(policy),
        rows,
        conditions: conditions.rows,
        demands: policy.demands(),
        labels,
        credentials,
        profiles,
        inodes: with(files.inodes, special::devices(policy, facts), "labelled inodes and devices", INODES)?,
        names: with(files.names, special::names(policy, facts), "labelled names", NAMES)?,
        endpoints,
        heard: heard::compile(policy)?,
        commands: commands.tables,
        words: commands.words,
        patterns: commands.patterns,
    })
}

impl Compiled {
    /// The cell that judges an operation of a profile on a label.
    #[must_use]
    pub fn cell(&self, profile: u32, operation: Operation, label: u16) -> Option<&Cell> {
        let index = row_index(self.generation & 1, profile, operation as u32)?;
        let (_, row) = &self.rows[self.rows.binary_search_by_key(&index, |(index, _)| *index).ok()?];
        row.get(usize::from(label))
    }

    /// What decides in place of a cell with a condition, by the set of environments that a session has touched
    /// credentials of.
    #[must_use]
    pub fn alternatives(&self, cell: &Cell) -> Option<&Alternatives> {
        self.conditions.get(usize::from(cell.condition).checked_sub(1)?).map(|(_, cells)| cells)
    }

    /// Whether one cell is stricter than another.
    #[must_use]
    pub fn stricter(cell: &Cell, than: &Cell) -> bool {
        decision::strictness(cell) > decision::strictness(than)
    }

    /// The label of a command; of several, the one that the profile is judged most strictly on.
    ///
    /// `names` are the program's file names (as called, and behind links); `arguments` are those behind the
    /// program's name. `None` when no pattern matches.
    #[must_use]
    pub fn match_command(&self, profile: u32, names: &[&[u8]], arguments: &[Vec<u8>]) -> Option<u16> {
        let matching = self.patterns.iter().filter(|pattern| pattern.matches(names, arguments));
        let judged = matching.map(|pattern| {
            let cell = self.cell(profile, Operation::Command, pattern.label);
            // A profile without a row is refused whatever the label.
            (cell.map(decision::strictness), core::cmp::Reverse(pattern.label))
        });
        judged.max().map(|(_, core::cmp::Reverse(label))| label)
    }
}

/// Keeps the indices that running sessions hold, and gives the others free ones.
fn profiles(policy: &Checked, facts: &Facts) -> Result<BTreeMap<String, u32>, CompileError> {
    let defined: Vec<&str> = policy.profile_names().collect();
    let mut indices = BTreeMap::new();
    for (name, index) in &facts.profiles {
        if !defined.contains(&name.as_str()) {
            return Err(CompileError::ProfileInUse { name: name.clone() });
        }
        if *index >= PROFILES {
            return Err(CompileError::ProfileIndex { name: name.clone(), index: *index });
        }
        indices.insert(name.clone(), *index);
    }
    let mut free = (0..PROFILES).filter(|index| !facts.profiles.values().any(|taken| taken == index));
    for name in defined {
        if !indices.contains_key(name) {
            let index = free.next().ok_or_else(|| too_many("profiles", policy.profiles.len(), PROFILES as usize))?;
            indices.insert(name.to_owned(), index);
        }
    }
    Ok(indices)
}

fn rules(policy: &Checked) -> Vec<RuleInfo> {
    let default = RuleInfo {
        name: "default".to_owned(),
        message: None,
        tier: Tier::Autonomous,
        timeout: policy.timeout,
        verdict: Verdict::Allow,
        answer: NoAnswer::Refused,
        terms: Arc::default(),
    };
    let written = policy.rules.iter().map(|rule| RuleInfo {
        name: rule.name.clone(),
        message: rule.message.clone(),
        tier: rule.tier,
        timeout: rule.timeout,
        verdict: rule.verdict,
        answer: rule.answer,
        terms: Arc::new(rule.terms.clone()),
    });
    std::iter::once(default).chain(written).collect()
}

/// Two lists of records in one map.
fn with<T>(mut some: Vec<T>, more: Vec<T>, what: &'static str, both: u32) -> Result<Vec<T>, CompileError> {
    some.extend(more);
    fits(what, some.len(), both)?;
    Ok(some)
}

const fn too_many(what: &'static str, count: usize, limit: usize) -> CompileError {
    CompileError::TooMany { what, count, limit }
}

/// Refuses what exceeds half of a map: the other half is the other generation's.
const fn fits(what: &'static str, count: usize, both: u32) -> Result<(), CompileError> {
    let limit = both as usize / 2;
    if count > limit { Err(too_many(what, count, limit)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::operation::Operation;

    use super::sample::{compiled, facts};
    use super::{CompileError, Compiled};

    const POLICY: &str = "version: 1
labels:
  status: { commands: [git ** status] }
  push: { commands: [git ** push, git-push] }
profiles: { agent: { default: allow }, human: { default: allow }, ci: { default: deny } }
rules:
  - { name: status, profiles: all, operations: command, labels: status, verdict: allow }
  - { name: push, profiles: agent, operations: command, labels: push, verdict: hold, message: Ask. }
";

    fn matched(policy: &Compiled, profile: &str, names: &[&[u8]], arguments: &str) -> Option<String> {
        let arguments: Vec<Vec<u8>> = arguments.split(' ').map(Into::into).collect();
        let label = policy.match_command(policy.profiles[profile], names, &arguments)?;
        Some(policy.labels[usize::from(label)].name.clone())
    }

    #[test]
    fn of_several_commands_the_strictest_label_counts() {
        let policy = compiled(POLICY, &facts(POLICY, &[])).unwrap();
        assert_eq!(matched(&policy, "agent", &[b"git"], "status push").as_deref(), Some("push"));
        assert_eq!(
            matched(&policy, "human", &[b"git"], "status push").as_deref(),
            Some("status"),
            "of equals, the first rule's"
        );
        assert_eq!(matched(&policy, "agent", &[b"git"], "log"), None);
        assert_eq!(matched(&policy, "agent", &[b"x", b"git"], "push").as_deref(), Some("push"), "any name counts");
        assert_eq!(matched(&policy, "agent", &[b"/usr/bin/git"], "push"), None, "names are names");
    }

    #[test]
    fn running_sessions_keep_their_profiles_index() {
        let mut facts = facts(POLICY, &[]);
        facts.profiles.insert("human".to_owned(), 0);
        facts.profiles.insert("ci".to_owned(), 9);
        let policy = compiled(POLICY, &facts).unwrap();
        let indices: Vec<_> = policy.profiles.iter().map(|(name, index)| (name.as_str(), *index)).collect();
        assert_eq!(indices, [("agent", 1), ("ci", 9), ("human", 0)]);
        assert_eq!(policy.rows.len(), 3 * Operation::ALL.len());
        assert_eq!(policy.cell(9, Operation::Read, 0).unwrap().verdict, 4);
        assert_eq!(policy.cell(1, Operation::Read, 0).unwrap().verdict, 1);
        assert_eq!(policy.cell(5, Operation::Read, 0), None);
    }

    #[test]
    fn a_profile_in_use_cannot_be_taken_away() {
        let mut facts = facts(POLICY, &[]);
        facts.profiles.insert("gone".to_owned(), 3);
        assert_eq!(compiled(POLICY, &facts), Err(CompileError::ProfileInUse { name: "gone".to_owned() }));
        facts.profiles.clear();
        facts.profiles.insert("agent".to_owned(), 16);
        assert_eq!(compiled(POLICY, &facts), Err(CompileError::ProfileIndex { name: "agent".to_owned(), index: 16 }));
    }

    #[test]
    fn labels_without_a_number_are_undecided_and_so_refused() {
        let policy = compiled(POLICY, &facts(POLICY, &[])).unwrap();
        assert_eq!(policy.cell(0, Operation::Read, 3).unwrap().verdict, 0);
        assert_eq!(policy.cell(0, Operation::Read, 256), None);
    }

    #[test]
    fn rule_nought_is_the_default_and_the_first_that_matches_wins() {
        let text = "version: 1
timeout: 9m
labels: { a: { paths: [/a] } }
profiles: { agent: { default: audit } }
rules:
  - { name: first, profiles: all, operations: delete, labels: a, verdict: allow }
  - { name: second, profiles: all, operations: [delete, write], labels: a, verdict: deny }
";
        let policy = compiled(text, &facts(text, &[])).unwrap();
        let cell = |operation| policy.cell(0, operation, 1).map(|cell| (cell.verdict, cell.tier, cell.rule)).unwrap();
        assert_eq!(cell(Operation::Delete), (1, 1, 1));
        assert_eq!(cell(Operation::Write), (4, 3, 2));
        assert_eq!(cell(Operation::Read), (2, 2, 0));
        let names: Vec<_> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["default", "first", "second"]);
        assert_eq!(policy.rules[0].timeout.as_secs(), 540);
    }
}
