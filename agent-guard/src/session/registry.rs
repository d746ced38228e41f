//! The sessions that there are, by the slots that the kernel knows them by. Pure: slots, names and states in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use agent_guard_common::credential::Environment;
use agent_guard_common::limits::{NAME_BYTES, SESSIONS};
use agent_guard_common::rule::name_bytes;
use agent_guard_common::session::{SessionRecord, state};
use jiff::Timestamp;

use super::act::{Act, SessionKey, Stamp};
use super::straggler::{Straggler, Stragglers};

/// Ended sessions whose names are remembered, for events that come after the end.
const REMEMBERED: usize = 64;
/// Sessions that one user may have at one time, root excepted, so that no user takes the slots of all others.
const SESSIONS_OF_USER: usize = SESSIONS as usize / 4;
/// `/proc/PID/stat` counts in hundredths of a second.
const TICK_NS: u64 = 10_000_000;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Judged by its profile.
    Active,
    /// Every gated act parks its caller.
    Halted,
}

/// What has been decided in a session so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acts that waited for a person.
    pub held: u64,
    /// Acts that were approved.
    pub approved: u64,
    /// Acts that were refused.
    pub refused: u64,
}

/// The touching of a credential.
#[derive(Clone, Debug)]
pub struct Touch {
    /// The act.
    pub act: Arc<Act>,
    /// When the daemon heard of it.
    pub at: Timestamp,
}

/// One guarded process tree.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it is called.
    pub stamp: Arc<Stamp>,
    /// Index of its profile in the matrix: the same for all sessions of a profile, and kept through reloads.
    pub profile_index: u32,
    /// Its first process.
    pub root: u32,
    /// The process that started it and watches over it; none after the daemon was restarted.
    pub keeper: Option<u32>,
    /// Where it stands.
    pub stage: Stage,
    /// Whether its first process has executed its command, and so is tagged.
    pub executed: bool,
    /// Whether the last look found none of its processes, though the kernel counts some.
    pub deserted: bool,
    /// Since when it has been there, in clock ticks since boot: its first process is not younger.
    since_ticks: u64,
    /// What was started, as the keeper says.
    pub argv: Vec<String>,
    /// Where, as the keeper says.
    pub cwd: String,
    /// When.
    pub started: Timestamp,
    /// What has been decided.
    pub counts: Counts,
    /// The first credential of each environment that it has touched, since this daemon started: what counts is in the
    /// kernel.
    pub touched: BTreeMap<Environment, Touch>,
}

impl Session {
    /// Whether a process that has the number of its first process, and started at this tick, can be that one.
    #[must_use]
    pub fn is_root(&self, started: u64) -> bool {
        self.straggler().is_it(started)
    }

    /// Its first process, as it is known once the session has ended.
    #[must_use]
    pub fn straggler(&self) -> Straggler {
        let (serial, uid) = (self.stamp.key.serial, self.stamp.uid);
        Straggler { root: self.root, serial, uid, since_ticks: self.since_ticks }
    }
}

/// What a new session is made of.
#[derive(Clone, Debug)]
pub struct Start {
    /// A new id.
    pub id: String,
    /// The name that was asked for; else one is made of the command's.
    pub name: Option<String>,
    /// The profile's name.
    pub profile: String,
    /// The profile's index in the matrix.
    pub profile_index: u32,
    /// A serial that no other session of this boot has.
    pub serial: u64,
    /// The user.
    pub uid: u32,
    /// The first process.
    pub root: u32,
    /// When that started, in clock ticks since boot, if it runs already.
    pub root_started: Option<u64>,
    /// The process that asks for it and keeps it; none for one that was adopted.
    pub keeper: Option<u32>,
    /// What will be executed.
    pub argv: Vec<String>,
    /// Where.
    pub cwd: String,
    /// CLOCK_BOOTTIME, in nanoseconds.
    pub started_ns: u64,
    /// The same by the wall clock.
    pub started: Timestamp,
}

/// Why a session cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartRefused {
    /// There are too many.
    #[error("{SESSIONS} sessions are running: end one first")]
    Full,
    /// The user has too many.
    #[error("{SESSIONS_OF_USER} sessions of this user are running: end one first")]
    TooMany,
    /// The name cannot be told from another's, or not be shown.
    #[error(
        "session name {0:?} is not valid: 1 to 31 letters, digits, dots, dashes or underscores are expected, a letter first"
    )]
    BadName(String),
    /// Another session has it.
    #[error("a session named {0} is running: choose another name")]
    NameTaken(String),
    /// The process is about to be another session's first.
    #[error("process {0} is about to be the root of another session")]
    RootTaken(u32),
}

