//! Taking a process that runs already into a session, with all its descendants.
//!
//! Each pass over the machine's tasks tags what has a tagged parent. Between passes the tree is frozen: whatever was
//! about to fork has then done so, and the first pass that finds nothing more has found all.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent_guard_common::session::Enrolment;

use super::{Daemon, Done, tree};
use crate::api::{Peer, Refusal, Reply, types};
use crate::kernel::adopt::{Adopting, Adoption};
use crate::session::{self, SessionKey, Start};
use crate::system::cgroup::Cgroup;
use crate::system::proc::{self, RunState};
use crate::system::{clock, process};
use crate::text;

/// Bytes of its command line that are kept, for people.
const ARGV_BYTES: u64 = 4096;
/// How long a tree has to come to rest: less than its caller waits for the answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the tree may take to freeze: what sleeps uninterruptibly does not.
const FREEZING: Duration = Duration::from_secs(1);

/// Why a tree was not taken in whole. What of it was tagged stays in the session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] crate::kernel::Error),
    /// No thread of it was there to be tagged.
    #[error("it has ended, or is the kernel's own")]
    Gone,
    /// It makes processes faster than they can be tagged.
    #[error("it was not at rest within {} seconds: kill the session", PATIENCE.as_secs())]
    Restless,
    /// Whoever did it is gone.
    #[error("adopting it was interrupted: kill the session")]
    Interrupted,
}

impl Daemon {
    /// Begins to adopt; the reply comes when all is tagged.
    pub(super) fn adopt(&mut self, peer: &Peer, adopt: types::Adopt, reply: Reply<types::Session>) {
        let begun = self.begin_adoption(peer, adopt);
        let (key, adoption, cgroup) = match begun {
            Ok(begun) => begun,
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        let results = self.results.clone();
        tokio::spawn(async move {
            let taken = tokio::task::spawn_blocking(move || take_in(&adoption, &cgroup)).await;
            let taken = taken.unwrap_or(Err(Failure::Interrupted));
            // A loop that is gone answers nobody.
            drop(results.send(Done::Adopted(key, Box::new(taken), reply)).await);
        });
    }

    /// All of the tree is in its session, or not.
    pub(super) fn adopted(&mut self, key: SessionKey, taken: Result<(), Failure>, reply: Reply<types::Session>) {
        let gone = || Refusal::Failed("the session has ended".to_owned());
        let shown = self.sessions.get(key).map(|session| self.show_session(session)).ok_or_else(gone);
        let answer = match taken {
            Ok(()) => shown,
            Err(failure) => Err(Refusal::Failed(failure.to_string())),
        };
        drop(reply.send(answer));
    }

    /// Makes the session.
    fn begin_adoption(&mut self, peer: &Peer, adopt: types::Adopt) -> Result<(SessionKey, Adoption, Cgroup), Refusal> {
        let started = self.adoptable(peer, adopt.pid)?;
        let uid = proc::uid(adopt.pid).map_err(|_gone| no_process(adopt.pid))?;
        let argv = proc::cmdline(adopt.pid, ARGV_BYTES).unwrap_or_default();
        let cwd = proc::cwd(adopt.pid).unwrap_or_default();
        let argv = argv.iter().map(|word| text::from_bytes(word)).collect();
        let (argv, cwd) = session::started(argv, text::from_bytes(cwd.as_os_str().as_bytes()));
        let (profile, profile_index) = self.profile(adopt.profile)?;
        let now = clock::now();
        let wanted = Start {
            id: tree::new_id(now.wall)?,
            name: adopt.name,
            profile,
            profile_index,
            serial: self.kernel.next_serial().map_err(|error| Refusal::Failed(error.to_string()))?,
            uid,
            root: adopt.pid,
            root_started: Some(started),
            keeper: None,
            argv,
            cwd,
            started_ns: clock::boottime_ns(),
            started: now.wall,
        };
        let (key, record) = self.sessions.start(wanted).map_err(tree::start_refused)?;
        let made = self.make_session(peer, key, &record);
        let cgroup = made.inspect_err(|_refused| self.end_session(key))?;
        let enrolment = Enrolment { serial: key.serial, started, session: key.slot, reserved: 0 };
        Ok((key, self.kernel.adoption(adopt.pid, enrolment), cgroup))
    }

    /// Whether a process may be taken in, by this caller: when it started, by which it is told from a later owner of its
    /// pid.
    fn adoptable(&self, peer: &Peer, pid: u32) -> Result<u64, Refusal> {
        let stat = proc::stat(pid).map_err(|_gone| no_process(pid))?;
        if stat.state == RunState::Dead {
            return Err(no_process(pid));
        }
        if peer.uid != 0 && proc::uid(pid).ok() != Some(peer.uid) {
            return Err(Refusal::Unacceptable(format!(
                "process {pid} belongs to another user: only root may adopt it"
            )));
        }
        for (whose, inside) in [("this daemon", std::process::id()), ("the caller", peer.pid)] {
            if is_below(inside, pid) {
                return Err(Refusal::Unacceptable(format!("{whose} is in the tree of process {pid}")));
            }
        }
        match self.kernel.tag_of(pid) {
            Ok(None) => Ok(stat.started),
            Ok(Some(_)) => Err(Refusal::Conflict(format!("process {pid} is in a session already"))),
            Err(_) => Err(no_process(pid)),
        }
    }
}

fn no_process(pid: u32) -> Refusal {
    Refusal::Unacceptable(format!("there is no process {pid}"))
}

/// Whether a process is another one, or one of its descendants. Who cannot be asked about is.
fn is_below(pid: u32, root: u32) -> bool {
    let mut next = pid;
    while next > 1 && next != root {
        match proc::stat(next) {
            Ok(stat) => next = stat.ppid,
            Err(_) => return true,
        }
    }
    next == root
}

/// Tags the tree, and puts it into its cgroup, which freezes it meanwhile.
fn take_in(adoption: &Adoption, cgroup: &Cgroup) -> Result<(), Failure> {
    let settled = settle(&mut adoption.load()?, cgroup);
    if let Err(failure) = cgroup.thaw() {
        tracing::error!(%failure, "an adopted tree stays frozen: `agent-guard resume` thaws it");
    }
    settled
}

/// Passes until one finds nothing more.
fn settle(adopting: &mut Adopting, cgroup: &Cgroup) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut known = BTreeSet::new();
    while begun.elapsed() < PATIENCE {
        let pass = adopting.pass()?;
        if pass.tagged.is_empty() && pass.failed == 0 {
            return if known.is_empty() { Err(Failure::Gone) } else { Ok(()) };
        }
        for pid in pass.tagged {
            // One that is gone has no descendants that are not tagged; the tag decides, and not the cgroup.
            if known.insert(pid)
                && let Err(failure) = cgroup.add(pid)
                && process::open(pid).is_ok()
            {
                tracing::warn!(%failure, pid, "an adopted process is not in its session's cgroup");
            }
        }
        if let Err(failure) = cgroup.freeze() {
            tracing::warn!(%failure, "an adopted tree goes on while it is tagged");
        }
        await_frozen(cgroup);
    }
    Err(Failure::Restless)
}

fn await_frozen(cgroup: &Cgroup) {
    let begun = Instant::now();
    while !cgroup.is_frozen() && begun.elapsed() < FREEZING {
        sleep(Duration::from_millis(1));
    }
}
