//! Owns the three kernels that agent-guard is tested on: where they come from and what of them is kept.
//!
//! Must not know how a guest is booted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::apt::Apt;
use crate::guest::modules::{self, Module};
use crate::paths;
use crate::process::Run as _;

/// What guests may load; a name that a kernel does not have as a file is built into it.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_rng", // the guest's disk and its entropy
    "overlay",
    "btrfs",
    "fuse",
    "loop", // file systems that the suites mount
    "blake2b_generic",
    "xxhash_generic",
    "crc32c_generic",
    "sha256_generic", // what btrfs asks for by algorithm
    "veth",
    "dummy",
    "tun", // networks that the suites build
];

/// How a kernel lies in the cache; another name for another layout.
const LAYOUT: &str = "vmlinuz, release, modules/*.ko with modules.dep and modules.alias";

/// A kernel that agent-guard is tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// Debian 12's own.
    #[value(name = "6.1")]
    Oldest,
    /// Debian 13's, from Debian 12's backports.
    #[value(name = "6.12")]
    Stable,
    /// From Debian 13's backports.
    #[value(name = "7.2")]
    Newest,
}

impl Kernel {
    /// Every kernel, oldest first.
    pub(crate) const ALL: [Self; 3] = [Self::Oldest, Self::Stable, Self::Newest];

    fn series(self) -> &'static str {
        match self {
            Self::Oldest => "6.1",
            Self::Stable => "6.12",
            Self::Newest => "7.2",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.series())
    }
}

/// A kernel on this machine, ready to boot.
#[derive(Debug)]
pub(crate) struct Image {
    directory: PathBuf,
}

impl Image {
    /// The bootable image.
    pub(crate) fn vmlinuz(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The directory of loadable modules and their index.
    pub(crate) fn modules(&self) -> PathBuf {
        self.directory.join("modules")
    }

    /// What `uname -r` says in the guest.
    pub(crate) fn release(&self) -> Result<String> {
        Ok(String::from_utf8(paths::read(self.directory.join("release"))?)?)
    }
}

/// Returns the kernel, from the cache or from the archive.
pub(crate) fn fetch(kernel: Kernel) -> Result<Image> {
    let key = paths::cache_key(&[LAYOUT, &MODULES.join(" ")]);
    let cache = paths::vm("kernels")?;
    let directory = cache.join(format!("{kernel}-{key}"));
    if !directory.exists() {
        println!("setup: fetching kernel {kernel}");
        let scratch = paths::scratch(&cache)?;
        assemble(kernel, &scratch).with_context(|| format!("cannot prepare kernel {kernel}"))?;
        // The rename makes the entry whole or absent, also for a second xtask that runs beside this one.
        fs::rename(&scratch, &directory).or_else(|_| fs::remove_dir_all(&scratch))?;
    }
    Ok(Image { directory })
}

fn assemble(kernel: Kernel, directory: &Path) -> Result<()> {
    let unpacked = directory.join("unpacked");
    paths::create(&unpacked)?;
    let apt = Apt::open()?;
    apt.unpack(&packages(&apt, kernel)?, &unpacked)?;
    let (release, tree) = module_tree(&unpacked)?;
    // Up to 6.18 the image lies in /boot; later packages keep everything in the module tree.
    let in_boot = unpacked.join(format!("boot/vmlinuz-{release}"));
    let vmlinuz = if in_boot.exists() { in_boot } else { tree.join("vmlinuz") };
    fs::copy(&vmlinuz, directory.join("vmlinuz")).with_context(|| format!("no `{}`", vmlinuz.display()))?;
    install_modules(&tree, &directory.join("modules"))?;
    paths::write(directory.join("release"), release)?;
    fs::remove_dir_all(unpacked)?;
    Ok(())
}

/// Finds the packages that hold the files of the series' newest kernel.
///
/// The meta package is not asked: it moves on to the next series, while the archive keeps the images of this one.
fn packages(apt: &Apt, kernel: Kernel) -> Result<Vec<String>> {
    let names = apt.names(&format!("linux-image-{kernel}."))?;
    let image = newest(names).with_context(|| format!("the archive has no image of kernel {kernel} any more"))?;
    let parts = ["linux-binary-", "linux-modules-"];
    let mut packages = apt.depends(&image)?;
    packages.retain(|name| parts.iter().any(|part| name.starts_with(part)));
    packages.push(image);
    Ok(packages)
}

/// Returns the newest image among packages of one series; those of debug symbols and unsigned files are none.
fn newest(names: Vec<String>) -> Option<String> {
    let numbers = |name: &String| -> Vec<u64> {
        name.split(|character: char| !character.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    names.into_iter().filter(|name| name.ends_with("-cloud-amd64")).max_by_key(numbers)
}

/// Finds the one directory of modules, and the kernel release it is named for.
fn module_tree(unpacked: &Path) -> Result<(String, PathBuf)> {
    for parent in ["lib/modules", "usr/lib/modules"] {
        let Ok(entries) = fs::read_dir(unpacked.join(parent)) else {
            continue;
        };
        if let Some(entry) = entries.flatten().next() {
            return Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    bail!("the packages hold no modules")
}

/// Copies the wanted modules and all that they need, decompressed, with an index.
fn install_modules(tree: &Path, into: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    collect(&tree.join("kernel"), &mut files)?;
    let mut wanted: Vec<String> = MODULES.iter().map(|name| (*name).to_owned()).collect();
    let mut seen = BTreeSet::new();
    let mut chosen = Vec::new();
    while let Some(name) = wanted.pop() {
        let Some(file) = files.get(&name) else {
            continue;
        };
        if seen.insert(name.clone()) {
            let module = Module { name, image: decompressed(file)? };
            wanted.extend(module.depends());
            chosen.push(module);
        }
    }
    paths::create(into)?;
    for module in &chosen {
        paths::write(into.join(format!("{}.ko", module.name)), &module.image)?;
    }
    paths::write(into.join("modules.dep"), modules::dependency_index(&chosen))?;
    paths::write(into.join("modules.alias"), modules::alias_index(&chosen))
}

fn collect(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some((name, _)) = name.split_once(".ko") {
            files.insert(modules::normal(name), entry.path());
        }
    }
    Ok(())
}

fn decompressed(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        Command::new("xz").arg("--decompress").arg("--keep").arg(file).run()?;
    }
    paths::read(file.with_extension("").with_extension("ko"))
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_image_is_found_by_its_numbers() {
        let names = |names: &[&str]| names.iter().map(|name| format!("linux-image-{name}")).collect();
        let found = |list: &[&str]| newest(names(list)).map(|name| name.replace("linux-image-", ""));
        let later = ["7.2.9+deb13-cloud-amd64", "7.2.12+deb13-cloud-amd64", "7.2.13+deb13-cloud-amd64-dbg"];
        assert_eq!(found(&later).as_deref(), Some("7.2.12+deb13-cloud-amd64"));
        let earlier =
            ["6.1.0-56-cloud-amd64", "6.1.0-9-cloud-amd64", "6.1.0-57-cloud-amd64-unsigned", "6.1.0-60-amd64"];
        assert_eq!(found(&earlier).as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(found(&["7.3.4+deb13-amd64"]), None);
    }
}
