//! What sessions have said of acts to come, until an act carries it or its time is over.
//!
//! It must not know what follows from that: nothing does, but that people read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Daemon;
use crate::api::authz::Scope;
use crate::api::{Refusal, types};
use crate::audit::{Entry, What};
use crate::decision::{Question, Ruling};
use crate::session::{Act, Intent, Said, SessionKey};
use crate::system::clock;

/// For how long an intent waits for its act, where nobody says.
const USUAL_SECONDS: u32 = 600;
/// The longest time that can be said.
const MOST_SECONDS: u32 = 3600;
/// Intents of one session that wait at one time.
const WAITING: usize = 16;

/// An intent that waits for its act.
#[derive(Debug)]
struct Declared {
    intent: Arc<Intent>,
    until_ns: u64,
    /// Whether more than one act may carry it.
    stays: bool,
}

/// The intents of all sessions, each session's in their order.
#[derive(Debug, Default)]
pub(super) struct Intents(BTreeMap<SessionKey, Vec<Declared>>);

impl Intents {
    /// Takes an intent, unless too many wait.
    fn declare(&mut self, session: SessionKey, declared: Declared, now_ns: u64) -> bool {
        let waiting = self.0.entry(session).or_default();
        waiting.retain(|other| other.until_ns > now_ns);
        let has_room = waiting.len() < WAITING;
        if has_room {
            waiting.push(declared);
        }
        has_room
    }

    /// What was said of an act: rather what names it than what is about anything, and the latest of that.
    fn find(&mut self, session: SessionKey, act: &Act, now_ns: u64) -> Option<Arc<Intent>> {
        let waiting = self.0.get_mut(&session)?;
        waiting.retain(|other| other.until_ns > now_ns);
        let of = |named: bool| move |other: &Declared| other.intent.said.covers.is_some() == named;
        let place = |named| waiting.iter().rposition(|other| of(named)(other) && other.intent.said.is_about(act));
        let place = place(true).or_else(|| place(false))?;
        let intent = Arc::clone(&waiting.get(place)?.intent);
        if !waiting.get(place)?.stays {
            waiting.remove(place);
        }
        Some(intent)
    }

    /// Forgets a session that has ended.
    pub(super) fn forget(&mut self, session: SessionKey) {
        self.0.remove(&session);
    }
}

impl Daemon {
    /// Takes what a guarded process says of an act to come.
    pub(super) fn declare(&mut self, scope: &Scope, body: types::IntentBody) -> Result<types::Intent, Refusal> {
        let types::IntentBody { why, alternatives, rollback, covers, seconds } = body;
        let limit = seconds.unwrap_or(USUAL_SECONDS);
        if !(1..=MOST_SECONDS).contains(&limit) {
            return Err(Refusal::Unacceptable(format!(
                "an intent is for {limit} seconds; expected 1 to {MOST_SECONDS}"
            )));
        }
        let said = Said { why, alternatives, rollback, covers }.checked();
        let said = said.map_err(|error| Refusal::Unacceptable(error.to_string()))?;
        let own = self.sessions.iter().find(|session| scope.covers(&session.stamp.id, session.stamp.uid));
        let stamp = own.map(|session| Arc::clone(&session.stamp));
        let stamp = stamp.ok_or_else(|| Refusal::Conflict("the session has ended".to_owned()))?;
        let now = clock::now();
        let intent = Arc::new(Intent { said, at: now.wall });
        let until_ns = now.monotonic_ns + u64::from(limit) * 1_000_000_000;
        let declared = Declared { intent: Arc::clone(&intent), until_ns, stays: seconds.is_some() };
        if !self.intents.declare(stamp.key, declared, now.monotonic_ns) {
            return Err(Refusal::Busy(format!("{WAITING} intents of this session wait for their acts already")));
        }
        let shown = super::view::intent(&intent);
        self.record(&Entry { session: Some(stamp), intent: Some(intent), ..Entry::new(now, What::IntentDeclared) });
        Ok(shown)
    }

    /// Adds to a question for people what was said of its act before.
    pub(super) fn with_intent(&mut self, mut question: Question) -> Question {
        if question.ruling != Ruling::Ask {
            return question;
        }
        // What the process itself has in its environment may be about something else.
        let own = question.act.intent.clone().filter(|intent| intent.said.is_about(&question.act));
        let find = || self.intents.find(question.session, &question.act, clock::monotonic_ns());
        let intent = own.or_else(find);
        if intent != question.act.intent {
            Arc::make_mut(&mut question.act).intent = intent;
        }
        question
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::{Declared, Intents, WAITING};
    use crate::session::{Intent, Said, SessionKey, example};

    const SESSION: SessionKey = SessionKey { slot: 1, serial: 7 };

    fn declared(why: &str, covers: Option<&str>, stays: bool) -> Declared {
        let said = Said { why: why.to_owned(), covers: covers.map(str::to_owned), ..Said::default() };
        Declared { intent: Arc::new(Intent { said, at: Timestamp::UNIX_EPOCH }), until_ns: 100, stays }
    }

    fn found(intents: &mut Intents, session: SessionKey, object: &str, now_ns: u64) -> Option<String> {
        intents.find(session, &example(object), now_ns).map(|intent| intent.said.why.clone())
    }

    #[test]
    fn the_next_act_that_it_is_about_carries_it_and_no_other() {
        let mut intents = Intents::default();
        for intent in [declared("any", None, false), declared("db", Some("/srv/db"), false)] {
            assert!(intents.declare(SESSION, intent, 0));
        }
        assert_eq!(found(&mut intents, SessionKey { serial: 8, ..SESSION }, "/srv/db", 1), None, "another session");
        assert_eq!(found(&mut intents, SESSION, "/srv/db/x", 1).as_deref(), Some("db"), "what names it goes first");
        assert_eq!(found(&mut intents, SESSION, "/srv/db/x", 1).as_deref(), Some("any"));
        assert_eq!(found(&mut intents, SESSION, "/srv/db/x", 1), None);
    }

    #[test]
    fn one_for_a_time_stays_until_that_is_over_and_the_latest_counts() {
        let mut intents = Intents::default();
        for intent in [declared("old", Some("/srv"), true), declared("new", Some("/srv"), true)] {
            assert!(intents.declare(SESSION, intent, 0));
        }
        for _ in 0..3 {
            assert_eq!(found(&mut intents, SESSION, "/srv/a", 99).as_deref(), Some("new"));
        }
        assert_eq!(found(&mut intents, SESSION, "/srv/a", 100), None);
    }

    #[test]
    fn few_wait_at_one_time() {
        let mut intents = Intents::default();
        for _ in 0..WAITING {
            assert!(intents.declare(SESSION, declared("x", None, false), 0));
        }
        assert!(!intents.declare(SESSION, declared("x", None, false), 99));
        assert!(intents.declare(SESSION, declared("x", None, false), 100), "those before are over");
        intents.forget(SESSION);
        assert_eq!(found(&mut intents, SESSION, "/x", 1), None);
    }
}
