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

use crate::guest::{self, Clock, Guest, Kernel, Output, Payload, rootfs};
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
    ("scenario_tools", Kernel::Stable),
];
/// Of those, the ones that run on each kernel where what takes long is asked for: how a kernel bears stress, what it does
/// with its daemon and without, which hooks its network meets, and how tools stop and go on, are its own matters, and how
/// programs end is not.
const LONG_ON_EACH: &[&str] = &["approval", "fault", "scenario_egress", "scenario_stress", "scenario_tools"];
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

/// What guests are made of, whichever suite they run.
struct Equipment {
    /// The root file system of scenarios, if there is any among them.
    rootfs: Option<PathBuf>,
    payload: Vec<Payload>,
}

/// Whether a test, by its own name or with its modules, runs only when what takes long is asked for.
pub(crate) fn is_named_long(name: &str) -> bool {
    name.rsplit("::").next().is_some_and(|name| name.starts_with(LONG))
}

/// Runs the suites in guests, those first that take longest: none of them is to be waited for in the end, beside nothing.
pub(crate) fn run(args: &Args, programs: &[Program], report: &Report) -> Result<()> {
    let suites = programs.iter().filter(|program| program.kind == Kind::IntegrationTest && program.is_for_guests());
    let mut jobs = jobs(args, &suites.collect::<Vec<_>>())?;
    if jobs.is_empty() {
        return Ok(());
    }
    report.section("guests");
    jobs.sort_by_key(|job| only_kernel(job.suite).is_none());
    guest::fetch_kernels(args.kernels())?;
    let equipment = Equipment {
        rootfs: jobs.iter().any(|job| is_scenario(job.suite)).then(rootfs::image).transpose()?,
        payload: common_payload(programs).into_iter().chain(without(args)?).collect(),
    };
    let (alone, beside): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|job| job.tests.iter().any(|test| wants_all(job.suite, test)));
    run_all(1, args, alone, &equipment, report);
    run_all(args.jobs.max(1), args, beside, &equipment, report);
    Ok(())
}

/// Gets onto this machine what every run of all suites needs.
pub(crate) fn fetch(args: &Args) -> Result<()> {
    guest::fetch_kernels(args.kernels())?;
    rootfs::image().map(drop)
}

/// Whether a suite replays a story with real tools.
fn is_scenario(suite: &Program) -> bool {
    suite.name.starts_with(SCENARIO)
}

/// The kernel that a suite runs on unless more is asked for, if it is one.
fn only_kernel(suite: &Program) -> Option<Kernel> {
    ON_ONE_KERNEL.iter().find(|(name, _)| *name == suite.name).map(|(_, kernel)| *kernel)
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

fn jobs<'a>(args: &Args, suites: &[&'a Program]) -> Result<Vec<Job<'a>>> {
    let mut jobs = Vec::new();
    for suite in suites {
        for tests in parts(suite, names(suite, args)?) {
            let of_kernel = |kernel: &Kernel| Job { kernel: *kernel, suite, tests: tests.clone() };
            let is_asked_for = !args.filters.is_empty() || !args.kernels.is_empty();
            let is_on_each = is_asked_for || args.long && LONG_ON_EACH.contains(&suite.name.as_str());
            match only_kernel(suite).filter(|_| !is_on_each) {
                Some(kernel) => jobs.push(of_kernel(&kernel)),
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
fn run_all(guests: usize, args: &Args, jobs: Vec<Job<'_>>, equipment: &Equipment, report: &Report) {
    let queue = Mutex::new(VecDeque::from(jobs));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..guests {
            scope.spawn(|| {
                while let Some(job) = next() {
                    run_one(args, &job, equipment, report);
                }
            });
        }
    });
}

fn run_one(args: &Args, job: &Job<'_>, equipment: &Equipment, report: &Report) {
    let program = format!("/usr/local/lib/suites/{}", job.suite.name);
    let mut payload = equipment.payload.clone();
    payload.push(Payload { host: job.suite.path.clone(), guest: program.clone() });
    let mut command = vec![program, "--test-threads=1".to_owned(), "--exact".to_owned()];
    if args.long {
        command.push("--include-ignored".to_owned());
    }
    command.extend(job.tests.iter().cloned());
    let guest = Guest {
        kernel: job.kernel,
        rootfs: equipment.rootfs.clone().filter(|_| is_scenario(job.suite)),
        payload,
        command,
        time_limit: Some(if args.long { LONG_TIME_LIMIT } else { TIME_LIMIT }),
        clock: Clock::Time,
    };
    let mut suite = Suite::expecting(job.tests.iter().map(String::as_str));
    let ending = guest.boot(Output::Lines(Box::new(|line| suite.read(line))));
    report.suite(&format!("{} {}", job.kernel, job.suite.name), &suite, ending.as_ref().err());
}
