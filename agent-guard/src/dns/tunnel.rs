//! Names that may carry data: sessions that ask for very long ones, or for very many under one domain. Plain
//! bookkeeping: time comes in, and nothing follows from it here.
//!
//! It gives a hint, not a proof. What is registered as a domain is guessed from the name's form, without the list of
//! public suffixes: its last two labels, or three where the last has two bytes and the one before at most three
//! (`example.co.uk`). So the names of `t.co` are counted apart, and those of all who publish at `github.io` together.

use core::fmt;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use super::name::label_length;

/// Bytes of a label that names for people do not have.
const LONG_LABEL: usize = 52;
/// Different names under one domain that programs do not ask for within [`WINDOW_NS`].
const MANY: usize = 200;
/// The time within which names are counted, in nanoseconds.
const WINDOW_NS: u64 = 300 * 1_000_000_000;
/// The time between two alerts on one domain, in nanoseconds.
const QUIET_NS: u64 = 600 * 1_000_000_000;
/// Domains of one session that are watched, and so the alerts that it can cause within [`QUIET_NS`].
const DOMAINS: usize = 64;

/// What looks like a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// One label is very long.
    LongLabel,
    /// There are very many names.
    ManyNames,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongLabel => write!(f, "a label of more than {LONG_LABEL} bytes"),
            Self::ManyNames => {
                write!(f, "more than {MANY} different names within {} minutes", WINDOW_NS / 60_000_000_000)
            }
        }
    }
}

/// A session that may send data in names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Which one.
    pub session: u32,
    /// The domain that it would reach.
    pub domain: String,
    /// Why.
    pub sign: Sign,
}

/// What was asked for under one domain.
#[derive(Debug, Default)]
struct Domain {
    /// The names, as numbers that nobody outside can choose, and when they were last asked for.
    names: HashMap<u64, u64>,
    told_ns: Option<u64>,
}

impl Domain {
    fn is_quiet(&self, now_ns: u64) -> bool {
        self.told_ns.is_some_and(|told| now_ns < told.saturating_add(QUIET_NS))
    }

    /// Counts a name; whether there are too many.
    fn has_many(&mut self, name: u64, now_ns: u64) -> bool {
        self.names.insert(name, now_ns);
        if self.names.len() <= MANY {
            return false;
        }
        self.names.retain(|_, seen| now_ns < seen.saturating_add(WINDOW_NS));
        let many = self.names.len() > MANY;
        if many {
            // Counted anew, so that they never become more.
            self.names.clear();
        }
        many
    }
}

/// What all sessions have asked for lately.
#[derive(Debug, Default)]
pub struct Watch {
    sessions: HashMap<u32, HashMap<Box<str>, Domain>>,
    hashes: RandomState,
}

impl Watch {
    /// Takes notice of a name that a session asks for.
    pub fn saw(&mut self, session: u32, name: &str, now_ns: u64) -> Option<Alert> {
        let domain = registered(name);
        let domains = self.sessions.entry(session).or_default();
        if !domains.contains_key(domain) && domains.len() >= DOMAINS {
            make_room(domains, now_ns)?;
        }
        let watched = domains.entry(domain.into()).or_default();
        let many = watched.has_many(self.hashes.hash_one(name), now_ns);
        let sign = if name.split('.').any(|label| label_length(label) > LONG_LABEL) {
            Sign::LongLabel
        } else if many {
            Sign::ManyNames
        } else {
            return None;
        };
        if watched.is_quiet(now_ns) {
            return None;
        }
        watched.told_ns = Some(now_ns);
        Some(Alert { session, domain: domain.to_owned(), sign })
    }

    /// Forgets a session that has ended.
    pub fn forget(&mut self, session: u32) {
        self.sessions.remove(&session);
    }
}

/// Gives up the domain with the fewest names, which is the least suspicious. One that has been told of stays, or it
/// would be told of again; when all have been, nothing is given up.
fn make_room(domains: &mut HashMap<Box<str>, Domain>, now_ns: u64) -> Option<()> {
    let candidates = domains.iter().filter(|(_, domain)| !domain.is_quiet(now_ns));
    let least = candidates.min_by_key(|(_, domain)| domain.names.len())?.0.clone();
    domains.remove(&least).map(drop)
}

