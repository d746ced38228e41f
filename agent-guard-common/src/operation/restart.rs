//! The system calls that each operation can be held in: the act is what the call itself is about, and nothing has
//! happened when the hook runs, so that the kernel can run the call again. Anything else cannot be held: io_uring, for
//! one, also runs its work at the end of whatever call comes next.

use super::Operation;

/// The 32-bit call that stands for all socket calls.
const SOCKETCALL: u64 = 102;

impl Operation {
    /// Whether a system call, by its number, is one that this operation's hooks can be restarted in. `compat`: a 32-bit
    /// call, with its own numbers (arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl).
    #[inline(always)]
    #[must_use]
    pub const fn restarts_in(self, call: u64, compat: bool) -> bool {
        match (self, compat) {
            // open, creat, openat, open_by_handle_at, openat2, truncate, ftruncate
            (Self::Read | Self::Write | Self::Truncate, false) => {
                matches!(call, 2 | 85 | 257 | 304 | 437 | 76 | 77)
            }
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
            // connect, sendto, sendmsg, sendmmsg; write and writev on a connection
            (Self::Connect, false) => matches!(call, 42 | 44 | 46 | 307 | 1 | 20),
            (Self::Connect, true) => matches!(call, 362 | 369 | 370 | 345 | SOCKETCALL | 4 | 146),
            (Self::UnixConnect, false) => matches!(call, 42 | 44 | 46 | 307),
            (Self::UnixConnect, true) => matches!(call, 362 | 369 | 370 | 345 | SOCKETCALL),
            // execve, execveat
            (Self::Exec | Self::Command, false) => matches!(call, 59 | 322),
            (Self::Exec | Self::Command, true) => matches!(call, 11 | 358),
            // chmod, fchmod, fchmodat, fchmodat2
            (Self::Chmod, false) => matches!(call, 90 | 91 | 268 | 452),
            (Self::Chmod, true) => matches!(call, 15 | 94 | 306 | 452),
            // chown, fchown, lchown, fchownat
            (Self::Chown, false) => matches!(call, 92 | 93 | 94 | 260),
            (Self::Chown, true) => matches!(call, 182 | 95 | 16 | 212 | 207 | 198 | 298),
            // mount, umount2, pivot_root, move_mount
            (Self::Mount, false) => matches!(call, 165 | 166 | 155 | 429),
            (Self::Mount, true) => matches!(call, 21 | 22 | 52 | 217 | 429),
            (
                Self::Attribute
                | Self::Swap
                | Self::Reboot
                | Self::Module
                | Self::Time
                | Self::RawIo
                | Self::Quota
                | Self::Handle
                | Self::Bpf
                | Self::Perf
                | Self::UserFault
                | Self::IoUring
                | Self::Trace
                | Self::Kill
                | Self::Schedule
                | Self::Terminal
                | Self::RawSocket
                | Self::Modify
                | Self::Keyring
                | Self::Resolve,
                _,
            ) => false,
        }
    }

    /// The operation that a privileged system call stands for: those that have no hook of their own are met when the
    /// kernel asks whether the caller has the capability for them (kernel/capability.c, `capable`).
    #[inline(always)]
    #[must_use]
    pub const fn of_privileged(capability: u32, call: u64, compat: bool) -> Option<Self> {
        // include/uapi/linux/capability.h: the one that the call itself is asked for. Within the same call the kernel
        // also asks for others, such as the right to look into a directory.
        const DAC_READ_SEARCH: u32 = 2;
        const SYS_MODULE: u32 = 16;
        const SYS_RAWIO: u32 = 17;
        const SYS_ADMIN: u32 = 21;
        const SYS_BOOT: u32 = 22;
        const SYS_TIME: u32 = 25;
        let operation = match (call, compat) {
            // open_tree, fsopen, fsconfig, fsmount, fspick, mount_setattr, open_tree_attr: new calls have one number.
            (428 | 430 | 431 | 432 | 433 | 442 | 467, _) => Self::Mount,
            // swapon, swapoff
            (167 | 168, false) | (87 | 115, true) => Self::Swap,
            // reboot, kexec_load, kexec_file_load
            (169 | 246 | 320, false) | (88 | 283, true) => Self::Reboot,
            // init_module, delete_module, finit_module
            (175 | 176 | 313, false) | (128 | 129 | 350, true) => Self::Module,
            // adjtimex, settimeofday, clock_settime, clock_adjtime; of the 32-bit ones also stime and the 64-bit clocks'
            (159 | 164 | 227 | 305, false) | (25 | 79 | 124 | 264 | 343 | 404 | 405, true) => Self::Time,
            // iopl, ioperm
            (172 | 173, false) | (110 | 101, true) => Self::RawIo,
            // quotactl, quotactl_fd
            (179, false) | (131, true) | (443, _) => Self::Quota,
            // open_by_handle_at
            (304, false) | (342, true) => Self::Handle,
            _ => return None,
        };
        let is_asked = match operation {
            Self::Module => capability == SYS_MODULE,
            Self::RawIo => capability == SYS_RAWIO,
            Self::Reboot => capability == SYS_BOOT,
            Self::Time => capability == SYS_TIME,
            // In a user namespace of its own a caller may be asked for the other.
            Self::Handle => matches!(capability, DAC_READ_SEARCH | SYS_ADMIN),
            _ => capability == SYS_ADMIN,
        };
        if is_asked { Some(operation) } else { None }
    }
}
