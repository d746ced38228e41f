//! The kernel members that the programs read, each a global that the daemon fills from the kernel's BTF.
//!
//! Rust emits no CO-RE relocations: at load the daemon looks each offset up in `/sys/kernel/btf/vmlinux` and
//! writes it into a read-only global, which the verifier then treats as a constant. A member that cannot be
//! found aborts the load.

/// Calls a macro with every member: `GLOBAL, "struct", "path.of.members";`.
#[macro_export]
macro_rules! members {
    ($callback:ident) => {
        $callback! {
            DENTRY_FLAGS, "dentry", "d_flags";
            DENTRY_INODE, "dentry", "d_inode";
            DENTRY_PARENT, "dentry", "d_parent";
            DENTRY_SUPER, "dentry", "d_sb";
            DENTRY_NAME, "dentry", "d_name.name";
            DENTRY_NAME_LEN, "dentry", "d_name.len";
            INODE_NUMBER, "inode", "i_ino";
            INODE_MODE, "inode", "i_mode";
            INODE_ACTS, "inode", "i_op";
            ACTS_ATOMIC_OPEN, "inode_operations", "atomic_open";
            INODE_DEVICE, "inode", "i_rdev";
            SUPER_DEV, "super_block", "s_dev";
            PATH_DENTRY, "path", "dentry";
            PATH_MOUNT, "path", "mnt";
            MOUNT_ROOT, "vfsmount", "mnt_root";
            MOUNT_PUBLIC, "mount", "mnt";
            MOUNT_POINT, "mount", "mnt_mountpoint";
            NAME_BYTES, "qstr", "name";
            MAPPING_FILE, "vm_area_struct", "vm_file";
            MAPPING_FLAGS, "vm_area_struct", "vm_flags";
            FILE_DENTRY, "file", "f_path.dentry";
            FILE_FLAGS, "file", "f_flags";
            FILE_MODE, "file", "f_mode";
            SOCKET_SOCK, "socket", "sk";
            SOCKET_FILE, "socket", "file";
            SOCK_FAMILY, "sock", "__sk_common.skc_family";
            SOCK_PROTOCOL, "sock", "sk_protocol";
            SOCK_PEER_PORT, "sock", "__sk_common.skc_dport";
            SOCK_PEER_V4, "sock", "__sk_common.skc_daddr";
            SOCK_PEER_V6, "sock", "__sk_common.skc_v6_daddr";
            TCP_SENT, "tcp_sock", "bytes_sent";
            SOCK_NETWORK, "sock", "__sk_common.skc_net.net";
            NETWORK_COOKIE, "net", "net_cookie";
            UNIX_DENTRY, "unix_sock", "path.dentry";
            UNIX_ADDRESS, "unix_sock", "addr";
            ADDRESS_LENGTH, "unix_address", "len";
            ADDRESS_NAME, "unix_address", "name";
            MSG_NAME, "msghdr", "msg_name";
            MSG_NAME_LEN, "msghdr", "msg_namelen";
            BPRM_FILE, "linux_binprm", "file";
            BPRM_FILENAME, "linux_binprm", "filename";
            BPRM_INTERPRETER, "linux_binprm", "interp";
            BPRM_ARGC, "linux_binprm", "argc";
            BPRM_ENVC, "linux_binprm", "envc";
            BPRM_STRINGS, "linux_binprm", "p";
            TASK_START, "task_struct", "start_boottime";
            TASK_PROCESS, "task_struct", "tgid";
            TASK_NAME, "task_struct", "comm";
            TASK_FLAGS, "task_struct", "flags";
            TASK_SIGNAL, "task_struct", "signal";
            TASK_PARENT, "task_struct", "real_parent";
            TASK_LEADER, "task_struct", "group_leader";
            TASK_MM, "task_struct", "mm";
            TASK_STATUS, "task_struct", "thread_info.status";
            SIGNAL_TTY, "signal_struct", "tty";
            SIGNAL_PIDS, "signal_struct", "pids";
            MM_ARG_START, "mm_struct", "arg_start";
            MM_ARG_END, "mm_struct", "arg_end";
            REGS_ORIG_AX, "pt_regs", "orig_ax";
            REGS_AX, "pt_regs", "ax";
            REGS_SI, "pt_regs", "si";
            REGS_DX, "pt_regs", "dx";
            REGS_CX, "pt_regs", "cx";
        }
    };
}

/// Calls a macro with every constant that kernels number differently: `GLOBAL, "enum", "VARIANT", value;`. The value is
/// that of kernels whose constants are no enum yet, and so stand in no type.
#[macro_export]
macro_rules! constants {
    ($callback:ident) => {
        $callback! {
            DISCONNECTED, "dentry_flags", "DCACHE_DISCONNECTED", 1 << 5;
            PAR_LOOKUP, "dentry_flags", "DCACHE_PAR_LOOKUP", 1 << 28;
        }
    };
}

/// A constant: the global that holds it, its enum and variant, and its value before there was that enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    /// Name of the global in the kernel object.
    pub global: &'static str,
    /// Name of the enum.
    pub r#enum: &'static str,
    /// Name of the variant.
    pub variant: &'static str,
    /// Its value where the kernel has no such enum.
    pub before: u32,
}

macro_rules! list_constants {
    ($($global:ident, $enum:literal, $variant:literal, $before:expr;)*) => {
        /// Every constant.
        pub const CONSTANTS: &[Constant] =
            &[$(Constant { global: stringify!($global), r#enum: $enum, variant: $variant, before: $before }),*];
    };
}
constants!(list_constants);

/// A member: the global that holds its offset, its structure, and its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the global in the kernel object.
    pub global: &'static str,
    /// Name of the structure.
    pub structure: &'static str,
    /// Names of nested members, joined with dots; anonymous ones are left out.
    pub path: &'static str,
}

macro_rules! list {
    ($($global:ident, $structure:literal, $path:literal;)*) => {
        /// Every member.
        pub const MEMBERS: &[Member] =
            &[$(Member { global: stringify!($global), structure: $structure, path: $path }),*];
    };
}
members!(list);
