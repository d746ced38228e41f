//! The pinned maps, for what only the kernel knows: whether an answer was left, and what happens when a map is full.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use agent_guard_common::ABI_VERSION;
use nix::errno::Errno;
use nix::libc;

// include/uapi/linux/bpf.h, `enum bpf_cmd`
const MAP_UPDATE: i32 = 2;
const MAP_DELETE: i32 = 3;
const MAP_NEXT_KEY: i32 = 4;
const OBJECT_GET: i32 = 7;
const PINS: &str = "/sys/fs/bpf/agent-guard";

/// `union bpf_attr` for elements of maps.
#[repr(C)]
struct Element {
    map: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` for pins.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

fn bpf<T>(command: i32, attributes: &T) -> Result<i64, Errno> {
    // SAFETY: the attributes are laid out as the command takes them, and all they point to outlives the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) })
}

/// A pinned hash map.
#[derive(Debug)]
pub struct PinnedMap {
    file: File,
    key_size: usize,
}

impl PinnedMap {
    /// Opens a map by its name in the ABI.
    #[must_use]
    pub fn open(name: &str, key_size: usize) -> Self {
        let path = CString::new(format!("{PINS}/v{ABI_VERSION}/maps/{name}")).unwrap();
        let pin = Pin { path: path.as_ptr() as u64, fd: 0, flags: 0 };
        let fd = bpf(OBJECT_GET, &pin).unwrap_or_else(|errno| panic!("{name}: {errno}"));
        // SAFETY: the descriptor is new.
        let file = unsafe { File::from_raw_fd(i32::try_from(fd).unwrap()) };
        Self { file, key_size }
    }

    fn element(&self, key: u64, value: u64) -> Element {
        Element { map: self.file.as_raw_fd().unsigned_abs(), key, value, flags: 0 }
    }

    /// Every key.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let next = vec![0_u8; self.key_size];
            let last = keys.last().map_or(0, |key| key.as_ptr() as u64);
            match bpf(MAP_NEXT_KEY, &self.element(last, next.as_ptr() as u64)) {
                Ok(_) => keys.push(next),
                Err(Errno::ENOENT) => return keys,
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    /// Inserts an element.
    ///
    /// # Errors
    /// What the kernel says, `E2BIG` when the map is full.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        assert_eq!(key.len(), self.key_size);
        bpf(MAP_UPDATE, &self.element(key.as_ptr() as u64, value.as_ptr() as u64)).map(drop)
    }

    /// Removes an element, and tells whether there was one.
    pub fn remove(&self, key: &[u8]) -> bool {
        match bpf(MAP_DELETE, &self.element(key.as_ptr() as u64, 0)) {
            Ok(_) => true,
            Err(Errno::ENOENT) => false,
            Err(errno) => panic!("{errno}"),
        }
    }
}

/// Answers that lie in the kernel and have not been used.
#[must_use]
pub fn unused_answers() -> usize {
    PinnedMap::open("ANSWERS", 16).keys().len()
}
