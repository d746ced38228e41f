//! The audit log: what happened, to what, by whom, and who allowed it.
//!
//! Owns the form of records and the one file that they are appended to. It must not know how a decision comes
//! about, nor the kernel.

mod log;
mod record;

pub use log::{Failure, Log};
pub use record::{Entry, Now, Person, What};
