//! The one body of every hook: who calls, what the policy says of the object, what `judge()` makes of it.
//!
//! A hook reads its arguments into an [`Object`] and calls [`gate`]. Failure direction: for an untagged task
//! nothing is ever refused; for a tagged one, whatever cannot be decided is.

use agent_guard_common::control::GENERATION;
use agent_guard_common::counter::{Place, judged};
use agent_guard_common::event::{Event, Head, kind};
use agent_guard_common::hash::SipKey;
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{Cell, UNLABELLED, row_index};
use agent_guard_common::session::state;
use agent_guard_common::verdict::{Facts, Judgement, Reason, Verdict, judge};

use crate::credential;
use crate::emit::{self, Story};
use crate::kernel::{self, Pointer, control, count};
use crate::maps::{JUDGED, MATRIX};
use crate::question::{self, Standing};
use crate::task::{self, TagPointer};

const PASS: i32 = 0;
/// EPERM: the act is refused.
pub const EPERM: i32 = -1;
/// ERESTARTNOINTR: the kernel runs the call again when the thread has been continued.
pub const RESTART: i32 = -513;

/// What a hook is about. One that no label names and that has no path says only what it is.
pub trait Object {
    /// Whether it has paths.
    const HAS_PATHS: bool = false;
    /// The labels of its ends, twice the same for an object with one; or why they cannot be told.
    #[inline(always)]
    fn labels(&self, _slot: u32, _operation: Operation) -> Result<[u16; 2], Reason> {
        Ok([UNLABELLED; 2])
    }
    /// Hash of the identity, so that an answer fits no other object.
    fn hash(&self, key: SipKey) -> u64;
    /// Writes the object into an event's common part.
    fn describe(&self, head: &mut Head);
    /// Writes its paths; only objects that have some are told at length.
    #[inline(always)]
    fn paths(&self, _event: &mut Event) {}
}

/// What the policy says of an act.
///
/// Without holes: the compiler may fill a hole with whatever a register holds, and the verifier refuses to let a
/// pointer be stored there.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Finding {
    /// The strictest cell.
    pub cell: Cell,
    /// Its operation.
    pub operation: Operation,
    /// Its label.
    pub label: u32,
    /// Why there is no verdict, if there is none.
    pub reason: Reason,
}

impl Finding {
    /// No verdict, with the reason.
    #[inline(always)]
    pub const fn undecided(operation: Operation, reason: Reason) -> Self {
        Self { cell: Cell::ZERO, operation, label: 0, reason }
    }
}

/// The policy in force, read once at a hook's entry.
#[derive(Clone, Copy)]
pub struct Policy {
    /// Its generation.
    pub generation: u32,
    /// Where its records stand.
    pub slot: u32,
    /// The caller's profile.
    pub profile: u32,
}

/// A tagged caller.
pub struct Caller {
    /// The task.
    pub task: Pointer,
    /// Its tag.
    pub tag: TagPointer,
    /// Its session's state.
    pub state: u32,
    /// The policy that judges it.
    pub policy: Policy,
}

impl Caller {
    /// The current task, if it is tagged.
    #[inline(always)]
    pub fn current() -> Option<Self> {
        let task = task::current();
        let tag = task::tag(task)?;
        let mut caller = Self::of(task, tag);
        if tag.part(|tag| tag.unproven) != 0 && !task::is_executing(task) {
            caller.state = state::FREE;
        }
        Some(caller)
    }

    /// A task with its tag.
    #[inline(always)]
    pub fn of(task: Pointer, tag: TagPointer) -> Self {
        let (state, profile) = tag.part(task::session);
        let generation = control(GENERATION) as u32;
        Self { task, tag, state, policy: Policy { generation, slot: generation & 1, profile } }
    }
}

/// Judges one operation of the current task, if it is tagged. The value is the hook's.
#[inline(always)]
pub fn gate<O: Object>(object: &O, operation: Operation) -> i32 {
    let Some(caller) = Caller::current() else { return PASS };
    decide(&caller, object, operation)
}

/// Judges one operation of a caller.
#[inline(always)]
pub fn decide<O: Object>(caller: &Caller, object: &O, operation: Operation) -> i32 {
    conclude(caller, object, &find(object, &caller.policy, operation), 1)
}

/// What the policy says of one operation.
#[inline(always)]
pub fn find<O: Object>(object: &O, policy: &Policy, operation: Operation) -> Finding {
    match object.labels(policy.slot, operation) {
        Ok(labels) => strictest(policy, operation, labels),
        Err(reason) => Finding::undecided(operation, reason),
    }
}

/// The stricter of the cells of an operation on two labels.
#[inline(always)]
pub fn strictest(policy: &Policy, operation: Operation, [one, other]: [u16; 2]) -> Finding {
    let first = cell(policy, operation, one);
    if one == other { first } else { stricter(first, cell(policy, operation, other)) }
}

/// The cell of an operation on a label.
#[inline(always)]
pub fn cell(policy: &Policy, operation: Operation, label: u16) -> Finding {
    let mut finding = Finding { label: u32::from(label), ..Finding::undecided(operation, Reason::Undecided) };
    let row = row_index(policy.slot, policy.profile, operation as u32).and_then(|index| MATRIX.get_ptr(index));
    if let Some(row) = row {
        // SAFETY: the map's value is valid until the program ends; the mask keeps the index inside the row.
        finding.cell = unsafe { *row.cast::<Cell>().add(usize::from(label) & 0xff) };
        if operation.has_conditions() && finding.cell.condition != 0 {
            finding.cell = credential::alternative(policy.slot, &finding.cell);
        }
    } else {
        count(Place::PolicyMissing, 0);
    }
    finding
}

