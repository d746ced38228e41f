//! Sessions: which there are, and the names behind the numbers that the kernel speaks of.
//!
//! Owns the registry of guarded trees and the facts about a process that an approver reads. It must not know how
//! a decision comes about, nor the kernel's maps.

mod act;
mod impact;
mod intent;
mod path;
mod registry;
mod straggler;
mod who;

#[cfg(test)]
pub use act::example;
pub use act::{Act, Ancestor, Impact, Rule, SessionKey, Stamp, Who, tier_word};
pub use impact::weigh;
pub use intent::{Intent, NotAnIntent, Said};
pub use path::{Mounts, Shown};
pub use registry::{Counts, Registry, Session, Stage, Start, StartRefused, Touch};
pub use straggler::{Straggler, Stragglers};
pub use who::{arguments, cut, describe, plain, started};
