//! The command line, in one definition: help, manual page and completions are made from it.

mod asking;

pub use asking::{Intent, Reach, Revoke};

use crate::api::types::{EnvPolicy, RequestState};
use crate::audit::{Format, Head, PublicKey};
use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use jiff::Timestamp;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// Keeps AI agents from destroying what they were given rights to.
///
/// A guarded command runs as always, until it or any process of it does what the policy gates: then that process is
/// held in the kernel, and goes on or is refused when a person has answered. Silence refuses.
#[derive(Debug, Parser)]
#[command(name = "agent-guard", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Directory of the daemon's sockets
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/agent-guard", value_hint = ValueHint::DirPath)]
    pub run_dir: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a command and every process it starts under guard
    #[command(after_long_help = "Example:\n  agent-guard run --profile autonomous -- claude")]
    Run(Run),
    /// List requests that wait for an answer, or have had one
    #[command(after_long_help = "Example:\n  agent-guard requests --watch")]
    Requests(Requests),
    /// Show each request that waits, in a terminal, and answer it with a key
    #[command(after_long_help = "Example:\n  agent-guard watch")]
    Watch,
    /// Show one request: what, who, why it is held, what it would take
    #[command(after_long_help = "Example:\n  agent-guard show 7K2M")]
    Show(Show),
    /// Let a held operation happen: once, unless more is said
    #[command(
        after_long_help = "Examples:\n  agent-guard approve 7K2M --reason 'agreed in the stand-up'\n  agent-guard approve 7K2M --session --for 10m"
    )]
    Approve(Approve),
    /// Refuse a held operation
    #[command(after_long_help = "Example:\n  agent-guard deny 7K2M --reason 'patch it instead'")]
    Deny(Answer),
    /// List the approvals that reach further than one operation
    #[command(after_long_help = "Example:\n  agent-guard grants --json")]
    Grants(Listing),
    /// Take back an approval that holds on
    #[command(after_long_help = "Example:\n  agent-guard revoke 7K2M")]
    Revoke(Revoke),
    /// Say, from inside of a session, why something is to be done
    #[command(
        after_long_help = "Example:\n  agent-guard intent --why 'the table is a copy' --alternative 'rename it' --rollback 'restore last night' --covers /srv/prod/copy"
    )]
    Intent(Intent),
    /// List the sessions that run under guard
    #[command(after_long_help = "Example:\n  agent-guard sessions --json")]
    Sessions(Listing),
    /// Put a process that runs already under guard, with all its descendants
    #[command(after_long_help = "Example:\n  agent-guard adopt 4711 --profile autonomous --name editor")]
    Adopt(Adopt),
    /// Stop every process of a session at its next gated operation
    #[command(after_long_help = "Example:\n  agent-guard halt demo")]
    Halt(Target),
    /// Let a halted session go on
    #[command(after_long_help = "Example:\n  agent-guard resume demo")]
    Resume(Target),
    /// Kill every process of a session
    #[command(after_long_help = "Example:\n  agent-guard kill demo")]
    Kill(Target),
    /// Show what the daemon enforces, and what it has failed at
    #[command(after_long_help = "Example:\n  agent-guard status --json")]
    Status(Listing),
    /// Print what the daemon counts, for Prometheus
    #[command(after_long_help = "Example:\n  agent-guard metrics > /var/lib/node_exporter/agent-guard.prom")]
    Metrics,
    /// Check a policy, or put the daemon's policy file in force again
    #[command(subcommand)]
    Policy(Policy),
    /// Verify or export the audit log, or print its key; needs no daemon
    #[command(subcommand)]
    Audit(Audit),
    /// Forget which credentials a session has touched
    #[command(after_long_help = "Example:\n  sudo agent-guard forget claude")]
    Forget(Target),
    /// Examine whether this machine can be guarded; needs no daemon
    #[command(after_long_help = "Example:\n  agent-guard doctor")]
    Doctor(Listing),
    /// Load the policy, attach to the kernel, and answer on the sockets
    #[command(after_long_help = "Example:\n  sudo agent-guard daemon --config /etc/agent-guard/config.yaml")]
    Daemon(Daemon),
    /// Remove every program, map and pin: nothing is enforced any more
    #[command(after_long_help = "Example:\n  sudo systemctl stop agent-guard && sudo agent-guard detach")]
    Detach(Detach),
    /// Write the manual page to standard output
    #[command(hide = true)]
    Man,
    /// Write a shell's completions to standard output
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How to run a command.
#[derive(Debug, Args)]
pub struct Run {
    /// Profile of the policy to run under [default: the daemon's]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Name of the session [default: made from the command]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Credentials among the environment's variables that the command is not passed [default: the profile's, or else
    /// strip-production]
    #[arg(long, value_name = "POLICY")]
    pub env_policy: Option<EnvPolicy>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND",
        value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// Which process to put under guard.
#[derive(Debug, Args)]
pub struct Adopt {
    /// The process
    #[arg(value_name = "PID")]
    pub pid: u32,
    /// Profile of the policy to run under [default: the daemon's]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Name of the session [default: made from the command]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Which requests to list.
#[derive(Debug, Args)]
pub struct Requests {
    /// Only requests in this state
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub state: Option<RequestState>,
    /// Only requests of this session
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
    /// Go on with a line for every change, until interrupted
    #[arg(long)]
    pub watch: bool,
    /// Write JSON; with --watch, one object a line
    #[arg(long)]
    pub json: bool,
}

/// Which request to show.
#[derive(Debug, Args)]
pub struct Show {
    /// The request
    #[arg(value_name = "ID")]
    pub id: String,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Which request to approve, and what its rule may demand.
#[derive(Debug, Args)]
pub struct Approve {
    /// The request, and why
    #[command(flatten)]
    pub answer: Answer,
    /// What is to be done to, as `show` shows it, where the rule demands a confirmation
    #[arg(long, value_name = "OBJECT")]
    pub confirm: Option<String>,
    /// How far it reaches
    #[command(flatten)]
    pub reach: Reach,
}

/// Which request to answer, and why.
#[derive(Debug, Args)]
pub struct Answer {
    /// The request
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why: kept in the audit log, and shown to whoever asked
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Also the others that wait and are the same question: of its rule, label and operation, by processes of its parent
    #[arg(long)]
    pub alike: bool,
}

/// Which session is meant.
#[derive(Debug, Args)]
pub struct Target {
    /// The session, by id or name
    #[arg(value_name = "SESSION")]
    pub session: String,
}

/// How to list.
#[derive(Debug, Args)]
pub struct Listing {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do about policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Report every fault of a policy file; needs no daemon
    #[command(after_long_help = "Example:\n  agent-guard policy check /etc/agent-guard/policy.yaml")]
    Check(Check),
    /// Have the daemon read its policy file again
    #[command(after_long_help = "Example:\n  agent-guard policy reload")]
    Reload,
}

/// What to do about the audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Find what was changed in the log, or in a copy of it
    #[command(after_long_help = "Example:\n  agent-guard audit verify ./copy --head heads --key guard.pub")]
    Verify(Verify),
    /// Write the log's records to standard output, without their secrets
    #[command(
        after_long_help = "Example:\n  agent-guard audit export ./copy --format csv --since 2026-11-01T00:00:00Z > acts.csv"
    )]
    Export(Export),
    /// Print the public half of the key that signs checkpoints
    #[command(after_long_help = "Example:\n  sudo agent-guard audit key > guard.pub")]
    Key(Key),
}

