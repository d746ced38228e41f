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
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::policy::{Link, Node, PathFacts};
use crate::session::Mounts;
use crate::system::{paths, proc};

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
    /// A host could not be looked up.
    #[error("cannot look up host {host}: {reason}")]
    Host {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
}

/// What lies at paths now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// What a policy is compiled with.
    pub(super) facts: BTreeMap<String, PathFacts>,
    /// The mounts of the host.
    pub(super) mounts: Mounts,
}

/// Looks paths up. Blocks as long as the file systems do.
pub(super) fn places(wanted: &[String]) -> Result<Places, Failure> {
    let mounts = Mounts::parse(&proc::mountinfo(std::process::id(), u64::MAX).map_err(Failure::Mounts)?);
    let mut facts = BTreeMap::new();
    for path in wanted {
        let found = facts_of(Path::new(path), &mounts);
        facts.insert(path.clone(), found.map_err(|source| Failure::Path { path: PathBuf::from(path), source })?);
    }
    Ok(Places { facts, mounts })
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

/// The way from the root to an object, or to the deepest directory that exists on the way.
fn facts_of(path: &Path, mounts: &Mounts) -> io::Result<PathFacts> {
    let way = Way::follow(path)?;
    let chain = chain(&way.place, mounts)?;
    let link = |(directory, name): (PathBuf, Vec<u8>)| {
        let directories = self::chain(&directory, mounts)?.iter().map(|node| (node.dev, node.ino)).collect();
        Ok(Link { directories, name })
    };
    let links = way.links.into_iter().map(link).collect::<io::Result<_>>()?;
    let roots = if way.missing.is_empty() { mount_roots(&way.place, mounts)? } else { Vec::new() };
    Ok(PathFacts { chain, missing: way.missing, mounts: roots, links })
}

/// The objects on a canonical path, the root first.
fn chain(canonical: &Path, mounts: &Mounts) -> io::Result<Vec<Node>> {
    let mut chain = Vec::new();
    let mut place = PathBuf::new();
    for component in canonical.components() {
        place.push(component);
        let name = match component {
            Component::Normal(name) => name.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        chain.push(node(&place, name, mounts)?);
    }
    Ok(chain)
}

/// Where a path leads, and what it passes on the way.
struct Way {
    /// The canonical form of as much of it as exists.
    place: PathBuf,
    /// The names of the rest.
    missing: Vec<Vec<u8>>,
    /// Links that were followed: the canonical directory of each, and its name there.
    links: Vec<(PathBuf, Vec<u8>)>,
}

impl Way {
    /// Follows a path name by name. A link that leads nowhere leads to where its object would be made.
    fn follow(path: &Path) -> io::Result<Self> {
        let mut way = Self { place: PathBuf::from("/"), missing: Vec::new(), links: Vec::new() };
        let mut names: VecDeque<Vec<u8>> = names(path).collect();
        while let Some(name) = names.pop_front() {
            if name == b".." {
                way.place.pop();
                continue;
            }
            let next = way.place.join(OsStr::from_bytes(&name));
            match fs::symlink_metadata(&next) {
                Ok(metadata) if metadata.is_symlink() => {
                    let target = fs::read_link(&next)?;
                    names = self::names(&target).chain(names).collect();
                    let directory = way.place.clone();
                    if target.is_absolute() {
                        way.place = PathBuf::from("/");
                    }
                    way.links.push((directory, name));
                    if way.links.len() > LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                }
                Ok(_) => way.place = next,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    // Nothing can be made behind a step up from what is not there: what comes before it is labelled.
                    way.missing = [name].into_iter().chain(names).take_while(|name| name != b"..").collect();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(way)
    }
}

/// The names that a path is made of.
fn names(path: &Path) -> impl Iterator<Item = Vec<u8>> {
    let bytes = path.as_os_str().as_bytes().to_vec();
    let names: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
    names.into_iter().filter(|name| !name.is_empty() && name != b".")
}

fn node(place: &Path, name: Vec<u8>, mounts: &Mounts) -> io::Result<Node> {
    let file = paths::open_place(place)?;
    Ok(Node { dev: device(&file, mounts)?, ino: file.metadata()?.ino(), name })
}

/// The device of the mount that an open file lies in.
fn device(file: &File, mounts: &Mounts) -> io::Result<u32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    // The table was read before: a mount that is younger is found at the next look.
    mount.and_then(|mount| mounts.device(mount)).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The roots of what is mounted at or below a path.
fn mount_roots(path: &Path, mounts: &Mounts) -> io::Result<Vec<(u32, u64)>> {
    let mut roots = Vec::new();
    for point in mounts.points_below(path.as_os_str().as_bytes()) {
        let place = Path::new(OsStr::from_bytes(point));
        // What lies under another mount cannot be seen, and is not in the way of anybody.
        let Ok(found) = node(place, Vec::new(), mounts) else { continue };
        roots.push((found.dev, found.ino));
    }
    roots.sort_unstable();
    roots.dedup();
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use std::path::Path;

    use super::{PathFacts, places};

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