/// The part of a name that somebody has most likely registered.
fn registered(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), Some(before)) = (dots.next(), dots.next()) else { return name };
    let is_below_country = name.len() - last - 1 == 2 && label_length(&name[before + 1..last]) <= 3;
    let start = if is_below_country { dots.next() } else { Some(before) };
    start.map_or(name, |dot| &name[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::{Alert, DOMAINS, MANY, QUIET_NS, Sign, WINDOW_NS, Watch, registered};

    fn alert(session: u32, domain: &str, sign: Sign) -> Option<Alert> {
        Some(Alert { session, domain: domain.to_owned(), sign })
    }

    fn long(domain: &str) -> String {
        format!("{}.{domain}", "a".repeat(53))
    }

    #[test]
    fn a_domain_is_guessed_from_the_form_of_a_name() {
        let expected = [
            ("www.example.com", "example.com"),
            ("example.com", "example.com"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("x.com.au", "x.com.au"),
            ("a.bund.de", "bund.de"),
            ("localhost", "localhost"),
            (".", "."),
        ];
        for (name, domain) in expected {
            assert_eq!(registered(name), domain);
        }
    }

    #[test]
    fn a_long_label_is_told_and_one_that_only_looks_long_is_not() {
        let mut watch = Watch::default();
        assert_eq!(watch.saw(1, &format!("{}.example.com", "a".repeat(52)), 0), None);
        assert_eq!(watch.saw(1, &format!("{}.example.com", "\\000".repeat(52)), 0), None, "52 bytes, escaped");
        assert_eq!(watch.saw(1, &long("x.example.com"), 0), alert(1, "example.com", Sign::LongLabel));
    }

    #[test]
    fn very_many_names_under_one_domain_are_told_and_the_same_name_counts_once() {
        let mut watch = Watch::default();
        for round in 0..3 {
            for number in 0..MANY {
                assert_eq!(watch.saw(1, &format!("n{number}.t.example.com"), round), None);
            }
        }
        assert_eq!(watch.saw(1, "one-more.example.com", 9), alert(1, "example.com", Sign::ManyNames));
    }

    #[test]
    fn names_that_come_slowly_are_no_sign() {
        let mut watch = Watch::default();
        let step = WINDOW_NS / (MANY as u64 - 1);
        assert!((0..2000).all(|number| watch.saw(1, &format!("n{number}.example.com"), number * step).is_none()));
    }

    #[test]
    fn each_domain_of_each_session_is_told_once_in_ten_minutes() {
        let mut watch = Watch::default();
        assert!(watch.saw(1, &long("example.com"), 0).is_some());
        assert!(watch.saw(1, &long("example.com"), QUIET_NS - 1).is_none());
        assert!(watch.saw(2, &long("example.com"), 1).is_some(), "another session");
        assert!(watch.saw(1, &long("example.org"), 1).is_some(), "another domain");
        assert!(watch.saw(1, &long("example.com"), QUIET_NS).is_some(), "another time");
        watch.forget(1);
        assert!(watch.saw(1, &long("example.com"), QUIET_NS + 1).is_some());
    }

    #[test]
    fn other_domains_in_between_do_not_hide_a_tunnel() {
        let mut watch = Watch::default();
        let mut told = 0;
        // While it has a name as each of the others it may be the one that is given up, and begins anew.
        for number in 0..=MANY as u64 + 8 {
            told += usize::from(watch.saw(1, &format!("n{number}.example.com"), number).is_some());
            for other in 0..DOMAINS {
                assert!(watch.saw(1, &format!("www.other{}.com", other as u64 + number * 64), number).is_none());
            }
        }
        assert_eq!(told, 1);
    }

    #[test]
    fn memory_is_bounded_and_so_are_alerts() {
        let mut watch = Watch::default();
        let told = (0..10_000).filter(|number| watch.saw(1, &long(&format!("d{number}.com")), 0).is_some()).count();
        assert_eq!(told, DOMAINS);
        for number in 0..10_000_u64 {
            watch.saw(2, &format!("n{number}.example.com"), number);
            watch.saw(2, &format!("www.d{number}.com"), number);
        }
        assert!(watch.sessions.values().all(|domains| domains.len() <= DOMAINS));
        assert!(watch.sessions.values().flat_map(|domains| domains.values()).all(|domain| domain.names.len() <= MANY));
        assert_eq!(watch.saw(1, &long("late.com"), QUIET_NS), alert(1, "late.com", Sign::LongLabel));
    }
}
