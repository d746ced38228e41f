//! Acts on what an inode says of its file, and on what is mounted where.

use std::ffi::CString;
use std::os::fd::RawFd;
use std::ptr;

use nix::libc;

use crate::Done;
use crate::file::{c, with_fd};

/// An attribute that any file system in memory keeps, for root.
const ATTRIBUTE: &std::ffi::CStr = c"trusted.guarded";
/// An access control list.
const LIST: &std::ffi::CStr = c"system.posix_acl_access";
/// What says no more than a mode: the version, and for owner, group and others what each is, its rights, and nobody by
/// name (include/uapi/linux/posix_acl_xattr.h).
const MODE_ONLY: [u16; 14] = [2, 0, 1, 6, !0, !0, 4, 4, !0, !0, 0x20, 4, !0, !0];
// include/uapi/linux/fs.h; for `ioctl`, whose requests are unsigned here.
const FS_IOC_SETFLAGS: libc::c_ulong = 0x4008_6602;
const FITRIM: libc::c_ulong = 0xc018_5879;
const NOATIME: libc::c_long = 0x80;
// arch/x86/entry/syscalls/syscall_64.tbl
const FILE_SETATTR: libc::c_long = 469;

fn ioctl(fd: RawFd, request: libc::c_ulong, argument: *mut libc::c_void) -> Done {
    // SAFETY: each argument is as large as its request says.
    Done::of(unsafe { libc::ioctl(fd, request, argument) })
}

/// Mounts by the newer calls: makes a file system, and moves it to its place.
fn mount_in_steps(at: &str) -> Done {
    let (kind, at) = (CString::new("tmpfs").unwrap(), c(at));
    // SAFETY: all strings end in NUL; descriptors are closed with this process, which lives for one act or is a test's.
    unsafe {
        let context = libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 0);
        if context < 0 {
            return Done::of(context);
        }
        const CREATE: libc::c_long = 6;
        let none = ptr::null::<libc::c_char>();
        libc::syscall(libc::SYS_fsconfig, context, CREATE, none, none, 0);
        let mount = libc::syscall(libc::SYS_fsmount, context, 0, 0);
        if mount < 0 {
            return Done::of(mount);
        }
        const EMPTY_PATH: libc::c_long = 4;
        Done::of(libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), libc::AT_FDCWD, at.as_ptr(), EMPTY_PATH))
    }
}

/// Acts by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    // SAFETY: all strings end in NUL, and all buffers are as long as said.
    let done = unsafe {
        match *words {
            ["chmod", path] => Done::of(libc::chmod(c(path).as_ptr(), 0o600)),
            ["fchmod", path] => with_fd(path, libc::O_RDONLY, |fd| Done::of(libc::fchmod(fd, 0o600))),
            ["chown", path] => Done::of(libc::chown(c(path).as_ptr(), 7, 7)),
            ["lchown", path] => Done::of(libc::lchown(c(path).as_ptr(), 7, 7)),
            ["fchown", path] => with_fd(path, libc::O_RDONLY, |fd| Done::of(libc::fchown(fd, 7, 7))),
            ["setxattr", path] => {
                Done::of(libc::setxattr(c(path).as_ptr(), ATTRIBUTE.as_ptr(), b"x".as_ptr().cast(), 1, 0))
            }
            ["set-list", path] => {
                let bytes = size_of_val(&MODE_ONLY);
                Done::of(libc::setxattr(c(path).as_ptr(), LIST.as_ptr(), MODE_ONLY.as_ptr().cast(), bytes, 0))
            }
            ["remove-list", path] => Done::of(libc::removexattr(c(path).as_ptr(), LIST.as_ptr())),
            ["removexattr", path] => Done::of(libc::removexattr(c(path).as_ptr(), ATTRIBUTE.as_ptr())),
            ["chattr", path] => with_fd(path, libc::O_RDONLY, |fd| {
                let mut flags = NOATIME;
                ioctl(fd, FS_IOC_SETFLAGS, (&raw mut flags).cast())
            }),
            // The call that does the same since 6.17; all but the flags is zero.
            ["file-setattr", path] => {
                let attributes = [u64::try_from(NOATIME).ok()? / 2, 0, 0];
                let (path, bytes) = (c(path), size_of_val(&attributes));
                Done::of(libc::syscall(FILE_SETATTR, libc::AT_FDCWD, path.as_ptr(), attributes.as_ptr(), bytes, 0))
            }
            // A destructive ioctl on what was opened for reading.
            ["trim", path] => with_fd(path, libc::O_RDONLY, |fd| {
                let mut range = [0_u64, u64::MAX, 0];
                ioctl(fd, FITRIM, range.as_mut_ptr().cast())
            }),
            ["mount", at] => Done::of(libc::mount(c"t".as_ptr(), c(at).as_ptr(), c"tmpfs".as_ptr(), 0, ptr::null())),
            ["umount", at] => Done::of(libc::umount2(c(at).as_ptr(), libc::MNT_DETACH)),
            ["mount-in-steps", at] => mount_in_steps(at),
            ["pivot", at] => Done::of(libc::syscall(libc::SYS_pivot_root, c(at).as_ptr(), c(at).as_ptr())),
            ["device", kind, major, minor, path] => {
                let kind = if kind == "block" { libc::S_IFBLK } else { libc::S_IFCHR };
                let number = libc::makedev(major.parse().ok()?, minor.parse().ok()?);
                Done::of(libc::mknod(c(path).as_ptr(), kind | 0o600, number))
            }
            _ => return None,
        }
    };
    Some(done)
}
