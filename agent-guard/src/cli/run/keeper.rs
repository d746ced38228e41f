//! The keeper's signals: what the terminal sends reaches the command by itself, what a process sends to the keeper is
//! passed on, and the keeper stops and ends as its command does. To a shell the two are one job.

use crate::system::inbox::{Arrival, Inbox, Signal, block};
use crate::system::job::{self, Change};
use std::io;

/// What is queued. `SIGKILL` and `SIGSTOP` cannot be.
const QUEUED: [Signal; 10] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGCONT,
    Signal::SIGCHLD,
];

/// Stops for want of the terminal are the command's affair: the keeper stops when the command does.
const BLOCKED: [Signal; 2] = [Signal::SIGTTIN, Signal::SIGTTOU];

/// The keeper of one command.
#[derive(Debug)]
pub(super) struct Keeper {
    inbox: Inbox,
}

impl Keeper {
    /// Takes charge of signals. The command must be started with the mask from before.
    pub(super) fn open() -> io::Result<Self> {
        block(&BLOCKED)?;
        Ok(Self { inbox: Inbox::open(&QUEUED)? })
    }

    /// Waits for the command's end and returns its status: its own, or 128 and its signal.
    pub(super) async fn wait(mut self, pid: u32) -> io::Result<u8> {
        loop {
            // Also before the first signal: a command may have ended while it was being started.
            if let Some(status) = look_after(pid)? {
                return Ok(status);
            }
            match self.inbox.next().await? {
                Arrival { signal: Signal::SIGCHLD, .. } | Arrival { from_kernel: true, .. } => {}
                Arrival { signal, from_kernel: false } => job::send(pid, signal)?,
            }
        }
    }
}

/// Takes note of everything that has happened to the command; its status when it has ended.
fn look_after(pid: u32) -> io::Result<Option<u8>> {
    loop {
        match job::next_change(pid)? {
            Change::None => return Ok(None),
            Change::Exited(status) => return Ok(Some(status)),
            Change::Killed(signal) => return Ok(Some(128_u8.saturating_add(signal))),
            // The user has stopped the job, and its shell must see that.
            Change::Stopped(Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) => job::stop_self()?,
            // A hold is a SIGSTOP, and no affair of the shell's.
            Change::Stopped(_) => {}
        }
    }
}
