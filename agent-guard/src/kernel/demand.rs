//! Programs that everybody pays for, attached only while the policy in force names what they judge.
//!
//! Must not know what a policy says: only which operations it demands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use agent_guard_common::operation::{HOOKS, Hook, Operation};
use aya::Btf;

use super::error::Error;
use super::{load, pins};

/// Attaches and pins the programs that judge some operations, unless they are attached already.
///
/// # Errors
/// The kernel refuses one. Those before it stay, and judge by a policy that allows all of it.
pub(super) fn attach(pins: &Path, demands: &BTreeSet<Operation>) -> Result<(), Error> {
    let directory = directory(pins)?;
    let missing: Vec<&'static Hook> =
        hooks().filter(|hook| is_needed(hook, demands) && !directory.join(hook.name).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut object = load::object(&pins::maps(pins), &[])?;
    let btf = Btf::from_sys_fs().map_err(Error::ParseBtf)?;
    for hook in missing {
        load::attach_one(&mut object, hook, &btf, &directory)?;
    }
    Ok(())
}

/// Detaches those that none of the operations needs.
///
/// # Errors
/// A pin cannot be removed.
pub(super) fn detach_others(pins: &Path, demands: &BTreeSet<Operation>) -> Result<(), Error> {
    let directory = directory(pins)?;
    for hook in hooks().filter(|hook| !is_needed(hook, demands)) {
        let path = directory.join(hook.name);
        if path.exists() {
            fs::remove_file(&path).map_err(|source| Error::RemovePin { path, source })?;
        }
    }
    Ok(())
}

fn hooks() -> impl Iterator<Item = &'static Hook> {
    HOOKS.iter().filter(|hook| hook.on_demand)
}

fn is_needed(hook: &Hook, demands: &BTreeSet<Operation>) -> bool {
    hook.operations.iter().any(|operation| demands.contains(operation))
}

/// Where the programs of the running daemon's own start are pinned.
fn directory(pins: &Path) -> Result<PathBuf, Error> {
    let links = pins::links(pins);
    let current = pins::starts(&links)?.pop().ok_or_else(|| Error::NoStart { path: links.clone() })?;
    Ok(current.directory(&links))
}
