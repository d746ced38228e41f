//! agent-guard's kernel programs: modules, licence, panic handler, nothing else.
#![no_std]
#![no_main]
// `lock *(u64 *)` has no stable spelling: see `task::add`.
#![feature(asm_experimental_arch)]

mod arguments;
mod call;
mod connection;
mod credential;
mod emit;
mod endpoint;
mod environment;
mod family;
mod hook;
mod kernel;
mod maps;
mod mounted;
mod name;
mod object;
mod process;
mod program;
mod question;
mod task;
mod unix;
mod walk;

/// The helpers that send signals and read task storage ask for a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A reachable panic becomes an endless loop, which the verifier refuses; `xtask build-ebpf` looks for it first.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
