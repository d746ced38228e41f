//! From shape to meaning: resolves names, and notes whatever contradicts itself or could never take effect.
//!
//! Owns `Checked`, which only this file can build: whoever holds one holds a policy without faults.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use agent_guard_common::credential::{Environment, Whose};
use agent_guard_common::limits::{LABELS, PROFILES, RULES};
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::{Tier, Verdict};

use super::fault::Faults;
use super::objects::{Addresses, Objects, Seen, objects};
use super::read::At;
use super::rules;
use super::syntax;
use super::terms::Terms;
use super::value::text::Name;
use super::value::word::{Leads, NoAnswer};
use super::variables::Stripping;

/// Questions that a session may ask within a minute when its profile does not say: more than a person answers.
const DEFAULT_QUESTIONS: u32 = 100;
/// What a held call waits when the policy does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A policy without faults, its names resolved.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(super) timeout: Duration,
    /// In the order of the text; label number 1 is the first.
    pub(super) labels: Vec<Label>,
    /// In the order of the text.
    pub(super) profiles: Vec<Profile>,
    /// In the order of the text; rule number 1 is the first.
    pub(super) rules: Vec<Rule>,
}

/// A label and what it names.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) name: String,
    /// Where these credentials lead, if they are some.
    pub(super) credential: Option<Environment>,
    /// Whether they are none, whatever their names say.
    pub(super) is_public: bool,
    pub(super) objects: Objects,
}

/// A profile.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) default: Verdict,
    /// What its commands are not passed.
    pub(super) variables: Stripping,
    /// Whose touching of a credential counts.
    pub(super) credentialed: Whose,
    /// How many questions it may ask within a minute.
    pub(super) questions: u32,
}

/// A rule with its names resolved to numbers.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// Indices of `Checked::profiles`.
    pub(super) profiles: BTreeSet<usize>,
    /// Operations, each with the label numbers that it is judged on.
    pub(super) acts: BTreeMap<Operation, BTreeSet<u16>>,
    /// Bits of the environments of which the session must have touched a credential; 0: it decides in any case.
    pub(super) credentialed: u16,
    pub(super) verdict: Verdict,
    pub(super) tier: Tier,
    pub(super) timeout: Duration,
    /// How a lookup that it denies is answered.
    pub(super) answer: NoAnswer,
    /// What it takes to approve an act that it holds.
    pub(super) terms: Terms,
    pub(super) message: Option<String>,
}

impl Rule {
    /// Whether it decides for sessions that have touched credentials of a set of environments, which has their bits.
    pub(super) const fn decides(&self, set: u16) -> bool {
        self.credentialed == 0 || self.credentialed & set != 0
    }
}

impl Checked {
    /// The paths that labels name, in order, each once; see [`super::places`] for where they are.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let paths: BTreeSet<&str> = self.objects().filter_map(Objects::paths).flatten().map(String::as_str).collect();
        paths.into_iter()
    }

    /// The host names that labels name, in order, each once.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let hosts: BTreeSet<&str> = self
            .objects()
            .filter_map(Objects::endpoints)
            .flatten()
            .filter_map(|endpoint| endpoint.addresses.host())
            .collect();
        hosts.into_iter()
    }

    /// The operations that are not simply allowed everywhere: what the kernel must be able to enforce.
    #[must_use]
    pub fn operations(&self) -> BTreeSet<Operation> {
        let by_default = self.profiles.iter().any(|profile| profile.default != Verdict::Allow);
        let left_out = Operation::ALL.iter().copied().filter(|operation| by_default && !operation.must_be_named());
        let rules = self.rules.iter().filter(|rule| rule.verdict != Verdict::Allow);
        rules.flat_map(|rule| rule.acts.keys().copied()).chain(left_out).collect()
    }

    /// Those of them that are judged only because the policy names them, lookups included where it speaks of names.
    pub(super) fn demands(&self) -> BTreeSet<Operation> {
        let named = self.operations().into_iter().filter(|operation| operation.must_be_named());
        let mut endpoints = self.objects().filter_map(Objects::endpoints).flatten();
        let hears = endpoints.any(|endpoint| matches!(endpoint.addresses, Addresses::Heard(_)));
        named.chain(hears.then_some(Operation::Resolve)).collect()
    }

    /// The operations that a rule holds, and the labels of what it holds them on. Of a rule that is not there, none.
    #[must_use]
    pub fn held_by(&self, rule: &str) -> (Vec<Operation>, Vec<&str>) {
        let acts = self.rules.iter().filter(|held| held.name == rule).flat_map(|held| &held.acts);
        let (mut operations, mut labels) = (BTreeSet::new(), BTreeSet::new());
        for (operation, of) in acts {
            operations.insert(*operation);
            labels.extend(of);
        }
        let name = |number: &u16| match usize::from(*number).checked_sub(1) {
            None => Some("unlabelled"),
            Some(index) => self.labels.get(index).map(|label| label.name.as_str()),
        };
        (operations.into_iter().collect(), labels.iter().filter_map(name).collect())
    }

    /// The names of the profiles, in the order of the text.
    pub fn profile_names(&self) -> impl Iterator<Item = &str> {
        self.profiles.iter().map(|profile| profile.name.as_str())
    }

    /// How long a held call waits where its rule does not say.
    #[must_use]
    pub const fn default_timeout(&self) -> Duration {
        self.timeout
    }

    /// How many questions a session under a profile may have people asked within a minute.
    #[must_use]
    pub fn questions(&self, profile: &str) -> u32 {
        let found = self.profiles.iter().find(|known| known.name == profile);
        found.map_or(DEFAULT_QUESTIONS, |profile| profile.questions)
    }

    fn objects(&self) -> impl Iterator<Item = &Objects> {
        self.labels.iter().map(|label| &label.objects)
    }
}

