//! Owns the verb `fuzz`: each target for so much processor time, and a line on what came of it.
//!
//! Must not know what a target feeds, nor what has to hold: `fuzz/` does. It installs nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::paths;
use crate::process::{Run as _, find};

const TARGETS: &str = "fuzz/fuzz_targets";
const INSTALL: &str = "cargo install cargo-fuzz --locked";
/// For the triple that cargo-fuzz builds for: its sanitizer needs one that is named.
const BUILT: &str = "fuzz/target/x86_64-unknown-linux-gnu/release";
/// A run that is held up by others is not a hang: the limit is by the clock on the wall, and generous.
const HANG_SECONDS: u32 = 600;
/// How often it is asked how much time a target has had.
const PERIOD: Duration = Duration::from_millis(500);

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fuzz only these [default: all]
    targets: Vec<String>,
    /// Processor time for each of them
    #[arg(long, value_name = "N", default_value_t = 3600)]
    seconds: u64,
}

/// Fuzzes target after target; a crash of one does not keep the next from its turn.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if find("cargo-fuzz").is_none() {
        bail!("cargo-fuzz is not in PATH; install it:\n    {INSTALL}");
    }
    let all = targets()?;
    if let Some(unknown) = args.targets.iter().find(|target| !all.contains(target)) {
        bail!("there is no target `{unknown}`; there are {}", all.join(", "));
    }
    let chosen = if args.targets.is_empty() { &all } else { &args.targets };
    build()?;
    let mut code = ExitCode::SUCCESS;
    for target in chosen {
        let told = fuzz(target, Duration::from_secs(args.seconds))?;
        println!("{target:<8}{}", told.line());
        if !told.status.success() {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Every target, by the name of its file.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(TARGETS).with_context(|| format!("cannot read `{TARGETS}`"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn build() -> Result<()> {
    let mut build = Command::new("cargo");
    // The flags of a sanitizer are not stable, and the compiler that builds all else has them.
    build.args(["fuzz", "build"]).env("RUSTC_BOOTSTRAP", "1").env("AGENT_GUARD_STUB_BPF", "1");
    // Beside cargo-fuzz's own idea of where things lie, that of whoever calls would be a second one.
    build.env_remove("CARGO_TARGET_DIR").run()
}

/// What came of a target.
struct Told {
    status: ExitStatus,
    time: Duration,
    log: PathBuf,
    text: String,
}

/// Runs a target until its time is over, or it crashes. What it finds anew stays below `target`.
fn fuzz(target: &str, limit: Duration) -> Result<Told> {
    let (found, artifacts) = (format!("fuzz/target/corpus/{target}"), format!("fuzz/artifacts/{target}/"));
    paths::create(Path::new(&found))?;
    paths::create(Path::new(&artifacts))?;
    let log = PathBuf::from(format!("fuzz/target/{target}.log"));
    let mut command = Command::new(format!("{BUILT}/{target}"));
    command.args([found, format!("fuzz/corpus/{target}"), format!("-artifact_prefix={artifacts}")]);
    command.args(["-print_final_stats=1".to_owned(), format!("-timeout={HANG_SECONDS}")]);
    let words = format!("fuzz/dictionaries/{target}.dict");
    if Path::new(&words).is_file() {
        command.arg(format!("-dict={words}"));
    }
    // What a target writes to a directory of its own is gone with the run: memory is place enough for it.
    command.env("TMPDIR", "/dev/shm");
    let file = File::create(&log).with_context(|| format!("cannot create `{}`", log.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let (status, time) = watch(child, limit)?;
    let text = String::from_utf8_lossy(&paths::read(&log)?).into_owned();
    Ok(Told { status, time, log, text })
}

/// Waits until a child has ended, and asks it to when it has had its time.
fn watch(mut child: Child, limit: Duration) -> Result<(ExitStatus, Duration)> {
    let (mut time, mut is_asked) = (Duration::ZERO, false);
    loop {
        time = time.max(processor_time(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait().context("cannot wait for a target")? {
            return Ok((status, time));
        }
        if time >= limit && !is_asked {
            let asked = Command::new("kill").args(["-USR1", &child.id().to_string()]).status();
            ensure!(asked.context("cannot start `kill`")?.success(), "a target cannot be asked to end");
            is_asked = true;
        }
        thread::sleep(PERIOD);
    }
}

/// What a process's first thread has had, in which a target runs.
fn processor_time(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

impl Told {
    fn line(&self) -> String {
        let runs = last(&self.text, "stat::number_of_executed_units:").unwrap_or("unknown");
        let coverage = last(&self.text, "cov:").unwrap_or("unknown");
        let log = self.log.display();
        let end = match last(&self.text, "Test unit written to") {
            _ if self.status.success() => "no crash".to_owned(),
            Some(input) => format!("CRASH: {input}, see {log}"),
            None => format!("{}, see {log}", self.status),
        };
        format!("{runs:>12} runs {:>6} s of processor time, coverage {coverage:>6}, {end}", self.time.as_secs())
    }
}

/// The word behind the last occurrence of a mark.
fn last<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.rsplit_once(mark)?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::last;

    #[test]
    fn of_figures_that_are_told_again_and_again_the_last_counts() {
        let text =
            "#2 INITED cov: 5 ft: 6\n#9 NEW    cov: 71 ft: 80\nstat::number_of_executed_units: 123\nstat::x: 1\n";
        assert_eq!(last(text, "cov:"), Some("71"));
        assert_eq!(last(text, "stat::number_of_executed_units:"), Some("123"));
        assert_eq!(last(text, "Test unit written to"), None);
    }
}
