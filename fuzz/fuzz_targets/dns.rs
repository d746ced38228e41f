//! Feeds what a resolver's client and its server send, framed as over TCP to its property. It must not know what has to hold: `properties/dns.rs` does.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agent_guard_fuzz::properties::dns::holds(bytes);
});
