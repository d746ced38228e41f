//! Questions: the one that a task waits with, its answer, and the stop that makes it wait.
//!
//! The rules are those of design.md, *Hold*: never a hold without a delivered question; an answer fits one
//! question of one thread about one object, and is void with the next.

use agent_guard_common::answer::{Answer, AnswerKey, answered};
use agent_guard_common::control::{HEARTBEAT, KEY_0, KEY_1};
use agent_guard_common::counter::Place;
use agent_guard_common::hash::SipKey;
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;
use aya_ebpf::helpers::generated::{bpf_send_signal, bpf_send_signal_thread};

use crate::hook::{Caller, Object};
use crate::kernel::{control, count, now};
use crate::maps::ANSWERS;
use crate::task;

const SIGKILL: u32 = 9;
const SIGCONT: u32 = 18;
const SIGSTOP: u32 = 19;

/// How the caller's question about this object stands.
#[derive(Clone, Copy)]
pub struct Standing {
    /// Hash of the object; 0 when nothing was looked up.
    pub object: u64,
    /// The question's id; 0 when it has not been put.
    pub question: u64,
    /// A valid answer's kind; 0 for none.
    pub answer: u32,
    /// Times it was put.
    pub asks: u32,
    /// What the arguments of an approved command hash to.
    pub argv: u64,
    /// The same of `argv[0]` alone.
    pub name: u64,
}

impl Standing {
    /// Nothing looked up.
    pub const NONE: Self = Self { object: 0, question: 0, answer: 0, asks: 0, argv: 0, name: 0 };

    /// Recomputes the object, and looks the answer up if the question is still the same.
    #[inline(always)]
    pub fn of<O: Object>(caller: &Caller, object: &O, operation: Operation) -> Self {
        let mut standing = Self { object: object.hash(key()), ..Self::NONE };
        let (question, asked, about) = caller.tag.part(|tag| (tag.question, tag.operation, tag.object));
        if question == 0 || asked != operation as u32 || about != standing.object {
            return standing;
        }
        standing.question = question;
        standing.asks = caller.tag.part(|tag| tag.asks);
        // SAFETY: the value is copied at once; the kernel never reuses it for another key while it is read here,
        // since only this thread's own hooks and the daemon, after a purge, delete it.
        let Some(answer) = (unsafe { ANSWERS.get(AnswerKey { task: task::current_id(), question }) }) else {
            return standing;
        };
        if answer.object != standing.object {
            return standing;
        }
        if answer.kind == answered::APPROVED && (answer.uses == 0 || now() > answer.expires_ns) {
            // It has lapsed: the act is a new question.
            standing.question = 0;
            standing.asks = 0;
            return standing;
        }
        standing.answer = answer.kind;
        standing.argv = answer.argv;
        standing.name = answer.name;
        standing
    }
}

/// The key of all identities.
#[inline(always)]
pub fn key() -> SipKey {
    SipKey { k0: control(KEY_0), k1: control(KEY_1) }
}

/// Nanoseconds since the daemon's last heartbeat.
#[inline(always)]
pub fn heartbeat_age() -> u64 {
    now().saturating_sub(control(HEARTBEAT))
}

/// Spends one use of the answer; the last one closes the question.
#[inline(always)]
pub fn spend(caller: &Caller, standing: &Standing) {
    let key = AnswerKey { task: task::current_id(), question: standing.question };
    if let Some(answer) = ANSWERS.get_ptr_mut(key) {
        // SAFETY: the value is valid until the program ends; of all threads only this one spends its answers.
        let answer: &mut Answer = unsafe { &mut *answer };
        if answer.uses > 1 {
            answer.uses -= 1;
            return;
        }
    }
    close(caller, standing);
}

/// Closes the question, so that the same act is a new one.
#[inline(always)]
pub fn close(caller: &Caller, standing: &Standing) {
    if standing.question == 0 {
        return;
    }
    if standing.answer != 0 {
        let key = AnswerKey { task: task::current_id(), question: standing.question };
        if let Err(result) = ANSWERS.remove(key) {
            count(Place::AnswerNotDeleted, i64::from(result));
        }
    }
    caller.tag.change(|tag| tag.question = 0);
}

/// Notes what goes on behind its hook, where it will be seen how it ends. `question`: whose approval it is, if any.
#[inline(always)]
pub fn passes(caller: &Caller, operation: Operation, question: u64) {
    if operation.has_outcome() {
        caller.tag.change(|tag| {
            tag.acting = operation as u32 + 1;
            tag.passed = question;
        });
    }
}

/// Notes in the tag that the question was put: delivered, and its thread about to stop.
#[inline(always)]
pub fn note(caller: &Caller, operation: Operation, standing: &Standing, question: u64) {
    caller.tag.change(|tag| {
        tag.question = question;
        tag.object = standing.object;
        tag.operation = operation as u32;
        tag.asks = standing.asks + 1;
    });
}

/// Makes the call run again at once, without a question and without a stop: once in a row for one
/// object, as a file system may know no more the second time. `false` when it is to be judged as it is.
///
/// A stop that is taken back before it happens leaves the kernel with signals to look at, and so restarts the call.
#[inline(always)]
pub fn again<O: Object>(caller: &Caller, object: &O, operation: Operation) -> bool {
    if task::obstacle(operation) as u32 != Reason::None as u32 {
        return false;
    }
    let hash = object.hash(key());
    let (asked, about) = caller.tag.part(|tag| (tag.operation, tag.object));
    if asked == operation as u32 && about == hash {
        return false;
    }
    caller.tag.change(|tag| {
        tag.question = 0;
        tag.operation = operation as u32;
        tag.object = hash;
    });
    stop() && go_on()
}

/// Forgets that a call was made to run [`again`]: what comes next is another call, or the end of this one.
#[inline(always)]
pub fn looked(caller: &Caller) {
    caller.tag.change(|tag| {
        if tag.question == 0 {
            tag.object = 0;
        }
    });
}

#[inline(always)]
fn go_on() -> bool {
    // SAFETY: the helper takes a signal number.
    let result = unsafe { bpf_send_signal_thread(SIGCONT) };
    if result != 0 {
        count(Place::StopFailed, result);
    }
    result == 0
}

/// Stops the current thread on its way out of the kernel.
///
/// The thread variant binds: with plain `bpf_send_signal` two threads' stops merge, and one of them would
/// return 513 to its program.
#[inline(always)]
pub fn stop() -> bool {
    // SAFETY: the helper takes a signal number.
    let result = unsafe { bpf_send_signal_thread(SIGSTOP) };
    if result != 0 {
        count(Place::StopFailed, result);
    }
    result == 0
}

/// Kills the current process.
#[inline(always)]
pub fn kill() {
    // SAFETY: the helper takes a signal number.
    let result = unsafe { bpf_send_signal(SIGKILL) };
    if result != 0 {
        count(Place::KillFailed, result);
    }
}