/// All sessions that have not ended.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: BTreeMap<u32, Session>,
    ended: VecDeque<Arc<Stamp>>,
    stragglers: Stragglers,
}

impl Registry {
    /// Finds the sessions again that the kernel has kept while no daemon ran. Their ids are known by serial, and
    /// by slot whether they have tasks; of what was started, and by whom it is kept, nothing is left.
    #[must_use]
    pub fn recover(
        records: &[(u32, SessionRecord)],
        ids: &BTreeMap<u64, String>,
        executed: impl Fn(u32) -> bool,
        started: impl Fn(u64) -> Timestamp,
    ) -> Self {
        let mut registry = Self::default();
        for (slot, record) in records.iter().filter(|(_, record)| record.state != state::FREE) {
            let key = SessionKey { slot: *slot, serial: record.serial };
            let stamp = Stamp {
                id: ids.get(&record.serial).cloned().unwrap_or_else(|| format!("recovered-{}", record.serial)),
                name: name_of(&record.name),
                profile: name_of(&record.profile_name),
                uid: record.uid,
                key,
            };
            let stage = if record.state == state::HALTED { Stage::Halted } else { Stage::Active };
            let session = Session {
                stamp: Arc::new(stamp),
                profile_index: record.profile,
                root: record.root,
                keeper: None,
                stage,
                executed: executed(*slot),
                deserted: false,
                since_ticks: record.started_ns / TICK_NS,
                argv: Vec::new(),
                cwd: String::new(),
                started: started(record.started_ns),
                counts: Counts::default(),
                touched: BTreeMap::new(),
            };
            registry.sessions.insert(*slot, session);
        }
        registry
    }

    /// Takes a slot for a new session. The record is what the kernel must hold before its first process is enrolled.
    pub fn start(&mut self, start: Start) -> Result<(SessionKey, SessionRecord), StartRefused> {
        let slot = (0..SESSIONS).find(|slot| !self.sessions.contains_key(slot)).ok_or(StartRefused::Full)?;
        if self.sessions.len() + self.stragglers.count() >= SESSIONS as usize {
            return Err(StartRefused::Full);
        }
        let of_user = self.sessions.values().filter(|session| session.stamp.uid == start.uid).count();
        if start.uid != 0 && of_user + self.stragglers.count_of(start.uid) >= SESSIONS_OF_USER {
            return Err(StartRefused::TooMany);
        }
        // One that has executed may have died long ago, and its number be another's.
        if self.sessions.values().any(|session| !session.executed && session.root == start.root) {
            return Err(StartRefused::RootTaken(start.root));
        }
        let name = self.name(start.name, start.argv.first())?;
        let key = SessionKey { slot, serial: start.serial };
        let record = SessionRecord {
            serial: start.serial,
            started_ns: start.started_ns,
            state: state::ACTIVE,
            profile: start.profile_index,
            uid: start.uid,
            root: start.root,
            name: name_bytes(&name),
            profile_name: name_bytes(&start.profile),
        };
        let session = Session {
            stamp: Arc::new(Stamp { id: start.id, name, profile: start.profile, uid: start.uid, key }),
            profile_index: start.profile_index,
            root: start.root,
            keeper: start.keeper,
            stage: Stage::Active,
            executed: false,
            deserted: false,
            since_ticks: start.root_started.unwrap_or(start.started_ns / TICK_NS),
            argv: start.argv,
            cwd: start.cwd,
            started: start.started,
            counts: Counts::default(),
            touched: BTreeMap::new(),
        };
        self.sessions.insert(slot, session);
        Ok((key, record))
    }

    /// Ends a session: its slot is free again.
    pub fn end(&mut self, key: SessionKey) -> Option<Session> {
        self.get(key)?;
        let session = self.sessions.remove(&key.slot)?;
        self.ended.push_back(Arc::clone(&session.stamp));
        if self.ended.len() > REMEMBERED {
            self.ended.pop_front();
        }
        Some(session)
    }

    /// The first processes of ended sessions that have not executed yet.
    pub const fn stragglers(&mut self) -> &mut Stragglers {
        &mut self.stragglers
    }

    /// A session that has not ended.
    #[must_use]
    pub fn get(&self, key: SessionKey) -> Option<&Session> {
        self.sessions.get(&key.slot).filter(|session| session.stamp.key == key)
    }

