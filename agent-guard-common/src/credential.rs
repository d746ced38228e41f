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

/// In place of environments: what bears the label is no credential, whatever its name says.
pub const EXEMPT: u16 = 1 << 15;

/// Sets of environments that there are: as many as a session can have touched credentials of.
pub const SETS: usize = 1 << Environment::ALL.len();

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
    use super::{CONDITIONS, Environment, SETS, condition_index};

    #[test]
    fn a_set_holds_each_environment_once() {
        let all = Environment::ALL.iter().fold(0, |set, environment| set | u64::from(environment.bit()));
        assert_eq!(usize::try_from(all).unwrap(), SETS - 1);
        assert!(Environment::of(all).eq(Environment::ALL));
        assert!(Environment::of(0b100).eq([Environment::Development]));
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
