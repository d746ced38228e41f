//! Owns what the suites share: a guest's daemon, guarded runs, and agents that act in them on demand.
//!
//! Must not know any single test, nor reach into the product: it uses what users have (the program, its API, its files).

#![expect(clippy::panic, clippy::unwrap_used, reason = "the helpers of tests fail as tests do, by panicking")]

pub mod egress;
pub mod guest;
pub mod incident;
pub mod terminal;
