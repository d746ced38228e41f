//! Owns the part of a test run that needs no guest: style, lints, docs, and the unit tests.
//!
//! Must not run a suite: those load kernel programs, which no host is to have from a test.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};

use crate::process::{Run as _, cargo};
use crate::programs::{Kind, Program};
use crate::test::Args;
use crate::test::libtest::Suite;
use crate::test::report::Report;
use crate::tidy;

/// Test programs that run at one time.
const PROGRAMS: usize = 2;
/// Checks that are never run need no BPF object.
const STUB: (&str, &str) = ("AGENT_GUARD_STUB_BPF", "1");

/// Runs the steps, each of which counts as one test.
pub(crate) fn steps(report: &Report) {
    report.step("tidy", tidy::check);
    // Only the files are named: `cargo fmt` shows, and mends, the rest.
    report.step("format", || cargo("fmt").args(["--all", "--check", "--", "-l"]).run_quietly());
    // Those that are no members of the workspace.
    for apart in ["agent-guard-ebpf", "fuzz"] {
        report.step(&format!("format of `{apart}`"), || {
            let mut format = cargo("fmt");
            format.args(["--manifest-path", &format!("{apart}/Cargo.toml"), "--check", "--", "-l"]).run_quietly()
        });
    }
    report.step("clippy", || {
        let mut clippy = cargo("clippy");
        clippy.args(["--quiet", "--workspace", "--all-targets", "--", "-Dwarnings"]);
        clippy.env(STUB.0, STUB.1).run_quietly()
    });
    report.step("docs", || {
        let mut doc = cargo("doc");
        doc.args(["--quiet", "--workspace", "--no-deps", "--document-private-items"]);
        doc.env(STUB.0, STUB.1).env("RUSTDOCFLAGS", "-Dwarnings").run_quietly()
    });
}

/// Runs the unit tests of every crate, two programs at a time: most of what takes long waits.
pub(crate) fn unit_tests(args: &Args, programs: &[Program], report: &Report) {
    let of_host = programs.iter().filter(|program| program.kind != Kind::Binary && !program.is_for_guests());
    let queue = Mutex::new(of_host);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..PROGRAMS {
            scope.spawn(|| {
                while let Some(program) = next() {
                    run_program(args, program, report);
                }
            });
        }
    });
}

fn run_program(args: &Args, program: &Program, report: &Report) {
    let package = program.package.file_name().unwrap_or_default().to_string_lossy();
    let place = format!("{package}/{}", program.name);
    match unit_test(args, program) {
        Ok(Some(suite)) => report.suite(&place, &suite, None),
        Ok(None) => {}
        Err(error) => {
            report.step(&place, || Err(error));
        }
    }
}

/// Runs the tests of one program; there may be none, or none that the filter selects.
fn unit_test(args: &Args, program: &Program) -> Result<Option<Suite>> {
    let names = super::guests::names(program, args)?;
    if names.is_empty() {
        return Ok(None);
    }
    let mut suite = Suite::expecting(names.iter().map(String::as_str));
    let mut command = Command::new(&program.path);
    command.current_dir(&program.package).args(["--test-threads=2", "--exact"]).args(&names);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("no pipe")?;
    for line in BufReader::new(output).lines() {
        suite.read(&line?);
    }
    child.wait()?;
    Ok(Some(suite))
}
