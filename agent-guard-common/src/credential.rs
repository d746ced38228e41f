//! Credentials: the environments that they open, as the bits of a session that has touched one.
//!
//! Must not know what a credential is: policies label them.

use crate::limits::{CONDITIONS, LABELS};

/// Where a credential leads.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// What must not break.
    Production = 0,
    /// What is shown before it goes there.
    Staging = 1,
    /// What may break.
    Development = 2,
    /// Nobody has said: it may be any of them.
    Unknown = 3,
}

/// Whose touching of a credential counts.
#[repr(u16)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// That of any process of the session: processes share secrets by files and pipes.
    #[default]
    Session = 0,
    /// That of the process itself, and of those that it comes from.
    ProcessTree = 1,
}

/// In place of environments: what bears the label is no credential, whatever its name says.
pub const EXEMPT: u16 = 1 << 15;

/// Sets of environments that there are: as many as a session can have touched credentials of.
pub const SETS: usize = 1 << Environment::ALL.len();
/// The set of all.
pub const EVERY: u64 = SETS as u64 - 1;

/// What a session has touched is one word: in its lower half the set of environments, in its upper half how often that was
/// forgotten. What its tasks have touched is for each such round a set: of them, nobody has to be told that an operator
/// forgets. After so many rounds what counted in the first counts again, so that a task is rather taken to have touched
/// something than not.
const ROUNDS: u64 = u64::BITS as u64 / Environment::ALL.len() as u64;

/// Where a task notes what it touches in the present round of its session's word.
#[inline(always)]
const fn round(session: u64) -> u64 {
    (session >> 32) % ROUNDS * Environment::ALL.len() as u64
}

/// The set that a task has touched, of all that its word has, by its session's word.
#[inline(always)]
#[must_use]
pub const fn own(session: u64, task: u64) -> u64 {
    task >> round(session) & EVERY
}

/// The bits of a task's word that say that it touches a set, by its session's word.
#[inline(always)]
#[must_use]
pub const fn noted(session: u64, set: u64) -> u64 {
    (set & EVERY) << round(session)
}

/// The word of a session that has touched nothing, after one.
#[must_use]
pub const fn forgotten(session: u64) -> u64 {
    ((session >> 32) + 1) << 32
}

impl Environment {
    /// Every environment, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Production, Self::Staging, Self::Development, Self::Unknown];

    /// The name that policies and people use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
            Self::Unknown => "unknown",
        }
    }

    /// Its bit in a set.
    #[must_use]
    pub const fn bit(self) -> u16 {
        1 << self as u32
    }

    /// Those in a set, in order.
    pub fn of(set: u64) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |environment| set & u64::from(environment.bit()) != 0)
    }
}

/// The row of alternatives for a slot and a condition, by its number from 1 on. `None` for one out of range.
#[inline(always)]
#[must_use]
pub const fn condition_index(slot: u32, condition: u32) -> Option<u32> {
    if slot > 1 || condition == 0 || condition > CONDITIONS {
        return None;
    }
    Some(slot * CONDITIONS + condition - 1)
}

/// The word of a slot and a label that says what its objects are credentials of. `None` for one out of range.
#[inline(always)]
#[must_use]
pub const fn label_index(slot: u32, label: u32) -> Option<u32> {
    if slot > 1 || label >= LABELS { None } else { Some(slot * LABELS + label) }
}

#[cfg(test)]
mod tests {
    use super::{CONDITIONS, EVERY, Environment, ROUNDS, SETS, condition_index, forgotten, noted, own};

    #[test]
    fn a_set_holds_each_environment_once() {
        let all = Environment::ALL.iter().fold(0, |set, environment| set | u64::from(environment.bit()));
        assert_eq!(usize::try_from(all).unwrap(), SETS - 1);
        assert!(Environment::of(all).eq(Environment::ALL));
        assert!(Environment::of(0b100).eq([Environment::Development]));
    }

    #[test]
    fn what_a_task_has_touched_is_forgotten_with_its_session() {
        let mut session = 0b0011;
        let mut task = noted(session, 0b0001);
        assert_eq!(own(session, task), 0b0001);
        for round in 1..ROUNDS {
            session = forgotten(session | 0b1000);
            assert_eq!((session & EVERY, own(session, task)), (0, 0), "{round}");
            task |= noted(session, 0b0100);
            assert_eq!(own(session, task), 0b0100);
        }
        assert_eq!(own(forgotten(session), task), 0b0001, "rather too much than too little");
        assert_eq!(own(forgotten(u64::MAX), u64::MAX), EVERY);
    }

    #[test]
    fn rows_of_both_slots_follow_each_other() {
        assert_eq!((condition_index(0, 1), condition_index(1, 1)), (Some(0), Some(CONDITIONS)));
        assert_eq!(condition_index(1, CONDITIONS), Some(2 * CONDITIONS - 1));
        assert!(
            [condition_index(0, 0), condition_index(0, CONDITIONS + 1), condition_index(2, 1)]
                .iter()
                .all(Option::is_none)
        );
    }
}