/// Whose touching of a credential counts under a policy: every cell of a profile says the same.
#[inline(always)]
pub fn whose(policy: &Policy) -> u16 {
    let row = row_index(policy.slot, policy.profile, Operation::Connect as u32).and_then(|index| MATRIX.get_ptr(index));
    // SAFETY: the map's value is valid until the program ends, and a row begins with a cell. Without a policy nothing passes.
    row.map_or(0, |row| unsafe { (*row.cast::<Cell>()).whose })
}

/// The stricter of two findings; the first when they are alike.
#[inline(always)]
pub fn stricter(one: Finding, other: Finding) -> Finding {
    if strictness(&other) > strictness(&one) { other } else { one }
}

/// How strict a finding is.
#[inline(always)]
pub fn strictness(finding: &Finding) -> u8 {
    Verdict::strictness(finding.cell.verdict)
}

/// Whether an act passes, and nobody need hear of it.
#[inline(always)]
pub fn passes_unseen(caller: &Caller, finding: &Finding) -> bool {
    finding.cell.verdict == Verdict::Allow as u8 && Facts::decided(finding.cell.verdict, caller.state)
}

/// Judges a finding and does what the judgement says. `passes`: hooks that one approval must let through.
#[inline(always)]
pub fn conclude<O: Object>(caller: &Caller, object: &O, finding: &Finding, passes: u32) -> i32 {
    // Where nothing can be held there is no question either.
    let standing = if Facts::decided(finding.cell.verdict, caller.state) || !finding.operation.holdable() {
        Standing::NONE
    } else {
        Standing::of(caller, object, finding.operation)
    };
    conclude_with(caller, object, finding, passes, &standing)
}

/// As [`conclude`], for a hook whose call is about something else, so that it cannot be held there: what would be is
/// refused, and what would not is let pass in a halted session too, whose call goes on to its own hook.
#[inline(always)]
pub fn conclude_at_once<O: Object>(caller: &Caller, object: &O, finding: &Finding) -> i32 {
    if caller.state == state::HALTED && Verdict::passes(finding.cell.verdict) {
        return PASS;
    }
    conclude_facing(caller, object, finding, 1, &Standing::NONE, Reason::NotRestartable)
}

/// As [`conclude`], for a hook that must know how the question stood.
#[inline(always)]
pub fn conclude_with<O: Object>(
    caller: &Caller,
    object: &O,
    finding: &Finding,
    passes: u32,
    standing: &Standing,
) -> i32 {
    let is_decided = Facts::decided(finding.cell.verdict, caller.state);
    let obstacle = if is_decided { Reason::None } else { task::obstacle(finding.operation) };
    conclude_facing(caller, object, finding, passes, standing, obstacle)
}

#[inline(always)]
fn conclude_facing<O: Object>(
    caller: &Caller,
    object: &O,
    finding: &Finding,
    passes: u32,
    standing: &Standing,
    obstacle: Reason,
) -> i32 {
    let mut facts = Facts {
        verdict: finding.cell.verdict,
        session: caller.state,
        heartbeat_age: 0,
        obstacle,
        answer: standing.answer,
        asks: standing.asks,
    };
    if !Facts::decided(facts.verdict, facts.session) {
        facts.heartbeat_age = question::heartbeat_age();
    }
    // One place tells, whatever happened: the verifier looks at every copy of a path's loop.
    let (kind, reason) = match judge(&facts) {
        Judgement::Pass => {
            tally(judged::PASSED);
            question::passes(caller, finding.operation, 0);
            return PASS;
        }
        Judgement::PassAudited => (kind::AUDITED, Reason::None),
        Judgement::PassApproved => {
            question::spend(caller, standing);
            (kind::USED, Reason::None)
        }
        Judgement::Ask => (if standing.question == 0 { kind::QUESTION } else { kind::REPEAT }, Reason::None),
        Judgement::Park => {
            if question::stop() {
                tally(judged::PARKED);
                return RESTART;
            }
            (kind::REFUSED, Reason::NotStopped)
        }
        // What could not be found out says more than "undecided".
        Judgement::Refuse(Reason::Undecided) => (kind::REFUSED, finding.reason),
        Judgement::Refuse(reason) => (kind::REFUSED, reason),
    };
    let question = if kind == kind::QUESTION { kernel::now() } else { standing.question };
    let told = emit::tell(&Story { caller, finding, standing, passes, kind, reason, question }, object);
    match kind {
        kind::AUDITED => {
            tally(judged::AUDITED);
            question::passes(caller, finding.operation, 0);
            PASS
        }
        kind::USED => {
            tally(judged::APPROVED);
            question::passes(caller, finding.operation, standing.question);
            PASS
        }
        kind::QUESTION | kind::REPEAT if told => {
            tally(judged::ASKED);
            question::note(caller, finding.operation, standing, question);
            RESTART
        }
        // A question that was not delivered, or whose thread was not stopped, is a refusal.
        _ => {
            tally(judged::REFUSED);
            question::close(caller, standing);
            EPERM
        }
    }
}

#[inline(always)]
fn tally(kind: u32) {
    if let Some(counter) = JUDGED.get_ptr_mut(kind) {
        // SAFETY: the map's value is valid until the program ends; only this CPU writes it.
        unsafe { *counter += 1 };
    }
}
