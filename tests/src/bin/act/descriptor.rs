//! Acts through a descriptor from before: ways to change what its file has without opening anything.

use std::os::fd::RawFd;
use std::ptr;

use nix::libc;

use crate::Done;
use crate::file::with_fd;

const PAGE: usize = 4096;

fn write(fd: RawFd, bytes: &[u8]) -> Done {
    // SAFETY: the buffer is as long as said.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    Done::of(i64::try_from(written).unwrap())
}

/// Stores a byte through a mapping that is shared with the file.
fn store(fd: RawFd, protection: i32) -> Done {
    // SAFETY: a new mapping that nothing refers to and that is given back; the file has its first byte.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), PAGE, protection, libc::MAP_SHARED, fd, 0);
        if at == libc::MAP_FAILED {
            return Done::of(-1);
        }
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let done = if protection == writable { Done::of(0) } else { Done::of(libc::mprotect(at, PAGE, writable)) };
        if done.errno == 0 {
            at.cast::<u8>().write(b'M');
        }
        libc::munmap(at, PAGE);
        done
    }
}

/// Moves a byte of a pipe into the file.
fn splice(fd: RawFd) -> Done {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both ends, which are closed once; the offset outlives the call.
    unsafe {
        if libc::pipe(ends.as_mut_ptr()) != 0 {
            return Done::of(-1);
        }
        write(ends[1], b"S");
        let mut offset = 0;
        let moved = libc::splice(ends[0], ptr::null_mut(), fd, &raw mut offset, 1, 0);
        let done = Done::of(i64::try_from(moved).unwrap());
        for end in ends {
            libc::close(end);
        }
        done
    }
}

/// Acts by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    let [name, fd, arguments @ ..] = words else { return None };
    let fd: RawFd = fd.parse().ok()?;
    // SAFETY: every offset outlives its call, and no other memory is passed.
    let done = unsafe {
        match (*name, arguments) {
            ("fd-write", [text]) => write(fd, text.as_bytes()),
            ("fd-write-at", [text]) => {
                let written = libc::pwrite(fd, text.as_ptr().cast(), text.len(), 0);
                Done::of(i64::try_from(written).unwrap())
            }
            ("fd-truncate", []) => Done::of(libc::ftruncate(fd, 0)),
            ("fd-punch", []) => {
                let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                Done::of(libc::fallocate(fd, hole, 0, 1))
            }
            ("fd-store", []) => store(fd, libc::PROT_READ | libc::PROT_WRITE),
            ("fd-store-in-steps", []) => store(fd, libc::PROT_READ),
            ("fd-splice", []) => splice(fd),
            ("fd-copy", [from]) => with_fd(from, libc::O_RDONLY, |from| {
                let (mut one, mut other) = (0, 0);
                let copied = libc::copy_file_range(from, &raw mut one, fd, &raw mut other, 1, 0);
                Done::of(i64::try_from(copied).unwrap())
            }),
            ("fd-send", [from]) => with_fd(from, libc::O_RDONLY, |from| {
                let mut offset = 0;
                Done::of(i64::try_from(libc::sendfile(fd, from, &raw mut offset, 1)).unwrap())
            }),
            _ => return None,
        }
    };
    Some(done)
}
