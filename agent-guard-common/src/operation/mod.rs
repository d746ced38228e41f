//! The operations: classes of acts that policies speak of. Adding one begins here, with a line in the list below, the
//! system calls that it can be restarted in (`restart`) and the hooks that judge it (`hooks`).
//!
//! Must not know how a hook reads its arguments, nor what a policy makes of an operation.

mod hooks;
mod restart;

pub use hooks::{Attachment, HOOKS, Hook};

/// What an operation acts on: which labels it can meet, and how its object is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, directory or device that is opened or used through a descriptor.
    Content,
    /// An entry of the file tree.
    Entry,
    /// Two entries: where from, and where to.
    Entries,
    /// A file that is executed.
    Program,
    /// A program with its arguments.
    Command,
    /// A network endpoint.
    Endpoint,
    /// The name of a host.
    Name,
    /// A unix socket that somebody outside the session serves.
    Socket,
    /// A process outside the session.
    Process,
    /// Nothing but the call itself.
    Call,
}

macro_rules! operations {
    ($($(#[$meta:meta])* $name:ident = $number:literal, $text:literal, $target:ident, holdable: $holdable:literal;)*) => {
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

            /// What it acts on.
            #[must_use]
            pub const fn target(self) -> Target {
                match self { $(Self::$name => Target::$target),* }
            }

            /// Whether some call of this operation can be held and restarted without a side effect. Where none can,
            /// the verdict `hold` is a refusal.
            #[must_use]
            pub const fn holdable(self) -> bool {
                match self { $(Self::$name => $holdable),* }
            }

            /// The operation of a number.
            #[inline(always)]
            #[must_use]
            pub const fn numbered(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
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
    /// Opening an existing file or directory for reading, or being handed it.
    Read = 0, "read", Content, holdable: true;
    /// Opening an existing file for writing, being handed it, or changing its contents behind `write`'s back.
    Write = 1, "write", Content, holdable: true;
    /// A new name: file, directory, device node, symbolic link.
    Create = 2, "create", Entry, holdable: true;
    /// `unlink` and `rmdir`.
    Delete = 3, "delete", Entry, holdable: true;
    /// `rename`, judged at both ends.
    Rename = 4, "rename", Entries, holdable: true;
    /// `truncate`, `ftruncate`, `O_TRUNC`.
    Truncate = 5, "truncate", Entry, holdable: true;
    /// A hard link, judged at both ends.
    Link = 6, "link", Entries, holdable: true;
    /// A connection, or a datagram sent to an address.
    Connect = 7, "connect", Endpoint, holdable: true;
    /// Executing a labelled binary, as a program, as a script's interpreter, or mapped by a loader.
    Exec = 8, "exec", Program, holdable: true;
    /// Executing a program with arguments that a command label describes.
    Command = 9, "command", Command, holdable: true;
    /// `chmod`.
    Chmod = 10, "chmod", Entry, holdable: true;
    /// `chown`.
    Chown = 11, "chown", Entry, holdable: true;
    /// Extended attributes, access control lists and the flags of `chattr`.
    Attribute = 12, "attribute", Entry, holdable: false;
    /// Mounting over a place, unmounting it, moving a mount to it; and the calls that make a mount step by step.
    Mount = 13, "mount", Entry, holdable: true;
    /// `swapon` and `swapoff`.
    Swap = 14, "swap", Call, holdable: false;
    /// `reboot`, and loading another kernel.
    Reboot = 15, "reboot", Call, holdable: false;
    /// Loading and removing kernel modules.
    Module = 16, "module", Call, holdable: false;
    /// Setting or steering the clock.
    Time = 17, "time", Call, holdable: false;
    /// `iopl` and `ioperm`.
    RawIo = 18, "raw-io", Call, holdable: false;
    /// Disk quotas.
    Quota = 19, "quota", Call, holdable: false;
    /// `open_by_handle_at`, which opens files past every directory.
    Handle = 20, "handle", Call, holdable: false;
    /// The `bpf` call.
    Bpf = 21, "bpf", Call, holdable: false;
    /// `perf_event_open`.
    Perf = 22, "perf", Call, holdable: false;
    /// `userfaultfd`.
    UserFault = 23, "userfaultfd", Call, holdable: false;
    /// Making an io_uring.
    IoUring = 24, "io-uring", Call, holdable: false;
    /// Attaching to a process outside the session: tracing it, or taking its memory or its descriptors.
    Trace = 25, "ptrace", Process, holdable: false;
    /// A signal to a process outside the session.
    Kill = 26, "kill", Process, holdable: false;
    /// Priorities, schedulers and limits of a process outside the session.
    Schedule = 27, "schedule", Process, holdable: false;
    /// Typing into a terminal (`TIOCSTI`, `TIOCLINUX`).
    Terminal = 28, "terminal", Entry, holdable: false;
    /// Connecting, or sending, to a unix socket that somebody outside the session serves.
    UnixConnect = 29, "unix-connect", Socket, holdable: true;
    /// A socket whose destinations no hook sees: raw, packet, vsock, SCTP and the like.
    RawSocket = 30, "raw-socket", Call, holdable: false;
    /// Changing what a file has through a descriptor, whoever opened it and when.
    Modify = 31, "modify", Content, holdable: false;
    /// Using the kernel's keyrings: looking for keys, reading, changing and removing them.
    Keyring = 32, "keyring", Call, holdable: false;
    /// Looking up a name. The daemon judges it, which does the lookup.
    Resolve = 33, "resolve", Name, holdable: false;
}

impl Operation {
    /// Whether it is told how such an act ended, where the kernel lets that be seen.
    #[inline(always)]
    #[must_use]
    pub const fn has_outcome(self) -> bool {
        matches!(self, Self::Delete | Self::Rename | Self::Truncate)
    }

    /// Whether an act of it that passes touches the credential that its object is, or hands out.
    #[inline(always)]
    #[must_use]
    pub const fn touches(self) -> bool {
        matches!(self, Self::Read | Self::Connect | Self::UnixConnect)
    }

    /// Whether its verdict can depend on the credentials that a session has touched.
    #[inline(always)]
    #[must_use]
    pub const fn has_conditions(self) -> bool {
        matches!(self, Self::Connect | Self::UnixConnect | Self::Resolve)
    }

    /// Whether rules must name it: it is judged by a hook that costs everybody so much that `all` and a profile's default
    /// leave it out.
    #[inline(always)]
    #[must_use]
    pub const fn must_be_named(self) -> bool {
        matches!(self, Self::Modify | Self::Resolve)
    }
}

/// Rows that the matrix keeps for each profile: room for the operations to come.
pub const OPERATIONS: u32 = 48;

impl TryFrom<u32> for Operation {
    type Error = u32;

    fn try_from(number: u32) -> Result<Self, u32> {
        Self::numbered(number).ok_or(number)
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

#[cfg(test)]
mod tests {
    use super::{HOOKS, Operation};

    #[test]
    fn an_operation_can_be_held_where_some_call_of_it_can_be_restarted() {
        for operation in Operation::ALL {
            let restarts = (0..1024).any(|call| operation.restarts_in(call, false));
            assert_eq!(restarts, operation.holdable(), "{}", operation.name());
            assert_eq!(restarts, (0..1024).any(|call| operation.restarts_in(call, true)), "{}", operation.name());
        }
    }

    #[test]
    fn an_operation_has_an_outcome_where_a_program_sees_its_end() {
        for operation in Operation::ALL {
            let sees =
                |hook: &super::Hook| hook.attachment == super::Attachment::Exit && hook.operations.contains(operation);
            assert_eq!(HOOKS.iter().any(sees), operation.has_outcome(), "{}", operation.name());
        }
    }

    #[test]
    fn a_hook_is_attached_on_demand_where_all_that_it_judges_must_be_named() {
        for hook in HOOKS.iter().filter(|hook| !hook.operations.is_empty()) {
            let must_be_named = hook.operations.iter().all(|operation| operation.must_be_named());
            assert_eq!(hook.on_demand, must_be_named, "{}", hook.name);
        }
    }

    #[test]
    fn every_operation_has_a_hook_that_no_kernel_may_lack() {
        for operation in Operation::ALL {
            let is_needed = |hook: &super::Hook| !hook.replaceable && hook.operations.contains(operation);
            assert!(HOOKS.iter().any(is_needed), "{} is judged nowhere", operation.name());
        }
    }
}
