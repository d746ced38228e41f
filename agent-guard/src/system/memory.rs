//! The allocator: a daemon that holds little must not keep what its start needed.

use nix::libc;

/// Arenas for all threads. By default each thread that reads a held process would get one of its own, and keep it.
const ARENAS: libc::c_int = 2;

/// Bounds the allocator's arenas. Must be called before other threads are started.
pub fn bound() {
    // SAFETY: the call takes two integers, and no other thread is there to allocate meanwhile.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

/// Gives back what was freed: loading parses all types of the kernel, several times.
pub fn give_back() {
    // SAFETY: the call takes an integer and locks what it touches.
    unsafe { libc::malloc_trim(0) };
}
