//! The dialog: keys, what is heard and the time go in; rows and acts come out. This file owns which request is in sight,
//! and since when; `keys.rs` has what a key does about it.
//!
//! It must not know a clock, a terminal or a socket.

mod keys;
#[cfg(test)]
mod laws;
mod layout;
mod prompt;
#[cfg(test)]
pub(in crate::cli) mod tests;
mod view;

pub(super) use view::Frame;

use crate::api::call::Choice;
use crate::api::types::{AnswerBody, Request, RequestState};
use crate::cli::answer;
use crate::cli::output::Tone;
use crate::system::screen::Input;
use jiff::Timestamp;
use prompt::Prompt;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a request must have been in sight, and no key typed in vain, before a key counts for it. A key that is held
/// down repeats itself after 660 ms at most by usual settings: it must not answer what comes next.
const LOOK: Duration = Duration::from_millis(750);
/// How long a request that others have ended stays in sight after the last key.
const LINGER: Duration = Duration::from_secs(3);

/// What happens to the dialog.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Something at the terminal.
    Input(Input),
    /// The terminal was somebody else's for a while.
    Returned,
    /// A request is new, or has changed.
    Changed(Box<Request>),
    /// The daemon is there again, and says anew what waits.
    Heard,
    /// The daemon is not there, for a reason.
    Lost(String),
    /// What has become of the answer that was given.
    Answered(Result<Box<Request>, String>),
    /// Time goes by.
    Tick,
}

/// What the dialog wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Give an answer; there is no second one before [`Event::Answered`].
    Answer {
        /// The request.
        id: String,
        /// The answer.
        choice: Choice,
        /// What goes with it.
        said: AnswerBody,
    },
    /// Leave the terminal to the shell until this process is continued.
    Pause,
    /// End.
    Quit,
}

/// A request that waits.
#[derive(Clone, Debug)]
struct Waiting {
    request: Request,
    /// When silence becomes a refusal.
    deadline: Duration,
    /// How often it was put off: who was asked less often comes first.
    skipped: u32,
}

impl Waiting {
    fn order(&self) -> (u32, Timestamp, &str) {
        (self.skipped, self.request.expires_at, &self.request.id)
    }
}

/// The request that the person looks at.
#[derive(Clone, Debug)]
struct Shown {
    request: Request,
    deadline: Duration,
    /// Since when it is in sight as it is, and no key was typed in vain.
    seen: Option<Duration>,
    /// Since when it waits no longer.
    ended: Option<Duration>,
}

impl Shown {
    fn is_seen(&self, now: Duration) -> bool {
        self.seen.is_some_and(|seen| now.saturating_sub(seen) >= LOOK)
    }

    /// A key that did nothing: the next one must not come by the same haste.
    fn settle(&mut self, now: Duration) {
        self.seen = self.seen.map(|_| now);
    }
}

/// What else is on the screen.
#[derive(Debug)]
enum Over {
    Nothing,
    Help,
    Prompt(Prompt),
    /// Somebody was typing when the request ended: what is typed on is meant for no other one.
    Interrupted,
}

/// The whole state.
#[derive(Debug)]
pub(super) struct Dialog {
    size: (usize, usize),
    waiting: BTreeMap<String, Waiting>,
    shown: Option<Shown>,
    over: Over,
    /// Why the daemon is not heard.
    lost: Option<String>,
    answering: Option<Choice>,
    notice: Option<(Tone, String)>,
}

impl Dialog {
    /// A dialog of so many columns and rows, in which nothing waits yet.
    pub(super) fn new(size: (usize, usize)) -> Self {
        let waiting = BTreeMap::new();
        Self { size, waiting, shown: None, over: Over::Nothing, lost: None, answering: None, notice: None }
    }

