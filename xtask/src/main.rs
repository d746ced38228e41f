//! Owns the verbs of `cargo xtask`; each is a module that does the work.

mod apt;
mod bench;
mod demo;
mod ebpf;
mod fuzz;
mod guest;
mod paths;
mod process;
mod programs;
mod setup;
mod test;
mod tidy;
mod vm;
mod weaken;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// What cargo alone cannot do for agent-guard.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Install what this machine lacks to build and test; needs root and apt
    Setup,
    /// Build the BPF object that the daemon embeds
    BuildEbpf(ebpf::Args),
    /// Boot a guest with the daemon installed, run a command or a shell in it
    Vm(vm::Args),
    /// Run every test: host steps, unit tests, suites in guests on every kernel
    Test(test::Args),
    /// Measure what the guard costs, in instructions
    Bench(bench::Args),
    /// Replay the incident in a guest, unguarded and guarded
    Demo(demo::Args),
    /// Take protections away one by one, and see the tests fail that prove them
    Weaken(weaken::Args),
    /// Feed decoders of foreign bytes with whatever there is; needs cargo-fuzz
    Fuzz(fuzz::Args),
    /// Check what of the project's style a tool can hold
    Tidy,
}

fn main() -> ExitCode {
    match run(Verb::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    paths::enter_root()?;
    match verb {
        Verb::Setup => setup::run().map(|()| ExitCode::SUCCESS),
        Verb::BuildEbpf(args) => ebpf::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Vm(args) => vm::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Weaken(args) => weaken::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Tidy => tidy::check().map(|()| ExitCode::SUCCESS),
    }
}
