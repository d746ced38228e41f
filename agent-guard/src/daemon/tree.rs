//! Sessions on the machine: their start around a waiting child, their cgroups, the processes in them, their end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_guard_common::session::{Enrolment, SessionRecord};
use jiff::Timestamp;
use nix::errno::Errno;
use ulid::Ulid;

use super::{Daemon, view};
use crate::api::{Peer, Refusal, types};
use crate::audit::{Entry, Person, What};
use crate::decision::Event;
use crate::kernel;
use crate::session::{self, Registry, SessionKey, Stage, Stamp, Start, StartRefused, Straggler};
use crate::system::cgroup::{self, Cgroup};
use crate::system::proc::{self, RunState};
use crate::system::signal::{self, Signal};
use crate::system::{clock, process, random};

/// Ancestors that are looked after.
const ANCESTORS: usize = 32;

/// The cgroup's name says serial and id, so that a restarted daemon knows both again.
fn cgroup_name(stamp: &Stamp) -> String {
    format!("{}-{}", stamp.key.serial, stamp.id)
}

/// Finds the sessions again that the kernel has kept, with the ids that their cgroups' names tell; `running` are
/// the slots that have tasks.
pub(super) fn recover(
    parent: &Path,
    records: &[(u32, SessionRecord)],
    running: &BTreeSet<u32>,
) -> Result<Registry, cgroup::Failure> {
    let ids: BTreeMap<u64, String> = cgroup::prepare(parent)?
        .iter()
        .filter_map(|name| name.split_once('-'))
        .filter_map(|(serial, id)| Some((serial.parse().ok()?, id.to_owned())))
        .collect();
    Ok(Registry::recover(records, &ids, |slot| running.contains(&slot), clock::wall_of))
}

impl Daemon {
    /// A session's cgroup.
    pub(super) fn cgroup(&self, stamp: &Stamp) -> Cgroup {
        Cgroup::existing(self.config.cgroup_dir.join(cgroup_name(stamp)))
    }

    /// Says which recovered sessions are halted.
    pub(super) fn find_halted(&mut self) {
        let halted: Vec<SessionKey> = self
            .sessions
            .iter()
            .filter(|session| session.stage == Stage::Halted)
            .map(|session| session.stamp.key)
            .collect();
        for key in halted {
            self.happen(Event::FoundHalted(key));
        }
    }

    /// After a restart: whatever is in a session that is not halted is woken, so that its hook asks again.
    pub(super) fn wake_all(&mut self) {
        let active = self.sessions.iter().filter(|session| session.stage == Stage::Active);
        let active: Vec<Arc<Stamp>> = active.map(|session| Arc::clone(&session.stamp)).collect();
        for stamp in &active {
            // A daemon that died while it adopted a tree has left it frozen.
            if let Err(failure) = self.cgroup(stamp).thaw() {
                tracing::warn!(%failure, session = %stamp.id, "a session may be frozen");
            }
        }
        let serials: BTreeSet<u64> = active.iter().map(|stamp| stamp.key.serial).collect();
        if !serials.is_empty() {
            self.wake_tagged(|serial| serials.contains(&serial));
        }
        self.wake();
    }

    /// Starts a session around the caller's own child, which waits before its `execve`.
    pub(super) fn start_session(&mut self, peer: &Peer, start: types::StartSession) -> Result<types::Session, Refusal> {
        let failed = |error: kernel::Error| Refusal::Failed(error.to_string());
        self.own_child(peer, start.child_pid)?;
        let (profile, profile_index) = self.profile(start.profile)?;
        let now = clock::now();
        let (argv, cwd) = session::started(start.argv, start.cwd);
        let wanted = Start {
            id: new_id(now.wall)?,
            name: start.name,
            profile,
            profile_index,
            serial: self.kernel.next_serial().map_err(failed)?,
            uid: peer.uid,
            root: start.child_pid,
            root_started: None,
            keeper: Some(peer.pid),
            argv,
            cwd,
            started_ns: clock::boottime_ns(),
            started: now.wall,
        };
        let (key, record) = self.sessions.start(wanted).map_err(start_refused)?;
        match self.enrol(peer, key, &record) {
            Ok(stamp) => {
                tracing::info!(session = %stamp.id, name = %stamp.name, profile = %stamp.profile, "a session starts");
                let gone = || Refusal::Failed("the session has ended".to_owned());
                Ok(self.show_session(self.sessions.get(key).ok_or_else(gone)?))
            }
            Err(refusal) => {
                self.end_session(key);
                Err(refusal)
            }
        }
    }

