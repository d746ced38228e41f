//! Which names each session has learnt for which address. Plain bookkeeping: time comes in, and nothing is asked for.
//!
//! An address that a session has heard of stays known for a while after its record has ended, as programs go on using
//! it. It must not know what follows from a name.

use core::cmp::Reverse;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::answer::Heard;

/// Names of one address. Of more, those that were learnt last are kept.
const NAMES: usize = 8;
/// Addresses of one session. Of more, the one whose names end first goes.
const ADDRESSES: usize = 4096;
/// A name is kept so much longer than it was promised for: the same answer again changes nothing meanwhile.
const SPARE_NS: u64 = 60 * 1_000_000_000;
/// A name holds at least as long: connections are made long after a name was looked up.
const LEAST_SECONDS: u64 = 600;
/// A name holds at most as long, as in resolvers (RFC 8767, section 4: a week).
const MOST_SECONDS: u64 = 7 * 24 * 3600;

/// A name of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// The name.
    pub name: Arc<str>,
    /// When it is forgotten.
    pub until_ns: u64,
}

/// An address that has changed, with all its names; it is forgotten when there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who knows it.
    pub session: u32,
    /// The address, of IPv4 where it is one in the clothes of IPv6.
    pub address: IpAddr,
    /// Its names, the one that was learnt last first.
    pub names: Vec<Naming>,
}

/// What all sessions know.
#[derive(Debug, Default)]
pub struct Known {
    sessions: BTreeMap<u32, Addresses>,
}

/// What one session knows. The two orders have each address once.
#[derive(Debug, Default)]
struct Addresses {
    names: HashMap<IpAddr, Vec<Naming>>,
    /// By when an address loses its next name.
    by_next: BTreeSet<(u64, IpAddr)>,
    /// By when an address has lost all.
    by_end: BTreeSet<(u64, IpAddr)>,
    /// Addresses whose names may not have reached those who rely on them.
    untold: BTreeSet<IpAddr>,
}

impl Addresses {
    /// Whether an address is known until then by these names, learnt last.
    fn promises(&self, address: IpAddr, names: &[Arc<str>], until_ns: u64) -> bool {
        let held = self.names.get(&address).and_then(|held| held.get(..names.len()));
        let holds = |(naming, name): (&Naming, &Arc<str>)| naming.name == *name && naming.until_ns >= until_ns;
        held.is_some_and(|held| held.iter().zip(names).all(holds)) && !self.untold.contains(&address)
    }

    /// Takes an address out, with its names.
    fn take(&mut self, address: IpAddr) -> Vec<Naming> {
        self.untold.remove(&address);
        let names = self.names.remove(&address).unwrap_or_default();
        if let Some((next, end)) = span(&names) {
            self.by_next.remove(&(next, address));
            self.by_end.remove(&(end, address));
        }
        names
    }

    /// Puts an address back, if it has names.
    fn put(&mut self, address: IpAddr, names: Vec<Naming>) {
        if let Some((next, end)) = span(&names) {
            self.by_next.insert((next, address));
            self.by_end.insert((end, address));
            self.names.insert(address, names);
        }
    }

    /// Makes room for one address, at the cost of one that is not among those that must stay.
    fn make_room(&mut self, stay: &BTreeMap<IpAddr, u64>) -> Option<IpAddr> {
        if self.names.len() < ADDRESSES {
            return None;
        }
        let (_, address) = *self.by_end.iter().find(|(_, address)| !stay.contains_key(address))?;
        self.take(address);
        Some(address)
    }
}

/// When the first and when the last of the names ends.
fn span(names: &[Naming]) -> Option<(u64, u64)> {
    let ends = || names.iter().map(|naming| naming.until_ns);
    ends().min().zip(ends().max())
}

impl Known {
    /// Learns what a session hears; what has changed by that, those that had to go first. Whoever cannot pass it on says so
    /// with [`Known::not_told`].
    pub fn learn(&mut self, session: u32, heard: &Heard, now_ns: u64) -> Vec<Entry> {
        let names = chosen(&heard.names);
        let mut fresh = BTreeMap::new();
        for (address, seconds) in &heard.addresses {
            let seconds = u64::from(*seconds).clamp(LEAST_SECONDS, MOST_SECONDS);
            let until_ns = now_ns.saturating_add(seconds * 1_000_000_000);
            let latest = fresh.entry(address.to_canonical()).or_insert(until_ns);
            *latest = until_ns.max(*latest);
        }
        let known = self.sessions.entry(session).or_default();
        let (mut gone, mut learnt) = (Vec::new(), Vec::new());
        for (address, until_ns) in &fresh {
            if known.promises(*address, &names, *until_ns) {
                continue;
            }
            let mut held = known.take(*address);
            held.retain(|naming| naming.until_ns > now_ns);
            if held.is_empty() {
                gone.extend(known.make_room(&fresh).map(|address| Entry { session, address, names: Vec::new() }));
            }
            let names = renewed(held, &names, until_ns.saturating_add(SPARE_NS));
            learnt.push(Entry { session, address: *address, names: names.clone() });
            known.put(*address, names);
        }
        gone.append(&mut learnt);
        gone
    }

