//! Owns the incident, replayed: an agent deletes production and recreates it; what becomes of that without a guard,
//! and with one. The demo tells it, a suite asserts the same facts.
//!
//! Must not know who listens. It runs as root in a guest with the Debian root file system, once.

mod agent;
mod cloud;
mod proof;
mod runs;
mod story;

pub use self::story::{Chapter, Fact};

use self::story::Story;

/// Tells the whole story, and returns what was found.
#[must_use]
pub fn tell() -> Vec<Chapter> {
    let mut story = Story::default();
    runs::tell(&mut story);
    story.chapters
}
