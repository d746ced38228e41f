//! What is due by the clock: heartbeats, deadlines, wake-ups, and looks at what may have gone or changed.

use std::time::Duration;

use agent_guard_common::limits::HEARTBEAT_NS;

use super::places::Places;
use super::resolve::Failure;
use super::resume::Look;
use super::{Daemon, Done, tell_manager, tree};
use crate::audit::{Entry, What};
use crate::decision::{Event, Task};
use crate::session::SessionKey;
use crate::system::cgroup::Cgroup;
use crate::system::proc::{self, RunState};
use crate::system::signal::Signal;
use crate::system::{clock, memory};

/// How often the machine is looked at, in nanoseconds.
const LOOK_NS: u64 = 1_000_000_000;
/// Threads that are looked at each time.
const LOOKS: usize = 256;
/// How often memory that was freed is given back, and names that are over are forgotten, in nanoseconds.
const TRIM_NS: u64 = 10_000_000_000;
/// Time for an act that was just let pass, in nanoseconds.
const SOON_NS: u64 = 10_000_000;
/// Looks at the policy's paths begin so far apart, in nanoseconds, however often something is mounted.
const APART_NS: u64 = 50_000_000;
/// The shortest pause, so that the loop never spins.
const SHORTEST: Duration = Duration::from_millis(1);

/// When things are due.
#[derive(Debug, Default)]
pub(super) struct Clockwork {
    heartbeat_ns: u64,
    look_ns: u64,
    trim_ns: u64,
    /// When the policy's paths are looked at next, and when that was begun last.
    paths_ns: u64,
    looked_ns: u64,
    /// The last thread that was looked at.
    looked_at: Option<Task>,
    /// A look at the policy's paths is under way, or a new policy is.
    looking: bool,
    reloads: u32,
    /// Why the last look saw nothing, if so.
    blind: Option<String>,
    /// Cgroups of ended sessions.
    to_remove: Vec<Cgroup>,
}

impl Clockwork {
    /// A cgroup can be removed once its last process has been reaped.
    pub(super) fn remove_later(&mut self, cgroup: Cgroup) {
        self.to_remove.push(cgroup);
    }

    /// The machine is looked at as soon as an act can have been done that is passing its hook now.
    pub(super) fn look_soon(&mut self) {
        let soon = clock::monotonic_ns() + SOON_NS;
        self.look_ns = self.look_ns.min(soon);
        self.look_at_paths(soon);
    }

    /// Something was mounted or unmounted, perhaps where a label is: the paths are looked at once more, now.
    pub(super) fn mounts_changed(&mut self) {
        self.look_at_paths(0);
    }

    fn look_at_paths(&mut self, when_ns: u64) {
        self.paths_ns = self.paths_ns.min(when_ns.max(self.looked_ns + APART_NS));
    }

    /// A look saw nothing; that is said once for each reason.
    fn is_blind(&mut self, failure: String) {
        if self.blind.as_ref() != Some(&failure) {
            tracing::warn!(failure, "labels do not follow what lies at the policy's paths");
        }
        self.blind = Some(failure);
    }

    /// When the paths are to be looked at. A look that is under way ends with an event, and is not waited for by the clock.
    fn paths_due(&self) -> Option<u64> {
        (!self.looking && self.reloads == 0).then_some(self.paths_ns)
    }

    /// A policy is being read, or no longer.
    pub(super) fn reloading(&mut self, begins: bool) {
        if begins {
            self.reloads += 1;
            let monotonic_us = i128::from(clock::monotonic_ns() / 1000);
            tell_manager(&[sd_notify::NotifyState::Reloading, sd_notify::NotifyState::MonotonicUsec(monotonic_us)]);
        } else {
            self.reloads = self.reloads.saturating_sub(1);
            tell_manager(&[sd_notify::NotifyState::Ready]);
        }
    }
}

impl Daemon {
    /// How long the loop may wait for events.
    pub(super) fn pause(&self) -> Duration {
        let clockwork = &self.clockwork;
        let due = [Some(clockwork.heartbeat_ns), Some(clockwork.look_ns), clockwork.paths_due(), self.wakes.next_ns()];
        let next = due.into_iter().flatten().min().unwrap_or(0);
        Duration::from_nanos(next.saturating_sub(clock::monotonic_ns())).max(SHORTEST)
    }

    /// Does what is due.
    pub(super) fn upkeep(&mut self) {
        let now = clock::monotonic_ns();
        if now >= self.clockwork.heartbeat_ns {
            self.clockwork.heartbeat_ns = now + HEARTBEAT_NS;
            if let Err(error) = self.kernel.heartbeat() {
                tracing::error!(%error, "the heartbeat cannot be written: all questions are refused");
            }
            self.happen(Event::Tick);
        }
        self.record_folded(now);
        if self.log.checkpoint_is_due(now) {
            self.checkpoint();
        }
        self.wakes.forget(now);
        for look in self.wakes.due(now) {
            self.look_after(look);
        }
        if now >= self.clockwork.trim_ns {
            self.clockwork.trim_ns = now + TRIM_NS;
            memory::give_back();
            self.look_after_lookups();
        }
        if now >= self.clockwork.look_ns {
            self.clockwork.look_ns = now + LOOK_NS;
            self.look_for_gone();
            self.look_at_sessions();
            self.settle_stragglers();
            self.hunt();
            self.keep_halted();
            let cgroups = std::mem::take(&mut self.clockwork.to_remove);
            self.clockwork.to_remove = tree::still_there(cgroups);
        }
        if self.clockwork.paths_due().is_some_and(|due| now >= due) {
            (self.clockwork.looked_ns, self.clockwork.paths_ns) = (now, now + LOOK_NS);
            self.look_at_paths();
        }
    }