    /// Tells that what was learnt of some addresses may not have been passed on: their next answer changes them again.
    pub fn not_told(&mut self, session: u32, heard: &Heard) {
        let known = self.sessions.entry(session).or_default();
        known.untold.extend(heard.addresses.iter().map(|(address, _)| address.to_canonical()));
    }

    /// The names that a session knows an address by, the one that was learnt last first.
    pub fn names(&self, session: u32, address: IpAddr, now_ns: u64) -> impl Iterator<Item = &str> {
        let held = self.sessions.get(&session).and_then(|known| known.names.get(&address.to_canonical()));
        held.into_iter().flatten().filter(move |naming| naming.until_ns > now_ns).map(|naming| &*naming.name)
    }

    /// Forgets a session that has ended.
    pub fn forget(&mut self, session: u32) {
        self.sessions.remove(&session);
    }

    /// Forgets names whose time is over; the addresses that have lost one, with those that they still have.
    ///
    /// An address that keeps another name is told as well: what the lost one allowed must not outlive it.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Entry> {
        let mut changed = Vec::new();
        for (session, known) in &mut self.sessions {
            while let Some((_, address)) = known.by_next.first().copied().filter(|(next, _)| *next <= now_ns) {
                let mut names = known.take(address);
                names.retain(|naming| naming.until_ns > now_ns);
                changed.push(Entry { session: *session, address, names: names.clone() });
                known.put(address, names);
            }
        }
        self.sessions.retain(|_, known| !known.names.is_empty());
        changed
    }

    /// Everything that is known.
    pub fn all(&self) -> impl Iterator<Item = Entry> {
        self.sessions.iter().flat_map(|(session, known)| {
            let entry = |(address, names): (&IpAddr, &Vec<Naming>)| Entry {
                session: *session,
                address: *address,
                names: names.clone(),
            };
            known.names.iter().map(entry)
        })
    }

    /// Knows again what was kept elsewhere: session, address, and one of its names. Their order does not matter.
    pub fn restore(&mut self, kept: impl IntoIterator<Item = (u32, IpAddr, Naming)>) {
        for (session, address, naming) in kept {
            let address = address.to_canonical();
            let known = self.sessions.entry(session).or_default();
            let mut names = known.take(address);
            if names.is_empty() {
                known.make_room(&BTreeMap::new());
            }
            names.retain(|held| held.name != naming.name || held.until_ns > naming.until_ns);
            if names.iter().all(|held| held.name != naming.name) {
                names.push(naming);
            }
            // What holds longest was most likely learnt last.
            names.sort_by_key(|naming| Reverse(naming.until_ns));
            names.truncate(NAMES);
            known.put(address, names);
        }
    }
}

/// The names of a chain that are kept: of a long one the one that was asked for, and those next to the address.
fn chosen(names: &[String]) -> Vec<Arc<str>> {
    let (head, tail) = names.split_at(names.len().min(1));
    let tail = &tail[tail.len().saturating_sub(NAMES - 1)..];
    head.iter().chain(tail).map(|name| Arc::from(name.as_str())).collect()
}

