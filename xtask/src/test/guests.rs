//! Owns the suites: which tests each has, and one guest for each suite and kernel, a few at a time.
//!
//! Must not know how a guest is made. A suite has a guest of its own, so that one that dies takes no other along.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::guest::{self, Guest, Kernel, Output, Payload, rootfs};
use crate::paths;
use crate::process::Run as _;
use crate::programs::{Kind, Program};
use crate::test::Args;
use crate::test::libtest::{Suite, listed};
use crate::test::report::Report;

/// Suites named so replay a story with real tools: they need the Debian root file system.
const SCENARIO: &str = "scenario";
/// Suites that take long and show little of a kernel that others do not: unless more is asked for, each runs on one, and
/// that on another than the next.
const ON_ONE_KERNEL: &[(&str, Kernel)] = &[
    ("approval", Kernel::Stable),
    ("fault", Kernel::Oldest),
    ("scenario_egress", Kernel::Newest),
    ("scenario_incident", Kernel::Oldest),
    ("scenario_programs", Kernel::Stable),
    ("scenario_stress", Kernel::Newest),
];
/// Of those, the ones that run on each kernel where what takes long is asked for: how a kernel bears stress, what it does
/// with its daemon and without, and which hooks its network meets, are its own matters, and how programs end is not.
const LONG_ON_EACH: &[&str] = &["approval", "fault", "scenario_egress", "scenario_stress"];
/// Suites whose long tests wait for a thousand processes: beside others they would wait for ever. Those tests have the
/// machine for themselves.
const ALONE: &[&str] = &["fault"];
/// Tests named so run only when asked for.
const LONG: &str = "long_";
const TIME_LIMIT: Duration = Duration::from_secs(600);
const LONG_TIME_LIMIT: Duration = Duration::from_secs(3600);

/// One suite on one kernel.
struct Job<'a> {
    kernel: Kernel,
    suite: &'a Program,
    tests: Vec<String>,
}

/// Whether a suite's test can run beside no other.
fn wants_all(suite: &Program, test: &str) -> bool {
    ALONE.contains(&suite.name.as_str()) && is_named_long(test)
}

/// Whether a test, by its own name or with its modules, runs only when what takes long is asked for.
pub(crate) fn is_named_long(name: &str) -> bool {
    name.rsplit("::").next().is_some_and(|name| name.starts_with(LONG))
}

/// Runs the suites in guests: first those in memory, then the scenarios.
pub(crate) fn run(args: &Args, programs: &[Program], report: &Report) -> Result<()> {
    let is_suite = |program: &&Program| program.kind == Kind::IntegrationTest && program.is_for_guests();
    let (scenarios, suites): (Vec<_>, Vec<_>) =
        programs.iter().filter(is_suite).partition(|program| program.name.starts_with(SCENARIO));
    for (section, suites) in [("suites", suites), ("scenarios", scenarios)] {
        let jobs = jobs(args, &suites)?;
        if jobs.is_empty() {
            continue;
        }
        report.section(section);
        guest::fetch_kernels(args.kernels())?;
        let rootfs = (section == "scenarios").then(rootfs::image).transpose()?;
        let mut payload = common_payload(programs);
        payload.extend(without(args)?);
        let (alone, beside): (VecDeque<_>, VecDeque<_>) =
            jobs.into_iter().partition(|job| job.tests.iter().any(|test| wants_all(job.suite, test)));
        run_all(1, args, alone, &payload, rootfs.as_ref(), report);
        run_all(args.jobs.max(1), args, beside, &payload, rootfs.as_ref(), report);
    }
    Ok(())
}

/// Where a guest finds which hooks it is to do without; `tests/src/guest/daemon.rs` is the other side.
fn without(args: &Args) -> Result<Option<Payload>> {
    if args.without.is_empty() {
        return Ok(None);
    }
    let host = paths::vm("run")?.join("without");
    paths::write(host.clone(), args.without.join("\n"))?;
    Ok(Some(Payload { host, guest: "/etc/agent-guard-without".to_owned() }))
}

