//! What the machine looks like to a policy: what lies at its paths, and which addresses its hosts have.
//!
//! Devices are numbered as the kernel's super blocks have them, which `stat` does not always tell (btrfs), so they
//! come from the mount that an object lies in. It must not know what a policy says about any of it.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::looks::Look;
use super::places::{Hidden, Places};
use crate::policy::{self, Link, Node, PathFacts};
use crate::session::Mounts;
use crate::system::{paths, proc, user};

/// Time that the resolver has for one host.
const LOOKUP: Duration = Duration::from_secs(5);
/// Links that are followed on one way, as by the kernel (MAXSYMLINKS, include/linux/namei.h).
const LINKS: usize = 40;

/// Why a path or host of the policy could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The mounts could not be read.
    #[error("cannot read the mounts: {0}")]
    Mounts(io::Error),
    /// A path could not be looked up.
    #[error("cannot look up {}: {source}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too many file systems do not answer.
    #[error(
        "cannot look up the policy's paths: {} and others on the way to them do not answer; unmount what is mounted there, \
         or take the paths out of the policy",
        place.display()
    )]
    Silent {
        /// The last place that did not answer.
        place: PathBuf,
    },
    /// Nobody has begun to look.
    #[error("cannot look up the policy's paths: this machine is too busy; try again")]
    Busy,
    /// Whoever looked is gone.
    #[error("looking up what the policy names was interrupted")]
    Interrupted,
    /// A host could not be looked up.
    #[error("cannot look up host {host}: {reason}")]
    Host {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
}

/// Looks paths up. Blocks as long as the file systems do.
pub(super) fn places(wanted: &[String], look: &Look) -> Result<Places, Failure> {
    let mounts = Mounts::parse(&proc::mountinfo(std::process::id(), u64::MAX).map_err(Failure::Mounts)?);
    let homes = user::homes();
    let view = View { mounts: &mounts, look };
    let (mut facts, mut hidden) = (BTreeMap::new(), BTreeMap::new());
    for path in wanted.iter().flat_map(|path| policy::places(path, &homes)) {
        let found = view.facts(Path::new(&path));
        let (found, unseen) = found.map_err(|source| Failure::Path { path: PathBuf::from(&path), source })?;
        if unseen != Hidden::default() {
            hidden.insert(path.clone(), unseen);
        }
        facts.insert(path, found);
    }
    Ok(Places { wanted: wanted.to_vec(), homes, facts, mounts: Arc::new(mounts), hidden })
}

/// Looks hosts up.
pub(super) async fn hosts(wanted: &[String]) -> Result<BTreeMap<String, Vec<IpAddr>>, Failure> {
    let mut found = BTreeMap::new();
    for host in wanted {
        let failure = |reason: String| Failure::Host { host: host.clone(), reason };
        let looked_up = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host.as_str(), 0))).await;
        let addresses = looked_up.map_err(|_elapsed| failure("no answer in time".to_owned()))?;
        let mut addresses: Vec<IpAddr> =
            addresses.map_err(|error| failure(error.to_string()))?.map(|address| address.ip()).collect();
        // Name servers turn the order round; only the set matters.
        addresses.sort_unstable();
        addresses.dedup();
        found.insert(host.clone(), addresses);
    }
    Ok(found)
}

/// What lies at a place.
enum Found {
    /// A link, and where it leads.
    Link(PathBuf),
    /// Anything else, by device and inode.
    Object(u32, u64),
}

/// Where a path leads, and what it passes on the way.
#[derive(Default)]
struct Way {
    /// The objects on its canonical form, as far as they exist and can be looked at; the root first.
    chain: Vec<Node>,
    /// The names of the rest.
    missing: Vec<Vec<u8>>,
    /// Links that were followed.
    links: Vec<Link>,
    /// Why it ends here, if not since there is nothing more.
    hidden: Option<(PathBuf, String)>,
}

impl Way {
    fn place(&self) -> PathBuf {
        let names = self.chain.iter().skip(1).map(|node| OsStr::from_bytes(&node.name));
        [OsStr::new("/")].into_iter().chain(names).collect()
    }
}

/// The machine, through one look.
struct View<'a> {
    mounts: &'a Mounts,
    look: &'a Look,
}

