//! Owns the world of the egress scenarios: production and other servers, the road to them, an agent with credentials and
//! real tools, and what each tool says when it gets through and when it may not.
//!
//! Must not know a policy, nor what is asked under it. It is for a guest with the Debian root file system, run as root.

mod agent;
mod tool;
pub mod world;

pub use self::agent::{Attempt, Outcome, nameless, run};
pub use self::tool::{Try, tries};
