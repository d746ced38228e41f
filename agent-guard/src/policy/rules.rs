//! The rules: resolves the names in them, and notes those that could never decide anything.

use core::time::Duration;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use agent_guard_common::credential::{Environment, SETS};
use agent_guard_common::limits::{LABELS, PROFILES};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::UNLABELLED;
use agent_guard_common::verdict::{Tier, Verdict};

use super::check::Rule;
use super::fault::{Faults, Position, did_you_mean, one_of, quoted};
use super::kind::Kind;
use super::read::{At, Given, Several};
use super::syntax;
use super::terms::Terms;
use super::value::text::{LabelName, Name};
use super::value::word::NoAnswer;

/// The names that rules may refer to.
pub(super) struct Names<'a> {
    /// Labels with their numbers, from 1. A label that could not be read has no kind.
    pub(super) labels: BTreeMap<&'a str, (u16, Option<Kind>)>,
    /// Profiles with their indices.
    pub(super) profiles: BTreeMap<&'a str, usize>,
    /// The policy's own timeout.
    pub(super) timeout: Duration,
}

/// Resolves all rules.
pub(super) fn resolve(written: Vec<syntax::Rule>, names: &Names<'_>, faults: &mut Faults) -> Vec<Rule> {
    let mut known = BTreeMap::new();
    let mut decided = Decided::default();
    let mut rules = Vec::with_capacity(written.len());
    for rule in written {
        let at = rule.name.0.as_ref().map_or(rule.at, |name| name.at);
        if let Some(name) = &rule.name.0 {
            match known.entry(name.value.clone()) {
                Entry::Occupied(before) => {
                    faults.add(
                        at,
                        format!("the rule at {} has this name already; expected a name of its own", before.get()),
                    );
                }
                Entry::Vacant(free) => {
                    free.insert(at);
                }
            }
        }
        let rule = names.rule(rule, faults);
        decided.enter(&rule, at, &rules, faults);
        rules.push(rule);
    }
    rules
}

