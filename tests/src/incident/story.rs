//! Owns how the story is told: chapters, what is said in them, and facts, each printed as it is found.
//!
//! Must not know what it is about.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something that must be so.
#[derive(Debug, Clone)]
pub struct Fact {
    /// What.
    pub text: String,
    /// Whether it is.
    pub holds: bool,
}

/// A part of the story.
#[derive(Debug, Clone)]
pub struct Chapter {
    /// The name that tests know it by.
    pub name: &'static str,
    /// What was found in it.
    pub facts: Vec<Fact>,
}

/// The story so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) chapters: Vec<Chapter>,
}

impl Story {
    /// Tells a chapter. One that breaks off has a fact that does not hold, and no result.
    pub(super) fn chapter<T>(
        &mut self,
        name: &'static str,
        title: &str,
        tell: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        println!("\n== {title}");
        self.chapters.push(Chapter { name, facts: Vec::new() });
        match catch_unwind(AssertUnwindSafe(|| tell(self))) {
            Ok(told) => Some(told),
            Err(why) => {
                self.fact(&format!("the chapter is told to its end, and not: {}", text(why.as_ref())), false);
                None
            }
        }
    }

    /// Says what happens.
    pub(super) fn says(&self, text: &str) {
        text.lines().for_each(|line| println!("   {line}"));
    }

    /// Says whether something is so.
    pub(super) fn fact(&mut self, text: &str, holds: bool) {
        println!("   [{}] {text}", if holds { "ok" } else { "NOT SO" });
        let chapter = self.chapters.last_mut().unwrap();
        chapter.facts.push(Fact { text: text.to_owned(), holds });
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
