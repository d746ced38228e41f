//! Owns the verb `vm`: a guest for a person, with the daemon installed, and the policy that ships.
//!
//! Must not know how a guest is made.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::guest::{self, Clock, Guest, Kernel, Output, Payload, rootfs};
use crate::setup;

/// Where the daemon looks for its policy, and what it finds there unless a person has put another file there.
const POLICY: (&str, &str) = ("agent-guard/policies/default.yaml", "/etc/agent-guard/policy.yaml");

/// Options of `cargo xtask vm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel to run
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
    /// Boot a Debian root file system with real tools, not busybox in memory
    #[arg(long)]
    rootfs: bool,
    /// Kill the guest after this many seconds [default: 600 with a command, never with a shell]
    #[arg(long, value_name = "SECS")]
    timeout: Option<u64>,
    /// Put a file of this machine into the guest
    #[arg(long, value_name = "HOST:GUEST", value_parser = guest::parse_payload)]
    file: Vec<Payload>,
    /// Boot without the daemon, for work on the guest itself
    #[arg(long, hide = true)]
    no_daemon: bool,
    /// What to run in the guest; a shell without it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Boots the guest; the exit status is the command's.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::run()?;
    let is_shell = args.command.is_empty();
    let mut payload = args.file.clone();
    if !args.no_daemon {
        payload.push(guest::daemon()?);
        let (host, guest) = POLICY;
        if payload.iter().all(|file| file.guest != guest) {
            payload.push(Payload { host: host.into(), guest: guest.to_owned() });
        }
    }
    let guest = Guest {
        kernel: args.kernel,
        rootfs: args.rootfs.then(rootfs::image).transpose()?,
        payload,
        command: if is_shell { vec!["/bin/sh".to_owned(), "-l".to_owned()] } else { args.command.clone() },
        time_limit: args.timeout.or((!is_shell).then_some(600)).map(Duration::from_secs),
        clock: Clock::Time,
    };
    let output = if is_shell || std::io::stdin().is_terminal() { Output::Terminal } else { Output::Stdout };
    let status = guest.boot(output)?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}
