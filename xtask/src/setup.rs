//! Owns what a machine needs to build and test agent-guard: finds what is missing, says what it will do, installs it.
//!
//! Must not know how the tools are used. What rustup itself asks for (a C compiler, certificates) is taken for granted:
//! without it this program would not have been built.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::apt::{self, Apt, BACKPORTS};
use crate::ebpf;
use crate::paths;
use crate::process::{self, Run as _, cargo};

/// Packages of the machine's own release, each with the file, or the program in `PATH`, that shows that it is there.
const PACKAGES: &[(&str, &str)] = &[
    ("git", "git"),                                     // `tidy` asks it which files are ours
    ("xz-utils", "xz"),                                 // kernel modules are packed with it
    ("llvm-22-dev", "/usr/lib/llvm-22/lib/libLLVM.so"), // bpf-linker is linked to it
    ("llvm-22", ebpf::LLVM_NM),                         // shows what is left in the object
    ("mmdebstrap", "mmdebstrap"),                       // the root file system of the scenarios
    ("e2fsprogs", "/usr/sbin/mke2fs"),                  // makes an image of it
    ("python3-pip", "pip3"),                            // fetches the scenarios' cloud, which Debian does not have
    ("debian-archive-keyring", apt::KEYRING),           // vouches for what is downloaded
    ("curl", "curl"),                                   // posts webhooks, also in tests
    ("tmux", "tmux"),                                   // the terminal in which `watch` is tested
];
/// The one rustc of Debian 12 that has the BPF target's core library, where rustup's nightly does not.
const BPF_CORE: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf"];
/// What does the same where there are no such packages: a nightly that builds the core library from its sources.
const BPF_CORE_BY_RUSTUP: &[&str] =
    &["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"];
/// QEMU 7.2, which the release itself has, double-faults kernel 6.12 in its cmpxchg16b.
const QEMU: [&str; 4] = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"];
const QEMU_MAJOR: u32 = 10;
const LINKER: &str = "0.13.0";
/// Holds the served description against the server; Debian does not package it. `agent-guard/tests/schema.rs` runs it.
const SCHEMATHESIS: &str = "4.32.5";
/// Apart from the machine's own Python packages, and without a virtual environment: nobody types its name.
const SCHEMATHESIS_HOME: &str = "target/schemathesis";

/// What is missing, in the order in which it is installed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    packages: Vec<&'static str>,
    core: bool,
    qemu: bool,
    linker: bool,
    schemathesis: bool,
}

/// Installs what is missing, or says how to where it cannot.
pub(crate) fn run() -> Result<()> {
    let missing = Missing::find();
    if missing == Missing::default() {
        return Ok(());
    }
    let has_apt = process::find("apt-get").is_some();
    let is_root = Command::new("id").arg("-u").read().is_ok_and(|id| id.trim() == "0");
    let can_apt = has_apt && is_root;
    if (!missing.packages.is_empty() || missing.qemu) && !can_apt {
        println!("setup: this machine lacks something, and only root with apt can install it:");
        println!("{}", missing.commands(has_apt));
        bail!("run the commands above, then try again");
    }
    missing.install(can_apt)?;
    let left = Missing::find();
    if left != Missing::default() {
        bail!("still missing after installing:\n{}", left.commands(has_apt));
    }
    Ok(())
}

impl Missing {
    fn find() -> Self {
        let is_there = |sign: &str| {
            if sign.contains('/') { Path::new(sign).exists() } else { process::find(sign).is_some() }
        };
        let absent = PACKAGES.iter().filter(|(_, sign)| !is_there(sign)).map(|(package, _)| *package);
        let packages = absent.collect();
        let core = ebpf::Compiler::find().is_none();
        let qemu = version("qemu-system-x86_64").is_none_or(|major| major < QEMU_MAJOR);
        let linker = !Command::new("bpf-linker").arg("--version").read().is_ok_and(|text| text.contains(LINKER));
        let sign = Path::new(SCHEMATHESIS_HOME).join(format!("schemathesis-{SCHEMATHESIS}.dist-info"));
        Self { packages, core, qemu, linker, schemathesis: !sign.exists() }
    }

    fn install(&self, can_apt: bool) -> Result<()> {
        let mut packages = self.packages.clone();
        if can_apt && (self.core || !packages.is_empty()) {
            println!("setup: reading the machine's package lists");
            Command::new("apt-get").args(["-qq", "update"]).run()?;
        }
        if self.core && can_apt && is_in_archive(BPF_CORE[0]) {
            packages.extend(BPF_CORE);
        } else if self.core {
            println!("setup: installing a nightly compiler with rustup");
            Command::new("rustup").args(BPF_CORE_BY_RUSTUP).run()?;
        }
        if !packages.is_empty() {
            println!("setup: installing {} with apt", packages.join(" "));
            install(Command::new("apt-get"), &packages)?;
        }
        if self.qemu {
            println!("setup: installing QEMU {QEMU_MAJOR} of {BACKPORTS} with apt");
            let packages = QEMU.map(|package| format!("{package}/{BACKPORTS}"));
            install(Apt::open()?.command("apt-get"), &packages)?;
        }
        if self.linker {
            println!("setup: installing bpf-linker {LINKER} with cargo");
            // It goes where rustup's programs are; cargo would build it with our flags if they were left set.
            cargo("install")
                .args(["bpf-linker", "--version", LINKER, "--locked", "--force"])
                .args(["--no-default-features", "--features", "llvm-22"])
                .env("LLVM_PREFIX", ebpf::LLVM)
                .env_remove("CARGO_TARGET_DIR")
                .env_remove("RUSTFLAGS")
                .run()
                .context("cannot install bpf-linker")?;
        }
        if self.schemathesis {
            println!("setup: installing schemathesis {SCHEMATHESIS} with pip");
            install_schemathesis().context("cannot install schemathesis")?;
        }
        Ok(())
    }

