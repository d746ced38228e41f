//! Arguments of an `execve`: matched with the policy's command patterns, before the call and after it.
//!
//! Before, the words are read where the caller keeps them, which it can still change; so what is found there
//! only opens a question. After, they are read from the new image's own stack, which nobody else has: what is
//! found there is compared with what was judged.

use agent_guard_common::command::{ArgvHash, CHUNK, Matcher};
use agent_guard_common::counter::Place;
use agent_guard_common::hash::{self, WordBytes};
use agent_guard_common::limits::{ARGV_BYTES, POSITIONS, WORD_BYTES, WORDS_SEEN};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{Automaton, CommandKey, CommandTable, WordKey};
use agent_guard_common::verdict::{Reason, Verdict};
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_probe_read_user_str};

use crate::hook::{self, Caller, Finding, Policy};
use crate::kernel::{Pointer, copy, count, member, nothing};
use crate::maps::{COMMANDS, WORDS};
use crate::program::Program;
use crate::question::{self, Standing};
use crate::task;

// arch/x86/include/generated/uapi/asm/unistd_64.h; the 32-bit numbers are told apart by TS_COMPAT.
const NR_EXECVEAT: u64 = 322;
const NR_EXECVEAT_32: u64 = 358;
/// Longest path that `execve` takes, in words of eight bytes.
const PATH_WORDS: u32 = 512;

/// The names under which patterns may know a program: that of its file, and that by which it was called.
#[derive(Clone, Copy)]
pub struct Programs {
    names: [u64; 2],
    tables: [Option<&'static CommandTable>; 2],
    /// Where each automaton starts: 0 only for a program without patterns. (To ask the tables themselves makes
    /// the compiler merge two pointers, which the verifier refuses.)
    starts: [u64; 2],
    slot: u32,
}

impl Programs {
    /// Looks both names up.
    #[inline(always)]
    pub fn of(bprm: Pointer, slot: u32) -> Self {
        let entry = bprm.follow(&member::BPRM_FILE).follow(&member::FILE_DENTRY);
        let file = last_name(entry.scalar(&member::DENTRY_NAME));
        let called = last_name(bprm.scalar(&member::BPRM_FILENAME));
        Self::named([file, called], slot)
    }

    #[inline(always)]
    fn named(names: [u64; 2], slot: u32) -> Self {
        let tables = [table(names[0], slot), table(names[1], slot)];
        let start = |table: Option<&CommandTable>| table.map_or(0, |table| table.automaton.start);
        Self { names, tables, starts: [start(tables[0]), start(tables[1])], slot }
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.starts[0] | self.starts[1] == 0
    }

    /// Notes in the tag what `sched_process_exec` must find.
    #[inline(always)]
    pub fn expect(&self, caller: &Caller, program: &Program, standing: &Standing) {
        let names = if self.is_empty() { [0; 2] } else { self.names };
        caller.tag.change(|tag| {
            tag.programs = names;
            tag.argc = program.argc;
            tag.argv = standing.argv;
            tag.name = standing.name;
        });
    }
}

#[inline(always)]
fn table(program: u64, slot: u32) -> Option<&'static CommandTable> {
    // SAFETY: the map frees by RCU, whose reader this program is.
    unsafe { COMMANDS.get(CommandKey { program, slot, reserved: 0 }) }
}

/// Both programs' automata in one run over the words.
#[repr(C)]
struct Runs {
    slot: u32,
    reserved: u32,
    names: [u64; 2],
    automata: [Automaton; 2],
    matchers: [Matcher; 2],
}

impl Runs {
    #[inline(always)]
    fn new(programs: &Programs) -> Self {
        let none = Automaton::ZERO;
        let automata = [
            programs.tables[0].map_or(none, |table| table.automaton),
            programs.tables[1].map_or(none, |table| table.automaton),
        ];
        let mut matchers = [Matcher::new(&automata[0]), Matcher::new(&automata[1])];
        matchers[0].skip(&automata[0]);
        matchers[1].skip(&automata[1]);
        Self { slot: programs.slot, reserved: 0, names: programs.names, automata, matchers }
    }

    /// Takes a word by its hash; a word too long to be a literal matches only wildcards.
    #[inline(always)]
    fn word(&mut self, word: u64, literal: bool) {
        self.step(0, word, literal);
        self.step(1, word, literal);
    }

