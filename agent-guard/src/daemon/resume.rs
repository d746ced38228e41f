//! Waking: who is sent SIGCONT after an answer, when, and for how long. A plan without clock and signals, which the
//! loop carries out.
//!
//! A SIGCONT can come before the stop that it is meant for, and be lost; a parent may have stopped itself because
//! its child did (`su`, `script`), and would wait for ever. So an answered process is looked after until its
//! answers are used, and its ancestors for [`ANCESTORS_NS`].

use std::collections::{BTreeMap, BTreeSet};

use crate::decision::Key;

/// How long ancestors are looked after, in nanoseconds.
const ANCESTORS_NS: u64 = 3_000_000_000;
/// Pauses between looks, in nanoseconds; the last one goes on.
const PAUSES_NS: [u64; 3] = [50_000_000, 100_000_000, 200_000_000];
/// After so many looks nothing is urgent any more: a process that is traced or frozen comes back when it can.
const URGENT: u32 = 50;
/// The pause from then on, in nanoseconds.
const PATIENT_NS: u64 = 1_000_000_000;

/// A stop may be on its way when its process is woken: it is woken once more after this time, in nanoseconds.
const AGAIN_NS: u64 = 200_000_000;

/// A process that was answered.
#[derive(Debug)]
struct Watch {
    /// Answers that may not have been used.
    keys: BTreeSet<Key>,
    /// Its ancestors inside the session.
    ancestors: Vec<u32>,
    ancestors_until_ns: u64,
    looks: u32,
    next_ns: u64,
}

/// What is to be looked at now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The process.
    pub(super) tgid: u32,
    /// Answers that may not have been used: while one is not, the process is woken if it is stopped.
    pub(super) keys: Vec<Key>,
    /// To be woken if they are stopped and ask nothing.
    pub(super) ancestors: Vec<u32>,
}

/// Everybody who was answered lately.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// Processes to be woken at the end of this turn.
    now: BTreeSet<u32>,
    /// When processes are to be woken once more.
    again: BTreeSet<(u64, u32)>,
    watched: BTreeMap<u32, Watch>,
}

impl Wakes {
    /// A process was answered: it is woken at the end of the turn, and looked after.
    pub(super) fn answered(&mut self, tgid: u32, keys: Vec<Key>, ancestors: Vec<u32>, now_ns: u64) {
        self.now.insert(tgid);
        let watch = self.watched.entry(tgid).or_insert(Watch {
            keys: BTreeSet::new(),
            ancestors: Vec::new(),
            ancestors_until_ns: 0,
            looks: 0,
            next_ns: 0,
        });
        watch.keys.extend(keys);
        watch.ancestors = ancestors;
        watch.ancestors_until_ns = now_ns + ANCESTORS_NS;
        watch.looks = 0;
        watch.next_ns = now_ns + PAUSES_NS[0];
    }

    /// A process is woken at the end of the turn, once however often this is said.
    pub(super) fn wake(&mut self, tgid: u32) {
        self.now.insert(tgid);
    }

    /// A process is woken at the end of the turn, and once more when a stop that was on its way has come.
    pub(super) fn wake_twice(&mut self, tgid: u32, now_ns: u64) {
        self.now.insert(tgid);
        self.again.insert((now_ns + AGAIN_NS, tgid));
    }

