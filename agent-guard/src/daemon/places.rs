//! What lies at the policy's paths, and what of it could not be looked at. It must not know how one looks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::policy::PathFacts;
use crate::session::Mounts;
use crate::text;

/// What lies at paths now.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// The paths of the policy that were looked up.
    pub(super) wanted: Vec<String>,
    /// The home directories in which those that begin with `~` were looked up.
    pub(super) homes: Vec<String>,
    /// What a policy is compiled with, by place.
    pub(super) facts: BTreeMap<String, PathFacts>,
    /// The mounts of the host; each question that is being completed holds on to them.
    pub(super) mounts: Arc<Mounts>,
    /// What could not be looked at, for the paths where there is such.
    pub(super) hidden: BTreeMap<String, Hidden>,
}

/// What is in the way of a path, or below it, and cannot be looked at: a user's own file system refuses even root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    /// Where the way could not be followed further, and why.
    pub(super) step: Option<(PathBuf, String)>,
    /// Devices mounted on or below the path whose roots could not be looked at.
    pub(super) mounts: BTreeSet<u32>,
}

impl Places {
    /// What was seen before and cannot be looked at now is taken for what it was: whoever mounts something over the way
    /// to a labelled object does not take its label away.
    #[must_use]
    pub(super) fn keeping(mut self, before: &Self) -> Self {
        for (path, hidden) in &self.hidden {
            let (Some(now), Some(then)) = (self.facts.get_mut(path), before.facts.get(path)) else { continue };
            let same_way = then.chain.starts_with(&now.chain) && then.links.starts_with(&now.links);
            if hidden.step.is_some() && same_way {
                *now = then.clone();
            } else {
                now.mounts.extend(then.mounts.iter().filter(|(dev, _)| hidden.mounts.contains(dev)));
                now.mounts.sort_unstable();
                now.mounts.dedup();
            }
        }
        self
    }

    /// The places that are labelled, as canonical paths.
    pub(super) fn labelled(&self) -> BTreeSet<String> {
        let canonical = |facts: &PathFacts| {
            let names = facts.chain.iter().skip(1).map(|node| &node.name).chain(&facts.missing);
            let path = names.fold(String::new(), |path, name| path + "/" + &text::from_bytes(name));
            if path.is_empty() { "/".to_owned() } else { path }
        };
        self.facts.values().map(canonical).collect()
    }

    /// Says what cannot be looked at and was not said to be before.
    pub(super) fn tell(&self, before: &Self) {
        for (place, why) in self.steps().difference(&before.steps()) {
            tracing::warn!(
                place = %place.display(),
                why,
                "a place on the way to labelled paths cannot be looked at: what was seen behind it keeps its label, and \
                 what is new there is labelled by name"
            );
        }
    }

    fn steps(&self) -> BTreeSet<(PathBuf, String)> {
        self.hidden.values().filter_map(|hidden| hidden.step.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;

    use super::{Hidden, Places};
    use crate::policy::{Link, Node, PathFacts};

    fn facts(chain: &[u64], missing: &[&str], mounts: &[(u32, u64)]) -> PathFacts {
        let node = |ino: &u64| Node { dev: 1, ino: *ino, name: ino.to_string().into_bytes() };
        PathFacts {
            chain: chain.iter().map(node).collect(),
            missing: missing.iter().map(|name| name.as_bytes().to_vec()).collect(),
            mounts: mounts.to_vec(),
            links: Vec::new(),
        }
    }

    fn places(facts: PathFacts, hidden: Hidden) -> Places {
        let one = |hidden: Hidden| BTreeMap::from([("/a/b".to_owned(), hidden)]);
        let facts = BTreeMap::from([("/a/b".to_owned(), facts)]);
        Places { facts, hidden: one(hidden), ..Places::default() }
    }

    fn hidden_at(place: &str) -> Hidden {
        Hidden { step: Some((PathBuf::from(place), "no answer".to_owned())), ..Hidden::default() }
    }

    #[test]
    fn what_is_hidden_keeps_what_is_known_of_it_for_as_long_as_it_is_hidden() {
        let then = places(facts(&[1, 2, 3], &[], &[(9, 9)]), Hidden::default());
        let now = places(facts(&[1, 2], &["b"], &[]), hidden_at("/a/b"));
        let kept = now.clone().keeping(&then);
        assert_eq!(kept.facts, then.facts);
        assert_eq!(now.clone().keeping(&kept).facts, then.facts, "a second look changes nothing");
        let gone = places(facts(&[1, 2], &["b"], &[]), Hidden::default());
        assert_eq!(gone.clone().keeping(&kept).facts, gone.facts, "what is gone is gone");
    }

    #[test]
    fn what_is_hidden_behind_another_way_than_before_is_known_by_its_name() {
        let then = places(facts(&[1, 2, 3], &[], &[]), Hidden::default());
        let other = places(facts(&[1, 7], &["b"], &[]), hidden_at("/a/b"));
        assert_eq!(other.clone().keeping(&then).facts, other.facts);
        let mut linked = places(facts(&[1, 2], &["b"], &[]), hidden_at("/a/b"));
        let link = Link { directories: vec![(1, 1)], name: b"a".to_vec() };
        linked.facts.values_mut().for_each(|facts| facts.links.push(link.clone()));
        assert_eq!(linked.clone().keeping(&then).facts, linked.facts);
    }

    #[test]
    fn a_mount_below_that_is_hidden_keeps_its_label_and_no_other_one_does() {
        let then = places(facts(&[1, 2, 3], &[], &[(8, 1), (9, 1)]), Hidden::default());
        let hidden = Hidden { step: None, mounts: BTreeSet::from([9]) };
        let now = places(facts(&[1, 2, 3], &[], &[(7, 1)]), hidden);
        assert_eq!(now.keeping(&then).facts["/a/b"].mounts, [(7, 1), (9, 1)]);
    }
}
