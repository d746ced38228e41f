//! The kernel side as the daemon sees it: loading, pinning, typed writes, and events.
//!
//! The only module that knows aya. It must not know policy syntax, decisions, or who asks: what goes down are
//! plain records, what comes up are [`events::KernelEvent`]s.

pub mod adopt;
mod btf;
mod demand;
mod error;
pub mod events;
mod install;
mod known;
mod load;
mod maps;
mod names;
mod pins;
#[cfg(feature = "rehearsal")]
mod rehearsal;
pub mod selftest;
pub mod support;

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use agent_guard_common::answer::{Answer, AnswerKey};
use agent_guard_common::control;
use agent_guard_common::counter::{ERRNOS, Place, index, judged};
use agent_guard_common::credential::{EVERY, forgotten};
use agent_guard_common::hash::SipKey;
use agent_guard_common::session::{Enrolment, Outcomes, SessionRecord, Tag, state};

pub use self::error::Error;
pub use self::events::EventReader;
pub use self::names::{HeardName, KnownAddress};
pub use self::pins::detach;
use crate::policy::Compiled;
use crate::system;

/// Whether this build enforces anything. One that does not is for measuring what people wait for.
const HAS_PROGRAMS: bool = !cfg!(feature = "rehearsal");

/// Where and how the kernel side is loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the pins, on a mounted bpffs.
    pub pins: PathBuf,
}

/// The loaded kernel side. Owned by the daemon's one loop; every call is one or a few quick system calls.
pub struct Kernel {
    maps: maps::Maps,
    pins: PathBuf,
    /// Keeps other daemons, and `detach`, off the pins.
    _claim: system::paths::Claim,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

/// What `status` shows of the kernel side.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Judgements by kind, in the order of `judged::NAMES`.
    pub judged: Vec<(&'static str, u64)>,
    /// Failed or lost acts that happened: what, with which errno, how often.
    pub failures: Vec<(&'static str, u32, u64)>,
}

impl Kernel {
    /// Loads and attaches every program, adopting the maps that an earlier daemon pinned.
    ///
    /// # Errors
    /// Whatever is missing or refused, with the remedy. Nothing that was pinned before is removed on failure.
    pub fn start(options: &Options) -> Result<(Self, EventReader), Error> {
        #[cfg(feature = "rehearsal")]
        return rehearsal::start(options);
        #[cfg(not(feature = "rehearsal"))]
        load::start(options)
    }

    /// Puts a compiled policy in force, with what sessions know by names: all of it, or nothing. `policy` is its number; see
    /// [`control::POLICY`].
    ///
    /// # Errors
    /// A program that it demands cannot be attached; or a map is full or cannot be written. The policy before stays in
    /// force.
    pub fn install(&mut self, rules: &Compiled, known: &[KnownAddress], policy: u32) -> Result<(), Error> {
        // What a policy demands is there before it, and goes after it.
        if HAS_PROGRAMS {
            demand::attach(&self.pins, &rules.demands)?;
        }
        install::install(&mut self.maps, rules, known)?;
        // After the policy: what was judged by the one before never counts as judged by this one.
        self.maps.set_control(control::POLICY, u64::from(policy))?;
        if HAS_PROGRAMS && let Err(error) = demand::detach_others(&self.pins, &rules.demands) {
            tracing::warn!(%error, "a program that no rule needs stays attached for now; it allows all");
        }
        Ok(())
    }

    /// Generation of the policy in force; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u32 {
        // Generations are 32 bits wide everywhere; the word is wider only because all control words are.
        u32::try_from(self.maps.control(control::GENERATION)).unwrap_or(0)
    }

    /// The key of this boot's identities.
    #[must_use]
    pub fn key(&self) -> SipKey {
        SipKey { k0: self.maps.control(control::KEY_0), k1: self.maps.control(control::KEY_1) }
    }

    /// Tells the programs that somebody is there to answer.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn heartbeat(&mut self) -> Result<(), Error> {
        self.maps.set_control(control::HEARTBEAT, system::clock::monotonic_ns())
    }