/// Which log to verify, and what is known of it besides.
#[derive(Debug, Args)]
pub struct Verify {
    /// The log's directory, or one of its files
    #[arg(value_name = "PATH", default_value = "/var/log/agent-guard", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// A record that the log had: its number, a colon and its hash; or a file whose last line begins so
    #[arg(long, value_name = "HEAD", value_parser = parse_known::<Head>)]
    pub head: Option<Head>,
    /// The public key that checkpoints must be signed with, or a file that has it
    #[arg(long, value_name = "KEY", value_parser = parse_known::<PublicKey>)]
    pub key: Option<PublicKey>,
    /// Number of the first record, if those before are elsewhere
    #[arg(long, value_name = "NUMBER")]
    pub from: Option<u64>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Which records to export, and how.
#[derive(Debug, Args)]
pub struct Export {
    /// The log's directory, or one of its files
    #[arg(value_name = "PATH", default_value = "/var/log/agent-guard", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT")]
    pub format: Format,
    /// Number of the first record
    #[arg(long, value_name = "NUMBER")]
    pub from: Option<u64>,
    /// Number of the last record
    #[arg(long, value_name = "NUMBER")]
    pub to: Option<u64>,
    /// Only records of this time or later, as in 2026-11-21T05:04:01Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only records of before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Leave passwords, tokens and keys in: the log has them as they were seen
    #[arg(long)]
    pub unredacted: bool,
}

/// Where the key is.
#[derive(Debug, Args)]
pub struct Key {
    /// The file
    #[arg(value_name = "FILE", default_value = "/var/lib/agent-guard/audit.key", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// Which policy to check.
#[derive(Debug, Args)]
pub struct Check {
    /// The policy
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Where the daemon finds and leaves its things. What is given here wins over the configuration file.
#[derive(Debug, Default, Args)]
pub struct Daemon {
    /// Configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Policy file [default: /etc/agent-guard/policy.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Directory for what must survive a restart [default: /var/lib/agent-guard]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// Directory of the audit log [default: /var/log/agent-guard]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub log_dir: Option<PathBuf>,
}

/// Where the daemon was told to leave its things.
#[derive(Debug, Args)]
pub struct Detach {
    /// Configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Ocsf, Self::Csv, Self::Jsonl]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (word, help) = match self {
            Self::Ocsf => ("ocsf", "Events of the Open Cybersecurity Schema Framework, one a line"),
            Self::Csv => ("csv", "A table, under its head"),
            Self::Jsonl => ("jsonl", "The records as they are, one a line"),
        };
        Some(PossibleValue::new(word).help(help))
    }
}

impl ValueEnum for EnvPolicy {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Keep, Self::StripProduction, Self::Strip]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (word, help) = match self {
            Self::Keep => ("keep", "Pass all on"),
            Self::StripProduction => ("strip-production", "Leave out what the policy calls a credential of production"),
            Self::Strip => ("strip", "Leave out whatever the policy calls a credential"),
        };
        Some(PossibleValue::new(word).help(help))
    }
}

