//! The kernel programs: which hook each is attached to, which operations it judges, and which of them a kernel may lack.
//!
//! Must not know how a program is loaded.

use super::Operation::{
    self, Attribute, Bpf, Chmod, Chown, Command, Connect, Create, Delete, Exec, Handle, IoUring, Keyring, Kill, Link,
    Modify, Module, Mount, Perf, Quota, RawIo, RawSocket, Read, Reboot, Rename, Resolve, Schedule, Swap, Terminal,
    Time, Trace, Truncate, UnixConnect, UserFault, Write,
};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// To the LSM hook of the program's name.
    Lsm,
    /// To the kernel tracepoint of the program's name.
    Tracepoint,
    /// To every socket address of this host, at the point that the program's name says (BPF_PROG_TYPE_CGROUP_SOCK_ADDR).
    Address,
    /// To the end of the kernel function of the program's name: it judges nothing, and sees what came of it.
    Exit,
}

/// A program of the object.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name of the program and of what it is attached to.
    pub name: &'static str,
    /// How it is attached.
    pub attachment: Attachment,
    /// Operations that it judges, or whose end it sees.
    pub operations: &'static [Operation],
    /// Whether a kernel without the hook does the same work in another one of the table, or has no such work.
    pub replaceable: bool,
    /// Whether it is attached only while the policy in force names one of its operations: it costs everybody too much.
    pub on_demand: bool,
}

const fn lsm(name: &'static str, operations: &'static [Operation]) -> Hook {
    Hook { name, attachment: Attachment::Lsm, operations, replaceable: false, on_demand: false }
}

/// A hook that not every kernel has.
const fn newer(name: &'static str, operations: &'static [Operation]) -> Hook {
    Hook { replaceable: true, ..lsm(name, operations) }
}

/// The end of a function. Without it nobody hears what came of the acts, and they are judged all the same.
const fn end(name: &'static str, operations: &'static [Operation]) -> Hook {
    Hook { attachment: Attachment::Exit, ..newer(name, operations) }
}

/// A hook that everybody meets at every turn.
const fn on_demand(name: &'static str, operations: &'static [Operation]) -> Hook {
    Hook { on_demand: true, ..lsm(name, operations) }
}

/// What sends lookups of names to the daemon.
const fn address(name: &'static str) -> Hook {
    Hook { attachment: Attachment::Address, ..on_demand(name, &[Resolve]) }
}

/// Every program, in the order in which they are attached: the tree first, so that no task escapes its tag.
pub const HOOKS: &[Hook] = &[
    lsm("task_alloc", &[]),
    lsm("task_free", &[]),
    lsm("bprm_creds_for_exec", &[Exec, Command]),
    lsm("bprm_committed_creds", &[Command]),
    Hook { attachment: Attachment::Tracepoint, ..lsm("sched_process_exec", &[Command]) },
    lsm("bprm_check_security", &[Exec]),
    lsm("mmap_file", &[Exec, Modify]),
    lsm("file_mprotect", &[Exec, Modify]),
    on_demand("file_permission", &[Modify]),
    lsm("file_open", &[Read, Write, Truncate]),
    lsm("file_receive", &[Read, Write]),
    lsm("file_ioctl", &[Write, Delete, Attribute, Terminal]),
    // Before 6.8 `file_ioctl` is called for 32-bit programs too.
    newer("file_ioctl_compat", &[Write, Delete, Attribute, Terminal]),
    lsm("path_mknod", &[Create]),
    lsm("path_mkdir", &[Create]),
    lsm("path_symlink", &[Create]),
    lsm("path_unlink", &[Delete]),
    lsm("path_rmdir", &[Delete]),
    lsm("path_rename", &[Rename]),
    lsm("path_link", &[Link]),
    lsm("path_truncate", &[Truncate]),
    // Before 6.2 `path_truncate` is called in its place.
    newer("file_truncate", &[Truncate]),
    lsm("path_chmod", &[Chmod]),
    lsm("path_chown", &[Chown]),
    lsm("inode_setxattr", &[Attribute]),
    lsm("inode_removexattr", &[Attribute]),
    // Before 6.2 access control lists are extended attributes like others.
    newer("inode_set_acl", &[Attribute]),
    newer("inode_remove_acl", &[Attribute]),
    // Since `file_setattr` is a system call.
    newer("inode_file_setattr", &[Attribute]),
    lsm("sb_mount", &[Mount]),
    lsm("sb_umount", &[Mount]),
    lsm("sb_pivotroot", &[Mount]),
    lsm("move_mount", &[Mount]),
    lsm("capable", &[Mount, Swap, Reboot, Module, Time, RawIo, Quota, Handle]),
    lsm("key_permission", &[Keyring]),
    lsm("bpf", &[Bpf]),
    lsm("perf_event_open", &[Perf]),
    lsm("inode_init_security_anon", &[UserFault, IoUring]),
    lsm("ptrace_access_check", &[Trace]),
    lsm("ptrace_traceme", &[Trace]),
    lsm("task_kill", &[Kill]),
    lsm("task_setnice", &[Schedule]),
    lsm("task_setscheduler", &[Schedule]),
    lsm("task_setioprio", &[Schedule]),
    lsm("task_setrlimit", &[Schedule]),
    lsm("socket_connect", &[Connect]),
    lsm("socket_sendmsg", &[Connect]),
    lsm("socket_listen", &[Connect]),
    lsm("socket_create", &[RawSocket]),
    lsm("socket_post_create", &[UnixConnect]),
    lsm("unix_stream_connect", &[UnixConnect]),
    lsm("unix_may_send", &[UnixConnect]),
    address("connect4"),
    address("connect6"),
    address("sendmsg4"),
    address("sendmsg6"),
    address("recvmsg4"),
    address("recvmsg6"),
    address("getpeername4"),
    address("getpeername6"),
    end("vfs_unlink", &[Delete]),
    end("vfs_rmdir", &[Delete]),
    end("vfs_rename", &[Rename]),
    end("do_truncate", &[Truncate]),
];
