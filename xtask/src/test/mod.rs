//! Owns the verb `test`: host steps, then the suites in guests on every kernel, and the count over everything.
//!
//! Must not know what any test is about.

mod guests;
mod host;
mod libtest;
mod report;

pub(crate) use guests::is_named_long;

use std::process::ExitCode;
use std::thread;

use anyhow::Result;

use crate::guest::Kernel;
use crate::programs::{self, Program};
use crate::test::report::Report;
use crate::{ebpf, setup};

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run guests only with this kernel; may be repeated [default: all]
    #[arg(long = "kernel", value_enum, value_name = "KERNEL")]
    kernels: Vec<Kernel>,
    /// Run only tests whose name contains this; may be repeated. A guest's test is named `suite::test`
    #[arg(long = "filter", value_name = "TEXT")]
    filters: Vec<String>,
    /// Also run what takes long: tests named `long_…` and those ignored as long
    #[arg(long)]
    long: bool,
    /// Take this hook away in the guests; may be repeated. Tests that prove what it protects then fail
    #[arg(long, value_name = "HOOK")]
    without: Vec<String>,
    /// How many guests run at once: more than this machine has cores, since tests wait more than they compute
    #[arg(long, default_value_t = 3, value_name = "N")]
    jobs: usize,
}

impl Args {
    fn kernels(&self) -> &[Kernel] {
        if self.kernels.is_empty() { &Kernel::ALL } else { &self.kernels }
    }

    fn selects(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|text| name.contains(text))
    }
}

/// Runs everything that was asked for; the last line is the count.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let report = Report::default();
    if report.step("setup", setup::run) {
        run_all(args, &report);
    }
    Ok(report.finish())
}

fn run_all(args: &Args, report: &Report) {
    thread::scope(|scope| {
        // What guests are made of comes over the network, while the build wants the processors. What fails here is tried again
        // when it is needed, and told then.
        let fetching = args.filters.is_empty().then(|| scope.spawn(|| guests::fetch(args)));
        if args.filters.is_empty() {
            report.section("host");
            host::steps(report);
        }
        run_built(args, report, || drop(fetching.map(thread::ScopedJoinHandle::join)));
    });
}

/// Builds, and runs what was built; before the first guest it waits for what has been begun for them.
fn run_built(args: &Args, report: &Report, wait: impl FnOnce()) {
    report.section("build");
    let mut programs = Vec::new();
    let is_built = report.step("BPF object", || ebpf::build(true))
        && report.step("test programs", || {
            programs = build()?;
            Ok(())
        });
    if is_built {
        report.section("unit tests");
        host::unit_tests(args, &programs, report);
        wait();
        if let Err(error) = guests::run(args, &programs, report) {
            report.step("guests", || Err(error));
        }
    }
}

/// Builds every test, and every program that a guest needs.
fn build() -> Result<Vec<Program>> {
    let mut tests = programs::static_cargo("test");
    tests.args(["--quiet", "--no-run"]);
    let mut binaries = programs::static_cargo("build");
    binaries.args(["--quiet", "--bins"]);
    let mut programs = programs::built(tests)?;
    // Cargo builds the binaries of a package for its integration tests too: each is wanted once.
    programs.retain(|program| program.kind != programs::Kind::Binary);
    programs.extend(programs::built(binaries)?);
    Ok(programs)
}
