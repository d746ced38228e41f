//! The words by which the daemon steers all programs at once: indices into the `CONTROL` array of `u64`.

/// Generation of the policy in force; its lowest bit is the slot. 0: no policy yet, all of a tree's acts are refused.
pub const GENERATION: u32 = 0;
/// CLOCK_MONOTONIC of the daemon's last heartbeat, in nanoseconds.
pub const HEARTBEAT: u32 = 1;
/// First half of the SipHash key, made at random when the maps are created.
pub const KEY_0: u32 = 2;
/// Second half of the key.
pub const KEY_1: u32 = 3;
/// Serial of the session started last.
pub const SERIAL: u32 = 4;
/// Cookie of the network namespace in which the sessions' resolvers listen; see include/net/net_namespace.h.
pub const NETWORK: u32 = 5;
/// Always 0, which only the programs' verifier does not know.
pub const NOTHING: u32 = 6;
/// What the policy in force says of connections, as one number: another one when its text or its hosts' addresses change,
/// and not when only what lies at its paths does.
pub const POLICY: u32 = 7;
/// Number of words.
pub const WORDS: u32 = 8;
