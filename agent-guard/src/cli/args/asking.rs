//! What can be said around a request, besides yes and no: how far a yes reaches, and what an agent intends.

use clap::Args;
use jiff::SignedDuration;

use crate::api::types::{ApprovalScope, USUAL_SECONDS};

/// How far an approval reaches.
#[derive(Debug, Args)]
pub struct Reach {
    /// Only this one act (the default)
    #[arg(long, group = "scope")]
    pub once: bool,
    /// Also what else the rule holds of the same process, until that ends
    #[arg(long, group = "scope")]
    pub process: bool,
    /// Also what else the rule holds of the same session, for a time
    #[arg(long, group = "scope")]
    pub session: bool,
    /// Also what the rule holds of every session, for a time, where the policy lets it
    #[arg(long, group = "scope")]
    pub rule: bool,
    /// For how long, with --session or --rule: 90s, 10m, 2h [default: 10m]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_seconds, conflicts_with_all = ["once", "process"],
        requires = "scope")]
    pub time: Option<u32>,
    /// Do not ask whether what else it reaches to is meant
    #[arg(long)]
    pub yes: bool,
}

impl Reach {
    /// How far.
    #[must_use]
    pub const fn scope(&self) -> ApprovalScope {
        match (self.process, self.session, self.rule) {
            (true, ..) => ApprovalScope::Process,
            (_, true, _) => ApprovalScope::Session,
            (.., true) => ApprovalScope::Rule,
            _ => ApprovalScope::Once,
        }
    }

    /// For how many seconds, where its scope is one for a time.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.time.unwrap_or(USUAL_SECONDS)
    }
}

/// What is to be done, and why.
#[derive(Debug, Args)]
pub struct Intent {
    /// Why it is to be done
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// What could be done instead; may be given several times
    #[arg(long = "alternative", value_name = "TEXT")]
    pub alternatives: Vec<String>,
    /// How it would be undone
    #[arg(long, value_name = "TEXT")]
    pub rollback: Option<String>,
    /// What it is about: a path, or a pattern for a command line or an endpoint [default: what is asked next]
    #[arg(long, value_name = "WHAT")]
    pub covers: Option<String>,
    /// For how long each such request carries it: 90s, 10m, 1h [default: the next one does]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_seconds)]
    pub time: Option<u32>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Which grant to take back.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The request that was approved so
    #[arg(value_name = "ID")]
    pub id: String,
}

/// A time of whole seconds.
fn parse_seconds(text: &str) -> Result<u32, String> {
    let time: SignedDuration = text.parse().map_err(|_unreadable| "expected a time like 90s, 10m or 2h".to_owned())?;
    u32::try_from(time.as_secs())
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "expected a second or more".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::api::types::ApprovalScope;
    use crate::cli::args::{Cli, Verb};
    use clap::Parser as _;

    #[test]
    fn how_far_an_approval_reaches_is_said_once_and_a_time_only_with_what_ends_by_it() {
        let reach = |words: &[&str]| {
            let line = ["agent-guard", "approve", "7K2M"].into_iter().chain(words.iter().copied());
            let Verb::Approve(approve) = Cli::try_parse_from(line).ok()?.verb else { return None };
            Some((approve.reach.scope(), approve.reach.seconds()))
        };
        assert_eq!(reach(&[]), Some((ApprovalScope::Once, 600)));
        assert_eq!(reach(&["--once"]), Some((ApprovalScope::Once, 600)));
        assert_eq!(reach(&["--process"]), Some((ApprovalScope::Process, 600)));
        assert_eq!(reach(&["--session", "--for", "1h 30m"]), Some((ApprovalScope::Session, 5400)));
        assert_eq!(reach(&["--rule", "--for", "90s"]), Some((ApprovalScope::Rule, 90)));
        for wrong in [
            &["--process", "--session"][..],
            &["--process", "--for", "10m"],
            &["--for", "10m"],
            &["--session", "--for", "soon"],
            &["--session", "--for", "-10m"],
            &["--session", "--for", "0s"],
        ] {
            assert_eq!(reach(wrong), None, "{wrong:?}");
        }
    }
}
