//! The ABI between agent-guard's kernel programs and its daemon.
//!
//! Owns every record that crosses the boundary, every bound, every map's name, and `judge()`, the one
//! place where a verdict is computed: kernel, daemon and tests run the same lines. It must not know
//! aya's API, policy syntax, or how to do I/O. Whoever changes a record raises [`ABI_VERSION`].
#![cfg_attr(not(test), no_std)]

mod plain;

pub mod answer;
pub mod command;
pub mod control;
pub mod counter;
pub mod credential;
pub mod egress;
pub mod event;
pub mod hash;
pub mod limits;
pub mod map;
pub mod member;
pub mod operation;
pub mod rule;
pub mod session;
pub mod verdict;

pub use plain::{Plain, bytes_of, read};

/// Stands in the pin directory's name, so that a daemon never adopts maps of another shape.
pub const ABI_VERSION: u32 = 5;
