//! Which programs there are, what each is for, and which of them a kernel may lack.

use agent_guard_common::operation::Operation;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the LSM hook of the program's name.
    Lsm,
    /// To the kernel tracepoint of the program's name.
    Tracepoint,
}

/// A program of the object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    /// Name of the program and of what it is attached to.
    pub(super) name: &'static str,
    /// How it is attached.
    pub(super) kind: Kind,
    /// Operations that it judges.
    pub(super) operations: &'static [Operation],
    /// Whether a kernel without the hook does the same work in another one of the table.
    pub(super) replaceable: bool,
}

const fn lsm(name: &'static str, operations: &'static [Operation]) -> Hook {
    Hook { name, kind: Kind::Lsm, operations, replaceable: false }
}

use Operation::{Command, Connect, Create, Delete, Exec, Link, Read, Rename, Truncate, Write};

/// Every program, in the order in which they are attached: the tree first, so that no task escapes its tag.
pub(super) const HOOKS: &[Hook] = &[
    lsm("task_alloc", &[]),
    lsm("task_free", &[]),
    lsm("bprm_creds_for_exec", &[Exec, Command]),
    lsm("bprm_committed_creds", &[Command]),
    Hook { name: "sched_process_exec", kind: Kind::Tracepoint, operations: &[Command], replaceable: false },
    lsm("file_open", &[Read, Write, Truncate]),
    lsm("path_mknod", &[Create]),
    lsm("path_mkdir", &[Create]),
    lsm("path_symlink", &[Create]),
    lsm("path_unlink", &[Delete]),
    lsm("path_rmdir", &[Delete]),
    lsm("path_rename", &[Rename]),
    lsm("path_link", &[Link]),
    lsm("path_truncate", &[Truncate]),
    // Before 6.2 `path_truncate` is called in its place.
    Hook { name: "file_truncate", kind: Kind::Lsm, operations: &[Truncate], replaceable: true },
    lsm("socket_connect", &[Connect]),
    lsm("socket_sendmsg", &[Connect]),
];

#[cfg(test)]
mod tests {
    use agent_guard_common::operation::Operation;

    use super::HOOKS;

    #[test]
    fn every_operation_has_a_hook_that_no_kernel_may_lack() {
        for operation in Operation::ALL {
            assert!(
                HOOKS.iter().any(|hook| !hook.replaceable && hook.operations.contains(operation)),
                "{} is judged nowhere",
                operation.name()
            );
        }
    }
}