    /// The commands that a person would type for the same.
    fn commands(&self, has_apt: bool) -> String {
        let mut lines = Vec::new();
        if has_apt {
            self.apt_commands(&mut lines);
        } else if !self.packages.is_empty() || self.qemu {
            let qemu = if self.qemu { format!(" and QEMU {QEMU_MAJOR} or newer") } else { String::new() };
            lines.push(format!(
                "    # by this system's own means, what Debian calls: {}{qemu}",
                self.packages.join(" ")
            ));
            lines.push(
                "    # (guests are made of Debian's packages: `test`, `vm` and `demo` want apt itself)".to_owned(),
            );
        }
        if self.core {
            lines.push(format!("    rustup {}", BPF_CORE_BY_RUSTUP.join(" ")));
            if has_apt {
                lines.push(format!(
                    "    # or, on Debian 12: apt-get install --no-install-recommends {}",
                    BPF_CORE.join(" ")
                ));
            }
        }
        if self.linker {
            lines.push(format!(
                "    LLVM_PREFIX={} cargo install bpf-linker --version {LINKER} --locked --no-default-features --features llvm-22",
                ebpf::LLVM
            ));
        }
        if self.schemathesis {
            lines.push(format!("    python3 -m pip install --target {SCHEMATHESIS_HOME} schemathesis=={SCHEMATHESIS}"));
        }
        lines.join("\n")
    }

    /// Those that only root can type, on a machine with apt.
    fn apt_commands(&self, lines: &mut Vec<String>) {
        if !self.packages.is_empty() {
            let packages = self.packages.join(" ");
            lines.push(format!("    apt-get update && apt-get install --no-install-recommends {packages}"));
        }
        if self.qemu {
            let archive = "$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' | head -n 1)";
            let list = "/etc/apt/sources.list.d/backports.list";
            lines.push(format!("    echo \"deb {archive} {BACKPORTS} main\" >{list} && apt-get update"));
            lines.push(format!("    apt-get install --no-install-recommends -t {BACKPORTS} {}", QEMU.join(" ")));
        }
    }
}

/// Installs schemathesis where only the tests find it; wheels only, so that nothing is built.
fn install_schemathesis() -> Result<()> {
    let home = Path::new(SCHEMATHESIS_HOME);
    let scratch = paths::scratch(Path::new("target"))?;
    Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--quiet", "--only-binary=:all:", "--no-warn-conflicts"])
        .arg("--root-user-action=ignore")
        .arg("--target")
        .arg(&scratch)
        .arg(format!("schemathesis=={SCHEMATHESIS}"))
        .run()?;
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    Ok(fs::rename(scratch, home)?)
}

/// Whether this machine's release has a package.
fn is_in_archive(package: &str) -> bool {
    Command::new("apt-cache").args(["show", package]).run_quietly().is_ok()
}

fn install(mut apt_get: Command, packages: &[impl AsRef<OsStr>]) -> Result<()> {
    apt_get
        .args(["-qq", "-oDpkg::Use-Pty=0", "-y", "--no-install-recommends", "install"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
}

/// Asks a program for its major version: the first number in its first line.
fn version(program: &str) -> Option<u32> {
    let text = Command::new(program).arg("--version").env("LC_ALL", "C").read().ok()?;
    major(&text)
}

fn major(text: &str) -> Option<u32> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Missing, major};

    #[test]
    fn a_version_is_the_first_number() {
        assert_eq!(major("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)"), Some(10));
        assert_eq!(major("no version"), None);
    }

    #[test]
    fn what_cannot_be_installed_is_told_as_commands() {
        let missing =
            Missing { packages: vec!["gcc", "xz-utils"], core: true, qemu: true, linker: true, schemathesis: true };
        let commands = missing.commands(true);
        assert!(commands.contains("apt-get update && apt-get install --no-install-recommends gcc xz-utils\n"));
        assert!(commands.contains("apt-get install --no-install-recommends rustc-web libstd-rust-web-dev-bpf\n"));
        assert!(commands.contains("cargo install bpf-linker --version 0.13.0"));
    }

    #[test]
    fn a_machine_without_apt_is_told_commands_without_it() {
        let missing = Missing { packages: vec!["gcc"], core: true, qemu: true, linker: true, schemathesis: true };
        let commands = missing.commands(false);
        assert!(commands.lines().all(|line| !line.contains("apt-get")), "{commands}");
        assert!(commands.contains("gcc and QEMU 10 or newer\n"), "{commands}");
        let rest = "    rustup toolchain install nightly --profile minimal --component rust-src\n    LLVM_PREFIX=";
        assert!(commands.contains(rest), "{commands}");
    }
}
