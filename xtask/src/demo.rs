//! Owns the verb `demo`: the incident, replayed in a guest, told as a story.
//!
//! Must not know the story: `tests/src/bin/demo.rs` tells it, and checks each of its facts.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::guest::{self, Clock, Guest, Kernel, Output, Payload, rootfs};
use crate::{programs, setup};

/// Where the guest finds the story.
const PROGRAM: &str = "/usr/local/bin/agent-guard-demo";
const TIME_LIMIT: Duration = Duration::from_secs(900);

/// Options of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel to run
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
}

/// Tells the story; the exit status is 1 if one of its facts does not hold.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::run()?;
    println!("demo: building agent-guard and a guest for it");
    let story = Payload { host: programs::binary("demo")?, guest: PROGRAM.to_owned() };
    let guest = Guest {
        kernel: args.kernel,
        rootfs: Some(rootfs::image()?),
        payload: vec![guest::daemon()?, story],
        command: vec![PROGRAM.to_owned()],
        time_limit: Some(TIME_LIMIT),
        clock: Clock::Time,
    };
    println!("demo: booting kernel {} under emulation", args.kernel);
    let status = guest.boot(Output::Stdout)?;
    Ok(if status == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
