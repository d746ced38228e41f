//! What a key does: about the request in sight, in the midst of a text, or from wherever one is.
//!
//! It must not know how a request came into sight.

use super::prompt::{Prompt, Turn};
use super::{Act, Dialog, Over};
use crate::api::call::Choice;
use crate::api::types::AnswerBody;
use crate::cli::output::Tone;
use crate::system::screen::Key;
use std::time::Duration;

impl Dialog {
    /// Takes a key.
    pub(super) fn key(&mut self, key: Key, now: Duration) -> Option<Act> {
        match (key, &self.over) {
            (Key::Control('c'), _) | (Key::Character('q'), Over::Nothing) => Some(Act::Quit),
            (Key::Control('z'), _) => Some(Act::Pause),
            (_, Over::Prompt(_)) => self.typed(key, now),
            (Key::Enter | Key::Escape, Over::Interrupted) => {
                self.over = Over::Nothing;
                self.shown = None;
                None
            }
            (_, Over::Interrupted) => None,
            (_, Over::Help) => {
                self.over = Over::Nothing;
                None
            }
            (Key::Character('?'), Over::Nothing) => {
                self.over = Over::Help;
                self.look_anew()
            }
            (_, Over::Nothing) => self.judged(key, now),
        }
    }

    /// Takes what was pasted, which is never a key.
    pub(super) fn pasted(&mut self, text: &str, now: Duration) -> Option<Act> {
        match (&mut self.over, &mut self.shown) {
            (Over::Prompt(prompt), _) => prompt.paste(text),
            // Nobody answers by pasting.
            (_, Some(shown)) => shown.settle(now),
            (_, None) => {}
        }
        None
    }

    /// A key about the request in sight.
    fn judged(&mut self, key: Key, now: Duration) -> Option<Act> {
        let shown = self.shown.as_mut().filter(|_| self.answering.is_none())?;
        if let Some(ended) = &mut shown.ended {
            *ended = now;
            if matches!(key, Key::Enter | Key::Escape | Key::Character('s' | ' ')) {
                self.shown = None;
            }
            return None;
        }
        let is_seen = shown.is_seen(now);
        match key {
            Key::Character('a' | 'd' | 's') if !is_seen => {
                shown.settle(now);
                self.say(Tone::Urgent, "too soon: it has only just come into sight; read it, then answer")
            }
            Key::Character('s') => {
                let id = shown.request.id.clone();
                self.put_off(&id);
                (self.shown, self.notice) = (None, None);
                None
            }
            Key::Character('d') => self.answer(Choice::Deny, AnswerBody::default(), now),
            Key::Character('a') => match Prompt::of(&shown.request) {
                None => self.answer(Choice::Approve, AnswerBody::default(), now),
                Some(prompt) => {
                    (self.over, self.notice) = (Over::Prompt(prompt), None);
                    None
                }
            },
            Key::Character(_) | Key::Control(_) | Key::Enter | Key::Escape | Key::Backspace | Key::Other => {
                shown.settle(now);
                None
            }
        }
    }

    /// A key in the midst of a text.
    fn typed(&mut self, key: Key, now: Duration) -> Option<Act> {
        let (Over::Prompt(prompt), Some(shown)) = (&mut self.over, &mut self.shown) else { return None };
        if key == Key::Enter && !shown.is_seen(now) {
            shown.settle(now);
            return self.say(Tone::Urgent, "too soon: what is shown has only just changed");
        }
        match prompt.key(key) {
            Turn::Goes => self.notice = None,
            Turn::Short(why) => return self.say(Tone::Bad, why),
            Turn::GivenUp => {
                self.over = Over::Nothing;
                return self.say(Tone::Plain, "given up: nothing was approved");
            }
            Turn::Said(said) => {
                self.over = Over::Nothing;
                return self.answer(Choice::Approve, said, now);
            }
        }
        None
    }

    fn answer(&mut self, choice: Choice, said: AnswerBody, now: Duration) -> Option<Act> {
        let shown = self.shown.as_ref()?;
        if now >= shown.deadline {
            return self.say(Tone::Bad, "its time is up: nothing was sent");
        }
        let id = shown.request.id.clone();
        (self.answering, self.notice) = (Some(choice), None);
        Some(Act::Answer { id, choice, said })
    }
}
