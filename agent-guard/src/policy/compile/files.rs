//! Path labels by inode and by name, and what they mean for the directories above.
//!
//! A labelled object is known by its inode, and by its name in its directory, so that a path that is
//! removed and made again, or does not exist yet, is labelled all the same. The directories above carry
//! what lies below them: moving `/srv` moves `/srv/prod`. So do links that the path goes through, by their names.

use std::collections::{BTreeMap, BTreeSet};

use agent_guard_common::limits::{DEPTH, INODES, NAMES};
use agent_guard_common::rule::{InodeKey, InodeLabel, NAMED_CHILDREN, NameKey, UNLABELLED};

use super::matrix::Matrix;
use super::{CompileError, Facts, Node, PathFacts, fits};
use crate::policy::check::Checked;
use crate::policy::kind::Kind;
use crate::policy::value::path::places;

/// The records of all path labels.
pub(super) struct Files {
    pub(super) inodes: Vec<(InodeKey, InodeLabel)>,
    pub(super) names: Vec<(NameKey, InodeLabel)>,
}

/// Device and inode number.
type Inode = (u32, u64);

/// Something that can carry a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Inode(Inode),
    Name(Inode, &'a [u8]),
}

/// A labelled path and the places on it.
struct Labelled<'a> {
    label: u16,
    kind: Kind,
    /// From the root to the object; the object itself is absent when more than one name is missing.
    places: Vec<Place<'a>>,
    /// How many of the places are directories above the object.
    above: usize,
    facts: &'a PathFacts,
}

impl<'a> Labelled<'a> {
    fn new(label: u16, kind: Kind, path: &str, facts: &'a PathFacts) -> Result<Self, CompileError> {
        let levels = facts.chain.len() + facts.missing.len();
        if levels > DEPTH {
            return Err(CompileError::PathTooDeep { path: path.to_owned(), levels, limit: DEPTH });
        }
        let deepest = facts.chain.last().ok_or_else(|| CompileError::PathUnknown { path: path.to_owned() })?;
        let mut places: Vec<_> = facts.chain.iter().map(|node| Place::Inode(inode(node))).collect();
        places.extend(facts.missing.first().map(|name| Place::Name(inode(deepest), name)));
        let above = if facts.missing.len() > 1 { places.len() } else { places.len() - 1 };
        Ok(Self { label, kind, places, above, facts })
    }

    fn directories(&self) -> &[Place<'a>] {
        &self.places[..self.above]
    }

    /// Every way that leads to it, as places that would take it with them: the directories above, and each link
    /// behind the directories above that.
    fn ways(&self) -> impl Iterator<Item = Vec<Place<'a>>> {
        let links = self.facts.links.iter().filter_map(|link| {
            let name = Place::Name(*link.directories.last()?, &link.name);
            Some(link.directories.iter().map(|directory| Place::Inode(*directory)).chain([name]).collect())
        });
        std::iter::once(self.directories().to_vec()).chain(links)
    }

    /// The object's own place.
    fn object(&self) -> Option<&Place<'a>> {
        self.places.get(self.above)
    }

    /// The object's name in its directory, when both exist.
    fn alias(&self) -> Option<Place<'a>> {
        match self.facts.chain.as_slice() {
            [.., parent, object] if self.facts.missing.is_empty() => Some(Place::Name(inode(parent), &object.name)),
            _ => None,
        }
    }

    /// Where its label stands: the object, and the roots of what is mounted on and below it.
    fn labelled_places(&self) -> impl Iterator<Item = Place<'a>> {
        let mounts = self.facts.mounts.iter().map(|mount| Place::Inode(*mount));
        self.object().cloned().into_iter().chain(mounts)
    }
}

const fn inode(node: &Node) -> Inode {
    (node.dev, node.ino)
}

