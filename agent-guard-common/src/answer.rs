//! Answers: what a decision leaves in the kernel for the thread that asked.

use crate::plain::abi;

/// Kinds of an [`Answer`].
pub mod answered {
    /// A person, or the daemon for a command that no pattern describes, said yes.
    pub const APPROVED: u32 = 1;
    /// A person said no.
    pub const DENIED: u32 = 2;
    /// Nobody answered in time.
    pub const EXPIRED: u32 = 3;
    /// An operator withdrew it, or its object changed.
    pub const CANCELLED: u32 = 4;
}

abi! {
    /// One question of one thread.
    pub struct AnswerKey = 16 {
        /// Thread group (upper half) and thread (lower half), as `bpf_get_current_pid_tgid` gives them.
        pub task: u64,
        /// The question's id.
        pub question: u64,
    }
}

abi! {
    /// The answer. The kernel deletes it when its last use is spent.
    pub struct Answer = 40 {
        /// Hash of the object that was asked about.
        pub object: u64,
        /// Void after this instant of CLOCK_MONOTONIC, in nanoseconds. Refusals do not expire.
        pub expires_ns: u64,
        /// What the arguments must hash to, for a command; 0 otherwise.
        pub argv: u64,
        /// The same of `argv[0]` alone and its NUL: a script's interpreter takes its place, and then it is not compared.
        pub name: u64,
        /// See [`answered`].
        pub kind: u32,
        /// Hook passes left: one, or two where one call meets two hooks (open with O_TRUNC).
        pub uses: u32,
    }
}