/// The names of an address after it was heard of by some. A name that held longer goes on doing so.
fn renewed(held: Vec<Naming>, heard: &[Arc<str>], until_ns: u64) -> Vec<Naming> {
    let before = |name: &str| held.iter().find(|naming| &*naming.name == name).map_or(0, |naming| naming.until_ns);
    let mut names: Vec<Naming> =
        heard.iter().map(|name| Naming { name: Arc::clone(name), until_ns: until_ns.max(before(name)) }).collect();
    names.extend(held.into_iter().filter(|naming| !heard.contains(&naming.name)));
    names.truncate(NAMES);
    names
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::sync::Arc;

    use super::{ADDRESSES, Entry, Heard, Known, NAMES, Naming, SPARE_NS};

    const SECOND: u64 = 1_000_000_000;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn heard(names: &[&str], addresses: &[(IpAddr, u32)]) -> Heard {
        Heard { names: names.iter().map(|name| (*name).to_owned()).collect(), addresses: addresses.to_vec() }
    }

    fn names(known: &Known, session: u32, address: &str, now_ns: u64) -> Vec<String> {
        known.names(session, ip(address), now_ns).map(str::to_owned).collect()
    }

    fn shown(entry: &Entry) -> (u32, IpAddr, Vec<&str>) {
        (entry.session, entry.address, entry.names.iter().map(|naming| &*naming.name).collect())
    }

    #[test]
    fn an_address_has_all_names_of_its_chain_in_that_session_only() {
        let mut known = Known::default();
        let learnt = known.learn(1, &heard(&["www.x", "cdn.y"], &[(ip("192.0.2.1"), 30)]), 0);
        assert_eq!(shown(&learnt[0]), (1, ip("192.0.2.1"), vec!["www.x", "cdn.y"]));
        assert_eq!(names(&known, 1, "192.0.2.1", 1), ["www.x", "cdn.y"]);
        assert!(names(&known, 2, "192.0.2.1", 1).is_empty());
    }

    #[test]
    fn a_name_holds_ten_minutes_or_as_long_as_its_record_but_not_for_ever() {
        let mut known = Known::default();
        let times = [(ip("192.0.2.1"), 0), (ip("192.0.2.2"), 900), (ip("192.0.2.3"), u32::MAX)];
        let learnt = known.learn(1, &heard(&["x"], &times), 7);
        let ends: Vec<_> = learnt.iter().map(|entry| entry.names[0].until_ns).collect();
        assert_eq!(ends, [600, 900, 604_800].map(|seconds| seconds * SECOND + SPARE_NS + 7));
        assert_eq!(names(&known, 1, "192.0.2.1", ends[0] - 1), ["x"]);
        assert!(names(&known, 1, "192.0.2.1", ends[0]).is_empty(), "before anybody expired it");
    }

    #[test]
    fn the_same_answer_again_changes_nothing_while_it_is_promised() {
        let mut known = Known::default();
        let (answer, address) = (heard(&["x", "y"], &[(ip("192.0.2.1"), 700)]), [(ip("192.0.2.1"), 700)]);
        known.learn(1, &answer, 0);
        assert!(known.learn(1, &answer, SPARE_NS).is_empty());
        assert!(known.learn(1, &heard(&["x"], &address), 0).is_empty(), "the end of a chain may be left out");
        assert_eq!(known.learn(1, &answer, SPARE_NS + 1).len(), 1, "it would end before its record");
        assert_eq!(known.learn(1, &heard(&["y"], &address), SPARE_NS).len(), 1, "another was learnt last");
        assert_eq!(known.learn(1, &heard(&["x", "z"], &address), SPARE_NS).len(), 1);
        assert_eq!(known.learn(2, &answer, 0).len(), 1, "another session");
    }

    #[test]
    fn what_did_not_reach_those_who_rely_on_it_changes_again() {
        let mut known = Known::default();
        let answer = heard(&["x"], &[(ip("::ffff:192.0.2.1"), 30)]);
        known.learn(1, &answer, 0);
        known.not_told(1, &answer);
        assert_eq!(known.learn(1, &answer, 0).len(), 1);
        assert!(known.learn(1, &answer, 0).is_empty(), "told now");
    }

    #[test]
    fn ipv4_in_the_clothes_of_ipv6_is_the_same_address() {
        let mut known = Known::default();
        let learnt = known.learn(1, &heard(&["x"], &[(ip("::ffff:192.0.2.1"), 0), (ip("192.0.2.1"), 900)]), 0);
        assert_eq!(learnt.len(), 1);
        assert_eq!(learnt[0].names[0].until_ns, 900 * SECOND + SPARE_NS, "the longer of both");
        assert_eq!(names(&known, 1, "::ffff:192.0.2.1", 1), names(&known, 1, "192.0.2.1", 1));
    }

    #[test]
    fn the_names_learnt_last_are_kept_and_renewed_ones_count_as_such() {
        let mut known = Known::default();
        for number in 0..NAMES as u64 {
            known.learn(1, &heard(&[&format!("n{number}")], &[(ip("192.0.2.1"), 0)]), number);
        }
        known.learn(1, &heard(&["n0"], &[(ip("192.0.2.1"), 0)]), 10);
        known.learn(1, &heard(&["new"], &[(ip("192.0.2.1"), 0)]), 11);
        let kept = names(&known, 1, "192.0.2.1", 12);
        assert_eq!(kept.len(), NAMES);
        assert_eq!(kept[..2], ["new", "n0"]);
        assert!(!kept.contains(&"n1".to_owned()));
    }

    #[test]
    fn of_a_long_chain_the_question_and_the_end_are_kept() {
        let chain: Vec<String> = (0..17).map(|number| format!("n{number}")).collect();
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        let mut known = Known::default();
        known.learn(1, &heard(&chain, &[(ip("192.0.2.1"), 0)]), 0);
        assert_eq!(names(&known, 1, "192.0.2.1", 1), ["n0", "n10", "n11", "n12", "n13", "n14", "n15", "n16"]);
    }

    #[test]
    fn a_shorter_record_does_not_shorten_what_a_longer_one_promised() {
        let mut known = Known::default();
        known.learn(1, &heard(&["x"], &[(ip("192.0.2.1"), 3600)]), 0);
        known.learn(1, &heard(&["x"], &[(ip("192.0.2.1"), 0)]), SECOND);
        assert_eq!(names(&known, 1, "192.0.2.1", 3600 * SECOND), ["x"]);
    }

    #[test]
    fn an_address_that_loses_a_name_is_told_with_those_it_still_has() {
        let mut known = Known::default();
        known.learn(1, &heard(&["long"], &[(ip("192.0.2.1"), 3600)]), 0);
        known.learn(1, &heard(&["short"], &[(ip("192.0.2.1"), 0), (ip("192.0.2.2"), 0)]), 0);
        assert!(known.expire(600 * SECOND + SPARE_NS - 1).is_empty());
        let changed = known.expire(600 * SECOND + SPARE_NS);
        assert_eq!(
            changed.iter().map(shown).collect::<Vec<_>>(),
            [(1, ip("192.0.2.1"), vec!["long"]), (1, ip("192.0.2.2"), vec![])]
        );
        assert!(known.expire(600 * SECOND + SPARE_NS).is_empty(), "told once");
        assert_eq!(known.expire(u64::MAX).len(), 1);
        assert!(known.sessions.is_empty());
    }

    #[test]
    fn a_full_session_loses_what_ends_first_and_says_so() {
        let mut known = Known::default();
        let address = |number: u32| IpAddr::from(Ipv4Addr::from_bits(number));
        for number in 0..ADDRESSES as u32 {
            known.learn(1, &heard(&["x"], &[(address(number), 10_000 - number)]), 0);
        }
        let changed = known.learn(1, &heard(&["y"], &[(ip("2001:db8::1"), 0), (ip("2001:db8::2"), 0)]), 1);
        let (last, before) = (ADDRESSES as u32 - 1, ADDRESSES as u32 - 2);
        assert_eq!(
            changed.iter().map(shown).collect::<Vec<_>>(),
            [
                (1, address(last), vec![]),
                (1, address(before), vec![]),
                (1, ip("2001:db8::1"), vec!["y"]),
                (1, ip("2001:db8::2"), vec!["y"]),
            ],
            "and never what came with the same answer"
        );
        assert_eq!(known.all().count(), ADDRESSES);
        known.learn(2, &heard(&["x"], &[(address(1), 0)]), 0);
        assert_eq!(known.all().count(), ADDRESSES + 1, "each session has its own room");
    }

    #[test]
    fn what_was_kept_is_known_again_whatever_its_order() {
        let mut known = Known::default();
        known.learn(1, &heard(&["a", "b"], &[(ip("192.0.2.1"), 900), (ip("2001:db8::1"), 0)]), 0);
        known.learn(2, &heard(&["c"], &[(ip("192.0.2.1"), 0)]), 5);
        let mut kept: Vec<(u32, IpAddr, Naming)> = known
            .all()
            .flat_map(|entry| entry.names.into_iter().map(move |naming| (entry.session, entry.address, naming)))
            .collect();
        kept.reverse();
        let mut again = Known::default();
        again.restore(kept.iter().cloned().chain(kept.iter().cloned()));
        for (session, address) in [(1, "192.0.2.1"), (1, "2001:db8::1"), (2, "192.0.2.1")] {
            let sorted = |known: &Known| {
                let mut names = names(known, session, address, 10);
                names.sort();
                names
            };
            assert_eq!(sorted(&again), sorted(&known));
        }
        assert_eq!(again.expire(u64::MAX).len(), 3);
    }

    #[test]
    fn restoring_and_forgetting_keep_the_bounds() {
        let mut known = Known::default();
        let naming = |number: u64| Naming { name: Arc::from(format!("n{number}")), until_ns: number };
        known.restore((0..20).map(|number| (1, IpAddr::from(Ipv6Addr::LOCALHOST), naming(number))));
        let kept = names(&known, 1, "::1", 0);
        assert_eq!((kept.len(), kept[0].as_str()), (NAMES, "n19"));
        known.restore((0..5000).map(|number| (1, IpAddr::from(Ipv4Addr::from_bits(number)), naming(7))));
        assert_eq!(known.all().count(), ADDRESSES);
        known.forget(1);
        assert_eq!((known.all().count(), names(&known, 1, "::1", 0).len()), (0, 0));
    }
}
