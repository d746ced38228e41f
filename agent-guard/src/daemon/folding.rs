//! Refusals and audited acts that come by the thousand: what is beyond the first of a second becomes one record, with
//! their number, so that a tree cannot fill the disk with one act in a loop. Plain bookkeeping, without clock and file.
//!
//! Nothing is lost but detail. What was held, decided, passed or killed is never folded.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;

use crate::audit::{Entry, What};
use crate::session::Act;

/// The time within which records are counted, in nanoseconds.
const WINDOW_NS: u64 = 1_000_000_000;
/// Records of one window that tell the same of the same object, before further ones are only counted.
const ALIKE: u64 = 100;
/// Refusals of one window that tell the same of any object, before further ones are only counted: names cost nothing. Of
/// acts that pass each object is on record, as they have happened.
const REFUSALS: u64 = 1000;
/// Objects that are counted by themselves.
const OBJECTS: usize = 4096;

/// Records that tell the same.
#[derive(Debug, Default)]
struct Fold {
    count: u64,
    /// The last of those that are only counted.
    last: Option<Entry>,
}

impl Fold {
    /// Counts a record; whether it is one of the first.
    fn is_early(&mut self, most: u64) -> bool {
        self.count += 1;
        self.count <= most
    }

    /// Counts a record that is not written.
    fn add(&mut self, entry: &Entry) {
        let before = self.last.as_ref().map_or(0, |last| last.times.unwrap_or(1));
        // Of many acts there are many questions.
        self.last = Some(Entry { times: (before > 0).then_some(before + 1), question: None, ..entry.clone() });
    }
}

/// What was recorded in this window, by what it tells.
#[derive(Debug, Default)]
pub(super) struct Folding {
    begun_ns: u64,
    /// With the object.
    alike: HashMap<u64, Fold>,
    /// Whatever the object.
    refusals: HashMap<u64, Fold>,
    hashes: RandomState,
}

impl Folding {
    /// Whether a record is to be written; otherwise it has been counted, and [`Self::due`] has it.
    pub(super) fn take(&mut self, entry: &Entry) -> bool {
        let (What::Refused | What::Audited, Some(act)) = (entry.what, &entry.act) else { return true };
        if self.alike.is_empty() && self.refusals.is_empty() {
            self.begun_ns = entry.now.monotonic_ns;
        }
        if entry.what == What::Refused {
            let fold = self.refusals.entry(self.key(entry, act, false)).or_default();
            if !fold.is_early(REFUSALS) {
                fold.add(entry);
                return false;
            }
        }
        let key = self.key(entry, act, true);
        if self.alike.len() >= OBJECTS && !self.alike.contains_key(&key) {
            return true;
        }
        let fold = self.alike.entry(key).or_default();
        let early = fold.is_early(ALIKE);
        if !early {
            fold.add(entry);
        }
        early
    }

