//! Owns the verb `bench`: a guest whose clock counts instructions, and the figures that come out of it.
//!
//! Must not know what is measured, nor how: `tests/src/bin/bench.rs` does, and its figures have names.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Map, Value};

use crate::guest::{self, Clock, Guest, Kernel, Output, Payload};
use crate::{paths, programs, setup};

/// Where the guest finds the benchmarks, and the program that acts for them.
const PROGRAM: &str = "/usr/local/bin/agent-guard-bench";
const ACT: &str = "/usr/local/bin/agent-guard-act";
const TIME_LIMIT: Duration = Duration::from_secs(1200);

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure only on this kernel; may be repeated [default: all]
    #[arg(long = "kernel", value_enum, value_name = "KERNEL")]
    kernels: Vec<Kernel>,
    /// Write the figures to a file as well: kernel -> figure -> instructions
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A figure's name, and the figure: instructions, or a ratio of them.
type Figure = (String, f64);

/// Measures, and prints a table a kernel.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::run()?;
    let program =
        |name, guest: &str| Ok::<_, anyhow::Error>(Payload { host: programs::binary(name)?, guest: guest.to_owned() });
    let payload = vec![guest::released_daemon()?, program("bench", PROGRAM)?, program("act", ACT)?];
    let kernels = if args.kernels.is_empty() { &Kernel::ALL[..] } else { &args.kernels };
    let mut all = Map::new();
    for kernel in kernels {
        let figures = measure(*kernel, &payload)?;
        println!("{kernel}");
        figures.iter().for_each(|(name, figure)| println!("  {name:<60}{figure:>15}"));
        all.insert(kernel.to_string(), figures.into_iter().collect());
    }
    if let Some(file) = &args.json {
        paths::write(file.clone(), format!("{:#}\n", Value::Object(all)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The figures of one kernel, in the order of their measuring.
fn measure(kernel: Kernel, payload: &[Payload]) -> Result<Vec<Figure>> {
    let guest = Guest {
        kernel,
        rootfs: None,
        payload: payload.to_vec(),
        command: vec![PROGRAM.to_owned()],
        time_limit: Some(TIME_LIMIT),
        clock: Clock::Instructions,
    };
    let (mut figures, mut others) = (Vec::new(), String::new());
    let status = guest.boot(Output::Lines(Box::new(|line| match figure(line) {
        Some(figure) => figures.push(figure),
        None => others.push_str(&format!("{line}\n")),
    })))?;
    ensure!(status == 0, "the benchmarks ended with {status}:\n{others}");
    Ok(figures)
}

/// Reads a line that has a figure: its name, a tab, the figure.
fn figure(line: &str) -> Option<Figure> {
    let (name, figure) = line.split_once('\t')?;
    Some((name.to_owned(), figure.parse().ok()?))
}