    /// Who is to be woken at the end of this turn.
    pub(super) fn take(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.now)
    }

    /// What is to be looked at now; whoever is to be woken once more by now is.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<Look> {
        let later = self.again.split_off(&(now_ns + 1, 0));
        self.now.extend(std::mem::replace(&mut self.again, later).into_iter().map(|(_, tgid)| tgid));
        let due = self.watched.iter_mut().filter(|(_, watch)| watch.next_ns <= now_ns);
        due.map(|(tgid, watch)| {
            watch.looks += 1;
            let pause = PAUSES_NS.get(watch.looks as usize).copied().unwrap_or(PAUSES_NS[PAUSES_NS.len() - 1]);
            watch.next_ns = now_ns + if watch.looks < URGENT { pause } else { PATIENT_NS };
            let ancestors = if now_ns <= watch.ancestors_until_ns { watch.ancestors.clone() } else { Vec::new() };
            Look { tgid: *tgid, keys: watch.keys.iter().copied().collect(), ancestors }
        })
        .collect()
    }

    /// An answer has been used, or is void: nobody waits for it any more.
    pub(super) fn settled(&mut self, key: Key) {
        if let Some(watch) = self.watched.get_mut(&key.task.tgid) {
            watch.keys.remove(&key);
        }
    }

    /// Forgets whoever needs no looking after any more.
    pub(super) fn forget(&mut self, now_ns: u64) {
        self.watched.retain(|_, watch| !watch.keys.is_empty() || now_ns <= watch.ancestors_until_ns);
    }

    /// When the next look is due.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let again = self.again.first().map(|(at_ns, _)| *at_ns);
        self.watched.values().map(|watch| watch.next_ns).chain(again).min()
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN_NS, ANCESTORS_NS, Wakes};
    use crate::decision::{Key, Task};

    const MS: u64 = 1_000_000;

    fn key(tid: u32) -> Key {
        Key { task: Task { tgid: 5, tid }, question: 7 }
    }

    #[test]
    fn several_answers_wake_a_process_once() {
        let mut wakes = Wakes::default();
        wakes.answered(5, vec![key(5)], vec![3], 0);
        wakes.answered(5, vec![key(6)], vec![3], 0);
        wakes.wake(5);
        assert_eq!(wakes.take().into_iter().collect::<Vec<_>>(), [5]);
        assert!(wakes.take().is_empty());
        assert_eq!(wakes.due(50 * MS)[0].keys, [key(5), key(6)]);
    }

    #[test]
    fn a_stop_that_comes_late_is_undone() {
        let mut wakes = Wakes::default();
        wakes.wake_twice(5, 0);
        assert_eq!(wakes.take().into_iter().collect::<Vec<_>>(), [5]);
        assert_eq!(wakes.next_ns(), Some(AGAIN_NS));
        assert!(wakes.due(AGAIN_NS - 1).is_empty() && wakes.take().is_empty());
        assert!(wakes.due(AGAIN_NS).is_empty());
        assert_eq!(wakes.take().into_iter().collect::<Vec<_>>(), [5]);
        assert_eq!(wakes.next_ns(), None, "once more is enough");
    }

    #[test]
    fn looks_are_taken_with_growing_pauses() {
        let mut wakes = Wakes::default();
        wakes.answered(5, vec![key(5)], Vec::new(), 0);
        let mut looks = Vec::new();
        for ms in 0..1000 {
            if !wakes.due(ms * MS).is_empty() {
                looks.push(ms);
            }
        }
        assert_eq!(looks, [50, 150, 350, 550, 750, 950]);
    }

    #[test]
    fn a_process_is_left_alone_once_its_answers_are_used_and_its_ancestors_have_had_their_time() {
        let mut wakes = Wakes::default();
        wakes.answered(5, vec![key(5)], vec![3, 2], 0);
        wakes.settled(key(5));
        wakes.forget(ANCESTORS_NS);
        let look = &wakes.due(ANCESTORS_NS)[0];
        assert_eq!((look.keys.len(), &look.ancestors[..]), (0, &[3, 2][..]));
        wakes.forget(ANCESTORS_NS + 1);
        assert_eq!(wakes.next_ns(), None);
    }

    #[test]
    fn ancestors_have_an_end_even_while_an_answer_waits() {
        let mut wakes = Wakes::default();
        wakes.answered(5, vec![key(5)], vec![3], 0);
        wakes.forget(ANCESTORS_NS + 1);
        let look = &wakes.due(ANCESTORS_NS + 1)[0];
        assert_eq!((look.keys.len(), look.ancestors.len()), (1, 0));
    }

    #[test]
    fn a_process_that_does_not_come_back_is_looked_at_patiently() {
        let mut wakes = Wakes::default();
        wakes.answered(5, vec![key(5)], Vec::new(), 0);
        let looks = (0..60_000).filter(|ms| !wakes.due(ms * MS).is_empty()).count();
        assert!(looks < 110, "{looks}");
    }
}
