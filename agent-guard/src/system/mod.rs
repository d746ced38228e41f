//! Everything that touches the operating system: the only place with `unsafe`, `nix`, `rustix` and `libc`.
//!
//! Each file owns one thing that the kernel offers. It must not know what the guard uses it for.

pub mod bpf;
pub mod cgroup;
pub mod child;
pub mod clock;
pub mod errand;
pub mod foreign;
pub mod held;
pub mod host;
pub mod inbox;
pub mod job;
pub mod limits;
pub mod listeners;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod paths;
pub mod peer;
pub mod proc;
pub mod process;
pub mod random;
pub mod screen;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod user;
pub mod wait;
