//! The variables that the command is not passed, since they are credentials. The daemon is told their names, and never
//! what they hold.

use crate::api::client::{Client, Error};
use crate::api::types::{EnvPolicy, NAME_BYTES, Variable, Variables};
use crate::cli::args;
use crate::text::escape;
use std::collections::BTreeSet;
use std::env;

/// Those of this process's own variables that the command is not passed.
pub(super) async fn stripped(client: &Client, args: &args::Run) -> Result<Vec<Variable>, Error> {
    if args.env_policy == Some(EnvPolicy::Keep) {
        return Ok(Vec::new());
    }
    let asked = Variables { profile: args.profile.clone(), policy: args.env_policy, names: names() };
    let mut found = client.variables(&asked).await?;
    found.retain(|variable| variable.strip);
    Ok(found)
}

/// The names that a label can name: what is no text or longer than any label's is nobody's credential.
fn names() -> Vec<String> {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.len() <= NAME_BYTES).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The line that says what is missing; none when nothing is.
pub(super) fn line(stripped: &[Variable]) -> Option<String> {
    let environments: BTreeSet<&str> = stripped.iter().map(|variable| variable.environment.as_str()).collect();
    let of = |environment: &&str| {
        let there = stripped.iter().filter(|variable| variable.environment == **environment);
        let names: Vec<String> = there.map(|variable| escape(&variable.name)).collect();
        let environment = if *environment == "unknown" { "an unknown environment" } else { environment };
        format!("of {}: {}", escape(environment), names.join(", "))
    };
    let what: Vec<String> = environments.iter().map(of).collect();
    let what = what.join("; ");
    (!what.is_empty())
        .then(|| format!("agent-guard: not passed on, as credentials {what}; --env-policy keep passes them on\n"))
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::api::types::Variable;

    fn variable(name: &str, environment: &str) -> Variable {
        Variable { name: name.to_owned(), environment: environment.to_owned(), label: "keys".to_owned(), strip: true }
    }

    #[test]
    fn one_line_names_what_is_missing_and_how_it_is_had() {
        assert_eq!(line(&[]), None);
        let expected = "agent-guard: not passed on, as credentials of production: AWS_SECRET_ACCESS_KEY; \
                        --env-policy keep passes them on\n";
        assert_eq!(line(&[variable("AWS_SECRET_ACCESS_KEY", "production")]).as_deref(), Some(expected));
        let several = [variable("C", "unknown"), variable("A", "production"), variable("B", "production")];
        let expected = "agent-guard: not passed on, as credentials of production: A, B; \
                        of an unknown environment: C; --env-policy keep passes them on\n";
        assert_eq!(line(&several).as_deref(), Some(expected));
    }

    #[test]
    fn no_name_breaks_out_of_its_line() {
        let line = line(&[variable("A_\n\x1b[2J_TOKEN", "production")]).unwrap();
        assert!(line.matches('\n').count() == 1 && !line.contains('\x1b'), "{line}");
    }
}