    /// A profile of the policy, or the default one, with its index in the matrix.
    pub(super) fn profile(&self, wanted: Option<String>) -> Result<(String, u32), Refusal> {
        let profile = wanted.unwrap_or_else(|| self.config.default_profile.clone());
        match self.policy.compiled.profiles.get(&profile) {
            Some(index) => Ok((profile, *index)),
            None => {
                let known: Vec<&str> = self.policy.checked.profile_names().collect();
                let known = known.join(", ");
                Err(Refusal::Unacceptable(format!("the policy has no profile {profile}: it has {known}")))
            }
        }
    }

    /// Only a child of the caller, run by the same user and in no session, can be put under guard by it. Returns
    /// when the child started, by which it is told from a later owner of its pid.
    fn own_child(&self, peer: &Peer, child: u32) -> Result<u64, Refusal> {
        let stranger = || Refusal::Unacceptable(format!("process {child} is not a child of the caller"));
        let stat = proc::stat(child).map_err(|_gone| stranger())?;
        if stat.ppid != peer.pid || stat.state == RunState::Dead || !peer.is_alive() {
            return Err(stranger());
        }
        if proc::uid(child).ok() != Some(peer.uid) {
            return Err(Refusal::Unacceptable(format!("process {child} belongs to another user than the caller")));
        }
        match self.kernel.tag_of(child) {
            Ok(None) => Ok(stat.started),
            Ok(Some(_)) => Err(Refusal::Conflict(format!("process {child} is in a session already"))),
            Err(_) => Err(stranger()),
        }
    }

    /// Everything that must be in place before the child may execute.
    fn enrol(&mut self, peer: &Peer, key: SessionKey, record: &SessionRecord) -> Result<Arc<Stamp>, Refusal> {
        let cgroup = self.make_session(peer, key, record)?;
        cgroup.add(record.root).map_err(|failure| Refusal::Failed(failure.to_string()))?;
        let started = self.own_child(peer, record.root)?;
        let enrolment = Enrolment { serial: key.serial, started, session: key.slot, reserved: 0 };
        self.kernel.enrol(record.root, enrolment).map_err(|error| Refusal::Failed(error.to_string()))?;
        self.sessions.stamp(key).ok_or_else(|| Refusal::Failed("the session is gone".to_owned()))
    }

    /// A session without processes: its record comes first, then its cgroup, and what the kernel must know of it.
    pub(super) fn make_session(
        &mut self,
        peer: &Peer,
        key: SessionKey,
        record: &SessionRecord,
    ) -> Result<Cgroup, Refusal> {
        let stamp = self.sessions.stamp(key).ok_or_else(|| Refusal::Failed("the session is gone".to_owned()))?;
        let approver = Person { uid: peer.uid, user: peer.user.clone(), pid: peer.pid };
        let entry = Entry {
            session: Some(Arc::clone(&stamp)),
            approver: Some(approver),
            ..Entry::new(clock::now(), What::SessionStarted)
        };
        if !self.record(&entry) {
            return Err(Refusal::Failed("the session was not started: the audit log could not be written".to_owned()));
        }
        let cgroup = Cgroup::create(&self.config.cgroup_dir, &cgroup_name(&stamp));
        let cgroup = cgroup.map_err(|failure| Refusal::Failed(failure.to_string()))?;
        let written = self.kernel.begin_session(key.slot, record);
        written.map_err(|error| Refusal::Failed(error.to_string()))?;
        self.open_lookups(key)?;
        Ok(cgroup)
    }

