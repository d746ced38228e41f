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
