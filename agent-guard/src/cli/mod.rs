//! The client's verbs: each file turns one verb into calls of the API and shows what comes back.
//!
//! It must not know maps, decisions or the kernel: what it knows, it has from the API, the policy's checker and
//! the machine's own files.

mod alike;
mod answer;
pub mod args;
mod audit;
mod daemon;
mod doctor;
mod generate;
mod grants;
mod intent;
mod metrics;
mod output;
mod policy;
mod requests;
pub mod run;
mod sessions;
mod show;
mod status;
mod watch;

pub use args::Cli;

use crate::api::call::Steer;
use crate::api::client::{self, Client};
use crate::exit::Exit;
use args::Verb;
use std::io;
use std::path::PathBuf;

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// What was looked at is not as it should be; it has been shown.
    #[error("")]
    Findings,
    /// Nobody is there to say that what an approval reaches to is meant.
    #[error("nothing was approved: add --yes to mean all of that, or leave the scope out to approve the one act")]
    Unconfirmed,
    /// A person has seen what an approval would reach to, and has not said yes.
    #[error("nothing was approved")]
    NotConfirmed,
    /// A policy file could not be read.
    #[error("cannot read the policy {}: {source}", path.display())]
    ReadPolicy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An audit log could not be read.
    #[error(transparent)]
    ReadLog(#[from] crate::audit::ReadFailure),
    /// The audit log's key could not be read.
    #[error(transparent)]
    ReadKey(#[from] crate::audit::KeyFailure),
    /// Secrets could not be looked for.
    #[error("cannot compile the forms of secrets: {0}")]
    Redact(#[from] regex::Error),
    /// Nothing can be written any more.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// There is nobody to ask.
    #[error(
        "`watch` needs a terminal: list what waits with `agent-guard requests --json`, answer with `agent-guard approve ID` or `agent-guard deny ID`"
    )]
    NoTerminal,
    /// The terminal cannot be used, or no longer.
    #[error("cannot use the terminal: {0}")]
    Terminal(io::Error),
    /// The asynchronous runtime does not start.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// The command was not run.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The daemon did not start, or ended by an error.
    #[error(transparent)]
    Daemon(#[from] crate::daemon::Error),
}

impl Error {
    /// What is left to be said on standard error.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        match self {
            Self::Findings => None,
            // Whoever closed the pipe has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            // What the daemon and the system say may quote what others have chosen.
            other => Some(crate::text::escape(&other.to_string())),
        }
    }
}

/// Carries out what the command line says.
pub fn execute(cli: Cli) -> Result<Exit, Error> {
    let client = Client::new(&cli.run_dir);
    let done = match cli.verb {
        Verb::Run(run) => return Ok(run::run(client, run)?),
        Verb::Daemon(daemon) => daemon::run(cli.run_dir, daemon),
        Verb::Detach(detach) => daemon::detach(cli.run_dir, detach),
        Verb::Requests(requests) => wait(requests::run(&client, requests)),
        Verb::Watch => wait(watch::run(client)),
        Verb::Show(show) => wait(show::run(&client, show)),
        Verb::Approve(approve) => wait(answer::approve(&client, approve)),
        Verb::Deny(deny) => wait(answer::deny(&client, deny)),
        Verb::Grants(listing) => wait(grants::list(&client, listing.json)),
        Verb::Revoke(revoke) => wait(grants::revoke(&client, &revoke.id)),
        Verb::Intent(intent) => wait(intent::run(&client, intent)),
        Verb::Sessions(listing) => wait(sessions::list(&client, listing.json)),
        Verb::Adopt(adopt) => wait(sessions::adopt(&client, adopt)),
        Verb::Halt(target) => wait(sessions::steer(&client, Steer::Halt, &target.session)),
        Verb::Resume(target) => wait(sessions::steer(&client, Steer::Resume, &target.session)),
        Verb::Forget(target) => wait(sessions::steer(&client, Steer::Forget, &target.session)),
        Verb::Kill(target) => wait(sessions::steer(&client, Steer::Kill, &target.session)),
        Verb::Status(listing) => wait(status::run(&client, listing.json)),
        Verb::Metrics => wait(metrics::run(&client)),
        Verb::Policy(args::Policy::Check(check)) => policy::check(&check),
        Verb::Policy(args::Policy::Reload) => wait(policy::reload(&client)),
        Verb::Audit(args::Audit::Verify(verify)) => audit::verify(&verify),
        Verb::Audit(args::Audit::Export(export)) => audit::export(&export),
        Verb::Audit(args::Audit::Key(key)) => audit::key(&key),
        Verb::Doctor(listing) => doctor::run(listing.json),
        Verb::Man => generate::man(),
        Verb::Completions { shell } => generate::completions(shell),
    };
    done.map(|()| Exit::OK)
}

/// Runs a call of the API to its end.
fn wait(call: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    runtime().map_err(Error::Runtime)?.block_on(call)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
