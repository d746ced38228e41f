//! Feeds one record of the kernel's ring to its property. It must not know what has to hold: `properties/ring.rs` does.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agent_guard_fuzz::properties::ring::holds(bytes);
});
