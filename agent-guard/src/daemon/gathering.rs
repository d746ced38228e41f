//! Questions that are being completed, and how much of the readers' time each session may take. Plain bookkeeping:
//! it must not know how a question is completed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::decision::{Key, PENDING, PENDING_OF_SESSION, Task};
use crate::session::SessionKey;

/// Examinations of one session at one time. A process can let its reader wait (its memory may be a file of its own
/// file system), so a reader keeps its seat until it is back.
const SEATS: usize = 4;

/// All questions that are being completed.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// The question of each thread, and its session.
    questions: BTreeMap<Task, (u64, SessionKey)>,
    seats: BTreeMap<SessionKey, Arc<Semaphore>>,
}

impl Gathering {
    /// Whether this question is being completed.
    pub(super) fn has(&self, key: Key) -> bool {
        self.questions.get(&key.task).is_some_and(|(question, _)| *question == key.question)
    }

    /// Takes a question up; its session's seats, or none when too many are being completed.
    pub(super) fn begin(&mut self, key: Key, session: SessionKey) -> Option<Arc<Semaphore>> {
        let of_session = self.questions.values().filter(|(_, of)| *of == session).count();
        if self.questions.len() >= PENDING || of_session >= PENDING_OF_SESSION {
            return None;
        }
        self.questions.insert(key.task, (key.question, session));
        // Whoever sits or waits for a seat holds on to all of its session's.
        self.seats.retain(|_, seats| Arc::strong_count(seats) > 1);
        let seats = self.seats.entry(session).or_insert_with(|| Arc::new(Semaphore::new(SEATS)));
        Some(Arc::clone(seats))
    }

    /// Lays a question aside; whether it was still being completed.
    pub(super) fn end(&mut self, key: Key) -> bool {
        let known = self.has(key);
        if known {
            self.questions.remove(&key.task);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Gathering, PENDING_OF_SESSION, SEATS};
    use crate::decision::{Key, Task};
    use crate::session::SessionKey;

    const fn session(slot: u32) -> SessionKey {
        SessionKey { slot, serial: 7 }
    }

    const fn key(tid: u32, question: u64) -> Key {
        Key { task: Task { tgid: 5, tid }, question }
    }

    #[test]
    fn no_session_takes_the_places_of_all_others() {
        let mut gathering = Gathering::default();
        for tid in 0..PENDING_OF_SESSION {
            assert!(gathering.begin(key(u32::try_from(tid).expect("is small"), 1), session(1)).is_some());
        }
        assert!(gathering.begin(key(u32::MAX, 1), session(1)).is_none());
        assert!(gathering.begin(key(u32::MAX, 1), session(2)).is_some());
    }

    #[test]
    fn a_thread_that_asks_something_else_is_not_confused_with_what_it_asked() {
        let mut gathering = Gathering::default();
        assert!(gathering.begin(key(5, 1), session(1)).is_some());
        assert!(gathering.begin(key(5, 2), session(1)).is_some());
        assert!(!gathering.end(key(5, 1)) && gathering.has(key(5, 2)));
        assert!(gathering.end(key(5, 2)) && !gathering.end(key(5, 2)));
    }

    #[test]
    fn a_reader_that_does_not_come_back_keeps_its_seat() {
        let mut gathering = Gathering::default();
        let seats = gathering.begin(key(5, 1), session(1)).expect("has room");
        let gone: Vec<_> = (0..SEATS).map(|_| Arc::clone(&seats).try_acquire_owned().expect("is free")).collect();
        drop(seats);
        let seats = gathering.begin(key(5, 2), session(1)).expect("has room");
        assert_eq!(seats.available_permits(), 0);
        drop((seats, gone));
        assert_eq!(gathering.begin(key(5, 3), session(1)).expect("has room").available_permits(), SEATS);
    }
}
