//! The pins: what stays in the kernel when the daemon goes, and the one way to remove it.
//!
//! `DIR/v1/maps/NAME` holds the maps, `DIR/v1/links/N/PROGRAM` the attached programs of the N-th start. The new
//! ones are pinned before the old ones are removed, so that a restart leaves no instant without enforcement.

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

/// Numbers of the starts whose links are pinned, in order.
pub(super) fn starts(links: &Path) -> Result<Vec<u64>, Error> {
    let mut starts = Vec::new();
    for name in names(links)? {
        if let Ok(number) = name.parse() {
            starts.push(number);
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

/// Removes the links of one start: its programs are detached.
pub(super) fn remove_start(links: &Path, start: u64) -> Result<(), Error> {
    remove_tree(&links.join(start.to_string()))
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