/// What is given, or what begins the last line of a file that is.
fn parse_known<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    let given = text.parse::<T>().map_err(|error| error.to_string());
    given.or_else(|expected| {
        let read = fs::read_to_string(text).map_err(|error| format!("{expected}, or a file: {error}"))?;
        let word = read.lines().last().and_then(|line| line.split_whitespace().next()).unwrap_or_default();
        word.parse::<T>().map_err(|error| format!("the last line of the file: {error}"))
    })
}

fn parse_state(word: &str) -> Result<RequestState, String> {
    RequestState::ALL.iter().copied().find(|state| state.word() == word).ok_or_else(|| {
        let words: Vec<&str> = RequestState::ALL.iter().map(|state| state.word()).collect();
        format!("expected one of {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::{Cli, EnvPolicy, Verb};
    use clap::{CommandFactory as _, Parser as _, ValueEnum as _};

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_is_one_imperative_line_and_has_an_example() {
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let about = verb.get_about().unwrap().to_string();
            assert!(about.len() + verb.get_name().len() < 76 && !about.ends_with('.'), "{}: {about}", verb.get_name());
            let example = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(verb.has_subcommands() || example.contains("agent-guard "), "{} has no example", verb.get_name());
        }
    }

    #[test]
    fn what_follows_the_command_belongs_to_the_command() {
        for line in [["--", "rm"], ["rm", "--json"]] {
            let words = ["agent-guard", "run", "--name", "n"].into_iter().chain(line).chain(["-rf", "--help"]);
            let Verb::Run(run) = Cli::try_parse_from(words).unwrap().verb else { panic!("not run") };
            assert_eq!(run.command.last().unwrap(), "--help");
        }
    }

    #[test]
    fn the_ways_with_variables_are_called_what_the_api_calls_them() {
        for policy in EnvPolicy::value_variants() {
            let word = policy.to_possible_value().unwrap();
            assert_eq!(serde_json::to_value(policy).unwrap(), word.get_name());
        }
    }

    #[test]
    fn an_unknown_state_is_told_what_there_is() {
        let error = Cli::try_parse_from(["agent-guard", "requests", "--state", "open"]).unwrap_err().to_string();
        assert!(error.contains("expected one of pending, approved"), "{error}");
    }
}
