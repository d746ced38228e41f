//! Feeds the file of an audit log to its property. It must not know what has to hold: `properties/audit.rs` does.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agent_guard_fuzz::properties::audit::holds(bytes);
});
