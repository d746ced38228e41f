//! What the policy says of a lookup of a name: the one act that the daemon does itself, and so judges itself.
//!
//! The verdict is `judge()`'s, from the cells that the kernel would look at. It must not know DNS.

use agent_guard_common::operation::Operation;
use agent_guard_common::session::state;
use agent_guard_common::verdict::{Facts, Judgement, Reason, Tier, judge};

use super::compile::{Compiled, RuleInfo};
use super::value::word::NoAnswer;

/// How a lookup was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The label that decided, by its number.
    pub label: u16,
    /// The rule; `None` where there is no verdict, which is a refusal.
    pub rule: Option<&'a RuleInfo>,
    /// How closely it is watched.
    pub tier: Tier,
    /// What is to be done.
    pub ruling: Ruling,
}

/// What is to be done about a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is answered.
    Answer,
    /// It is answered, and recorded.
    AnswerAudited,
    /// It is answered so.
    Refuse(NoAnswer),
}

impl Compiled {
    /// Judges a lookup of a name, in lower case, by a session of this profile that has touched credentials of the
    /// environments whose bits are set.
    #[must_use]
    pub fn lookup(&self, profile: u32, touched: u64, name: &str) -> Lookup<'_> {
        let label = self.label_of_name(profile, name);
        let set = usize::try_from(touched).unwrap_or(usize::MAX);
        let cell = self.cell(profile, Operation::Resolve, label).copied();
        let decides = cell.and_then(|cell| match self.alternatives(&cell) {
            Some(cells) => cells.get(set % cells.len()).copied(),
            None => Some(cell),
        });
        let facts = Facts {
            verdict: decides.map_or(0, |cell| cell.verdict),
            session: state::ACTIVE,
            heartbeat_age: 0,
            // Nobody can be asked while a program waits for its answer.
            obstacle: Reason::NotRestartable,
            answer: 0,
            asks: 0,
        };
        let rule = decides.and_then(|cell| self.rules.get(usize::from(cell.rule)));
        let ruling = match judge(&facts) {
            Judgement::Pass => Ruling::Answer,
            Judgement::PassAudited => Ruling::AnswerAudited,
            _ => Ruling::Refuse(rule.map_or(NoAnswer::Refused, |rule| rule.answer)),
        };
        let tier = decides.and_then(|cell| Tier::try_from(cell.tier).ok()).unwrap_or(Tier::Gated);
        Lookup { label, rule, tier, ruling }
    }
}

#[cfg(test)]
mod tests {
    use super::Ruling;
    use crate::policy::compile::sample::{compiled, facts};
    use crate::policy::value::word::NoAnswer;

    #[test]
    fn a_lookup_is_judged_by_its_name_and_by_what_was_touched() {
        let text = "version: 1
labels:
  hidden: { endpoints: [{ name: '*.onion.example' }] }
  watched: { endpoints: [{ name: watched.example }] }
  inner: { endpoints: [{ name: '*.inner.example' }] }
profiles: { agent: { default: deny }, human: { default: allow } }
rules:
  - { name: a, profiles: agent, operations: resolve, labels: hidden, verdict: deny, answer: nxdomain }
  - { name: b, profiles: agent, operations: resolve, labels: watched, verdict: audit }
  - { name: c, profiles: agent, operations: resolve, labels: inner, when: { credentialed: staging }, verdict: deny }
";
        let policy = compiled(text, &facts(text, &[])).unwrap();
        let agent = policy.profiles["agent"];
        let ruling = |touched, name| policy.lookup(agent, touched, name).ruling;
        assert_eq!(ruling(0, "x.onion.example"), Ruling::Refuse(NoAnswer::NoSuchName));
        assert_eq!(ruling(0, "watched.example"), Ruling::AnswerAudited);
        assert_eq!(ruling(0b01, "db.inner.example"), Ruling::Answer);
        assert_eq!(ruling(0b10, "db.inner.example"), Ruling::Refuse(NoAnswer::Refused));
        assert_eq!(ruling(0, "elsewhere.test"), Ruling::Answer, "what must be named is allowed where it is not");
        assert_eq!(policy.lookup(policy.profiles["human"], 2, "db.inner.example").ruling, Ruling::Answer);
        let refused = policy.lookup(agent, 0, "x.onion.example");
        assert_eq!((refused.rule.unwrap().name.as_str(), refused.label), ("a", 1));
    }
}