    /// Gives a session up whose command was not executed.
    pub(super) fn release_session(&mut self, key: SessionKey) -> Result<(), Refusal> {
        match self.kernel.session_tasks(key.slot) {
            Ok(0) => {}
            Ok(_) => return Err(Refusal::Conflict("the session's command is running: kill it instead".to_owned())),
            Err(error) => return Err(Refusal::Failed(error.to_string())),
        }
        self.end_session(key);
        Ok(())
    }

    /// Ends a session: nothing of it is left running, or it never ran.
    pub(super) fn end_session(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.end(key) else { return };
        self.doomed.remove(&key);
        if let Err(error) = self.lookups.close(&mut self.kernel, key.slot) {
            tracing::error!(%error, session = %session.stamp.id, "what a session knew cannot be forgotten");
        }
        if let Err(error) = self.kernel.write_session(key.slot, &SessionRecord::ZERO) {
            tracing::error!(%error, session = %session.stamp.id, "a session's end cannot be written");
        }
        self.intents.forget(key);
        self.sessions.stragglers().add(session.straggler());
        self.settle_stragglers();
        self.happen(Event::Ended(key));
        let entry = Entry { session: Some(Arc::clone(&session.stamp)), ..Entry::new(clock::now(), What::SessionEnded) };
        self.record(&entry);
        self.notices.end(key, view::ended());
        self.clockwork.remove_later(self.cgroup(&session.stamp));
    }

    /// Withdraws the enrolments that nobody will take any more. While a process can still execute, its own stays: it
    /// is refused then, and not unguarded.
    pub(super) fn settle_stragglers(&mut self) {
        let kernel = &self.kernel;
        let may_execute = |straggler: &Straggler| {
            let lives = |stat: &proc::Stat| stat.state != RunState::Dead && straggler.is_it(stat.started);
            proc::may_be(proc::stat(straggler.root), lives) && !matches!(kernel.tag_of(straggler.root), Ok(Some(_)))
        };
        for Straggler { root, serial, .. } in self.sessions.stragglers().settle(may_execute) {
            if let Err(error) = self.kernel.withdraw(root, serial) {
                tracing::error!(%error, pid = root, "an enrolment cannot be withdrawn");
            }
        }
    }

    /// The ancestors of a process inside its session, the parent first.
    pub(super) fn ancestors(&self, tgid: u32) -> Vec<u32> {
        let mut ancestors = Vec::new();
        let Some(serial) = self.serial_of(tgid) else { return ancestors };
        let mut next = tgid;
        while let Ok(stat) = proc::stat(next)
            && ancestors.len() < ANCESTORS
            && self.serial_of(stat.ppid) == Some(serial)
        {
            next = stat.ppid;
            ancestors.push(next);
        }
        ancestors
    }

    /// The serial of the session that a process is in.
    pub(super) fn serial_of(&self, pid: u32) -> Option<u64> {
        self.kernel.tag_of(pid).ok().flatten().map(|tag| tag.serial)
    }

    /// Whether a process may be in a session: who cannot be asked about may.
    pub(super) fn may_be_in(&self, pid: u32, serial: u64) -> bool {
        match self.kernel.tag_of(pid) {
            Ok(tag) => tag.is_some_and(|tag| tag.serial == serial),
            Err(kernel::Error::ProcessGone { source, .. }) => !proc::is_gone(&source),
            Err(_) => true,
        }
    }

    /// The processes of some sessions, by their serials, in their cgroups or not.
    fn tagged(&self, of: impl Fn(u64) -> bool) -> Vec<(u32, u64)> {
        let pids = proc::pids().unwrap_or_default().into_iter();
        pids.filter_map(|pid| Some((pid, self.serial_of(pid).filter(|serial| of(*serial))?))).collect()
    }