fn jobs<'a>(args: &Args, suites: &[&'a Program]) -> Result<VecDeque<Job<'a>>> {
    let mut jobs = VecDeque::new();
    for suite in suites {
        for tests in parts(suite, names(suite, args)?) {
            let of_kernel = |kernel: &Kernel| Job { kernel: *kernel, suite, tests: tests.clone() };
            let only = ON_ONE_KERNEL.iter().find(|(name, _)| *name == suite.name).map(|(_, kernel)| *kernel);
            let is_asked_for = !args.filters.is_empty() || !args.kernels.is_empty();
            let is_on_each = is_asked_for || args.long && LONG_ON_EACH.contains(&suite.name.as_str());
            match only.filter(|_| !is_on_each) {
                Some(kernel) => jobs.push_back(of_kernel(&kernel)),
                None => jobs.extend(args.kernels().iter().map(of_kernel)),
            }
        }
    }
    Ok(jobs)
}

/// The tests of a suite, by those that one guest runs; no part is empty.
fn parts(suite: &Program, tests: Vec<String>) -> Vec<Vec<String>> {
    let (apart, together): (Vec<_>, Vec<_>) = tests.into_iter().partition(|test| wants_all(suite, test));
    [apart, together].into_iter().filter(|part| !part.is_empty()).collect()
}

/// Asks a test program, on the host, which of its tests are to run.
pub(crate) fn names(program: &Program, args: &Args) -> Result<Vec<String>> {
    let list = |extra: &[&str]| {
        let mut command = Command::new(&program.path);
        command.args(["--list", "--format", "terse"]).args(extra);
        Ok::<_, anyhow::Error>(listed(&command.read().context("cannot list the tests")?))
    };
    let ignored = if args.long { Vec::new() } else { list(&["--ignored"])? };
    let mut names = list(&[])?;
    names.retain(|name| {
        let is_long = ignored.contains(name) || is_named_long(name);
        (args.long || !is_long) && args.selects(&format!("{}::{name}", program.name))
    });
    Ok(names)
}

/// What every guest gets: the daemon, and the programs that suites run.
fn common_payload(programs: &[Program]) -> Vec<Payload> {
    let binaries = programs.iter().filter(|program| program.kind == Kind::Binary);
    binaries
        .filter_map(|program| {
            let guest = match program.name.as_str() {
                "agent-guard" => "/usr/bin/agent-guard".to_owned(),
                name if program.is_for_guests() && name != "init" => {
                    format!("/usr/local/bin/agent-guard-{name}")
                }
                _ => return None,
            };
            Some(Payload { host: program.path.clone(), guest })
        })
        .collect()
}

/// Runs the jobs, so many guests at a time.
fn run_all(
    guests: usize,
    args: &Args,
    jobs: VecDeque<Job<'_>>,
    payload: &[Payload],
    rootfs: Option<&PathBuf>,
    report: &Report,
) {
    let queue = Mutex::new(jobs);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..guests {
            scope.spawn(|| {
                while let Some(job) = next() {
                    run_one(args, &job, payload, rootfs, report);
                }
            });
        }
    });
}

fn run_one(args: &Args, job: &Job<'_>, payload: &[Payload], rootfs: Option<&PathBuf>, report: &Report) {
    let program = format!("/usr/local/lib/suites/{}", job.suite.name);
    let mut payload = payload.to_vec();
    payload.push(Payload { host: job.suite.path.clone(), guest: program.clone() });
    let mut command = vec![program, "--test-threads=1".to_owned(), "--exact".to_owned()];
    if args.long {
        command.push("--include-ignored".to_owned());
    }
    command.extend(job.tests.iter().cloned());
    let guest = Guest {
        kernel: job.kernel,
        rootfs: rootfs.cloned(),
        payload,
        command,
        time_limit: Some(if args.long { LONG_TIME_LIMIT } else { TIME_LIMIT }),
    };
    let mut suite = Suite::expecting(job.tests.iter().map(String::as_str));
    let ending = guest.boot(Output::Lines(Box::new(|line| suite.read(line))));
    report.suite(&format!("{} {}", job.kernel, job.suite.name), &suite, ending.as_ref().err());
}