impl Names<'_> {
    fn rule(&self, rule: syntax::Rule, faults: &mut Faults) -> Rule {
        // What could not be read is a fault already; anything may stand in for it.
        let verdict = rule.verdict.0.map_or(Verdict::Hold, |verdict| verdict.value);
        let timeout = rule.timeout.map_or(self.timeout, |timeout| {
            if verdict != Verdict::Hold {
                faults.add(timeout.at, "only a call that is held waits; expected no `timeout` without `verdict: hold`");
            }
            timeout.value.0
        });
        let operations = or_none(rule.operations);
        if verdict == Verdict::Hold {
            note_unholdable(&operations, faults);
        }
        let credentialed = rule.when.map_or(0, |when| credentialed(&or_none(when.credentialed), faults));
        let answer = rule.answer.map_or(NoAnswer::Refused, |answer| {
            let is_denied = verdict == Verdict::Deny && names(&operations, Operation::Resolve);
            if !is_denied {
                faults.add(
                    answer.at,
                    "only a lookup that is denied has an `answer`; expected `verdict: deny` and `resolve`",
                );
            }
            answer.value
        });
        let mut acts = self.acts(&operations, &or_none(rule.labels), faults);
        if credentialed != 0 {
            note_unconditional(&operations, faults);
            acts.retain(|operation, _| operation.has_conditions());
        }
        Rule {
            profiles: self.profiles(&or_none(rule.profiles), faults),
            acts,
            credentialed,
            verdict,
            tier: rule.tier.map_or_else(|| usual_tier(verdict), |tier| tier.value),
            timeout,
            answer,
            terms: rule.approval.map_or_else(Terms::default, |approval| terms(approval, verdict, faults)),
            message: rule.message.map(|message| message.value.0),
            name: rule.name.0.map_or_else(String::new, |name| name.value.0),
        }
    }

    fn profiles(&self, written: &Several<Name>, faults: &mut Faults) -> BTreeSet<usize> {
        let Several::These(written) = written else {
            return (0..self.profiles.len()).collect();
        };
        note_repeated(written, "profile", faults);
        if self.profiles.is_empty() {
            // That there is none at all is one fault, not one a rule.
            return BTreeSet::new();
        }
        let find = |name: &At<Name>| {
            let found = self.profiles.get(name.value.0.as_str()).copied();
            if found.is_none() {
                note_undefined("profile", &name.value.0, name.at, self.profiles.keys().copied(), faults);
            }
            found
        };
        written.iter().filter_map(find).collect()
    }

    /// Pairs each operation with the labels that it can meet.
    fn acts(
        &self,
        operations: &Several<Operation>,
        labels: &Several<LabelName>,
        faults: &mut Faults,
    ) -> BTreeMap<Operation, BTreeSet<u16>> {
        let listed: Vec<Operation> = match operations {
            Several::All => Operation::ALL.iter().copied().filter(|operation| !operation.must_be_named()).collect(),
            Several::These(these) => {
                note_repeated(these, "operation", faults);
                these.iter().map(|operation| operation.value).collect()
            }
        };
        let targets = self.targets(labels, faults);
        // Of names that stand for nothing, nothing can be said: they are faults already.
        if let (Some(targets), Several::These(operations)) = (&targets, operations) {
            note_aimless(operations, targets, faults);
        }
        let targets = targets.unwrap_or_default();
        for target in &targets {
            if let (Some(at), false) =
                (target.at, listed.is_empty() || listed.iter().any(|operation| target.meets(*operation)))
            {
                let able = Operation::ALL
                    .iter()
                    .filter(|operation| target.meets(**operation))
                    .map(|operation| operation.name());
                let able = one_of(able);
                let text = match target.kind {
                    Some(Kind::Variables) => "no operation meets variables; expected no rule about them".to_owned(),
                    _ => format!("no operation of this rule can meet this label; expected {able} among them"),
                };
                faults.add(at, text);
            }
        }
        let met = |operation: Operation| {
            let labels: BTreeSet<u16> =
                targets.iter().filter(|target| target.meets(operation)).map(|target| target.label).collect();
            (!labels.is_empty()).then_some((operation, labels))
        };
        listed.into_iter().filter_map(met).collect()
    }

    /// The labels that a rule names; `None` when one of them could not be found or read.
    fn targets(&self, written: &Several<LabelName>, faults: &mut Faults) -> Option<Vec<Target>> {
        let Several::These(written) = written else {
            let all = self.labels.values().map(|label| Target::named(*label, None));
            return std::iter::once(Some(Target { label: UNLABELLED, kind: None, at: None })).chain(all).collect();
        };
        note_repeated(written, "label", faults);
        let mut target = |name: &At<LabelName>| {
            let text = match &name.value {
                LabelName::Unlabelled => return Some(Target { label: UNLABELLED, kind: None, at: Some(name.at) }),
                LabelName::Named(text) => text,
            };
            let found = self.labels.get(text.as_str());
            if found.is_none() {
                note_undefined("label", text, name.at, self.labels.keys().copied(), faults);
            }
            Target::named(*found?, Some(name.at))
        };
        // All are looked up before the first that is missing ends it.
        let targets: Vec<Option<Target>> = written.iter().map(&mut target).collect();
        targets.into_iter().collect()
    }
}

/// Whether a list names an operation.
fn names(operations: &Several<Operation>, operation: Operation) -> bool {
    matches!(operations, Several::These(these) if these.iter().any(|one| one.value == operation))
}

fn or_none<T>(written: Given<Several<T>>) -> Several<T> {
    written.0.unwrap_or(Several::These(Vec::new()))
}

/// A label that a rule names.
struct Target {
    label: u16,
    /// `None` for what no label names.
    kind: Option<Kind>,
    /// Where it is named; `None` behind `all`, which means all that can be met.
    at: Option<Position>,
}

impl Target {
    fn named((label, kind): (u16, Option<Kind>), at: Option<Position>) -> Option<Self> {
        Some(Self { label, kind: Some(kind?), at })
    }

    fn meets(&self, operation: Operation) -> bool {
        // A command that no label describes is judged as the execution of its binary, never as a command.
        self.kind.map_or(operation != Operation::Command, |kind| kind.meets(operation))
    }
}