    /// Signals a process that is in one of these sessions, and nobody else: it is held before its tag is looked up, so
    /// that a later owner of its pid is never meant.
    pub(super) fn signal(&self, pid: u32, of: impl Fn(u64) -> bool, signal: Signal) -> Result<(), Errno> {
        let process = match process::open(pid) {
            Ok(process) => process,
            Err(error) if proc::is_gone(&error) => return Ok(()),
            Err(error) => return Err(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
        };
        // The tag is looked up by number: where it is another's by now, the process that is held is gone.
        if self.serial_of(pid).is_some_and(of) { signal::send(&process, signal) } else { Ok(()) }
    }

    /// Wakes every process of a session: whatever is parked asks again, and to what runs it is nothing.
    pub(super) fn wake_session(&mut self, key: SessionKey) {
        self.wake_tagged(|serial| serial == key.serial);
    }

    fn wake_tagged(&mut self, of: impl Fn(u64) -> bool) {
        let now = clock::monotonic_ns();
        self.tagged(of).into_iter().for_each(|(pid, _)| self.wakes.wake_twice(pid, now));
    }

    /// Stops the processes of sessions that their cgroups do not hold, and so do not freeze.
    pub(super) fn stop_outside(&self, halted: &[Arc<Stamp>]) {
        let frozen = |stamp: &Arc<Stamp>| (stamp.key.serial, self.cgroup(stamp).frozen_pids().unwrap_or_default());
        let frozen: BTreeMap<u64, Vec<u32>> = halted.iter().map(frozen).collect();
        if frozen.is_empty() {
            return;
        }
        for (pid, serial) in self.tagged(|serial| frozen.contains_key(&serial)) {
            if frozen.get(&serial).is_some_and(|pids| pids.contains(&pid)) {
                continue;
            }
            if let Err(errno) = self.signal(pid, |found| found == serial, Signal::SIGSTOP) {
                tracing::error!(%errno, pid, "a process of a halted session goes on until its next gated act");
            }
        }
    }

    /// Stops what has left a halted session's cgroup, or was woken by others.
    pub(super) fn keep_halted(&self) {
        let halted = self.sessions.iter().filter(|session| session.stage == Stage::Halted);
        let stamps: Vec<Arc<Stamp>> = halted.map(|session| Arc::clone(&session.stamp)).collect();
        self.stop_outside(&stamps);
    }

    /// Kills the processes of doomed sessions, in their cgroups or not, until none is left.
    pub(super) fn hunt(&mut self) {
        let serials: BTreeSet<u64> = self.doomed.iter().map(|key| key.serial).collect();
        if serials.is_empty() {
            return;
        }
        for (pid, _) in self.tagged(|serial| serials.contains(&serial)) {
            if let Err(errno) = self.signal(pid, |serial| serials.contains(&serial), Signal::SIGKILL) {
                tracing::error!(%errno, pid, "a process of a killed session lives on");
            }
        }
    }
}

pub(super) fn start_refused(refused: StartRefused) -> Refusal {
    let text = refused.to_string();
    match refused {
        StartRefused::Full | StartRefused::TooMany => Refusal::Busy(text),
        StartRefused::BadName(_) => Refusal::Unacceptable(text),
        StartRefused::NameTaken(_) | StartRefused::RootTaken(_) => Refusal::Conflict(text),
    }
}

pub(super) fn new_id(now: Timestamp) -> Result<String, Refusal> {
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let bytes = random::bytes().map_err(|error| Refusal::Failed(format!("cannot make an id: {error}")))?;
    Ok(Ulid::from_parts(milliseconds, u128::from_le_bytes(bytes)).to_string())
}

/// Directories of cgroups that could not be removed yet, since something in them had not gone.
pub(super) fn still_there(cgroups: Vec<Cgroup>) -> Vec<Cgroup> {
    cgroups.into_iter().filter(|cgroup| cgroup.remove().is_err() && PathBuf::from(cgroup.path()).exists()).collect()
}
