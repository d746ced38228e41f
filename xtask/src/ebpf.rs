//! Owns the build of the BPF object: another compiler, another target, and the check that no panic is left in it.
//!
//! Must not know what the programs do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::process::{Run as _, cargo};
use crate::{paths, programs};

/// The LLVM that bpf-linker and the Debian compiler share.
pub(crate) const LLVM: &str = "/usr/lib/llvm-22";
/// Takes out of an object what the kernel does not read.
const LLVM_OBJCOPY: &str = "/usr/lib/llvm-22/bin/llvm-objcopy";
/// Lists an object's symbols.
pub(crate) const LLVM_NM: &str = "/usr/lib/llvm-22/bin/llvm-nm";

const CRATE: &str = "agent-guard-ebpf";
const TARGET: &str = "bpfel-unknown-none";
/// Crates whose inline assembly for BPF is still behind a feature gate.
const UNSTABLE: &str = "aya_ebpf,agent_guard";
/// The object needs its BTF; without a CPU LLVM would fall back to BPF v1, which lacks fetching atomics.
const FLAGS: &str = "-Cdebuginfo=2 -Clink-arg=--btf -Ctarget-cpu=v3 --cfg bpf_target_arch=\"x86_64\"";

/// Options of `cargo xtask build-ebpf`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Say nothing unless it fails
    #[arg(long)]
    quiet: bool,
}

/// A compiler that has, or can build, the core library for BPF.
#[derive(Debug)]
pub(crate) enum Compiler {
    /// Debian's `rustc-web`, with the target's core library as a package.
    Debian(PathBuf),
    /// A rustup nightly with the sources of the core library.
    Nightly(PathBuf),
}

impl Compiler {
    /// Finds one on this machine.
    pub(crate) fn find() -> Option<Self> {
        let core = Path::new("/usr/lib/rustlib").join(TARGET);
        let debian = Path::new("/usr/bin/rustc");
        if core.is_dir() && debian.is_file() {
            return Some(Self::Debian(debian.to_owned()));
        }
        // A nightly without the component `rust-src` cannot build the core library.
        let sysroot = Command::new("rustup")
            .args(["run", "nightly", "rustc", "--print", "sysroot"])
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).ok()?.trim());
        let sources = sysroot.join("lib/rustlib/src/rust/library/core");
        sources.is_dir().then_some(Self::Nightly(sysroot))
    }

    /// Returns the cargo that builds the object.
    fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Debian(rustc) => {
                let mut command = cargo("build");
                command.env("RUSTC", rustc);
                command
            }
            Self::Nightly(sysroot) => {
                let mut command = Command::new(sysroot.join("bin/cargo"));
                command.args(["build", "-Zbuild-std=core"]).env("RUSTC", sysroot.join("bin/rustc"));
                command
            }
        };
        // What a person or an outer cargo set for the host's compiler does not fit this one.
        for variable in ["RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(variable);
        }
        command.env("RUSTC_BOOTSTRAP", UNSTABLE).env("RUSTFLAGS", FLAGS).args(["--release", "--target", TARGET]);
        command
    }
}

/// Builds the object, and says where it is.
pub(crate) fn run(args: &Args) -> Result<()> {
    build(args.quiet)?;
    if !args.quiet {
        println!("built {}", paths::BPF_OBJECT);
    }
    Ok(())
}

/// Builds the object, checks it, and puts it where the daemon's build finds it.
pub(crate) fn build(quiet: bool) -> Result<()> {
    let compiler = Compiler::find()
        .context("no compiler with the core library for BPF on this machine: run `cargo xtask setup`")?;
    let target = paths::current()?.join("target/bpf-build");
    let mut command = compiler.cargo();
    command.current_dir(CRATE).env("CARGO_TARGET_DIR", target).arg("--message-format=json-render-diagnostics");
    if quiet {
        command.arg("--quiet");
    }
    let programs = programs::executables(&command.read().context("cannot build the BPF object")?);
    let object = &programs.first().context("the BPF crate has no program")?.path;
    check_symbols(object)?;
    // The kernel reads BTF; the rest of what describes the source would be four fifths of what the daemon carries.
    let stripped = object.with_extension("stripped");
    Command::new(LLVM_OBJCOPY).arg("--strip-debug").arg(object).arg(&stripped).run()?;
    install(&stripped, Path::new(paths::BPF_OBJECT))
}

/// Refuses an object that could panic: the verifier would reject it, without a place in the source.
fn check_symbols(object: &Path) -> Result<()> {
    let symbols = Command::new(LLVM_NM).arg(object).read()?;
    let faults = faults(&symbols);
    if !faults.is_empty() {
        bail!("`{}` cannot be loaded:\n{}", object.display(), faults.join("\n"));
    }
    Ok(())
}

/// Reads the lines of `nm`: an address unless undefined, a type, a name.
fn faults(symbols: &str) -> Vec<String> {
    symbols
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().rev();
            let (name, kind) = (words.next()?, words.next()?);
            // Both of Rust's manglings write a path segment as its length and its name.
            if name.contains("4core9panicking") || name.contains("core::panicking") {
                Some(format!("    a panic is reachable: `{name}`"))
            } else if kind == "U" {
                Some(format!("    nothing defines `{name}`"))
            } else {
                None
            }
        })
        .collect()
}

/// Copies the object when it changed; its time tells the daemon's build that it is newer than its sources.
fn install(built: &Path, object: &Path) -> Result<()> {
    let new = paths::read(built)?;
    if fs::read(object).is_ok_and(|old| old == new) {
        let file = fs::File::options().write(true).open(object)?;
        let sources = [CRATE, "agent-guard-common"].map(|name| newest(&Path::new(name).join("src")));
        if sources.iter().flatten().any(|source| file.metadata().and_then(|m| m.modified()).is_ok_and(|m| m < *source))
        {
            file.set_modified(SystemTime::now())?;
        }
        return Ok(());
    }
    paths::create(object.parent().context("the object has no directory")?)?;
    paths::write(object, new)
}

/// Returns when anything below a directory was last written.
fn newest(directory: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    entries
        .filter_map(|entry| {
            if entry.file_type().ok()?.is_dir() {
                newest(&entry.path())
            } else {
                entry.metadata().ok()?.modified().ok()
            }
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::faults;

    #[test]
    fn a_panic_or_a_missing_symbol_is_a_fault() {
        let symbols = "0000000000000000 T guard_path_unlink\n\
                       0000000000000010 t _ZN4core9panicking9panic_fmt17h0123456789abcdefE\n\
                       0000000000000020 t _RNvNtCs1_4core9panicking5panic\n\
                       \x20                U memchr\n";
        let faults = faults(symbols);
        assert_eq!(faults.len(), 3);
        assert!(faults[0].contains("panic_fmt"));
        assert!(faults[2].contains("nothing defines `memchr`"));
    }
}
