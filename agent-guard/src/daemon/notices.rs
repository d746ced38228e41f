//! Notices: what a session's user reads while it runs, each session's in a queue of its own until its keeper comes.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;

use crate::api::types::Notice;
use crate::session::SessionKey;

/// Notices of one session that may wait. More than that nobody reads: the audit log has them all.
const WAITING: usize = 256;

/// The queue of one session.
#[derive(Debug, Default)]
struct Queue {
    keeper: Option<mpsc::Sender<Notice>>,
    waiting: VecDeque<Notice>,
}

/// The queues of all sessions.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<SessionKey, Queue>);

impl Notices {
    /// Tells a session's keeper, or keeps it for when one comes.
    pub(super) fn tell(&mut self, session: SessionKey, notice: Notice) {
        let queue = self.0.entry(session).or_default();
        if let Some(keeper) = &queue.keeper {
            match keeper.try_send(notice) {
                // A keeper that does not read misses what it does not read.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                Err(mpsc::error::TrySendError::Closed(notice)) => {
                    queue.keeper = None;
                    queue.waiting.push_back(notice);
                }
            }
        } else if queue.waiting.len() < WAITING {
            queue.waiting.push_back(notice);
        }
    }

    /// A keeper listens: it gets what has waited, and all that comes.
    pub(super) fn listen(&mut self, session: SessionKey) -> mpsc::Receiver<Notice> {
        let queue = self.0.entry(session).or_default();
        let (keeper, notices) = mpsc::channel(2 * WAITING);
        // There is room for all that can have waited.
        queue.waiting.drain(..).for_each(|notice| drop(keeper.try_send(notice)));
        queue.keeper = Some(keeper);
        notices
    }

    /// The session has ended: its keeper hears this last word.
    pub(super) fn end(&mut self, session: SessionKey, last: Notice) {
        self.tell(session, last);
        self.0.remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use super::{Notices, WAITING};
    use crate::api::types::{Notice, NoticeKind};
    use crate::session::SessionKey;

    const SESSION: SessionKey = SessionKey { slot: 1, serial: 2 };

    fn notice(pid: u32) -> Notice {
        Notice { kind: NoticeKind::Held, pid: Some(pid), request: None, operation: None, object: None, reason: None }
    }

    #[test]
    fn a_keeper_hears_what_came_before_it_listened() {
        let mut notices = Notices::default();
        notices.tell(SESSION, notice(1));
        let mut heard = notices.listen(SESSION);
        notices.tell(SESSION, notice(2));
        notices.end(SESSION, notice(3));
        let pids: Vec<Option<u32>> = std::iter::from_fn(|| heard.try_recv().ok()).map(|notice| notice.pid).collect();
        assert_eq!(pids, [Some(1), Some(2), Some(3)]);
        assert!(heard.is_closed());
    }

    #[test]
    fn what_nobody_reads_is_bounded() {
        let mut notices = Notices::default();
        for pid in 0..10_000 {
            notices.tell(SESSION, notice(pid));
        }
        let mut heard = notices.listen(SESSION);
        for pid in 0..10_000 {
            notices.tell(SESSION, notice(pid));
        }
        let count = std::iter::from_fn(|| heard.try_recv().ok()).count();
        assert_eq!(count, 2 * WAITING);
    }

    #[test]
    fn a_keeper_that_is_gone_can_come_back() {
        let mut notices = Notices::default();
        drop(notices.listen(SESSION));
        notices.tell(SESSION, notice(1));
        assert_eq!(notices.listen(SESSION).try_recv().ok(), Some(notice(1)));
    }
}
