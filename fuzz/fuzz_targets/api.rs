//! Feeds the body, or the query string, of a call to its property. It must not know what has to hold: `properties/api.rs` does.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agent_guard_fuzz::properties::api::holds(bytes);
});
