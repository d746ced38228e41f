//! `daemon` and `detach`: hand the command line over to the daemon's code.

use super::{Error, args, output};
use crate::daemon;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Runs the daemon until it is told to stop.
pub(super) fn run(run_dir: PathBuf, args: args::Daemon) -> Result<(), Error> {
    log_to_stderr();
    let args::Daemon { config, policy, state_dir, log_dir } = args;
    Ok(daemon::run(daemon::Flags { config, policy, state_dir, run_dir, log_dir })?)
}

/// The daemon's log goes where a service's errors go; `AGENT_GUARD_LOG=debug` shows more of it.
fn log_to_stderr() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var("AGENT_GUARD_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// Removes what a daemon that is gone has left in the kernel.
pub(super) fn detach(run_dir: PathBuf, args: args::Detach) -> Result<(), Error> {
    let args::Detach { config } = args;
    daemon::detach(daemon::Flags { config, policy: None, state_dir: None, run_dir, log_dir: None })?;
    Ok(output::print("nothing is enforced any more, until the daemon is started again\n")?)
}
