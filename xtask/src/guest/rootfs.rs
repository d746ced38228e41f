//! Owns the Debian root file system of the scenarios: real tools, a cloud to destroy, an ext4 image.
//!
//! Must not know what the scenarios do with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::apt::{Apt, RELEASE};
use crate::paths;
use crate::process::Run as _;

/// The tools that agents use, and those that the scenarios look with.
const PACKAGES: &[&str] = &[
    "awscli",
    "bash",
    "bsdutils",
    "ca-certificates",
    "curl",
    "dnsmasq-base",
    "gcc",
    "git",
    "iproute2",
    "less",
    "libc6-dev",
    "libpython3.11-testsuite",
    "make",
    "nginx",
    "npm",
    "openssh-client",
    "openssh-server",
    "passwd",
    "postgresql-15",
    "procps",
    "python3",
    "python3-boto3",
    "strace",
    "stress-ng",
    "util-linux",
];
/// The cloud; Debian does not package it.
const MOTO: &str = "moto[server,cloudformation]==5.1.22";
/// The version of Debian 12's Python, which runs it.
const PYTHON: &str = "3.11";
const CUSTOMIZE: &str = "tests/guest/customize-rootfs.sh";
/// Sparse: what is not used takes no room here.
const SIZE: &str = "4G";

/// Returns the image, from the cache or newly made.
pub(crate) fn image() -> Result<PathBuf> {
    let customize = fs::read_to_string(CUSTOMIZE).with_context(|| format!("cannot read `{CUSTOMIZE}`"))?;
    let key = paths::cache_key(&[RELEASE, &PACKAGES.join(" "), MOTO, PYTHON, &customize, SIZE]);
    let cache = paths::vm("rootfs")?;
    let image = cache.join(format!("{key}.ext4"));
    if !image.exists() {
        println!("setup: making the Debian root file system (a minute or two)");
        let scratch = paths::scratch(&cache)?;
        let made = make(&scratch.canonicalize()?).context("cannot make the root file system")?;
        remove_images(&cache)?;
        fs::rename(made, &image)?;
        fs::remove_dir_all(scratch)?;
    }
    Ok(image)
}

/// Removes what older recipes made: an image is large, and a guest that runs from it keeps it open.
fn remove_images(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ext4") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn make(scratch: &Path) -> Result<PathBuf> {
    let (moto, root, image) = (scratch.join("moto"), scratch.join("root"), scratch.join("image"));
    // Wheels only, for the guest's Python: the host's own may be another.
    Command::new("pip3")
        .args([
            "install",
            "--quiet",
            "--quiet",
            "--no-compile",
            "--no-warn-conflicts",
            "--root-user-action=ignore",
            "--only-binary=:all:",
            "--python-version",
            PYTHON,
        ])
        .arg("--target")
        .arg(&moto)
        .arg(MOTO)
        .run()?;
    let apt = Apt::open()?;
    Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase"])
        // Whoever loses power in this minute begins anew.
        .arg("--dpkgopt=force-unsafe-io")
        .arg(format!("--include={}", PACKAGES.join(",")))
        .arg(format!("--customize-hook=mkdir -p \"$1/opt\" && mv '{}' \"$1/opt/moto\"", moto.display()))
        .arg(format!("--customize-hook=sh {CUSTOMIZE} \"$1\""))
        .arg(RELEASE)
        .arg(&root)
        .args(apt.stable_sources()?)
        .run()?;
    Command::new("/usr/sbin/mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(&image).arg(SIZE).run_quietly()?;
    Ok(image)
}