fn note_aimless(operations: &[At<Operation>], targets: &[Target], faults: &mut Faults) {
    for operation in operations {
        if !targets.is_empty() && !targets.iter().any(|target| target.meets(operation.value)) {
            let (name, kinds) = (operation.value.name(), Kind::of(operation.value));
            let kinds = one_of(kinds.iter().map(|kind| kind.name()));
            let text = if Kind::of(operation.value).is_empty() {
                format!("`{name}` acts on what no label names; expected `unlabelled` in this rule")
            } else {
                format!("`{name}` acts on {kinds}; expected a label of {kinds} in this rule")
            };
            faults.add(operation.at, text);
        }
    }
}

/// Behind `all` they are refused, as everything is that cannot be held; where they are named, somebody expects a question.
fn note_unholdable(operations: &Several<Operation>, faults: &mut Faults) {
    let Several::These(operations) = operations else { return };
    for operation in operations.iter().filter(|operation| !operation.value.holdable()) {
        let name = operation.value.name();
        faults
            .add(operation.at, format!("`{name}` cannot be held; expected it in a rule of `allow`, `audit` or `deny`"));
    }
}

/// What an approval takes.
fn terms(approval: syntax::Approval, verdict: Verdict, faults: &mut Faults) -> Terms {
    if verdict != Verdict::Hold {
        faults.add(approval.at, "only a call that is held is approved; expected no `approval` without `verdict: hold`");
    }
    let demands = approval.demands.and_then(|demands| demands.0).unwrap_or_default();
    note_repeated(&demands, "demand", faults);
    let terms = Terms {
        approvers: approval.approvers.map_or(1, |approvers| approvers.value.0),
        group: approval.group.map(|group| group.value.0),
        demands: demands.into_iter().map(|demand| demand.value).collect(),
        widest: approval.widest.map_or(Terms::default().widest, |widest| widest.value),
    };
    if terms.are_usual() {
        faults.add(
            approval.at,
            "this says no more than holds of any approval; expected `approvers`, `group`, `demands` or `widest`",
        );
    }
    terms
}

/// The bits of the environments that a condition names.
fn credentialed(written: &Several<Environment>, faults: &mut Faults) -> u16 {
    match written {
        Several::All => Environment::ALL.iter().fold(0, |bits, environment| bits | environment.bit()),
        Several::These(these) => {
            note_repeated(these, "environment", faults);
            these.iter().fold(0, |bits, environment| bits | environment.value.bit())
        }
    }
}

/// Behind `all` they are left out: the rule is about the others.
fn note_unconditional(operations: &Several<Operation>, faults: &mut Faults) {
    let Several::These(operations) = operations else { return };
    for operation in operations.iter().filter(|operation| !operation.value.has_conditions()) {
        let name = operation.value.name();
        faults.add(
            operation.at,
            format!("`{name}` is judged alike whatever was touched; expected `connect`, `unix-connect` or `resolve` in a rule with `when`"),
        );
    }
}

fn note_repeated<T: Ord>(list: &[At<T>], what: &str, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for entry in list {
        if !seen.insert(&entry.value) {
            faults.add(entry.at, format!("this {what} stands in the list already; expected it once"));
        }
    }
}

/// Which rule decides an act, by profile, operation and label, and by the environments that the session has touched
/// credentials of.
#[derive(Default)]
struct Decided(BTreeMap<(usize, Operation, u16), [Option<usize>; SETS]>);

impl Decided {
    fn cells(&mut self, profile: usize, operation: Operation, label: u16) -> Option<&mut [Option<usize>; SETS]> {
        // More profiles or labels than fit are a fault already.
        let fits = profile < PROFILES as usize && u32::from(label) < LABELS;
        fits.then(|| self.0.entry((profile, operation, label)).or_insert([None; SETS]))
    }

