//! Owns what it takes to boot one guest: kernel, first file system, perhaps a disk, and a command.
//!
//! Must not know who asks, nor what the command does.

mod cpio;
mod initramfs;
mod kernels;
mod modules;
mod qemu;
pub(crate) mod rootfs;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub(crate) use self::initramfs::Payload;
pub(crate) use self::kernels::Kernel;
pub(crate) use self::qemu::{Clock, Output};

use self::initramfs::Initramfs;
use self::qemu::{Ending, Machine};
use crate::{ebpf, paths, programs};

/// Times that a guest is booted whose init does not start.
const BOOTS: usize = 3;

/// A guest to boot.
#[derive(Debug)]
pub(crate) struct Guest {
    /// The kernel it runs.
    pub(crate) kernel: Kernel,
    /// The Debian root file system; without it, busybox in memory.
    pub(crate) rootfs: Option<PathBuf>,
    /// Files it gets.
    pub(crate) payload: Vec<Payload>,
    /// What it runs; its status is the guest's.
    pub(crate) command: Vec<String>,
    /// How long it may take.
    pub(crate) time_limit: Option<Duration>,
    /// What its clock counts.
    pub(crate) clock: Clock,
}

impl Guest {
    /// Boots the guest, runs its command and returns the status.
    pub(crate) fn boot(&self, mut output: Output<'_>) -> Result<i32> {
        let kernel = kernels::fetch(self.kernel)?;
        let init = programs::binary("init")?;
        let initramfs = Initramfs {
            kernel: &kernel,
            init: &init,
            payload: &self.payload,
            command: &self.command,
            has_rootfs: self.rootfs.is_some(),
        };
        let run = paths::scratch(&paths::vm("run")?)?;
        paths::write(run.join("initrd"), initramfs.build()?)?;
        let machine = Machine {
            vmlinuz: kernel.vmlinuz(),
            initrd: run.join("initrd"),
            disk: self.rootfs.clone(),
            parameters: self.parameters(&output),
            console: run.join("console"),
            time_limit: self.time_limit,
            clock: self.clock,
        };
        let mut ending = machine.run(&mut output);
        for _ in 1..BOOTS {
            if !matches!(ending, Ok(Ending::NotBooted)) {
                break;
            }
            eprintln!("a guest on kernel {} did not boot, and is booted again", self.kernel);
            ending = machine.run(&mut output);
        }
        let console = machine.last_console_lines();
        fs::remove_dir_all(&run).with_context(|| format!("cannot remove `{}`", run.display()))?;
        let why = match ending? {
            Ending::Exit(status) => return Ok(status),
            Ending::NotBooted => format!("it did not boot, {BOOTS} times"),
            Ending::TimedOut => format!("killed after {} s", self.time_limit.unwrap_or_default().as_secs()),
            Ending::Trouble(line) => format!("its kernel is in trouble: {line}"),
            Ending::Vanished => "it ended before its command did".to_owned(),
        };
        bail!("guest on kernel {}: {why}; its console ended with:\n{console}", self.kernel)
    }

    /// What init must know; the kernel passes it on as environment.
    fn parameters(&self, output: &Output<'_>) -> String {
        let mut parameters = Vec::new();
        if self.rootfs.is_some() {
            parameters.push("GUEST_DISK=/dev/vda".to_owned());
        }
        if matches!(output, Output::Terminal) {
            let terminal = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
            parameters.push(format!("GUEST_TERMINAL={terminal}"));
        }
        parameters.join(" ")
    }
}

/// Gets the kernels onto this machine: two guests that boot at once must not both ask apt.
pub(crate) fn fetch_kernels(kernels: &[Kernel]) -> Result<()> {
    kernels.iter().try_for_each(|kernel| kernels::fetch(*kernel).map(drop))
}

/// Builds the daemon with its BPF object, and returns it as a file for a guest.
pub(crate) fn daemon() -> Result<Payload> {
    daemon_by(programs::binary)
}

/// The same, as people run it.
pub(crate) fn released_daemon() -> Result<Payload> {
    daemon_by(programs::released)
}

fn daemon_by(build: fn(&str) -> Result<PathBuf>) -> Result<Payload> {
    ebpf::build(true)?;
    Ok(Payload { host: build("agent-guard")?, guest: "/usr/bin/agent-guard".to_owned() })
}

/// Reads `HOST:GUEST` as a person types it.
pub(crate) fn parse_payload(text: &str) -> Result<Payload, String> {
    let (host, guest) = text.split_once(':').ok_or("expected HOST:GUEST")?;
    if !guest.starts_with('/') {
        return Err(format!("`{guest}` is not an absolute path in the guest"));
    }
    Ok(Payload { host: Path::new(host).to_owned(), guest: guest.to_owned() })
}
