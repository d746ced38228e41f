//! Held processes of a daemon that is gone: they are woken, meet their hook again, and are refused.
//!
//! Waking is safe at any time: a hook that finds no answer does not let its caller pass. It is done only when the
//! hooks know that the daemon is gone, since before that they would hold again.

use crate::system::cgroup::Cgroup;
use crate::system::proc::is_stopped;
use crate::system::signal::wake;
use agent_guard_common::limits::HEARTBEAT_STALE_NS;
use std::time::{Duration, Instant};

/// The daemon's last heartbeat is stale for every hook after this.
const STALE: Duration = Duration::from_nanos(HEARTBEAT_STALE_NS).saturating_add(Duration::from_millis(500));

/// Looks that find nobody stopped before the rest is the user's own affair: a thread that was told to stop may have been
/// kept from it for seconds by a machine that is busy.
const LOOKS: u32 = 5;

/// A time without the daemon.
#[derive(Debug)]
pub(super) struct Silence {
    since: Instant,
    /// Looks in a row that found nobody stopped.
    vain: u32,
    told: bool,
}

impl Silence {
    /// It begins now.
    pub(super) fn begin() -> Self {
        Self { since: Instant::now(), vain: 0, told: false }
    }

    /// There is, or was for a moment, a daemon that this keeper has not heard: what was judged then may be held.
    pub(super) fn is_doubtful(&mut self) {
        self.vain = 0;
    }

    /// Wakes what is stopped, until nothing is any more; then a stop is the user's own. True the first time.
    pub(super) fn wake_held(&mut self, cgroup: Option<&Cgroup>, root: u32) -> bool {
        if self.since.elapsed() < STALE {
            return false;
        }
        if self.vain < LOOKS {
            self.vain = if wake_stopped(cgroup, root) { 0 } else { self.vain + 1 };
        }
        !std::mem::replace(&mut self.told, true)
    }
}

/// Wakes the stopped processes of a session; whether there were any.
fn wake_stopped(cgroup: Option<&Cgroup>, root: u32) -> bool {
    let pids = cgroup.and_then(|cgroup| cgroup.pids().ok()).unwrap_or_else(|| vec![root]);
    let stopped = pids.into_iter().filter(|pid| is_stopped(*pid));
    // A process of another user, a setuid program's, cannot be woken by this one: it is not counted again and again.
    stopped.filter(|pid| wake(*pid).is_ok()).count() > 0
}

#[cfg(test)]
mod tests {
    use super::wake_stopped;
    use crate::system::proc::is_stopped;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::process::Command;
    use std::thread::sleep;
    use std::time::Duration;

    #[test]
    fn a_stopped_process_is_woken_and_then_there_is_none() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGSTOP).unwrap();
        let state = |wanted| {
            (0..100).any(|_| {
                sleep(Duration::from_millis(10));
                is_stopped(child.id()) == wanted
            })
        };
        assert!(state(true), "it stops");
        assert!(wake_stopped(None, child.id()));
        assert!(state(false), "it goes on");
        assert!(!wake_stopped(None, child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