    #[inline(always)]
    fn step(&mut self, index: usize, word: u64, literal: bool) {
        let key = WordKey { program: self.names[index], word, slot: self.slot, reserved: 0 };
        // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
        let at = if literal { unsafe { WORDS.get(key) }.map_or(0, |at| *at) } else { 0 };
        self.matchers[index].word(&self.automata[index], at);
    }

    /// What was found; `complete` says that all words were seen.
    #[inline(always)]
    fn accepted(&self, index: usize, complete: bool) -> u64 {
        let matcher = &self.matchers[index];
        // A pattern that could still come true is one that must be looked at.
        let open = if complete || matcher.live == 0 { 0 } else { self.automata[index].accept };
        matcher.accepted | open
    }
}

/// What matching found.
pub struct Matched {
    /// Hash of the words, as far as they were read.
    pub identity: u64,
    accepted: [u64; 2],
}

impl Matched {
    /// The strictest cell of the labels found. The match is coarse (a word with wildcards inside counts as any
    /// word), so what would be denied is held: the daemon matches exactly, and answers at once. Where nothing was
    /// found it is allowed.
    #[inline(always)]
    pub fn finding(&self, programs: &Programs, policy: &Policy) -> Finding {
        let mut finding = Finding::undecided(Operation::Command, Reason::Undecided);
        finding.cell.verdict = Verdict::Allow as u8;
        for index in 0..2 {
            if self.accepted[index] != 0 {
                let mut strictest = Strictest {
                    program: programs.names[index],
                    accepted: self.accepted[index],
                    policy: *policy,
                    finding,
                };
                strictest.finding.cell.verdict |= nothing() as u8;
                // SAFETY: the callback has the helper's signature, and the context outlives the loop.
                unsafe { bpf_loop(POSITIONS as u32, take_stricter as *mut _, (&raw mut strictest).cast(), 0) };
                finding = strictest.finding;
            }
        }
        finding.cell.verdict = Verdict::suspected(finding.cell.verdict);
        finding
    }
}

/// A search for the strictest cell among a program's accepted positions.
#[repr(C)]
struct Strictest {
    program: u64,
    accepted: u64,
    policy: Policy,
    finding: Finding,
}

extern "C" fn take_stricter(position: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let strictest = unsafe { &mut *context.cast::<Strictest>() };
    if strictest.accepted >> (position & 63) & 1 == 0 {
        return 0;
    }
    let Some(table) = table(strictest.program, strictest.policy.slot) else { return 1 };
    let label = table.labels[position as usize & (POSITIONS - 1)];
    let finding = hook::cell(&strictest.policy, Operation::Command, label);
    strictest.finding = hook::stricter(strictest.finding, finding);
    0
}

/// A walk over the caller's `argv`.
#[repr(C)]
struct Pending {
    runs: Runs,
    /// Address of the next element, and its width: 8, or 4 for a 32-bit caller.
    next: u64,
    width: u64,
    identity: u64,
    readable: u64,
}

/// Matches the words of a pending `execve` where its caller keeps them.
#[inline(always)]
pub fn match_pending(programs: &Programs, bprm: Pointer, task: Pointer) -> Matched {
    if programs.is_empty() {
        return Matched { identity: 0, accepted: [0; 2] };
    }
    let (argv, width) = argument_vector(task);
    let mut pending = Pending { runs: Runs::new(programs), next: argv + width, width, identity: 0, readable: 1 };
    let argc: u32 = bprm.load(&member::BPRM_ARGC);
    let words = argc.saturating_sub(1);
    let seen = if words > WORDS_SEEN { WORDS_SEEN } else { words };
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop(seen, pending_word as *mut _, (&raw mut pending).cast(), 0) };
    let complete = words <= WORDS_SEEN && pending.readable == 1;
    Matched {
        identity: pending.identity,
        accepted: [pending.runs.accepted(0, complete), pending.runs.accepted(1, complete)],
    }
}

/// Where the caller of `execve` or `execveat` keeps `argv`, and how wide its pointers are.
#[inline(always)]
fn argument_vector(task: Pointer) -> (u64, u64) {
    let registers = task::registers(task);
    let call: u64 = registers.load(&member::REGS_ORIG_AX);
    if task::is_compat(task) {
        let argv: u64 =
            if call == NR_EXECVEAT_32 { registers.load(&member::REGS_DX) } else { registers.load(&member::REGS_CX) };
        return (argv & 0xffff_ffff, 4);
    }
    let argv = if call == NR_EXECVEAT { registers.load(&member::REGS_DX) } else { registers.load(&member::REGS_SI) };
    (argv, 8)
}