impl View<'_> {
    /// The way from the root to an object, or to the deepest directory on the way that can be looked at.
    fn facts(&self, path: &Path) -> io::Result<(PathFacts, Hidden)> {
        let way = self.follow(path)?;
        let mut hidden = Hidden { step: way.hidden.clone(), ..Hidden::default() };
        let mounts = if way.missing.is_empty() { self.mount_roots(&way.place(), &mut hidden) } else { Vec::new() };
        Ok((PathFacts { chain: way.chain, missing: way.missing, mounts, links: way.links }, hidden))
    }

    /// Follows a path name by name. A link that leads nowhere leads to where its object would be made.
    fn follow(&self, path: &Path) -> io::Result<Way> {
        let mut way = Way::default();
        if let Found::Object(dev, ino) = self.at(Path::new("/"))? {
            way.chain.push(Node { dev, ino, name: Vec::new() });
        }
        let mut names: VecDeque<Vec<u8>> = names(path).collect();
        while let Some(name) = names.pop_front() {
            if name == b".." {
                way.chain.truncate(way.chain.len().saturating_sub(1).max(1));
                continue;
            }
            let next = way.place().join(OsStr::from_bytes(&name));
            match self.at(&next) {
                Ok(Found::Object(dev, ino)) => way.chain.push(Node { dev, ino, name }),
                Ok(Found::Link(target)) => {
                    names = self::names(&target).chain(names).collect();
                    let directories = way.chain.iter().map(|node| (node.dev, node.ino)).collect();
                    way.links.push(Link { directories, name });
                    if target.is_absolute() {
                        way.chain.truncate(1);
                    }
                    if way.links.len() > LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                }
                Err(error) => {
                    way.hidden = (!is_absent(&error)).then(|| (next, error.to_string()));
                    // Nothing can be made behind a step up from what is not there: what comes before it is labelled.
                    way.missing = [name].into_iter().chain(names).take_while(|name| name != b"..").collect();
                    break;
                }
            }
        }
        Ok(way)
    }

    fn at(&self, place: &Path) -> io::Result<Found> {
        self.look.step(place)?;
        let file = paths::open_place(place)?;
        let metadata = file.metadata()?;
        if metadata.is_symlink() { fs::read_link(place).map(Found::Link) } else { self.object(&file, metadata.ino()) }
    }

    /// An open object; its device is that of the mount that it lies in.
    fn object(&self, file: &File, ino: u64) -> io::Result<Found> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
        let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        let dev = mount.and_then(|mount| self.mounts.device(mount));
        // The table was read before. That it has changed since brings the next look about.
        dev.map(|dev| Found::Object(dev, ino)).ok_or_else(|| io::Error::other("it was mounted just now"))
    }

    /// The roots of what is mounted at or below a path.
    fn mount_roots(&self, path: &Path, hidden: &mut Hidden) -> Vec<(u32, u64)> {
        let mut roots = Vec::new();
        for (point, dev) in self.mounts.points_below(path.as_os_str().as_bytes()) {
            match self.at(Path::new(OsStr::from_bytes(point))) {
                Ok(Found::Object(dev, ino)) => roots.push((dev, ino)),
                // What lies under another mount cannot be seen, and is not in the way of anybody.
                Ok(Found::Link(_)) => {}
                Err(error) if is_absent(&error) => {}
                Err(_) => drop(hidden.mounts.insert(dev)),
            }
        }
        roots.sort_unstable();
        roots.dedup();
        roots
    }
}

/// The names that a path is made of.
fn names(path: &Path) -> impl Iterator<Item = Vec<u8>> {
    let bytes = path.as_os_str().as_bytes().to_vec();
    let names: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
    names.into_iter().filter(|name| !name.is_empty() && name != b".")
}

