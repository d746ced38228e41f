//! `run`: starts a command in a session of its own, and keeps it: terminal, signals, notices, exit status.
//!
//! The command is this process's own child, executed with this user's own rights. It waits before its `execve` until
//! the daemon has enrolled it, so that its first instruction already runs guarded; without the daemon it never runs.

mod keeper;
mod notices;
mod variables;
mod wake;

use super::{args, runtime};
use crate::api::client::{self, Client};
use crate::api::types::{Session, StartSession};
use crate::exit::Exit;
use crate::system::child::GatedChild;
use crate::system::inbox::Mask;
use keeper::Keeper;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

/// Time for the session's last notices once its command has ended. The stream ends with the session, so that it is only
/// waited out where the command has left others behind.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the command was not run, or cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keeper's own means are missing.
    #[error("cannot {act}, so the command was not run: {source}")]
    Prepare {
        /// What failed.
        act: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is no session.
    #[error("the command was not run: {0}")]
    Start(#[from] client::Error),
    /// The command could not be executed.
    #[error("cannot execute {}: {source}", program.display())]
    Execute {
        /// The command's program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// The command's end cannot be told.
    #[error("cannot tell how the command ended: {0}")]
    Lost(io::Error),
}

/// Runs the command and returns its own status.
pub(super) fn run(client: Client, args: args::Run) -> Result<Exit, Error> {
    let runtime = runtime().map_err(|source| Error::Prepare { act: "start the runtime", source })?;
    let exit = runtime.block_on(guard(client, args));
    // A line that still waits for a terminal must not hold up the end.
    runtime.shutdown_background();
    exit
}

async fn guard(client: Client, args: args::Run) -> Result<Exit, Error> {
    let Some((program, arguments)) = args.command.split_first() else {
        let source = io::ErrorKind::InvalidInput.into();
        return Err(Error::Prepare { act: "find the command", source });
    };
    let stripped = variables::stripped(&client, &args).await?;
    let without: Vec<String> = stripped.iter().map(|variable| variable.name.clone()).collect();
    let prepare = |act| move |source| Error::Prepare { act, source };
    // The command is to start with what its user has blocked, not with what its keeper blocks.
    let mask = Mask::current().map_err(prepare("read the signal mask"))?;
    // From here on whatever is signalled is neither lost nor kills the keeper alone.
    let keeper = Keeper::open().map_err(prepare("take charge of signals"))?;
    let child = GatedChild::spawn(program, arguments, &without, mask).map_err(prepare("start a process"))?;
    let pid = child.pid();
    let session = client.start_session(&request(&args, pid)).await?;
    if let Some(line) = variables::line(&stripped) {
        notices::tell(&line);
    }
    if let Err(source) = child.execute().await {
        release(&client, &session).await;
        return Err(Error::Execute { program: program.clone(), source });
    }
    let mut notices = tokio::spawn(notices::follow(client, session));
    let status = keeper.wait(pid).await.map_err(Error::Lost)?;
    // What was refused last is worth a line, but not a delay.
    if tokio::time::timeout(LAST_WORDS, &mut notices).await.is_err() {
        notices.abort();
    }
    Ok(Exit::of_command(status))
}

fn request(args: &args::Run, child_pid: u32) -> StartSession {
    let argv = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    // For people: a directory that has been removed is no reason not to start.
    let cwd = std::env::current_dir().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    StartSession { name: args.name.clone(), profile: args.profile.clone(), child_pid, argv, cwd }
}

/// Gives the session up. The daemon notices by itself, later, that its process is gone.
async fn release(client: &Client, session: &Session) {
    if let Err(error) = client.release_session(&session.id).await {
        tracing::debug!(%error, "a session was not given up");
    }
}