extern "C" fn pending_word(_: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let pending = unsafe { &mut *context.cast::<Pending>() };
    let mut address = 0_u64;
    let width = if pending.width == 4 { 4 } else { 8 };
    // SAFETY: the buffer holds eight bytes; the helper checks the user's address.
    let result = unsafe { bpf_probe_read_user((&raw mut address).cast(), width, pending.next as *const _) };
    if result != 0 {
        count(Place::UserReadFailed, result);
        pending.readable = 0;
        return 1;
    }
    let Some(piece) = Piece::read(address) else {
        pending.readable = 0;
        return 1;
    };
    pending.identity = hash::mix(pending.identity, piece.hash);
    pending.runs.word(piece.hash, piece.is_whole());
    pending.next += pending.width;
    0
}

/// A word, or the first bytes of a long one.
struct Piece {
    hash: u64,
    /// Bytes read, the NUL included.
    length: u64,
}

impl Piece {
    #[inline(always)]
    fn read(address: u64) -> Option<Self> {
        // The helper leaves what lies behind the NUL as it was: zero.
        let mut bytes: WordBytes = [0; WORD_BYTES / 8];
        // SAFETY: the buffer holds WORD_BYTES; the helper checks the user's address.
        let length =
            unsafe { bpf_probe_read_user_str(bytes.as_mut_ptr().cast(), WORD_BYTES as u32, address as *const _) };
        if length < 0 {
            count(Place::UserReadFailed, length);
            return None;
        }
        Some(Self { hash: hash::word_of(&bytes), length: length as u64 })
    }

    /// Whether the word ends in this piece. One that just fills the buffer counts as long: its end is not seen.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        self.length < WORD_BYTES as u64
    }

    /// Where the next piece starts: behind the NUL, or in the middle of a long word.
    #[inline(always)]
    fn next(&self, at: u64) -> u64 {
        if self.is_whole() { at + self.length } else { at + WORD_BYTES as u64 - 1 }
    }
}

/// A walk over the words of the new image's arguments, where they lie one behind the other.
#[repr(C)]
struct Final {
    runs: Runs,
    at: u64,
    end: u64,
    /// Words that the kernel put before those that the caller chose.
    skip: u64,
    /// Where the caller's words begin.
    kept_at: u64,
    /// Whether the last piece did not end its word.
    inside: u64,
    readable: u64,
}

/// A walk over the same bytes for their hash.
#[repr(C)]
struct Hashing {
    argv: ArgvHash,
    at: u64,
    end: u64,
    readable: u64,
}

/// Whether it must be proven that what is being executed is what was judged.
#[inline(always)]
pub fn proof_is_owed(caller: &Caller) -> bool {
    caller.tag.part(|tag| tag.argv != 0 || tag.programs[0] != 0 || tag.programs[1] != 0)
}

/// Whether what is being executed is what was judged.
///
/// `execve` of a script replaces `argv[0]` by the interpreter, its argument and the script's path, and keeps the
/// rest; the kernel's own counts before and after say how many words to skip.
#[inline(always)]
pub fn is_as_judged(caller: &Caller, bprm: Pointer) -> bool {
    if !proof_is_owed(caller) {
        return true;
    }
    let (argv, programs) = caller.tag.part(|tag| (tag.argv, tag.programs));
    let mm = caller.task.follow(&member::TASK_MM);
    let (start, end): (u64, u64) = (mm.load(&member::MM_ARG_START), mm.load(&member::MM_ARG_END));
    let argc: u32 = bprm.load(&member::BPRM_ARGC);
    let argc_before = caller.tag.part(|tag| tag.argc);
    let kept = argc_before.saturating_sub(1);
    let programs = Programs::named(programs, caller.policy.slot);
    let mut words = Final {
        runs: Runs::new(&programs),
        at: start,
        end,
        skip: u64::from(argc.saturating_sub(kept)),
        kept_at: end,
        inside: 0,
        readable: 1,
    };
    words.inside = nothing();
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop(ARGV_BYTES as u32, final_word as *mut _, (&raw mut words).cast(), 0) };
    if words.readable == 0 {
        return false;
    }
    if argv != 0 {
        // As many words as before: no interpreter has taken the place of the first.
        let mut hashing = Hashing::new();
        let name = caller.tag.part(|tag| tag.name);
        let is_named = argc != argc_before || hashing.hash_of(start, words.kept_at) == name;
        return is_named && hashing.hash_of(words.kept_at, end) == argv;
    }
    let complete = words.at >= end;
    let matched =
        Matched { identity: 0, accepted: [words.runs.accepted(0, complete), words.runs.accepted(1, complete)] };
    Verdict::passes(matched.finding(&programs, &caller.policy).cell.verdict)
}