    /// Takes the next session serial; none is given twice while the maps live.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn next_serial(&mut self) -> Result<u64, Error> {
        let serial = self.maps.control(control::SERIAL) + 1;
        self.maps.set_control(control::SERIAL, serial)?;
        Ok(serial)
    }

    /// Leaves an answer for a thread.
    ///
    /// # Errors
    /// The map is full or cannot be written.
    pub fn answer(&mut self, key: AnswerKey, answer: Answer) -> Result<(), Error> {
        self.maps.answers.insert(key, answer, 0).map_err(Error::write(agent_guard_common::map::ANSWERS))
    }

    /// Whether an answer still waits for its thread.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn answer_pending(&self, key: AnswerKey) -> Result<bool, Error> {
        maps::present(self.maps.answers.get(&key, 0), agent_guard_common::map::ANSWERS)
    }

    /// Takes an answer back. One that is not there is no error.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn forget_answer(&mut self, key: AnswerKey) -> Result<(), Error> {
        maps::removed(self.maps.answers.remove(&key), agent_guard_common::map::ANSWERS)
    }

    /// Lets a process be tagged at its next `execve`.
    ///
    /// # Errors
    /// The map is full or cannot be written.
    pub fn enrol(&mut self, pid: u32, enrolment: Enrolment) -> Result<(), Error> {
        self.maps.enrol.insert(pid, enrolment, 0).map_err(Error::write(agent_guard_common::map::ENROL))
    }

    /// Withdraws a session's enrolment of a process. One that was taken already, or is another session's, is no error.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn withdraw(&mut self, pid: u32, serial: u64) -> Result<(), Error> {
        match self.maps.enrol.get(&pid, 0) {
            Ok(enrolment) if enrolment.serial == serial => {
                maps::removed(self.maps.enrol.remove(&pid), agent_guard_common::map::ENROL)
            }
            other => maps::present(other, agent_guard_common::map::ENROL).map(|_another_or_none| ()),
        }
    }

    /// Sessions whose slots are in use.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn sessions(&self) -> Result<Vec<(u32, SessionRecord)>, Error> {
        let mut sessions = Vec::new();
        for slot in 0..self.maps.sessions.len() {
            let record = self.maps.sessions.get(&slot, 0).map_err(Error::read(agent_guard_common::map::SESSIONS))?;
            if record.state != state::FREE {
                sessions.push((slot, record));
            }
        }
        Ok(sessions)
    }

    /// Writes the record of a session that begins: nothing has come of its acts yet.
    ///
    /// # Errors
    /// A map cannot be written.
    pub fn begin_session(&mut self, slot: u32, record: &SessionRecord) -> Result<(), Error> {
        let none = Outcomes::ZERO;
        self.maps.outcomes.set(slot, none, 0).map_err(Error::write(agent_guard_common::map::OUTCOMES))?;
        self.forget_touched(slot)?;
        self.write_session(slot, record)
    }

    /// What came of a session's acts.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn outcomes(&self, slot: u32) -> Result<Outcomes, Error> {
        self.maps.outcomes.get(&slot, 0).map_err(Error::read(agent_guard_common::map::OUTCOMES))
    }

    /// Bits of the environments that a session has touched credentials of.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn touched(&self, slot: u32) -> Result<u64, Error> {
        Ok(self.touched_word(slot)? & EVERY)
    }

    fn touched_word(&self, slot: u32) -> Result<u64, Error> {
        self.maps.touched.get(&slot, 0).map_err(Error::read(agent_guard_common::map::TOUCHED))
    }

    /// Has a session touched no credential, nor any of its processes.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn forget_touched(&mut self, slot: u32) -> Result<(), Error> {
        let nothing = forgotten(self.touched_word(slot)?);
        self.maps.touched.set(slot, nothing, 0).map_err(Error::write(agent_guard_common::map::TOUCHED))
    }

    /// Writes a session's record.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn write_session(&mut self, slot: u32, record: &SessionRecord) -> Result<(), Error> {
        self.maps.sessions.set(slot, record, 0).map_err(Error::write(agent_guard_common::map::SESSIONS))
    }

    /// Living tasks of a session, zombies that nobody has reaped included.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn session_tasks(&self, slot: u32) -> Result<u64, Error> {
        self.maps.tasks.get(&slot, 0).map_err(Error::read(agent_guard_common::map::TASKS))
    }

    /// Forgets the tasks of a session that were counted and are not there.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn forget_tasks(&mut self, slot: u32) -> Result<(), Error> {
        self.maps.tasks.set(slot, 0, 0).map_err(Error::write(agent_guard_common::map::TASKS))
    }

    /// What it takes to tag a process that runs already, with its descendants; see [`adopt`].
    #[must_use]
    pub fn adoption(&self, root: u32, enrolment: Enrolment) -> adopt::Adoption {
        adopt::Adoption { pins: self.pins.clone(), root, enrolment }
    }

    /// The tag of a process, if it is in a tree.
    ///
    /// # Errors
    /// [`Error::ProcessGone`] when there is no such process; the caller must then assume the worst.
    pub fn tag_of(&self, pid: u32) -> Result<Option<Tag>, Error> {
        let process = system::process::open(pid).map_err(|source| Error::ProcessGone { pid, source })?;
        self.maps.tag(process.as_fd()).map_err(|source| Error::ReadMap {
            map: agent_guard_common::map::TAGS,
            source: aya::maps::MapError::IoError(source),
        })
    }

    /// Refusals since the maps were made.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn refusals(&self) -> Result<u64, Error> {
        self.maps.sum(&self.maps.judged, judged::REFUSED)
    }

    /// Counters of judgements, and of failed acts by place and errno.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        let mut counters = Counters::default();
        for (kind, name) in judged::NAMES.iter().enumerate() {
            let kind = u32::try_from(kind).unwrap_or(u32::MAX);
            counters.judged.push((name, self.maps.sum(&self.maps.judged, kind)?));
        }
        for place in Place::ALL {
            for errno in 0..ERRNOS {
                let count = self.maps.sum(&self.maps.failures, index(*place, errno))?;
                if count > 0 {
                    counters.failures.push((place.text(), errno, count));
                }
            }
        }
        Ok(counters)
    }
}