/// Gives a policy its meaning. What comes back is a policy only if no fault was noted.
pub(super) fn check(policy: syntax::Policy, faults: &mut Faults) -> Checked {
    let timeout = policy.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |timeout| timeout.value.0);
    let mut seen = Seen::default();
    let entries = policy.labels.map_or_else(Vec::new, |table| table.0);
    // 0 is "unlabelled".
    limit(&entries, LABELS as usize - 1, "labels", faults);
    let labels: Vec<(Name, Option<Label>)> = entries
        .into_iter()
        .map(|(name, label)| {
            let credential = label.as_ref().and_then(|label| Some(label.credential.as_ref()?.value));
            let objects = label.and_then(|label| objects(&name.value, label, &mut seen, faults));
            let is_public = credential == Some(Leads(None));
            let credential = credential.and_then(|leads| leads.0);
            (name.value.clone(), objects.map(|objects| Label { name: name.value.0, credential, is_public, objects }))
        })
        .collect();
    let entries = policy.profiles.0.map_or_else(Vec::new, |table| table.0);
    limit(&entries, PROFILES as usize, "profiles", faults);
    let profiles: Vec<Profile> = entries.into_iter().map(profile).collect();
    let kind = |label: &Option<Label>| label.as_ref().map(|label| label.objects.kind());
    let names = rules::Names {
        labels: (1_u16..)
            .zip(&labels)
            .map(|(number, (name, label))| (name.0.as_str(), (number, kind(label))))
            .collect(),
        profiles: profiles.iter().enumerate().map(|(index, profile)| (profile.name.as_str(), index)).collect(),
        timeout,
    };
    let mut written = policy.rules.unwrap_or_default();
    // 0 is the built-in default.
    let most = RULES as usize - 1;
    if let Some(rule) = written.get(most) {
        faults.add(rule.at, format!("the policy has {} rules; at most {most} fit", written.len()));
        written.truncate(most);
    }
    let rules = rules::resolve(written, &names, faults);
    Checked { timeout, labels: labels.into_iter().filter_map(|(_, label)| label).collect(), profiles, rules }
}

fn limit<T>(entries: &[(At<Name>, Option<T>)], most: usize, what: &str, faults: &mut Faults) {
    if let Some((name, _)) = entries.get(most) {
        faults.add(name.at, format!("the policy has {} {what}; at most {most} fit", entries.len()));
    }
}

fn profile((name, profile): (At<Name>, Option<syntax::Profile>)) -> Profile {
    // What could not be read is a fault already; the name alone keeps the rules from being faulted too.
    let variables = profile.as_ref().and_then(|profile| profile.variables.as_ref()).map(|variables| variables.value);
    let credentialed = profile.as_ref().and_then(|profile| profile.credentialed.as_ref()).map(|whose| whose.value);
    let questions = profile.as_ref().and_then(|profile| profile.questions.as_ref()).map(|most| most.value.0);
    let default = profile.and_then(|profile| profile.default.0).map_or(Verdict::Deny, |default| default.value.0);
    Profile {
        name: name.value.0,
        default,
        variables: variables.unwrap_or_default(),
        credentialed: credentialed.unwrap_or_default(),
        questions: questions.unwrap_or(DEFAULT_QUESTIONS),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use agent_guard_common::operation::Operation;

    use crate::policy::load;

    const POLICY: &str = "version: 1
labels:
  data: { paths: [/srv/prod, /etc/prod.conf, ~/prod] }
  config: { paths: [/etc/app] }
  cloud: { endpoints: [{ host: db.example, ports: [5432] }, { host: db.example, ports: [80] }, { cidr: 10.0.0.0/8 }] }
profiles: { agent: { default: allow }, human: { default: allow } }
rules:
  - { name: r, profiles: agent, operations: [delete], labels: data, verdict: hold }
  - { name: s, profiles: all, operations: [write], labels: data, verdict: allow }
";

    #[test]
    fn a_policy_says_what_must_be_looked_up() {
        let policy = load(POLICY).unwrap();
        assert_eq!(policy.paths().collect::<Vec<_>>(), ["/etc/app", "/etc/prod.conf", "/srv/prod", "~/prod"]);
        assert_eq!(policy.hosts().collect::<Vec<_>>(), ["db.example"]);
        assert_eq!(policy.profile_names().collect::<Vec<_>>(), ["agent", "human"]);
        assert_eq!(policy.default_timeout().as_secs(), 300);
    }

    #[test]
    fn only_what_is_not_simply_allowed_must_be_enforced() {
        assert_eq!(load(POLICY).unwrap().operations(), BTreeSet::from([Operation::Delete]));
        let strict = load(&POLICY.replace("human: { default: allow }", "human: { default: audit }")).unwrap();
        let unless_named = Operation::ALL.iter().copied().filter(|operation| !operation.must_be_named());
        assert_eq!(strict.operations(), unless_named.collect());
        assert_eq!(strict.demands(), BTreeSet::new());
        let demanding = load(&POLICY.replace("[delete]", "[delete, modify]").replace("hold", "deny")).unwrap();
        assert_eq!(demanding.demands(), BTreeSet::from([Operation::Modify]));
    }
}