/// Compiles all path labels.
pub(super) fn compile(policy: &Checked, facts: &Facts, matrix: &mut Matrix) -> Result<Files, CompileError> {
    let paths = labelled_paths(policy, facts)?;
    let own = with_other_kinds(&paths, own_labels(&paths));
    let below = labels_below(&paths, &own);
    let mut records: BTreeMap<Place<'_>, InodeLabel> = BTreeMap::new();
    for (place, labels) in own {
        records.entry(place).or_insert(InodeLabel::ZERO).label = matrix.compose(labels)?;
    }
    for (place, labels) in below {
        records.entry(place).or_insert(InodeLabel::ZERO).above = matrix.compose(labels)?;
    }
    for path in &paths {
        let object = path.object().and_then(|object| records.get(object)).copied();
        if let (Some(alias), Some(record)) = (path.alias(), object) {
            records.entry(alias).or_insert(record);
        }
    }
    let parents: BTreeSet<Inode> = records
        .keys()
        .filter_map(|place| if let Place::Name(parent, _) = place { Some(*parent) } else { None })
        .collect();
    for parent in parents {
        records.entry(Place::Inode(parent)).or_insert(InodeLabel::ZERO).flags |= NAMED_CHILDREN;
    }
    split(records, facts)
}

fn labelled_paths<'a>(policy: &'a Checked, facts: &'a Facts) -> Result<Vec<Labelled<'a>>, CompileError> {
    let mut labelled = Vec::new();
    for (label, number) in policy.labels.iter().zip(1_u16..) {
        let paths = label.objects.paths().into_iter().flatten();
        for path in paths.flat_map(|path| places(path, &facts.homes)) {
            let facts = facts.paths.get(&path).ok_or_else(|| CompileError::PathUnknown { path: path.clone() })?;
            labelled.push(Labelled::new(number, label.objects.kind(), &path, facts)?);
        }
    }
    Ok(labelled)
}

/// The labels of each place itself. Two paths may lead to one object: then both count, unless one of them
/// only encloses the other, as with a mount below two labelled directories.
fn own_labels<'a>(paths: &[Labelled<'a>]) -> BTreeMap<Place<'a>, BTreeSet<u16>> {
    let mut claims: BTreeMap<Place<'a>, Vec<&Labelled<'a>>> = BTreeMap::new();
    for path in paths {
        for place in path.labelled_places() {
            claims.entry(place).or_default().push(path);
        }
    }
    let nearest = |claimants: Vec<&Labelled<'a>>| {
        let encloses = |outer: &Labelled<'a>, inner: &Labelled<'a>| {
            outer.object().is_some_and(|object| inner.directories().contains(object))
        };
        let kept = claimants.iter().filter(|outer| !claimants.iter().any(|inner| encloses(outer, inner)));
        kept.map(|path| path.label).collect()
    };
    claims.into_iter().map(|(place, claimants)| (place, nearest(claimants))).collect()
}

/// Adds, where only labels of one kind stand, those of the other kind that enclose the place: a socket below a labelled
/// directory is a file of it too, and the nearest label alone would say nothing of one or the other.
fn with_other_kinds<'a>(
    paths: &[Labelled<'a>],
    own: BTreeMap<Place<'a>, BTreeSet<u16>>,
) -> BTreeMap<Place<'a>, BTreeSet<u16>> {
    let kinds: BTreeMap<u16, Kind> = paths.iter().map(|path| (path.label, path.kind)).collect();
    let of_kind = |place: &Place<'a>, kind: Kind| -> BTreeSet<u16> {
        own.get(place).into_iter().flatten().filter(|label| kinds.get(label) == Some(&kind)).copied().collect()
    };
    let mut all = own.clone();
    for path in paths {
        for place in path.labelled_places() {
            for kind in [Kind::Paths, Kind::Sockets] {
                if of_kind(&place, kind).is_empty() {
                    let nearest = path.directories().iter().rev().map(|directory| of_kind(directory, kind));
                    let found = nearest.into_iter().find(|labels| !labels.is_empty()).unwrap_or_default();
                    all.entry(place.clone()).or_default().extend(found);
                }
            }
        }
    }
    all
}

