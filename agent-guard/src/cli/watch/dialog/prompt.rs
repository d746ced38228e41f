//! The texts that an approval owes, as they are typed. It must not know whether they may be sent.

use crate::api::types::{AnswerBody, Request};
use crate::system::screen::Key;
use crate::text::{SHOWN, escape};

/// Longest text, in characters: a path has at most so many bytes.
const LONGEST: usize = 4096;

/// What has come of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The text goes on, or the next one begins.
    Goes,
    /// The text will not do.
    Short(&'static str),
    /// Nothing is to be approved.
    GivenUp,
    /// All is said.
    Said(AnswerBody),
}

/// The texts so far.
#[derive(Debug)]
pub(super) struct Prompt {
    object: String,
    /// Whether the object must follow the reason, or is typed now.
    confirms: bool,
    /// The reason, once there is one, where one is owed.
    reason: Option<String>,
    asks_reason: bool,
    text: String,
}

impl Prompt {
    /// The prompt for what a request's rule demands, if it demands any text.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let demands = |word: &str| request.approval.demands.iter().any(|demand| demand == word);
        let (asks_reason, confirms) = (demands("reason"), demands("confirmation"));
        let object = request.object.clone();
        (asks_reason || confirms).then(|| Self { object, confirms, reason: None, asks_reason, text: String::new() })
    }

    /// What is to be typed, and what the keys do.
    pub(super) const fn asks(&self) -> (&'static str, &'static str) {
        if self.asks_reason {
            ("why do you approve it? (kept on record, and shown to whoever asked)", "reason")
        } else {
            ("type once more what is to be done to: the object, as it is shown above", "object")
        }
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Takes a key.
    pub(super) fn key(&mut self, key: Key) -> Turn {
        match key {
            Key::Character(character) => self.push(character),
            Key::Backspace => drop(self.text.pop()),
            Key::Control('u') => self.text.clear(),
            Key::Escape => return Turn::GivenUp,
            Key::Enter => return self.entered(),
            Key::Control(_) | Key::Other => {}
        }
        Turn::Goes
    }

    /// Takes a text that ends nothing, whatever lines it has.
    pub(super) fn paste(&mut self, text: &str) {
        text.chars().filter(|character| !character.is_control()).for_each(|character| self.push(character));
    }

    fn push(&mut self, character: char) {
        if self.text.chars().count() < LONGEST {
            self.text.push(character);
        }
    }

    fn entered(&mut self) -> Turn {
        if self.asks_reason {
            if self.text.trim().is_empty() {
                return Turn::Short("the rule demands a reason; Esc gives up");
            }
            (self.asks_reason, self.reason) = (false, Some(std::mem::take(&mut self.text)));
            if self.confirms {
                return Turn::Goes;
            }
        } else if !self.is_object() {
            return Turn::Short("that is not the object as it is shown; Esc gives up");
        }
        let confirm = self.confirms.then(|| self.object.clone());
        Turn::Said(AnswerBody { reason: self.reason.take(), confirm, ..AnswerBody::default() })
    }

    /// Whether the object was typed: as it is, or as it is shown if all of it is.
    fn is_object(&self) -> bool {
        self.text == self.object || (self.object.chars().count() <= SHOWN && self.text == escape(&self.object))
    }
}
