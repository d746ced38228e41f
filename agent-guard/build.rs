//! Owns how the BPF object gets into the daemon: embeds what `cargo xtask build-ebpf` wrote, or an empty stub for checks.
//!
//! Must not know how the object is built: that takes another compiler and another target.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Set for builds that are never run, such as `cargo clippy`: they need no BPF compiler.
const STUB: &str = "AGENT_GUARD_STUB_BPF";
const OBJECT: &str = "../target/bpf/agent-guard.o";
/// What the object is made of.
const SOURCES: [&str; 2] = ["../agent-guard-ebpf/src", "../agent-guard-common/src"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(stub_bpf)");
    println!("cargo::rerun-if-env-changed={STUB}");
    let object = if env::var_os(STUB).is_some() { stub() } else { object() };
    match object {
        Ok(path) => println!("cargo::rustc-env=AGENT_GUARD_BPF_OBJECT={}", path.display()),
        Err(message) => println!("cargo::error={message}"),
    }
}

/// The daemon of such a build refuses to start.
fn stub() -> Result<PathBuf, String> {
    println!("cargo::rustc-cfg=stub_bpf");
    let directory = env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?;
    let path = Path::new(&directory).join("stub.o");
    fs::write(&path, []).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    Ok(path)
}

fn object() -> Result<PathBuf, String> {
    const REMEDY: &str =
        "run `cargo xtask build-ebpf` first (checks that are never run can set AGENT_GUARD_STUB_BPF=1)";
    for path in SOURCES.iter().chain([&OBJECT]) {
        println!("cargo::rerun-if-changed={path}");
    }
    let path = fs::canonicalize(OBJECT)
        .map_err(|error| format!("no BPF object to embed at `{OBJECT}` ({error}): {REMEDY}"))?;
    let built = modified(&path);
    // A daemon with rules that its source no longer has would be worse than none.
    let is_stale = SOURCES.iter().any(|source| newest(Path::new(source)) > built);
    if is_stale { Err(format!("the BPF object is older than its sources: {REMEDY}")) } else { Ok(path) }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Returns when anything below a directory was last written.
fn newest(directory: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    entries
        .filter_map(|entry| if entry.path().is_dir() { newest(&entry.path()) } else { modified(&entry.path()) })
        .max()
}
