//! What can be done through a descriptor without opening anything: being handed it, ioctls, and, where a policy asks for
//! it, each change of what the file has.
//!
//! Otherwise reading and writing are not judged again: the opening was.

use agent_guard_common::operation::Operation;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::credential;
use crate::hook::{self, Caller, Finding, Object as _};
use crate::kernel::{Pointer, member};
use crate::object::{Entry, Seldom};

// include/linux/fs.h
const FMODE_READ: u32 = 1;
const FMODE_WRITE: u32 = 2;

/// fs/file.c, `receive_fd(file)`: over a unix socket, and by `pidfd_getfd`. It cannot be held: the message is taken.
#[lsm(hook = "file_receive")]
pub fn file_receive(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let file = Pointer::new(context.arg::<*const u8>(0));
    let entry = Entry(file.follow(&member::FILE_DENTRY));
    // Pipes and sockets are not opened either.
    if !entry.has_content() {
        return 0;
    }
    let mode: u32 = file.load(&member::FILE_MODE);
    let writes = mode & FMODE_WRITE != 0;
    let operation = if writes { Operation::Write } else { Operation::Read };
    let entry = Seldom(entry);
    let labels = match entry.labels(caller.policy.slot, operation) {
        Ok(labels) => labels,
        Err(reason) => return hook::conclude(&caller, &entry, &Finding::undecided(operation, reason), 1),
    };
    let mut finding = hook::strictest(&caller.policy, operation, labels);
    if writes && mode & FMODE_READ != 0 {
        finding = hook::stricter(finding, hook::strictest(&caller.policy, Operation::Read, labels));
    }
    let result = hook::conclude(&caller, &entry, &finding, 1);
    if mode & FMODE_READ == 0 { result } else { credential::read(result, caller.policy.slot, entry.0.0, labels) }
}

/// fs/read_write.c, `rw_verify_area` (file, mask): each read and write, also those of `sendfile`, `splice`,
/// `copy_file_range`, `fallocate`, clones, asynchronous I/O and io_uring. Attached only while a policy names `modify`.
#[lsm(hook = "file_permission")]
pub fn file_permission(context: LsmContext) -> i32 {
    // include/linux/fs.h
    const MAY_WRITE: u32 = 2;
    if context.arg::<u32>(1) & MAY_WRITE == 0 {
        return 0;
    }
    modifies(Pointer::new(context.arg::<*const u8>(0)))
}

/// Judges that what a file has can be changed from here on. Each write would be a question of its own: none is held.
#[inline(always)]
pub fn modifies(file: Pointer) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let entry = Entry(file.follow(&member::FILE_DENTRY));
    if !entry.has_content() {
        return 0;
    }
    let entry = Seldom(entry);
    hook::conclude_at_once(&caller, &entry, &hook::find(&entry, &caller.policy, Operation::Modify))
}

/// fs/ioctl.c, `ioctl(file, command, argument)`; before 6.8 also of 32-bit programs. One call does so many things that none
/// of them is held.
#[lsm(hook = "file_ioctl")]
pub fn file_ioctl(context: LsmContext) -> i32 {
    ioctl(&context)
}

/// fs/ioctl.c, `compat_ioctl(file, command, argument)`: since 6.8.
#[lsm(hook = "file_ioctl_compat")]
pub fn file_ioctl_compat(context: LsmContext) -> i32 {
    ioctl(&context)
}

#[inline(always)]
fn ioctl(context: &LsmContext) -> i32 {
    let Some(operation) = operation_of(context.arg::<u32>(1)) else { return 0 };
    let Some(caller) = Caller::current() else { return 0 };
    let file = Pointer::new(context.arg::<*const u8>(0));
    let entry = Seldom(Entry(file.follow(&member::FILE_DENTRY)));
    hook::conclude_at_once(&caller, &entry, &hook::find(&entry, &caller.policy, operation))
}

/// What an ioctl does to the file that it is called on; `None` for the many that destroy nothing.
///
/// include/uapi/linux: fs.h, btrfs.h, falloc.h, loop.h, dm-ioctl.h, kd.h; fs/ext4/ext4.h; fs/xfs/libxfs/xfs_fs.h.
#[inline(always)]
const fn operation_of(command: u32) -> Option<Operation> {
    const DEVICE_MAPPER: u32 = 0xfd;
    Some(match command {
        // FICLONE, FICLONERANGE; EXT4_IOC_SWAP_BOOT, EXT4_IOC_MOVE_EXT; XFS_IOC_SWAPEXT, XFS_IOC_EXCHANGE_RANGE
        0x4004_9409 | 0x4020_940d | 0x6611 | 0xc028_660f | 0xc0c0_586d | 0x4028_5881
        // FS_IOC_RESVSP, FS_IOC_UNRESVSP, both once more in 64 bits, FS_IOC_ZERO_RANGE; FITRIM
        | 0x4030_5828..=0x4030_582b | 0x4030_5839 | 0xc018_5879
        // BLKROSET, BLKRRPART, BLKPG, BLKDISCARD, BLKSECDISCARD, BLKZEROOUT
        | 0x125d | 0x125f | 0x1269 | 0x1277 | 0x127d | 0x127f
        // LOOP_SET_FD to LOOP_CONFIGURE, LOOP_CTL_ADD to LOOP_CTL_GET_FREE
        | 0x4c00..=0x4c0a | 0x4c80..=0x4c82 => Operation::Write,
        // BTRFS_IOC_SNAP_DESTROY, BTRFS_IOC_SNAP_DESTROY_V2: a subvolume below this directory is gone.
        0x5000_940f | 0x5000_943f => Operation::Delete,
        // FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR; BTRFS_IOC_SUBVOL_SETFLAGS
        0x4008_6602 | 0x4004_6602 | 0x401c_5820 | 0x4008_941a => Operation::Attribute,
        // TIOCSTI, TIOCLINUX
        0x5412 | 0x541c => Operation::Terminal,
        _ if command >> 8 & 0xff == DEVICE_MAPPER => Operation::Write,
        _ => return None,
    })
}
