//! Events: how what happened is told to the daemon.
//!
//! An event is a copy of a verdict, never its condition, with one exception: a question that cannot be
//! delivered must not be put. Events that only inform, and repeats, leave the
//! last part of the ring to new questions.

use agent_guard_common::control::GENERATION;
use agent_guard_common::counter::Place;
use agent_guard_common::event::{Event, Head, Names, flag, kind};
use agent_guard_common::limits::{DEPTH, PATH_BYTES, RING_BYTES, RING_RESERVE};
use agent_guard_common::operation::Operation;
use agent_guard_common::session::Tag;
use agent_guard_common::verdict::Reason;
use aya_ebpf::bindings::BPF_RB_AVAIL_DATA;
use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_current_uid_gid, bpf_loop, bpf_probe_read_kernel_str, bpf_ringbuf_query,
    bpf_ringbuf_reserve, bpf_ringbuf_submit,
};

use crate::hook::{Caller, Finding, Object};
use crate::kernel::{Pointer, control, copy, count, member, nothing, now};
use crate::maps::EVENTS;
use crate::question::{self, Standing};
use crate::task::{self, TagPointer};

/// What is told.
pub struct Story<'a> {
    /// Who acted.
    pub caller: &'a Caller,
    /// What the policy said.
    pub finding: &'a Finding,
    /// How its question stands.
    pub standing: &'a Standing,
    /// Hook passes that one approval must let through.
    pub passes: u32,
    /// One of [`kind`].
    pub kind: u32,
    /// Why it was refused, if it was.
    pub reason: Reason,
    /// The question's id; 0 for none.
    pub question: u64,
}

/// Tells that a session has lost its last task.
#[inline(always)]
pub fn ended(session: u32, serial: u64) {
    let Some(head) = reserve::<Head>() else {
        count(Place::EventLost, 0);
        return;
    };
    // SAFETY: the ring's memory is ours until it is submitted.
    unsafe {
        *head = Head { kind: kind::ENDED, session, serial, time_ns: now(), ..Head::ZERO };
        bpf_ringbuf_submit(head.cast(), 0);
    }
}

/// Tells how an act ended that an approval let pass. `errno` is 0 when it was done.
#[inline(always)]
pub fn done(tag: &Tag, operation: Operation, question: u64, errno: u32) {
    let Some(head) = reserve::<Head>() else {
        count(Place::EventLost, 0);
        return;
    };
    // SAFETY: the ring's memory is ours until it is submitted.
    unsafe {
        *head = Head {
            kind: kind::DONE,
            operation: operation as u32,
            session: tag.session,
            serial: tag.serial,
            time_ns: now(),
            question,
            task: task::current_id(),
            reason: errno,
            ..Head::ZERO
        };
        bpf_ringbuf_submit(head.cast(), 0);
    }
}

/// A credential that an act has touched.
pub struct Touch {
    /// Whose act.
    pub tag: TagPointer,
    /// What was done.
    pub operation: Operation,
    /// The label of the credential.
    pub label: u32,
}

/// Tells that an act which passes has touched a credential. `describe` writes the act's object.
#[inline(always)]
pub fn touched(touch: &Touch, describe: impl FnOnce(&mut Event)) {
    if is_crowded() {
        count(Place::EventLost, 0);
        return;
    }
    let Some(event) = reserve::<Event>() else {
        count(Place::EventLost, 0);
        return;
    };
    let (session, serial) = touch.tag.part(|tag| (tag.session, tag.serial));
    // SAFETY: the ring's memory is ours until it is submitted.
    let event = unsafe { &mut *event };
    event.head = Head {
        kind: kind::TOUCHED,
        operation: touch.operation as u32,
        session,
        generation: control(GENERATION) as u32,
        serial,
        time_ns: now(),
        task: task::current_id(),
        // SAFETY: the helper takes nothing and cannot fail.
        uid: unsafe { bpf_get_current_uid_gid() } as u32,
        label: touch.label,
        ..Head::ZERO
    };
    // SAFETY: the buffer is 16 writable bytes; the helper fills all of them.
    unsafe { bpf_get_current_comm((&raw mut event.head.comm).cast(), 16) };
    describe(event);
    // SAFETY: the record was reserved and is given back once.
    unsafe { bpf_ringbuf_submit(core::ptr::from_mut(event).cast(), 0) };
}

/// Writes a file into an event, by its entry's address. What cannot be read stays zero, and has been counted.
#[inline(always)]
pub fn file(event: &mut Event, entry: u64) {
    let mut at = 0_u64;
    let _ = copy(&mut at, entry + u64::from(member::DENTRY_SUPER.load()))
        && copy(&mut event.head.dev, at + u64::from(member::SUPER_DEV.load()));
    let _ = copy(&mut at, entry + u64::from(member::DENTRY_INODE.load()))
        && copy(&mut event.head.ino, at + u64::from(member::INODE_NUMBER.load()));
    let (bytes, cut) = names_of(&mut event.path, entry);
    event.head.path_bytes = bytes;
    event.head.flags |= cut;
}

