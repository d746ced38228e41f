//! The closed lists of words: verdicts, tiers, operations, environments, whose credentials count, ways with variables.
//! Their meaning belongs to others.

use agent_guard_common::credential::{Environment, Whose};
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::{Tier, Verdict};

use crate::policy::read::Word;
use crate::policy::terms::{Demand, Scope};
use crate::policy::variables::Stripping;

/// The verdict on what no rule names. Never `hold`: a question for everything is a question for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct DefaultVerdict(pub(in crate::policy) Verdict);

/// Where a label's credentials lead; `None` says that they are none, whatever their names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Leads(pub(in crate::policy) Option<Environment>);

impl Word for Leads {
    const WHAT: &'static str = "environment";

    fn all() -> Vec<(&'static str, Self)> {
        let environments = Environment::ALL.iter().map(|environment| (environment.name(), Self(Some(*environment))));
        environments.chain([("none", Self(None))]).collect()
    }
}

/// How a lookup that is denied is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// That the server will not: the program learns that something refuses.
    Refused,
    /// That there is no such name: the program goes on as without it.
    NoSuchName,
}

impl Word for NoAnswer {
    const WHAT: &'static str = "answer";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("refused", Self::Refused), ("nxdomain", Self::NoSuchName)]
    }
}

impl Word for Demand {
    const WHAT: &'static str = "demand";

    fn all() -> Vec<(&'static str, Self)> {
        [Self::AnotherUser, Self::Reason, Self::Confirmation].map(|demand| (demand.word(), demand)).to_vec()
    }
}

impl Word for Scope {
    const WHAT: &'static str = "scope";

    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.iter().map(|scope| (scope.word(), *scope)).collect()
    }
}

impl Word for Verdict {
    const WHAT: &'static str = "verdict";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("allow", Self::Allow), ("audit", Self::Audit), ("hold", Self::Hold), ("deny", Self::Deny)]
    }
}

impl Word for DefaultVerdict {
    const WHAT: &'static str = "default verdict";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("allow", Self(Verdict::Allow)), ("audit", Self(Verdict::Audit)), ("deny", Self(Verdict::Deny))]
    }
}

impl Word for Tier {
    const WHAT: &'static str = "tier";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("autonomous", Self::Autonomous), ("supervised", Self::Supervised), ("gated", Self::Gated)]
    }
}

impl Word for Operation {
    const WHAT: &'static str = "operation";

    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.iter().map(|operation| (operation.name(), *operation)).collect()
    }
}

impl Word for Environment {
    const WHAT: &'static str = "environment";

    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.iter().map(|environment| (environment.name(), *environment)).collect()
    }
}

impl Word for Whose {
    const WHAT: &'static str = "scope of credentials";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("session", Self::Session), ("process-tree", Self::ProcessTree)]
    }
}

impl Word for Stripping {
    const WHAT: &'static str = "way with variables";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("keep", Self::Nothing), ("strip-production", Self::Production), ("strip", Self::Everything)]
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::operation::Operation;

    use super::DefaultVerdict;
    use crate::policy::read::{Scalar as _, Word as _};

    #[test]
    fn every_operation_of_the_common_crate_has_its_word() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_text(operation.name()), Ok(*operation));
        }
    }

    #[test]
    fn nothing_is_held_by_default() {
        assert!(DefaultVerdict::from_text("hold").is_err());
        assert_eq!(DefaultVerdict::all().len(), 3);
    }
}