/// Whether an error says that there is nothing.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use std::path::{Path, PathBuf};

    use super::super::looks::Look;
    use super::super::places::{Hidden, Places};
    use super::{Failure, PathFacts};

    fn places(wanted: &[String]) -> Result<Places, Failure> {
        super::places(wanted, &Look::default())
    }

    #[test]
    fn the_way_to_an_object_begins_at_the_root_and_ends_at_it() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("prod")).expect("creates");
        let path = root.path().join("prod").to_str().expect("is text").to_owned();
        let facts = places(std::slice::from_ref(&path)).expect("is looked up").facts.remove(&path).expect("is there");
        assert_eq!(facts.chain[0].name, b"");
        assert_eq!(facts.chain[0].ino, fs::metadata("/").expect("the root").ino());
        let last = facts.chain.last().expect("the object");
        assert_eq!((&last.name[..], last.ino), (&b"prod"[..], fs::metadata(&path).expect("exists").ino()));
        assert!(facts.missing.is_empty());
    }

    #[test]
    fn names_that_do_not_exist_are_told_apart_from_links_that_do() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("real")).expect("creates");
        symlink("real", root.path().join("link")).expect("links");
        let path = root.path().join("link/a/b").to_str().expect("is text").to_owned();
        let facts = places(std::slice::from_ref(&path)).expect("is looked up").facts.remove(&path).expect("is there");
        assert_eq!(facts.missing, [b"a", b"b"]);
        assert_eq!(facts.chain.last().map(|node| &node.name[..]), Some(&b"real"[..]));
    }

    /// The facts of a path below a directory.
    fn below(root: &Path, path: &str) -> PathFacts {
        let path = root.join(path).to_str().expect("is text").to_owned();
        places(std::slice::from_ref(&path)).expect("is looked up").facts.remove(&path).expect("is there")
    }

    #[test]
    fn every_link_on_the_way_is_told_with_the_directories_above_it() {
        let root = tempfile::tempdir().expect("a directory");
        let ino = |path: &str| fs::metadata(root.path().join(path)).expect("exists").ino();
        for path in ["data/v1", "app"] {
            fs::create_dir_all(root.path().join(path)).expect("creates");
        }
        symlink("../latest", root.path().join("app/current")).expect("links");
        symlink(root.path().join("data/v1"), root.path().join("latest")).expect("links");
        let facts = below(root.path(), "app/current/x");
        assert_eq!(facts.missing, [b"x"]);
        assert_eq!(facts.chain.last().map(|node| node.ino), Some(ino("data/v1")));
        let links: Vec<_> = facts.links.iter().map(|link| (&link.name[..], link.directories.last())).collect();
        let dev = facts.chain.last().expect("exists").dev;
        assert_eq!(links, [(&b"current"[..], Some(&(dev, ino("app")))), (b"latest", Some(&(dev, ino(""))))]);
        assert_eq!(facts.links[0].directories[0].1, fs::metadata("/").expect("the root").ino());
    }

    #[test]
    fn a_link_that_leads_nowhere_leads_to_what_would_be_made() {
        let root = tempfile::tempdir().expect("a directory");
        symlink("gone/deep", root.path().join("link")).expect("links");
        let facts = below(root.path(), "link/x");
        assert_eq!(facts.missing, [&b"gone"[..], b"deep", b"x"]);
        assert_eq!(facts.links.len(), 1);
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let root = tempfile::tempdir().expect("a directory");
        symlink("b", root.path().join("a")).expect("links");
        symlink("a", root.path().join("b")).expect("links");
        let path = root.path().join("a").to_str().expect("is text").to_owned();
        assert!(places(&[path]).is_err());
    }

    #[test]
    fn a_step_that_cannot_be_looked_at_ends_the_way_like_a_missing_name_and_no_other_path_suffers() {
        let root = tempfile::tempdir().expect("a directory");
        let too_long = "x".repeat(300);
        let wanted = [root.path().join(&too_long).join("y"), root.path().to_owned()];
        let wanted = wanted.map(|path| path.to_str().expect("is text").to_owned());
        let found = places(&wanted).expect("is looked up");
        let facts = &found.facts[&wanted[0]];
        assert_eq!(facts.missing, [too_long.as_bytes(), b"y"]);
        assert_eq!(facts.chain, found.facts[&wanted[1]].chain);
        let step = found.hidden[&wanted[0]].step.as_ref().expect("is said");
        assert_eq!((&step.0, found.hidden.len()), (&root.path().join(&too_long), 1));
    }

    #[test]
    fn nobody_goes_where_a_look_is_stuck() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("hung/a")).expect("creates");
        let path = root.path().join("hung/a").to_str().expect("is text").to_owned();
        let wanted = [path.clone(), "/".to_owned()];
        let look = Look::avoiding(vec![root.path().join("hung"), PathBuf::from("/proc")]);
        let found = super::places(&wanted, &look).expect("is looked up");
        assert_eq!(found.facts[&path].missing, [&b"hung"[..], b"a"]);
        let proc = fs::metadata("/proc").expect("is mounted");
        assert!(!found.facts["/"].mounts.iter().any(|(dev, _)| u64::from(dev & 0xff) == proc.dev() & 0xff));
        let Hidden { step, mounts } = &found.hidden["/"];
        assert!(step.is_none() && mounts.iter().any(|dev| u64::from(dev & 0xff) == proc.dev() & 0xff), "{mounts:?}");
    }

    #[test]
    fn mounts_below_a_path_are_among_its_facts() {
        let wanted = ["/".to_owned(), "/proc".to_owned()];
        let facts = places(&wanted).expect("is looked up").facts;
        let proc = fs::metadata("/proc").expect("is mounted");
        assert!(facts["/"].mounts.iter().any(|(_, ino)| *ino == proc.ino()));
        assert_eq!(facts["/proc"].mounts.first().map(|(_, ino)| *ino), Some(proc.ino()));
        // The kernel's encoding; /proc is not on a disk, so its major number is 0.
        let dev = facts["/proc"].chain.last().expect("is there").dev;
        assert_eq!(u64::from(dev & 0xff), proc.dev() & 0xff);
    }
}