    /// Enters a rule, and notes it when it never decides, since earlier ones decide all that it names.
    fn enter(&mut self, rule: &Rule, at: Position, earlier: &[Rule], faults: &mut Faults) {
        let number = earlier.len();
        let mut winners = BTreeSet::new();
        for profile in &rule.profiles {
            for (operation, labels) in &rule.acts {
                for label in labels {
                    let Some(cells) = self.cells(*profile, *operation, *label) else { continue };
                    for (_, cell) in (0_u16..).zip(cells).filter(|(set, _)| rule.decides(*set)) {
                        winners.insert(*cell.get_or_insert(number));
                    }
                }
            }
        }
        // A rule that names nothing that could be found is a fault already.
        if winners.is_empty() || winners.contains(&number) {
            return;
        }
        let names: Vec<String> =
            winners.iter().filter_map(|winner| earlier.get(*winner)).map(|rule| format!("`{}`", rule.name)).collect();
        faults.add(
            at,
            format!(
                "this rule never decides, since the first that matches wins: all that it names is decided by {}",
                names.join(", ")
            ),
        );
    }
}

fn note_undefined<'a>(
    what: &str,
    name: &str,
    at: Position,
    known: impl Iterator<Item = &'a str> + Clone,
    faults: &mut Faults,
) {
    // To look for near misses takes time, and so many faults are not read.
    let text = if faults.is_full() { String::new() } else { undefined(what, name, known) };
    faults.add(at, text);
}

fn undefined<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let hint = did_you_mean(name, known.clone());
    if known.clone().next().is_none() {
        return format!("the policy defines no {what} {}: it defines none at all", quoted(name));
    }
    // A long list would bury the hint.
    let listed = if hint.is_empty() && known.clone().count() <= 8 {
        format!("; expected {}", one_of(known))
    } else {
        String::new()
    };
    format!("the policy defines no {what} {}{listed}{hint}", quoted(name))
}

/// The tier of a verdict where the rule does not say.
pub(super) const fn usual_tier(verdict: Verdict) -> Tier {
    match verdict {
        Verdict::Allow => Tier::Autonomous,
        Verdict::Audit => Tier::Supervised,
        Verdict::Hold | Verdict::Deny => Tier::Gated,
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::operation::Operation;
    use agent_guard_common::verdict::Tier;

    use crate::policy::check::Checked;
    use crate::policy::load;

    fn with(rule: &str) -> Checked {
        let text = format!(
            "version: 1
timeout: 7m
labels: {{ data: {{ paths: [/a] }}, cloud: {{ endpoints: [{{ cidr: 10.0.0.1 }}] }}, tools: {{ commands: [rm] }} }}
profiles: {{ agent: {{ default: allow }}, human: {{ default: allow }} }}
rules: [{{ name: r, {rule} }}]
"
        );
        load(&text).unwrap()
    }

    #[test]
    fn all_means_all_that_can_meet() {
        let policy = with("profiles: all, operations: all, labels: all, verdict: deny");
        let rule = &policy.rules[0];
        assert_eq!(rule.profiles.len(), 2);
        let labels = |operation| rule.acts[&operation].iter().copied().collect::<Vec<_>>();
        assert_eq!(labels(Operation::Delete), [0, 1]);
        assert_eq!(labels(Operation::Connect), [0, 2]);
        assert_eq!(labels(Operation::Command), [3]);
        assert!(!rule.acts.contains_key(&Operation::Modify), "it must be named");
    }

    #[test]
    fn operations_meet_labels_of_their_kind() {
        let policy = with("profiles: agent, operations: [delete, connect], labels: [data, cloud], verdict: deny");
        let rule = &policy.rules[0];
        assert_eq!(rule.acts[&Operation::Delete].iter().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(rule.acts[&Operation::Connect].iter().copied().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn tier_and_timeout_have_their_usual_values() {
        let tier = |rest: &str| {
            let policy = with(&format!("profiles: agent, operations: delete, labels: data, {rest}"));
            (policy.rules[0].tier, policy.rules[0].timeout.as_secs())
        };
        assert_eq!(tier("verdict: allow"), (Tier::Autonomous, 420));
        assert_eq!(tier("verdict: audit"), (Tier::Supervised, 420));
        assert_eq!(tier("verdict: hold"), (Tier::Gated, 420));
        assert_eq!(tier("verdict: hold, tier: supervised, timeout: 90s"), (Tier::Supervised, 90));
    }
}