extern "C" fn final_word(_: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let words = unsafe { &mut *context.cast::<Final>() };
    if words.skip == 0 && words.inside == 0 && words.kept_at == words.end {
        words.kept_at = words.at;
    }
    if words.at >= words.end {
        return 1;
    }
    let Some(piece) = Piece::read(words.at) else {
        words.readable = 0;
        return 1;
    };
    let begins = words.inside == 0;
    words.inside = u64::from(!piece.is_whole());
    words.at = piece.next(words.at);
    if words.skip != 0 {
        if piece.is_whole() {
            words.skip -= 1;
        }
    } else if begins {
        words.runs.word(piece.hash, piece.is_whole());
    }
    0
}

impl Hashing {
    #[inline(always)]
    fn new() -> Self {
        Self { argv: ArgvHash::new(question::key()), at: 0, end: 0, readable: 1 }
    }

    /// Hash of the words between two addresses; 0, which no hash is, when they cannot be read. One walk serves them all:
    /// the stack has no room for two.
    #[inline(always)]
    fn hash_of(&mut self, start: u64, end: u64) -> u64 {
        *self = Self { at: start, end, ..Self::new() };
        // SAFETY: the callback has the helper's signature, and the context outlives the loop.
        unsafe { bpf_loop((ARGV_BYTES / CHUNK) as u32, hash_chunk as *mut _, core::ptr::from_mut(self).cast(), 0) };
        if self.readable == 0 { 0 } else { self.argv.finish(end.saturating_sub(start)) }
    }
}

extern "C" fn hash_chunk(_: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let hashing = unsafe { &mut *context.cast::<Hashing>() };
    if hashing.at >= hashing.end {
        return 1;
    }
    let rest = hashing.end - hashing.at;
    let bytes = if rest >= CHUNK as u64 { CHUNK as u32 } else { rest as u32 & (CHUNK as u32 - 1) };
    let mut chunk = [0_u64; CHUNK / 8];
    // SAFETY: the chunk holds CHUNK bytes; the helper checks the user's address.
    let result = unsafe { bpf_probe_read_user(chunk.as_mut_ptr().cast(), bytes, hashing.at as *const _) };
    if result != 0 {
        count(Place::UserReadFailed, result);
        hashing.readable = 0;
        return 1;
    }
    hashing.argv.chunk(&chunk);
    hashing.at += u64::from(bytes);
    0
}

/// A search for the last component of a path.
#[repr(C)]
struct LastName {
    at: u64,
    name: u64,
}

/// Hash of the last component of a kernel string, as `hash::word` computes it.
#[inline(always)]
fn last_name(string: u64) -> u64 {
    let mut last = LastName { at: string, name: string };
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop(PATH_WORDS, last_name_chunk as *mut _, (&raw mut last).cast(), 0) };
    let mut bytes: WordBytes = [0; WORD_BYTES / 8];
    // SAFETY: the buffer holds WORD_BYTES; the helper checks the address.
    let length = unsafe {
        bpf_probe_read_kernel_str(bytes.as_mut_ptr().cast(), WORD_BYTES as u32, last.name as *const core::ffi::c_void)
    };
    if length < 0 {
        count(Place::ReadFailed, length);
    }
    hash::word_of(&bytes)
}

extern "C" fn last_name_chunk(_: u64, context: *mut core::ffi::c_void) -> i64 {
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let last = unsafe { &mut *context.cast::<LastName>() };
    let mut bytes = 0_u64;
    if !copy(&mut bytes, last.at) {
        return 1;
    }
    for _ in 0..8 {
        last.at += 1;
        if bytes & 0xff == 0 {
            return 1;
        }
        if bytes & 0xff == u64::from(b'/') {
            last.name = last.at;
        }
        bytes >>= 8;
    }
    0
}
