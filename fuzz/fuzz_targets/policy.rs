//! Feeds the text of a policy to its property. It must not know what has to hold: `properties/policy.rs` does.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agent_guard_fuzz::properties::policy::holds(bytes);
});