/// Tells what happened. A question also stops the thread: `false` says that it was not delivered or the thread
/// not stopped, and then a refusal was told in its place, if anything could be.
#[inline(always)]
pub fn tell<O: Object>(story: &Story<'_>, object: &O) -> bool {
    let is_question = story.kind == kind::QUESTION || story.kind == kind::REPEAT;
    // Repeats as well: whoever wakes its own held threads without end must not silence the questions of others.
    if story.kind != kind::QUESTION && is_crowded() {
        return lost(is_question);
    }
    let (record, head) = if O::HAS_PATHS {
        let Some(event) = reserve::<Event>() else { return lost(is_question) };
        // SAFETY: the ring's memory is ours until it is submitted.
        let event = unsafe { &mut *event };
        fill(&mut event.head, story, object);
        object.paths(event);
        (core::ptr::from_mut(event).cast(), &mut event.head)
    } else {
        let Some(head) = reserve::<Head>() else { return lost(is_question) };
        // SAFETY: as above.
        let head = unsafe { &mut *head };
        fill(head, story, object);
        (core::ptr::from_mut(head).cast(), head)
    };
    let stopped = !is_question || question::stop();
    if !stopped {
        head.kind = kind::REFUSED;
        head.reason = Reason::NotStopped as u32;
    }
    // SAFETY: the record was reserved and is given back once.
    unsafe { bpf_ringbuf_submit(record, 0) };
    stopped
}

/// Whether all that is left of the ring is for new questions.
#[inline(always)]
fn is_crowded() -> bool {
    // SAFETY: the map is a ring buffer.
    let waiting = unsafe { bpf_ringbuf_query(ring(), u64::from(BPF_RB_AVAIL_DATA)) };
    waiting > u64::from(RING_BYTES) - RING_RESERVE
}

#[inline(always)]
fn lost(is_question: bool) -> bool {
    count(if is_question { Place::QuestionLost } else { Place::EventLost }, 0);
    false
}

#[inline(always)]
fn reserve<T>() -> Option<*mut T> {
    // SAFETY: the map is a ring buffer, and the size is a constant.
    let record: *mut T = unsafe { bpf_ringbuf_reserve(ring(), core::mem::size_of::<T>() as u64, 0) }.cast();
    if record.is_null() { None } else { Some(record) }
}

#[inline(always)]
fn ring() -> *mut core::ffi::c_void {
    (&raw const EVENTS).cast_mut().cast()
}

#[inline(always)]
fn fill<O: Object>(head: &mut Head, story: &Story<'_>, object: &O) {
    let (session, serial) = story.caller.tag.part(|tag| (tag.session, tag.serial));
    let finding = story.finding;
    *head = Head {
        kind: story.kind,
        operation: finding.operation as u32,
        session,
        generation: story.caller.policy.generation,
        serial,
        time_ns: now(),
        question: story.question,
        object: story.standing.object,
        task: task::current_id(),
        // SAFETY: the helper takes nothing and cannot fail.
        uid: unsafe { bpf_get_current_uid_gid() } as u32,
        label: finding.label,
        rule: u32::from(finding.cell.rule),
        tier: u32::from(finding.cell.tier),
        reason: story.reason as u32,
        passes: story.passes,
        ..Head::ZERO
    };
    // SAFETY: the buffer is 16 writable bytes; the helper fills all of them.
    unsafe { bpf_get_current_comm((&raw mut head.comm).cast(), 16) };
    object.describe(head);
}

/// A walk from an entry up to its file system's root. Addresses, not pointers that the verifier knows: an event
/// is rare enough to pay for copies, and the verifier then looks at one step and not at sixty-four.
#[repr(C)]
struct Upwards {
    entry: u64,
    to: *mut u8,
    used: u64,
    at_root: u64,
}

/// Writes the names from an entry up to its file system's root, each with its NUL. Returns the bytes used,
/// and [`flag::PATH_CUT`] when the upper names found no room.
#[inline(always)]
pub fn names(to: &mut Names, entry: Pointer) -> (u32, u32) {
    names_of(to, entry.number())
}

/// The same, of an entry's address.
#[inline(always)]
fn names_of(to: &mut Names, entry: u64) -> (u32, u32) {
    let mut upwards = Upwards { entry, to: to.as_mut_ptr(), used: nothing(), at_root: 0 };
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop(DEPTH as u32, one_up as *mut _, (&raw mut upwards).cast(), 0) };
    (upwards.used as u32, if upwards.at_root == 1 { 0 } else { flag::PATH_CUT })
}

extern "C" fn one_up(_: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let upwards = unsafe { &mut *context.cast::<Upwards>() };
    let (mut parent, mut name) = (0_u64, 0_u64);
    if !copy(&mut parent, upwards.entry + u64::from(member::DENTRY_PARENT.load())) {
        return 1;
    }
    if parent == upwards.entry {
        upwards.at_root = 1;
        return 1;
    }
    let used = upwards.used;
    if used > PATH_BYTES as u64 || !copy(&mut name, upwards.entry + u64::from(member::DENTRY_NAME.load())) {
        return 1;
    }
    // SAFETY: the buffer holds PATH_BYTES and room for one more name, and `used` was just checked.
    let copied = unsafe {
        bpf_probe_read_kernel_str(upwards.to.add(used as usize).cast(), NAME_ROOM, name as *const core::ffi::c_void)
    };
    if copied < 0 {
        count(Place::ReadFailed, copied);
        return 1;
    }
    upwards.used = used + (copied as u64 & 0x1ff);
    upwards.entry = parent;
    0
}

/// The longest name of a Linux file system and its NUL.
const NAME_ROOM: u32 = 256;
