//! The pins: what stays in the kernel when the daemon goes, and the one way to remove it.
//!
//! `DIR/v3/maps/NAME` holds the maps, `DIR/v3/links/N-BUILD/PROGRAM` the attached programs of the N-th start that
//! attached any, and of which build they are. A daemon of the same build goes on with them. Otherwise the new ones are
//! pinned before the old ones are removed: neither way leaves an instant without enforcement.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agent_guard_common::ABI_VERSION;

use super::error::Error;
use crate::system::paths::{self, Claim};

/// Directory of the maps.
pub(super) fn maps(pins: &Path) -> PathBuf {
    version(pins).join("maps")
}

/// Directory of the links.
pub(super) fn links(pins: &Path) -> PathBuf {
    version(pins).join("links")
}

fn version(pins: &Path) -> PathBuf {
    pins.join(format!("v{ABI_VERSION}"))
}

/// Makes a directory of pins.
pub(super) fn create(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::CreatePins { path: path.to_owned(), source })
}

/// Claims the pins: of two daemons over one set of maps, each would take the other's questions and answers.
pub(super) fn claim(pins: &Path) -> Result<Claim, Error> {
    paths::claim(pins).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => Error::PinsHeld { path: pins.to_owned() },
        _ => Error::ClaimPins { path: pins.to_owned(), source },
    })
}

/// A start of a daemon that attached programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    number: u64,
    /// Which build's programs they are.
    pub(super) build: u64,
}

impl Start {
    /// The one after these.
    pub(super) fn after(earlier: &[Self], build: u64) -> Self {
        Self { number: earlier.last().map_or(1, |last| last.number + 1), build }
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, build) = name.split_once('-')?;
        Some(Self { number: number.parse().ok()?, build: u64::from_str_radix(build, 16).ok()? })
    }

    /// The directory of its links.
    pub(super) fn directory(self, links: &Path) -> PathBuf {
        links.join(format!("{}-{:016x}", self.number, self.build))
    }

    /// The programs that it has pinned: each is attached.
    pub(super) fn programs(self, links: &Path) -> Result<BTreeSet<String>, Error> {
        Ok(names(&self.directory(links))?.into_iter().collect())
    }

    /// Removes its links: its programs are detached.
    pub(super) fn remove(self, links: &Path) -> Result<(), Error> {
        remove_tree(&self.directory(links))
    }
}

/// The starts whose links are pinned, in order.
pub(super) fn starts(links: &Path) -> Result<Vec<Start>, Error> {
    let mut starts: Vec<Start> = names(links)?.iter().filter_map(|name| Start::parse(name)).collect();
    starts.sort_unstable();
    Ok(starts)
}

/// Removes every program, map and pin below the directory: nothing is enforced any more, once the kernel has let go
/// of what nobody names, which it does on its own a moment later.
///
/// # Errors
/// [`Error::PinsHeld`] while a daemon runs. Or a pin cannot be removed; those before it are gone.
pub fn detach(pins: &Path) -> Result<(), Error> {
    // Who may not look must not be told that there is nothing.
    let is_there = pins.try_exists().map_err(|source| Error::RemovePin { path: pins.to_owned(), source })?;
    if !is_there {
        return Ok(());
    }
    let _claim = claim(pins)?;
    remove_tree(pins)
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    for name in names(path)? {
        let child = path.join(&name);
        if child.is_dir() {
            remove_tree(&child)?;
        } else {
            fs::remove_file(&child).map_err(|source| Error::RemovePin { path: child, source })?;
        }
    }
    fs::remove_dir(path).map_err(|source| Error::RemovePin { path: path.to_owned(), source })
}

fn names(path: &Path) -> Result<Vec<String>, Error> {
    let list = || -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    list().map_err(|source| Error::RemovePin { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Start;

    #[test]
    fn a_start_is_known_by_its_directory() {
        let first = Start::after(&[], 0xab);
        let second = Start::after(&[first], 7);
        let name = second.directory(Path::new("/p"));
        assert_eq!(name, Path::new("/p/2-0000000000000007"));
        assert_eq!(Start::parse("2-0000000000000007"), Some(second));
        assert!(first < second);
        assert!([Start::parse("2"), Start::parse("x-1"), Start::parse("1-x")].iter().all(Option::is_none));
    }
}
