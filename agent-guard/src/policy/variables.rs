//! Variables of an environment: which of them are credentials, and which of those a command is not passed.
//!
//! Owns the rule by which a variable is found, for whoever asks before a command runs. When it does, the kernel looks its
//! variables up in the same order (agent-guard-ebpf, `environment.rs`): here by their names, there by hashes of them.

use std::collections::BTreeMap;

use agent_guard_common::credential::Environment;

use super::check::{Checked, Label};
use super::objects::Objects;
use super::value::name::parts_of_variable;

/// Which credentials a command is not passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stripping {
    /// None: all are passed on.
    Nothing,
    /// Those that lead to production.
    #[default]
    Production,
    /// All.
    Everything,
}

impl Stripping {
    /// Whether a credential is left out that leads there.
    #[must_use]
    pub fn strips(self, environment: Environment) -> bool {
        match self {
            Self::Nothing => false,
            Self::Production => environment == Environment::Production,
            Self::Everything => true,
        }
    }
}

/// A variable that a label calls a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    /// The label.
    pub label: &'a str,
    /// Where it leads.
    pub environment: Environment,
}

impl Checked {
    /// Which credentials a profile's commands are not passed.
    #[must_use]
    pub fn stripping(&self, profile: &str) -> Stripping {
        let found = self.profiles.iter().find(|known| known.name == profile);
        found.map(|profile| profile.variables).unwrap_or_default()
    }

    /// Those of some variables that are credentials, in their order.
    #[must_use]
    pub fn credentials_among<'a>(&'a self, names: &'a [String]) -> Vec<Variable<'a>> {
        let mut labels = BTreeMap::new();
        for label in &self.labels {
            let Objects::Variables(patterns) = &label.objects else { continue };
            labels.extend(patterns.iter().map(|pattern| ((pattern.part, pattern.text.as_str()), label)));
        }
        let credential = |name: &'a String| {
            // The first part that bears a label decides, also when that says that this is no credential.
            let label: &Label = parts_of_variable(name).find_map(|part| labels.get(&part).copied())?;
            Some(Variable { name, label: &label.name, environment: label.credential? })
        };
        names.iter().filter_map(credential).collect()
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::credential::Environment;

    use super::{Stripping, Variable};
    use crate::policy::load;

    const POLICY: &str = "version: 1
labels:
  paths: { credential: production, paths: [/keys] }
  production: { credential: production, variables: [PGPASSWORD, AWS_*, '*_PROD'] }
  told: { credential: unknown, variables: ['*_TOKEN', '*_SECRET', _SECRET_*] }
  own: { variables: [MODEL_TOKEN, PUBLIC_*, AWS_REGION] }
profiles:
  agent: { default: allow }
  human: { default: allow, variables: keep }
  ci: { default: deny, variables: strip }
  build: { default: audit, variables: strip-production }
";

    fn found(name: &str) -> Option<String> {
        let (policy, names) = (load(POLICY).unwrap(), [name.to_owned()]);
        policy.credentials_among(&names).first().map(|found| found.label.to_owned())
    }

    #[test]
    fn the_whole_name_counts_before_its_first_word_and_that_before_its_last() {
        let expected = [
            ("PGPASSWORD", Some("production")),
            ("PGPASSWORDS", None),
            ("pgpassword", None),
            ("AWS_SECRET_ACCESS_KEY", Some("production")),
            ("AWS_TOKEN", Some("production")),
            ("AWS_", Some("production")),
            ("AWS", None),
            ("AWS_REGION", None),
            ("NPM_TOKEN", Some("told")),
            ("A_B__TOKEN", Some("told")),
            ("MODEL_TOKEN", None),
            ("MY_MODEL_TOKEN", Some("told")),
            ("PUBLIC_TOKEN", None),
            ("A_TOKEN_B", None),
            ("TOKEN", None),
            // What begins the name parts no words.
            ("_TOKEN", None),
            ("__TOKEN", Some("told")),
            ("_SECRET_X", Some("told")),
            ("É_TOKEN", Some("told")),
            ("", None),
            ("_", None),
        ];
        for (name, label) in expected {
            assert_eq!(found(name).as_deref(), label, "{name}");
        }
    }

    #[test]
    fn what_is_found_stands_in_the_order_of_the_question() {
        let policy = load(POLICY).unwrap();
        let names = ["Z_TOKEN", "HOME", "A_PROD"].map(str::to_owned);
        let expected = [
            Variable { name: "Z_TOKEN", label: "told", environment: Environment::Unknown },
            Variable { name: "A_PROD", label: "production", environment: Environment::Production },
        ];
        assert_eq!(policy.credentials_among(&names), expected);
    }

    #[test]
    fn a_profile_strips_what_leads_to_production_unless_it_says_otherwise() {
        let policy = load(POLICY).unwrap();
        let strips = |profile: &str| Environment::ALL.map(|environment| policy.stripping(profile).strips(environment));
        assert_eq!(strips("agent"), [true, false, false, false]);
        assert_eq!(strips("build"), strips("agent"));
        assert_eq!(strips("human"), [false; 4]);
        assert_eq!(strips("ci"), [true; 4]);
        assert_eq!(policy.stripping("nobody"), Stripping::Production);
    }
}
