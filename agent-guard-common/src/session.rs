//! Sessions and the tag that every task of one carries.

use crate::limits::NAME_BYTES;
use crate::plain::abi;

/// State of a session as [`SessionRecord::state`] holds it. 0 is a slot that is not in use.
pub mod state {
    /// The slot is free: a tag that names it is stale, and everything is refused.
    pub const FREE: u32 = 0;
    /// Judged by its profile.
    pub const ACTIVE: u32 = 1;
    /// Every gated hook parks its caller until the session is resumed.
    pub const HALTED: u32 = 2;
}

abi! {
    /// A session. Written by the daemon alone.
    pub struct SessionRecord = 96 {
        /// Number that no other session of this boot has: a tag with another serial is stale.
        pub serial: u64,
        /// Start, in nanoseconds of CLOCK_BOOTTIME.
        pub started_ns: u64,
        /// See [`state`].
        pub state: u32,
        /// Index of its profile in the matrix.
        pub profile: u32,
        /// The user who started it.
        pub uid: u32,
        /// The first process.
        pub root: u32,
        /// Its name, padded with zeros.
        pub name: [u8; NAME_BYTES],
        /// Its profile's name, padded with zeros: a restarted daemon finds the index again by it.
        pub profile_name: [u8; NAME_BYTES],
    }
}

/// Whom the adopting program tags, and with what: names of constants that the daemon sets, each a `u64`.
pub mod adoption {
    /// The session's serial.
    pub const SERIAL: &str = "ADOPT_SERIAL";
    /// The session's slot.
    pub const SESSION: &str = "ADOPT_SESSION";
    /// The process.
    pub const ROOT: &str = "ADOPT_ROOT";
    /// Its start, as [`super::Enrolment::started`] has it.
    pub const STARTED: &str = "ADOPT_STARTED";
}

abi! {
    /// What the adopting program tells of a thread.
    pub struct Adopted = 8 {
        /// Its process.
        pub process: u32,
        /// 1 when it was tagged, 0 when that failed.
        pub tagged: u32,
    }
}

abi! {
    /// What came of a session's acts: those that passed their hooks, by how they ended.
    pub struct Outcomes = 32 {
        /// Files and directories that were deleted.
        pub deleted: u64,
        /// Renames that were done.
        pub renamed: u64,
        /// Files that were truncated.
        pub truncated: u64,
        /// Acts of these kinds that the kernel let pass its hooks and that came to nothing.
        pub failed: u64,
    }
}

abi! {
    /// A process that is to be tagged at its next `execve`.
    pub struct Enrolment = 24 {
        /// The session's serial.
        pub serial: u64,
        /// Start of the process, in hundredths of a second since boot, as `/proc/PID/stat` shows it: whoever gets
        /// its pid later is not meant.
        pub started: u64,
        /// The session's slot.
        pub session: u32,
        /// Zero.
        pub reserved: u32,
    }
}

abi! {
    /// The tag in a task's storage, and the question that the task is waiting with.
    pub struct Tag = 96 {
        /// The session's serial.
        pub serial: u64,
        /// The session's slot.
        pub session: u32,
        /// Times the question was put.
        pub asks: u32,
        /// The question's id; 0 for none.
        pub question: u64,
        /// Hash of the object that the question is about.
        pub object: u64,
        /// The question's operation.
        pub operation: u32,
        /// Arguments that the kernel counted for the pending `execve`, the program's name included.
        pub argc: u32,
        /// What the arguments of the pending `execve` must hash to; see [`crate::command::ArgvHash`]. 0: nothing approved.
        pub argv: u64,
        /// Programs (file name, and name it was called by) whose patterns the pending `execve` meets; 0 for none.
        pub programs: [u64; 2],
        /// What `argv[0]` must hash to, where the kernel leaves it as it was; see [`crate::answer::Answer::name`].
        pub name: u64,
        /// What this task and those that it comes from have touched, as [`crate::credential::own`] reads it.
        pub touched: u64,
        /// Question of the act that has passed its hook by an approval and has not ended; 0 for none.
        pub passed: u64,
        /// 1 and the number of the operation that has passed its hook and has not ended; 0 for none.
        pub acting: u32,
        /// 1 between an `execve` that must be proven and its proof: a task that goes on without one is refused all.
        pub unproven: u32,
    }
}