/// For each directory and link on a way to a labelled path: the labels behind it, and the one that it has itself.
fn labels_below<'a>(
    paths: &[Labelled<'a>],
    own: &BTreeMap<Place<'a>, BTreeSet<u16>>,
) -> BTreeMap<Place<'a>, BTreeSet<u16>> {
    let unlabelled = BTreeSet::from([UNLABELLED]);
    let mut below: BTreeMap<Place<'a>, BTreeSet<u16>> = BTreeMap::new();
    for path in paths {
        for way in path.ways() {
            let mut nearest = &unlabelled;
            for place in way {
                nearest = own.get(&place).unwrap_or(nearest);
                let labels = below.entry(place).or_default();
                labels.insert(path.label);
                labels.extend(nearest);
            }
        }
    }
    below
}

/// Splits the records by map.
fn split(records: BTreeMap<Place<'_>, InodeLabel>, facts: &Facts) -> Result<Files, CompileError> {
    let slot = facts.generation & 1;
    let mut files = Files { inodes: Vec::new(), names: Vec::new() };
    for (place, label) in records {
        match place {
            Place::Inode((dev, ino)) => files.inodes.push((InodeKey { dev, slot, ino }, label)),
            Place::Name((dev, ino), name) => {
                files.names.push((NameKey { dev, slot, ino, name: facts.key.hash(name) }, label));
            }
        }
    }
    fits("labelled inodes, the directories above and the mounts below included,", files.inodes.len(), INODES)?;
    fits("labelled names", files.names.len(), NAMES)?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use agent_guard_common::hash::SipKey;
    use agent_guard_common::operation::Operation;
    use agent_guard_common::rule::NAMED_CHILDREN;

    use crate::policy::compile::sample::{DEV, compiled, facts, ino, path_facts};
    use crate::policy::compile::{CompileError, Compiled, Facts, LabelKind, Link, Node};

    const MACHINE: &[&str] = &["/srv", "/srv/prod", "/srv/prod/db", "/srv/other", "/mnt"];

    fn policy(labels: &str) -> String {
        format!("version: 1\nlabels: {{ {labels} }}\nprofiles: {{ agent: {{ default: allow }} }}\n")
    }

    /// Names of the label and of what lies below, and whether children have labelled names.
    fn said(policy: &Compiled, label: u16, above: u16, flags: u32) -> (String, String, bool) {
        let name = |label: u16| if label == 0 { String::new() } else { policy.labels[usize::from(label)].name.clone() };
        (name(label), name(above), flags & NAMED_CHILDREN != 0)
    }

    fn inode(policy: &Compiled, ino: u64) -> Option<(String, String, bool)> {
        let (_, label) = policy.inodes.iter().find(|(key, _)| (key.dev, key.slot, key.ino) == (DEV, 1, ino))?;
        Some(said(policy, label.label, label.above, label.flags))
    }

    fn name(policy: &Compiled, ino: u64, name: &[u8]) -> Option<(String, String, bool)> {
        let hash = SipKey { k0: 1, k1: 2 }.hash(name);
        let (_, label) = policy.names.iter().find(|(key, _)| (key.dev, key.ino, key.name) == (DEV, ino, hash))?;
        Some(said(policy, label.label, label.above, label.flags))
    }

    fn on(text: &str, facts: &Facts) -> Compiled {
        compiled(text, facts).unwrap()
    }

    fn tell(label: &str, above: &str, named: bool) -> Option<(String, String, bool)> {
        Some((label.to_owned(), above.to_owned(), named))
    }

    #[test]
    fn an_object_is_known_by_inode_and_name_and_the_directories_above_know_of_it() {
        let text = policy("data: { paths: [/srv/prod] }");
        let policy = on(&text, &facts(&text, MACHINE));
        assert_eq!(inode(&policy, ino(MACHINE, "/srv/prod")), tell("data", "", false));
        assert_eq!(name(&policy, ino(MACHINE, "/srv"), b"prod"), tell("data", "", false));
        assert_eq!(inode(&policy, ino(MACHINE, "/srv")), tell("", "data", true));
        assert_eq!(inode(&policy, 1), tell("", "data", false));
        assert_eq!(inode(&policy, ino(MACHINE, "/srv/other")), None);
        assert_eq!(policy.labels.len(), 2, "one label below needs no composed one");
    }

    #[test]
    fn a_path_below_every_home_labels_a_place_in_each() {
        let text = policy("keys: { paths: [~/keys] }");
        let facts = Facts { homes: vec!["/srv".to_owned(), "/srv/prod".to_owned()], ..facts(&text, MACHINE) };
        assert_eq!(compiled(&text, &facts), Err(CompileError::PathUnknown { path: "/srv/keys".to_owned() }));
        let paths = ["/srv/keys", "/srv/prod/keys"].map(|path| (path.to_owned(), path_facts(MACHINE, path)));
        let policy = on(&text, &Facts { paths: paths.into(), ..facts });
        assert_eq!(name(&policy, ino(MACHINE, "/srv"), b"keys"), tell("keys", "", false));
        assert_eq!(name(&policy, ino(MACHINE, "/srv/prod"), b"keys"), tell("keys", "", false));
    }

    #[test]
    fn what_does_not_exist_yet_is_labelled_by_its_name() {
        let text = policy("data: { paths: [/srv/new] }, deep: { paths: [/srv/gone/a/b] }");
        let policy = on(&text, &facts(&text, MACHINE));
        let srv = ino(MACHINE, "/srv");
        assert_eq!(name(&policy, srv, b"new"), tell("data", "", false));
        assert_eq!(name(&policy, srv, b"gone"), tell("", "deep", false), "only what lies below is labelled");
        assert_eq!(inode(&policy, srv), tell("", "data + deep", true));
    }

    #[test]
    fn a_label_within_a_label_is_composed_above() {
        let text = policy("data: { paths: [/srv/prod] }, db: { paths: [/srv/prod/db] }");
        let policy = on(&text, &facts(&text, MACHINE));
        assert_eq!(inode(&policy, ino(MACHINE, "/srv/prod/db")), tell("db", "", false));
        assert_eq!(inode(&policy, ino(MACHINE, "/srv/prod")), tell("data", "data + db", true));
        assert_eq!(name(&policy, ino(MACHINE, "/srv"), b"prod"), tell("data", "data + db", false));
        assert_eq!(inode(&policy, 1), tell("", "data + db", false));
        assert_eq!(policy.labels.len(), 4, "one set, one composed label");
        assert_eq!(policy.labels[3].kind, LabelKind::Composed(vec![1, 2]));
    }

    #[test]
    fn a_composed_label_takes_the_strictest_cell_of_its_members() {
        let rules = "rules:
  - { name: a, profiles: all, operations: delete, labels: data, verdict: hold }
  - { name: b, profiles: all, operations: [delete, rename], labels: db, verdict: deny }
  - { name: c, profiles: all, operations: rename, labels: data, verdict: audit }
";
        let text = policy("data: { paths: [/srv/prod] }, db: { paths: [/srv/prod/db] }") + rules;
        let policy = on(&text, &facts(&text, MACHINE));
        let rule = |operation| policy.rules[usize::from(policy.cell(0, operation, 3).unwrap().rule)].name.as_str();
        assert_eq!((rule(Operation::Delete), rule(Operation::Rename), rule(Operation::Read)), ("b", "b", "default"));
    }

    #[test]
    fn a_rule_for_the_unlabelled_still_counts_for_directories_above() {
        let rules = "rules:
  - { name: keep, profiles: all, operations: delete, labels: unlabelled, verdict: deny }
  - { name: free, profiles: all, operations: delete, labels: data, verdict: allow }
";
        let text = policy("data: { paths: [/srv/prod] }") + rules;
        let policy = on(&text, &facts(&text, MACHINE));
        assert_eq!(inode(&policy, ino(MACHINE, "/srv")), tell("", "unlabelled + data", true));
        assert_eq!(policy.cell(0, Operation::Delete, 2).unwrap().verdict, 4);
        assert_eq!(policy.cell(0, Operation::Delete, 1).unwrap().verdict, 1);
    }

    #[test]
    fn two_paths_to_one_object_give_it_both_labels() {
        let text = policy("data: { paths: [/srv/prod] }, link: { paths: [/data] }");
        let mut facts = facts(&text, MACHINE);
        facts.paths.insert("/data".to_owned(), path_facts(MACHINE, "/srv/prod"));
        let policy = on(&text, &facts);
        assert_eq!(inode(&policy, ino(MACHINE, "/srv/prod")), tell("data + link", "", false));
    }

    /// The facts for a policy with `/srv/prod`, which `app/current` leads to; `app` is at 40 below the root.
    fn behind_a_link(text: &str) -> Facts {
        let mut facts = facts(text, MACHINE);
        let link = Link { directories: vec![(DEV, 1), (DEV, 40)], name: b"current".to_vec() };
        facts.paths.get_mut("/srv/prod").unwrap().links = vec![link];
        facts
    }

    #[test]
    fn a_link_on_the_way_is_known_by_its_name_and_the_directories_above_it_know_of_it() {
        let text = policy("data: { paths: [/srv/prod] }");
        let policy = on(&text, &behind_a_link(&text));
        assert_eq!(name(&policy, 40, b"current"), tell("", "data", false));
        assert_eq!(inode(&policy, 40), tell("", "data", true));
        assert_eq!(inode(&policy, 1), tell("", "data", false));
        assert_eq!(inode(&policy, ino(MACHINE, "/srv/prod")), tell("data", "", false), "the object stays what it is");
    }

    #[test]
    fn a_link_within_a_label_keeps_that_label_too() {
        let text = policy("data: { paths: [/srv/prod] }, app: { paths: [/app] }");
        let mut facts = behind_a_link(&text);
        facts.paths.get_mut("/app").unwrap().chain.push(Node { dev: DEV, ino: 40, name: b"app".to_vec() });
        facts.paths.get_mut("/app").unwrap().missing.clear();
        let policy = on(&text, &facts);
        assert_eq!(name(&policy, 40, b"current"), tell("", "data + app", false));
        assert_eq!(inode(&policy, 40), tell("app", "data + app", true));
    }

    #[test]
    fn several_paths_through_one_link_are_composed() {
        let text = policy("data: { paths: [/srv/prod] }, other: { paths: [/srv/other] }");
        let mut facts = behind_a_link(&text);
        facts.paths.get_mut("/srv/other").unwrap().links = facts.paths["/srv/prod"].links.clone();
        assert_eq!(name(&on(&text, &facts), 40, b"current"), tell("", "data + other", false));
    }

    #[test]
    fn a_mount_below_carries_the_label_of_the_nearest_directory() {
        let text = policy("srv: { paths: [/srv] }, data: { paths: [/srv/prod] }");
        let mut facts = facts(&text, MACHINE);
        for path in ["/srv", "/srv/prod"] {
            facts.paths.get_mut(path).unwrap().mounts.push((DEV, 99));
        }
        facts.paths.get_mut("/srv").unwrap().mounts.push((DEV, 98));
        let policy = on(&text, &facts);
        assert_eq!(inode(&policy, 99), tell("data", "", false));
        assert_eq!(inode(&policy, 98), tell("srv", "", false));
    }

    #[test]
    fn the_root_can_be_labelled() {
        let text = policy("everything: { paths: [/] }, data: { paths: [/srv] }");
        let policy = on(&text, &facts(&text, MACHINE));
        assert_eq!(inode(&policy, 1), tell("everything", "everything + data", true));
    }

    #[test]
    fn what_was_not_looked_up_or_lies_too_deep_is_refused() {
        let text = policy("data: { paths: [/srv/prod] }");
        let mut facts = facts(&text, MACHINE);
        let node = Node { dev: DEV, ino: 5, name: b"x".to_vec() };
        facts.paths.get_mut("/srv/prod").unwrap().chain = vec![node; 65];
        assert_eq!(
            compiled(&text, &facts),
            Err(CompileError::PathTooDeep { path: "/srv/prod".to_owned(), levels: 65, limit: 64 })
        );
        facts.paths.get_mut("/srv/prod").unwrap().chain.clear();
        assert_eq!(compiled(&text, &facts), Err(CompileError::PathUnknown { path: "/srv/prod".to_owned() }));
        facts.paths.clear();
        assert_eq!(compiled(&text, &facts), Err(CompileError::PathUnknown { path: "/srv/prod".to_owned() }));
    }
}
