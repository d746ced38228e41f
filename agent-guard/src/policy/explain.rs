//! Why an act would be judged as it would: the cell, the rule behind it, and `judge()`'s word on it.

use agent_guard_common::operation::Operation;
use agent_guard_common::session::state;
use agent_guard_common::verdict::{Judgement, Reason, Tier, Verdict, judge};

use super::compile::{Compiled, LabelInfo, RuleInfo};

/// Why an act would be judged as it would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// The label that decides.
    pub label: &'a LabelInfo,
    /// The rule that decides; the policy's rule number 0 is the profile's default.
    pub rule: &'a RuleInfo,
    /// What it says.
    pub verdict: Verdict,
    /// How closely the act is watched.
    pub tier: Tier,
    /// What the kernel would do, in an active session, with a daemon to ask and nothing answered yet.
    pub judgement: Judgement,
}

/// Why there is nothing to explain.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// No such profile.
    #[error("the policy defines no profile {0:?}; `policy check` lists what it defines")]
    Profile(String),
    /// No such label.
    #[error("the policy defines no label {0:?}; `policy check` lists what it defines")]
    Label(String),
    /// The matrix has no valid cell there.
    #[error("the policy decides nothing about {operation} for this profile; reload it")]
    Undecided {
        /// The operation's name.
        operation: &'static str,
    },
}

/// Explains an act on an object with some labels, or, with none, on one that no label names.
///
/// # Errors
/// What of the question the policy does not know.
pub fn explain<'a>(
    policy: &'a Compiled,
    profile: &str,
    operation: Operation,
    labels: &[&str],
) -> Result<Explanation<'a>, ExplainError> {
    let index = *policy.profiles.get(profile).ok_or_else(|| ExplainError::Profile(profile.to_owned()))?;
    let unlabelled = ["unlabelled"];
    let labels = if labels.is_empty() { &unlabelled[..] } else { labels };
    let undecided = || ExplainError::Undecided { operation: operation.name() };
    let mut strictest = None;
    for name in labels {
        let (label, number) = policy
            .labels
            .iter()
            .zip(0_u16..)
            .find(|(label, _)| label.name == *name)
            .ok_or_else(|| ExplainError::Label((*name).to_owned()))?;
        let cell = policy.cell(index, operation, number).ok_or_else(undecided)?;
        if strictest.is_none_or(|(_, other)| Compiled::stricter(cell, other)) {
            strictest = Some((label, cell));
        }
    }
    let (label, cell) = strictest.ok_or_else(undecided)?;
    let (verdict, tier) =
        Verdict::try_from(cell.verdict).ok().zip(Tier::try_from(cell.tier).ok()).ok_or_else(undecided)?;
    Ok(Explanation {
        label,
        rule: policy.rules.get(usize::from(cell.rule)).ok_or_else(undecided)?,
        verdict,
        tier,
        judgement: judge(&agent_guard_common::verdict::Facts {
            verdict: cell.verdict,
            session: state::ACTIVE,
            heartbeat_age: 0,
            obstacle: Reason::None,
            answer: 0,
            asks: 0,
        }),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agent_guard_common::hash::SipKey;
    use agent_guard_common::operation::Operation;
    use agent_guard_common::verdict::{Judgement, Reason, Verdict};

    use super::{ExplainError, explain};
    use crate::policy::{Compiled, Facts, compile, load};

    fn policy() -> Compiled {
        let text = "version: 1
labels: { tools: { commands: [rm] }, more: { commands: [rm -r] }, cloud: { endpoints: [{ cidr: 10.0.0.1 }] } }
profiles: { agent: { default: audit } }
rules:
  - { name: first, profiles: all, operations: command, labels: tools, verdict: hold }
  - { name: second, profiles: all, operations: command, labels: more, verdict: deny }
";
        let facts = Facts {
            generation: 1,
            key: SipKey { k0: 1, k1: 2 },
            profiles: BTreeMap::new(),
            homes: Vec::new(),
            paths: BTreeMap::new(),
            hosts: BTreeMap::new(),
        };
        compile(&load(text).unwrap(), &facts).unwrap()
    }

    #[test]
    fn the_strictest_label_decides_and_names_its_rule() {
        let policy = policy();
        let said = explain(&policy, "agent", Operation::Command, &["tools"]).unwrap();
        assert_eq!((said.verdict, said.rule.name.as_str(), said.judgement), (Verdict::Hold, "first", Judgement::Ask));
        let said = explain(&policy, "agent", Operation::Command, &["tools", "more"]).unwrap();
        assert_eq!((said.label.name.as_str(), said.rule.name.as_str()), ("more", "second"));
        assert_eq!(said.judgement, Judgement::Refuse(Reason::Policy));
    }

    #[test]
    fn what_no_rule_names_has_the_profiles_default() {
        let policy = policy();
        let said = explain(&policy, "agent", Operation::Connect, &[]).unwrap();
        assert_eq!((said.verdict, said.rule.name.as_str()), (Verdict::Audit, "default"));
        assert_eq!(said.judgement, Judgement::PassAudited);
    }

    #[test]
    fn what_the_policy_does_not_know_is_an_error() {
        let policy = policy();
        assert_eq!(explain(&policy, "nobody", Operation::Read, &[]), Err(ExplainError::Profile("nobody".to_owned())));
        assert_eq!(explain(&policy, "agent", Operation::Read, &["x"]), Err(ExplainError::Label("x".to_owned())));
    }
}
