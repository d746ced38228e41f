//! The approval protocol as a pure function: events go in, effects come out.
//!
//! Owns requests, their ids, deadlines and answers, and the order in which things happen: the record of a
//! decision comes before its answer, all answers for a process before the signal that wakes it. It has no
//! clock, no map and no socket, and must not know the kernel's interface, tokio or the file system.

mod again;
mod effect;
mod event;
mod flood;
mod grant;
mod grants;
mod id;
mod memory;
mod orders;
mod quorum;
mod same;
mod state;
mod tally;
mod turn;

pub use effect::{About, Effect, Kept, Notice, Rejection, Told};
pub use event::{Answer, Bound, CallId, Choice, Event, Key, Question, Ruling, Steer, Task};
pub use grant::Grant;
pub use id::{NotAnId, RequestId};
pub use memory::Memory;
pub use quorum::{Consent, Shortfall};
pub use state::{Ending, Outcome, PENDING, PENDING_OF_SESSION, PENDING_OF_USER, REMEMBERED, Request, Standing, State};
pub use tally::{BOUNDS, ENDINGS, Tally, Waits};

use crate::audit::Now;
use turn::Turn;

/// Takes one event at an instant, and says what is to be done, in order.
#[must_use]
pub fn step(state: &mut State, event: Event, now: Now) -> Vec<Effect> {
    let mut turn = Turn::new(state, now);
    // Deadlines bind whatever comes: no answer that arrives with or after them counts.
    turn.pass_time();
    match event {
        Event::Asked(question) => turn.ask(*question),
        Event::Repeated(key) => turn.repeat(key),
        Event::Used(key) => turn.used(key),
        Event::Done { key, error } => turn.done(key, error),
        Event::Refused(key, reason) => turn.refused(key, reason),
        Event::Gone(task) => turn.gone(task),
        Event::Replied { call, request, answer } => turn.reply(call, request, answer),
        Event::Spread(grant) => turn.spread(grant),
        Event::Revoked { call, grant, by } => turn.revoke(call, grant, by),
        Event::PolicyChanged => turn.end_grants(|_| true, "another policy is in force"),
        Event::Steered { call, session, steer, by } => turn.steer(call, session, steer, &by),
        Event::FoundHalted(session) => turn.found_halted(session),
        Event::Unheld(request, why) => turn.unheld(request, why),
        Event::Ended(session) => turn.end(session),
        Event::Failed { about, why } => turn.failed(about, why),
        Event::Tick => turn.state.pauses.tidy(now.monotonic_ns),
    }
    turn.finish()
}

#[cfg(test)]
mod laws;
#[cfg(test)]
pub(crate) mod tests;
