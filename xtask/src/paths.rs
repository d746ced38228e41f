//! Owns where things lie in the checkout; every other file uses paths relative to its root.
//!
//! Must not know what is in them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// The BPF object that the daemon embeds.
pub(crate) const BPF_OBJECT: &str = "target/bpf/agent-guard.o";

/// Makes the root of the checkout the working directory, wherever `cargo xtask` was typed.
pub(crate) fn enter_root() -> Result<()> {
    // Cargo sets the variable at run time too; the constant would be stale in a checkout that was moved.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&manifest).parent().context("xtask has no parent directory")?;
    env::set_current_dir(root).with_context(|| format!("cannot enter `{}`", root.display()))
}

/// The root of the checkout, for programs that run elsewhere.
pub(crate) fn current() -> Result<PathBuf> {
    env::current_dir().context("cannot tell the working directory")
}

/// A directory for what guests are made of; created when missing.
pub(crate) fn vm(name: impl AsRef<Path>) -> Result<PathBuf> {
    let path = Path::new("target/vm").join(name);
    create(&path)?;
    Ok(path)
}

/// Creates a directory for this process alone, and removes those that killed processes left behind.
pub(crate) fn scratch(parent: &Path) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    const SUFFIX: &str = ".part";
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_suffix(SUFFIX).and_then(|name| name.split('.').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another thread or xtask may be removing it as well; what stays is tried again the next time.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = parent.join(format!("{}.{number}{SUFFIX}", std::process::id()));
    create(&path)?;
    Ok(path)
}

/// Creates a directory and its parents.
pub(crate) fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create `{}`", path.display()))
}

/// Reads a file, naming it in the error.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Writes a file, naming it in the error.
pub(crate) fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, contents).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Names a cache entry for what it is made of.
pub(crate) fn cache_key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::cache_key;

    #[test]
    fn a_cache_key_depends_on_where_the_parts_end() {
        assert_eq!(cache_key(&["a", "b"]).len(), 12);
        assert_ne!(cache_key(&["ab", "c"]), cache_key(&["a", "bc"]));
    }
}
