//! What a daemon before this one has left, and what this one leaves: the store is told how things stand, and asked at the start.
//!
//! It looks which of what was left is still there; what follows from that is `decision`'s to say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use super::{Books, Daemon, Error};
use crate::audit::{Person, What};
use crate::decision::{About, Effect, Ending, Event, Grant, Kept, Memory, Request, RequestId, Standing, State, Task};
use crate::kernel::Kernel;
use crate::policy::Scope;
use crate::session::{Act, Registry};
use crate::store::Change;
use crate::system::{clock, proc, random};

const NOT_HELD: &str = "its process was no longer held when the daemon came back";
const GONE: &str = "its process or session was gone when the daemon came back";
const OTHER_BOOT: &str = "the machine was started anew";
const OTHER_POLICY: &str = "another policy is in force";

/// What was left and is over: which, and why.
pub(super) type Over = Vec<(RequestId, &'static str)>;

/// Takes up what was left, and says what of it is over.
pub(super) fn resume(books: &Books, kernel: &Kernel, sessions: &Registry, policy: u32) -> Result<(State, Over), Error> {
    let store = &books.store;
    let found = store.find()?;
    // A daemon that was killed between the two has left decisions on record that the store does not know of: they stand.
    let decided = decided(&books.log.behind(found.sequence)?);
    let (mut memory, mut over, mut unused) = (Memory::default(), Over::new(), BTreeSet::new());
    for kept in found.requests {
        let mut request = kept.what;
        if let Some((standing, ending)) = decided.get(&request.id).filter(|_| request.ending.is_none()) {
            (request.standing, request.ending) = (*standing, Some(ending.clone()));
        }
        let is_of_this_boot = kept.boot == store.boot();
        if request.standing == Standing::Pending {
            if !is_of_this_boot {
                // The clock that it was to end by does not go any more.
                request.deadline.monotonic_ns = u64::MAX;
            }
            over.extend(why_not_held(&request, sessions, is_of_this_boot).map(|why| (request.id, why)));
        } else if request.standing == Standing::Approved && is_of_this_boot {
            // What cannot be read counts as there: it lapses.
            unused.extend(request.keys().filter(|key| kernel.answer_pending((*key).into()).unwrap_or(true)));
        }
        memory.requests.push(request);
    }
    for kept in found.grants {
        let (grant, number) = kept.what;
        let why =
            if kept.boot == store.boot() { why_over(&grant, sessions, number == policy) } else { Some(OTHER_BOOT) };
        over.extend(why.map(|why| (grant.id, why)));
        memory.grants.push(grant);
    }
    let seed = u32::from_le_bytes(random::bytes().map_err(Error::Start)?);
    Ok((State::resume(seed, memory, &unused, clock::monotonic_ns()), over))
}

/// The decisions among records, by their requests.
fn decided(records: &[String]) -> BTreeMap<RequestId, (Standing, Ending)> {
    #[derive(Deserialize)]
    struct Record {
        what: What,
        time: Timestamp,
        request: Option<String>,
        decision: Option<Standing>,
        approver: Option<Person>,
        reason: Option<String>,
    }
    let decision = |line: &String| {
        let record = serde_json::from_str::<Record>(line).ok().filter(|record| record.what == What::Decided)?;
        let ending = Ending { at: record.time, by: record.approver, reason: record.reason };
        Some((record.request?.parse().ok()?, (record.decision?, ending)))
    };
    records.iter().filter_map(decision).collect()
}

fn why_not_held(request: &Request, sessions: &Registry, is_of_this_boot: bool) -> Option<&'static str> {
    if !is_of_this_boot {
        return Some(OTHER_BOOT);
    }
    let is_there = sessions.get(request.session).is_some() && is_there(request.key.task, &request.act);
    (!is_there).then_some(NOT_HELD)
}

fn why_over(grant: &Grant, sessions: &Registry, is_same_policy: bool) -> Option<&'static str> {
    if !is_same_policy {
        return Some(OTHER_POLICY);
    }
    let first = Task { tid: grant.task.tgid, ..grant.task };
    let holds = match grant.scope {
        Scope::Process => sessions.get(grant.session).is_some() && is_there(first, &grant.act),
        Scope::Once | Scope::Session => sessions.get(grant.session).is_some(),
        Scope::Rule => true,
    };
    (!holds).then_some(GONE)
}

/// Whether a thread is still the one that asked. What cannot be told is taken for another one.
fn is_there(task: Task, act: &Act) -> bool {
    let started = proc::stat(task.tgid).ok().map(|stat| stat.started);
    started.is_some() && started == act.process.started && proc::thread_stat(task.tgid, task.tid).is_ok()
}

impl Daemon {
    /// Lets go what was left by a daemon before this one, and is over.
    pub(super) fn let_go(&mut self, over: Over) {
        for (id, why) in over {
            self.happen(Event::Unheld(id, why));
        }
    }

    /// Tells the store how things stand that were ordered to be kept; on failure, what depends on them. What failed before
    /// is not kept as if it had not.
    pub(super) fn keep(&mut self, orders: &[Effect], failed: &BTreeMap<About, &'static str>) -> Result<(), Vec<About>> {
        let ordered = || {
            orders.iter().filter_map(|order| match order {
                Effect::Keep { about, kept } if about.is_none_or(|about| !failed.contains_key(&about)) => {
                    Some((*about, *kept))
                }
                _ => None,
            })
        };
        let mut changes = Vec::new();
        for (_, kept) in ordered() {
            match kept {
                // Of one that ended and was forgotten in the same turn nothing is left to be kept.
                Kept::Request(id) => changes.extend(self.state.request(id).map(Change::Request)),
                Kept::Grant(id) => {
                    changes.extend(self.state.grant(id).map(|grant| Change::Grant(grant, self.policy.number())));
                }
                Kept::Forgotten(id) => changes.push(Change::Forgotten(id)),
                Kept::GrantEnded(id) => changes.push(Change::GrantEnded(id)),
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let must_last = changes.iter().any(|change| match change {
            // No process is held across a start of the machine.
            Change::Request(request) => request.standing != Standing::Pending || !request.consents.is_empty(),
            Change::Grant(..) => true,
            Change::Forgotten(_) | Change::GrantEnded(_) => false,
        });
        self.store.commit(&changes, must_last, self.log.written().sequence).map_err(|failure| {
            tracing::error!(%failure, "what must outlive the daemon is not kept");
            ordered().filter_map(|(about, _)| about).collect()
        })
    }
}
