//! 32-bit system calls, as any 64-bit program can make them: by `int 0x80`, with numbers of their own and with pointers
//! of half the size.

use std::arch::asm;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::{ptr, slice};

use nix::libc;
use serde_json::json;

use crate::file::{c, with_fd};
use crate::{Done, net};

// arch/x86/entry/syscalls/syscall_32.tbl
const OPEN: u32 = 5;
const IOCTL: u32 = 54;
const UNLINK: u32 = 10;
const EXECVE: u32 = 11;
const RENAME: u32 = 38;
const MKDIR: u32 = 39;
const TRUNCATE: u32 = 92;
const CONNECT: u32 = 362;

// include/uapi/linux/fs.h
const FS_IOC32_SETFLAGS: u32 = 0x4004_6602;
const NOATIME: u32 = 0x80;

const BYTES: usize = 16 << 10;
const ALIGNMENT: usize = 8;

/// Memory that a narrow pointer reaches, for all that a call points to.
struct Low {
    start: *mut u8,
    used: usize,
}

impl Low {
    fn new() -> Self {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping.
        let start = unsafe { libc::mmap(ptr::null_mut(), BYTES, access, kind | libc::MAP_32BIT, -1, 0) };
        assert!(start != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Self { start: start.cast(), used: 0 }
    }

    /// Copies bytes there, and tells where they are.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        assert!(self.used + bytes.len() <= BYTES);
        // SAFETY: the mapping has room for them, as was just checked.
        let to = unsafe {
            let to = self.start.add(self.used);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            to
        };
        self.used = (self.used + bytes.len()).next_multiple_of(ALIGNMENT);
        u32::try_from(to as usize).unwrap()
    }

    fn text(&mut self, text: &str) -> u32 {
        self.put(c(text).as_bytes_with_nul())
    }
}

impl Drop for Low {
    fn drop(&mut self) {
        // SAFETY: nothing points there any more but numbers that are not used again.
        unsafe { libc::munmap(self.start.cast(), BYTES) };
    }
}

/// Makes the call.
fn call(number: u32, arguments: [u32; 3]) -> Done {
    let [first, second, third] = arguments.map(u64::from);
    let result: u64;
    // SAFETY: all pointers lead into memory of `Low`, which outlives the call. `rbx`, which the compiler keeps for
    // itself, is put back; older kernels leave zeros in four others.
    unsafe {
        asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) first => _,
            inlateout("rax") u64::from(number) => result,
            in("rcx") second,
            in("rdx") third,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    // A narrow result in a wide register.
    let result = result as i32;
    Done { errno: if (-4095..0).contains(&result) { -result } else { 0 }, value: json!(result) }
}

/// Executes a program in this very process; returns only when that failed.
pub(crate) fn execute(words: &[&str]) -> Done {
    let mut low = Low::new();
    let mut argv: Vec<u8> = words.iter().flat_map(|word| low.text(word).to_ne_bytes()).collect();
    argv.extend([0; 4]);
    let (path, argv, environment) = (low.text(words[0]), low.put(&argv), low.put(&[0; 4]));
    call(EXECVE, [path, argv, environment])
}

/// Acts by 32-bit calls: `compat CALL ARGUMENTS`.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    let ["compat", name, ref arguments @ ..] = *words else { return None };
    let mut low = Low::new();
    Some(match (name, arguments) {
        ("open", [path]) => {
            let done = call(OPEN, [low.text(path), libc::O_WRONLY.unsigned_abs(), 0]);
            if let (0, Some(fd)) = (done.errno, done.value.as_i64()) {
                // SAFETY: the descriptor is new, and closed once.
                unsafe { libc::close(i32::try_from(fd).unwrap()) };
            }
            done
        }
        ("chattr", [path]) => with_fd(path, libc::O_RDONLY, |fd| {
            call(IOCTL, [fd.unsigned_abs(), FS_IOC32_SETFLAGS, low.put(&NOATIME.to_ne_bytes())])
        }),
        ("unlink", [path]) => call(UNLINK, [low.text(path), 0, 0]),
        ("mkdir", [path]) => call(MKDIR, [low.text(path), 0o755, 0]),
        ("rename", [from, to]) => call(RENAME, [low.text(from), low.text(to), 0]),
        ("truncate", [path]) => call(TRUNCATE, [low.text(path), 0, 0]),
        ("connect", [address]) => {
            let to: SocketAddr = address.parse().ok()?;
            let (storage, length) = net::raw(to);
            let socket = net::socket(to, "tcp")?;
            // SAFETY: all of the address was written.
            let address = unsafe { slice::from_raw_parts((&raw const storage).cast(), length as usize) };
            call(CONNECT, [socket.as_raw_fd().unsigned_abs(), low.put(address), length])
        }
        _ => return None,
    })
}
