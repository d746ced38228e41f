//! `daemon`: hands the command line over to the daemon.

use super::{Error, args};
use crate::daemon;
use std::path::PathBuf;

/// Runs the daemon until it is told to stop.
pub(super) fn run(run_dir: PathBuf, args: args::Daemon) -> Result<(), Error> {
    let args::Daemon { config, policy, state_dir, log_dir } = args;
    Ok(daemon::run(daemon::Flags { config, policy, state_dir, run_dir, log_dir })?)
}