    /// Takes note of what happens.
    pub(super) fn step(&mut self, event: Event, now: Duration) -> Option<Act> {
        let act = match event {
            Event::Input(Input::Key(key)) => self.key(key, now),
            Event::Input(Input::Pasted(text)) => self.pasted(&text, now),
            Event::Input(Input::Resized(columns, rows)) => {
                self.size = (columns, rows);
                self.look_anew()
            }
            Event::Returned => self.look_anew(),
            Event::Changed(request) => self.changed(*request, now),
            Event::Heard => {
                self.lost = None;
                self.say(Tone::Good, "the daemon is back: what waits is asked anew")
            }
            Event::Lost(why) => self.lost(why),
            Event::Answered(Ok(request)) => self.answered(*request, now),
            Event::Answered(Err(why)) => {
                self.answering = None;
                self.look_anew();
                self.say(Tone::Bad, &why)
            }
            Event::Tick => None,
        };
        self.move_on(now);
        act
    }

    /// What is to be seen now.
    pub(super) fn frame(&self, now: Duration) -> Frame {
        view::frame(self, now)
    }

    /// Takes note that a frame can be seen.
    pub(super) fn drawn(&mut self, frame: &Frame, now: Duration) {
        if let (true, Some(shown)) = (frame.shows_request, &mut self.shown) {
            shown.seen.get_or_insert(now);
        }
    }

    fn say(&mut self, tone: Tone, text: &str) -> Option<Act> {
        self.notice = Some((tone, text.to_owned()));
        None
    }

    fn look_anew(&mut self) -> Option<Act> {
        if let Some(shown) = &mut self.shown {
            shown.seen = None;
        }
        None
    }

    /// Shows the next request when there is nothing left to be seen of this one.
    fn move_on(&mut self, now: Duration) {
        let over = |shown: &Shown| shown.ended.is_some_and(|since| now.saturating_sub(since) >= LINGER);
        if self.answering.is_some() || matches!(self.over, Over::Interrupted) {
            return;
        }
        if self.shown.as_ref().is_none_or(over) {
            let next = self.waiting.values().min_by(|one, other| one.order().cmp(&other.order()));
            self.shown = next.map(|next| Shown {
                request: next.request.clone(),
                deadline: next.deadline,
                seen: None,
                ended: None,
            });
        }
    }

    /// Whoever was typing about the request is told that it came to nothing.
    fn interrupt(&mut self, what: &str) {
        if matches!(self.over, Over::Prompt(_)) {
            self.over = Over::Interrupted;
            self.say(Tone::Bad, &format!("{what}: nothing was sent"));
        }
    }

    fn lost(&mut self, why: String) -> Option<Act> {
        self.interrupt("the daemon is gone");
        self.waiting.clear();
        self.shown = None;
        self.lost = Some(why);
        None
    }

    fn changed(&mut self, request: Request, now: Duration) -> Option<Act> {
        let deadline = now + Duration::from_millis(request.left_ms);
        let is_pending = request.state == RequestState::Pending;
        if is_pending {
            let skipped = self.waiting.get(&request.id).map_or(0, |waiting| waiting.skipped);
            self.waiting.insert(request.id.clone(), Waiting { request: request.clone(), deadline, skipped });
        } else {
            self.waiting.remove(&request.id);
        }
        let shown = self.shown.as_mut().filter(|shown| shown.request.id == request.id)?;
        if is_pending {
            let left_ms = shown.request.left_ms;
            if (Request { left_ms, ..request.clone() }) != shown.request {
                shown.seen = None;
            }
            (shown.deadline, shown.ended) = (deadline, None);
        } else {
            shown.ended.get_or_insert(now);
        }
        shown.request = request;
        if !is_pending {
            self.interrupt("it waits no longer");
        }
        None
    }

    fn answered(&mut self, request: Request, now: Duration) -> Option<Act> {
        self.answering = None;
        let is_good = request.state == RequestState::Approved;
        self.say(if is_good { Tone::Good } else { Tone::Plain }, &answer::told(&request));
        self.shown = None;
        // What is heard of a daemon that is gone waits no longer.
        if self.lost.is_none() {
            let id = request.id.clone();
            self.changed(request, now);
            // It waits for others to say yes.
            self.put_off(&id);
        }
        None
    }

    fn put_off(&mut self, id: &str) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.skipped += 1;
        }
    }
}