    /// The records of what was only counted, once the window is over; each has the time and the process of its last one.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<Entry> {
        if now_ns < self.begun_ns.saturating_add(WINDOW_NS) {
            return Vec::new();
        }
        let folds = self.alike.drain().chain(self.refusals.drain());
        let mut due: Vec<Entry> = folds.filter_map(|(_, fold)| fold.last).collect();
        due.sort_by_key(|entry| entry.now.monotonic_ns);
        due
    }

    /// What a record tells, as a number that nobody outside can choose.
    fn key(&self, entry: &Entry, act: &Arc<Act>, with_object: bool) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        (entry.what, &entry.reason, act.session.as_ref().map(|stamp| stamp.key)).hash(&mut hasher);
        (act.operation.name(), &act.label, &act.rule.name).hash(&mut hasher);
        if with_object {
            (&act.object, &act.other).hash(&mut hasher);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_guard_common::operation::Operation;
    use agent_guard_common::verdict::Tier;
    use jiff::Timestamp;

    use super::{ALIKE, Folding, OBJECTS, REFUSALS, WINDOW_NS};
    use crate::audit::{Entry, Now, What};
    use crate::session::{Act, Rule, SessionKey, Stamp, plain};

    fn entry(what: What, serial: u64, object: &str, at_ns: u64) -> Entry {
        let stamp = Stamp {
            id: serial.to_string(),
            name: String::new(),
            profile: String::new(),
            uid: 0,
            key: SessionKey { slot: 1, serial },
        };
        let act = Act {
            session: Some(Arc::new(stamp)),
            operation: Operation::Delete,
            object: object.to_owned(),
            other: None,
            cut: false,
            label: "data".to_owned(),
            rule: Rule::named("keep"),
            tier: Tier::Gated,
            process: plain(1, 1, 0, String::new()),
            impact: None,
            sent: None,
            intent: None,
        };
        let now = Now { monotonic_ns: at_ns, wall: Timestamp::UNIX_EPOCH };
        Entry { act: Some(Arc::new(act)), question: Some(at_ns), ..Entry::new(now, what) }
    }

    /// How many of so many records about one object are written.
    fn written(folding: &mut Folding, what: What, count: u64) -> u64 {
        (0..count).filter(|at_ns| folding.take(&entry(what, 1, "/x", *at_ns))).count() as u64
    }

    #[test]
    fn what_is_beyond_the_first_hundred_becomes_one_record_when_the_second_is_over() {
        for what in [What::Refused, What::Audited] {
            let mut folding = Folding::default();
            assert_eq!(written(&mut folding, what, ALIKE + 7), ALIKE);
            assert!(folding.due(WINDOW_NS - 1).is_empty());
            let due = folding.due(WINDOW_NS);
            assert_eq!(due.len(), 1);
            assert_eq!((due[0].what, due[0].times, due[0].question), (what, Some(7), None));
            assert_eq!(due[0].now.monotonic_ns, ALIKE + 6, "the last one's time");
            assert!(folding.due(u64::MAX).is_empty());
            assert_eq!(written(&mut folding, what, ALIKE), ALIKE, "another second");
        }
    }

    #[test]
    fn a_record_that_stands_for_one_act_says_nothing_of_times() {
        let mut folding = Folding::default();
        assert_eq!(written(&mut folding, What::Refused, ALIKE + 1), ALIKE);
        assert_eq!(folding.due(WINDOW_NS)[0].times, None);
    }

    #[test]
    fn what_was_held_decided_passed_or_killed_is_never_folded() {
        for what in [What::Held, What::Decided, What::Passed, What::Killed, What::StartCheck] {
            assert_eq!(written(&mut Folding::default(), what, 3 * REFUSALS), 3 * REFUSALS, "{what:?}");
        }
    }

    #[test]
    fn what_tells_something_else_is_counted_by_itself() {
        let mut folding = Folding::default();
        assert_eq!(written(&mut folding, What::Refused, ALIKE), ALIKE);
        let reason = Some("too deep".to_owned());
        let others = [
            entry(What::Refused, 2, "/x", 1),
            entry(What::Refused, 1, "/y", 1),
            entry(What::Audited, 1, "/x", 1),
            Entry { reason, ..entry(What::Refused, 1, "/x", 1) },
        ];
        assert!(others.iter().all(|other| folding.take(other)));
        assert!(!folding.take(&entry(What::Refused, 1, "/x", 1)));
    }

    #[test]
    fn refusals_with_ever_new_names_are_folded_and_acts_that_passed_are_not() {
        let mut folding = Folding::default();
        let mut taken = |what, count: u64| {
            let is_taken = |number: &u64| folding.take(&entry(what, 1, &number.to_string(), 0));
            (0..count).filter(is_taken).count() as u64
        };
        assert_eq!(taken(What::Refused, 3 * REFUSALS), REFUSALS);
        assert_eq!(taken(What::Audited, 2 * OBJECTS as u64), 2 * OBJECTS as u64);
        let due = folding.due(u64::MAX);
        assert_eq!((due.len(), due[0].times), (1, Some(2 * REFUSALS)));
    }
}
