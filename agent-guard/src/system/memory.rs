//! The allocator: a daemon that holds little must not keep what its start needed.

use nix::libc;
use nix::sys::prctl;

/// Arenas for all threads. By default each thread that reads a held process would get one of its own, and keep it.
const ARENAS: libc::c_int = 2;

/// Blocks from this size on are mapped by themselves, in bytes. To set it keeps the allocator from raising it with
/// every large block that is freed, after which large blocks stay in the heap for good.
const MAPPED: libc::c_int = 128 << 10;

/// Bounds what the allocator keeps, and what the kernel gives for it. Must be called before other threads are started.
pub fn bound() {
    // A heap of a few megabytes in pages of two is twice as large as what is in it.
    if let Err(error) = prctl::set_thp_disable(true) {
        tracing::debug!(%error, "large pages cannot be turned off");
    }
    // SAFETY: the calls take two integers, and no other thread is there to allocate meanwhile.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}

/// Gives back what was freed: loading parses all types of the kernel, several times.
pub fn give_back() {
    // SAFETY: the call takes an integer and locks what it touches.
    unsafe { libc::malloc_trim(0) };
}