    /// The session that has a slot.
    #[must_use]
    pub fn at(&self, slot: u32) -> Option<&Session> {
        self.sessions.get(&slot)
    }

    /// A session that has not ended, to be changed.
    pub fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(&key.slot).filter(|session| session.stamp.key == key)
    }

    /// A session by what a person types: its id or its name.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&Session> {
        let mut sessions = self.sessions.values();
        sessions.find(|session| session.stamp.name == text || session.stamp.id.eq_ignore_ascii_case(text))
    }

    /// What a session is called, ended or not.
    #[must_use]
    pub fn stamp(&self, key: SessionKey) -> Option<Arc<Stamp>> {
        let living = self.get(key).map(|session| &session.stamp);
        living.or_else(|| self.ended.iter().rev().find(|stamp| stamp.key == key)).map(Arc::clone)
    }

    /// The index that the profile of each session has.
    #[must_use]
    pub fn profiles(&self) -> BTreeMap<String, u32> {
        self.iter().map(|session| (session.stamp.profile.clone(), session.profile_index)).collect()
    }

    /// All sessions, by slot.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// A name that no other session has.
    fn name(&self, wanted: Option<String>, command: Option<&String>) -> Result<String, StartRefused> {
        let taken = |name: &str| self.sessions.values().any(|session| session.stamp.name == name);
        if let Some(name) = wanted {
            return match (valid(&name), taken(&name)) {
                (false, _) => Err(StartRefused::BadName(name)),
                (true, true) => Err(StartRefused::NameTaken(name)),
                (true, false) => Ok(name),
            };
        }
        let base = base_name(command.map_or("", String::as_str));
        let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
        // One more name than there can be sessions: one of them is free.
        let mut names = std::iter::once(base.clone()).chain(numbered).take(SESSIONS as usize + 1);
        names.find(|name| !taken(name)).ok_or(StartRefused::Full)
    }
}

