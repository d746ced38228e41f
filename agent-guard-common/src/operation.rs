//! The operations: classes of acts that policies speak of. Adding one begins here.

macro_rules! operations {
    ($($(#[$meta:meta])* $name:ident = $number:literal, $text:literal, holdable: $holdable:literal;)*) => {
        /// A class of act, as rules name it. The numbers are part of the ABI and never reused.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation { $($(#[$meta])* $name = $number),* }

        impl Operation {
            /// Every operation, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name that policies and people use.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// Whether a call of this operation can be held and restarted without a side effect.
            #[must_use]
            pub const fn holdable(self) -> bool {
                match self { $(Self::$name => $holdable),* }
            }

            /// The operation that a policy names.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|operation| operation.name() == name)
            }
        }
    };
}

operations! {
    /// Opening an existing file or directory for reading.
    Read = 0, "read", holdable: true;
    /// Opening an existing file for writing.
    Write = 1, "write", holdable: true;
    /// A new name: file, directory, device node, symbolic link.
    Create = 2, "create", holdable: true;
    /// `unlink` and `rmdir`.
    Delete = 3, "delete", holdable: true;
    /// `rename`, judged at both ends.
    Rename = 4, "rename", holdable: true;
    /// `truncate`, `ftruncate`, `O_TRUNC`.
    Truncate = 5, "truncate", holdable: true;
    /// A hard link, judged at both ends.
    Link = 6, "link", holdable: true;
    /// A connection, or a datagram sent to an address.
    Connect = 7, "connect", holdable: true;
    /// Executing a labelled binary.
    Exec = 8, "exec", holdable: true;
    /// Executing a program with arguments that a command label describes.
    Command = 9, "command", holdable: true;
}

impl Operation {
    /// Whether the system call is one that this operation's hooks can be restarted in: the act is what the call
    /// itself is about, and nothing has happened when the hook runs. `compat`: a 32-bit call, with its own numbers
    /// (arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl).
    ///
    /// Anything else is not: io_uring, for one, also runs its work at the end of whatever call comes next.
    #[inline(always)]
    #[must_use]
    pub const fn restarts_in(self, call: u64, compat: bool) -> bool {
        match (self, compat) {
            // open, creat, openat, open_by_handle_at, openat2, truncate, ftruncate
            (Self::Read | Self::Write | Self::Truncate, false) => matches!(call, 2 | 85 | 257 | 304 | 437 | 76 | 77),
            (Self::Read | Self::Write | Self::Truncate, true) => {
                matches!(call, 5 | 8 | 295 | 342 | 437 | 92 | 93 | 193 | 194)
            }
            // open, creat, openat, openat2, mkdir, mkdirat, mknod, mknodat, symlink, symlinkat, bind
            (Self::Create, false) => matches!(call, 2 | 85 | 257 | 437 | 83 | 258 | 133 | 259 | 88 | 266 | 49),
            (Self::Create, true) => {
                matches!(call, 5 | 8 | 295 | 437 | 39 | 296 | 14 | 297 | 83 | 304 | 361 | SOCKETCALL)
            }
            // unlink, rmdir, unlinkat
            (Self::Delete, false) => matches!(call, 87 | 84 | 263),
            (Self::Delete, true) => matches!(call, 10 | 40 | 301),
            // rename, renameat, renameat2
            (Self::Rename, false) => matches!(call, 82 | 264 | 316),
            (Self::Rename, true) => matches!(call, 38 | 302 | 353),
            // link, linkat
            (Self::Link, false) => matches!(call, 86 | 265),
            (Self::Link, true) => matches!(call, 9 | 303),
            // connect, sendto, sendmsg, sendmmsg
            (Self::Connect, false) => matches!(call, 42 | 44 | 46 | 307),
            (Self::Connect, true) => matches!(call, 362 | 369 | 370 | 345 | SOCKETCALL),
            // execve, execveat
            (Self::Exec | Self::Command, false) => matches!(call, 59 | 322),
            (Self::Exec | Self::Command, true) => matches!(call, 11 | 358),
        }
    }
}

/// The 32-bit call that stands for all socket calls.
const SOCKETCALL: u64 = 102;

/// Rows that the matrix keeps for each profile: room for the operations to come.
pub const OPERATIONS: u32 = 32;

impl TryFrom<u32> for Operation {
    type Error = u32;

    fn try_from(number: u32) -> Result<Self, u32> {
        Self::ALL.get(number as usize).copied().ok_or(number)
    }
}

const _: () = {
    let mut index = 0;
    while index < Operation::ALL.len() {
        assert!(Operation::ALL[index] as usize == index, "operations are numbered without gaps");
        index += 1;
    }
    assert!(Operation::ALL.len() <= OPERATIONS as usize);
};
