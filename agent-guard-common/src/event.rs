//! What the kernel tells the daemon: one record for every question, refusal, audited act and end.
//!
//! Must not know how a path is shown: names cross as the kernel holds them.

use crate::limits::{PATH_BYTES, PATH_SLACK};
use crate::plain::abi;

/// Kinds of an event, [`Head::kind`].
pub mod kind {
    /// A thread has stopped with a new question.
    pub const QUESTION: u32 = 1;
    /// A thread has put its unanswered question again.
    pub const REPEAT: u32 = 2;
    /// An act was refused; `reason` says why.
    pub const REFUSED: u32 = 3;
    /// An act passed under the verdict `audit`.
    pub const AUDITED: u32 = 4;
    /// An act passed by its approval; `question` names it.
    pub const USED: u32 = 5;
    /// The session's last task is gone.
    pub const ENDED: u32 = 6;
    /// A process of the session was killed, since it executed what was not approved.
    pub const KILLED: u32 = 7;
    /// An act that passed by its approval has ended; `question` names it, and `reason` is its error number.
    pub const DONE: u32 = 8;
    /// An act that passes unseen has touched a credential of an environment that the session had none of.
    pub const TOUCHED: u32 = 9;
}

/// Bits of [`Head::flags`].
pub mod flag {
    /// `path` has lost its beginning.
    pub const PATH_CUT: u32 = 1;
    /// `other` has lost its beginning.
    pub const OTHER_CUT: u32 = 2;
    /// The object is a directory.
    pub const DIRECTORY: u32 = 4;
    /// The object is a unix socket with an abstract name: `path` holds its bytes.
    pub const ABSTRACT: u32 = 8;
}

/// In place of the bytes that were sent on a connection: there is none, or it does not count them.
pub const NOT_CONNECTED: u64 = u64::MAX;

/// A path as a list of names, the last one first, each with its NUL.
pub type Names = [u8; PATH_BYTES + PATH_SLACK];

abi! {
    /// The part that every event has, and all of one without a path. Fields that its kind does not need are zero.
    pub struct Head = 144 {
        /// See [`kind`].
        pub kind: u32,
        /// An [`crate::operation::Operation`].
        pub operation: u32,
        /// The session's slot.
        pub session: u32,
        /// Generation of the policy that judged.
        pub generation: u32,
        /// The session's serial.
        pub serial: u64,
        /// When, in nanoseconds of CLOCK_MONOTONIC.
        pub time_ns: u64,
        /// The question's id.
        pub question: u64,
        /// Hash of the object.
        pub object: u64,
        /// Thread group (upper half) and thread (lower half).
        pub task: u64,
        /// Inode of the object, or of its directory when it does not exist yet; of a process its id, of a call its
        /// number, of an endpoint the bytes that were sent there before, or [`NOT_CONNECTED`].
        pub ino: u64,
        /// Device of the object.
        pub dev: u32,
        /// User of the thread.
        pub uid: u32,
        /// The label that decided.
        pub label: u32,
        /// The rule that decided.
        pub rule: u32,
        /// The rule's tier.
        pub tier: u32,
        /// A [`crate::verdict::Reason`]; of an act that has ended its error number, 0 when it was done.
        pub reason: u32,
        /// See [`flag`].
        pub flags: u32,
        /// Hook passes that one approval must cover.
        pub passes: u32,
        /// Port of the endpoint.
        pub port: u32,
        /// IP protocol of the endpoint.
        pub protocol: u32,
        /// Address of the endpoint, IPv4 as `::ffff:a.b.c.d`; of a process its name.
        pub address: [u8; 16],
        /// The thread's name.
        pub comm: [u8; 16],
        /// Bytes used in [`Event::path`].
        pub path_bytes: u32,
        /// Bytes used in [`Event::other`].
        pub other_bytes: u32,
    }
}

abi! {
    /// An event about files. Which of the two a record of the ring is, its length says.
    pub struct Event = 2704 {
        /// The common part.
        pub head: Head,
        /// The object.
        pub path: Names,
        /// The other end of a rename or link.
        pub other: Names,
    }
}