fn valid(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() < NAME_BYTES
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// A valid name out of a command's, with room for a number behind it.
fn base_name(command: &str) -> String {
    let file = command.rsplit('/').next().unwrap_or_default();
    let kept = file.chars().filter(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(*letter));
    let name: String = kept.skip_while(|letter| !letter.is_ascii_alphabetic()).take(NAME_BYTES - 8).collect();
    if name.is_empty() { "session".to_owned() } else { name }
}

fn name_of(bytes: &[u8; NAME_BYTES]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
    crate::text::from_bytes(&bytes[..end])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agent_guard_common::limits::SESSIONS;
    use agent_guard_common::session::{SessionRecord, state};
    use jiff::Timestamp;

    use super::{Registry, SESSIONS_OF_USER, SessionKey, Stage, Start, StartRefused, TICK_NS};

    fn start(serial: u64, name: Option<&str>) -> Start {
        Start {
            id: format!("ID{serial}"),
            name: name.map(str::to_owned),
            profile: "autonomous".to_owned(),
            profile_index: 2,
            serial,
            uid: 1000,
            root: 100 + u32::try_from(serial).expect("is small"),
            root_started: None,
            keeper: Some(99),
            argv: vec!["/usr/bin/claude".to_owned()],
            cwd: "/".to_owned(),
            started_ns: 5,
            started: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn names_are_made_of_the_command_and_never_given_twice() {
        let mut registry = Registry::default();
        for (serial, expected) in [(1, "claude"), (2, "claude-2"), (3, "claude-3")] {
            let (key, record) = registry.start(start(serial, None)).expect("starts");
            assert_eq!(registry.get(key).map(|session| session.stamp.name.as_str()), Some(expected));
            assert_eq!((record.serial, record.state, record.profile), (serial, state::ACTIVE, 2));
        }
        assert_eq!(registry.start(start(4, Some("claude"))), Err(StartRefused::NameTaken("claude".to_owned())));
    }

    #[test]
    fn names_that_deceive_or_do_not_fit_are_refused() {
        for name in ["", "-x", "7", "a b", "a\u{202e}b", "a/b", &"x".repeat(32)] {
            let refused = Registry::default().start(start(1, Some(name)));
            assert_eq!(refused, Err(StartRefused::BadName(name.to_owned())));
        }
    }

    #[test]
    fn a_command_without_a_usable_name_still_gives_one() {
        for (command, expected) in
            [("", "session"), ("/bin/7z", "z"), ("/x/\u{202e}", "session"), ("./run.sh", "run.sh")]
        {
            let mut registry = Registry::default();
            let wanted = Start { argv: vec![command.to_owned()], ..start(1, None) };
            let (key, _) = registry.start(wanted).expect("starts");
            assert_eq!(registry.get(key).map(|session| session.stamp.name.as_str()), Some(expected));
        }
    }

    #[test]
    fn a_slot_is_used_again_and_its_former_session_stays_apart() {
        let mut registry = Registry::default();
        let (first, _) = registry.start(start(1, None)).expect("starts");
        assert!(registry.end(first).is_some() && registry.end(first).is_none());
        let (second, _) = registry.start(start(2, None)).expect("starts");
        assert_eq!(second, SessionKey { slot: first.slot, serial: 2 });
        assert!(registry.get(first).is_none());
        assert_eq!(registry.stamp(first).map(|stamp| stamp.id.clone()).as_deref(), Some("ID1"));
    }

    #[test]
    fn sessions_are_found_by_id_and_name() {
        let mut registry = Registry::default();
        registry.start(start(1, Some("nightly"))).expect("starts");
        assert!(registry.find("id1").is_some() && registry.find("nightly").is_some() && registry.find("x").is_none());
    }

    #[test]
    fn a_full_house_and_a_root_that_is_taken_are_refused() {
        let mut registry = Registry::default();
        for serial in 0..u64::from(SESSIONS) {
            registry.start(Start { uid: 0, ..start(serial, None) }).expect("starts");
        }
        assert_eq!(registry.start(start(5000, None)), Err(StartRefused::Full));
        let mut registry = Registry::default();
        registry.start(start(1, None)).expect("starts");
        assert_eq!(registry.start(Start { serial: 9, ..start(1, None) }), Err(StartRefused::RootTaken(101)));
    }

    #[test]
    fn no_user_but_root_takes_the_slots_of_all_others() {
        let mut registry = Registry::default();
        for serial in 0..SESSIONS_OF_USER as u64 {
            registry.start(start(serial, None)).expect("starts");
        }
        assert_eq!(registry.start(start(5000, None)), Err(StartRefused::TooMany));
        registry.start(Start { uid: 1001, ..start(5000, None) }).expect("another user's starts");
        registry.start(Start { uid: 0, ..start(5001, None) }).expect("root's starts");
    }

    #[test]
    fn whoever_has_not_executed_yet_counts_after_the_end_of_its_session() {
        let mut registry = Registry::default();
        for serial in 0..SESSIONS_OF_USER as u64 {
            let (key, _) = registry.start(start(serial, None)).expect("starts");
            let straggler = registry.end(key).expect("is there").straggler();
            assert_eq!((straggler.root, straggler.serial, straggler.uid), (start(serial, None).root, serial, 1000));
            registry.stragglers().add(straggler);
        }
        assert_eq!(registry.start(start(5000, None)), Err(StartRefused::TooMany));
        assert_eq!(registry.stragglers().settle(|_| false).len(), SESSIONS_OF_USER);
        registry.start(start(5000, None)).expect("starts");
    }

    #[test]
    fn a_younger_process_is_not_the_root() {
        let mut registry = Registry::default();
        let (key, _) = registry.start(Start { started_ns: 42 * TICK_NS + 1, ..start(1, None) }).expect("starts");
        let session = registry.get(key).expect("is there");
        assert!(session.is_root(41) && session.is_root(42) && !session.is_root(43));
    }

    #[test]
    fn what_the_kernel_kept_is_found_again() {
        let mut registry = Registry::default();
        let (key, record) = registry.start(start(7, Some("nightly"))).expect("starts");
        let halted = SessionRecord { state: state::HALTED, ..record };
        let records = [(key.slot, halted), (3, SessionRecord::ZERO)];
        let ids = BTreeMap::from([(7, "ID7".to_owned())]);
        let recovered = Registry::recover(&records, &ids, |_| false, |_| Timestamp::UNIX_EPOCH);
        assert_eq!(recovered.iter().count(), 1);
        let session = recovered.get(key).expect("is found");
        assert_eq!(
            (&*session.stamp.id, &*session.stamp.name, &*session.stamp.profile),
            ("ID7", "nightly", "autonomous")
        );
        assert_eq!((session.stage, session.root, session.keeper), (Stage::Halted, 107, None));
        assert!(!session.executed, "its first process may still wait");
        let running = Registry::recover(&records, &ids, |slot| slot == key.slot, |_| Timestamp::UNIX_EPOCH);
        assert!(running.get(key).is_some_and(|session| session.executed));
    }
}
