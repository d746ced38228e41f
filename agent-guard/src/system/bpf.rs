//! What aya 0.14 has no words for: a look-up in task storage, waiting for programs, and links to cgroups that can be pinned.

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use agent_guard_common::Plain;
use nix::libc;

// include/uapi/linux/bpf.h, `enum bpf_cmd` and `enum bpf_map_type`
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// `union bpf_attr` as BPF_MAP_CREATE reads it, up to the name: what is not given is zero.
#[repr(C)]
#[derive(Default)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

/// `union bpf_attr` as BPF_MAP_LOOKUP_ELEM and BPF_MAP_UPDATE_ELEM read it.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` as BPF_LINK_CREATE reads it for a cgroup.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// `union bpf_attr` as BPF_OBJ_PIN reads it.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

// The kernel reads members by their offsets.
const _: () = assert!(size_of::<Create>() == 44 && size_of::<Element>() == 32);
const _: () = assert!(size_of::<LinkCreate>() == 16 && size_of::<Pin>() == 16);

/// The number of a place where programs see socket addresses (`enum bpf_attach_type`), by its name.
#[must_use]
pub fn address_kind(name: &str) -> Option<u32> {
    Some(match name {
        "connect4" => 10,
        "connect6" => 11,
        "sendmsg4" => 14,
        "sendmsg6" => 15,
        "recvmsg4" => 19,
        "recvmsg6" => 20,
        "getpeername4" => 29,
        "getpeername6" => 30,
        _ => return None,
    })
}

/// Attaches a program to a cgroup, beside whatever is attached there.
///
/// # Errors
/// The system call's errno.
pub fn link(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, attach_type: u32) -> io::Result<OwnedFd> {
    let (program, target) = (number(program.as_raw_fd()), number(cgroup.as_raw_fd()));
    let create = LinkCreate { program, target, attach_type, flags: 0 };
    // SAFETY: the attributes hold no pointer.
    let made = unsafe { call(BPF_LINK_CREATE, &create) }?;
    let fd = RawFd::try_from(made).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins a program, map or link.
///
/// # Errors
/// The system call's errno, or a path with a NUL.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let pin = Pin { path: path.as_ptr() as u64, fd: number(object.as_raw_fd()), flags: 0 };
    // SAFETY: the attributes point to a string that ends in NUL and lives on.
    unsafe { call(BPF_OBJ_PIN, &pin) }.map(|_zero| ())
}

/// A task's value in a task storage map; the key is a pidfd.
///
/// # Errors
/// The system call's errno, ENOENT excepted: that is a task without a value.
pub fn task_storage<T: Plain>(map: BorrowedFd<'_>, task: BorrowedFd<'_>) -> io::Result<Option<T>> {
    let key: RawFd = task.as_raw_fd();
    // SAFETY: a `Plain` type may be all zeros.
    let mut value: T = unsafe { zeroed() };
    let lookup = Element {
        map: number(map.as_raw_fd()),
        padding: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: std::ptr::from_mut(&mut value) as u64,
        flags: 0,
    };
    // SAFETY: the attributes point to a descriptor and to a buffer of the map's value size, both alive; the caller
    // checked the map's shape when it was loaded.
    match unsafe { call(BPF_MAP_LOOKUP_ELEM, &lookup) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for running programs to end. All that it needs is made beforehand, so that waiting cannot fail for want of
/// anything.
///
/// The kernel promises that an update of a map of maps returns only when no program can still use the value before:
/// it is followed by `synchronize_rcu` (kernel/bpf/syscall.c, `maybe_wait_bpf_programs`, since 4.16), and programs
/// that do not sleep are RCU readers. `membarrier` makes no such promise: with one CPU online it does nothing, and
/// with `nohz_full` it is refused.
#[derive(Debug)]
pub struct Barrier {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Barrier {
    /// Makes a map of one map.
    ///
    /// # Errors
    /// A map cannot be made.
    pub fn new() -> io::Result<Self> {
        let word = size_of::<u32>() as u32;
        let create = |map_type, inner_map_fd| Create {
            map_type,
            key_size: word,
            value_size: word,
            max_entries: 1,
            inner_map_fd,
            map_name: *b"guard_barrier\0\0\0",
            ..Create::default()
        };
        let inner = make(&create(BPF_MAP_TYPE_ARRAY, 0))?;
        let outer = make(&create(BPF_MAP_TYPE_ARRAY_OF_MAPS, number(inner.as_raw_fd())))?;
        Ok(Self { outer, inner })
    }

    /// Returns when every program that is running now has ended.
    ///
    /// # Errors
    /// The system call's errno.
    pub fn wait(&self) -> io::Result<()> {
        let (key, value) = (0_u32, number(self.inner.as_raw_fd()));
        let update = Element {
            map: number(self.outer.as_raw_fd()),
            padding: 0,
            key: std::ptr::from_ref(&key) as u64,
            value: std::ptr::from_ref(&value) as u64,
            flags: 0,
        };
        // SAFETY: the attributes point to a descriptor and to a key and a value of the map's sizes, all alive.
        unsafe { call(BPF_MAP_UPDATE_ELEM, &update) }.map(|_zero| ())
    }
}

fn make(create: &Create) -> io::Result<OwnedFd> {
    // SAFETY: the attributes hold no pointer.
    let made = unsafe { call(BPF_MAP_CREATE, create) }?;
    let fd = RawFd::try_from(made).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor as attributes hold it.
fn number(fd: RawFd) -> u32 {
    u32::try_from(fd).unwrap_or(u32::MAX)
}

/// The system call itself.
///
/// # Safety
/// `A` is `union bpf_attr` as `command` reads it, and whatever it points to lives and has the size that the map says.
unsafe fn call<A>(command: libc::c_int, attributes: &A) -> io::Result<libc::c_long> {
    // SAFETY: the caller vouches for the attributes; the kernel is told their size.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