    /// Sends SIGCONT to whoever is to be woken, once each. Nobody outside a session is ever signalled.
    pub(super) fn wake(&mut self) {
        for tgid in self.wakes.take() {
            if let Err(errno) = self.signal(tgid, |_| true, Signal::SIGCONT) {
                tracing::warn!(%errno, pid = tgid, "a process cannot be woken");
            }
        }
    }

    /// Wakes a process again whose answers are not used, and ancestors that have stopped themselves.
    fn look_after(&mut self, look: Look) {
        let (unused, used): (Vec<_>, Vec<_>) = look.keys.into_iter().partition(|key| self.unused(*key));
        used.into_iter().for_each(|key| self.wakes.settled(key));
        // A frozen thread that was woken shows S, and goes on when it is thawed.
        let stopped = |stat: proc::Stat| stat.state.is_stopped();
        if unused.iter().any(|key| proc::thread_stat(key.task.tgid, key.task.tid).is_ok_and(stopped)) {
            self.wakes.wake(look.tgid);
        }
        for ancestor in look.ancestors {
            if proc::is_stopped(ancestor) && !self.state.waits(ancestor) {
                self.wakes.wake(ancestor);
            }
        }
    }

    /// Threads that died with a question open, or whose pid is another's by now: some at each look, so that those who wait for
    /// an answer never wait for thousands of looks.
    fn look_for_gone(&mut self) {
        let mut tasks: Vec<(Task, Option<u64>)> = self.state.tasks().collect();
        tasks.sort_unstable();
        let begin = tasks.partition_point(|(task, _)| self.clockwork.looked_at.is_some_and(|last| *task <= last));
        tasks.rotate_left(begin);
        tasks.truncate(LOOKS);
        self.clockwork.looked_at = tasks.last().map(|(task, _)| *task);
        // Threads of a process stand beside each other.
        let mut process = None;
        let mut lives = |task: &Task, started: Option<u64>| {
            let same = started.is_none_or(|started| match process {
                Some((of, same)) if of == (task.tgid, started) => same,
                _ => {
                    let same = proc::may_be(proc::stat(task.tgid), |stat| stat.started == started);
                    process = Some(((task.tgid, started), same));
                    same
                }
            });
            same && proc::may_be(proc::thread_stat(task.tgid, task.tid), |stat| stat.state != RunState::Dead)
        };
        tasks.retain(|(task, started)| !lives(task, *started));
        for (task, _) in tasks {
            self.happen(Event::Gone(task));
        }
    }

    /// Sessions whose command was executed, whose first process never got so far, or whose end nobody told.
    fn look_at_sessions(&mut self) {
        let known: Vec<SessionKey> = self.sessions.iter().map(|session| session.stamp.key).collect();
        for key in known {
            let Ok(tasks) = self.kernel.session_tasks(key.slot) else { continue };
            let found = tasks == 0 || self.is_found(key);
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.executed |= tasks > 0;
            let missed = std::mem::replace(&mut session.deserted, !found);
            let waits = |stat: &proc::Stat| stat.state != RunState::Dead && session.is_root(stat.started);
            let waits = !session.executed && proc::may_be(proc::stat(session.root), waits);
            // A kernel that cannot look a dying task's tag up (6.1, in an interrupt) counts it for ever.
            if missed && !found {
                if let Err(error) = self.kernel.forget_tasks(key.slot) {
                    tracing::error!(%error, "the tasks of a session that is gone are still counted");
                }
                self.end_session(key);
            } else if tasks == 0 && !waits {
                self.end_session(key);
            }
        }
    }

    /// Whether a process of a session can be found, in its cgroup or not. Who cannot be asked about may be one.
    fn is_found(&self, key: SessionKey) -> bool {
        let Some(stamp) = self.sessions.stamp(key) else { return false };
        if self.cgroup(&stamp).pids().is_ok_and(|pids| !pids.is_empty()) {
            return true;
        }
        proc::pids().map_or(true, |pids| pids.into_iter().any(|pid| self.may_be_in(pid, key.serial)))
    }

    /// A labelled path may have been made, moved or mounted over: by an act that was approved, or by somebody who
    /// is not guarded.
    fn look_at_paths(&mut self) {
        self.clockwork.looking = true;
        let (paths, looks, results) = (self.policy.wanted(), self.looks.clone(), self.results.clone());
        tokio::spawn(async move {
            let places = looks.places(paths).await;
            // A loop that is gone looks at nothing.
            drop(results.send(Done::Looked(places)).await);
        });
    }

    /// Takes what was seen; a policy that was put in force in between has had its own look.
    pub(super) fn looked(&mut self, places: Result<Places, Failure>) {
        self.clockwork.looking = false;
        let places = match places {
            Ok(places) if places.wanted == self.policy.places.wanted => places,
            Ok(_) => return,
            Err(failure) => return self.clockwork.is_blind(failure.to_string()),
        };
        self.clockwork.blind = None;
        let kept = self.kept();
        match self.policy.refresh(places, &mut self.kernel, kept) {
            Ok(false) => {}
            Ok(true) => {
                let reason =
                    format!("generation {}: what lies at its paths has changed", self.policy.compiled.generation);
                let entry = Entry { reason: Some(reason), ..Entry::new(clock::now(), What::PolicyLoaded) };
                self.record(&entry);
            }
            Err(failure) => {
                tracing::error!(%failure, "what lies at the policy's paths has changed, and is not in force")
            }
        }
    }
}
