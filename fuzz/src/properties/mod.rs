//! One property for each decoder of foreign bytes. Each panics where it does not hold, and tells whether the bytes were taken
//! for what they might be: a corpus of which nothing is taken tests nothing.
//!
//! Whatever judges here is a judge, and no part of the program: it must not know how a decoder works.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a property that does not hold has to say so"
)]

pub mod api;
pub mod audit;
pub mod dns;
pub mod packet;
pub mod policy;
pub mod ring;
